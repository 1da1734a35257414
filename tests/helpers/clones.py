"""A copy of the project in which the pipeline is run on small parameters and the bundled digits."""

import contextlib
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from dvc.utils.serialize import dumps_yaml, loads_yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
PARAMS = loads_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))
DVC = loads_yaml((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = {name: stage.get("do", stage) for name, stage in DVC["stages"].items()}
RUNNING = "Running stage '([^']+)'"


def small_params(**changes):
    """Shrink the shipped parameters to a run of seconds; ``changes`` are by section."""
    values = copy.deepcopy(PARAMS)
    values["data"]["dataset"] = "digits"
    values["network"]["layers"] = [6, 5, 4, 10]
    values["training"] |= {"batch_size": 50, "max_steps": 100, "evaluate_every": 50, "seeds": [0, 1, 2], "threads": 1}
    values["training"]["compile"] = False  # compiling takes longer than such a run
    values["l2_path"] = {"values": [0.0, 0.01], "seeds": [0]}
    values["timing"] = {"rounds": 1, "steps": 1}
    for section, change in changes.items():
        values[section] |= change
    return dumps_yaml(values)


AUTHOR = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
NOT_SOURCES = {
    ".venv", ".git", "data", "models", "results", "metrics", "plots", "tests", "benchmarks", "docs", "dvc_plots",
    "dvc.lock", "report.docx",
}  # fmt: skip


def left_out(folder, names):
    """Tell what is no source: at the top results and tests, anywhere caches."""
    here = Path(folder)
    top = {name for name in names if name in NOT_SOURCES or name.startswith("requirements.")} if here == ROOT else set()
    private = {"cache", "config.local", "tmp", "plots"} if here == ROOT / ".dvc" else set()
    return {name for name in names if name in top | private | {"__pycache__"} or re.fullmatch(r"\..*_cache", name)}


class Clone:
    """A copy of the working tree's sources in which the pipeline is run on small parameters."""

    def __init__(self, folder):
        self.folder = folder / "clone"  # one that is there already is taken as it is
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self.env = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}
        if not self.folder.exists():
            self.make()

    def make(self):
        shutil.copytree(ROOT, self.folder, ignore=left_out)
        if (ROOT / ".dvc" / "plots").exists():
            shutil.copytree(ROOT / ".dvc" / "plots", self.folder / ".dvc" / "plots")
        (self.folder / "params.yaml").write_text(small_params())
        subprocess.run(["git", "init", "-q"], cwd=self.folder, check=True)
        self.gitignores = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob(".gitignore")]

    def dvc(self, *arguments):
        return self.run([sys.executable, "-m", "dvc", *arguments])

    def shell(self, line):
        """Run a line of a shell."""
        return self.run(["bash", "-c", line])

    def run(self, command):
        """Run a command that succeeds, and return what it printed."""
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.printed = done.stdout + done.stderr
        return done.stdout

    def timed_repro(self):
        """Reproduce everything; return at which second each stage began, in their order, and how many it all took."""
        started, begins, self.printed = time.monotonic(), {}, ""
        command = [sys.executable, "-m", "dvc", "repro"]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as dvc:
            for line in dvc.stdout:
                self.printed += line
                if begun := re.match(RUNNING, line):
                    begins[begun[1]] = time.monotonic() - started
        assert dvc.returncode == 0, self.printed
        return begins, time.monotonic() - started

    def git(self, *arguments):
        subprocess.run(["git", *arguments], cwd=self.folder, env=self.env | AUTHOR, check=True)

    def commit(self):
        """Commit all that git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A run")

    def in_folder(self, folder, **environment):
        """Give the same clone in another folder."""
        twin = copy.copy(self)
        twin.folder, twin.env = folder, self.env | AUTHOR | environment
        return twin

    def copied(self, folder, **environment):
        """Copy the clone, and commit the copy."""
        shutil.copytree(self.folder, folder)
        twin = self.in_folder(folder, **environment)
        twin.commit()
        return twin

    def repro(self, *targets):
        """Reproduce the targets, or everything, and return the stages that it ran."""
        return ran(self.dvc("repro", *targets))

    @contextlib.contextmanager
    def edited(self, path, text):
        """Change a file for as long as the block lasts."""
        before = (self.folder / path).read_text(encoding="utf-8")
        assert text != before
        (self.folder / path).write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            (self.folder / path).write_text(before, encoding="utf-8")

    def contents(self):
        """Read every output, whatever its stage."""
        outputs = [self.folder / name for name in ("data", "models", "results", "metrics", "plots")]
        return {path: path.read_bytes() for folder in outputs for path in folder.rglob("*") if path.is_file()}


TINY = {
    "params.yaml": """arms:
  a:
    title: A
    use_batchnorm: false
    l2: 1
  b:
    title: B
    use_batchnorm: false
    l2: 1
""",
    "dvc.yaml": """stages:
  train:
    foreach: ${arms}
    do:
      cmd: >
        echo '{"l2":' ${item.l2}'}' >models/${key}
      params: ["arms.${key}.l2"]
      outs: ["models/${key}"]
  evaluate:
    cmd: mkdir metrics; cd models; for arm in *; do cp $arm ../metrics/$arm.json; done; cat * >../plots/results.csv
    params: [arms]
    deps: [models]
    metrics: [metrics: {cache: false}]
    plots: [plots/results.csv: {cache: false}]
""",
}


def tiny_project(folder):
    """Make a project whose stages copy their parameters, with the folders of this one; run and commit it."""
    for name in ("models", "plots"):
        (folder / "clone" / name).mkdir(parents=True)
    project = Clone(folder)
    project.env |= AUTHOR
    for name, text in TINY.items():
        (project.folder / name).write_text(text)
    project.git("init", "--quiet", "--initial-branch=main")
    project.dvc("init", "--quiet")
    project.repro()
    project.commit()
    return project


def titles_of_plots():
    """List the titles that the page of plots shows."""
    templates = [plot["template"] for each in STAGES["evaluate"]["plots"] for plot in each.values()]
    titles = [json.loads((ROOT / f".dvc/plots/{name}.json").read_text())["title"]["text"] for name in templates]
    assert len(titles) == 9
    return titles


def ran(printed):
    """List the stages that DVC says it ran."""
    return sorted(re.findall(RUNNING, printed))


def finished_clone(folder):
    """Run the whole pipeline once in a clone."""
    clone = Clone(folder)
    clone.begins, clone.seconds = clone.timed_repro()
    clone.printed_first = clone.printed
    arms = [f"train@{arm}" for arm in PARAMS["arms"]]
    assert sorted(clone.begins) == sorted({*STAGES} - {"train"} | {*arms})
    return clone


def shared_clone(folder, shared):
    """Run the whole pipeline once for all processes of the tests, and give each a copy of that clone."""
    facts = shared / "facts.json"
    with FileLock(f"{shared}.lock"):
        if not facts.exists():
            clone = finished_clone(shared)
            names = ("begins", "seconds", "printed_first", "gitignores")
            facts.write_text(json.dumps({name: getattr(clone, name) for name in names}))
    shutil.copytree(shared / "clone", folder / "clone", symlinks=True)
    clone = Clone(folder)
    vars(clone).update(json.loads(facts.read_text()))
    return clone
