"""Results as the metrics and tables that DVC and the report show."""

import functools
import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from pipeline.analysis.comparison import QUANTITIES, Quantity
from pipeline.analysis.diagnosis import diagnose
from pipeline.analysis.evaluation import Evaluation
from pipeline.analysis.statistics import Comparison
from pipeline.network.ensemble import TrainingResult
from pipeline.network.forward import l2_penalty

Results = Mapping[str, TrainingResult]  # by arm
Evaluations = Mapping[str, Evaluation]
Comparisons = Mapping[str, Mapping[str, Comparison]]  # by arm and quantity

SETS = ("test", "validation", "train")
HISTOGRAM_BINS = 60
CURVE_POINTS = 120  # of each curve in a plot


def data_name(name: str, wanted: str) -> str:
    """Name the data set, and the one that it stands in for."""
    return name if name == wanted else f"{name} (fallback for {wanted})"


def arm_metrics(result: TrainingResult, evaluation: Evaluation) -> dict[str, dict[Hashable, Any]]:
    """Return what `dvc metrics` shows of an arm: its ``headline`` model, and the ``mean`` of its networks.

    ``cost`` is the validation cost at the best step, ``steps`` are those until the stop, the others are accuracies.
    """
    short = {"validation_cost": "cost", "validation": "val"}  # so that a row of `dvc metrics` fits 80 columns
    networks = diagnose(result, evaluation).rename(columns=short)[["cost", "steps", "test", "train", "val"]]
    table = DataFrame({"headline": networks.loc[evaluation.headline], "mean": networks.mean()}).T
    headline, mean = _rounded(table, cost=4, steps=1).to_dict("records")
    return {"headline": headline | {"steps": result.steps[evaluation.headline]}, "mean": mean}


def study(
    dataset: str, titles: Mapping[str, str], results: Results, evaluations: Evaluations, comparisons: Comparisons
) -> dict[str, Any]:
    """Describe each arm over its networks, and how it compares with the reference.

    ``arms`` holds what `dvc metrics diff --targets metrics/study.json` shows, ``plot`` the rows that `dvc plots` draws.
    """
    differences = for_plots(difference_table(comparisons), dataset, titles)
    return {
        "dataset": dataset,
        "arms": {
            arm: _over_networks(result, evaluations[arm])
            | {name: _in_scalars(each, QUANTITIES[name]) for name, each in comparisons.get(arm, {}).items()}
            for arm, result in results.items()
        },
        "plot": differences.astype(object).where(differences.notna(), "").to_dict("records"),
    }


def for_plots(table: DataFrame, dataset: str, titles: Mapping[str, str]) -> DataFrame:
    """Put the data set in front, and the arms' titles in place of their names, as the report calls them."""
    named = table.replace({"arm": dict(titles)})
    named.insert(0, "dataset", dataset)
    return named


def difference_table(comparisons: Comparisons) -> DataFrame:
    """Tabulate the comparisons of each arm with the reference, to four digits; what is not known is NaN.

    ``better`` is the difference with its sign turned where less is better, so that above zero is better everywhere.
    """
    records = [
        {"arm": arm, **vars(QUANTITIES[name]), **vars(each), **_ends(each, QUANTITIES[name])}
        for arm, compared in comparisons.items()
        for name, each in compared.items()
    ]
    columns = ["arm", "title", "unit", "more", "difference", "low", "high", "above", "below", "pairs"]
    table = DataFrame.from_records(records, columns=columns).rename(columns={"title": "quantity", "more": "above_zero"})
    is_gain = table["above_zero"] == "better"
    table["better"] = table["difference"].where(is_gain, -table["difference"])
    table["better_low"] = table["low"].where(is_gain, -table["high"])
    table["better_high"] = table["high"].where(is_gain, -table["low"])
    numbers = ["difference", "low", "high", "better", "better_low", "better_high"]
    table[numbers] = table[numbers].map("{:.4g}".format).astype(float) + 0.0  # which makes -0 0
    is_plain = is_gain | (table["above_zero"] == "worse")
    table["above_zero"] = table["above_zero"].where(is_plain, "worse (" + table["above_zero"] + ")")
    return table


