"""While one `dvc repro` runs, a second is refused and the first unharmed; what only looks may look."""

import json
import re
import subprocess
import sys

import pytest
from clones import ran, titles_of_plots
from runs import Repro, committed, until


@pytest.mark.slow
def test_a_second_run_is_refused_and_looking_is_not(clone, tmp_path):
    twin = committed(clone, tmp_path)
    before = twin.contents()

    def dvc(*arguments):
        command = [sys.executable, "-m", "dvc", *arguments]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=twin.folder, env=twin.env, **output)

    with Repro(twin, arguments=["--force", "--single-item", "train@l2"]) as first:
        stage = until(first.stage)
        stage.suspend()  # until the others have looked
        metrics, plots = dvc("metrics", "diff", "--json"), dvc("plots", "show")
        # One after the other: at once they might not get DVC's lock of the repository in the seconds they wait for it.
        for arguments in (["repro"], ["repro", "--force", "--single-item", "train@l2"]):
            second = dvc(*arguments)
            said = "".join(second.communicate(timeout=120))
            assert_is_refused(second.returncode, said, by=first.process.pid)
        (diff, diff_errors), (page, page_errors) = (each.communicate(timeout=120) for each in (metrics, plots))
        stage.resume()
        status, log = first.finish()
    assert status == 0, log
    assert twin.contents() == before
    assert metrics.returncode == plots.returncode == 0, diff_errors + page_errors
    assert json.loads(diff) == {}  # nothing in them has changed
    assert_is_whole(twin.folder / "dvc_plots/index.html", page)


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
    assert re.search(r"vegaEmbed\('#metrics_study_json', spec\);\s*</script>\s*</div>$", text.rstrip())  # the last plot
    assert [title for title in titles_of_plots() if title not in text] == []
