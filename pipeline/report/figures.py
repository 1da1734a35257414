"""The report's figures, all in one style, each as the bytes of a PNG file."""

from pipeline.report.drawing import FONT  # first: it sets the backend

# isort: split
import io
import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from PIL import Image
from torch import Tensor

from pipeline.analysis.evaluation import Evaluation
from pipeline.network.ensemble import TrainingResult

# Okabe and Ito's colours, which colour-blind readers can tell apart; the templates of the plots page have them too.
# In grey, markers and dashes tell the arms apart. A figure with a line or bar per arm has at most four arms.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vPX*"
DASHES: Any = ("-", (0, (5, 1.5)), (0, (1.5, 1)), "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 3)), (0, (8, 2)), (0, (1, 3)))
LINE_LOOKS: Any = [{"color": colour, "linestyle": dashes} for colour, dashes in zip(PALETTE, DASHES, strict=True)]
MARK_LOOKS: Any = [{"color": colour, "marker": marker} for colour, marker in zip(PALETTE, MARKERS, strict=True)]
ENDS = {"o": 9, "s": 4}  # marks and their sizes in points, of the best step and of the stop, which is close to it
# Each runs one way in grey too, in so few shades that a picture of 256 colours holds them.
WEIGHT_MAP, INK_MAP, SHARE_MAP = (mpl.colormaps[name].resampled(96) for name in ("cividis", "gray_r", "Blues"))
UNITS_SHOWN, UNITS_A_LINE = 20, 10  # of the first layer
LINE, LONG_LINE = 29, 80  # letters of an arm's title, above a figure
LINE_HEIGHT = 0.14  # inches
TALLEST = 9.0  # inches of a figure that fits a page with its caption
WIDTH = 6.3  # inches between the report's margins
STYLE: Any = mpl.rcParamsDefault | {  # all settings, so that none of the reader's own is left
    **{"font.family": FONT, "font.size": 8, "figure.dpi": 300, "text.parse_math": False},  # a $ is a letter
    **{"axes.titlesize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left"},
    **{"xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "legend.fontsize": 7.5, "legend.frameon": False},
    **{"axes.grid": True, "axes.axisbelow": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.6},
    **{"axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.4},
    **{"figure.titlesize": 9, "figure.titleweight": "bold", "figure.constrained_layout.use": True},
}
Titles = Mapping[str, str]  # the title of each arm, in their order


@mpl.rc_context(STYLE)
def headline_costs(costs: DataFrame, ends: Mapping[str, tuple[int, int]], titles: Titles, title: str) -> bytes:
    """Draw the headline models' data cost at every 100th step, on one axis; ``ends`` are best step and stop by arm."""
    figure, axis = _over_steps(2.7, title, "cost (nats)")
    lines = []
    for (arm, steps), look in zip(ends.items(), LINE_LOOKS[: len(ends)], strict=True):
        of_arm = costs[costs["arm"] == arm].set_index("step")["cost"]
        lines += axis.plot(of_arm, **look, linewidth=0.9)
        for step, (marker, size) in zip(steps, ENDS.items(), strict=True):
            if len(of_arm):
                place = min(of_arm.index, key=lambda recorded: abs(recorded - step))
                axis.plot(step, of_arm[place], marker, color=look["color"], ms=size, mec="black", mew=0.8, zorder=4)
    axis.set_ylim(bottom=0)
    lines += [Line2D([], [], marker=each, ms=size, ls="", color="#4D4D4D", mec="black") for each, size in ENDS.items()]
    _legend(figure, lines, [*titles.values(), "best step", "stop"])
    return _png(figure)


@mpl.rc_context(STYLE)
def training(result: TrainingResult, k: int, title: str) -> bytes:
    """Draw a network's cost on the batch of every 100th step and on the validation set; best step and stop marked."""
    figure, axis = _over_steps(2.9, title, "cost (nats)")
    axis.plot(result.cost_steps, result.costs[:, k], color="#777777", linewidth=0.9, label="training batch")
    axis.plot(result.evaluation_steps, result.validation_costs[:, k], **LINE_LOOKS[0], label="validation set")
    axis.axvline(result.best_step[k], color="#666666", linestyle=":", linewidth=1, label="best step")
    axis.axvline(result.steps[k], color="#666666", linestyle="-.", linewidth=1, label="stop")
    axis.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=4)
    return _png(figure)


@mpl.rc_context(STYLE)
def by_layer(panels: Mapping[tuple[str, str], Mapping[str, DataFrame]], titles: Titles) -> bytes:
    """Draw a value of every network by layer, a colour per arm, bars at the medians, a panel per quantity.

    ``panels`` is keyed by title and label of the axis, and holds by arm a row per network, a column per layer.
    """
    figure, axes = _figure(2.8, "", 1, len(panels), squeeze=False)
    width, looks = 0.8 / len(titles), MARK_LOOKS[: len(titles)]
    for axis, ((title, label), by_arm) in zip(axes.flat, panels.items(), strict=True):
        for column, (arm, look) in enumerate(zip(titles, looks, strict=True)):
            values = by_arm[arm]
            places = 1 + np.arange(values.shape[1]) + (column - (len(titles) - 1) / 2) * width
            spread = places + np.linspace(-0.25, 0.25, len(values))[:, None] * width
            axis.scatter(spread, values, s=9, alpha=0.8, linewidth=0, **look)
            axis.hlines(values.median(), places - 0.42 * width, places + 0.42 * width, color="black", linewidth=1.4)
        axis.set(title=textwrap.fill(title, LONG_LINE // 2), ylabel=label, xlabel="layer")
        _count_decades(axis)
        axis.xaxis.set_major_locator(MaxNLocator(9, integer=True, min_n_ticks=1))
        axis.grid(axis="x", visible=False)
    _legend(figure, [Line2D([], [], linestyle="", **look) for look in looks], titles.values())
    return _png(figure)


@mpl.rc_context(STYLE)
def accuracy_curves(accuracies: DataFrame, titles: Titles, title: str) -> bytes:
    """Draw validation accuracy against steps, median and quartiles over the networks."""
    figure, axis = _over_steps(2.4, title, "accuracy (%)")
    for arm, look in zip(titles, LINE_LOOKS[: len(titles)], strict=True):
        band = accuracies[accuracies["arm"] == arm]
        axis.fill_between(band["step"], band["low"], band["high"], color=look["color"], alpha=0.18, linewidth=0)
        axis.plot(band["step"], band["median"], **look)
    axis.set_ylim(accuracy_floor(accuracies), min(100.0, max(accuracies["high"], default=100.0) + 2))
    _legend(figure, axis.lines, titles.values())
    return _png(figure)


def accuracy_floor(accuracies: DataFrame) -> float:
    """Return the accuracy at which the axis of the curves begins: the first few checks lie far below."""
    return min(50.0, max(accuracies["high"], default=100.0) - 10)


@mpl.rc_context(STYLE)
def seed_distribution(accuracies: Mapping[str, ArrayLike], titles: Titles, title: str) -> bytes:
    """Draw every network's test accuracy, an arm a row, the networks of a seed joined across the arms."""
    figure, axis = _figure(min(TALLEST, 0.9 + 0.45 * len(titles)), title)
    looks = dict(zip(titles, itertools.cycle(MARK_LOOKS), strict=False))  # where many arms have a row each, they repeat
    order = list(titles)
    order[:2] = order[1::-1] if len(order) > 2 else order[:2]  # lines join the reference with an arm on either side
    values = np.stack([np.asarray(accuracies[arm]) for arm in order])
    axis.plot(values, range(len(titles)), color="#BBBBBB", linewidth=0.7, zorder=1)
    for row, (arm, of_arm) in enumerate(zip(order, values, strict=True)):
        axis.scatter(of_arm, [row] * len(of_arm), s=16, alpha=0.8, zorder=2, **looks[arm])
        axis.vlines(np.median(of_arm), row - 0.3, row + 0.3, color="black", linewidth=1.4, zorder=3)
    axis.set(xlabel="test accuracy (%)", ylim=(len(values) - 0.5, -0.5))
    axis.set_yticks(range(len(titles)), [textwrap.fill(titles[arm], LINE) for arm in order])
    axis.grid(axis="y", visible=False)
    return _png(figure)


@mpl.rc_context(STYLE)
def confusion_matrices(counts: Mapping[str, NDArray[Any]], classes: Sequence[str], titles: Titles, title: str) -> bytes:
    """Draw each headline model's confusion matrix on the test set, an arm a panel."""
    lines = math.ceil(len(titles) / 2)
    figure, panels = _figure(3.0 * lines, title, lines, 2, squeeze=False)
    for axis in panels.flat[len(titles) :]:
        axis.set_axis_off()
    for axis, (arm, of_arm) in zip(panels.flat, titles.items(), strict=False):
        percent = 100 * counts[arm] / counts[arm].sum(axis=1, keepdims=True).clip(min=1)
        axis.imshow(percent, cmap=SHARE_MAP, norm=PowerNorm(0.4, 0, 100), aspect="auto")  # four digits need the width
        for i, j in np.argwhere(counts[arm]):
            look: Any = {"ha": "center", "va": "center", "color": "white" if percent[i, j] > 25 else "black"}
            axis.text(j, i, str(counts[arm][i, j]), fontsize=7, **look)
        axis.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) <= 3 else 60)
        axis.set_yticks(range(len(classes)), classes)
        axis.set(title=textwrap.fill(of_arm, LINE), xlabel="predicted class", ylabel="true class")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.grid(visible=False)
    return _png(figure)


@mpl.rc_context(STYLE)
def confident_mistakes(evaluation: Evaluation, classes: Sequence[str], title: str) -> bytes:
    """Draw the most confident mistakes of a model on the test set, the most confident first."""
    mistakes, columns = evaluation.mistakes, 8
    lines = max(1, math.ceil(len(mistakes["true"]) / columns))
    figure, axes = _figure(0.3 + 1.05 * lines, title, lines, columns)
    separator = " " if max(map(len, classes)) <= 3 else "\n"
    fields = [mistakes[field].tolist() for field in ("true", "predicted", "confidence")]
    for axis, pixels, true, predicted, confidence in zip(axes.flat, mistakes["images"].numpy(), *fields, strict=False):
        axis.imshow(pixels.reshape(math.isqrt(len(pixels)), -1), cmap=INK_MAP)
        label = f"{classes[true]}{separator}as {classes[predicted]}\n{100 * confidence:.1f} %"
        axis.set_title(label, fontsize=7, fontweight="normal", loc="center")
    for axis in axes.flat:
        axis.set_axis_off()
    return _png(figure)


@mpl.rc_context(STYLE)
def first_layer_weights(weights: Mapping[str, Tensor], titles: Titles, title: str, label: str = "weight") -> bytes:
    """Draw the weights of each arm's first hidden layer as images, the units with the largest norm first."""
    shown = min(UNITS_SHOWN, *map(len, weights.values()))
    height = 0.3 + (0.15 + 0.45 * math.ceil(shown / UNITS_A_LINE)) * len(titles)
    figure, panels = _figure(height, title, len(titles), squeeze=False)
    limit = max(float(W.abs().quantile(0.995)) for W in weights.values())
    for axis, (arm, of_arm) in zip(panels.flat, titles.items(), strict=True):
        strongest = weights[arm].square().sum(dim=1).argsort(descending=True, stable=True)[:shown]
        tiles = _tiled(weights[arm][strongest])
        image = axis.imshow(tiles, cmap=WEIGHT_MAP, vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title(textwrap.fill(of_arm, LINE), fontsize=8)
        axis.set_axis_off()
        axis.set_anchor("W")
    figure.colorbar(image, ax=panels, shrink=0.8, label=label, pad=0.01, panchor=False)
    return _png(figure)


def _figure(height: float, title: str = "", rows: int = 1, columns: int = 1, **layout: Any) -> tuple[Figure, Any]:
    """Make a figure of a height in inches, and its axes; lines of the title after the first make it taller."""
    lines = textwrap.fill(title, LONG_LINE)
    figure = Figure(figsize=(WIDTH, height + LINE_HEIGHT * lines.count("\n")))
    if title:
        figure.suptitle(lines, x=0.01, ha="left")
    return figure, figure.subplots(rows, columns, **layout)


def _over_steps(height: float, title: str, label: str) -> tuple[Figure, Axes]:
    """Make a figure whose axis counts training steps."""
    figure, axis = _figure(height, title)
    axis.set(xlabel="training step", ylabel=label)
    axis.xaxis.set_major_locator(MaxNLocator(9))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    return figure, axis


def _legend(figure: Figure, handles: Sequence[Any], titles: Iterable[str]) -> None:
    """Name the arms below the panels, in as many columns as their titles leave room for; lines make it taller."""
    names = [textwrap.fill(title, LINE) for title in titles]
    columns = max(1, 90 // (max(map(len, "\n".join(names).split("\n"))) + 8))
    lines = math.ceil(len(names) / columns) * max(name.count("\n") + 1 for name in names)
    figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * (lines - 1))
    figure.legend(list(handles), names, loc="outside lower center", ncols=min(columns, len(names)))


def _count_decades(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def _tiled(pixels: Tensor) -> NDArray[Any]:
    """Lay flat images out in lines; the gaps are NaN, which is not drawn."""
    side = math.isqrt(pixels.shape[1])
    below, beside = max(1, side // 6), side // 2  # so that a line fills the width
    images = pixels.reshape(len(pixels), side, side).numpy()
    missing = -len(images) % UNITS_A_LINE
    tiles = np.pad(images, ((0, missing), (0, below), (0, beside)), constant_values=np.nan)
    lines = [np.hstack([*line]) for line in np.split(tiles, len(tiles) // UNITS_A_LINE)]
    return np.vstack(lines)[:-below, :-beside]


def in_few_colours(image: Image.Image) -> bytes:
    """Return a picture as a PNG file in 256 colours, which look the same and take half the space."""
    content = io.BytesIO()
    image.convert("RGB").quantize(dither=Image.Dither.NONE).save(content, format="png", optimize=True)
    return content.getvalue()


def _png(figure: Figure) -> bytes:
    canvas: Any = FigureCanvasAgg(figure)  # whose methods have no type hints
    canvas.draw()
    return in_few_colours(Image.fromarray(np.asarray(canvas.buffer_rgba())))
