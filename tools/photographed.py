"""Measure how often photographs of test images are classified correctly.

Each image is written on a page at a random place and size. The page is disturbed in one of six ways, then photographed
as a phone does it. All of this is simulated.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline import artifacts
from pipeline.data.preprocessing import Examples
from pipeline.params import Params
from stages import SPLIT, run
from tools.classify import SIDE, as_mnist, classify, find_ink, is_cluttered, largest_piece, load_model, read_image

INK = np.array([40, 45, 80])  # red, green, blue
Levels = NDArray[np.float64]
Random = np.random.Generator


def write(image: NDArray[np.uint8], random: Random) -> Levels:
    """Write an image, enlarged to a third to three quarters of the width, in dark ink on a page of 640x480 pixels."""
    height, width = 640, 480
    size = round(width * random.uniform(0.35, 0.75))
    coverage = np.zeros((height, width))
    top, left = random.integers(height - size), random.integers(width - size)
    enlarged = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    coverage[top : top + size, left : left + size] = np.asarray(enlarged) / 255
    paper = random.uniform(185, 245) - np.array([0, 4, 15])
    return paper + coverage[..., None] * (INK - paper)


def specks(page: Levels, random: Random) -> Levels:
    """Drop twelve dark specks of 3 to 9 pixels."""
    page = page.copy()
    for _ in range(12):
        size, top, left = random.integers(3, 10), *(random.integers(length - 9) for length in page.shape[:2])
        page[top : top + size, left : left + size] = INK
    return page


def ruled_paper(page: Levels, random: Random) -> Levels:
    """Rule blue lines, 2 or 3 pixels wide and up to 4 degrees askew; on every other page squares."""
    rows, columns = np.indices(page.shape[:2])
    slope = random.uniform(-0.07, 0.07)
    spacing, thickness = random.uniform(30, 70), random.uniform(2, 3)
    ruled = (rows + slope * columns) % spacing < thickness
    if random.random() < 0.5:
        ruled |= (columns - slope * rows) % spacing < thickness
    lines: Levels = ndimage.gaussian_filter(ruled.astype(float), 0.7)
    return page * (1 - lines[..., None] * [0.45, 0.35, 0.2])


def dark_corner(page: Levels, random: Random) -> Levels:
    """Let the light fall off towards one corner, to a quarter."""
    rows, columns = (np.arange(length)[:: random.choice([-1, 1])] for length in page.shape[:2])
    distance: Levels = np.hypot(rows[:, None], columns) / np.hypot(*page.shape[:2])
    return page * (1 - 0.75 * (1 - distance / 0.5).clip(0))[..., None]


def shadow(page: Levels, random: Random) -> Levels:
    """Darken one side of a line through the middle of the page by 30 to 60 %, with a soft edge."""
    angle, softness = random.uniform(0, 2 * np.pi), random.uniform(8, 40)
    rows, columns = np.indices(page.shape[:2])
    across: Levels = np.cos(angle) * (columns - page.shape[1] / 2) + np.sin(angle) * (rows - page.shape[0] / 2)
    return page * (1 - random.uniform(0.3, 0.6) / (1 + np.exp(-across / softness * 4)))[..., None]


def out_of_focus_and_faint(page: Levels, random: Random) -> Levels:
    """Blur a pencil's faint strokes."""
    paper = page.max(axis=(0, 1))
    faint = paper + random.uniform(0.25, 0.4) * (page - paper)
    blur = random.uniform(3, 6)
    blurred: Levels = ndimage.gaussian_filter(faint, (blur, blur, 0))
    return blurred


def dim_and_noisy(page: Levels, random: Random) -> Levels:
    """Take the picture in little light: 40 % of the brightness, and noise."""
    return 0.4 * page + random.normal(0, 12, page.shape)


DISTURBANCES: dict[str, Callable[[Levels, Random], Levels]] = {
    "a plain page": lambda page, _: page,
    "specks": specks,
    "ruled paper": ruled_paper,
    "dark corner": dark_corner,
    "shadow": shadow,
    "out of focus and faint": out_of_focus_and_faint,
    "dim and noisy": dim_and_noisy,
}


def photograph(page: Levels, random: Random) -> Image.Image:
    """Take a picture as a phone does: slight noise, and a JPEG."""
    noisy = page + random.normal(0, 2, page.shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.jpg"
        Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)).save(path, quality=85)
        return read_image(path)


def main(params: Params) -> None:
    """Print for each disturbance how often each arm is right, and how often a picture gets a warning."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.photographed", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--images", type=int, default=300, help="from the end of the test set; default: %(default)s")
    count = parser.parse_args().images
    test = artifacts.read_record(Examples, SPLIT / "test")
    # The last ones: the preparation was tuned on some of the first.
    images, labels = test.images[-count:].view(-1, SIDE, SIDE).numpy(), test.labels[-count:].long()
    models = [load_model(arm) for arm in params.arms]

    def row(name: str, prepared: NDArray[np.uint8], warned: str = "") -> str:
        right = (
            torch.stack([classify(prepared, model).argmax(dim=0) == labels for model in models]).double().mean(dim=1)
        )
        return f"{name:26}" + "".join(f"{100 * share:12.1f}" for share in right.tolist()) + f"{warned:>12}"

    title = f"of {len(labels)} test images, %"
    print(f"{title:26}" + "".join(f"{model.title:>12}" for model in models) + f"{'warned of':>12}")
    print(row("as given", images))
    for name, disturb in DISTURBANCES.items():
        random = np.random.default_rng(0)
        inks = [find_ink(photograph(disturb(write(image, random), random), random)) for image in images]
        warned = f"{100 * np.mean([is_cluttered(ink) for ink in inks]):.1f}"
        print(row(name, np.stack([as_mnist(largest_piece(ink)) for ink in inks]), warned), flush=True)


if __name__ == "__main__":
    run(main, "photographed")
