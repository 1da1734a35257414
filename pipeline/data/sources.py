"""The data sets: what they are called, their mirrors, pinned checksums and class names. A new one is one entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

IMAGES = "{}-images-idx3-ubyte.gz"
LABELS = "{}-labels-idx1-ubyte.gz"
TRAIN, TEST = "train", "t10k"


@dataclass(frozen=True)
class Origin:
    """What a data set is called, and where its four files come from.

    Attributes
    ----------
    title : str
        As the report writes it.
    mirrors : list of str
        Base URLs.
    sha256 : dict of str
        Checksum of each file.
    classes : list of str
        What label ``k`` is called.
    train_examples : int
        In the training set, before a part of it is set aside.
    """

    title: str
    mirrors: Sequence[str]
    sha256: Mapping[str, str]
    classes: Sequence[str]
    train_examples: int = 60_000


ORIGINS = {
    "mnist": Origin(
        title="MNIST",
        mirrors=["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"],
        sha256={
            IMAGES.format(TRAIN): "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            LABELS.format(TRAIN): "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            IMAGES.format(TEST): "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            LABELS.format(TEST): "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        classes=[str(digit) for digit in range(10)],
    ),
    "fashion_mnist": Origin(
        title="Fashion-MNIST",
        mirrors=[
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ],
        sha256={
            IMAGES.format(TRAIN): "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            LABELS.format(TRAIN): "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            IMAGES.format(TEST): "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            LABELS.format(TEST): "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        classes=[
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ],
    ),
    "kmnist": Origin(
        title="Kuzushiji-MNIST",
        mirrors=[
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ],
        sha256={
            IMAGES.format(TRAIN): "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            LABELS.format(TRAIN): "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            IMAGES.format(TEST): "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            LABELS.format(TEST): "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
        classes=["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"],
    ),
}
DIGITS = Origin(
    title="the bundled 8x8 digits",
    mirrors=[],
    sha256={},
    classes=[str(digit) for digit in range(10)],
    train_examples=1438,
)


def origin_of(name: str) -> Origin:
    """Return what is known of a data set; ``"digits"`` come with scikit-learn and have no files.

    Raises
    ------
    ValueError
        If there is no such data set; the message lists those that there are.
    """
    if name == "digits":
        return DIGITS
    if name not in ORIGINS:
        raise ValueError(f"data.dataset is {name!r}: must be one of {', '.join([*ORIGINS, 'digits'])}")
    return ORIGINS[name]
