"""Files as the mirrors have them, and the folder of the real ones."""

import gzip
import hashlib
import os
import struct
from pathlib import Path


def idx(array, magic=8, promised=None):
    """Pack an array as MNIST's files are packed, or behind a header that lies."""
    head = struct.pack(f">HBB{array.ndim}I", 0, magic, array.ndim, *(promised or array.shape))
    return gzip.compress(head + array.tobytes(), mtime=0)


FIRST = "train-images-idx3-ubyte.gz"


def digest(content):
    return hashlib.sha256(content).hexdigest()


def mirror_with_real_mnist():
    mirror = Path(os.environ.get("DATA_MIRROR") or "nowhere")
    return next((str(folder) for folder in (mirror, mirror / "mnist") if (folder / FIRST).is_file()), None)
