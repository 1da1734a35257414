"""Threads that wait for each other soon sleep, so that other programs on the same cores do not hold them up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAID = "import os, sys; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"


@pytest.mark.parametrize("file", ["stages/lifetime.py", "benchmarks/__init__.py"])
@pytest.mark.parametrize(("user", "said"), [({}, "3000"), ({"GOMP_SPINCOUNT": "9"}, "9")], ids=["default", "own"])
def test_threads_soon_sleep_while_they_wait_unless_the_user_says_otherwise(file, user, said):
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | user
    code = f"import runpy; runpy.run_path({file!r}); {SAID}"
    done = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=env, text=True)
    assert done.split() == [said, "False"]  # torch is not imported yet: later, OpenMP would not read it


def test_every_stage_imports_that_first():
    lines = (ROOT / "stages" / "__init__.py").read_text(encoding="utf-8").splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert imports[0] == "from stages import lifetime"
