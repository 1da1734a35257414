"""An arm's section of the report: what came of it, and how it compares with the reference."""

from __future__ import annotations

import math
from typing import Any

from pipeline.analysis.comparison import QUANTITIES, SECONDS, STEP_TIME, Quantity
from pipeline.analysis.statistics import Comparison, Summary, summarise
from pipeline.report import chapter_l2, figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, listed, lower, number_word, signed, verdict

WHY = {
    "no improvement": "the validation cost had not improved for {patience} training steps",
    "cap reached": "it had reached the cap of {max_steps:,} training steps",
    "diverged": "it came to a cost that was no longer finite",
}
SUMMARIES = {  # the lines of an outcome table, and the fields of a summary that they hold
    "Mean": "mean",
    "Standard deviation": "sd",
    "Median": "median",
    "Lowest": "lowest",
    "Highest": "highest",
}


def write(document: Document, study: Study, arm: str) -> None:
    """Write the section of one arm."""
    if arm == study.first_with_l2:
        chapter_l2.write_changes(document, study, arm)
    if study.arms[arm].use_batchnorm:
        document.paragraph(
            "Batch normalisation follows the activation of each hidden layer and has no scale and no shift to learn. "
            "In training a batch is normalised by its own mean and variance, and the gradient passes through both of "
            "them; at prediction running statistics take their place, so that an image is classified alike alone "
            "and in any batch."
        )
    _outcome(document, study, arm)
    if arm != study.reference:
        _comparison(document, study, arm)
    if study.arms[arm].l2 > 0:
        chapter_l2.write_weights(document, study, arm)
    if arm == study.first_with_l2:
        chapter_l2.write_path(document, study, study.arms[arm].l2)


def _outcome(document: Document, study: Study, arm: str) -> None:
    result, evaluation, title = study.results[arm], study.evaluations[arm], study.titles[arm]
    if arm == study.first_with_l2:
        document.heading("What came of it", level=2)
    document.paragraph(_headline_sentences(study, arm))
    _outcome_table(document, study, arm)
    confusion = _commonest_confusion(study, arm)
    document.paragraph(f"{confusion} {_dead_sentence(study, arm)}")
    if diverged := [str(each.seed) for each in study.diagnoses[arm] if each.diverged]:
        document.paragraph(f"**The training of these seeds diverged: {', '.join(diverged)}.**")
    document.figure(
        figures.headline_model(result, evaluation, study.card.classes, study.titles, arm),
        f"{title}: the headline model's cost at every 100th training step, and its confusion matrix on the test set.",
        f"Cost curve against training steps, and confusion matrix of test examples. {confusion}",
        name=f"headline_{arm}",
    )


def _headline_sentences(study: Study, arm: str) -> str:
    result, training, k = study.results[arm], study.params.training, study.evaluations[arm].headline
    why = WHY[result.stop_reason[k]].format(patience=training.patience, max_steps=training.max_steps)
    return (
        f"The headline model (seed {result.seeds[k]}) trained for {result.steps[k]:,} steps, which are "
        f"{result.epochs[k]:.1f} epochs, with batches of {training.batch_size} examples. It stopped because {why}; its "
        f"best step was {result.best_step[k]:,}. [[outcome_{arm}]] gives its final accuracies and those of the "
        f"arm's {counted(len(result.seeds), 'network')}. Section [[costs]] lists its cost at every 100th step; "
        f"[[headline_{arm}]] draws it beside its confusion matrix."
    )


def _outcome_table(document: Document, study: Study, arm: str) -> None:
    result, evaluation = study.results[arm], study.evaluations[arm]
    columns: list[tuple[Any, int]] = [  # values of all networks, and decimals to write
        *((evaluation.accuracies[name], 2) for name in study.card.sizes),
        (evaluation.costs["validation"], 4),
        (result.steps, 0),
        (result.epochs, 1),
    ]
    summaries = [summarise(values) for values, _ in columns]
    headline = [f"{float(values[evaluation.headline]):,.{decimals}f}" for values, decimals in columns]
    rows = [["Headline model", *headline]]
    for label, field in SUMMARIES.items():
        cells = (_field(over, field, decimals) for over, (_, decimals) in zip(summaries, columns, strict=True))
        rows.append([label, *cells])
    document.table(
        ["", *(f"{name.capitalize()} (%)" for name in study.card.sizes), "Validation cost", "Steps", "Epochs"],
        rows,
        f"{study.titles[arm]}: accuracy, validation cost (nats) and length of training; the headline model, and the "
        f"arm's {counted(len(result.seeds), 'seed')}.",
        name=f"outcome_{arm}",
        widths=[3.6, 1.8, 2.8, 1.8, 2.7, 1.6, 1.7],
    )


def _field(summary: Summary, name: str, decimals: int) -> str:
    return f"{getattr(summary, name):,.{decimals}f}"


def _commonest_confusion(study: Study, arm: str) -> str:
    evaluation = study.evaluations[arm]
    wrong = evaluation.confusion[evaluation.headline].clone().fill_diagonal_(0)
    if not wrong.any():
        return "It makes no mistake on the test set."
    true, predicted = divmod(int(wrong.argmax()), len(wrong))
    classes = study.card.classes
    return (
        f"Its commonest mistake is that a true {classes[true]} is called {classes[predicted]}: "
        f"{int(wrong[true, predicted])} of its {int(wrong.sum()):,} mistakes on the test set."
    )


