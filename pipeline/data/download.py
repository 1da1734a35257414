"""Fetch, verify and decode the data.

Each file is read from the folder or base URL in the environment variable ``DATA_MIRROR``, then from the data set's
mirrors in their order. A copy with a wrong checksum is never decoded: the next source is tried.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import queue
import tempfile
import threading
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from pipeline.data.preprocessing import Dataset, split_indices
from pipeline.data.sources import FILES, source_of

SIDE = 28  # pixels
DIGITS_TEST_FRACTION = 0.2
SILENCE_LIMIT = 20  # seconds without a byte
FILE_LIMIT = 300  # seconds for one file from one source
SIZE_LIMIT = 64 * 2**20  # bytes of one file, packed or unpacked; the largest has 45 MiB


class DataUnavailableError(RuntimeError):
    """No source gave the files; the message lists what was tried."""


def load(name: str, mirror: str | None = None) -> Dataset:
    """Fetch one of the :data:`pipeline.data.sources.SOURCES`, or take the bundled ``"digits"``.

    ``mirror`` is a folder or base URL to try first; the files lie in it or in its subfolder ``name``. If no source has
    a file, or the numbers of labels and images differ, that is a :class:`DataUnavailableError`.
    """
    if name == "digits":
        return _digits()
    source = source_of(name)
    bases = [f"{mirror.rstrip('/')}/{name}/", f"{mirror.rstrip('/')}/"] if mirror else []
    train_images, train_labels, test_images, test_labels = (
        _fetch(file, source.sha256[file], [*bases, *source.mirrors]) for file in FILES
    )
    for file, images, labels in ((FILES[1], train_images, train_labels), (FILES[3], test_images, test_labels)):
        if len(images) != len(labels):
            raise DataUnavailableError(f"{name}: {file} holds {len(labels):,} labels for {len(images):,} images")
    return Dataset(name, source.classes, train_images.flatten(1), train_labels, test_images.flatten(1), test_labels)


def _fetch(file: str, sha256: str, bases: list[str]) -> Tensor:
    """Decode the first copy of a file that has the right checksum."""
    failures = []
    for base in bases:
        try:
            packed = _read_in_time(base + file)
            if hashlib.sha256(packed).hexdigest() != sha256:
                raise ValueError(f"{len(packed):,} bytes with a wrong SHA-256 checksum")
            return _decode(packed, (SIDE, SIDE) if "images" in file else ())
        except (OSError, EOFError, ValueError, zlib.error) as error:
            failures.append(f"{base}: {_reason(error)}")
    advice = "Set DATA_MIRROR to a folder or URL with the files, or data.dataset to digits."
    raise DataUnavailableError("\n  ".join([f"{file} could not be had from any source:", *failures]) + f"\n{advice}")


def _read_in_time(path: str) -> bytes:
    """Read a file or URL within :data:`FILE_LIMIT`, whichever part is slow: name, redirects, headers or body."""
    answers: queue.SimpleQueue[bytes | str] = queue.SimpleQueue()

    def read() -> None:
        try:
            answers.put(_read(path))
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


def _read(path: str) -> bytes:
    is_url = "://" in path
    with urllib.request.urlopen(path, timeout=SILENCE_LIMIT) if is_url else Path(path).open("rb") as stream:
        content: bytes = stream.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise OSError(f"sent more than {SIZE_LIMIT:,} bytes")
    return content


def _decode(packed: bytes, shape: tuple[int, ...]) -> Tensor:
    """Unpack a gzipped IDX file of bytes into ``(n, *shape)`` uint8 values."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        content = stream.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"unpacks to more than {SIZE_LIMIT:,} bytes")
    with tempfile.TemporaryFile() as file:  # torchvision's reader takes a path; an unnamed file is never left over
        file.write(content)
        file.seek(0)
        try:
            # The reader's reshape refuses a wrong number of values with a message; its strict mode does so without.
            values: Tensor = read_sn3_pascalvincent_tensor(f"/dev/fd/{file.fileno()}", strict=False)
        except Exception as error:
            raise ValueError(f"not an IDX file: {error!r}") from error
    if values.dtype != torch.uint8 or values.shape[1:] != shape:
        raise ValueError(f"holds {values.dtype} items of shape {[*values.shape[1:]]}, not bytes of shape {[*shape]}")
    return values


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
    classes = [str(name) for name in digits.target_names]
    return Dataset("digits", classes, images[train], labels[train], images[test], labels[test])
