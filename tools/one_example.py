"""Draw the README's picture of one digit on its way through the network."""

from pipeline.report.figures import INK_MAP, PALETTE, STYLE, UNITS_SHOWN, WIDTH, in_few_colours  # first: the backend

# isort: split
import io
import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image


@mpl.rc_context(STYLE)
def one_example(
    image: NDArray[Any], layers: Sequence[int], probabilities: NDArray[Any], classes: Sequence[str]
) -> bytes:
    """Draw an image, the layers that it passes through, and the probability of each class."""
    figure, content, side = Figure(figsize=(WIDTH, 2.2)), io.BytesIO(), round(len(image) ** 0.5)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 2, 1.4])
    left.imshow(image.reshape(side, side), cmap=INK_MAP)
    left.set_title("image")
    sizes = np.minimum(layers, UNITS_SHOWN)
    heights = [*sizes[:-1], UNITS_SHOWN]  # so that the units of the last layer stand beside the names of the classes
    places = [np.linspace(height, -height, size) / 2 for height, size in zip(heights, sizes, strict=True)]
    for column, (here, after) in enumerate(itertools.pairwise(places)):
        ends = np.array([(a, b) for a in here for b in after])
        middle.plot([column, column + 1], ends.T, color="#BBBBBB", linewidth=0.2, zorder=1)
    for column, (units, place) in enumerate(zip(layers, places, strict=True)):
        left_out = slice(len(place) // 2 - 1, len(place) // 2 + 1) if units > len(place) else slice(0)
        middle.scatter([column] * len(place), place, s=9, color=PALETTE[0], zorder=2)
        middle.plot([column] * len(place[left_out]), place[left_out], color="white", linewidth=6, zorder=3)
        middle.text(column, 0, "\N{VERTICAL ELLIPSIS}" * (units > len(place)), ha="center", va="center", zorder=4)
        middle.text(column, -UNITS_SHOWN / 2 - 1.5, f"{units:,}", ha="center", va="top")
    middle.set(title="layers", ylim=(-UNITS_SHOWN / 2 - 4, UNITS_SHOWN / 2 + 1))
    for axis in (left, middle):
        axis.set_axis_off()
    bars = right.barh(places[-1], 100 * probabilities, 0.8 * UNITS_SHOWN / len(classes), color=PALETTE[0])
    right.bar_label(bars, ["" if each < 0.05 else f"{100 * each:.0f} %" for each in probabilities], padding=2)
    right.set_yticks(places[-1], classes)
    right.set(title="probability", xlim=(0, 125), xticks=[], ylim=middle.get_ylim())
    right.spines[:].set_visible(False)
    right.tick_params(length=0)
    right.grid(visible=False)
    figure.savefig(content)
    return in_few_colours(Image.open(content))
