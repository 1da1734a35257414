"""Split, standardise and encode the examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import PositiveInt
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Decoded images and their labels."""

    name: str
    classes: list[str]  # name of each label
    train_images: Annotated[Tensor, torch.uint8, "train", "pixels"]  # an example a row
    train_labels: Annotated[Tensor, torch.uint8, "train"]
    test_images: Annotated[Tensor, torch.uint8, "test", "pixels"]
    test_labels: Annotated[Tensor, torch.uint8, "test"]

    def require_whole(self, sizes: Mapping[str, int]) -> None:
        """Refuse labels without a class."""
        _require_labels(torch.cat([self.train_labels, self.test_labels]), len(self.classes))


@dataclass(frozen=True)
class Examples:
    """One set of examples, as stored on disk."""

    images: Annotated[Tensor, torch.uint8, "examples", "pixels"]
    labels: Annotated[Tensor, torch.uint8, "examples"]
    indices: Annotated[Tensor, torch.int64, "examples"]  # of each in the data set's own training or test set

    def require_whole(self, sizes: Mapping[str, int]) -> None:
        """Refuse labels without a class, if their number is known, and places that no data set has."""
        _require_labels(self.labels, sizes.get("classes", 256))
        if (self.indices < 0).any():
            raise ValueError(f"indices hold {int(self.indices.min())}: must be 0 or more")


@dataclass(frozen=True)
class DatasetCard:
    """Facts about the data besides the examples."""

    name: str
    classes: list[str]
    mean: float  # of the training set's pixels, in grey levels 0 to 255
    std: float
    sizes: Annotated[dict[str, PositiveInt], dict.fromkeys(("train", "validation", "test"), ())]  # number of examples

    def require_whole(self, sizes: Mapping[str, int]) -> None:
        """Refuse what no grey levels have, such as a deviation of 0."""
        for name, value, least, most in (("mean", self.mean, 0, 255), ("std", self.std, 1e-6, 128)):
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}: must be from {least} to {most}")


def split(dataset: Dataset, validation_fraction: float, seed: int) -> tuple[dict[str, Examples], DatasetCard]:
    """Divide a data set into ``train``, ``validation`` and ``test`` (assignment, section 4a).

    The validation set is a random share of the training set. The test set stays as it is.
    """
    train, validation = split_indices(len(dataset.train_labels), validation_fraction, seed)
    sets = {
        "train": Examples(dataset.train_images[train], dataset.train_labels[train], train),
        "validation": Examples(dataset.train_images[validation], dataset.train_labels[validation], validation),
        "test": Examples(dataset.test_images, dataset.test_labels, torch.arange(len(dataset.test_labels))),
    }
    mean, std = pixel_statistics(sets["train"].images)
    sizes = {name: len(examples.labels) for name, examples in sets.items()}
    return sets, DatasetCard(dataset.name, dataset.classes, mean, std, sizes)


def validation_size(examples: int, validation_fraction: float) -> int:
    """Count the examples that are set aside for validation."""
    return round(examples * validation_fraction)


def split_indices(examples: int, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw a random share of the examples, between 0 and 1, for validation; neither set may be empty.

    Returns the indices to train on and those to validate on, ``(n,)`` int64 each: disjoint, ascending, together all.
    """
    count = validation_size(examples, validation_fraction)
    if not 0 < count < examples:
        raise ValueError(f"a share of {validation_fraction} of {examples} examples leaves one of the two sets empty")
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    return order[count:].sort().values, order[:count].sort().values


def pixel_statistics(images: Tensor) -> tuple[float, float]:
    """Compute mean and standard deviation over all pixels of ``(n, pixels)`` uint8 images.

    If all pixels are equal, the standard deviation is given as 1: standardised, they are zeros.
    """
    pixels = images.numpy()
    return float(pixels.mean()), float(pixels.std()) or 1.0


def standardise(images: Tensor, mean: float, std: float) -> Tensor:
    """Turn ``(n, pixels)`` uint8 rows into ``(pixels, n)`` float32 columns of mean 0 and deviation 1.

    In memory each example stays a row; the result is the transposed view.
    """
    return ((images.float() - mean) / std).mT


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Turn ``(n,)`` labels into ``(classes, n)`` float32 columns with a single 1."""
    return (labels == torch.arange(classes).unsqueeze(1)).float()


def _require_labels(labels: Tensor, classes: int) -> None:
    if (labels.int() >= classes).any():  # as bytes, 256 would be 0
        raise ValueError(f"the label {int(labels.max())} is none of the {classes} classes")
