"""Fetch, verify and decode the data.

Each file is read from the folder or base URL in the environment variable ``DATA_MIRROR``, then from the data set's
mirrors in their order. What counts is the checksum of a file's contents, not its name or how it is packed. A copy with
a wrong checksum is never decoded: the next one is tried.
"""

import base64
import gzip
import hashlib
import http.client
import io
import itertools
import re
import tempfile
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from pipeline.data.preprocessing import Dataset, split_indices
from pipeline.data.sources import DIGITS, FILES, place_of, source_of
from pipeline.text import shown

SIDE = 28  # pixels
SILENCE_LIMIT = 20  # seconds without a byte
FILE_LIMIT = 300  # seconds for one file from one source
SIZE_LIMIT = 64 * 2**20  # bytes of one file, packed or unpacked; the largest has 45 MiB
USER_AGENT = "neural-network-from-scratch"  # some servers refuse Python's own
LINE = 77  # characters: with three dots a line fits 80 columns


class DataUnavailableError(RuntimeError):
    """No source gave the files; the message lists what was tried."""


Place = tuple[str, str, tuple[str, ...]]  # its name in messages, a folder or URL, and folders below it


def load(name: str, mirror: str | None = None, say: Callable[[str], object] = lambda line: None) -> Dataset:
    """Fetch one of the :data:`pipeline.data.sources.SOURCES`, or take the bundled ``"digits"``.

    ``mirror`` is an absolute folder or a base URL to try first; the files lie in it, in its subfolder ``name`` or in
    torchvision's subfolder. ``say`` gets a line for each source that is asked. If no source has a file, or the numbers
    of labels and images differ, that is a :class:`DataUnavailableError`.
    """
    if name == "digits":
        return _digits()
    source = source_of(name)
    places: list[Place] = [(url, url, ("",)) for url in source.mirrors]
    if mirror:
        base = place_of(mirror)
        title = shown(f"{base}/") if base.startswith("/") else "DATA_MIRROR"  # a URL may hold a password
        places.insert(0, (title, base, (f"{name}/", "", source.raw)))
    train_images, train_labels, test_images, test_labels = (
        _fetch(file, sha256, places, say) for file, sha256 in zip(FILES, source.sha256, strict=True)
    )
    for file, images, labels in ((FILES[1], train_images, train_labels), (FILES[3], test_images, test_labels)):
        if len(images) != len(labels):
            raise DataUnavailableError(f"{name}: {file} holds {len(labels):,} labels for {len(images):,} images")
        if (highest := int(labels.max())) >= len(source.classes):
            raise ValueError(
                f"{name}: {file} holds the label {highest}, which has no class in pipeline/data/sources.py"
            )
    train, test = (train_images.flatten(1), train_labels), (test_images.flatten(1), test_labels)
    return Dataset(name, source.title, source.classes, *train, *test)


def _fetch(file: str, sha256: str, places: list[Place], say: Callable[[str], object]) -> Tensor:
    """Decode the first copy of a file that has the right checksum."""
    unpacked = file.removesuffix(".gz")
    names = (file, unpacked, unpacked.replace("-idx", ".idx"))  # the last is one of Kaggle's
    failures = []
    for place, base, folders in places:
        say(shown(f"{file.partition('-idx')[0]} from {place}", LINE))
        reasons = []
        for name, folder in itertools.product(names, folders):
            try:
                content = _verified(_read_in_time(base, folder + name), sha256)
                return _decode(content, (SIDE, SIDE) if "images" in file else ())
            except (OSError, EOFError, ValueError, zlib.error) as error:
                reasons.append(shown(getattr(error, "strerror", None) or error))
                if isinstance(error, TimeoutError | ConnectionError):
                    break  # it would not answer for another name either
        failures.append(f"{place}: {'; '.join(dict.fromkeys(reasons))}")
    advice = "Set DATA_MIRROR to a folder or URL with the files, or data.dataset to digits."
    raise DataUnavailableError("\n  ".join([f"{file} could not be had from any source:", *failures]) + f"\n{advice}")


