"""The only module that reads and writes files of results.

A file is written under a temporary name in its own folder and then renamed: it is there whole or not at all. The
same results give the same bytes.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import psutil
import safetensors.torch
from pandas import DataFrame
from safetensors import SafetensorError
from torch import Tensor

Record = TypeVar("Record")


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
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON."""
    with _damage_named(path):
        return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, table: DataFrame) -> None:
    """Write a table as CSV, without its index; a missing value is an empty cell."""
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_table(path: Path) -> DataFrame:
    """Read a CSV table."""
    with _damage_named(path):
        return pd.read_csv(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a dictionary of tensors as safetensors."""
    write_bytes(path, safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a dictionary of tensors."""
    with _damage_named(path):
        return dict(safetensors.torch.load_file(path))


def write_record(folder: Path, record: Any) -> None:
    """Write a dataclass into a folder, and remove the tensors of an earlier one.

    A field that is a dictionary of tensors becomes ``<field>.safetensors``, all tensors together
    ``tensors.safetensors``, and the rest ``record.json``.
    """
    fields = dict(vars(record))
    files = {name: fields.pop(name) for name, value in vars(record).items() if _is_tensors(value)}
    if tensors := {name: fields.pop(name) for name, value in vars(record).items() if isinstance(value, Tensor)}:
        files["tensors"] = tensors
    for path in folder.glob("*.safetensors"):
        if path.stem not in files:
            path.unlink()
    for name, content in files.items():
        write_tensors(folder / f"{name}.safetensors", content)
    write_json(folder / "record.json", fields)


def read_record(kind: type[Record], folder: Path) -> Record:
    """Read a dataclass of the given kind from a folder; what is missing or too much is named."""
    fields = read_json(folder / "record.json")
    if not isinstance(fields, dict):
        raise ValueError(f"{folder / 'record.json'} is damaged: it must hold an object, got {type(fields).__name__}")
    for path in sorted(folder.glob("*.safetensors")):
        tensors = read_tensors(path)
        fields |= tensors if path.stem == "tensors" else {path.stem: tensors}
    expected = kind.__annotations__.keys()  # a dataclass's fields
    for names, what in ((expected - fields.keys(), "lacks"), (fields.keys() - expected, "holds")):
        if names:
            raise ValueError(f"{folder} is no {kind.__name__}: it {what} {', '.join(sorted(names))}")
    return kind(**fields)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _is_tensors(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(each, Tensor) for each in value.values())
