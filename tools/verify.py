"""Check DVC's cache and the outputs of the pipeline against their checksums; ``--remove`` takes an output away.

DVC believes a write-protected object of its cache without reading it. After a loss of power such an object may be empty
or wrong: DVC checks it out and pushes it, and `dvc repro --force` leaves it in place. Once the output and its objects
are removed, `dvc repro` makes them again.
"""

import argparse
import contextlib
import hashlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.artifacts import REMEDY
from pipeline.text import shown
from tools.configure import dvc

LOCK, IGNORE = Path("dvc.lock"), Path(".dvcignore")
OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # the name of an object in the cache


def main() -> None:
    """Name what is damaged, or remove an output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--remove", metavar="PATH", help="an output, a file or folder in it, or a folder of outputs")
    path = parser.parse_args().remove
    if path == "":  # as from a variable that is not set; Path("") would be this folder, with all outputs
        parser.error("--remove got an empty path, and wants an output, a part of one or a folder of outputs")
    try:
        if path:
            remove(cache_folder(), Path(path))
        elif damaged := list(verify(cache_folder())):
            sys.exit("\n".join(damaged))
        else:
            missing = sum(not path.exists() for _, path, _ in outputs())
            print("every object in DVC's cache has its checksum, and so have the outputs")
            if missing:
                print(f"outputs that are not here: {missing}; to get them: dvc repro")
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}; correct its kind, owner or permissions, or check the disk")


def cache_folder() -> Path:
    """Ask DVC where the objects of its cache lie."""
    folder = Path(dvc("cache", "dir").strip(), "files/md5")
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def verify(cache: Path) -> Iterator[str]:
    """Say of each output, and of each object of the cache that none of them uses, whether it is damaged."""
    folders = [folder for folder in cache.iterdir() if folder.is_dir()] if cache.exists() else []
    objects = {folder.name + path.name: path for folder in folders for path in folder.iterdir()}
    objects = {name: path for name, path in objects.items() if OBJECT.fullmatch(name)}
    damaged = {name: said for name, path in objects.items() if (said := fault(path, {name.removesuffix(".dir")}))}
    used = set()
    for stage, path, md5 in outputs():
        names = objects_of(cache, md5)
        used |= names
        # On the disk may also be the output of another revision, which is whole in the cache under its own name.
        known = {md5, *objects} - damaged.keys()
        faults = [damaged[name] for name in sorted(names) if name in damaged]
        faults += [fault(path, known)] if path.exists() else []
        if said := next(filter(None, faults), ""):
            yield f"{stage}: {path} {said}; {REMEDY.format(path)}"
    for name in sorted(damaged.keys() - used):
        quoted = shlex.quote(f"{objects[name]}")
        yield f"{quoted} {damaged[name]}, and no output in {LOCK} uses it: rm -rf {quoted}"


def fault(path: Path, checksums: set[str]) -> str:
    """Say what is wrong with a file or folder that must have one of the checksums; nothing if it has."""
    try:
        return "" if md5_of(path) in checksums else "is damaged"
    except OSError as error:
        return f"cannot be read ({error.filename or path}: {error.strerror})"


def remove(cache: Path, path: Path) -> None:
    """Remove the output that holds a path, or the outputs in it, and their objects in the cache."""
    found = [(out, md5) for _, out, md5 in outputs() if path.is_relative_to(out) or out.is_relative_to(path)]
    if not found:
        sys.exit(f"{path} is in no output that {LOCK} names")
    for out, md5 in found:
        for each in (out, *(cache / name[:2] / name[2:] for name in objects_of(cache, md5))):
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink(missing_ok=True)


def outputs() -> Iterator[tuple[str, Path, str]]:
    """Yield stage, path and checksum of each output."""
    with committed(LOCK):
        stages = YAML(typ="safe").load(LOCK)["stages"]
        listed = [(stage, out) for stage, locked in stages.items() for out in locked.get("outs", [])]
        found = [(stage, Path(out["path"]), f"{out['md5']}") for stage, out in listed]
    yield from found


@contextlib.contextmanager
def committed(path: Path) -> Iterator[None]:
    """End with one line if a file that git holds cannot be read."""
    try:
        yield
    except (OSError, YAMLError, re.error, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = shown(getattr(error, "strerror", None) or error)
        sys.exit(f"{path} cannot be read: {reason}; to take the committed one: git checkout {path}")


def objects_of(cache: Path, md5: str) -> set[str]:
    """Return the names of an output's objects: of a folder, its list and, as far as that can be read, its files."""
    try:
        listed = json.loads((cache / md5[:2] / md5[2:]).read_bytes()) if md5.endswith(".dir") else []
        return {md5, *(each["md5"] for each in listed if OBJECT.fullmatch(each["md5"]))}
    except (OSError, ValueError, TypeError, KeyError):
        return {md5}


def md5_of(path: Path) -> str:
    """Return the checksum of a file, or DVC's of a folder: that of its list of files, without what DVC ignores."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    ignored = patterns()
    kept = [each for each in path.rglob("*") if each.is_file() and not ignored.match_file(each)]
    files = sorted(each.relative_to(path).as_posix() for each in kept)
    listed = json.dumps([{"md5": md5_of(path / name), "relpath": name} for name in files], sort_keys=True)
    return f"{hashlib.md5(listed.encode()).hexdigest()}.dir"


def patterns() -> GitIgnoreSpec:
    """Read what DVC ignores."""
    with committed(IGNORE):
        return GitIgnoreSpec.from_lines(IGNORE.read_text(encoding="utf-8").splitlines() if IGNORE.exists() else [])


if __name__ == "__main__":
    main()
