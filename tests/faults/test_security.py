"""What docs/security.md says of the code."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path for package in ("pipeline", "stages") for path in (ROOT / package).glob("*.py"))
FORBIDDEN_MODULES = {
    *("pickle", "dill", "joblib", "shelve", "marshal"),
    *("subprocess", "shutil", "tarfile", "ctypes"),
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *("torch.load", "torch.save", "np.load", "np.save", "yaml.full_load", "yaml.unsafe_load", "extractall"),
}


def calls_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def dangers_in(source):
    """List what reads or writes pickles, runs commands or code, or unpacks archives onto the disk."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & FORBIDDEN_MODULES
        elif isinstance(node, ast.ImportFrom):
            yield from {node.module} & FORBIDDEN_MODULES
    for name, call in calls_in(tree):
        if name in FORBIDDEN_CALLS or name.rpartition(".")[2] in {"extractall", "allow_pickle"}:
            yield name
        if any(keyword.arg in ("shell", "allow_pickle", "weights_only") for keyword in call.keywords):
            yield ast.unparse(call)
        if name == "yaml.load" and ast.unparse(call.args[-1]) != "_Loader":
            yield ast.unparse(call)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_ships_reads_no_pickle_and_runs_no_command(path):
    allowed = ["subprocess"] if path.name == "launch.py" else []  # which starts ranks, from a list of words
    assert list(dangers_in(path.read_text(encoding="utf-8"))) == allowed


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from subprocess import run",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "os.system(command)",
        "run(command, shell=True)",
        "yaml.load(text, yaml.Loader)",
        "archive.extractall(folder)",
        "eval(text)",
    ],
)
def test_the_search_for_dangers_finds_them(source):
    assert list(dangers_in(source))


def test_parameters_are_read_by_a_safe_loader():
    source = (ROOT / "pipeline/params.py").read_text(encoding="utf-8")
    assert "class _Loader(yaml.SafeLoader)" in source
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.load("!!python/object/apply:os.getcwd []", yaml.SafeLoader)


def test_of_all_parameters_only_an_arms_name_is_put_into_a_command_and_only_after_the_check():
    dvc = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    commands = {name: stage.get("do", stage)["cmd"] for name, stage in dvc.items()}
    assert {name: re.findall(r"\$\{?.*", command) for name, command in commands.items() if "$" in command} == {
        "train": ["${key}"]
    }
    assert "data/checked.json" in dvc["download"]["deps"]  # which all the others depend on


def test_every_package_in_the_lock_has_hashes_and_no_address():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = re.split(r"\n(?=[A-Za-z0-9])", lock.replace("\\\n", " ").strip())
    assert len(packages) > 20
    for package in packages:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package
    assert "://" not in re.sub(r"#.*", "", lock)
    assert "--require-hashes" in (ROOT / "Makefile").read_text(encoding="utf-8")
