"""What `dvc repro` takes when there is nothing to do, here and in a project of one stage, in turns.

``python -m benchmarks.noop``, after `dvc repro`, prints both medians.
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import in_turns

ROUNDS = 5
ONE_STAGE = "stages:\n  only:\n    cmd: echo done > done\n    outs:\n      - done\n"


def main() -> None:
    """Measure; a minute."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dvc.yaml").write_text(ONE_STAGE, encoding="utf-8")
        dvc("init", "--no-scm", "--quiet", folder=folder)
        dvc("repro", "--quiet", folder=folder)
        repro = {name: partial(dvc, "repro", folder=where) for name, where in (("here", "."), ("one stage", folder))}
        for name, seconds in in_turns(repro, ROUNDS).items():
            print(f"{name}: {seconds:.2f} s")


def dvc(*arguments: str, folder: str) -> None:
    """Run a command of DVC in a folder."""
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
