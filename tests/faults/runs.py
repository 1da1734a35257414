"""A `dvc repro` to do harm to, and stages to run in a process of their own that starts at once."""

import contextlib
import copy
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import psutil

import stages

PATIENCE = 30  # seconds until something that must happen counts as never happening
ENVIRONMENTS = [  # nothing in them may change a byte
    {"SHELL": "/bin/sh", "PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"SHELL": "/bin/bash", "PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu"},
    {"SHELL": "/bin/sh", "PYTHONHASHSEED": "3", "LC_ALL": "tr_TR.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
    {"SHELL": "/bin/bash", "PYTHONHASHSEED": "random", "LANG": "POSIX", "TZ": "America/St_Johns"},
]
UMASKS = [0o022, 0o077, 0o007, 0o002]
WORKING_DIRECTORIES = ["/", tempfile.gettempdir()]


def until(condition):
    """Wait for a condition and return what it gave, or None where it never came."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return value


def copy_of(clone, folder):
    """Copy a clone with its outputs and its cache."""
    twin = copy.copy(clone)
    twin.folder = folder / "clone"
    shutil.copytree(clone.folder, twin.folder, symlinks=True)
    return twin


def git(clone, *arguments):
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, cwd=clone.folder, check=True, capture_output=True, text=True).stdout


def git_clone_of(clone, folder):
    """Commit a copy of a clone and clone that, which leaves its outputs and its cache behind."""
    origin = copy_of(clone, folder / "origin")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "A run")
    twin = copy.copy(clone)
    twin.folder = folder / "clone"
    git(origin, "clone", "--quiet", str(origin.folder), str(twin.folder))
    return twin


class Repro:
    """A `dvc repro` that runs in a session of its own, in the k-th environment."""

    def __init__(self, clone, k=0, *, arguments=()):
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the run
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "--cd", str(clone.folder), "repro", *arguments],
            cwd=WORKING_DIRECTORIES[k % len(WORKING_DIRECTORIES)],
            env=clone.env | ENVIRONMENTS[k % len(ENVIRONMENTS)],
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
        self.log.close()

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

    def send(self, target, number):
        """Send a signal to the stage (once there is one), to dvc, or to all as a terminal does."""
        if target == "group":
            os.killpg(self.process.pid, number)
        elif target == "dvc":
            self.process.send_signal(number)
        elif stage := until(lambda: self.stage() or self.process.poll() is not None):
            with contextlib.suppress(psutil.Error, AttributeError):
                stage.send_signal(number)

    def output(self):
        self.log.seek(0)
        return self.log.read().decode()

    def finish(self):
        """Wait for dvc, then for whatever it leaves; return dvc's exit status and what was said."""
        status = self.process.wait(PATIENCE * 10)
        assert until(lambda: not self.members()), [process.cmdline() for process in self.members()]
        return status, self.output()


def run_stage(folder, name, *, before=lambda: None):
    """Run a stage in a fork of this process, after ``before``; return its exit status and what it said.

    A stage started from nothing would import torch for seconds.
    """
    module, *arguments = name.split("@")
    main = importlib.import_module(f"stages.{module}").main
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = 70
        try:
            os.chdir(folder)
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            before()
            stages.run(lambda params: main(params, *arguments), name)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
            print(end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as said:
        output = said.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), output
