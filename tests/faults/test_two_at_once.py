"""While one `dvc repro` runs, a second is refused and the first unharmed; what only looks may look."""

import json
import subprocess
import sys

from clones import DVC, ran
from runs import Repro, committed, until


def test_a_second_run_is_refused_and_looking_is_not(clone, tmp_path):
    twin = committed(clone, tmp_path)
    before = twin.contents()

    def dvc(*arguments):
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=twin.folder, env=twin.env, capture_output=True, text=True, check=False)

    with Repro(twin, arguments=["--force", "--single-item", "train@l2"]) as first:
        stage = until(first.stage)
        stage.suspend()  # until the others have looked
        metrics = dvc("metrics", "diff", "--json")
        plots = dvc("plots", "show")
        refused = [dvc("repro"), dvc("repro", "--force", "--single-item", "train@l2")]
        stage.resume()
        status, log = first.finish()
    assert status == 0, log
    assert twin.contents() == before
    for second in refused:
        assert_is_refused(second.returncode, second.stdout + second.stderr, by=first.process.pid)
    assert metrics.returncode == plots.returncode == 0, metrics.stderr + plots.stderr
    assert json.loads(metrics.stdout) == {}  # nothing in them has changed
    assert_is_whole(twin.folder / "dvc_plots/index.html", plots.stdout)


def assert_is_refused(status, said, *, by):
    assert status != 0
    assert "is busy, it is being blocked by:" in said
    assert f"(PID {by})" in said
    assert "Traceback" not in said
    assert ran(said) == []


def assert_is_whole(page, said):
    """The page of plots is where dvc says, complete, and has every plot."""
    assert page.as_uri() in said
    text = page.read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>")
    titles = [plot["title"] for each in DVC["stages"]["evaluate"]["plots"] for plot in each.values()]
    assert [title for title in titles if title not in text] == []
