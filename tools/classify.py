"""Classify an image file of a handwritten digit by the headline model of an arm.

Shadows and ruled lines are removed, and the largest piece of ink is the digit. It is scaled and centred as the images
of MNIST were: 20 pixels along the longer side, grey from smoothing, the centre of mass at the centre of 28x28.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage
from torch import Tensor

from pipeline import L_model_forward, TrainingResult, artifacts
from pipeline.data.preprocessing import DatasetCard, standardise
from pipeline.params import load_params
from pipeline.text import shown
from stages import MODELS, PARAMS, SPLIT

SIDE, BOX = 28, 20  # pixels of MNIST's images, and of the digit in them
SHORTER = 120  # pixels; an image whose shorter side has more is reduced first
DARKEST = 64  # levels; ink is compared with a background no darker than this
FAINTEST = 25  # levels of 255 that ink must differ by from the background; an image with less is blank
STRONG = 0.4  # of the strongest ink: pieces are made of what is stronger
NOISE = 0.2  # of the digit's strongest ink: what is fainter is background
GAP = 1 / 50  # of the shorter side: pieces closer than twice this are one
SECOND = 0.25  # of the largest piece: a second one of this size is no speck
CLUTTER = 0.03  # of the page: where more of it is ink beside the digit, it is not plain
ASKEW = 1 / 8  # rise of a ruled line over the width of the page, at most
BAR = 40  # characters
LONGEST = 600  # characters of an error: the name of a file may be anything

Levels = NDArray[np.float32]


class ClassifyError(ValueError):
    """The image or the model cannot be used; the message says why, and what helps."""


@dataclass(frozen=True)
class Model:
    """The headline model of an arm, and what its data set is called and standardised by."""

    title: str
    parameters: dict[str, Tensor]
    card: DatasetCard


def read_image(path: Path) -> Image.Image:
    """Read an image file, upright, as red, green, blue and opacity."""
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
    return image.convert("RGBA")


def find_ink(image: Image.Image) -> Levels:
    """Find ink on a page: dark on light, light on dark and colours alike, without shadows and ruled lines.

    What is transparent is white, or black where the drawing itself is white.

    Returns
    -------
    (height, width) array
        Levels, 0 to 255; the shorter side has at most 120 pixels.
    """
    image = image.copy()
    scale = SHORTER / min(image.size)
    image.thumbnail((scale * image.width, scale * image.height))
    for paper in ("white", "black"):
        opaque = Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB")
        ink = difference(np.asarray(opaque, dtype=np.float32))
        if not is_blank(ink):
            break
    drawn = np.where(ink > 2 * np.maximum(lines_across(ink), lines_across(ink.T).T), ink, 0)
    return ink if is_blank(drawn) else drawn  # of a photograph of something else, all may look like lines


def difference(levels: Levels) -> Levels:
    """Measure how far each pixel is from the background to black or white, in the colour that shows most."""
    paper = background(levels)
    darker, lighter = (paper - levels) / paper.clip(DARKEST), (levels - paper) / (255 - paper).clip(DARKEST)
    ink: Levels = 255 * np.maximum(darker, lighter).max(axis=-1)
    return ink


def background(levels: Levels) -> Levels:
    """Fill what is narrower than half the shorter side, colour by colour: strokes, and no side or corner in shadow.

    Ink is dark if the pixel that differs most from its surroundings is darker than they are.
    """
    size = 3 + 2 * (min(levels.shape[:2]) // 4)
    typical = ndimage.median_filter(ndimage.median_filter(levels, (size, 1, 1)), (1, size, 1))
    is_dark = (typical - levels).max(axis=(0, 1)) >= (levels - typical).max(axis=(0, 1))
    wide = np.pad(levels, ((size, size), (size, size), (0, 0)), mode="edge")
    window = (size, size, 1)
    filled = np.where(is_dark, ndimage.grey_closing(wide, window), ndimage.grey_opening(wide, window))
    paper: Levels = filled[size:-size, size:-size]
    return paper


def lines_across(ink: Levels) -> Levels:
    """Find lines from the left edge to the right, straight and slightly askew: their levels, 0 elsewhere."""
    height, width = ink.shape
    thick = ndimage.maximum_filter1d(ink, 3, axis=0)
    reach, edge = int(ASKEW * width), max(1, width // 20)
    lines = np.zeros_like(ink)
    for rise in range(-reach, reach + 1):
        rows = (np.arange(height)[:, None] + np.linspace(0, rise, width).round().astype(int)) % height
        along = np.take_along_axis(thick, rows, axis=0)
        parts = (np.quantile(along, 0.2, axis=1), np.median(along[:, :edge], 1), np.median(along[:, -edge:], 1))
        line = np.empty_like(ink)
        np.put_along_axis(line, rows, np.min(parts, axis=0).astype(ink.dtype)[:, None], axis=0)
        lines = np.maximum(lines, line)
    return lines


def is_blank(ink: Levels) -> bool:
    """Whether nothing differs enough from the background."""
    return bool(ink.max() < FAINTEST)


def pieces(ink: Levels) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the pieces of ink that hang together, or nearly so: their numbers from 1, and the weight of each."""
    near = ndimage.binary_dilation(ink > STRONG * ink.max(), iterations=1 + int(GAP * min(ink.shape)))
    labels, count = ndimage.label(near)
    return labels, ndimage.sum_labels(ink, labels, range(1, count + 1))


