"""Results as the metrics and tables that DVC and the report show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame
from torch import Tensor

from pipeline.analysis.comparison import QUANTITIES, Quantity
from pipeline.analysis.diagnosis import dead_units, diagnose
from pipeline.analysis.evaluation import Evaluation, weight_histograms
from pipeline.analysis.statistics import Comparison, summarise
from pipeline.network.ensemble import TrainingResult
from pipeline.network.forward import l2_penalty

Results = Mapping[str, TrainingResult]  # by arm
Evaluations = Mapping[str, Evaluation]
Comparisons = Mapping[str, Mapping[str, Comparison]]  # by arm and quantity

QUARTILES = {0.25: "low", 0.5: "median", 0.75: "high"}
SETS = ("test", "validation", "train")
CURVE_POINTS = 120  # of each curve in a plot


def data_name(name: str, wanted: str) -> str:
    """Name the data set, and the one that it stands in for."""
    return name if name == wanted else f"{name} (fallback for {wanted})"


def arm_metrics(evaluation: Evaluation, difference: Comparison | None, *, stand_in: str = "") -> dict[str, Any]:
    """Return the few values of an arm that `dvc metrics` shows in a row.

    ``dataset`` only if it stands in for another; the headline model's ``test`` accuracy; the networks' mean validation
    accuracy ``val``, by which to choose parameters, and ``mean`` test accuracy; the ``gain`` in the latter over the
    reference, with the ends of its interval.
    """
    test, validation = evaluation.accuracies["test"], evaluation.accuracies["validation"]
    metrics = {"test": test[evaluation.headline], "val": validation.mean(), "mean": test.mean()}
    return {
        **({"dataset": stand_in} if stand_in else {}),
        **{name: round(value.item(), 2) for name, value in metrics.items()},
        **(_known(("gain", "low", "high"), _ends(difference), 2) if difference else {}),
    }


def study(dataset: str, results: Results, evaluations: Evaluations, comparisons: Comparisons) -> dict[str, Any]:
    """Describe each arm over its networks, and how it compares with the reference.

    ``arms`` holds what `dvc metrics diff` shows, ``plot`` the rows that `dvc plots` draws.
    """
    differences = difference_table(comparisons)
    differences.insert(0, "dataset", dataset)
    return {
        "dataset": dataset,
        "arms": {
            arm: _over_networks(result, evaluations[arm])
            | {name: _in_scalars(each, QUANTITIES[name]) for name, each in comparisons.get(arm, {}).items()}
            for arm, result in results.items()
        },
        "plot": differences.astype(object).where(differences.notna(), "").to_dict("records"),
    }


def difference_table(comparisons: Comparisons) -> DataFrame:
    """Tabulate the comparisons of each arm with the reference, differences to four digits; unknown ends are NaN."""
    rows = []
    for arm, compared in comparisons.items():
        for name, each in compared.items():
            quantity = QUANTITIES[name]
            ends = [float(f"{value:.4g}") for value in _ends(each, quantity.interval)]
            rows.append((arm, quantity.title, quantity.unit, quantity.more, *ends, each.above, each.below, each.pairs))
    columns = ["arm", "quantity", "unit", "above_zero", "difference", "low", "high", "above", "below", "pairs"]
    return DataFrame(rows, columns=columns)


def curve_table(results: Results) -> DataFrame:
    """Tabulate training and validation cost against steps, median and quartiles over the networks."""
    curves = {}
    for arm, result in results.items():
        curves[arm, "training cost"] = result.cost_steps, result.costs
        curves[arm, "validation cost"] = result.evaluation_steps, result.validation_costs
    return _quartiles(curves, results)


def cost_table(results: Results, evaluations: Evaluations) -> DataFrame:
    """Tabulate the headline model's data cost and L2 penalty at every 100th step."""
    tables = {}
    for arm, result in results.items():
        k = evaluations[arm].headline
        columns = {"step": result.cost_steps, "cost": result.costs[:, k], "penalty": result.penalties[:, k]}
        tables[arm] = DataFrame(columns).astype({"step": int}).dropna()
    return pd.concat(tables, names=["arm"]).reset_index("arm").reset_index(drop=True)


def accuracy_table(results: Results) -> DataFrame:
    """Tabulate validation accuracy against steps, median and quartiles over the networks."""
    curves = {}
    for arm, result in results.items():
        curves[arm, "validation accuracy"] = result.evaluation_steps, result.validation_accuracies
    return _quartiles(curves, results)


def confusion_table(evaluations: Evaluations, classes: list[str]) -> DataFrame:
    """Tabulate each headline model's confusion matrix: counts, and per cent of the true class."""
    counts = np.stack([evaluation.confusion[evaluation.headline] for evaluation in evaluations.values()])
    percent = 100 * counts / counts.sum(axis=2, keepdims=True).clip(min=1)
    cells = pd.MultiIndex.from_product([evaluations, classes, classes], names=["arm", "actual", "predicted"])
    return DataFrame({"count": counts.ravel(), "percent": percent.ravel().round(2)}, index=cells).reset_index()


