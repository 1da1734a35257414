"""Classify an image file of a handwritten digit by the headline model of an arm.

The digit is found on its background, then scaled and centred as the images of MNIST were: 20 pixels along the
longer side, grey from smoothing, the centre of mass at the centre of 28x28.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from pipeline import L_model_forward, TrainingResult, artifacts
from pipeline.analysis.evaluation import Evaluation
from pipeline.data.preprocessing import DatasetCard, standardise
from pipeline.params import load_params
from stages import MODELS, PARAMS, RESULTS, SPLIT

SIDE, BOX = 28, 20  # pixels of MNIST's images, and of the digit in them
LARGEST = 2000  # pixels; an image whose longer side has more is reduced first
EDGE = 1 / 20  # of the shorter side: the frame that shows what the background is
FAINTEST = 25  # levels of 255 that ink must differ by from the background; an image with less is blank
NOISE = 0.2  # of the strongest ink: what is fainter is background
CLUTTER = 0.1  # of the edge: where more of it is ink, there is no plain background
BAR = 40  # characters

Levels = NDArray[np.float32]


class ClassifyError(Exception):
    """The image or the model cannot be used; the message says why, and what helps."""


@dataclass(frozen=True)
class Model:
    """The headline model of an arm, and what its data set is called and standardised by."""

    title: str
    parameters: dict[str, Tensor]
    card: DatasetCard


def read_image(path: Path) -> Image.Image:
    """Read an image file, upright and at most 2000 pixels long, as red, green, blue and opacity."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ClassifyError(f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: reduce it first") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow calls some damage a SyntaxError
        not_known = isinstance(error, UnidentifiedImageError)
        reason = "it is none" if not_known else getattr(error, "strerror", None) or str(error)
        raise ClassifyError(f"{path} cannot be read as an image: {reason}") from error
    if image.mode in ("I", "F"):  # whose white is any number
        raise ClassifyError(f"{path} has 32 bits a pixel: save it with 8 or 16")
    if image.mode.startswith("I;16"):  # convert would clip its 16 bits at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGBA")
    image.thumbnail((LARGEST, LARGEST))
    return image


def find_ink(image: Image.Image) -> Levels:
    """Measure how far each pixel is from the background: dark on light, light on dark and colours alike.

    The background is the plane through the medians of the four edges, so that light may fall from one side.
    What is transparent is white, or black where the drawing itself is white.

    Returns
    -------
    (height, width) array
        Levels, 0 to 255.
    """
    for paper in ("white", "black"):
        opaque = Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB")
        levels = np.asarray(opaque, dtype=np.float32)
        ink: Levels = np.abs(levels - _background(levels)).max(axis=-1)
        if not is_blank(ink):
            break
    return ink


def is_blank(ink: Levels) -> bool:
    """Whether nothing differs enough from the background."""
    return bool(ink.max() < FAINTEST)


def is_cluttered(ink: Levels) -> bool:
    """Whether the edge holds ink, as a photograph's does and a digit's on a plain background does not."""
    strong = ink > NOISE * ink.max()
    return bool(np.concatenate([edge.ravel() for edge in _edges(strong)]).mean() > CLUTTER)


def as_mnist(ink: Levels) -> NDArray[np.uint8]:
    """Scale and centre a digit as the images of MNIST were.

    Parameters
    ----------
    ink : (height, width) array
        Not blank.

    Returns
    -------
    (28, 28) uint8 array
    """
    ink = np.where(ink > NOISE * ink.max(), ink, 0)
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    digit = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = BOX / max(digit.size)
    width, height = (max(1, round(side * scale)) for side in digit.size)
    box = np.asarray(digit.resize((width, height), Image.Resampling.BICUBIC)).clip(0)
    box = box * (255 / box.max())
    top, left = (
        min(max(round(SIDE / 2 - _centre(box.sum(axis=axis))), 0), SIDE - length)
        for axis, length in ((1, height), (0, width))
    )
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[top : top + height, left : left + width] = box.round()
    return image