def _read_in_time(base: str, path: str) -> bytes:
    """Read a file within :data:`FILE_LIMIT`, whichever part is slow: name, redirects, headers or body."""
    answer: Future[bytes] = Future()

    def read() -> None:
        try:
            with _open(base, path) as stream:
                answer.set_result(stream.read(SIZE_LIMIT + 1))
        except Exception as error:
            answer.set_exception(_without_secrets(error, base))

    threading.Thread(target=read, daemon=True).start()
    wait([answer], FILE_LIMIT)
    if not answer.done():
        raise TimeoutError(f"took more than {FILE_LIMIT} seconds")
    if len(content := answer.result()) > SIZE_LIMIT:
        raise ValueError(f"sent more than {SIZE_LIMIT:,} bytes")
    return content


def _without_secrets(error: Exception, base: str) -> Exception:
    """Put an error into words that hold neither the URL nor what a server or proxy says: all may show a password."""
    match error:
        case urllib.error.HTTPError():
            error.close()
            return OSError(f"HTTP Error {error.code}: {http.client.responses.get(error.code, 'unknown')}")
        case urllib.error.URLError():  # nobody answers at an address, or a file:// is not there
            cause = error.reason if isinstance(error.reason, OSError) else OSError(error.reason)
            words = cause.strerror or re.sub(r"(Tunnel connection failed: \d+).*", r"\1", f"{cause}", flags=re.DOTALL)
            return ConnectionError(words) if base.startswith("http") else OSError(words)
        case OSError():
            return error
    return ValueError(f"not a valid URL or answer ({type(error).__name__})")


def _open(base: str, path: str) -> BinaryIO:
    """Open a file below a folder or URL; user and password of a URL travel as basic authentication."""
    if base.startswith("/"):
        return Path(base, path).open("rb")
    url = urlsplit(base)
    user, _, host = url.netloc.rpartition("@")
    address = url._replace(netloc=host, path=f"{url.path.rstrip('/')}/{path}").geturl()
    request = urllib.request.Request(address, headers={"User-Agent": USER_AGENT})
    if user:  # not sent on to where the server redirects
        credentials = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {credentials}")
    stream: BinaryIO = urllib.request.urlopen(request, timeout=SILENCE_LIMIT)
    return stream


def _verified(content: bytes, sha256: str) -> bytes:
    """Unpack a gzipped file; refuse it unless its contents, or the packed file itself, have the checksum."""
    unpacked = content
    if content.startswith(b"\x1f\x8b"):  # the first bytes of a packed file; an unpacked one begins with zeros
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(content)).read(SIZE_LIMIT + 1)
        if len(unpacked) > SIZE_LIMIT:
            raise ValueError(f"unpacks to more than {SIZE_LIMIT:,} bytes")
    if sha256 not in (hashlib.sha256(each).hexdigest() for each in (unpacked, content)):
        raise ValueError(f"{len(content):,} bytes with a wrong SHA-256 checksum")
    return unpacked


def _decode(content: bytes, shape: tuple[int, ...]) -> Tensor:
    """Turn an IDX file of bytes into ``(n, *shape)`` uint8 values."""
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


def _digits() -> Dataset:
    """Enlarge scikit-learn's bundled 8x8 scans to 28x28 and set a fifth of them aside as the test set."""
    digits = load_digits()
    scans = (digits.images * (255 / 16)).round().astype(np.uint8)
    enlarged = [np.asarray(Image.fromarray(scan).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for scan in scans]
    images = torch.from_numpy(np.stack(enlarged)).flatten(start_dim=1)
    labels = torch.from_numpy(digits.target.astype(np.uint8))
    train, test = split_indices(len(images), 0.2, seed=0)
    classes = [str(name) for name in digits.target_names]
    return Dataset("digits", DIGITS.title, classes, images[train], labels[train], images[test], labels[test])
