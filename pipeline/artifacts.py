"""The only module that reads and writes files of results.

A file is written under a temporary name in its own folder and then renamed: it is there whole or not at all. The
same results give the same bytes.

A record is a dataclass whose annotations say what it must be, and it is checked whole when it is read. In
``Annotated[Tensor, torch.uint8, "examples", "pixels"]`` stand the dtypes that are allowed and the axes: axes of one
name are equally long, ``"*"`` is any length, and ``"{}"``, in a dictionary of tensors, is the name of the entry. A list
has one axis. A dictionary in the annotation says it entry by entry. Numbers are finite, except where ``"NaN"`` stands.
What annotations cannot say, the record's ``require_whole`` checks.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import pandas as pd
import psutil
import safetensors.torch
import torch
from pandas import DataFrame
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from torch import Tensor

from pipeline.text import shown

Record = TypeVar("Record")
STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
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
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, kind: Any = None) -> Any:
    """Read JSON, as a record of the given kind if there is one."""
    with damage_named(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if kind is None else _whole(kind, content, {})


def write_table(path: Path, table: DataFrame) -> None:
    """Write a table as CSV, without its index; a missing value is an empty cell."""
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_table(path: Path, columns: Mapping[str, type] | None = None) -> DataFrame:
    """Read a CSV table, or of it the columns that are named, if they are of the given types."""
    with damage_named(path):
        wanted = None if columns is None else list(columns)
        return pd.read_csv(path, usecols=wanted, dtype=columns, keep_default_na=False, na_values=[""])


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a dictionary of tensors as safetensors."""
    write_bytes(path, safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a dictionary of tensors."""
    with damage_named(path):
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


def read_record(kind: type[Record], folder: Path, **sizes: int) -> Record:
    """Read a dataclass of the given kind from a folder; ``sizes`` are the lengths of axes that are known beforehand."""
    fields = read_json(folder / "record.json")
    for path in sorted(folder.glob("*.safetensors")) if isinstance(fields, dict) else []:
        tensors = read_tensors(path)
        fields |= tensors if path.stem == "tensors" else {path.stem: tensors}
    with damage_named(folder):
        return _whole(kind, fields, sizes)


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Say of an error in what was read which file is damaged, and how to make it again."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing; to make it: dvc repro") from error
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror or error}; {REMEDY.format(path)}") from error
    except (ValueError, RuntimeError, OverflowError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged: {shown(error, longest=300)}; {REMEDY.format(path)}") from error


def _whole(kind: type[Record], fields: Any, sizes: dict[str, int]) -> Record:
    """Make a record of what was read, if it is all that the record's annotations say."""
    try:
        kind(**fields)
        record = kind(**vars(dataclass(kind, config=STRICT, frozen=True)(**fields)))  # pydantic checks types
    except TypeError as error:  # no object, or other fields
        raise ValueError(f"it is no {kind.__name__}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where} is {shown(repr(first['input']))}: {first['msg']}") from error
    for field, hint in get_type_hints(kind, include_extras=True).items():
        _require(field, getattr(record, field), getattr(hint, "__metadata__", ()), sizes)
    if hasattr(record, "require_whole"):
        record.require_whole(sizes)
    return record


def _require(name: str, value: Any, wanted: Sequence[Any], sizes: dict[str, int]) -> None:
    """Check a value, or each entry of a dictionary, as annotated; an axis of a new name is added to ``sizes``."""
    if isinstance(value, dict):
        by_key = wanted[0] if wanted and isinstance(wanted[0], dict) else dict.fromkeys(value, wanted)
        if value.keys() != by_key.keys():
            raise ValueError(f"{name} holds {', '.join(value) or 'nothing'}: must hold {', '.join(by_key)}")
        for key, each in value.items():
            _require(f"{name}.{key}", each, by_key[key], sizes)
        return
    dtypes = [each for each in wanted if isinstance(each, torch.dtype)]
    if axes := [axis for axis in wanted if axis not in ("NaN", *dtypes)]:
        shape = tuple(value.shape) if isinstance(value, Tensor) else (len(value),)
        if len(shape) != len(axes):
            raise ValueError(f"{name} has the shape {shape}: must have the axes {', '.join(axes)}")
        for axis, length in zip(axes, shape, strict=True):
            key = name.rpartition(".")[2] if axis == "{}" else axis
            if axis != "*" and sizes.setdefault(key, length) != length:
                raise ValueError(f"{name} has the shape {shape}: must have {sizes[key]} as {key}")
    if dtypes and value.dtype not in dtypes:
        raise ValueError(f"{name} is of {value.dtype}: must be {' or '.join(map(str, dtypes))}")
    if dtypes and value.is_floating_point() and "NaN" not in wanted and not value.isfinite().all():
        raise ValueError(f"{name} holds {value[~value.isfinite()][0].item()}: must be finite")


def _is_tensors(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(each, Tensor) for each in value.values())
