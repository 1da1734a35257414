"""Results as the flat metrics and tables that DVC reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.evaluation import Evaluation, weight_histograms
from pipeline.forward import l2_penalty
from pipeline.statistics import Comparison, summarise
from pipeline.training import TrainingResult

Rows = list[dict[str, str | int | float]]
Results = Mapping[str, TrainingResult]
Evaluations = Mapping[str, Evaluation]

LEVELS = {"low": 0.25, "median": 0.5, "high": 0.75}  # the band over seeds
CURVE_POINTS = 120  # of each curve in a plot


def arm_metrics(result: TrainingResult, evaluation: Evaluation) -> dict[str, float]:
    """Put one arm into figures: its headline model, then its test accuracy and steps over the seeds."""
    k = evaluation.headline
    test = summarise(evaluation.accuracies["test"])
    return {
        **{f"{name}_accuracy": round(values[k].item(), 2) for name, values in evaluation.accuracies.items()},
        "steps": result.steps[k],
        "epochs": round(result.epochs[k], 2),
        "best_step": result.best_step[k],
        "test_accuracy_mean": round(test.mean, 2),
        "test_accuracy_sd": round(test.sd, 2),
        "test_accuracy_median": round(test.median, 2),
        "steps_mean": round(summarise(result.steps).mean, 1),
    }


def comparison_metrics(comparison: Comparison) -> dict[str, float | int | None]:
    """Put one comparison into figures of four significant digits; None where there is no interval."""
    return {
        **{name: _rounded(getattr(comparison, name)) for name in ("difference", "low", "high")},
        "wins": comparison.wins,
        "pairs": comparison.pairs,
    }


def curve_rows(results: Results) -> Rows:
    """Tabulate training cost and validation cost against steps, median and quartiles over the seeds."""
    rows: Rows = []
    for arm, result in results.items():
        for series, steps, values in (
            ("training cost", result.cost_steps, result.costs),
            ("validation cost", result.evaluation_steps, result.validation_costs),
        ):
            rows += _banded(arm, series, steps, values.numpy())
    return rows


def accuracy_rows(results: Results) -> Rows:
    """Tabulate validation accuracy against steps, median and quartiles over the seeds."""
    rows: Rows = []
    for arm, result in results.items():
        rows += _banded(arm, "validation accuracy", result.evaluation_steps, result.validation_accuracies.numpy())
    return rows


def confusion_rows(evaluations: Evaluations, classes: list[str]) -> Rows:
    """Tabulate each headline model's confusion matrix: counts, and per cent of the true class."""
    rows: Rows = []
    for arm, evaluation in evaluations.items():
        totals = evaluation.confusion.sum(dim=1).clamp(min=1)
        for i, actual in enumerate(classes):
            for j, predicted in enumerate(classes):
                count = int(evaluation.confusion[i, j])
                share = round(100 * count / int(totals[i]), 2)
                rows.append({"arm": arm, "actual": actual, "predicted": predicted, "count": count, "percent": share})
    return rows


def seed_rows(results: Results, evaluations: Evaluations) -> Rows:
    """Tabulate every seed's test accuracy and steps."""
    return [
        {"arm": arm, "seed": seed, "test_accuracy": round(accuracy, 2), "steps": steps}
        for arm, result in results.items()
        for seed, steps, accuracy in zip(
            result.seeds, result.steps, evaluations[arm].accuracies["test"].tolist(), strict=True
        )
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
    replicas = torch.arange(len(result.l2))
    at_best = torch.searchsorted(torch.tensor(result.evaluation_steps), torch.tensor(result.best_step))
    best_costs = result.validation_costs[at_best, replicas].numpy()
    accuracies = result.validation_accuracies[at_best, replicas].numpy()
    norms = l2_penalty(result.parameters, 2.0).sqrt().numpy()
    rows: Rows = []
    for value in dict.fromkeys(result.l2):
        these = (np.array(result.l2) == value) & np.isfinite(best_costs)
        if not these.any():
            continue
        rows.append(
            {
                "l2": value,
                "validation_cost": round(float(best_costs[these].mean()), 5),
                "validation_accuracy": round(float(accuracies[these].mean()), 3),
                "accuracy_low": round(float(accuracies[these].min()), 3),
                "accuracy_high": round(float(accuracies[these].max()), 3),
                "weight_norm": round(float(norms[these].mean()), 4),
                "steps": round(float(np.array(result.steps)[these].mean()), 1),
            }
        )
    return rows


def _banded(arm: str, series: str, steps: list[int], values: NDArray[Any]) -> Rows:
    """Thin a (records, replicas) curve out and take its quantiles; who has stopped keeps its last value."""
    kept = range(0, len(steps), max(1, math.ceil(len(steps) / CURVE_POINTS)))
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


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