def results_table(results: Results, evaluations: Evaluations, comparisons: Comparisons) -> DataFrame:
    """Tabulate each arm's headline model, its networks' test accuracy, and their gain over the reference.

    ``gap`` is train minus validation accuracy; the ``difference`` is that of the means, with its interval.
    """
    networks = _networks(results, evaluations)
    test = networks.groupby("arm", sort=False)["test"]
    gain = {arm: _ends(compared["test_accuracy"], QUANTITIES["test_accuracy"]) for arm, compared in comparisons.items()}
    headlines = networks[networks["headline"] == 1].droplevel("seed").rename(columns={"validation_cost": "cost"})
    gap = headlines["train"] - headlines["validation"]
    table = headlines.assign(gap=gap, mean_test=test.agg(Series.mean), sd_test=test.std())  # one network has none
    table = table.join(DataFrame.from_dict(gain, orient="index", columns=["difference", "low", "high"], dtype=float))
    of_headline = ["test", "validation", "train", "gap", "steps", "epochs", "cost"]
    return _rounded(table[[*of_headline, "mean_test", "sd_test", "difference", "low", "high"]], cost=4).reset_index()


def cost_table(results: Results, evaluations: Evaluations) -> DataFrame:
    """Tabulate each headline model's training cost and L2 penalty at every 100th step (assignment, 4c)."""
    costs = {}
    for arm, result in results.items():
        headline, steps = evaluations[arm].headline, pd.Index(result.cost_steps, dtype=int)
        columns = {"cost": result.costs[:, headline].numpy(), "penalty": result.penalties[:, headline].numpy()}
        costs[arm] = DataFrame(columns, index=steps)
    table = pd.concat(costs, names=["arm", "step"])
    return _rounded(table[np.isfinite(table)].dropna(), cost=6, penalty=6).reset_index()


