"""While one `dvc repro` runs, a second is refused and the first unharmed; what only looks may look."""

import json
import subprocess
import sys

import pytest
from clones import DVC, RUNNING
from runs import Repro, committed, until

pytestmark = pytest.mark.xdist_group("two at once")  # one process makes the fixture for all


@pytest.fixture(scope="module")
def looked(clone, tmp_path_factory):
    """What others said while a run was held up, and how it all ended."""
    twin = committed(clone, tmp_path_factory.mktemp("two"))
    before = twin.contents()

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
        others = {
            "metrics": dvc("metrics", "diff", "--json"),
            "plots": dvc("plots", "show"),
            "second": dvc("repro"),
            "same stage": dvc("repro", "--force", "--single-item", "train@l2"),
        }
        said = {name: process.communicate(timeout=120)[0] for name, process in others.items()}
        stage.resume()
        status, log = first.finish()
    assert status == 0, log
    return twin, {name: (process.returncode, said[name]) for name, process in others.items()}, first.process.pid, before


@pytest.mark.parametrize("name", ["second", "same stage"])
def test_a_second_run_is_refused_and_told_who_runs(looked, name):
    _, others, first, _ = looked
    status, said = others[name]
    assert status != 0
    assert "is busy, it is being blocked by:" in said
    assert f"(PID {first})" in said
    assert "Traceback" not in said
    assert RUNNING.partition("(")[0] not in said


def test_the_first_run_is_unharmed(looked):
    twin, _, _, before = looked
    assert twin.contents() == before


def test_metrics_can_be_compared_meanwhile(looked):
    _, others, _, _ = looked
    status, said = others["metrics"]
    assert status == 0, said
    assert json.loads(said.splitlines()[-1]) == {}  # nothing in them has changed


def test_the_page_of_plots_can_be_made_meanwhile_and_is_whole(looked):
    twin, others, _, _ = looked
    status, said = others["plots"]
    assert status == 0, said
    page = twin.folder / "dvc_plots/index.html"
    assert page.as_uri() in said
    text = page.read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>")
    titles = [plot["title"] for each in DVC["stages"]["evaluate"]["plots"] for plot in each.values()]
    assert [title for title in titles if title not in text] == []
