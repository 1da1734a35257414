"""Two arms side by side: the levels of each, and the paired difference with its interval."""

from __future__ import annotations

import math

from pandas import DataFrame

from pipeline.analysis.comparison import EPOCHS, GAP, QUANTITIES, SECONDS, STEP_TIME, Quantity
from pipeline.analysis.statistics import Comparison, compare
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import interval, most_by_one, verdict

Levels = dict[str, tuple[Quantity, Comparison]]
COMPARED = {
    "validation_cost": "Lowest validation cost (nats)",
    "spread": "Distance from median test accuracy (points)",
    "equal_steps_accuracy": "Validation accuracy at equal iterations (%)",
    "half_cost_steps": "Iterations to half the cost of guessing",
    "steps": "Iterations to the stop",
}


def levels(study: Study, arm: str) -> Levels:
    """Return what an arm is compared in: performance, length of training, running time."""
    found: Levels = {}
    for name in ("test", "validation", "train"):
        accuracies = {each: evaluation.accuracies[name] for each, evaluation in study.evaluations.items()}
        found[f"{name.capitalize()} accuracy (%)"] = QUANTITIES["test_accuracy"], study.compare(arm, accuracies)
    found["Train minus validation (points)"] = GAP, study.compare(arm, study.gaps)
    found |= {title: (QUANTITIES[name], study.comparisons[arm][name]) for name, title in COMPARED.items()}
    epochs = {each: result.epochs for each, result in study.results.items()}
    found["Epochs to the stop"] = EPOCHS, study.compare(arm, epochs)
    ours, theirs = study.step_times(arm), study.step_times(study.reference)
    for size in ours:
        where = "alone" if size == 1 else f"in an ensemble of {size}"
        found[f"An iteration, {where} (microseconds)"] = STEP_TIME, compare(ours[size], theirs[size])
    seconds = study.compare(arm, {each: study.seconds_to_stop(each, min(ours)) for each in (arm, study.reference)})
    return {**found, "Time to the stop, alone (s)": (SECONDS, seconds)}


def verdicts(rows: Levels) -> dict[str, str]:
    """Say each comparison in words."""
    return {title: verdict(comparison, quantity) for title, (quantity, comparison) in rows.items()}


def levels_table(document: Document, study: Study, arm: str, rows: Levels, *, name: str) -> None:
    """Write the table of two arms; a row without a clear difference is grey."""
    texts = {
        title: [
            *("" if math.isnan(mean) else f"{mean:,.{quantity.decimals}f}" for mean in (each.reference, each.mean)),
            *(interval(each, quantity), str(each.pairs), most_by_one(each, ": ")),
        ]
        for title, (quantity, each) in rows.items()
    }
    columns = [study.titles[study.reference], study.titles[arm], "Difference [95 % interval]", "Pairs", "Alone"]
    table = DataFrame.from_dict(texts, orient="index", columns=columns).reset_index(names="Mean over the networks")
    caption = (
        f"{study.titles[arm]} beside {study.names[study.reference]}: means, and the mean of the paired differences "
        f"({study.names[arm]} minus {study.names[study.reference]}). Grey: no clear difference. Alone: the seed or "
        "round that makes more than a third of a clear difference."
    )
    unclear = [row for row, (_, each) in enumerate(rows.values()) if not each.excludes_zero]
    document.table(table, caption, name=name, widths=[6.0, 1.7, 1.8, 4.1, 1.0, 1.4], grey=unclear)
