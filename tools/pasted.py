"""Measure how often a test image, pasted into a page, is classified as it is when given directly.

Each image is enlarged by a random factor, put at a random place of a larger page, dark on light or light on dark,
and then found, scaled and centred by :mod:`tools.classify`.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline import artifacts
from pipeline.data.preprocessing import Examples
from pipeline.params import load_params
from stages import PARAMS, SPLIT
from tools.classify import SIDE, as_mnist, classify, find_ink, load_model

LARGEST_FACTOR = 10


def page_of(image: NDArray[np.uint8], random: np.random.Generator) -> Image.Image:
    """Enlarge an image 1 to 10 times and paste it into a page of up to 4 times its size."""
    size = round(SIDE * random.uniform(1, LARGEST_FACTOR))
    enlarged = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    width, height = (int(size * random.uniform(1, 4)) for _ in range(2))
    page = Image.new("L", (width, height))
    page.paste(enlarged, (int(random.integers(width - size + 1)), int(random.integers(height - size + 1))))
    dark_on_light = random.random() < 0.5
    return (page.point(lambda level: 255 - level) if dark_on_light else page).convert("RGBA")


def main() -> None:
    """Print for each arm how often the two classifications agree, and how often each is right."""
    parser = argparse.ArgumentParser(prog="python -m tools.pasted", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000, help="of the test set; default: %(default)s")
    count = parser.parse_args().images
    test = artifacts.read_record(Examples, SPLIT / "test")
    images, labels = test.images[:count].view(-1, SIDE, SIDE).numpy(), test.labels[:count].long()
    random = np.random.default_rng(0)
    pasted = np.stack([as_mnist(find_ink(page_of(image, random))) for image in images])
    print(
        f"{'of ' + str(len(labels)) + ' test images, %':26}{'same class':>12}{'right, given':>14}{'right, pasted':>15}"
    )
    for arm in load_params(PARAMS).arms:
        model = load_model(arm)
        given, found = (classify(each, model).argmax(dim=0) for each in (images, pasted))
        shares = (100 * torch.stack([given == found, given == labels, found == labels]).double().mean(dim=1)).tolist()
        print(f"{model.title:26}{shares[0]:12.1f}{shares[1]:14.1f}{shares[2]:15.1f}")


if __name__ == "__main__":
    main()
