"""The only module that reads and writes files of results.

A file is written under a temporary name in its own folder and then renamed: it is there whole or not at all. The
same results give the same bytes.

A record is a dataclass in a folder of its own, beside the SHA-256 checksums of its files. A changed record is refused.
"""

import contextlib
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import psutil
import safetensors.torch
from pandas import DataFrame
from safetensors import SafetensorError
from torch import Tensor

from pipeline.text import shown

Record = TypeVar("Record")
CHECKSUMS = "SHA256SUMS"
REMEDY = "to make it again: python -m tools.verify --remove {} && dvc repro"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and remove what a killed process left of it; an error names the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            writer = Path(left.stem).suffix[1:]  # a process id
            if writer.isdecimal() and not psutil.pid_exists(int(writer)):
                left.unlink(missing_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented; NaN and infinity are refused."""
    write_bytes(path, _as_json(content))


def read_json(path: Path) -> Any:
    """Read JSON."""
    with damage_named(path):
        return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, table: DataFrame) -> None:
    """Write a table as CSV, without its index; a missing value is an empty cell."""
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_table(path: Path, columns: Mapping[str, type] | None = None) -> DataFrame:
    """Read a CSV table, or of it the columns that are named, if they are of the given types."""
    with damage_named(path):
        wanted = None if columns is None else list(columns)
        return pd.read_csv(path, usecols=wanted, dtype=columns, keep_default_na=False, na_values=[""])


def write_record(folder: Path, record: Any) -> None:
    """Write a dataclass into a folder, and remove the tensors of an earlier one.

    A field that is a dictionary of tensors becomes ``<field>.safetensors``, all tensors together
    ``tensors.safetensors``, and the rest ``record.json`` (keys become strings, tuples lists). ``SHA256SUMS`` lists the
    checksums of these files, as ``sha256sum`` writes them.
    """
    fields = dict(vars(record))
    groups = {name: fields.pop(name) for name, value in vars(record).items() if _is_tensors(value)}
    if tensors := {name: fields.pop(name) for name, value in vars(record).items() if isinstance(value, Tensor)}:
        groups["tensors"] = tensors
    files = {"record.json": _as_json(fields)}
    for name, group in groups.items():
        in_order = {key: tensor.contiguous() for key, tensor in group.items()}
        files[f"{name}.safetensors"] = safetensors.torch.save(in_order)
    for path in folder.glob("*.safetensors"):
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        write_bytes(folder / name, content)
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    write_bytes(folder / CHECKSUMS, "".join(sums).encode())


def read_record(kind: type[Record], folder: Path) -> Record:
    """Read a dataclass of the given kind from a folder, and refuse it if a file does not have its checksum."""
    fields: dict[str, Any] = {}
    with damage_named(folder / CHECKSUMS):
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8")
    with damage_named(folder):
        if not re.fullmatch(r"([0-9a-f]{64}  (record\.json|\w+\.safetensors)\n)+", lines):
            raise ValueError(f"{CHECKSUMS} is no list of checksums")
        for checksum, name in re.findall(r"(\w+)  (\S+)\n", lines):
            path = folder / name
            if not path.exists():
                raise ValueError(f"{name} is missing")
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != checksum:
                raise ValueError(f"{name} does not match its checksum in {CHECKSUMS}")
            values = json.loads(content) if path.suffix == ".json" else _tensors_of(content)
            fields |= values if path.stem in ("record", "tensors") else {path.stem: values}
        try:
            return kind(**fields)
        except TypeError as error:  # other fields, or of another type
            raise ValueError(f"it is no {kind.__name__}: {error}") from error


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Say of an error in what was read which file is damaged, and how to make it again."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing; to make it: dvc repro") from error
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror or error}; {REMEDY.format(path)}") from error
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged: {shown(error, longest=300)}; {REMEDY.format(path)}") from error


def _as_json(content: Any) -> bytes:
    """Encode JSON, indented; NaN and infinity are refused."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _tensors_of(content: bytes) -> dict[str, Tensor]:
    return dict(sorted(safetensors.torch.load(content).items()))  # which gives them in another order each time


def _is_tensors(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(each, Tensor) for each in value.values())
