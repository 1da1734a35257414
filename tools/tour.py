"""What `docs/tour.ipynb` needs besides the pipeline: examples, comparisons, and pictures in the report's style."""

from pipeline.report import figures  # first: it sets Matplotlib's backend

# isort: split
import functools
import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from IPython.display import Image as Picture
from matplotlib.figure import Figure
from pandas import DataFrame
from PIL import Image
from torch import Tensor

from pipeline import L_model_forward, artifacts, compute_cost
from pipeline.analysis.evaluation import activation_percentiles
from pipeline.data import download, preprocessing
from pipeline.network.ensemble import initialize_ensemble
from pipeline.network.training import mini_batches, training_step
from stages import SPLIT
from stages import examples as prepared
from tools.gradcheck import by_autograd

TRAIN, OTHERS = 10_000, 2_000  # examples of a set at most: enough to learn from, few enough for seconds
CELL, GAP, TITLE = 0.36, 0.3, 0.3  # inches: side of a number's cell, between two matrices, above them
SHOWN = 800  # pixels, the width of a picture on the page
WIDEST = 12  # columns of a matrix whose numbers are shown
STYLE: Any = figures.STYLE | {"figure.dpi": 150}


class Examples(NamedTuple):
    """The three sets as float64 columns: so the numbers come out alike on every processor."""

    name: str
    classes: list[str]
    X: Tensor
    Y: Tensor
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def examples() -> Examples:
    """Take the first examples of what `make` has prepared, or else of the digits that scikit-learn contains."""
    if (SPLIT / "card").exists():
        card = artifacts.read_record(preprocessing.DatasetCard, SPLIT / "card")
        sets = {name: prepared(name) for name in card.sizes}
    else:
        parts, card = preprocessing.split(download.load("digits"), validation_fraction=0.2, seed=0)
        sets = {
            name: (
                preprocessing.standardise(part.images, card.mean, card.std),
                preprocessing.one_hot(part.labels, len(card.classes)),
            )
            for name, part in parts.items()
        }
    limits = {"train": TRAIN, "validation": OTHERS, "test": OTHERS}
    train, validation, test = (
        (X[:, :most].double(), Y[:, :most].double())
        for (X, Y), most in ((sets[name], most) for name, most in limits.items())
    )
    return Examples(card.name, card.classes, *train, validation, test)


def cost_of(X: Tensor, Y: Tensor, start: Mapping[str, Tensor]) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Make the cost a function of some parameters; all others are those of the start."""

    def cost(at: Mapping[str, Tensor]) -> Tensor:
        AL, _ = L_model_forward(X, {**start, **at}, use_batchnorm=False)
        return compute_cost(AL, Y)

    return cost


def differences(ours: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> str:
    """Name the largest difference of each gradient from that of another way."""
    return ", ".join(f"d{name} {(ours[f'd{name}'] - each).abs().max():.0e}" for name, each in others.items())


def error_of_W1(dW1: Tensor, G: Tensor, X: Tensor, parameters: Mapping[str, Tensor]) -> float:
    """Compare a gradient of the outputs, weighted by G, with that by autograd; batch norm is on."""

    def f(at: Mapping[str, Tensor]) -> Tensor:
        P, _ = L_model_forward(X, {**parameters, **at}, use_batchnorm=True)
        return (G * P).sum() / X.shape[1]

    right = by_autograd(f, {"W1": parameters["W1"]})["W1"]
    return (dW1 - right).abs().max().item()


def trained(data: Examples, layers: list[int], use_batchnorm: bool, steps: int) -> tuple[dict[str, Tensor], DataFrame]:
    """Train sixteen networks; return them, and each 50 steps the median scale of each hidden layer's output."""
    networks = initialize_ensemble(layers, range(16), use_batchnorm=use_batchnorm, dtype=data.X.dtype)
    scales = {}
    for step, batch in enumerate(mini_batches(data.X.shape[1], 128, steps)):
        if step % 50 == 0:
            of_each = activation_percentiles(data.X[:, :1000], networks)
            scales[step] = [percentiles.median().item() for percentiles in of_each.values()]
        training_step(data.X[:, batch], data.Y[:, batch], networks, learning_rate=0.1, use_batchnorm=use_batchnorm)
    return networks, DataFrame(scales, index=[f"layer {layer}" for layer in range(1, len(layers) - 1)]).T


