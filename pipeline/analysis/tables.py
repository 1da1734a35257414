"""Results as the flat metrics and tables that DVC reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.comparison import QUANTITIES, Quantity
from pipeline.analysis.diagnosis import diagnose
from pipeline.analysis.evaluation import Evaluation, weight_histograms
from pipeline.analysis.statistics import Comparison, summarise
from pipeline.data.preprocessing import DatasetCard
from pipeline.network.ensemble import TrainingResult
from pipeline.network.forward import l2_penalty

Rows = list[dict[str, Any]]  # text, whole and other numbers
Results = Mapping[str, TrainingResult]
Evaluations = Mapping[str, Evaluation]

LEVELS = {"low": 0.25, "median": 0.5, "high": 0.75}  # the band over seeds
CURVE_POINTS = 120  # of each curve in a plot


def data_name(card: DatasetCard, wanted: str) -> str:
    """Name the data set, and the one that it stands in for."""
    return card.name if card.name == wanted else f"{card.name} (fallback for {wanted})"


def arm_metrics(evaluation: Evaluation, difference: Comparison | None, *, stand_in: str = "") -> dict[str, Any]:
    """Put an arm into the few values that `dvc metrics` shows in a row.

    What the data set is called, if it stands in for the one asked for; the headline model's ``test`` accuracy; over
    the seeds the mean validation accuracy ``val``, by which to choose parameters, and the ``mean`` test accuracy; and
    but for the reference the ``gain`` in that, with the ends of its interval.
    """
    k = evaluation.headline
    metrics: dict[str, Any] = {"dataset": stand_in} if stand_in else {}
    metrics |= {
        "test": round(evaluation.accuracies["test"][k].item(), 2),
        "val": round(evaluation.accuracies["validation"].mean().item(), 2),
        "mean": round(evaluation.accuracies["test"].mean().item(), 2),
    }
    if difference:
        ends = {"gain": difference.difference, "low": difference.low, "high": difference.high}
        metrics |= {name: round(value, 2) for name, value in ends.items() if math.isfinite(value)}
    return metrics


def study(
    dataset: str, results: Results, evaluations: Evaluations, comparisons: Mapping[str, Mapping[str, Comparison]]
) -> dict[str, Any]:
    """Describe each arm over its seeds, and how it compares with the reference.

    ``arms`` holds what `dvc metrics diff` shows, ``plot`` the rows that `dvc plots` draws.
    """
    return {
        "dataset": dataset,
        "arms": {
            arm: _over_seeds(result, evaluations[arm])
            | {name: _in_scalars(each, QUANTITIES[name]) for name, each in comparisons.get(arm, {}).items()}
            for arm, result in results.items()
        },
        "plot": [{"dataset": dataset, **row} for row in _difference_rows(comparisons)],
    }


def _over_seeds(result: TrainingResult, evaluation: Evaluation) -> dict[str, float]:
    """Summarise test accuracy and steps, and count the networks and units that fared ill."""
    test, diagnoses = summarise(evaluation.accuracies["test"]), diagnose(result, evaluation)
    return {
        "networks": len(diagnoses),
        **{name: round(getattr(test, name), 2) for name in ("mean", "sd", "median", "lowest", "highest")},
        "mean_steps": round(summarise(result.steps).mean, 1),
        "diverged_networks": sum(each.diverged for each in diagnoses),
        "collapsed_networks": sum(each.collapsed for each in diagnoses),
        "stuck_networks": sum(each.left_plateau is None for each in diagnoses),
        "all_dead_units": sum(len(units) for each in diagnoses for units in each.dead.values()),
    }


def _in_scalars(comparison: Comparison, quantity: Quantity) -> dict[str, float]:
    """Leave out what is not known."""
    ends = {name: getattr(comparison, name) for name in _shown(quantity)}
    known = {name: round(value, quantity.decimals) for name, value in ends.items() if math.isfinite(value)}
    return {**known, "above": comparison.above, "below": comparison.below}


def _shown(quantity: Quantity) -> list[str]:
    return ["difference", *(["low", "high"] if quantity.interval else [])]


def _difference_rows(comparisons: Mapping[str, Mapping[str, Comparison]]) -> Rows:
    """Tabulate the comparisons of each arm with the reference; empty where there is no interval."""
    return [
        {
            "arm": arm,
            "quantity": QUANTITIES[name].title,
            "unit": QUANTITIES[name].unit,
            "above_zero": QUANTITIES[name].more,
            **{"difference": "", "low": "", "high": ""},
            **{end: _rounded(getattr(comparison, end)) for end in _shown(QUANTITIES[name])},
            **{count: getattr(comparison, count) for count in ("above", "below", "pairs")},
        }
        for arm, compared in comparisons.items()
        for name, comparison in compared.items()
    ]


def curve_rows(results: Results) -> Rows:
    """Tabulate training cost and validation cost against steps, median and quartiles over the seeds."""
    rows: Rows = []
    longest = max(max(result.steps) for result in results.values())
    for arm, result in results.items():
        for series, steps, values in (
            ("training cost", result.cost_steps, result.costs),
            ("validation cost", result.evaluation_steps, result.validation_costs),
        ):
            rows += _banded(arm, series, steps, values.numpy(), longest)
    return rows


def accuracy_rows(results: Results) -> Rows:
    """Tabulate validation accuracy against steps, median and quartiles over the seeds."""
    rows: Rows = []
    longest = max(max(result.steps) for result in results.values())
    for arm, result in results.items():
        values = result.validation_accuracies.numpy()
        rows += _banded(arm, "validation accuracy", result.evaluation_steps, values, longest)
    return rows


def confusion_rows(evaluations: Evaluations, classes: list[str]) -> Rows:
    """Tabulate each headline model's confusion matrix: counts, and per cent of the true class."""
    rows: Rows = []
    for arm, evaluation in evaluations.items():
        counts = evaluation.confusion[evaluation.headline]
        totals = counts.sum(dim=1).clamp(min=1)
        for i, actual in enumerate(classes):
            for j, predicted in enumerate(classes):
                count = int(counts[i, j])
                share = round(100 * count / int(totals[i]), 2)
                rows.append({"arm": arm, "actual": actual, "predicted": predicted, "count": count, "percent": share})
    return rows