def curve_table(results: Results, *series: str) -> DataFrame:
    """Tabulate training cost, validation cost or validation accuracy against steps: quartiles over the networks.

    A network that has stopped keeps its last value. All curves are thinned out alike, as the longest training needs it;
    the last step stays.
    """
    longest = max(max(result.steps) for result in results.values())
    bands = {}
    for arm, result in results.items():
        curves = {
            "training cost": (result.costs, result.cost_steps),
            "validation cost": (result.validation_costs, result.evaluation_steps),
            "validation accuracy": (result.validation_accuracies, result.evaluation_steps),
        }
        for name in series:
            values, steps = curves[name]
            curve = DataFrame(values.numpy(), index=pd.Index(steps, dtype=int)).ffill()
            every = math.ceil(longest // min(steps, default=longest) / CURVE_POINTS)
            kept = curve.index[::every].union(curve.index[-1:])
            bands[arm, name] = curve.loc[kept].quantile([0.25, 0.5, 0.75], axis=1).T
    table = pd.concat(bands, names=["arm", "series", "step"]).set_axis(["low", "median", "high"], axis="columns")
    return table.dropna().round(5).reset_index()


def confusion_table(evaluations: Evaluations, classes: list[str]) -> DataFrame:
    """Tabulate each headline model's confusion matrix: counts, and per cent of the true class."""
    counts = np.stack([evaluation.confusion[evaluation.headline] for evaluation in evaluations.values()])
    percent = 100 * counts / counts.sum(axis=2, keepdims=True).clip(min=1)
    cells = pd.MultiIndex.from_product([evaluations, classes, classes], names=["arm", "actual", "predicted"])
    return DataFrame({"count": counts.ravel(), "percent": percent.ravel().round(2)}, index=cells).reset_index()


def network_table(results: Results, evaluations: Evaluations) -> DataFrame:
    """Tabulate every network, the headline models marked: accuracies, validation cost, steps and epochs."""
    columns = ["headline", *SETS, "validation_cost", "steps", "epochs"]
    table = _rounded(_networks(results, evaluations)[columns], validation_cost=5)
    return table.rename(columns={name: f"{name}_accuracy" for name in SETS}).reset_index()


def weight_table(results: Results) -> DataFrame:
    """Bin the weights of all networks of each arm, layer by layer, in bins that the arms share.

    ``weight`` is the centre of a bin, ``percent`` that of the arm's weights of the layer. The outermost bins hold what
    lies beyond them.
    """
    histograms = {}
    for layer in range(1, len(next(iter(results.values())).layers_dims)):
        weights = {arm: result.parameters[f"W{layer}"].double().flatten().numpy() for arm, result in results.items()}
        limit = max(np.quantile(np.abs(values), 0.995) for values in weights.values())
        edges = np.linspace(-limit, limit, HISTOGRAM_BINS + 1)
        for arm, values in weights.items():
            counts, _ = np.histogram(values.clip(-limit, limit), edges)
            percent = 100 * counts / len(values)
            histograms[arm, f"W{layer}"] = Series(percent, index=(edges[1:] + edges[:-1]) / 2)
    table = pd.concat(histograms, names=["arm", "layer", "weight"]).reset_index(name="percent")
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


def _networks(results: Results, evaluations: Evaluations) -> DataFrame:
    """Tabulate the networks of all arms, by arm and seed."""
    tables = {arm: diagnose(result, evaluations[arm]).set_index("seed") for arm, result in results.items()}
    return pd.concat(tables, names=["arm"])


def _rounded(table: DataFrame, **places: int) -> DataFrame:
    """Round to two places, or as told, as the report writes numbers: DataFrame.round errs at halves."""
    rounded = table.copy()
    for name in map(str, table.select_dtypes("float")):
        rounded[name] = table[name].map(functools.partial(round, ndigits=places.get(name, 2)))
    return rounded


def _over_networks(result: TrainingResult, evaluation: Evaluation) -> dict[str, float]:
    """Summarise test accuracy and steps, and count the networks and units that fared ill.

    A network that never comes to half the cost of guessing counts as the slowest; no median if most are so.
    """
    networks = diagnose(result, evaluation)
    half = networks["half_cost_steps"].fillna(math.inf).median()
    test = networks["test"].describe().to_dict()
    return {
        "networks": len(networks),
        "mean_test_accuracy": round(test["mean"], 2),
        **({"standard_deviation": round(test["std"], 2)} if len(networks) > 1 else {}),
        "median_test_accuracy": round(test["50%"], 2),
        "lowest_test_accuracy": round(test["min"], 2),
        "highest_test_accuracy": round(test["max"], 2),
        "mean_steps": round(float(networks["steps"].mean()), 1),
        **({"median_half_cost_steps": float(half)} if math.isfinite(half) else {}),
        "diverged_networks": int(networks["diverged"].sum()),
        "collapsed_networks": int(networks["collapsed"].sum()),
        "stuck_networks": int(networks["left_plateau"].isna().sum()),
        "total_dead_units": int(networks["dead_units"].sum()),
    }


def _in_scalars(comparison: Comparison, quantity: Quantity) -> dict[str, float]:
    """Put a comparison into the values that `dvc metrics` can show, without NaN, which JSON has not."""
    ends = _ends(comparison, quantity)
    names = {"difference": "difference", "low": "interval_low", "high": "interval_high"}
    known = {names[end]: round(value, quantity.decimals) for end, value in ends.items() if not math.isnan(value)}
    return {**known, "networks_above": comparison.above, "networks_below": comparison.below}


def _ends(comparison: Comparison, quantity: Quantity) -> dict[str, float]:
    """Return the difference and the ends of its interval, NaN for an end that is not known."""
    is_bounded = quantity.interval and math.isfinite(comparison.low)
    low, high = (comparison.low, comparison.high) if is_bounded else (math.nan, math.nan)
    return {"difference": comparison.difference, "low": low, "high": high}
