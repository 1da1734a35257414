"""Files as the mirrors have them: a small set in place of the real one, and the folder of the real ones."""

import dataclasses
import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import torch

from pipeline.data.sources import SOURCES


def idx(array, magic=8, promised=None):
    """Pack an array as MNIST's files are packed, or behind a header that lies."""
    head = struct.pack(f">HBB{array.ndim}I", 0, magic, array.ndim, *(promised or array.shape))
    return gzip.compress(head + array.tobytes(), mtime=0)


FIRST = "train-images-idx3-ubyte.gz"
NUMBERS = np.random.default_rng(0)
ARRAYS = {
    FIRST: NUMBERS.integers(0, 256, (12, 28, 28), np.uint8),
    "train-labels-idx1-ubyte.gz": NUMBERS.integers(0, 10, 12, np.uint8),
    "t10k-images-idx3-ubyte.gz": NUMBERS.integers(0, 256, (5, 28, 28), np.uint8),
    "t10k-labels-idx1-ubyte.gz": NUMBERS.integers(0, 10, 5, np.uint8),
}
FILES = {file: idx(array) for file, array in ARRAYS.items()}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def checksums(files):
    """What the table of data sets would say of packed files: of their contents, or of a file that nobody can unpack."""
    sha256 = []
    for packed in files.values():
        try:
            sha256.append(digest(gzip.decompress(packed)))
        except (OSError, EOFError, gzip.zlib.error):
            sha256.append(digest(packed))
    return sha256


def source(name="mnist", files=FILES, mirrors=()):
    """Make the entry of a data set of other files, which lie elsewhere."""
    return dataclasses.replace(SOURCES[name], mirrors=[*mirrors], sha256=checksums(files))


def assert_is_the_small_set(dataset, name="mnist"):
    parts = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    assert dataset.name == name
    for part, array in zip(parts, ARRAYS.values(), strict=True):
        assert torch.equal(part, torch.from_numpy(array.reshape(len(array), -1).squeeze()))


def mirror_with_real_mnist():
    mirror = Path(os.environ.get("DATA_MIRROR") or "nowhere").absolute()
    return next((str(folder) for folder in (mirror, mirror / "mnist") if (folder / FIRST).is_file()), None)
