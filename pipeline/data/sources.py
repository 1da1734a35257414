"""The data sets: torchvision's files, mirrors and classes, and our SHA-256 of every file.

Another data set of the same four files is one entry of :data:`SOURCES`.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from pipeline.text import require_plain, shown

FILES = [file for file, _ in MNIST.resources]  # training images and labels, test images and labels; all sets share them


@dataclass(frozen=True)
class DataSource:
    """Where the files of a data set come from, and how the report names it."""

    title: str
    mirrors: list[str]  # base URLs
    sha256: list[str]  # of FILES, in their order: of the contents, or of the packed files
    classes: list[str]  # name of each label
    train_examples: int = 60_000  # before the validation set is taken from them
    raw: str = ""  # torchvision's folder of the files, below its root


def _from_torchvision(dataset: type[MNIST], title: str, *sha256: str) -> DataSource:
    classes = [name.split(" - ")[0] for name in dataset.classes]  # MNIST's are "0 - zero", "1 - one"
    return DataSource(title, dataset.mirrors, [*sha256], classes, raw=f"{dataset.__name__}/raw/")


SOURCES = {
    "mnist": _from_torchvision(
        MNIST,
        "MNIST",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion_mnist": _from_torchvision(
        FashionMNIST,
        "Fashion-MNIST",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    "kmnist": _from_torchvision(
        KMNIST,
        "Kuzushiji-MNIST",
        # of the packed files, as those of the contents are not known
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
}
DIGITS = DataSource("the bundled 8x8 digits", [], [], [*"0123456789"], train_examples=1438)


def source_of(name: str) -> DataSource:
    """Return the source of a data set, or name those that exist; ``"digits"`` come with scikit-learn, without files."""
    if name == "digits":
        return DIGITS
    if name not in SOURCES:
        raise ValueError(f"data.dataset is {shown(repr(name))}: must be one of {', '.join([*SOURCES, 'digits'])}")
    require_plain(SOURCES[name].title, *SOURCES[name].classes)
    return SOURCES[name]


def place_of(mirror: str) -> str:
    """Return what ``DATA_MIRROR`` means: a folder as a full path, or a URL; refuse everything else."""
    with contextlib.suppress(RuntimeError, ValueError):  # ~ of a user whom this machine does not know, or no URL
        folder = Path(mirror).expanduser()
        if folder.is_absolute() and not mirror.startswith("//"):  # a URL without its scheme
            return f"{folder}"
        url = urlsplit(mirror)
        is_file = url.scheme == "file" and url.netloc in ("", "localhost") and url.path.startswith("/")
        if is_file or (url.scheme in ("http", "https") and url.hostname and url.port != 0):
            return url.geturl()
    raise ValueError(
        "DATA_MIRROR must be an absolute folder, such as /data/mnist, or a URL, such as https://host/mnist, "
        "http://host/mnist or file:///data/mnist (its value may hold a password and is not shown)"
    )
