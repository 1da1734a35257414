"""Experiments run side by side in copies of the repository, and their table shows what matters."""

import contextlib
import csv
import io
import re
import shlex
import shutil
import time
from pathlib import Path

import psutil
import pytest
from clones import ROOT
from test_sharing import in_folder

PATIENCE = 300  # seconds until an experiment counts as one that never ends
ROW = ("Experiment", "rev", "typ")  # the table that is shown puts them into one column


@pytest.fixture(scope="module")
def lab(clone, tmp_path_factory):
    """A committed run in which to experiment; whatever runs there at the end is ended."""
    lab = in_folder(clone, tmp_path_factory.mktemp("experiments") / "lab")
    shutil.copytree(clone.folder, lab.folder)
    lab.git("add", "--all")
    lab.git("commit", "--quiet", "--message", "A run")
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


def table(lab):
    """Read what `make experiments` shows."""
    recipe = re.search(r"^experiments: install\n\t(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    _, *arguments = shlex.split(recipe.replace("$$", "$"))
    return list(csv.DictReader(io.StringIO(lab.dvc(*arguments, "--csv"))))


def test_an_experiment_reruns_what_depends_on_its_parameter_and_the_table_shows_what_differs(lab):
    ran = re.findall(r"Running stage '([^']+)'", lab.dvc("exp", "run", "-S", "arms.l2.l2=0.02", "evaluate"))
    assert sorted(ran) == ["check", "evaluate", "train@l2"]
    rows = table(lab)
    # The working tree, the commit, the experiment.
    assert [row["arms.l2.l2"] for row in rows] == ["0.02", "0.01", "0.02"]
    assert {name for name in rows[0] if not name.startswith("metrics/arms/l2.json:")} == {*ROW, "arms.l2.l2"}
    assert any(name.startswith("metrics/arms/l2.json:") for name in rows[0])


@pytest.mark.long
def test_a_queue_runs_experiments_side_by_side_in_copies(lab):
    before = {path: path.read_bytes() for path in lab.folder.rglob("metrics/**/*.json")}
    lab.dvc("exp", "run", "--queue", "-S", "arms.l2.l2=0.03,0.05", "evaluate")
    lab.dvc("queue", "start", "-j", "2")
    deadline = time.monotonic() + PATIENCE
    while "0 active, 0 idle" not in (status := lab.dvc("queue", "status")):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    assert status.count("Success") == 2, status
    rows = {row["arms.l2.l2"]: row for row in table(lab) if row["typ"] == "branch_commit"}
    assert {"0.03", "0.05"} <= rows.keys()
    for value in ("0.03", "0.05"):
        assert float(rows[value]["metrics/arms/l2.json:test"]) > 0
    assert {path: path.read_bytes() for path in before} == before
