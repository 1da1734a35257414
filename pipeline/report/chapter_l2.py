"""The L2 norm: what changed in the code and why, the weights with and without it, the choice of lambda."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from pipeline.analysis import tables
from pipeline.analysis.comparison import NORM, QUANTITIES
from pipeline.analysis.evaluation import NEAR_ZERO, weight_statistics
from pipeline.analysis.statistics import compare
from pipeline.report import chapter_functions, figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, named, numbered, percent, verdict

Weights = Mapping[str, Mapping[str, Mapping[str, Tensor]]]  # statistics by arm and layer, a value a network


def write_changes(document: Document, study: Study, arm: str) -> None:
    """Explain the code of L2."""
    rate, l2 = study.params.training.learning_rate, study.arms[arm].l2
    steps = study.results[arm].steps[study.evaluations[arm].headline]
    document.heading("Changes in the code, and why", level=2)
    document.paragraph(
        "In the code `l2_penalty` computes the penalty from the weights, and `compute_cost` adds it if given the "
        "parameters. `L_model_backward` adds its gradient to that of each weight. Training records cost and penalty "
        "apart, so that arms are compared by the cost alone. With \N{GREEK SMALL LETTER LAMDA} for lambda:",
        keep_with_next=True,
    )
    document.equation(chapter_functions.L2_COST, keep_with_next=True)
    document.equation(chapter_functions.L2_GRADIENT)
    document.paragraph(
        "The factor one half makes the gradient lambda times W, so that lambda means what `weight_decay` means in "
        "PyTorch. Biases are not penalised: they move the boundary between classes without making it steeper. Each "
        f"step multiplies every weight by 1 \N{MINUS SIGN} {rate:g} \N{MULTIPLICATION SIGN} {l2:g} before the data "
        f"move it. Over the {numbered(steps, 'step')} of the headline model, a weight whose data gradient is zero "
        f"decays to {percent(100 * (1 - rate * l2) ** steps, 1)} of its first value."
    )


def write_weights(document: Document, study: Study, arm: str) -> None:
    """Compare the weights of an arm with L2 with those of the reference."""
    results = {name: study.results[name] for name in study.in_full}
    weights = {name: weight_statistics(result.parameters) for name, result in results.items()}
    pairs = {layer: (ours["norm"], weights[study.reference][layer]["norm"]) for layer, ours in weights[arm].items()}
    norms = "; ".join(f"{layer} {verdict(compare(*pair), NORM)}" for layer, pair in pairs.items())
    document.heading("The weights with and without L2", level=2)
    document.paragraph(
        "All weights are those of a network's best step. Euclidean norm of each layer's weights, "
        f"{study.names[arm]} against {study.names[study.reference]}: {norms}. [[histograms]] and "
        "[[weights]] show the weights by layer, [[images]] those of the first layer as images."
    )
    means = {name: {key: each["norm"].mean().item() for key, each in of.items()} for name, of in weights.items()}
    first = {name: f"{layers['W1']:.1f}" for name, layers in means.items()}
    caption = "The weights of all seeds by layer. The outermost bins hold all beyond; norms are means over the seeds."
    picture = figures.weight_histograms(tables.weight_table(results), means, study.in_full)
    document.figure(picture, caption, f"The first layer's norms: {study.by_arm(first)}.", name="histograms")
    _weight_table(document, study, weights)
    _weight_images(document, study)


def _weight_table(document: Document, study: Study, weights: Weights) -> None:
    columns = {  # title, and decimals
        **{"norm": ("Norm", 3), "mean_magnitude": ("Mean magnitude", 4)},
        **{"maximum": ("Largest magnitude", 3), "near_zero": (f"Below {NEAR_ZERO:g} (%)", 1)},
    }
    rows = [
        {"Layer": layer, "Arm": study.titles[name]}
        | {title: f"{weights[name][layer][key].mean():.{decimals}f}" for key, (title, decimals) in columns.items()}
        for layer in weights[study.reference]
        for name in weights
    ]
    caption = "The weights by layer at the best step, means over the seeds: Euclidean norm and magnitudes."
    document.table(pd.DataFrame(rows), caption, name="weights", widths=[1.5, 3.5, 2.2, 3, 3.2, 2.6])


def _weight_images(document: Document, study: Study) -> None:
    first = {name: study.results[name].parameters["W1"][study.evaluations[name].headline] for name in study.in_full}
    units = study.params.network.layers[0]
    shown = min(units, figures.UNITS_SHOWN)
    which = (
        f"all {numbered(units, 'unit')}" if shown == units else f"the {shown} of {units} units with the largest norm"
    )
    norms = {name: W.norm(dim=1).topk(shown).values for name, W in first.items()}
    spans = {name: f"from {strongest[0]:.1f} down to {strongest[-1]:.1f}" for name, strongest in norms.items()}
    caption = (
        f"The first layer's weights of the headline models as images: {which}, in descending order of norm. "
        "Dark is negative, bright is positive; at most 0.5 % of a model's weights lie beyond the scale."
    )
    picture = figures.first_layer_weights({name: {"W1": W} for name, W in first.items()}, study.in_full)
    document.figure(picture, caption, f"The norms of these units: {study.by_arm(spans)}.", name="images")


def write_path(document: Document, study: Study, chosen: float) -> None:
    """Explain the choice of lambda."""
    path = tables.l2_path_table(study.path)
    document.heading("The choice of lambda", level=2)
    if path.empty:
        document.paragraph("No network stayed finite, whatever lambda.")
        return
    best, costs, against = float(path.nsmallest(1, "validation_cost")["l2"].iloc[0]), study.path_costs, ""
    if best and 0.0 in costs:
        compared = verdict(compare(costs[best], costs[0.0]), QUANTITIES["validation_cost"])
        against = f" Its validation cost against lambda = 0: {compared}."
    choice = "the value" if math.isclose(best, chosen) else f"while {chosen:g} is the value"
    shared = sorted({*study.params.l2_path.seeds} & {*study.params.training.seeds})
    seeds = f"share {named('seed', shared)} and" if shared else "have other seeds, but"
    document.paragraph(
        f"Lambda is chosen on the validation set, from {counted(len(path), 'value')} with "
        f"{counted(len(study.params.l2_path.seeds), 'seed')} each. The "
        f"{numbered(len(study.path.seeds), 'network')} train as one ensemble without batch norm. The networks compared "
        f"{seeds} the same validation set. The lowest mean validation cost belongs to lambda = {best:g}, {choice} "
        f"in `params.yaml` ([[path]], [[path_figure]]).{against}"
    )
    formats = {
        **{"l2": ("Lambda", "{:g}"), "validation_cost": ("Validation cost", "{:.4f}")},
        "validation_accuracy": ("Validation accuracy (%)", "{:.2f}"),
        **{"weight_norm": ("Norm of all weights", "{:.2f}"), "steps": ("Training steps", "{:,.0f}")},
    }
    table = pd.DataFrame({title: path[column].map(text.format) for column, (title, text) in formats.items()})
    caption = "Validation cost and accuracy, norm of the weights and training steps by lambda, averaged over the seeds."
    document.table(table, caption, name="path")
    said = [f"{row.l2:g}: {row.validation_accuracy:.1f} and {row.weight_norm:.1f}" for row in path.itertuples()]
    caption = "Validation accuracy, mean and range, and norm of all weights against lambda; dotted: the arm's lambda."
    shown = f"Accuracy in per cent and norm by lambda: {'; '.join(said)}. Lowest validation cost at lambda = {best:g}."
    document.figure(figures.l2_path(path, chosen), caption, shown, name="path_figure")
