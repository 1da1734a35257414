"""While one `dvc repro` runs, a second is refused and the first unharmed; what only looks may look."""

import json
import subprocess
import sys

from runs import Repro, copy_of, until


def test_a_second_run_is_refused_and_looking_is_not(clone, tmp_path):
    twin = copy_of(clone, tmp_path)
    before = twin.contents()
    subprocess.run(["git", "add", "--all"], cwd=twin.folder, check=True)
    commit = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message", "x"]
    subprocess.run(commit, cwd=twin.folder, check=True)

    def dvc(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=twin.folder,
            env=twin.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with Repro(twin, arguments=["--force", "--single-item", "train@l2"]) as first:
        stage = until(first.stage)
        stage.suspend()  # until the others have looked
        looking = {
            "metrics": dvc("metrics", "diff", "--json"),
            "plots": dvc("plots", "show", "--json", "plots/curves.csv"),
            "second": dvc("repro", "--force", "--single-item", "train@l2"),
        }
        said = {name: process.communicate()[0] for name, process in looking.items()}
        stage.resume()
        status, log = first.finish()
    assert status == 0, log
    assert looking["second"].returncode != 0
    assert "is busy, it is being blocked by:" in said["second"]
    assert f"(PID {first.process.pid})" in said["second"]
    assert looking["metrics"].returncode == looking["plots"].returncode == 0, said
    assert json.loads(said["plots"])
    assert twin.contents() == before
