"""What the pipeline's files import, read from their text, and what dvc.yaml lists of them."""

import ast
import itertools

from clones import ROOT, STAGES

PACKAGES = ("pipeline", "stages")


def script_of(name):
    module = STAGES[name]["cmd"].removeprefix("python -m ").split()[0]
    return f"{module.replace('.', '/')}.py"


def code_of(name):
    """List the files and folders of code that a stage depends on."""
    return [dep for dep in STAGES[name]["deps"] if dep.partition("/")[0] in PACKAGES]


def lies_in(file, dep):
    """Tell whether a dependency, a file or a folder, covers a file."""
    return file == dep or file.startswith(f"{dep}/")


def is_only_for_type_checkers(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


# They hold names or docstrings only: what a stage uses, it imports from the module that defines it.
FACES = {
    "pipeline/__init__.py",
    *(f"pipeline/{room}/__init__.py" for room in ("network", "data", "analysis", "report")),
}


def imports_in(node):
    """List the dotted names that a piece of code imports, at any depth."""
    if is_only_for_type_checkers(node):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: imports here are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports_in(child)


def files_behind(name):
    """List the files that run when a dotted name is imported: the packages above it and its module."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return
    for prefix in itertools.accumulate(parts, "{}/{}".format):
        for candidate in (f"{prefix}.py", f"{prefix}/__init__.py"):
            if (ROOT / candidate).is_file() and candidate not in FACES:
                yield candidate


def reached_from(script):
    """List every local file that runs when a stage's script does."""
    reached, waiting = set(), [script, *files_behind(script.removesuffix(".py").replace("/", "."))]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            for name in imports_in(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
                waiting += files_behind(name)
    return reached
