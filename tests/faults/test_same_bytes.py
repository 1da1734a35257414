"""Nothing but code, parameters and data decides what a stage writes; and each edit of a module reruns who uses it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from runs import copy_of
from test_pipeline import DVC, FACE, PARAMS, reached_from

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in ("pipeline", "stages") for path in (ROOT / package).glob("*.py")
)
CLOCKS = {
    "pipeline/precision.py",
    "pipeline/timing.py",
    "stages/progress.py",
    "stages/lifetime.py",
}  # what is measured, shown and waited for
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
    assert importers_of("time") <= CLOCKS
    assert importers_of("datetime") <= {"pipeline/document.py"}  # a fixed date
    document = (ROOT / "pipeline/document.py").read_text(encoding="utf-8")
    assert "now(" not in document
    assert "today(" not in document


def test_no_module_asks_chance_the_host_or_the_user():
    assert importers_of("random", "secrets", "uuid", "socket", "getpass", "locale", "tempfile") == set()
    assert importers_of("platform", "importlib.metadata") <= REPORTED
    using = {module for module in MODULES if "os.environ" in (ROOT / module).read_text(encoding="utf-8")}
    assert using <= SURROUNDINGS


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
