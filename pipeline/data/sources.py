"""The data sets: torchvision's files, mirrors and classes, and our SHA-256 of every file.

Another data set of the same four files is one entry of :data:`SOURCES`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torchvision.datasets import KMNIST, MNIST, FashionMNIST

FILES = [file for file, _ in MNIST.resources]  # training images and labels, test images and labels; all sets share them


@dataclass(frozen=True)
class DataSource:
    """Where the files of a data set come from, and how the report names it."""

    title: str
    mirrors: list[str]  # base URLs
    sha256: dict[str, str]  # checksum of each of FILES
    classes: list[str]  # name of each label
    train_examples: int = 60_000  # before the validation set is taken from them


def _from_torchvision(dataset: type[MNIST], title: str, *sha256: str) -> DataSource:
    classes = [name.split(" - ")[0] for name in dataset.classes]  # MNIST's are "0 - zero", "1 - one"
    return DataSource(title, dataset.mirrors, dict(zip(FILES, sha256, strict=True)), classes)


SOURCES = {
    "mnist": _from_torchvision(
        MNIST,
        "MNIST",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion_mnist": _from_torchvision(
        FashionMNIST,
        "Fashion-MNIST",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    "kmnist": _from_torchvision(
        KMNIST,
        "Kuzushiji-MNIST",
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
}
DIGITS = DataSource("the bundled 8x8 digits", [], {}, [str(digit) for digit in range(10)], train_examples=1438)


def source_of(name: str) -> DataSource:
    """Return the source of a data set, or name those that exist; ``"digits"`` come with scikit-learn, without files."""
    if name == "digits":
        return DIGITS
    if name not in SOURCES:
        raise ValueError(f"data.dataset is {name!r}: must be one of {', '.join([*SOURCES, 'digits'])}")
    return SOURCES[name]


def require_classes(name: str, classes: list[str]) -> None:
    """Refuse a record of a data set whose classes are not the source's: their names reach tables and pages."""
    if classes != (known := source_of(name).classes):
        raise ValueError(f"the classes are {classes}: those of {name} are {known}")
