"""The only module that reads and writes files of results.

Every file is written to a temporary name in its own folder and then renamed, so that under its final
name there is the whole of it or nothing; and the same results give the same bytes.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import glob
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all; an error names the file.

    What a process that was killed here left of the same file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        for left in filter(_is_left, path.parent.glob(f".{glob.escape(path.name)}.*.tmp")):
            left.unlink(missing_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_left(temporary: Path) -> bool:
    """Tell whether the process whose number a temporary file bears is gone."""
    writer = Path(temporary.stem).suffix[1:]
    return writer.isdecimal() and not psutil.pid_exists(int(writer))


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented; NaN and infinity are refused."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def write_rows(path: Path, rows: Sequence[Mapping[str, str | int | float]]) -> None:
    """Write a CSV table whose columns are the keys of its first row; a table without rows is an empty file."""
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV table, everything as text."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a dictionary of tensors as safetensors."""
    write_bytes(path, safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a dictionary of tensors."""
    try:
        return dict(safetensors.torch.load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def write_record(folder: Path, record: Any) -> None:
    """Write a dataclass into a folder.

    A field that is a dictionary of tensors becomes ``<field>.safetensors``, all tensors together
    ``tensors.safetensors``, and the rest ``record.json``. What else of this kind an earlier record left is removed.
    """
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    files = {name: fields.pop(name) for name in list(fields) if _is_tensors(fields[name])}
    if tensors := {name: fields.pop(name) for name in list(fields) if isinstance(fields[name], Tensor)}:
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
    expected = {field.name for field in dataclasses.fields(kind)}
    if missing := expected - fields.keys():
        raise ValueError(f"{folder} is no {kind.__name__}: it lacks {', '.join(sorted(missing))}")
    if foreign := fields.keys() - expected:
        raise ValueError(f"{folder} is no {kind.__name__}: it holds {', '.join(sorted(foreign))}")
    return kind(**fields)


def _is_tensors(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(each, Tensor) for each in value.values())
