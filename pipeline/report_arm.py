"""An arm's section of the report: what came of it, how it compares, and for L2 what it changed and why."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline import explanations, figures, tables
from pipeline.comparison import NORM, QUANTITIES, SECONDS, STEP_TIME, Quantity
from pipeline.document import Document
from pipeline.evaluation import NEAR_ZERO, weight_statistics
from pipeline.statistics import Comparison, Summary, compare, summarise
from pipeline.study import Study
from pipeline.wording import counted, listed, lower, percent, signed, verdict

WHY = {
    "no improvement": "no improvement of the validation cost for {patience} training steps",
    "cap reached": "the cap of {max_steps:,} training steps",
    "diverged": "a cost that was no longer finite",
}


def write(document: Document, study: Study, arm: str) -> None:
    """Write the section of one arm."""
    settings = study.arms[arm]
    if arm == study.first_with_l2:
        _l2_changes(document, study, arm)
    if settings.use_batchnorm:
        document.paragraph(
            "Batch normalisation follows the activation of each hidden layer and has no scale and no shift to learn. "
            "In training a batch is normalised by its own mean and variance, and the gradient passes through both of "
            "them; at prediction the running statistics take their place, so that an image is classified alike alone "
            "and in any batch."
        )
    _outcome(document, study, arm)
    if arm != study.reference:
        _comparison(document, study, arm)
    if settings.l2 > 0:
        _weights(document, study, arm)
    if arm == study.first_with_l2:
        _path(document, study, settings.l2)


def _outcome(document: Document, study: Study, arm: str) -> None:
    result, evaluation = study.results[arm], study.evaluations[arm]
    training, k, title = study.params.training, evaluation.headline, study.titles[arm]
    why = WHY[result.stop_reason[k]].format(patience=training.patience, max_steps=training.max_steps)
    if arm == study.first_with_l2:
        document.heading("What came of it", level=2)
    document.paragraph(
        f"The headline model (seed {result.seeds[k]}) trained for {result.steps[k]:,} steps, which are "
        f"{result.epochs[k]:.1f} epochs of batches of {training.batch_size}, and stopped by {why}; its best step was "
        f"{result.best_step[k]:,}. [[outcome_{arm}]] gives its final accuracies and those of all "
        f"{len(result.seeds)} networks. Its cost at every 100th step stands in section [[costs]]; [[headline_{arm}]] "
        "draws it beside its confusion matrix."
    )
    columns: list[tuple[Any, int]] = [  # values of all networks, and decimals to write
        *((evaluation.accuracies[name], 2) for name in study.card.sizes),
        (evaluation.costs["validation"], 4),
        (result.steps, 0),
        (result.epochs, 1),
    ]
    summaries = [summarise(values) for values, _ in columns]
    rows = [["Headline model", *(f"{float(values[k]):,.{decimals}f}" for values, decimals in columns)]]
    for label, name in (
        *(("Mean", "mean"), ("Standard deviation", "sd"), ("Median", "median")),
        *(("Lowest", "lowest"), ("Highest", "highest")),
    ):
        cells = (_figure(over, name, decimals) for over, (_, decimals) in zip(summaries, columns, strict=True))
        rows.append([label, *cells])
    document.table(
        ["", *(f"{name.capitalize()} (%)" for name in study.card.sizes), "Validation cost", "Steps", "Epochs"],
        rows,
        f"{title}: accuracy on each set, cost and length of training; the headline model, and all "
        f"{counted(len(result.seeds), 'seed')}.",
        name=f"outcome_{arm}",
        widths=[3.6, 1.8, 2.8, 1.8, 2.7, 1.6, 1.7],
    )
    document.figure(
        figures.headline_model(result, evaluation, study.card.classes),
        f"{title}: the headline model's cost at every 100th training step, and its confusion matrix on the test set.",
        f"Cost curve against training steps, and confusion matrix of test examples. {_commonest_confusion(study, arm)}",
        name=f"headline_{arm}",
    )
    document.paragraph(f"{_commonest_confusion(study, arm)} {_dead_sentence(study, arm)}")
    if diverged := [str(each.seed) for each in study.diagnoses[arm] if each.diverged]:
        document.paragraph(f"**The training of these seeds diverged: {', '.join(diverged)}.**")


def _figure(summary: Summary, name: str, decimals: int) -> str:
    return f"{getattr(summary, name):,.{decimals}f}"


def _commonest_confusion(study: Study, arm: str) -> str:
    evaluation = study.evaluations[arm]
    wrong = evaluation.confusion[evaluation.headline].clone().fill_diagonal_(0)
    if not wrong.any():
        return "It makes no mistake."
    true, predicted = divmod(int(wrong.argmax()), len(wrong))
    classes = study.card.classes
    return (
        f"The commonest mistake is to take {classes[true]} for {classes[predicted]}, "
        f"{int(wrong[true, predicted])} of {int(wrong.sum()):,} mistakes."
    )


def _dead_sentence(study: Study, arm: str) -> str:
    units = sum(activity.numel() for activity in study.evaluations[arm].activity.values())
    dead = {
        layer: sum(len(each.dead[layer]) for each in study.diagnoses[arm]) for layer in study.evaluations[arm].activity
    }
    if not any(dead.values()):
        return f"Of the {units:,} hidden units of all networks none is dead: each is active for some training example."
    places = listed([f"{count} in layer {layer[1:]}" for layer, count in dead.items() if count])
    return (
        f"Of the {units:,} hidden units of all networks {sum(dead.values())} died, active for no training example: "
        f"{places}; section [[health]] names them."
    )


def _comparison(document: Document, study: Study, arm: str) -> None:
    compared = study.comparisons[arm]
    said = {name: verdict(comparison, QUANTITIES[name]) for name, comparison in compared.items()}
    title, reference = study.titles[arm], lower(study.titles[study.reference])
    document.heading(f"{title} beside {reference}", level=2)
    document.paragraph(
        f"**Performance.** Test accuracy: {said['test_accuracy']}. Lowest validation cost: {said['validation_cost']}. "
        f"[[comparison_{arm}]] has every difference."
    )
    document.paragraph(
        f"**Number of training steps.** Until the stop: {said['steps']}. Comparing where each network happened "
        "to stop mixes what it learns with how long it is let learn. At equal steps, the last evaluation that both "
        f"networks of a pair reached, validation accuracy: {said['equal_steps_accuracy']}; validation cost: "
        f"{said['equal_steps_cost']}. That comparison is on the validation set, since the test set is read once, when "
        "training is over."
    )
    _running_time(document, study, arm)
    rows = [_comparison_row(QUANTITIES[name].title, QUANTITIES[name], each) for name, each in compared.items()]
    for size, place in _places(study, arm).items():
        rows.append(_comparison_row(f"step time, {place}", STEP_TIME, study.compare_step_times(arm, size)))
        rows.append(_comparison_row(f"time to stop, {place}", SECONDS, study.compare_seconds(arm, size)))
    document.table(
        [f"{title} minus {reference}", "Difference", "95 % from", "to", "Above", "Below", "Pairs"],
        rows,
        f"{title} against {reference}, paired by seed, step times by round: mean difference, its interval (none where "
        "there are too few pairs for one), and the pairs in which it is above zero, below zero, and all that count. "
        "A pair of which one never gets there does not count.",
        name=f"comparison_{arm}",
        widths=[7.2, 1.9, 1.7, 1.6, 1.2, 1.2, 1.2],
    )


def _running_time(document: Document, study: Study, arm: str) -> None:
    places = _places(study, arm)
    alone = min(places)
    steps = "; ".join(_step_time(study, arm, size, place) for size, place in places.items())
    document.paragraph(
        f"**Running time.** A training step of one network: {steps}. "
        f"These are medians of {counted(len(study.step_times(arm)[alone]), 'round')} in which the arms take turns, on "
        f"{study.timed_on}, and the interval is that of the differences round by round. "
        "A network's steps times the median time of a step are its time to stop: alone it is "
        f"{summarise(study.seconds_to_stop(arm, alone)).mean:,.1f} s on average, "
        f"{verdict(study.compare_seconds(arm, alone), SECONDS)}; that interval is over seeds and takes the step times "
        "as measured."
    )


def _places(study: Study, arm: str) -> dict[int, str]:
    """Say of each size of stack that was timed where a network is then."""
    return {size: "alone" if size == 1 else f"as one of a stack of {size}" for size in study.step_times(arm)}


def _step_time(study: Study, arm: str, size: int, place: str) -> str:
    ours, theirs = (f"{np.median(study.step_times(each)[size]):,.0f}" for each in (arm, study.reference))
    compared = verdict(study.compare_step_times(arm, size), STEP_TIME)
    return f"{place} {ours} microseconds, {theirs} of {lower(study.titles[study.reference])}, {compared}"


def _comparison_row(label: str, quantity: Quantity, comparison: Comparison) -> list[str]:
    ends = (comparison.difference, comparison.low, comparison.high)
    cells = [signed(value, quantity.decimals) if math.isfinite(value) else "" for value in ends]
    return [f"{label} ({quantity.unit})", *cells, *map(str, (comparison.above, comparison.below, comparison.pairs))]


def _l2_changes(document: Document, study: Study, arm: str) -> None:
    rate, decay = study.params.training.learning_rate, study.arms[arm].l2
    steps = study.results[arm].steps[study.evaluations[arm].headline]
    document.heading("What changed in the code, and why", level=2)
    document.paragraph(
        "The L2 norm enters in two places. `l2_penalty` computes the penalty from the weights, and `compute_cost` adds "
        "it if it is given the parameters; the trainer records cost and penalty apart, so that arms are compared by "
        "the cost alone. `L_model_backward` adds the penalty's gradient to each weight's:"
    )
    document.equation(explanations.L2_COST)
    document.equation(explanations.L2_GRADIENT)
    document.paragraph(
        "The factor one half makes the gradient lambda times W, so that lambda means what `weight_decay` means in "
        "PyTorch. Biases are not penalised: they move the boundary between classes without making it steeper. Each "
        f"step now shrinks every weight by the factor 1 - {rate:g} x {decay:g} before the data move it: over the "
        f"{steps:,} steps of the headline model a weight that the data do not hold up shrinks to "
        f"{percent(100 * (1 - rate * decay) ** steps, 1)} of what it was."
    )


def _weights(document: Document, study: Study, arm: str) -> None:
    reference = study.reference
    document.heading("The weights with and without L2", level=2)
    weights = {name: weight_statistics(result.parameters) for name, result in study.results.items()}
    rows = [
        [
            layer,
            study.titles[name],
            *(
                f"{weights[name][layer][key].mean().item():.{decimals}f}"
                for key, decimals in (("norm", 3), ("mean_magnitude", 4), ("maximum", 3), ("near_zero", 1))
            ),
        ]
        for layer in weights[arm]
        for name in (reference, arm)
    ]
    norms = "; ".join(
        f"{layer} {verdict(compare(values['norm'], weights[reference][layer]['norm']), NORM)}"
        for layer, values in weights[arm].items()
    )
    document.paragraph(
        f"The Euclidean norm of a layer's weights, with L2 against {lower(study.titles[reference])}: {norms}. "
        f"[[weights_{arm}]] has the weights layer by layer, [[histograms_{arm}]] their distribution and norms, and "
        f"[[images_{arm}]] shows what the first layer has learnt to look for."
    )
    document.table(
        ["Layer", "Arm", "Norm", "Mean magnitude", "Largest magnitude", f"Below {NEAR_ZERO:g} (%)"],
        rows,
        "The weights layer by layer, averaged over the seeds: Euclidean norm, mean and largest magnitude, "
        f"and the share of magnitudes below {NEAR_ZERO:g}.",
        name=f"weights_{arm}",
        widths=[1.5, 3.5, 2.2, 3, 3.2, 2.6],
    )
    document.figure(
        figures.weight_histograms(
            tables.weight_rows(study.results),
            {
                name: {layer: row["norm"].mean().item() for layer, row in layers.items()}
                for name, layers in weights.items()
            },
            study.titles,
        ),
        "The weights of all seeds, layer by layer: their distribution, the outermost bins holding what lies beyond, "
        "and their Euclidean norms, averaged over the seeds.",
        f"Histograms of the weights of each layer for {listed(list(study.titles.values()))}, and bars of their norms.",
        name=f"histograms_{arm}",
    )
    headlines = {
        name: {key: stack[study.evaluations[name].headline] for key, stack in result.parameters.items()}
        for name, result in study.results.items()
    }
    document.figure(
        figures.first_layer_weights(headlines, study.titles),
        f"The first layer's weights of the headline models as images: {_shown_units(study)}, in the order of "
        "their norm. Dark is negative, bright is positive.",
        f"Images of the first layer's weights for {listed(list(study.titles.values()))}.",
        name=f"images_{arm}",
    )


def _shown_units(study: Study) -> str:
    units = study.params.network.layers[0]
    shown = figures.units_shown(units, len(study.arms))
    return f"all {units} units" if shown == units else f"the {shown} units of {units} with the largest norm"


def _path(document: Document, study: Study, chosen: float) -> None:
    rows = tables.l2_path_rows(study.path)
    seeds = len(study.params.l2_path.seeds)
    document.heading("The choice of lambda", level=2)
    if not rows:
        document.paragraph("No network of the path stayed finite, with whatever lambda.")
        return
    best = min(rows, key=lambda row: float(row["validation_cost"]))
    choice = (
        f"which is the one that `params.yaml` uses, lambda = {chosen:g}"
        if math.isclose(float(best["l2"]), chosen)
        else f"while `params.yaml` sets lambda = {chosen:g}"
    )
    document.paragraph(
        f"Lambda is chosen on the validation set, among {len(rows)} values with {counted(seeds, 'seed')} each, all "
        f"trained as one stack of {len(study.path.seeds)} networks without batch norm. The lowest mean validation cost "
        f"belongs to lambda = {best['l2']:g}, {choice} ([[path]], [[path_figure]]).{_path_verdict(study, best['l2'])}"
    )
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
    document.figure(
        figures.l2_path(rows, chosen),
        "Validation accuracy, mean and range over the seeds, and norm of all weights against lambda; the dotted line "
        "marks the arm's lambda.",
        f"Validation accuracy and weight norm against lambda. Lowest validation cost at lambda = {best['l2']:g}.",
        name="path_figure",
    )


def _path_verdict(study: Study, best: float) -> str:
    """Compare the best lambda with none, if both are on the path."""
    costs = study.path_costs
    if not best or 0.0 not in costs:
        return ""
    said = verdict(compare(costs[best], costs[0.0]), QUANTITIES["validation_cost"])
    return f" In that cost, against lambda = 0: {said}."
