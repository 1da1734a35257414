"""Fetch, verify and decode the data.

A file is taken from the folder or base URL in the environment variable ``DATA_MIRROR``, then from
torchvision's mirrors in their order; what fails its checksum is thrown away and the next source tried.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from pipeline.checksums import SHA256
from pipeline.preprocessing import Dataset, split_indices

DOWNLOADABLE: dict[str, type[MNIST]] = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "kmnist": KMNIST}
SIDE = 28
DIGITS_TEST_FRACTION = 0.2
SILENCE_LIMIT = 20  # seconds without a byte
FILE_LIMIT = 300  # seconds for one file from one source
SIZE_LIMIT = 64 * 2**20  # bytes of one file, six times the largest there is


class DataUnavailableError(RuntimeError):
    """No source gave the files; the message lists what was tried."""


def load(name: str, mirror: str | None = None) -> Dataset:
    """Fetch a data set, or take the bundled digits.

    Parameters
    ----------
    name : {"mnist", "fashion_mnist", "kmnist", "digits"}
    mirror : str, optional
        A folder or base URL to ask first; the files lie in it or in its subfolder ``name``.

    Returns
    -------
    Dataset

    Raises
    ------
    DataUnavailableError
        If a file can be had from no source.
    """
    if name == "digits":
        return _digits()
    source = DOWNLOADABLE[name]
    bases = [f"{mirror.rstrip('/')}/{name}/", f"{mirror.rstrip('/')}/"] if mirror else []
    bases += source.mirrors
    with tempfile.TemporaryDirectory(prefix="mnist-") as root:
        raw = Path(root, source.__name__, "raw")
        raw.mkdir(parents=True)
        for filename, md5 in source.resources:
            packed = _fetch(filename, md5, SHA256.get(name, {}).get(filename), bases)
            (raw / filename.removesuffix(".gz")).write_bytes(gzip.decompress(packed))
        train, test = source(root, train=True), source(root, train=False)
    return Dataset(
        name=name,
        classes=[label.split(" - ")[0] for label in source.classes],
        train_images=train.data.flatten(start_dim=1),
        train_labels=train.targets.to(torch.uint8),
        test_images=test.data.flatten(start_dim=1),
        test_labels=test.targets.to(torch.uint8),
    )


def _fetch(filename: str, md5: str, sha256: str | None, bases: Sequence[str]) -> bytes:
    """Return the first copy of a file that has the right checksum."""
    failures = []
    for base in bases:
        try:
            packed = _read(base + filename)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"{base}{filename}: {' '.join(str(error).split())}")
            continue
        if hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5:
            failures.append(f"{base}{filename}: {len(packed)} bytes with a wrong MD5 checksum")
        elif sha256 and hashlib.sha256(packed).hexdigest() != sha256:
            failures.append(f"{base}{filename}: {len(packed)} bytes with a wrong SHA-256 checksum")
        else:
            return packed
    tried = "\n  ".join(failures)
    raise DataUnavailableError(
        f"{filename} could not be had from any source:\n  {tried}\n"
        "Set DATA_MIRROR to a folder or URL that holds the files, or data.dataset to digits."
    )


def _read(source: str) -> bytes:
    """Read a file or an URL, within bounds of size and time."""
    if "://" not in source:
        return Path(source).read_bytes()
    deadline = time.monotonic() + FILE_LIMIT
    packed = bytearray()
    with urllib.request.urlopen(source, timeout=SILENCE_LIMIT) as response:
        while chunk := response.read1(2**16):
            packed += chunk
            if len(packed) > SIZE_LIMIT:
                raise OSError(f"sent more than {SIZE_LIMIT} bytes")
            if time.monotonic() > deadline:
                raise OSError(f"took more than {FILE_LIMIT} seconds")
    return bytes(packed)


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
