"""Two arms side by side: the levels of each, and the paired difference with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pandas import DataFrame

from pipeline.analysis.comparison import EPOCHS, GAP, QUANTITIES, SECONDS, STEP_TIME, Quantity, paired_values
from pipeline.analysis.statistics import Comparison, compare
from pipeline.report.document import Document
from pipeline.report.study import Study
from pipeline.report.wording import interval, where


@dataclass(frozen=True)
class Level:
    """One quantity of two arms: means over the pairs that count, and their comparison."""

    quantity: Quantity
    reference: float
    arm: float
    comparison: Comparison


def levels(study: Study, arm: str) -> dict[str, Level]:
    """Return what an arm is compared in: performance, running time, length of training."""
    reference = study.reference
    ours, theirs = paired_values(
        study.results[arm], study.evaluations[arm], study.results[reference], study.evaluations[reference]
    )
    accuracies = study.evaluations[arm].accuracies, study.evaluations[reference].accuracies
    sizes = list(study.step_times(arm))
    return {
        **{
            f"{name.capitalize()} accuracy (%)": _level(
                QUANTITIES["test_accuracy"], *(each[name] for each in accuracies)
            )
            for name in ("test", "validation", "train")
        },
        "Train minus validation (points)": _level(GAP, study.gaps(arm), study.gaps(reference)),
        **{
            title: _level(QUANTITIES[name], ours[name], theirs[name])
            for name, title in {
                "validation_cost": "Lowest validation cost (nats)",
                "spread": "Distance from the median test accuracy (points)",
                "equal_steps_accuracy": "Validation accuracy at equal iterations (%)",
                "half_cost_steps": "Iterations to half the cost of guessing",
                "steps": "Iterations to the stop",
            }.items()
        },
        "Epochs to the stop": _level(EPOCHS, study.results[arm].epochs, study.results[reference].epochs),
        **{
            f"An iteration, {where(size)} (microseconds)": _level(
                STEP_TIME, study.step_times(arm)[size], study.step_times(reference)[size]
            )
            for size in sizes
        },
        f"Time to the stop, {where(sizes[0])} (s)": _level(
            SECONDS, study.seconds_to_stop(arm, sizes[0]), study.seconds_to_stop(reference, sizes[0])
        ),
    }


def levels_table(document: Document, study: Study, arm: str, rows: dict[str, Level], *, name: str) -> None:
    """Write the table of two arms; a row without a clear difference is grey."""
    texts = DataFrame.from_dict(
        {title: _texts(level) for title, level in rows.items()},
        orient="index",
        columns=[study.titles[study.reference], study.titles[arm], "Difference [95 % interval]", "Pairs"],
    ).reset_index(names="Mean over the networks")
    caption = (
        f"{study.titles[arm]} beside {study.names[study.reference]}: means, and the mean of the paired differences "
        f"({study.names[arm]} minus {study.names[study.reference]}). Grey: no clear difference."
    )
    unclear = [row for row, level in enumerate(rows.values()) if not level.comparison.excludes_zero]
    document.table(texts, caption, name=name, size=8.5, widths=[6.6, 2.0, 2.0, 4.3, 1.1], grey=unclear)


def _level(quantity: Quantity, ours: ArrayLike, theirs: ArrayLike) -> Level:
    values = np.asarray([theirs, ours], dtype=float)
    counting = values[:, np.isfinite(values).all(axis=0)]
    reference, arm = counting.mean(axis=1) if counting.size else (math.nan, math.nan)
    return Level(quantity, float(reference), float(arm), compare(ours, theirs))


def _texts(level: Level) -> list[str]:
    means = [
        "" if math.isnan(mean) else f"{mean:,.{level.quantity.decimals}f}" for mean in (level.reference, level.arm)
    ]
    return [*means, interval(level.comparison, level.quantity), str(level.comparison.pairs)]