def network_table(results: Results, evaluations: Evaluations) -> DataFrame:
    """Tabulate every network, the headline models marked: accuracies, validation cost, steps and epochs."""
    tables = []
    for arm, result in results.items():
        evaluation = evaluations[arm]
        columns = {
            "arm": arm,
            "seed": result.seeds,
            "headline": [int(k == evaluation.headline) for k in range(len(result.seeds))],
            **{f"{name}_accuracy": evaluation.accuracies[name].numpy() for name in ("test", "validation", "train")},
            "validation_cost": evaluation.costs["validation"].numpy(),
            "steps": result.steps,
            "epochs": result.epochs,
        }
        tables.append(DataFrame(columns))
    table = pd.concat(tables, ignore_index=True).round({"validation_cost": 5, "epochs": 2})
    # Formatted as in the report: round() errs at halves.
    return table.assign(**table.filter(like="_accuracy").map("{:.2f}".format).astype(float))


def weight_table(results: Results) -> DataFrame:
    """Tabulate the histograms of all arms' weights, layer by layer."""
    table = weight_histograms({arm: result.parameters for arm, result in results.items()})
    return table.round({"weight": 4, "percent": 3})


def l2_path_table(result: TrainingResult) -> DataFrame:
    """Tabulate for each lambda its networks' validation cost and accuracy and their weights' norm.

    Networks that diverged before their first validation check do not count, nor a lambda with which all did.
    """
    columns = {
        "l2": result.l2,
        "validation_cost": result.at_best(result.validation_costs).numpy(),
        "validation_accuracy": result.at_best(result.validation_accuracies).numpy(),
        "weight_norm": l2_penalty(result.parameters, 2.0).double().sqrt().numpy(),
        "steps": result.steps,
    }
    by_lambda = DataFrame(columns).dropna().groupby("l2", sort=False)
    table = by_lambda.mean()
    table.insert(2, "accuracy_low", by_lambda["validation_accuracy"].min())
    table.insert(3, "accuracy_high", by_lambda["validation_accuracy"].max())
    return table.round(dict.fromkeys(table, 3) | {"validation_cost": 5, "weight_norm": 4, "steps": 1}).reset_index()


def _quartiles(curves: Mapping[tuple[str, str], tuple[list[int], Tensor]], results: Results) -> DataFrame:
    """Take the quartiles over the networks; a network that has stopped keeps its last value.

    All curves, ``(steps, networks)``, are thinned out alike, as the longest training needs it; the last step stays.
    """
    longest = max(max(result.steps) for result in results.values())
    bands = {}
    for key, (steps, values) in curves.items():
        curve = DataFrame(values.numpy(), index=pd.Index(steps, dtype=int)).ffill()
        every = math.ceil(longest // min(steps, default=longest) / CURVE_POINTS)
        kept = curve.index[::every].union(curve.index[-1:])
        bands[key] = curve.loc[kept].quantile(list(QUARTILES), axis=1).T
    table = pd.concat(bands, names=["arm", "series", "step"]).rename(columns=QUARTILES)
    return table.dropna().round(5).reset_index()


def _over_networks(result: TrainingResult, evaluation: Evaluation) -> dict[str, float]:
    """Summarise test accuracy and steps, and count the networks and units that fared ill."""
    test, diagnoses = summarise(evaluation.accuracies["test"]), DataFrame(diagnose(result, evaluation))
    return {
        "networks": len(diagnoses),
        **{name: round(getattr(test, name), 2) for name in ("mean", "sd", "median", "lowest", "highest")},
        "mean_steps": round(summarise(result.steps).mean, 1),
        "diverged_networks": int(diagnoses["diverged"].sum()),
        "collapsed_networks": int(diagnoses["collapsed"].sum()),
        "stuck_networks": int(diagnoses["left_plateau"].isna().sum()),
        "all_dead_units": int(dead_units(evaluation, len(diagnoses)).sum()),
    }


def _in_scalars(comparison: Comparison, quantity: Quantity) -> dict[str, float]:
    """Put a comparison into the values that `dvc metrics` can show."""
    known = _known(("difference", "low", "high"), _ends(comparison, quantity.interval), quantity.decimals)
    return {**known, "above": comparison.above, "below": comparison.below}


def _ends(comparison: Comparison, has_interval: bool = True) -> list[float]:
    """Return the difference and the ends of its interval, NaN for an end that is not known."""
    is_bounded = has_interval and math.isfinite(comparison.low)
    return [comparison.difference, *((comparison.low, comparison.high) if is_bounded else (math.nan, math.nan))]


def _known(names: Sequence[str], values: Sequence[float], decimals: int) -> dict[str, float]:
    """Round the values and leave out NaN, which JSON has not."""
    return {name: round(value, decimals) for name, value in zip(names, values, strict=True) if not math.isnan(value)}
