"""The section of one arm: its results, and the comparison with the reference."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from pipeline.analysis.comparison import QUANTITIES, SECONDS, STEP_TIME
from pipeline.analysis.statistics import summarise
from pipeline.report import chapter_l2, figures
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import counted, listed, numbered, signed, verdict, where

WHY = {
    "no improvement": "the validation cost had not improved for {patience}",
    "cap reached": "it reached max_steps, {max_steps}",
    "diverged": "it reached a cost that was no longer finite",
}
# Lines of the table of results, and fields of a summary.
SUMMARIES = {"Mean": "mean", "Standard deviation": "sd", "Median": "median", "Lowest": "lowest", "Highest": "highest"}


def write(document: Document, study: Study, arm: str) -> None:
    """Write the section of one arm."""
    if study.arms[arm].use_batchnorm:
        document.paragraph(
            "Batch normalisation follows the activation of each hidden layer. It has no scale and no shift to learn. "
            "In training, a batch is normalised by its own mean and variance, and the gradient passes through both. At "
            "prediction running statistics take their place: an image is classified alike alone and in any batch."
        )
    if arm == study.first_with_l2:
        chapter_l2.write_changes(document, study, arm)
        document.heading("Results", level=2)
    _results(document, study, arm)
    if arm != study.reference:
        _comparison(document, study, arm)
    if arm == study.first_with_l2:
        chapter_l2.write_weights(document, study, arm)
        chapter_l2.write_path(document, study, study.arms[arm].l2)


def _results(document: Document, study: Study, arm: str) -> None:
    result, evaluation, training = study.results[arm], study.evaluations[arm], study.params.training
    title, k = study.titles[arm], evaluation.headline
    limits = {each: numbered(getattr(training, each), "training step") for each in ("patience", "max_steps")}
    why = WHY[result.stop_reason[k]].format(**limits)
    document.paragraph(
        f"The headline model (seed {result.seeds[k]}) trained for {numbered(result.steps[k], 'step')}, or "
        f"{result.epochs[k]:.1f} epochs, on batches of {numbered(training.batch_size, 'example')}. It stopped because "
        f"{why}. Its best step was {result.best_step[k]:,}. [[results_{arm}]] gives its final accuracies, "
        f"[[headline_{arm}]] draws its cost and its confusion matrix, and section [[costs]] lists the cost at every "
        "100th step."
    )
    _results_table(document, study, arm)
    confusion = _commonest_confusion(study, arm)
    document.paragraph(f"{confusion} {_dead_sentence(study, arm)}")
    if diverged := [str(each.seed) for each in study.diagnoses[arm] if each.diverged]:
        document.paragraph(f"**The training of these seeds diverged: {', '.join(diverged)}.**")
    caption = f"{title}: the headline model's cost at every 100th step, and its confusion matrix on the test set."
    picture = figures.headline_model(result, evaluation, study.card.classes, study.titles, arm)
    document.figure(picture, caption, confusion, name=f"headline_{arm}")


def _results_table(document: Document, study: Study, arm: str) -> None:
    result, evaluation = study.results[arm], study.evaluations[arm]
    columns: dict[str, tuple[Any, int]] = {  # values of all networks, and decimals
        **{f"{name.capitalize()} (%)": (evaluation.accuracies[name], 2) for name in study.card.sizes},
        "Validation cost": (evaluation.costs["validation"], 4),
        "Steps": (result.steps, 0),
        "Epochs": (result.epochs, 1),
    }
    table = pd.DataFrame({"": ["Headline model", *SUMMARIES]})
    for column, (values, decimals) in columns.items():
        summary = summarise(values)
        numbers = [float(values[evaluation.headline]), *(getattr(summary, field) for field in SUMMARIES.values())]
        table[column] = [f"{number:,.{decimals}f}" for number in numbers]
    seeds = counted(len(result.seeds), "seed")
    caption = f"{study.titles[arm]}: accuracy, validation cost (nats) and length of training, over the arm's {seeds}."
    document.table(table, caption, name=f"results_{arm}", widths=[3.6, 1.8, 2.8, 1.8, 2.7, 1.6, 1.7])


def _commonest_confusion(study: Study, arm: str) -> str:
    evaluation, classes = study.evaluations[arm], study.card.classes
    wrong = evaluation.confusion[evaluation.headline].clone().fill_diagonal_(0)
    if not wrong.any():
        return "It makes no mistake on the test set."
    true, predicted = divmod(int(wrong.argmax()), len(wrong))
    return (
        f"Its commonest mistake is that a true {classes[true]} is called {classes[predicted]}: "
        f"{int(wrong[true, predicted])} of its {numbered(int(wrong.sum()), 'mistake')} on the test set."
    )


def _dead_sentence(study: Study, arm: str) -> str:
    units = sum(shares.numel() for shares in study.evaluations[arm].activity.values())
    dead = study.count_units(arm, "dead")
    places = listed([f"{count} in layer {layer[1:]}" for layer, count in dead.items() if count])
    told = f" ({places}); section [[health]] names them" if places else ""
    networks = counted(len(study.diagnoses[arm]), "network")
    return f"Dead units: {sum(dead.values())} of the {numbered(units, 'hidden unit')} of the arm's {networks}{told}."


def _comparison(document: Document, study: Study, arm: str) -> None:
    said = {name: verdict(each, QUANTITIES[name]) for name, each in study.comparisons[arm].items()}
    document.heading(f"{study.titles[arm]} compared with {study.names[study.reference]}", level=2)
    health = " Section [[health]] looks at plateaus, dead units and collapse." * (arm == study.first_with_batchnorm)
    document.paragraph(
        f"**Performance.** Test accuracy: {said['test_accuracy']}. Validation cost at the best step: "
        f"{said['validation_cost']}. [[comparison_{arm}]] has every difference.{health}"
    )
    document.paragraph(
        f"**Number of training steps.** Until the stop: {said['steps']}. A comparison at the stop mixes the speed of "
        f"learning with the length of training. Validation accuracy at equal steps: {said['equal_steps_accuracy']}. "
        f"Validation cost at equal steps: {said['equal_steps_cost']}."
    )
    document.paragraph(running_time(study, arm))
    _comparison_table(document, study, arm)


def running_time(study: Study, arm: str) -> str:
    """Compare times; levels and differences are means, so that the written levels have the written difference."""
    reference, sizes = study.names[study.reference], list(study.step_times(arm))
    steps = []
    for size in sizes:
        ours, theirs = (f"{study.step_times(each)[size].mean():,.1f}" for each in (arm, study.reference))
        compared = verdict(study.compare_step_times(arm, size), STEP_TIME)
        steps.append(f"{where(size)}, {ours} microseconds against {theirs} of {reference}, {compared}")
    alone = sizes[0]
    ours, theirs = (f"{study.seconds_to_stop(each, alone).mean():,.3f}" for each in (arm, study.reference))
    return (
        f"**Running time.** A training step of one network: {'; '.join(steps)}. Levels and differences are means of "
        f"{counted(len(study.step_times(arm)[alone]), 'round')} in which the arms take turns, on {study.timed_on}; "
        f"the interval is over the rounds. Time to stop, {where(alone)}: {ours} s on average, {theirs} s of "
        f"{reference}, {verdict(study.compare_seconds(arm, alone), SECONDS)}. That is steps and validation checks "
        "times their mean times; its interval is over the seeds and ignores the error of the measured times."
    )


def _comparison_table(document: Document, study: Study, arm: str) -> None:
    compared = [(QUANTITIES[name].title, QUANTITIES[name], each) for name, each in study.comparisons[arm].items()]
    for size in study.step_times(arm):
        compared.append((f"step time, {where(size)}", STEP_TIME, study.compare_step_times(arm, size)))
        compared.append((f"time to stop, {where(size)}", SECONDS, study.compare_seconds(arm, size)))
    rows = []
    for label, quantity, each in compared:
        values = [each.difference, *((each.low, each.high) if quantity.interval else (math.inf, math.inf))]
        texts = [signed(value, quantity.decimals) if math.isfinite(value) else "" for value in values]
        rows.append([f"{label} ({quantity.unit})", *texts, str(each.above), str(each.below), str(each.pairs)])
    difference = f"{study.titles[arm]} minus {study.names[study.reference]}"
    table = pd.DataFrame(rows, columns=[difference, "Difference", "95 % from", "to", "Above", "Below", "Pairs"])
    caption = (
        f"{difference}: mean of the paired differences, its interval, and the pairs above zero, below zero and in all. "
        "A pair is a seed, for step times a round. A time in an ensemble is a network's share."
    )
    widths = [6.4, 2.1, 2.1, 2.1, 1.15, 1.15, 1.0]
    document.table(table, caption, name=f"comparison_{arm}", size=8.5, widths=widths)
