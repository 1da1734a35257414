"""A `dvc repro` to do harm to, and stages to run in a process of their own that starts at once."""

import atexit
import contextlib
import copy
import functools
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from dvc.utils.serialize import loads_yaml
from ranks import run_and_exit

import stages

PATIENCE = 30  # seconds until something that must happen counts as never happening
ENVIRONMENTS = [  # nothing in them may change a byte
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "OMP_NUM_THREADS": "2"},
    {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu", "OMP_NUM_THREADS": "3"},
    {"PYTHONHASHSEED": "3", "LC_ALL": "tr_TR.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
    {"PYTHONHASHSEED": "random", "LANG": "POSIX", "TZ": "America/St_Johns", "OMP_NUM_THREADS": "4"},
]
SHELLS = ["/bin/sh", "/bin/bash"]
UMASKS = [0o022, 0o077, 0o007, 0o002]
WORKING_DIRECTORIES = ["/", tempfile.gettempdir()]


@functools.cache
def turkish():
    """Make the locale in which i and I are two letters; give the folder that holds it, if it can be made."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    command = ["localedef", "--no-archive", "-i", "tr_TR", "-f", "UTF-8", f"{folder}/tr_TR.UTF-8"]
    made = shutil.which("localedef") and not subprocess.run(command, capture_output=True, check=False).returncode
    return folder if made else ""


def environment(k):
    """Give the k-th environment."""
    values = ENVIRONMENTS[k % len(ENVIRONMENTS)] | {"SHELL": SHELLS[k % len(SHELLS)]}
    return values | {"LOCPATH": turkish()} if "tr_TR" in values.get("LC_ALL", "") else values


def until(condition):
    """Wait for a condition and return what it gave, or None where it never came."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)  # a look at all processes takes milliseconds, which the run needs itself
    return value


def has_ended(process):
    """Tell whether a process has ended, even if nobody has asked for its status yet."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it may go between the two questions
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def copy_of(clone, folder):
    """Copy a clone with its outputs and its cache."""
    twin = copy.copy(clone)
    twin.folder = folder / "clone"
    shutil.copytree(clone.folder, twin.folder, symlinks=True)
    return twin


def git(clone, *arguments):
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, cwd=clone.folder, check=True, capture_output=True, text=True).stdout


def committed(clone, folder):
    """Copy a clone and commit the copy: what is cloned from it has its dvc.lock and neither outputs nor cache."""
    origin = copy_of(clone, folder)
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "A run")
    return origin


def git_clone_of(origin, folder):
    """Clone what is committed."""
    twin = copy.copy(origin)
    twin.folder = folder / "clone"
    git(origin, "clone", "--quiet", str(origin.folder), str(twin.folder))
    return twin


def outs_of(folder, *names):
    """List the outputs of some stages."""
    lock = loads_yaml((folder / "dvc.lock").read_text())["stages"]
    return [out["path"] for name in names for out in lock[name]["outs"]]


def remove(folder, outs):
    """Remove outputs, as dvc does before it runs their stage."""
    for out in outs:
        path = folder / out
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def files_of(folder, outs):
    """Read all files of some outputs, and every temporary file."""
    paths = [path for out in outs for path in [folder / out, *(folder / out).rglob("*")] if path.is_file()]
    paths += [path for path in folder.rglob(".*.tmp") if ".dvc" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Repro:
    """A `dvc repro` that runs in a session of its own, in the k-th environment."""

    def __init__(self, clone, k=0, *, arguments=()):
        self.files = contextlib.ExitStack()
        descriptor, name = tempfile.mkstemp()
        self.log = self.files.enter_context(os.fdopen(descriptor, "w+b"))
        Path(name).unlink()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "--cd", str(clone.folder), "repro", *arguments],
            cwd=WORKING_DIRECTORIES[k % len(WORKING_DIRECTORIES)],
            env=clone.env | environment(k),
            umask=UMASKS[k % len(UMASKS)],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.files.close()

    def members(self):
        """List what of the run is alive, whoever its parent is by now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.Error):
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def stage(self):
        """Find the stage that runs now: the Python under the shell, if dvc has put one in between."""
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                if process.pid != self.process.pid and any(
                    each.startswith("stages.") for each in process.cmdline()[:3]
                ):
                    return process
        return None

    def runs(self, name):
        """Tell whether a stage runs and has come so far as to watch dvc, which it does in a thread."""
        stage = self.stage()
        with contextlib.suppress(psutil.Error):
            return bool(stage) and f"stages.{name.partition('@')[0]}" in stage.cmdline() and stage.num_threads() > 1

    def wait(self, seconds):
        """Let some time of the run pass; it may end before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def send(self, target, number):
        """Send a signal to the stage (once there is one), to dvc, or to all as a terminal does; tell whether it hit."""
        stage = until(lambda: self.stage() or self.process.poll() is not None) if target == "stage" else None
        if self.process.poll() is not None:
            return False
        if target == "group":
            os.killpg(self.process.pid, number)
        elif target == "dvc":
            self.process.send_signal(number)
        else:
            try:
                stage.send_signal(number)
            except psutil.NoSuchProcess:
                return False
        return True

    def output(self):
        """Read what has been said, without moving the run's own place in the file, which it shares with this one."""
        return os.pread(self.log.fileno(), 2**24, 0).decode()

    def finish(self):
        """Wait for dvc, then for whatever it leaves; return dvc's exit status and what was said."""
        status = self.process.wait(PATIENCE * 10)
        assert until(lambda: not self.members()), self.members()
        return status, self.output()


def run_stage(folder, name, *, before=lambda: None):
    """Run a stage in a fork of this process, after ``before``; return its exit status and what it said.

    A stage started from nothing would import torch for seconds.
    """
    module, *arguments = name.split("@")
    main = importlib.import_module(f"stages.{module}").main

    def stage():
        os.chdir(folder)
        before()
        stages.run(lambda params: main(params, *arguments), name)

    reader, writer = os.pipe()  # no file, whose size a test may limit
    sys.stdout.flush()
    child = os.fork()
    if not child:
        run_and_exit(stage, writer)
    os.close(writer)
    with os.fdopen(reader) as said:
        output = said.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), output
