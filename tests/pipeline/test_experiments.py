"""Experiments run side by side in copies of the repository, and their table shows what matters.

Every command of docs/experiments.md runs here as it stands there.
"""

import contextlib
import csv
import io
import re
import time
from pathlib import Path

import psutil
import pytest
from clones import ROOT, ran, tiny_project
from pages import Page
from ranks import PATIENCE

ROW = ("Experiment", "rev", "typ")  # the table that is shown puts them into one column

pytestmark = pytest.mark.long


@pytest.fixture
def lab(clone, tmp_path):
    """A committed run in which to experiment, with remotes; whatever runs there at the end is ended."""
    lab = clone.copied(tmp_path / "lab")
    lab.git("init", "--quiet", "--bare", str(tmp_path / "origin"))
    lab.git("remote", "add", "origin", str(tmp_path / "origin"))
    lab.git("push", "--quiet", "origin", "HEAD")
    lab.dvc("remote", "add", "--local", "--default", "shared", str(tmp_path / "remote"))
    try:
        yield lab
    finally:
        for process in running_in(lab.folder):
            with contextlib.suppress(psutil.Error):
                process.kill()


def running_in(folder):
    """List the processes whose working directory is below a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def table(lab, command):
    """Read the table that a command shows."""
    return list(csv.DictReader(io.StringIO(lab.shell(f"{command} --csv"))))


def test_every_command_of_the_page_does_what_it_says_there(lab):
    page = Page("experiments.md")
    show = page.take("dvc exp show")
    committed = lab.contents()

    stages = ran(lab.shell(page.take("dvc exp run -S")))
    assert stages == ["check", "evaluate", "report", "train@l2"]
    assert show in lab.shell(page.take("make experiments"))  # make shows what it runs
    rows = table(lab, show)
    # The working tree, the commit, the experiment.
    assert [row["arms.l2.l2"] for row in rows] == ["0.02", "0.01", "0.02"]
    assert set(rows[0]) == {*ROW, "metrics/mean/l2.json:val", "arms.l2.l2"}
    head = next(line for line in lab.shell(show).splitlines() if "Experiment" in line)
    assert head.split() == ["Experiment", "metrics/mean/l2.json:val", "arms.l2.l2"]
    assert len(head) <= 80
    of_ones_own = f"{show} --keep 'metrics/headline/.*:test' --sort-by metrics/mean/l2.json:val --sort-order desc"
    assert {"metrics/headline/l2.json:test", "metrics/headline/baseline.json:test"} <= table(lab, of_ones_own)[0].keys()
    assert lab.contents() != committed
    lab.shell(page.take("git checkout"))
    assert lab.contents() == committed

    lab.shell(page.take("dvc exp run --queue"))
    lab.shell(page.take("dvc queue start"))
    status, deadline = page.take("dvc queue status"), time.monotonic() + PATIENCE
    while "0 active, 0 idle" not in (said := lab.shell(status)):
        assert time.monotonic() < deadline, said
        time.sleep(1)
    assert said.count("Success") == 2, said
    assert lab.contents() == committed
    rows = {row["arms.l2.l2"]: row for row in table(lab, show) if row["typ"].startswith("branch_")}
    assert rows.keys() == {"0.02", "0.03", "0.05"}
    assert len({row["metrics/mean/l2.json:val"] for row in rows.values()}) > 1  # a few digits: two may be equal
    name = rows["0.05"]["Experiment"]
    assert "train@l2" in lab.shell(page.take("dvc queue logs", NAME=name))

    lab.shell(page.take("dvc exp apply", NAME=name))
    assert "l2: 0.05" in (lab.folder / "params.yaml").read_text()
    lab.shell("git checkout . && dvc checkout")
    lab.shell(page.take("dvc exp branch", NAME=name))
    assert "l2: 0.05" in lab.shell("git show my-branch:params.yaml")
    lab.shell(page.take("dvc exp push", NAME=name))
    pull = page.take("dvc exp pull", NAME=name)
    lab.shell(page.take("dvc exp remove", NAME=name))
    assert name not in lab.shell("dvc exp list --name-only")
    lab.shell(pull)
    assert name in lab.shell("dvc exp list --name-only")
    assert page.left == []


def test_a_shallow_clone_loses_an_experiment_in_a_copy_until_it_is_whole(tmp_path):
    project = tiny_project(tmp_path)
    (project.folder / "second").touch()
    project.commit()
    shallow = project.in_folder(tmp_path / "shallow")
    project.git("clone", "--quiet", "--depth", "1", project.folder.as_uri(), str(shallow.folder))
    for line, kept in (("true", 0), (said_on_the_page("git fetch"), 1)):
        shallow.shell(f"{line} && dvc exp run --temp --set-param arms.b.l2=5")
        assert len(shallow.shell("dvc exp list --name-only").splitlines()) == kept


def test_what_an_arm_of_an_experiment_leaves_is_removed_by_the_line_of_the_page(tmp_path):
    project = tiny_project(tmp_path)
    params = project.folder / "params.yaml"
    params.write_text(params.read_text() + "  c:\n    title: C\n    l2: 7\n")
    project.shell("dvc exp run")
    project.shell(said_on_the_page("git checkout"))
    assert "c.json" in project.dvc("metrics", "show")
    project.shell(said_on_the_page("git clean"))
    assert "c.json" not in project.dvc("metrics", "show")
    assert project.dvc("status") == "Data and pipelines are up to date.\n"


def said_on_the_page(start):
    """Give a command that the text of the page names."""
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    return re.search(rf"`({start}[^`]+)`", page)[1]