def largest_piece(ink: Levels) -> Levels:
    """Keep the largest piece of ink: the digit, without specks."""
    labels, weights = pieces(ink)
    return np.where(labels == 1 + weights.argmax(), ink, 0)


def is_cluttered(ink: Levels) -> bool:
    """Whether this is not one digit on a plain page: ink is at an edge or all over, or a second piece is no speck."""
    digit = largest_piece(ink)
    _, weights = pieces(ink)
    strong = digit > STRONG * ink.max()
    at_edge = strong[[0, -1]].any() or strong[:, [0, -1]].any()
    all_over = (ink - digit > NOISE * ink.max()).mean() > CLUTTER
    return bool(at_edge or all_over or (weights > SECOND * weights.max()).sum() > 1)


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
    """Read the headline model of an arm, the reference if none is named, from what the pipeline has made."""
    arms = load_params(PARAMS).arms
    arm = arm or next(iter(arms))
    if arm not in arms:
        raise ClassifyError(f"there is no arm {arm!r} in {PARAMS}, only {', '.join(arms)}")
    try:
        result = artifacts.read_record(TrainingResult, MODELS / arm)
        card = artifacts.read_record(DatasetCard, SPLIT / "card")
    except FileNotFoundError as error:
        raise ClassifyError(f"there is no trained model of the arm {arm!r}: make it by `dvc repro evaluate`") from error
    return Model(arms[arm].title, {name: of_all[result.headline] for name, of_all in result.parameters.items()}, card)


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
    parser.add_argument("--arm", help="whose headline model; default: the reference")
    arguments = parser.parse_args()
    try:
        model = load_model(arguments.arm)
        ink = find_ink(read_image(arguments.image))
        if is_blank(ink):
            raise ClassifyError(f"{arguments.image} is blank: nothing on it differs from the background")
    except (ValueError, OSError) as error:
        sys.exit(f"classify: {shown(error, LONGEST)}")
    classes = model.card.classes
    if classes != [str(digit) for digit in range(10)]:
        print(f"The model tells the classes of {model.card.name} apart; a digit is none of them.", file=sys.stderr)
    if is_cluttered(ink):
        print("This does not look like one digit on a plain page: the figures mean little.", file=sys.stderr)
    probabilities = classify(as_mnist(largest_piece(ink))[None], model)[:, 0].tolist()
    print(f"{model.title}, trained on {model.card.name}: {classes[int(np.argmax(probabilities))]}")
    print("\n".join(table(classes, probabilities)))


def _centre(mass: NDArray[np.floating]) -> float:
    return float((mass * np.arange(len(mass))).sum() / mass.sum())


if __name__ == "__main__":
    main()