def seed_rows(results: Results, evaluations: Evaluations) -> Rows:
    """Tabulate every network, the headline models marked: accuracies, validation cost, steps and epochs."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "headline": int(k == evaluations[arm].headline),
            **{
                f"{name}_accuracy": round(evaluations[arm].accuracies[name][k].item(), 2)
                for name in ("test", "validation", "train")
            },
            "validation_cost": round(evaluations[arm].costs["validation"][k].item(), 5),
            "steps": result.steps[k],
            "epochs": round(result.epochs[k], 2),
        }
        for arm, result in results.items()
        for k, seed in enumerate(result.seeds)
    ]


def weight_rows(results: Results) -> Rows:
    """Tabulate the histograms of all arms' weights, layer by layer."""
    histograms = weight_histograms({arm: result.parameters for arm, result in results.items()})
    return [
        {"arm": arm, "layer": layer, "weight": round(centre, 4), "percent": round(percent, 3)}
        for layer, histogram in histograms.items()
        for arm in results
        for centre, percent in zip(histogram["centres"].tolist(), histogram[arm].tolist(), strict=True)
    ]


def l2_path_rows(result: TrainingResult) -> Rows:
    """Tabulate for each lambda its networks' validation cost and accuracy and their weights' norm.

    Networks that diverged before their first evaluation do not count; nor does a lambda with which all did.
    """
    costs = result.at_best(result.validation_costs).numpy()
    accuracies = result.at_best(result.validation_accuracies).numpy()
    norms = l2_penalty(result.parameters, 2.0).sqrt().numpy()
    rows: Rows = []
    for value in dict.fromkeys(result.l2):
        these = (np.array(result.l2) == value) & np.isfinite(costs)
        if not these.any():
            continue
        rows.append(
            {
                "l2": value,
                "validation_cost": round(float(costs[these].mean()), 5),
                "validation_accuracy": round(float(accuracies[these].mean()), 3),
                "accuracy_low": round(float(accuracies[these].min()), 3),
                "accuracy_high": round(float(accuracies[these].max()), 3),
                "weight_norm": round(float(norms[these].mean()), 4),
                "steps": round(float(np.array(result.steps)[these].mean()), 1),
            }
        )
    return rows


def _banded(arm: str, series: str, steps: list[int], values: NDArray[Any], longest: int) -> Rows:
    """Thin a (records, replicas) curve out and take its quantiles; who has stopped keeps its last value.

    By how much depends on the steps of the longest of all curves, so that what is left of them can be compared.
    """
    records = longest // steps[0] if steps else 0
    thinned = range(0, len(steps), max(1, math.ceil(records / CURVE_POINTS)))
    kept = sorted({*thinned, len(steps) - 1} if steps else {})
    carried = values.copy()
    for row in range(1, len(carried)):
        carried[row] = np.where(np.isnan(carried[row]), carried[row - 1], carried[row])
    rows: Rows = []
    for row in kept:
        finite = carried[row][np.isfinite(carried[row])]
        if len(finite):
            levels = {name: round(float(np.quantile(finite, level)), 5) for name, level in LEVELS.items()}
            rows.append({"arm": arm, "series": series, "step": steps[row], **levels})
    return rows


def _rounded(value: float) -> float | str:
    return float(f"{value:.4g}") if math.isfinite(value) else ""