def mean_activations(parameters: dict[str, Tensor], data: Examples, use_batchnorm: bool) -> Tensor:
    """Mean output of the last hidden layer for each class of the validation set, (units, classes)."""
    X, Y = data.validation
    _, caches = L_model_forward(X, parameters, use_batchnorm, inference=True)
    A: Tensor = caches[-1]["linear_cache"]["A"]
    return A @ Y.T / Y.sum(dim=1)


def how_often_wrong(worse: np.ndarray, better: np.ndarray, k: int) -> float:
    """Count, of all draws of k from each, those in which the worse have the higher mean; in per cent."""
    of_worse, of_better = (functools.reduce(np.add.outer, [each] * k).ravel() for each in (worse, better))
    return 100 * float(np.searchsorted(np.sort(of_better), of_worse).mean()) / len(of_better)


@mpl.rc_context(STYLE | {"figure.constrained_layout.use": False, "axes.grid": False})
def matrices(named: Mapping[str, Tensor]) -> Picture:
    """Draw matrices side by side under their names; each has a colour scale of its own, and its numbers if few."""
    arrays = {name: tensor.numpy() for name, tensor in named.items()}
    rows = max(len(array) for array in arrays.values())
    cells = [CELL if array.shape[1] <= WIDEST else CELL / 2 for array in arrays.values()]
    widths = [cell * array.shape[1] for cell, array in zip(cells, arrays.values(), strict=True)]
    width, height = max(sum(widths) + GAP * (len(widths) + 1), figures.WIDTH), CELL * 0.75 * rows + TITLE
    figure, left = Figure(figsize=(width, height)), GAP
    for (name, array), wide in zip(arrays.items(), widths, strict=True):
        tall = CELL * 0.75 * len(array)
        axis = figure.add_axes((left / width, (height - TITLE - tall) / height, wide / width, tall / height))
        limit = np.abs(array).max() or 1.0
        axis.imshow(array, cmap=figures.WEIGHT_MAP, vmin=-limit, vmax=limit, aspect="auto")
        axis.set_title(name, loc="center")
        axis.set_axis_off()
        for (i, j), value in np.ndenumerate(array) if array.shape[1] <= WIDEST else ():
            look: Any = {"ha": "center", "va": "center", "color": "black" if value > 0 else "white"}
            axis.text(j, i, number(value), fontsize=7, **look)
        left += wide + GAP
    return picture(_png(figure), f"The matrices {', '.join(named)}")


def number(value: float) -> str:
    """Round to two digits after the point; what is small does not look like zero."""
    rounded = round(value, 2)
    return f"{rounded:g}" if rounded else "≈0" if value else "0"


@mpl.rc_context(STYLE)
def curves(panels: Mapping[str, DataFrame], label: str) -> Picture:
    """Draw a line for each column against the training step, a panel for each table."""
    figure = Figure(figsize=(figures.WIDTH, 2.1))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, table) in zip(axes, panels.items(), strict=True):
        for colour, dashes, name in zip(figures.PALETTE, figures.DASHES, table.columns, strict=False):
            axis.plot(table.index, table[name], color=colour, linestyle=dashes, label=name)
        axis.set(title=title, xlabel="training step")
    axes[0].set_ylabel(label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(table.columns))
    return picture(_png(figure), f"{label} against the training step: {', '.join(panels)}")


def picture(content: bytes, text: str) -> Picture:
    """Show a PNG file; the text is for readers who do not see it."""
    untyped: Any = Picture
    made: Picture = untyped(content, width=SHOWN, alt=text)
    return made


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return figures.in_few_colours(Image.open(content))
