"""What the report says of the L2 norm: what changed and why, the weights with and without it, the choice of lambda."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from pipeline.analysis import tables
from pipeline.analysis.comparison import NORM, QUANTITIES
from pipeline.analysis.evaluation import NEAR_ZERO, weight_statistics
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import Rows
from pipeline.report import chapter_functions, figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, listed, lower, numbers, percent, verdict

Weights = Mapping[str, Mapping[str, Mapping[str, Tensor]]]  # statistics by arm and layer, a value a network
WEIGHT_COLUMNS = {"norm": 3, "mean_magnitude": 4, "maximum": 3, "near_zero": 1}  # statistics, and decimals to write
TIMES = "\N{MULTIPLICATION SIGN}"


def write_changes(document: Document, study: Study, arm: str) -> None:
    """Explain what supports L2 in the code."""
    rate, decay = study.params.training.learning_rate, study.arms[arm].l2
    steps = study.results[arm].steps[study.evaluations[arm].headline]
    document.heading("What changed in the code, and why", level=2)
    document.paragraph(
        "The L2 norm enters in two places, the cost and the gradient. `l2_penalty` computes the penalty from the "
        "weights, and `compute_cost` adds it if it is given the parameters; the trainer records cost and penalty "
        "apart, so that arms are compared by the cost alone. `L_model_backward` adds the penalty's gradient to that of "
        "each weight. With \N{GREEK SMALL LETTER LAMDA} for lambda:",
        keep_with_next=True,
    )
    document.equation(chapter_functions.L2_COST, keep_with_next=True)
    document.equation(chapter_functions.L2_GRADIENT)
    document.paragraph(
        "The factor one half makes the gradient lambda times W, so that lambda means what `weight_decay` means in "
        "PyTorch. Biases are not penalised: they move the boundary between classes without making it steeper. Each "
        f"step now multiplies every weight by 1 \N{MINUS SIGN} {rate:g} {TIMES} {decay:g} before the data move it: "
        f"over the {steps:,} steps of the headline model a weight that the data do not hold up would decay to "
        f"{percent(100 * (1 - rate * decay) ** steps, 1)} of its first value."
    )


def write_weights(document: Document, study: Study, arm: str) -> None:
    """Compare the weights of an arm with L2 with those of the reference."""
    reference = study.reference
    weights = {name: weight_statistics(result.parameters) for name, result in study.results.items()}
    norms = "; ".join(
        f"{layer} {verdict(compare(values['norm'], weights[reference][layer]['norm']), NORM)}"
        for layer, values in weights[arm].items()
    )
    document.heading("The weights with and without L2", level=2)
    document.paragraph(
        "All weights are those of a network's best step. The Euclidean norm of each layer's weights, with L2 against "
        f"{lower(study.titles[reference])}: {norms}. "
        f"[[histograms_{arm}]] shows the distribution and the norm of the weights layer by layer, [[weights_{arm}]] "
        f"has their figures, and [[images_{arm}]] shows what the first layer has learnt to look for."
    )
    _weight_histograms(document, study, arm, weights)
    _weight_table(document, study, arm, weights)
    _weight_images(document, study, arm)


def _weight_table(document: Document, study: Study, arm: str, weights: Weights) -> None:
    rows = [
        [
            layer,
            study.titles[name],
            *(f"{weights[name][layer][key].mean().item():.{decimals}f}" for key, decimals in WEIGHT_COLUMNS.items()),
        ]
        for layer in weights[arm]
        for name in (study.reference, arm)
    ]
    document.table(
        ["Layer", "Arm", "Norm", "Mean magnitude", "Largest magnitude", f"Below {NEAR_ZERO:g} (%)"],
        rows,
        "The weights layer by layer at the best step, averaged over the seeds: Euclidean norm, mean and largest "
        f"magnitude, and the share of magnitudes below {NEAR_ZERO:g}.",
        name=f"weights_{arm}",
        widths=[1.5, 3.5, 2.2, 3, 3.2, 2.6],
    )


def _weight_histograms(document: Document, study: Study, arm: str, weights: Weights) -> None:
    norms = {
        name: {layer: row["norm"].mean().item() for layer, row in layers.items()} for name, layers in weights.items()
    }
    first = [f"{study.titles[name]} {next(iter(by_layer.values())):.1f}" for name, by_layer in norms.items()]
    document.figure(
        figures.weight_histograms(tables.weight_rows(study.results), norms, study.titles),
        "The weights of all seeds, layer by layer: their distribution, the outermost bins holding what lies beyond, "
        "and their Euclidean norms, averaged over the seeds.",
        f"Histograms of the weights of each layer for {listed(list(study.titles.values()))}, and bars of their norms. "
        f"The first layer's norms: {'; '.join(first)}.",
        name=f"histograms_{arm}",
    )


def _weight_images(document: Document, study: Study, arm: str) -> None:
    headlines = {
        name: {key: stack[study.evaluations[name].headline] for key, stack in result.parameters.items()}
        for name, result in study.results.items()
    }
    units = study.params.network.layers[0]
    shown = figures.units_shown(units, len(study.arms))
    which = f"all {units} units" if shown == units else f"the {shown} units of {units} with the largest norm"
    norms = {name: parameters["W1"].norm(dim=1).topk(shown).values for name, parameters in headlines.items()}
    spans = [f"from {of[0]:.1f} down to {of[-1]:.1f} for {study.titles[name]}" for name, of in norms.items()]
    document.figure(
        figures.first_layer_weights(headlines, study.titles),
        f"The first layer's weights of the headline models as images: {which}, in descending order of their norm. "
        "Dark is negative, bright is positive; at most 0.5 % of a model's weights lie beyond the scale.",
        f"Images of the first layer's weights; the norms of the units shown run {'; '.join(spans)}.",
        name=f"images_{arm}",
    )


def write_path(document: Document, study: Study, chosen: float) -> None:
    """Say how lambda was chosen."""
    rows = tables.l2_path_rows(study.path)
    document.heading("The choice of lambda", level=2)
    if not rows:
        document.paragraph("No network of the path stayed finite, with whatever lambda.")
        return
    best = float(min(rows, key=lambda row: float(row["validation_cost"]))["l2"])
    choice = (
        "the one that `params.yaml` sets"
        if math.isclose(best, chosen)
        else f"while `params.yaml` sets lambda = {chosen:g}"
    )
    document.paragraph(
        f"Lambda is chosen on the validation set, from {counted(len(rows), 'value')} with "
        f"{counted(len(study.params.l2_path.seeds), 'seed')} each, all trained as one stack of "
        f"{len(study.path.seeds)} networks without batch norm. {_path_seeds(study)} "
        "The lowest mean validation cost belongs to lambda = "
        f"{best:g}, {choice} ([[path]], [[path_figure]]).{_path_verdict(study, best)}"
    )
    _path_table(document, rows)
    said = [f"{row['l2']:g}: {row['validation_accuracy']:.1f} and {row['weight_norm']:.1f}" for row in rows]
    document.figure(
        figures.l2_path(rows, chosen),
        "Validation accuracy, mean and range over the seeds, and norm of all weights against lambda; the dotted line "
        "marks the arm's lambda.",
        f"Validation accuracy in per cent, and weight norm, against lambda: {'; '.join(said)}. "
        f"Lowest validation cost at lambda = {best:g}.",
        name="path_figure",
    )


def _path_seeds(study: Study) -> str:
    """Say whether lambda was chosen on networks that are then compared."""
    shared = sorted({*study.params.l2_path.seeds} & {*study.params.training.seeds})
    if shared:
        return f"Of these, seed{'s' * (len(shared) > 1)} {numbers(shared)} are among the networks that are compared."
    return "None of these seeds is among those that are compared; the validation set is the same."


def _path_verdict(study: Study, best: float) -> str:
    """Compare the best lambda with none, if both are on the path."""
    costs = study.path_costs
    if not best or 0.0 not in costs:
        return ""
    said = verdict(compare(costs[best], costs[0.0]), QUANTITIES["validation_cost"])
    return f" In that cost, against lambda = 0: {said}."


def _path_table(document: Document, rows: Rows) -> None:
    document.table(
        ["Lambda", "Validation cost", "Validation accuracy (%)", "Norm of all weights", "Training steps"],
        [
            [
                f"{row['l2']:g}" if row["l2"] == 0 or row["l2"] >= 1e-4 else f"{row['l2']:.0e}",
                f"{row['validation_cost']:.4f}",
                f"{row['validation_accuracy']:.2f}",
                f"{row['weight_norm']:.2f}",
                f"{row['steps']:,.0f}",
            ]
            for row in rows
        ],
        "Each lambda's validation cost, accuracy, weights and training steps, averaged over its seeds.",
        name="path",
    )
