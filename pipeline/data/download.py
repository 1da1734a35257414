"""Fetch, verify and decode the data.

A file is taken from the folder or base URL in the environment variable ``DATA_MIRROR``, then from the data
set's mirrors in their order; what fails its checksum is thrown away and the next source tried.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import queue
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from pipeline.data.preprocessing import Dataset, split_indices
from pipeline.data.sources import IMAGES, LABELS, TEST, TRAIN, origin_of

SIDE = 28
DIGITS_TEST_FRACTION = 0.2
SILENCE_LIMIT = 20  # seconds without a byte
FILE_LIMIT = 300  # seconds for one file from one source
SIZE_LIMIT = 64 * 2**20  # bytes of one file, packed or unpacked; the largest has 45 MiB


class DataUnavailableError(RuntimeError):
    """No source gave the files; the message lists what was tried."""


def load(name: str, mirror: str | None = None) -> Dataset:
    """Fetch a data set, or take the bundled digits.

    Parameters
    ----------
    name : str
        ``"digits"``, or one of :data:`pipeline.data.sources.ORIGINS`.
    mirror : str, optional
        A folder or base URL to ask first; the files lie in it or in its subfolder ``name``.

    Returns
    -------
    Dataset

    Raises
    ------
    DataUnavailableError
        If a file can be had from no source, or labels do not belong to their images.
    ValueError
        If there is no data set of this name.
    """
    if name == "digits":
        return _digits()
    origin = origin_of(name)
    bases = [f"{mirror.rstrip('/')}/{name}/", f"{mirror.rstrip('/')}/"] if mirror else []
    arrays = {file: _fetch(file, sha256, [*bases, *origin.mirrors]) for file, sha256 in origin.sha256.items()}
    for part in (TRAIN, TEST):
        images, labels = len(arrays[IMAGES.format(part)]), len(arrays[LABELS.format(part)])
        if images != labels:
            raise DataUnavailableError(f"{name}: {LABELS.format(part)} holds {labels:,} labels for {images:,} images")
    return Dataset(
        name=name,
        classes=list(origin.classes),
        train_images=arrays[IMAGES.format(TRAIN)].flatten(start_dim=1),
        train_labels=arrays[LABELS.format(TRAIN)],
        test_images=arrays[IMAGES.format(TEST)].flatten(start_dim=1),
        test_labels=arrays[LABELS.format(TEST)],
    )


def _fetch(file: str, sha256: str, bases: Sequence[str]) -> Tensor:
    """Return what the first copy of a file with the right checksum holds."""
    failures = []
    for base in bases:
        try:
            packed = _read_in_time(base + file)
            if hashlib.sha256(packed).hexdigest() != sha256:
                raise ValueError(f"{len(packed):,} bytes with a wrong SHA-256 checksum")
            return _decode(packed, (SIDE, SIDE) if "images" in file else ())
        except (OSError, EOFError, ValueError, zlib.error) as error:
            failures.append(f"{base}: {_reason(error)}")
    tried = "\n  ".join(failures)
    raise DataUnavailableError(
        f"{file} could not be had from any source:\n  {tried}\n"
        "Set DATA_MIRROR to a folder or URL with the files, or data.dataset to digits."
    )


def _read_in_time(source: str) -> bytes:
    """Read a file or an URL within :data:`FILE_LIMIT`, whatever in it takes long: name, redirects, headers or body."""
    answers: queue.SimpleQueue[bytes | str] = queue.SimpleQueue()

    def read() -> None:
        try:
            answers.put(_read(source))
        except Exception as error:
            answers.put(_reason(error))

    threading.Thread(target=read, daemon=True).start()
    try:
        answer = answers.get(timeout=FILE_LIMIT)
    except queue.Empty:
        answer = f"took more than {FILE_LIMIT} seconds"
    if isinstance(answer, str):
        raise OSError(answer)
    return answer


def _read(source: str) -> bytes:
    is_url = "://" in source
    with urllib.request.urlopen(source, timeout=SILENCE_LIMIT) if is_url else Path(source).open("rb") as stream:
        content: bytes = stream.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise OSError(f"sent more than {SIZE_LIMIT:,} bytes")
    return content


def _decode(packed: bytes, shape: tuple[int, ...]) -> Tensor:
    """Unpack a gzipped IDX file: 0, 0, 8 for bytes, the number of axes, their lengths, the items of the given shape.

    Raises
    ------
    OSError, EOFError, ValueError, zlib.error
        If it is not such a file, or larger than :data:`SIZE_LIMIT`.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"unpacks to more than {SIZE_LIMIT:,} bytes")
    axes = 1 + len(shape)
    magic, lengths, values = content[:4], content[4 : 4 + 4 * axes], content[4 + 4 * axes :]
    if magic != bytes([0, 0, 8, axes]):
        raise ValueError(f"starts with {magic.hex(' ')}, not with 00 00 08 0{axes}")
    promised = [int.from_bytes(lengths[k : k + 4], "big") for k in range(0, len(lengths), 4)]
    if tuple(promised[1:]) != shape or len(values) != math.prod(promised):
        raise ValueError(f"holds {len(values):,} values where its header promises {promised}")
    return torch.from_numpy(np.frombuffer(values, np.uint8).copy()).reshape(promised)


def _reason(error: Exception) -> str:
    """Put an error into one short line."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return " ".join(str(error).split())


def _digits() -> Dataset:
    """Enlarge scikit-learn's bundled 8x8 scans to 28x28 and set a fifth of them aside as the test set."""
    digits = load_digits()
    scans = (digits.images * (255 / 16)).round().astype(np.uint8)
    enlarged = [np.asarray(Image.fromarray(scan).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for scan in scans]
    images = torch.from_numpy(np.stack(enlarged)).flatten(start_dim=1)
    labels = torch.from_numpy(digits.target.astype(np.uint8))
    train, test = split_indices(len(images), DIGITS_TEST_FRACTION, seed=0)
    return Dataset(
        name="digits",
        classes=[str(name) for name in digits.target_names],
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
    )