def load_model(arm: str | None = None) -> Model:
    """Read the headline model of an arm, the first if none is named, from what the pipeline has made."""
    arms = load_params(PARAMS).arms
    arm = arm or next(iter(arms))
    if arm not in arms:
        raise ClassifyError(f"there is no arm {arm!r} in {PARAMS}, only {', '.join(arms)}")
    try:
        ensemble = artifacts.read_record(TrainingResult, MODELS / arm).parameters
        headline = artifacts.read_record(Evaluation, RESULTS / "evaluation" / arm).headline
        card = artifacts.read_record(DatasetCard, SPLIT / "card")
    except FileNotFoundError as error:
        raise ClassifyError(f"there is no trained model of the arm {arm!r}: make it by `dvc repro evaluate`") from error
    return Model(arms[arm].title, {name: stacked[headline] for name, stacked in ensemble.items()}, card)


def classify(images: NDArray[np.uint8], model: Model) -> Tensor:
    """Compute the probabilities of the classes.

    Parameters
    ----------
    images : (n, 28, 28) uint8 array
    model : Model

    Returns
    -------
    (classes, n) tensor
    """
    X = standardise(torch.from_numpy(images).flatten(start_dim=1), model.card.mean, model.card.std)
    probabilities, _ = L_model_forward(X, model.parameters, "mean1" in model.parameters, inference=True)
    return probabilities


def table(classes: list[str], probabilities: list[float]) -> Iterator[str]:
    """Format a line for each class, with a bar as long as it is probable."""
    width = max(map(len, classes))
    for name, probability in zip(classes, probabilities, strict=True):
        yield f"  {name:>{width}} {100 * probability:6.2f} %  {'#' * round(BAR * probability)}".rstrip()


def main() -> None:
    """Print the probabilities of the classes for one image file."""
    parser = argparse.ArgumentParser(prog="python -m tools.classify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("image", type=Path, help="a PNG or JPEG file, one digit on a plain background")
    parser.add_argument("--arm", help="whose headline model; default: the first in params.yaml")
    arguments = parser.parse_args()
    try:
        model = load_model(arguments.arm)
        ink = find_ink(read_image(arguments.image))
        if is_blank(ink):
            raise ClassifyError(f"{arguments.image} is blank: nothing on it differs from the background")
    except (ClassifyError, ValueError) as error:
        sys.exit(f"classify: {error}")
    classes = model.card.classes
    if classes != [str(digit) for digit in range(10)]:
        print(f"The model tells the classes of {model.card.name} apart; a digit is none of them.", file=sys.stderr)
    if is_cluttered(ink):
        print("This does not look like one digit on a plain background: the figures mean little.", file=sys.stderr)
    probabilities = classify(as_mnist(ink)[None], model)[:, 0].tolist()
    print(f"{model.title}, trained on {model.card.name}: {classes[int(np.argmax(probabilities))]}")
    print("\n".join(table(classes, probabilities)))


def _edges(pixels: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Cut the four edges of an image: top, bottom, left, right."""
    depth = max(1, round(min(pixels.shape[:2]) * EDGE))
    return pixels[:depth], pixels[-depth:], pixels[:, :depth], pixels[:, -depth:]


def _background(levels: Levels) -> Levels:
    """Lay a plane through the medians of the four edges, colour by colour."""
    top, bottom, left, right = (np.median(edge, axis=(0, 1)) for edge in _edges(levels))
    down, across = (np.linspace(-0.5, 0.5, length, dtype=np.float32)[:, None] for length in levels.shape[:2])
    plane: Levels = (top + bottom + left + right) / 4 + (down * (bottom - top))[:, None] + across * (right - left)
    return plane


def _centre(mass: NDArray[np.floating]) -> float:
    return float((mass * np.arange(len(mass))).sum() / mass.sum())


if __name__ == "__main__":
    main()
