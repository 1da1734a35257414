"""Nothing but code, parameters and data decides what a stage writes; and each edit of a module reruns who uses it."""

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clones import DVC, PARAMS
from runs import copy_of, environment, files_of, outs_of, remove, run_stage
from test_pipeline import FACE, reached_from

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in ("pipeline", "stages") for path in (ROOT / package).glob("*.py")
)
CLOCKS = {
    "pipeline/devices.py",
    "pipeline/precision.py",
    "pipeline/timing.py",
    "stages/progress.py",
    "stages/lifetime.py",
}  # what is measured, shown and waited for
# Find each other, wait for each other, say where they are.
RANKS = {"pipeline/devices.py", "pipeline/distributed.py", "stages/launch.py"}
SURROUNDINGS = {"stages/download.py", "stages/lifetime.py"}  # DATA_MIRROR, and whether dvc runs the stage
REPORTED = {"stages/report.py"}  # the versions of what made the results


def imported_by(module):
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def importers_of(*names):
    return {module for module in MODULES if set(names) & set(imported_by(module))}


def test_the_clock_is_read_where_time_is_measured_and_nowhere_else():
    assert importers_of("time") <= CLOCKS | RANKS
    assert importers_of("datetime") - RANKS <= {"pipeline/document.py"}  # a fixed date
    document = (ROOT / "pipeline/document.py").read_text(encoding="utf-8")
    assert "now(" not in document
    assert "today(" not in document


def test_no_module_asks_chance_the_host_or_the_user():
    assert importers_of("random", "secrets", "uuid", "getpass", "locale") == set()
    assert importers_of("socket", "tempfile") <= RANKS
    assert importers_of("platform", "importlib.metadata") <= REPORTED
    using = {module for module in MODULES if "os.environ" in (ROOT / module).read_text(encoding="utf-8")}
    assert using <= SURROUNDINGS | RANKS


# What Python runs before anything else: a clock that is years ahead.
CLOCK = """
import datetime, time
def ahead(read, by=1_000_000_007):
    return lambda: read() + by
def of_now(read):
    return lambda seconds=None: read(time.time() if seconds is None else seconds)
time.time, time.time_ns = ahead(time.time), ahead(time.time_ns, 1_000_000_007 * 10**9)
time.gmtime, time.localtime, time.ctime = map(of_now, (time.gmtime, time.localtime, time.ctime))
class Ahead(datetime.datetime):
    now = classmethod(lambda kind, tz=None: kind.fromtimestamp(time.time(), tz))
    today = utcnow = now
datetime.datetime = Ahead
"""


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Give an environment that has little in common with the one in which a clone was made."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "sitecustomize.py").write_text(CLOCK)
    another = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "4", "TZ": "Asia/Kathmandu"}
    values = os.environ | environment(2) | another
    shown = [sys.executable, "-c", "import datetime; print(datetime.datetime.now().year)"]
    assert int(subprocess.run(shown, env=values, capture_output=True, check=True).stdout) > 2050
    return values


@pytest.fixture(scope="module")
def finished(clone, tmp_path_factory):
    return copy_of(clone, tmp_path_factory.mktemp("bytes")).folder


SHORT = ("evaluate", "report")  # what they write comes from all of the pipeline's packages


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in SHORT else pytest.mark.long)
        for name in ("check", "download", "split", "train@batchnorm", "l2_path", *SHORT)
    ],
)
def test_a_stage_writes_the_same_bytes_in_an_environment_that_is_strange(finished, strange, name):
    module, *arm = name.split("@")
    outs = outs_of(finished, name)
    before = files_of(finished, outs)
    remove(finished, outs)
    command = [sys.executable, "-m", f"stages.{module}", *arm]
    done = subprocess.run(command, cwd=finished, env=strange, umask=0o077, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files_of(finished, outs) == before != {}


@pytest.mark.parametrize("name", ["train@l2", "l2_path", "evaluate", "timing"])
def test_params_yaml_decides_on_how_many_threads_a_stage_computes(finished, name):
    threads = torch.get_num_threads() + 1
    params = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(re.sub(r"threads: \d+", f"threads: {threads}", params))
    say = functools.partial(setattr, torch, "set_num_threads", lambda number: print(f"{number} threads"))
    try:
        status, said = run_stage(finished, name, before=say)
    finally:
        (finished / "params.yaml").write_text(params)
    assert status == 0, said
    assert f"{threads} threads\n" in said


EDIT = """
import json, sys
from pathlib import Path
from dvc.repo import Repo

stages, changed = Repo().index.stages, {}
for module in map(Path, sys.argv[1:]):
    source = module.read_text(encoding="utf-8")
    module.write_text(source + "\\nraise SystemExit\\n", encoding="utf-8")
    listing = {stage.addressing: dep for stage in stages for dep in stage.deps if str(dep) == str(module)}
    changed[str(module)] = sorted(name for name, dep in listing.items() if dep.status())
    module.write_text(source, encoding="utf-8")
print(json.dumps(changed))
"""


@pytest.fixture(scope="module")
def changed(clone, tmp_path_factory):
    """For each module, the stages that DVC says are changed when its behaviour is."""
    twin = copy_of(clone, tmp_path_factory.mktemp("edited"))
    command = [sys.executable, "-c", EDIT, *[module for module in MODULES if module != FACE]]
    done = subprocess.run(command, cwd=twin.folder, env=twin.env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def reached():
    """For each stage, as DVC calls it, the modules that its script reaches."""
    found = {}
    for stage, definition in DVC["stages"].items():
        script = definition.get("do", definition)["cmd"].split()[2].replace(".", "/") + ".py"
        names = [f"{stage}@{arm}" for arm in PARAMS["arms"]] if "foreach" in definition else [stage]
        found |= dict.fromkeys(names, reached_from(script))
    return found


@pytest.mark.parametrize("module", [module for module in MODULES if module != FACE])
def test_an_edit_of_a_module_reruns_the_stages_that_reach_it_and_no_other(changed, reached, module):
    users = sorted(name for name, modules in reached.items() if module in modules)
    assert users
    assert changed[module] == users
