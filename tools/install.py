"""Install the packages of requirements.lock, and of further locks, into .venv: ``python -I -S tools/install.py``.

If all is there, nothing is done. A new environment is built beside the old one and takes its place when complete.
This runs outside of .venv, with the standard library alone.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from typing import Any

ENVIRONMENT, NEW, OLD = (Path(name).absolute() for name in (".venv", ".venv.new", ".venv.old"))
LOCK = "requirements.lock"
NOTE = "installed"  # a file of the environment: the checksums of its locks, and the names in each folder
PIP = ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
HERE = ["--no-user", "--target=", "--root=/"]  # with --prefix: into the environment, whatever pip.conf says
SETUPTOOLS = re.compile(r"^setuptools==.*(\n .*)*", re.MULTILINE)  # comes first, as it builds the source packages
SHEBANG = re.compile(rb"\A#!(/bin/sh\n'''exec' .*\n' '''|.*/python[\d.]*)\n")
LAUNCHER = b"""#!/bin/sh\n'''exec' "$(dirname "$0")/python" "$0" "$@"\n' '''\n"""  # Python takes it for a text


def main(*others: str) -> None:
    """Install what is not there yet. Of two that run at once, the second waits and finds it done."""
    if not any((folder / ".git").exists() for folder in ENVIRONMENT.parents):
        sys.exit("DVC needs a git repository: type git init && git add . && git commit -m 'As downloaded'")
    with Path(".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tidy()
        if not is_whole() or not is_installed(LOCK):
            build()
        for other in others:
            if not is_installed(other):
                announce(other)
                install(ENVIRONMENT, other)


def is_installed(lock: str) -> bool:
    """Tell whether the environment has the packages of a lock as it is now."""
    return noted(ENVIRONMENT, "locks").get(lock) == checksum(lock)


def is_whole() -> bool:
    """Tell whether nothing was deleted; files that you have added do no harm."""
    now = contents(ENVIRONMENT)
    whole = all(set(names) <= set(now.get(folder, [])) for folder, names in noted(ENVIRONMENT, "contents").items())
    return whole and (ENVIRONMENT / version_of(ENVIRONMENT / "bin/python")).is_dir()


def version_of(python: Path) -> str:
    """Return the folder of the packages of an interpreter, which may be another one than when they were installed."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        code = "import sys; print(f'lib/python{sys.version_info[0]}.{sys.version_info[1]}')"
        said = subprocess.check_output([python, "-I", "-S", "-c", code], text=True)
        return said.strip()
    return "lib/none"


def build() -> None:
    """Build an environment, and only then remove the old one; a mount point cannot be replaced, so it is emptied."""
    if not importlib.util.find_spec("ensurepip"):
        sys.exit(f"{sys.executable} has no ensurepip: install python3-venv")
    announce(LOCK)
    new = ENVIRONMENT if os.path.ismount(ENVIRONMENT) else NEW
    remove(new)
    try:
        venv.create(new, symlinks=True, with_pip=True, prompt=ENVIRONMENT.name)
        if setuptools := SETUPTOOLS.search(Path(LOCK).read_text(encoding="utf-8")):
            (new / "setuptools.lock").write_text(setuptools[0], encoding="utf-8")
            pip_install(new, new / "setuptools.lock")
        install(new, LOCK)
        if new == NEW:
            if os.path.lexists(ENVIRONMENT):
                ENVIRONMENT.rename(OLD)
            NEW.rename(ENVIRONMENT)
    finally:
        tidy()


def tidy() -> None:
    """Put the old environment back if the new one has not taken its place, and remove what else was left."""
    if os.path.lexists(OLD) and not os.path.lexists(ENVIRONMENT):
        OLD.rename(ENVIRONMENT)
    remove(NEW)
    remove(OLD)


def install(environment: Path, lock: str) -> None:
    """Install the packages of a lock by their hashes, and note it."""
    pip_install(environment, lock, "--no-build-isolation", "--use-pep517")  # source packages: by the locked setuptools
    for script in (environment / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            free_of_its_folder(script)
    note = {"locks": noted(environment, "locks") | {lock: checksum(lock)}, "contents": contents(environment)}
    (environment / NOTE).write_text(json.dumps(note), encoding="utf-8")


def pip_install(environment: Path, lock: str | Path, *options: str) -> None:
    """Let the environment's pip install the packages of a lock into it."""
    python, prefix = environment / "bin/python", f"--prefix={environment}"
    # pip starts itself again under PIP_PYTHON, without -I.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PIP_PYTHON": f"{python}", "PIP_DRY_RUN": "0"}  # before pip.conf's
    subprocess.run([python, *PIP, *HERE, prefix, *options, "--requirement", lock], env=env, check=True)


def announce(lock: str) -> None:
    """Say what is installed and how large it is, and every eight seconds that it goes on: pip is silent for minutes."""
    size = "7 GB of disk, several minutes" if lock == LOCK else "0.5 GB of disk at most"
    print(f"installing {lock} into {ENVIRONMENT.name}: {size}", flush=True)
    start = time.monotonic()

    def go_on() -> None:
        while True:
            time.sleep(8)
            print(f"  still installing, {time.monotonic() - start:.0f} s", flush=True)

    threading.Thread(target=go_on, daemon=True).start()


def free_of_its_folder(script: Path) -> None:
    """Make a script start the Python beside it, so that the environment can be moved."""
    text = script.read_bytes()
    if b"\0" not in text:  # no program
        script.write_bytes(SHEBANG.sub(LAUNCHER, text).replace(bytes(NEW), bytes(ENVIRONMENT)))


def checksum(lock: str) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(Path(lock).read_bytes()).hexdigest()


def noted(environment: Path, what: str) -> dict[str, Any]:
    """Read what was noted when packages were installed; nothing, if that never ended or the note is damaged."""
    try:
        return dict(json.loads((environment / NOTE).read_text(encoding="utf-8"))[what])
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def contents(environment: Path) -> dict[str, list[str]]:
    """List the names in each folder, without Python's own caches."""
    names = {}
    for folder, folders, files in os.walk(environment):
        folders[:] = [name for name in folders if name != "__pycache__"]
        names[os.path.relpath(folder, environment)] = folders + files
    return names


def remove(path: Path) -> None:
    """Remove a folder, or a link to one but not the folder."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError:
        sys.exit("the packages could not be installed: see above; .venv, if no mount point, is as it was")
    except (OSError, ValueError) as error:
        sys.exit(f"the packages could not be installed: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
