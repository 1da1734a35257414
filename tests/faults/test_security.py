"""What docs/security.md says of the code."""

import ast
import re
from pathlib import Path

import pytest
from dvc.utils.serialize import loads_yaml

from pipeline.params import ParamsError, load_params
from tools import install

ROOT = Path(__file__).resolve().parents[2]
SHIPPED, TOOLS = (
    sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))
    for packages in (("pipeline", "stages"), ("tools", "benchmarks"))
)
PROCESSES = r"(subprocess|shutil|pty|runpy)(\..*)?|os\.(system|popen|fork\w*|exec\w*|spawn\w*|posix_spawn\w*)"
FORBIDDEN = "|".join(
    [
        r"(pickle|cPickle|dill|joblib|cloudpickle|shelve|marshal|multiprocessing|tarfile|ctypes)(\..*)?",
        r"eval|exec|__import__",
        r"(torch|np|numpy)\.(load|save|savez\w*|fromfile)|.*\.(extractall|\w*_object(_list)?)",  # some pickle
        r"yaml(\..*)?|ruamel\.yaml\.(.*\.)?(Unsafe)?(Loader|Constructor)",  # DVC does not read by PyYAML
    ]
)


def names_in(tree):
    """List every dotted name that a module imports or mentions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node)


def calls_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def dangers_in(source, *, processes=False):
    """List what reads or writes pickles, runs commands or code, or unpacks archives onto the disk."""
    tree = ast.parse(source)
    forbidden = FORBIDDEN if processes else f"{FORBIDDEN}|{PROCESSES}"
    yield from (name for name in names_in(tree) if re.fullmatch(forbidden, name))
    for name, call in calls_in(tree):
        if any(keyword.arg in ("shell", "allow_pickle", "weights_only") for keyword in call.keywords):
            yield ast.unparse(call)
        if name.rpartition(".")[2] == "import_module":  # of a name that is written out it is an import
            given = call.args[0] if call.args else None
            if not isinstance(given, ast.Constant) or re.fullmatch(forbidden, str(given.value)):
                yield ast.unparse(call)
        if name == "compile":  # as an argument of `train` it is a flag
            yield ast.unparse(call)
        if name == "YAML" and ast.unparse(call) != "YAML(typ='safe')":
            yield ast.unparse(call)
        if name.startswith("subprocess.") and not (call.args and isinstance(call.args[0], ast.List)):
            yield ast.unparse(call)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_ships_reads_no_pickle_and_runs_no_command(path):
    assert list(dangers_in(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_tool_reads_no_pickle_and_runs_commands_as_lists_of_words(path):
    assert list(dangers_in(path.read_text(encoding="utf-8"), processes=True)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "importlib.import_module(name)",
        "importlib.import_module('pickle')",
        "from importlib import import_module; import_module(name)",
        "importlib.import_module(f'stages.{name}')",
        "from subprocess import run",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "os.system(command)",
        "run(command, shell=True)",
        "import yaml",
        "archive.extractall(folder)",
        "eval(text)",
        "run(compile(text, name, 'exec'))",
        "from os import system",
        "run = os.system",
        "os.execv(path, words)",
        "os.spawnlp(os.P_WAIT, path)",
        "os.fork()",
        "os.posix_spawn(path, words, {})",
        "from torch import load",
        "numpy.load(path, allow_pickle=True)",
        "load(path, allow_pickle=True)",
        "dist.broadcast_object_list(results)",
        "import multiprocessing.pool",
        "YAML(typ='unsafe').load(text)",
        "from ruamel.yaml.constructor import Constructor",
        "subprocess.run(f'rm {name}', shell=True)",
    ],
)
def test_the_search_for_dangers_finds_them(source):
    assert list(dangers_in(source))


@pytest.mark.parametrize("source", ["subprocess.run(words)", "subprocess.run(['sh'], shell=True)", "import pickle"])
def test_the_search_in_tools_finds_commands_that_are_no_list_of_words(source):
    assert list(dangers_in(source, processes=True))


def test_parameters_are_read_by_a_safe_loader(tmp_path):
    (tmp_path / "params.yaml").write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(ParamsError, match="could not determine a constructor"):
        load_params(tmp_path / "params.yaml")


def test_of_all_parameters_only_an_arms_name_is_put_into_a_command_and_only_after_the_check():
    dvc = loads_yaml((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    commands = {name: stage.get("do", stage)["cmd"] for name, stage in dvc.items()}
    assert {name: re.findall(r"\$\{?.*", command) for name, command in commands.items() if "$" in command} == {
        "train": ["${key}"]
    }
    assert "data/checked.json" in dvc["download"]["deps"]  # which all the others depend on


@pytest.mark.parametrize("name", ["requirements", "benchmarks/requirements", "tests/remotes", "docs/tour"])
def test_every_package_in_a_lock_has_hashes_and_no_address(name):
    text = (ROOT / f"{name}.lock").read_text(encoding="utf-8")
    packages = re.split(r"\n(?=[A-Za-z0-9])", text.replace("\\\n", " ").strip())
    asked_for = re.findall(r"^[A-Za-z0-9._-]+", (ROOT / f"{name}.in").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {*asked_for} <= {package.partition("==")[0] for package in packages}
    for package in packages:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", package), package
        hashes = re.findall(r"--hash=(\S+)", package)
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), package
    assert "://" not in re.sub(r"#.*", "", text)


def test_what_is_installed_comes_from_a_lock_by_its_hashes():
    lines = (ROOT / "tools/install.py").read_text(encoding="utf-8").splitlines()
    assert "pip install" not in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--require-hashes" in install.PIP
    installs = [line for line in lines if "subprocess.run(" in line]
    assert len(installs) == 1 and "*PIP, " in installs[0] and '"--requirement", ' in installs[0]


def test_a_source_package_is_built_with_what_is_locked():
    installer, lock = [(ROOT / name).read_text(encoding="utf-8") for name in ("tools/install.py", "requirements.lock")]
    assert "--no-build-isolation" in installer
    found = install.SETUPTOOLS.search(lock)[0]
    assert re.fullmatch(r"setuptools==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+(\n    #.*)*", found)


def test_the_threats_name_the_check_for_known_holes():
    assert "pip-audit --requirement requirements.lock" in (ROOT / "docs/security.md").read_text(encoding="utf-8")
