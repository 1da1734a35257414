"""Experiments run side by side in copies of the repository, and their table shows what matters."""

import contextlib
import csv
import io
import re
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml
from test_pipeline import ROOT
from test_sharing import in_folder

PATIENCE = 180  # seconds until an experiment counts as one that never ends


@pytest.fixture(scope="module")
def lab(clone, tmp_path_factory):
    """A committed run in which to experiment; whatever runs there at the end is ended."""
    lab = in_folder(clone, tmp_path_factory.mktemp("experiments") / "lab")
    shutil.copytree(clone.folder, lab.folder)
    shutil.copy(ROOT / "Makefile", lab.folder)
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


def wait_until_nothing_runs(lab):
    """Wait for the workers, which end by themselves when the queue has been empty for a while."""
    deadline = time.monotonic() + PATIENCE
    while processes := running_in(lab.folder):
        assert time.monotonic() < deadline, [process.cmdline() for process in processes]
        time.sleep(0.2)


def table(lab):
    """Read the table that `make experiments` shows, by the l2 arm's lambda."""
    recipe = re.search(r"^experiments:.*\n\t(dvc exp show (?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = recipe[1].replace("$$", "$")
    shown = subprocess.run(
        command.replace("--no-pager", "--csv"), shell=True, cwd=lab.folder, env=lab.env, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    return list(csv.DictReader(io.StringIO(shown)))


def test_an_experiment_reruns_what_depends_on_its_parameter(lab):
    ran = re.findall(r"Running stage '([^']+)'", lab.dvc("exp", "run", "-S", "arms.l2.l2=0.02", "evaluate"))
    assert sorted(ran) == ["check", "evaluate", "train@l2"]
    assert yaml.safe_load((lab.folder / "params.yaml").read_text())["arms"]["l2"]["l2"] == 0.02
