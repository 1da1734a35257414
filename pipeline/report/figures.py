"""The report's figures, all in one style, each as the bytes of a PNG file."""

from __future__ import annotations

from pipeline.drawing import FONT  # first: it sets the backend

# isort: split
import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from PIL import Image
from torch import Tensor

from pipeline.analysis.evaluation import Evaluation
from pipeline.network.ensemble import TrainingResult

# Okabe and Ito's colours, which colour-blind readers can tell apart; the templates of the plots page have them too.
# In grey, markers and dashes tell the arms apart. A figure with a line or bar an arm has at most four arms.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vPX*"
DASHES: Any = ("-", (0, (5, 1.5)), (0, (1.5, 1)), "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 3)), (0, (8, 2)), (0, (1, 3)))
NO_ARM = "#4D4D4D"  # the colour of what belongs to no single arm
HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "++++", "||||")
# Each runs one way in grey too, in so few shades that a picture of 256 colours holds them.
WEIGHT_MAP, INK_MAP = mpl.colormaps["cividis"].resampled(96), mpl.colormaps["gray_r"].resampled(96)
UNITS_SHOWN, UNITS_A_LINE = 20, 10  # of the first layer
LAYERS_SHOWN, LAYERS_A_LINE = 8, 4
LAMBDAS_NAMED = 8  # on an axis
LINE, SHORT_LINE = 32, 16  # letters of a title in a line, and above a small panel
PANELS = 18  # of other arms in a figure, three in a line
TALLEST = 9.0  # inches of a figure that fits a page with its caption
WIDTH = 6.3  # inches between the report's margins
STEP_TICKS = 5  # at most, on an axis of half the width
THOUSANDS = "{x:,.0f}"  # as the text writes them
STYLE: Any = mpl.rcParamsDefault | {  # all settings, so that none of the reader's own is left
    **{"font.family": FONT, "font.size": 8, "axes.labelsize": 8, "figure.dpi": 200},
    **{"text.parse_math": False},  # a $ is a letter
    **{"axes.titlesize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left"},
    **{"xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "legend.fontsize": 7.5, "legend.frameon": False},
    **{"axes.grid": True, "axes.axisbelow": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.6},
    **{"axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.4, "hatch.linewidth": 0.5},
    **{"figure.titlesize": 9, "figure.titleweight": "bold", "figure.constrained_layout.use": True},
}
Titles = Mapping[str, str]  # the title of each arm, in their order


@mpl.rc_context(STYLE)
def cost_curves(curves: DataFrame, titles: Titles) -> bytes:
    """Draw training and validation cost against steps, median and quartiles over the networks."""
    figure, axes = _figure(2.6, "", 1, 2, sharey=True)
    for axis, series in zip(axes, ("training cost", "validation cost"), strict=True):
        _draw_bands(axis, curves[curves["series"] == series], titles, STEP_TICKS)
        axis.set_title(f"{series.capitalize()}, median and quartiles")
        if len(curves):
            _count_decades(axis)
    axes[0].set_ylabel("cross-entropy (nats)")
    _legend(figure, axes[1].lines, titles)
    return _png(figure)


@mpl.rc_context(STYLE)
def accuracy_curves(accuracies: DataFrame, titles: Titles) -> bytes:
    """Draw validation accuracy against steps, median and quartiles over the networks."""
    figure, axis = _figure(2.5)
    _draw_bands(axis, accuracies, titles, 9)
    axis.set_title("Validation accuracy, median and quartiles")
    highest = min(100.0, max(accuracies["high"], default=100.0) + 2)
    axis.set(ylabel="accuracy (%)", ylim=(accuracy_floor(accuracies), highest))
    _legend(figure, axis.lines, titles)
    return _png(figure)


@mpl.rc_context(STYLE)
def other_curves(curves: DataFrame, reference: str, titles: Titles) -> bytes:
    """Draw the validation cost of each arm against steps beside that of the reference, an arm a panel."""
    lines = math.ceil(len(titles) / 3)
    title = "Validation cost of each arm beside the reference, median and quartiles"
    layout: Any = {"squeeze": False, "sharex": True, "sharey": True}
    figure, panels = _figure(0.5 + 1.4 * lines, title, lines, 3, **layout)
    costs = curves[curves["series"] == "validation cost"]
    for axis, (arm, of_arm) in zip(panels.flat, titles.items(), strict=False):
        _draw_bands(axis, costs, [reference, arm], 3)
        axis.set_title(_in_lines(of_arm, SHORT_LINE), fontsize=7.5)
        if len(costs):
            _count_decades(axis)
    for axis in panels.flat[len(titles) :]:
        axis.set_axis_off()
    for axis in panels[:, 0]:
        axis.set_ylabel("cost (nats)")
    return _png(figure)


def accuracy_floor(accuracies: DataFrame) -> float:
    """Return the accuracy at which the axis of the curves begins: the first few checks lie far below."""
    return min(50.0, max(accuracies["high"], default=100.0) - 10)


@mpl.rc_context(STYLE)
def seed_distribution(accuracies: Mapping[str, ArrayLike], titles: Titles) -> bytes:
    """Draw every network's test accuracy, an arm a row, the networks of a seed joined across the arms."""
    figure, axis = _figure(min(TALLEST, 0.9 + 0.4 * len(titles)))
    values = np.stack([np.asarray(accuracies[arm]) for arm in titles])
    axis.plot(values, range(len(titles)), color="#BBBBBB", linewidth=0.7, zorder=1)
    for row, of_arm in enumerate(values):
        look: Any = {"color": _of(PALETTE, row), "marker": _of(MARKERS, row)}
        axis.scatter(of_arm, [row] * len(of_arm), s=16, alpha=0.8, zorder=2, **look)
        axis.vlines(np.median(of_arm), row - 0.3, row + 0.3, color="black", linewidth=1.4, zorder=3)
    axis.set(title="Test accuracy of every network", xlabel="test accuracy (%)", ylim=(len(values) - 0.5, -0.5))
    axis.set_yticks(range(len(titles)), list(map(_in_lines, titles.values())))
    axis.grid(axis="y", visible=False)
    return _png(figure)


@mpl.rc_context(STYLE)
def headline_model(
    result: TrainingResult, evaluation: Evaluation, classes: Sequence[str], titles: Titles, arm: str
) -> bytes:
    """Draw an arm's headline model: its cost at every 100th step, and its confusion matrix on the test set."""
    k, look = evaluation.headline, _line(list(titles).index(arm))
    title = f"{_in_lines(titles[arm])}\nCost and mistakes of the headline model"
    figure, (left, right) = _figure(2.6, title, 1, 2, width_ratios=[1, 1.2])
    costs, checks = (result.costs + result.penalties)[:, k], result.validation_costs[:, k]
    batch = "training batch with penalty" if result.l2[k] else "training batch"
    left.plot(result.cost_steps, costs, color="#777777", linewidth=0.9, label=batch)
    left.plot(result.evaluation_steps, checks, label="validation set", **look)
    left.axvline(result.best_step[k], color="#888888", linestyle=":", linewidth=1, label="best step")
    left.set(title="Cost", ylabel="cost (nats)", ylim=(0, None))
    _count_steps(left, STEP_TICKS)
    left.legend()
    _draw_confusion(right, evaluation.confusion[k].numpy(), classes, look["color"])
    return _png(figure)


def _draw_confusion(axis: Axes, counts: NDArray[Any], classes: Sequence[str], colour: str) -> None:
    percent = 100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axis.imshow(percent, cmap=shades(colour), norm=PowerNorm(0.4, 0, 100), aspect="auto")  # four digits need the width
    for i, j in np.argwhere(counts):
        look: Any = {"ha": "center", "va": "center", "color": "white" if percent[i, j] > 25 else "black"}
        axis.text(j, i, str(counts[i, j]), fontsize=7, **look)
    axis.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) <= 3 else 60)
    axis.set_yticks(range(len(classes)), classes)
    axis.set(title="Confusion matrix, test examples", xlabel="predicted class", ylabel="true class")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.grid(visible=False)