def _dead_sentence(study: Study, arm: str) -> str:
    units = sum(activity.numel() for activity in study.evaluations[arm].activity.values())
    dead = {
        layer: sum(len(each.dead[layer]) for each in study.diagnoses[arm]) for layer in study.evaluations[arm].activity
    }
    of_all = f"Of the {units:,} hidden units of the arm's {counted(len(study.diagnoses[arm]), 'network')}"
    if not any(dead.values()):
        return f"{of_all} none is dead: each is active for some training example."
    places = listed([f"{number_word(count)} in layer {layer[1:]}" for layer, count in dead.items() if count])
    return (
        f"{of_all} {number_word(sum(dead.values()))} died (active for no training example): {places}. "
        "Section [[health]] names them."
    )


def _comparison(document: Document, study: Study, arm: str) -> None:
    compared = study.comparisons[arm]
    said = {name: verdict(comparison, QUANTITIES[name]) for name, comparison in compared.items()}
    title, reference = study.titles[arm], lower(study.titles[study.reference])
    document.heading(f"{title} compared with {reference}", level=2)
    why = " Section [[health]] looks at plateaus, dead units and collapse." if arm == study.first_with_batchnorm else ""
    document.paragraph(
        f"**Performance.** Test accuracy: {said['test_accuracy']}. Validation cost at the best step: "
        f"{said['validation_cost']}. [[comparison_{arm}]] has every difference.{why}"
    )
    document.paragraph(
        f"**Number of training steps.** Until the stop: {said['steps']}. A comparison at the stop mixes how "
        "fast a network learns with how long it trains. At equal steps, which are those of the last evaluation that "
        f"both networks of a pair reached, validation accuracy: "
        f"{said['equal_steps_accuracy']}; validation cost: {said['equal_steps_cost']}. These two are on the validation "
        "set, since the test set is read once, when training is over."
    )
    document.paragraph(_running_time(study, arm))
    _comparison_table(document, study, arm)


def _running_time(study: Study, arm: str) -> str:
    """Compare times; levels and differences are all means, so that the levels' difference is the one written."""
    places, reference = _places(study, arm), lower(study.titles[study.reference])
    alone = min(places)
    steps = "; ".join(_step_time(study, arm, size, place) for size, place in places.items())
    ours, theirs = (float(study.seconds_to_stop(each, alone).mean()) for each in (arm, study.reference))
    return (
        f"**Running time.** A training step of one network: {steps}. All of these are means of "
        f"{counted(len(study.step_times(arm)[alone]), 'round')} in which the arms take turns, on {study.timed_on}, and "
        "the difference given is theirs, but for rounding; its interval is of the differences round by round. The "
        "time to stop is a network's number of steps times the mean time of a step of its arm, plus its number of "
        "looks at the validation set times the mean time of a look: alone "
        f"{ours:,.3f} s on average, {theirs:,.3f} s of {reference}, "
        f"{verdict(study.compare_seconds(arm, alone), SECONDS)}; that interval is over seeds and takes the times of a "
        "step and of a look as measured."
    )


def _places(study: Study, arm: str) -> dict[int, str]:
    """Say of each size of stack that was timed where a network is then."""
    return {size: "alone" if size == 1 else f"in a stack of {size}" for size in study.step_times(arm)}


def _step_time(study: Study, arm: str, size: int, place: str) -> str:
    ours, theirs = (f"{study.step_times(each)[size].mean():,.1f}" for each in (arm, study.reference))
    compared = verdict(study.compare_step_times(arm, size), STEP_TIME)
    return f"{place}, {ours} microseconds against {theirs} of {lower(study.titles[study.reference])}, {compared}"


def _comparison_table(document: Document, study: Study, arm: str) -> None:
    title, reference = study.titles[arm], lower(study.titles[study.reference])
    rows = [
        _comparison_row(QUANTITIES[name].title, QUANTITIES[name], each) for name, each in study.comparisons[arm].items()
    ]
    for size, place in _places(study, arm).items():
        rows.append(_comparison_row(f"step time, {place}", STEP_TIME, study.compare_step_times(arm, size)))
        rows.append(_comparison_row(f"time to stop, {place}", SECONDS, study.compare_seconds(arm, size)))
    document.table(
        [f"{title} minus {reference}", "Difference", "95 % from", "to", "Above", "Below", "Pairs"],
        rows,
        f"{title} against {reference}: the mean of the paired differences and its 95 % interval; in how many pairs "
        "the difference is above zero, in how many below, and how many pairs have both values. A pair is a seed, for "
        "step times a round. Times in a stack are a network's share of a full one's.",
        name=f"comparison_{arm}",
        size=8.5,
        widths=[6.4, 2.1, 2.1, 2.1, 1.15, 1.15, 1.0],
    )


def _comparison_row(label: str, quantity: Quantity, comparison: Comparison) -> list[str]:
    ends = (comparison.difference, *((comparison.low, comparison.high) if quantity.interval else (math.inf, math.inf)))
    cells = [signed(value, quantity.decimals) if math.isfinite(value) else "" for value in ends]
    return [f"{label} ({quantity.unit})", *cells, *map(str, (comparison.above, comparison.below, comparison.pairs))]
