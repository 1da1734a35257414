"""Check DVC's cache and the outputs of the pipeline against their checksums; ``--remove`` takes an output away.

DVC believes a write-protected object of its cache without reading it. After a loss of power such an object may be empty
or wrong: DVC checks it out and pushes it, and `dvc repro --force` leaves it in place. Once the output and its objects
are removed, `dvc repro` makes them again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.artifacts import REMEDY
from pipeline.text import shown

LOCK = Path("dvc.lock")
OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # the name of an object in the cache


def main() -> None:
    """Name what is damaged, or remove an output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--remove", type=Path, metavar="PATH", help="an output, or a file or folder in it")
    path = parser.parse_args().remove
    asked = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], check=True, capture_output=True, text=True)
    folder = Path(asked.stdout.strip())
    cache = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    if path:
        remove(cache / "files/md5", path)
    elif damaged := list(verify(cache / "files/md5")):
        sys.exit("\n".join(damaged))
    else:
        print("every object in DVC's cache has its checksum, and so have the outputs")


def verify(cache: Path) -> Iterator[str]:
    """Say of each output, and of each object of the cache that none of them uses, whether it is damaged."""
    objects = {path.parent.name + path.name: path for path in cache.glob("??/*")}
    objects = {name: path for name, path in objects.items() if OBJECT.fullmatch(name)}
    damaged = {name for name, path in objects.items() if md5_of(path) != name.removesuffix(".dir")}
    used = set()
    for stage, path, md5 in outputs():
        names = objects_of(cache, md5)
        used |= names
        # On the disk may also be the output of another revision, which is whole in the cache under its own name.
        known = {md5, *objects} - damaged
        if names & damaged or (path.exists() and md5_of(path) not in known):
            yield f"{stage}: {path} is damaged; {REMEDY.format(path)}"
    for name in sorted(damaged - used):
        yield f"{objects[name]} is damaged, and no output in {LOCK} uses it: rm -f {objects[name]}"


def remove(cache: Path, path: Path) -> None:
    """Remove the output that holds a path, and its objects in the cache."""
    found = [(out, md5) for _, out, md5 in outputs() if path.is_relative_to(out)]
    if not found:
        sys.exit(f"{path} is in no output that {LOCK} names")
    for out, md5 in found:
        for name in objects_of(cache, md5):
            (cache / name[:2] / name[2:]).unlink(missing_ok=True)
        if out.is_dir():
            shutil.rmtree(out)
        out.unlink(missing_ok=True)


def outputs() -> Iterator[tuple[str, Path, str]]:
    """Yield stage, path and checksum of each output."""
    try:
        stages = YAML(typ="safe").load(LOCK)["stages"]
        listed = [(stage, out) for stage, locked in stages.items() for out in locked.get("outs", [])]
        yield from [(stage, Path(out["path"]), out["md5"]) for stage, out in listed]
    except OSError as error:
        sys.exit(f"{LOCK} cannot be read: {error.strerror}")
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        sys.exit(f"{LOCK} is damaged: {shown(error)}; to take the committed one: git checkout {LOCK}")


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
    ignored = GitIgnoreSpec.from_lines(Path(".dvcignore").read_text(encoding="utf-8").splitlines())
    kept = [each for each in path.rglob("*") if each.is_file() and not ignored.match_file(each)]
    files = sorted(each.relative_to(path).as_posix() for each in kept)
    listed = json.dumps([{"md5": md5_of(path / name), "relpath": name} for name in files], sort_keys=True)
    return f"{hashlib.md5(listed.encode()).hexdigest()}.dir"


if __name__ == "__main__":
    main()