def shades(colour: str) -> LinearSegmentedColormap:
    """Run from white over a colour to a darker one."""
    darker = tuple(np.array(to_rgb(colour)) / 2)
    return LinearSegmentedColormap.from_list("shades", ["white", to_rgb(colour), darker])


@mpl.rc_context(STYLE)
def confident_mistakes(evaluation: Evaluation, classes: Sequence[str]) -> bytes:
    """Draw the most confident mistakes of a model on the test set, the most confident first."""
    mistakes, columns = evaluation.mistakes, 8
    lines = max(1, math.ceil(len(mistakes["true"]) / columns))
    title = "Most confident mistakes on the test set: true class as predicted class, probability"
    figure, axes = _figure(0.3 + 1.05 * lines, title, lines, columns)
    separator = " " if max(map(len, classes)) <= 3 else "\n"
    fields = [mistakes[field].tolist() for field in ("images", "true", "predicted", "confidence")]
    for axis, image, true, predicted, confidence in zip(axes.flat, *fields, strict=False):
        axis.imshow(_as_image(np.array(image)), cmap=INK_MAP)
        label = f"{classes[true]}{separator}as {classes[predicted]}\n{100 * confidence:.1f} %"
        axis.set_title(label, fontsize=7, fontweight="normal", loc="center")
    for axis in axes.flat:
        axis.set_axis_off()
    return _png(figure)


