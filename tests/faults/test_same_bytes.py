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
from imports import FACES, code_of, lies_in
from runs import UMASKS, copy_of, environment, files_of, outs_of, remove, run_stage

ROOT = Path(__file__).resolve().parents[2]
HELPERS = (ROOT, ROOT / "tests" / "helpers")
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in ("pipeline", "stages") for path in (ROOT / package).rglob("*.py")
)
CLOCKS = {
    "pipeline/network/devices.py",
    "pipeline/network/precision.py",
    "pipeline/analysis/timing.py",
    "stages/progress.py",
    "stages/lifetime.py",
}  # what is measured, shown and waited for
# Find each other, wait for each other, say where they are.
RANKS = {"pipeline/network/devices.py", "pipeline/network/distributed.py", "stages/launch.py"}
SURROUNDINGS = {"stages/check.py", "stages/download.py"}  # DATA_MIRROR
SURROUNDINGS |= {"stages/__init__.py", "stages/lifetime.py"}  # whether dvc runs the stage
SURROUNDINGS |= {"pipeline/report/drawing.py"}  # sets Matplotlib's backend
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
    assert importers_of("datetime") - RANKS <= {"pipeline/report/document.py"}  # a fixed date
    document = (ROOT / "pipeline/report/document.py").read_text(encoding="utf-8")
    assert "now(" not in document
    assert "today(" not in document


def test_no_module_asks_chance_the_host_or_the_user():
    assert importers_of("random", "secrets", "uuid", "getpass", "locale") == set()
    assert importers_of("socket") <= RANKS
    assert importers_of("tempfile") <= RANKS | {"pipeline/data/download.py"}  # torchvision's reader takes a path
    assert importers_of("platform", "importlib.metadata") <= REPORTED
    using = {module for module in MODULES if "os.environ" in (ROOT / module).read_text(encoding="utf-8")}
    assert using <= SURROUNDINGS | RANKS


# What Python runs before anything else: a clock that is years ahead. pandas comes first: its compiled code wants the
# very type of datetime.
CLOCK = """
import datetime, time
import pandas
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


# What a strange environment's Python does: it runs one stage after the other, each in a fork.
RUN = """
import sys
from runs import run_stage
for name in sys.argv[1:]:
    status, said = run_stage(".", name)
    if status:
        sys.exit(f"{name}: {said}")
"""
STRANGE_FOLDER = "deeper/with a space/Gewöhnliches/ıİ"


@pytest.fixture(scope="module")
def finished(clone, tmp_path_factory):
    """The clone in a folder that has little in common with the one in which it was made."""
    return copy_of(clone, tmp_path_factory.mktemp("bytes") / STRANGE_FOLDER).folder


@pytest.fixture(scope="module")
def ahead(tmp_path_factory):
    """A folder for the path of Python's modules that puts the clock ahead."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "sitecustomize.py").write_text(CLOCK)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("k", [pytest.param(0, marks=pytest.mark.long), 2])
def test_every_stage_writes_the_same_bytes_in_an_environment_that_is_strange(clone, finished, ahead, k):
    """Of every stage but timing, whose seconds are left as they were, so that the report too must come out the same."""
    names = [name for name in clone.begins if name != "timing"]
    outs = outs_of(finished, *names)
    before = files_of(finished, outs)
    remove(finished, outs)
    values = os.environ | environment(k) | {"PYTHONPATH": os.pathsep.join(map(str, (ahead, *HELPERS)))}
    shown = [sys.executable, "-c", "import datetime; print(datetime.datetime.now().year)"]
    assert int(subprocess.run(shown, env=values, capture_output=True, check=True).stdout) > 2050
    command = [sys.executable, "-c", RUN, *names]
    umask = UMASKS[k % len(UMASKS)]
    done = subprocess.run(command, cwd=finished, env=values, umask=umask, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = files_of(finished, outs)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == set()
    assert len(before) > len(names)


@pytest.mark.parametrize("name", ["train@l2", "l2_path", "evaluate"])
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

repo, changed = Repo(), {}
stages = repo.index.stages
for module in map(Path, sys.argv[1:]):
    source = module.read_text(encoding="utf-8")
    module.write_text(source + "\\nraise SystemExit\\n", encoding="utf-8")
    with repo.lock:
        changed[str(module)] = sorted(each.addressing for each in stages if each.changed_deps())  # as `dvc repro` does
    module.write_text(source, encoding="utf-8")
print(json.dumps(changed))
"""


@pytest.fixture(scope="module")
def reached():
    """For each stage, as DVC calls it, the modules that it depends on."""
    found = {}
    for stage, definition in DVC["stages"].items():
        names = [f"{stage}@{arm}" for arm in PARAMS["arms"]] if "foreach" in definition else [stage]
        modules = {module for module in MODULES if any(lies_in(module, dep) for dep in code_of(stage))}
        found |= dict.fromkeys(names, modules)
    return found


def users_of(module, reached):
    return sorted(name for name, modules in reached.items() if module in modules)


@pytest.fixture
def edited(clone, tmp_path):
    return copy_of(clone, tmp_path)


def test_an_edit_of_a_module_changes_the_stages_that_reach_it_and_no_other(edited, reached):
    """Of each module, by what `dvc repro` itself asks of a stage before it runs it."""
    users = {module: users_of(module, reached) for module in MODULES if module not in FACES}
    assert all(users.values())
    command = [sys.executable, "-c", EDIT, *users]
    done = subprocess.run(command, cwd=edited.folder, env=edited.env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == users


@pytest.mark.long
@pytest.mark.parametrize("module", ["pipeline/data/download.py", "stages/evaluate.py"])
def test_an_edit_that_changes_no_output_reruns_the_stages_that_reach_the_module_and_no_other(edited, reached, module):
    before, source = edited.contents(), (edited.folder / module).read_text(encoding="utf-8")
    with edited.edited(module, f"{source}\nUNUSED = True\n"):
        assert edited.repro() == users_of(module, reached)
    assert edited.contents() == before


@pytest.mark.long
def test_an_edit_that_changes_an_output_reruns_what_depends_on_that_too(edited, reached):
    """A training uses what the split has written, and none of its code; so do all that read the card."""
    module, line = "stages/split.py", '    artifacts.write_record(SPLIT / "card", card)\n'
    assert users_of(module, reached) == ["split"]
    source = (edited.folder / module).read_text(encoding="utf-8")
    assert line in source
    with edited.edited(module, source.replace(line, f'    object.__setattr__(card, "std", card.std / 2)\n{line}')):
        assert edited.repro("train@l2") == ["split", "train@l2"]
        changed = json.loads(edited.dvc("status", "--json"))
    deps = {name: DVC["stages"][name.partition("@")[0]].get("deps", []) for name in reached}
    readers = {name for name, of_stage in deps.items() if any(lies_in("data/split/card", dep) for dep in of_stage)}
    readers |= {f"train@{arm}" for arm in PARAMS["arms"]}
    assert set(changed) == readers - {"train@l2"}