@mpl.rc_context(STYLE)
def first_layer_weights(parameters: Mapping[str, Mapping[str, Tensor]], titles: Titles) -> bytes:
    """Draw the weights of each arm's first hidden layer as images, the units with the largest norm first."""
    weights = [parameters[arm]["W1"] for arm in titles]
    shown = min(UNITS_SHOWN, len(weights[0]))
    height = 0.3 + (0.15 + 0.45 * math.ceil(shown / UNITS_A_LINE)) * len(titles)
    title = "Weights of the first layer, a unit an image, all in one scale"
    figure, panels = _figure(height, title, len(titles), squeeze=False)
    limit = max(float(W.abs().quantile(0.995)) for W in weights)
    for axis, title, W in zip(panels.flat, titles.values(), weights, strict=True):
        strongest = W.square().sum(dim=1).argsort(descending=True, stable=True)[:shown]
        tiles = _tiled(W[strongest].numpy(), UNITS_A_LINE)
        image = axis.imshow(tiles, cmap=WEIGHT_MAP, vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title(_in_lines(title), fontsize=8)
        axis.set_axis_off()
        axis.set_anchor("W")
    figure.colorbar(image, ax=panels, shrink=0.8, label="weight", pad=0.01, panchor=False)
    return _png(figure)


def layers_shown(layers: Sequence[str]) -> list[str]:
    """Return the layers that a figure shows: of many, some from the first to the last."""
    count = min(LAYERS_SHOWN, len(layers))
    return [layers[round(place)] for place in np.linspace(0, len(layers) - 1, count)]


@mpl.rc_context(STYLE)
def weight_histograms(weights: DataFrame, norms: Mapping[str, Mapping[str, float]], titles: Titles) -> bytes:
    """Draw the distribution of all networks' weights, a layer a panel, and below it the layers' norms."""
    layers = layers_shown(list(weights["layer"].unique()))
    lines = math.ceil(len(layers) / LAYERS_A_LINE)
    title, columns = "Weights of all seeds by layer: above their distribution, below their norm", len(layers[::lines])
    ratios = {"height_ratios": [1.5, 1] * lines, "sharey": "row"}
    figure, panels = _figure(3.1 * lines, title, 2 * lines, columns, squeeze=False, **ratios)
    pairs = [pair for line in range(lines) for pair in panels[2 * line : 2 * line + 2].T]
    for (above, below), layer in zip(pairs, layers, strict=False):
        for column, arm in enumerate(titles):
            bins = weights[(weights["layer"] == layer) & (weights["arm"] == arm)]
            above.step(bins["weight"], bins["percent"], where="mid", linewidth=1, **_line(column))
            bar = below.barh(column, norms[arm][layer], **_bar(column))
            below.bar_label(bar, fmt="%#.3g", fontsize=7, padding=2)
        above.set(title=layer, xlabel="weight")
        above.set_yscale("function", functions=(np.sqrt, np.square))
        above.set_ylim(0, None)
        below.set(xlabel="Euclidean norm", yticks=[], ylim=(len(titles) - 0.5, -0.5))
        below.margins(x=0.35)
        below.grid(visible=False)
    for axis in [axis for pair in pairs[len(layers) :] for axis in pair]:
        axis.set_axis_off()
    for axis in panels[::2, 0]:
        axis.set_ylabel("% of the weights\n(square-root scale)")
    _legend(figure, panels[0, 0].lines, titles)
    return _png(figure)


@mpl.rc_context(STYLE)
def activations(percentiles: Mapping[str, Mapping[str, Tensor]], titles: Titles) -> bytes:
    """Draw box plots of the activations from their percentiles by arm and layer, ``(2, 101)``: at start and end."""
    layers = layers_shown(list(next(iter(percentiles.values()))))
    figure, panels = _figure(2.6, "What each hidden layer passes on: quartiles, 1st and 99th percentile", 1, 2)
    width = 0.8 / len(titles)
    for time, (axis, when) in enumerate(zip(panels, ("Before the first step", "At the best step"), strict=True)):
        for column, arm in enumerate(titles):
            of_layers = np.stack([percentiles[arm][layer][time] for layer in layers])
            low, q1, median, q3, high = of_layers[:, [1, 25, 50, 75, 99]].T
            places = np.arange(len(layers)) + (column - (len(titles) - 1) / 2) * width
            axis.vlines(places, low, high, color=_of(PALETTE, column), linewidth=1.2)
            axis.bar(places, q3 - q1, bottom=q1, width=0.85 * width, **_bar(column))
            axis.hlines(median, places - 0.42 * width, places + 0.42 * width, color="black", linewidth=1.4)
        axis.set(title=when, xlabel="hidden layer")
        axis.set_xticks(range(len(layers)), [layer[1:] for layer in layers])
        axis.grid(axis="x", visible=False)
    panels[0].set_ylabel("activation")
    _legend(figure, panels[0].containers, titles)
    return _png(figure)


@mpl.rc_context(STYLE)
def l2_path(path: DataFrame, chosen: float) -> bytes:
    """Draw validation accuracy and the weights' norm against lambda."""
    figure, (left, right) = _figure(2.3, "", 1, 2)
    mean, low, high = path["validation_accuracy"], path["accuracy_low"], path["accuracy_high"]
    left.errorbar(path.index, mean, [mean - low, high - mean], color=NO_ARM, marker="o", ms=4, capsize=3)
    left.set(title="Validation accuracy, mean and range", ylabel="validation accuracy (%)")
    right.plot(path.index, path["weight_norm"], color=NO_ARM, marker="o", ms=4)
    right.set(title="Norm of all weights", ylabel="Euclidean norm", ylim=(0, None))
    named = path["l2"].map("{:g}".format)[:: math.ceil(len(path) / LAMBDAS_NAMED)]
    for axis in (left, right):
        axis.set(xlabel="lambda", xticks=named.index, xticklabels=named)
        for place in path.index[path["l2"] == chosen]:
            axis.axvline(place, color="#888888", linestyle=":", linewidth=1)
    return _png(figure)


@mpl.rc_context(STYLE)
def step_times(rounds: Mapping[str, Mapping[int, NDArray[Any]]], titles: Titles) -> bytes:
    """Draw the microseconds of one network's training step, alone and in an ensemble: mean and range."""
    figure, axis = _figure(0.9 + 0.45 * len(titles))
    sizes = list(next(iter(rounds.values())))
    height = 0.8 / len(sizes)
    for place, size in enumerate(sizes):
        times = np.stack([rounds[arm][size] for arm in titles])
        low, mean, high = times.min(axis=1), times.mean(axis=1), times.max(axis=1)
        places = np.arange(len(titles)) + (place - (len(sizes) - 1) / 2) * height
        colours = [_of(PALETTE, column) for column in range(len(titles))]
        look: Any = {"color": colours, "hatch": HATCHES[place], "edgecolor": "white"}
        whiskers: Any = {"xerr": [mean - low, high - mean], "error_kw": {"elinewidth": 1, "capsize": 2}}
        bars = axis.barh(places, mean, height=0.9 * height, **whiskers, **look)
        axis.bar_label(bars, fmt="mean {:,.0f}", fontsize=7.5, padding=2)
    axis.set_yticks(range(len(titles)), list(map(_in_lines, titles.values())))
    axis.set(title="Time of a training step of one network, mean and range", xlabel="microseconds")
    axis.xaxis.set_major_formatter(StrMethodFormatter(THOUSANDS))
    axis.margins(x=0.12)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    names = ["one network alone" if size == 1 else f"one of an ensemble of {size}" for size in sizes]
    look = {"facecolor": NO_ARM, "edgecolor": "white"}
    patches = [Patch(hatch=hatch, label=name, **look) for name, hatch in zip(names, HATCHES, strict=False)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(sizes))
    return _png(figure)


def _figure(height: float, title: str = "", rows: int = 1, columns: int = 1, **layout: Any) -> tuple[Figure, Any]:
    """Make a figure of a height in inches, and its axes."""
    figure = Figure(figsize=(WIDTH, height))
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure, figure.subplots(rows, columns, **layout)


def _legend(figure: Figure, handles: Any, titles: Titles) -> None:
    """Name the arms below the panels, in as many columns as their titles leave room for."""
    names = list(map(_in_lines, titles.values()))
    longest = max(len(line) for name in names for line in name.split("\n"))
    columns = max(1, 90 // (longest + 8))
    figure.legend(list(handles), names, loc="outside lower center", ncols=min(columns, len(names)))


def _in_lines(title: str, width: int = LINE) -> str:
    return textwrap.fill(title, width)


def _draw_bands(axis: Axes, bands: DataFrame, arms: Iterable[str], ticks: int) -> None:
    for column, arm in enumerate(arms):
        band, look = bands[bands["arm"] == arm], _line(column)
        axis.fill_between(band["step"], band["low"], band["high"], color=look["color"], alpha=0.18, linewidth=0)
        axis.plot(band["step"], band["median"], **look)
    _count_steps(axis, ticks)


def _count_steps(axis: Axes, ticks: int) -> None:
    axis.set_xlabel("training step")
    axis.xaxis.set_major_locator(MaxNLocator(ticks))
    axis.xaxis.set_major_formatter(StrMethodFormatter(THOUSANDS))


def _count_decades(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.minorticks_off()


def _of(looks: Sequence[Any], column: int) -> Any:
    """Return the look of an arm; where many arms have a row each, the looks repeat."""
    return looks[column % len(looks)]


def _line(column: int) -> dict[str, Any]:
    """Return the look of an arm's lines."""
    return {"color": _of(PALETTE, column), "linestyle": _of(DASHES, column)}


def _bar(column: int) -> dict[str, Any]:
    """Return the look of an arm's bars."""
    return {"color": _of(PALETTE, column), "hatch": _of(HATCHES, column), "edgecolor": "white"}


def _as_image(pixels: NDArray[Any]) -> NDArray[Any]:
    side = round(len(pixels) ** 0.5)
    return pixels.reshape(side, side)


def _tiled(images: NDArray[Any], columns: int) -> NDArray[Any]:
    """Lay flat images out in lines of so many; the gaps are NaN, which is not drawn."""
    lines, side = math.ceil(len(images) / columns), len(_as_image(images[0]))
    down, right = side + max(1, side // 6), side + side // 2  # so that lines of ten fill the width
    tiles = np.full((lines * down, columns * right), np.nan)
    for place, image in enumerate(images):
        top, left = place // columns * down, place % columns * right
        tiles[top : top + side, left : left + side] = _as_image(image)
    return tiles[: side - down, : side - right]


def in_few_colours(image: Image.Image) -> bytes:
    """Return a picture as a PNG file in 256 colours, which look the same and take half the space."""
    content = io.BytesIO()
    image.convert("RGB").quantize(dither=Image.Dither.NONE).save(content, format="png", optimize=True)
    return content.getvalue()


def _png(figure: Figure) -> bytes:
    canvas: Any = FigureCanvasAgg(figure)  # whose methods have no type hints
    canvas.draw()
    return in_few_colours(Image.fromarray(np.asarray(canvas.buffer_rgba())))
