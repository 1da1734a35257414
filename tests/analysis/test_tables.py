"""Metrics and plot tables hold the numbers of the results, under the names that DVC shows."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from samples import DIVERGES, evaluated, measured, recorded, trained

from pipeline.analysis import tables
from pipeline.analysis.comparison import QUANTITIES, compare_arms
from pipeline.analysis.statistics import Comparison
from pipeline.artifacts import read_table, write_json, write_table

ACCURACIES = [90.126, 97.0, 95.5, 91.25]
B = {"b": measured([93.0])}
COSTS = ("training cost", "validation cost")


def test_an_arms_metrics_are_those_of_its_headline_model_and_the_mean_of_its_networks():
    result, evaluation = recorded([300, 450, 200, 101]), measured(ACCURACIES, headline=1)
    metrics = tables.arm_metrics(result, evaluation)
    assert list(metrics) == ["headline", "mean"]
    assert all(list(values) == ["cost", "steps", "test", "train", "val"] for values in metrics.values())
    assert metrics["headline"] == {"cost": 0.0102, "steps": 450, "test": 97.0, "train": 99.0, "val": 98.0}
    assert isinstance(metrics["headline"]["steps"], int)  # shown without a point
    cost, accuracy = float(evaluation.costs["validation"].mean()), float(np.mean(ACCURACIES))
    assert metrics["mean"] == {
        **{"cost": round(cost, 4), "steps": 262.8},
        **{"test": round(accuracy, 2), "train": round(accuracy + 2, 2), "val": round(accuracy + 1, 2)},
    }


ARMS = {
    "plain": {},
    "batchnorm": {"use_batchnorm": True},
    "one diverged": {"l2": (DIVERGES, 0.0, 0.0)},
    "all diverged": {"l2": (DIVERGES, DIVERGES)},
    "one seed": {"l2": (0.0,)},
}
TITLES = {"reference": "The reference", "arm": "An arm"}
each_arm = pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS.keys())


@each_arm
def test_metrics_are_json(tmp_path, arm):
    result = trained(**arm)
    reference = trained(l2=(0.0,) * len(result.seeds))
    results = {"reference": reference, "arm": result}
    evaluations = {name: evaluated(each) for name, each in results.items()}
    comparisons = compare_arms(result, evaluations["arm"], reference, evaluations["reference"])
    write_json(tmp_path / "arm.json", tables.arm_metrics(result, evaluations["arm"]))
    study = tables.study("digits", TITLES, results, evaluations, {"arm": comparisons})
    write_json(tmp_path / "study.json", study)
    assert list(study["arms"]) == ["reference", "arm"]
    assert ("standard_deviation" in study["arms"]["arm"]) == (len(result.seeds) > 1)
    values = [value for arm in study["arms"].values() for each in arm.values() for value in scalars(each)]
    assert all(isinstance(value, (int, float, str)) for value in values)  # dvc metrics shows no lists and no nulls
    assert [row["arm"] for row in study["plot"]] == ["An arm"] * len(comparisons)


def scalars(value):
    return value.values() if isinstance(value, dict) else [value]


def records(table):
    return table.to_dict("records")


TIED = [95.95, 94.05, 95.49, 96.31, 91.79, 90.74, 90.45, 94.63, 92.11, 91.57, 95.87, 96.46, 97.63, 93.91, 94.18, 97.90]


@pytest.mark.parametrize(("accuracies", "mean"), [([92.69, 92.70], 92.695), (TIED, 94.315)])  # ties of two decimals
def test_a_mean_is_rounded_once_and_alike_in_every_file(accuracies, mean):
    evaluation, result = measured(accuracies), recorded([300] * len(accuracies))
    evaluations, results = {"a": evaluation}, {"a": result}
    study = tables.study("mnist", {}, results, evaluations, {"a": {}})
    of_arm = tables.arm_metrics(result, evaluation)["mean"]["test"]
    of_table = tables.results_table(results, evaluations, {}).loc[0, "mean_test"]
    assert study["arms"]["a"]["mean_test_accuracy"] == of_arm == of_table == pytest.approx(mean, abs=0.0051)


def test_arms_are_described_over_their_seeds():
    evaluation = measured([*ACCURACIES, 80.0])
    evaluation.activity["A1"][[0, 0, 3], [1, 2, 7]] = 0
    result = recorded([300, 450, 200, 100, 500], diverged=[2])
    costs = result.validation_costs
    costs[:, 1] = math.log(2)
    costs[1:, [0, 2, 3, 4]] = costs[1:, [0, 2, 3, 4]] / 10
    study = tables.study("mnist", {}, {"a": result, "b": result}, {"a": evaluation, "b": evaluation}, {"b": {}})
    assert study["dataset"] == "mnist"
    assert (
        study["arms"]["a"]
        == study["arms"]["b"]
        == {
            "networks": 5,
            "mean_test_accuracy": round(float(np.mean([*ACCURACIES, 80])), 2),
            "standard_deviation": round(float(np.std([*ACCURACIES, 80], ddof=1)), 2),
            "median_test_accuracy": 91.25,
            "lowest_test_accuracy": 80.0,
            "highest_test_accuracy": 97.0,
            "mean_steps": 310.0,
            "median_half_cost_steps": 100.0,
            "diverged_networks": 1,
            "collapsed_networks": 1,
            "stuck_networks": 1,
            "total_dead_units": 3,
        }
    )


@pytest.mark.parametrize(
    ("reached", "median"), [([50, 150, 100], 100), ([50, None, 100], 100), ([50, None, None], None)]
)
def test_the_median_of_the_steps_to_half_the_cost_counts_who_never_comes_to_it_as_the_slowest(reached, median):
    result, evaluation = recorded([200] * 3), measured([90.0] * 3)
    costs = [[0.1 if step and check >= step else 0.69 for step in reached] for check in result.evaluation_steps]
    result = replace(result, validation_costs=torch.tensor(costs, dtype=torch.float64))
    (arm,) = tables.study("mnist", {}, {"a": result}, {"a": evaluation}, {})["arms"].values()
    assert arm.get("median_half_cost_steps") == median


def test_unknown_differences_are_missing_in_their_table():
    unknown = Comparison(difference=math.nan, low=-math.inf, high=math.inf, above=0, below=0, pairs=0)
    counted = Comparison(difference=-12.5, low=-31.25, high=0.0, above=0, below=2, pairs=16)
    table = tables.difference_table({"l2": {"test_accuracy": unknown, "collapsed": counted}})
    assert table[["difference", "low", "high"]].isna().to_numpy().tolist() == [[True] * 3, [False, True, True]]
    assert list(tables.difference_table({})) == list(table)


def test_a_comparison_is_told_in_its_decimals_and_what_is_not_known_is_left_out():
    known = Comparison(difference=-0.0123456, low=-12345.6, high=1.0, above=3, below=12, pairs=16)
    unknown = Comparison(difference=math.nan, low=-math.inf, high=math.inf, above=0, below=0, pairs=0)
    compared = {"l2": {"equal_steps_cost": known, "test_accuracy": unknown}}
    results = {"l2": recorded([100])}
    whole = tables.study("mnist", {"l2": "L2"}, results, {"l2": measured([90.0])}, compared)
    study = whole["arms"]["l2"]
    assert study["equal_steps_cost"] == {
        **{"difference": -0.0123, "interval_low": -12345.6, "interval_high": 1.0},
        **{"networks_above": 3, "networks_below": 12},
    }
    assert study["test_accuracy"] == {"networks_above": 0, "networks_below": 0}
    first, second = whole["plot"]
    assert first == {
        **{"dataset": "mnist", "arm": "L2", "quantity": QUANTITIES["equal_steps_cost"].title, "unit": "nats"},
        **{"above_zero": "worse", "difference": -0.01235, "low": -12350.0, "high": 1.0},
        **{"above": 3, "below": 12, "pairs": 16},
        **{"better": 0.01235, "better_low": -1.0, "better_high": 12350.0},
    }
    assert second == {
        **{"dataset": "mnist", "arm": "L2", "quantity": "test accuracy", "unit": "points", "above_zero": "better"},
        **{"difference": "", "low": "", "high": "", "above": 0, "below": 0, "pairs": 0},
        **{"better": "", "better_low": "", "better_high": ""},
    }


def test_better_is_above_zero_in_every_quantity_and_the_table_says_what_a_difference_means():
    comparison = Comparison(difference=2.0, low=1.0, high=4.0, above=3, below=1, pairs=4)
    table = tables.difference_table({"l2": dict.fromkeys(QUANTITIES, comparison)})
    more_is_better = table["quantity"].str.contains("accuracy") & ~table["quantity"].str.contains("distance")
    assert more_is_better.sum() == 2
    for _, row in table.iterrows():
        ends = [row["better"], row["better_low"], row["better_high"]]
        bounded = QUANTITIES["collapsed"].title != row["quantity"]
        if more_is_better[row.name]:
            assert (ends, row["above_zero"]) == ([2, 1, 4], "better")
        else:
            assert ends == [-2, -4, -1] if bounded else ends[0] == -2 and np.isnan(ends[1:]).all()
            assert re.fullmatch(r"worse( \((more|larger|later)\))?", row["above_zero"])


def test_no_difference_is_zero_and_not_minus_zero():
    none = Comparison(difference=0.0, low=0.0, high=0.0, above=0, below=0, pairs=16)
    (row,) = records(tables.difference_table({"l2": {"steps": none}}))
    assert [str(row[name]) for name in ("better", "better_low", "better_high")] == ["0.0"] * 3


def test_in_plots_an_arm_is_called_by_its_title():
    table = pd.DataFrame({"arm": ["l2", "baseline"], "count": [1, 2]})
    named = tables.for_plots(table, "mnist", {"baseline": "l2", "l2": "L2 norm"})  # a title may be another arm's name
    assert named.to_dict("list") == {"dataset": ["mnist"] * 2, "arm": ["L2 norm", "l2"], "count": [1, 2]}
    without = tables.for_plots(table[["count"]], "mnist", {"l2": "L2 norm"})
    assert list(without) == ["dataset", "count"]
    assert list(table) == ["arm", "count"] and table["arm"][0] == "l2"


def test_results_are_told_an_arm_a_row():
    results = {"a": recorded([100, 200]), "b": recorded([50])}
    evaluations = {"a": measured([91.234, 92], headline=1), "b": measured([93.0])}
    gain = Comparison(difference=1.2345, low=0.987, high=1.5, above=3, below=1, pairs=4)
    first, second = records(tables.results_table(results, evaluations, {"b": {"test_accuracy": gain}}))
    assert np.isnan(second.pop("sd_test"))  # of one network
    ends = [first.pop(name) for name in ("difference", "low", "high")]
    assert np.isnan(ends).all()  # the reference
    assert first == {
        **{"arm": "a", "test": 92.0, "validation": 93.0, "train": 94.0, "gap": 1.0, "steps": 200, "epochs": 25.0},
        **{"cost": round(1 / 93, 4), "mean_test": round((91.234 + 92) / 2, 2), "sd_test": 0.54},
    }
    assert second == {
        **{"arm": "b", "test": 93.0, "validation": 94.0, "train": 95.0, "gap": 1.0, "steps": 50, "epochs": 6.25},
        **{"cost": round(1 / 94, 4), "mean_test": 93.0},
        **{"difference": 1.23, "low": 0.99, "high": 1.5},
    }
    assert list(tables.results_table(results, evaluations, {})) == list(
        tables.results_table(results, evaluations, {"b": {"test_accuracy": gain}})
    )


def test_costs_are_those_of_the_headline_network_until_it_stopped():
    result = recorded([300, 250, 400])
    result = replace(result, penalties=result.costs / 10)
    table = tables.cost_table({"a": result, "b": recorded([50])}, {"a": measured(ACCURACIES[:3], headline=1)} | B)
    assert records(table) == [
        {
            **{"arm": "a", "step": step, "cost": round(result.costs[row, 1].item(), 6)},
            "penalty": round(result.costs[row, 1].item() / 10, 6),
        }
        for row, step in enumerate([100, 200])
    ]
    infinite = replace(result, costs=result.costs.where(torch.tensor([[True], [False], [True], [True]]), torch.inf))
    assert tables.cost_table({"b": infinite}, B)["step"].tolist() == [100, 300]


def test_the_data_set_is_named_with_what_it_stands_in_for():
    assert tables.data_name("digits", "digits") == "digits"
    assert tables.data_name("digits", "mnist") == "digits (fallback for mnist)"


def test_curves_are_median_and_quartiles_in_which_who_has_stopped_keeps_its_last_value():
    result = recorded([300, 100, 200], diverged=[1])
    rows = records(tables.curve_table({"arm": result}, *COSTS))
    columns = {"training cost": (result.cost_steps, result.costs)}
    columns["validation cost"] = (result.evaluation_steps, result.validation_costs)
    expected = []
    for series, (steps, values) in columns.items():
        for row, step in enumerate(steps):
            alive = [values[: row + 1, k][~values[: row + 1, k].isnan()] for k in range(3)]
            last = [column[-1].item() for column in alive if len(column)]
            levels = [round(float(np.quantile(last, level)), 5) for level in (0.25, 0.5, 0.75)]
            expected.append(
                {
                    "arm": "arm",
                    "series": series,
                    "step": step,
                    **dict(zip(("low", "median", "high"), levels, strict=True)),
                }
            )
    assert rows == expected


def test_accuracy_curves_are_in_percent_and_leave_the_result_as_it_is():
    result = recorded([100, 300])
    before = result.validation_accuracies.clone()
    rows = records(tables.curve_table({"a": result, "b": recorded([50])}, "validation accuracy"))
    assert [row["step"] for row in rows if row["arm"] == "a"] == result.evaluation_steps
    first = before[0].numpy()
    assert rows[0] == {
        "arm": "a",
        "series": "validation accuracy",
        "step": 50,
        "low": round(float(np.quantile(first, 0.25)), 5),
        "median": round(float(first.mean()), 5),
        "high": round(float(np.quantile(first, 0.75)), 5),
    }
    assert torch.equal(result.validation_accuracies.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize(("records", "kept"), [(119, 119), (120, 120), (121, 61), (600, 121), (601, 101), (1, 1)])
def test_a_long_curve_is_thinned_out_evenly_but_for_its_last_step_which_stays(records, kept):
    result = recorded([records * 50])
    steps = tables.curve_table({"arm": result}, "validation accuracy")["step"].tolist()
    assert len(steps) == kept
    assert (steps[0], steps[-1]) == (50, records * 50)
    assert len(set(np.diff(steps[:-1]))) <= 1


def test_a_record_that_the_thinning_passes_over_is_carried_on_too():
    result = recorded([241 * 50, 2 * 50])
    rows = records(tables.curve_table({"arm": result}, "validation accuracy"))
    stopped_at = result.validation_accuracies[1, 1].item()
    going = result.validation_accuracies[3, 0].item()
    assert rows[1]["step"] == 200
    assert rows[1]["median"] == pytest.approx((stopped_at + going) / 2, abs=1e-5)


def test_curves_are_thinned_alike_in_all_arms():
    results = {"short": recorded([60 * 50]), "long": recorded([250 * 50])}
    table = tables.curve_table(results, "validation accuracy")
    steps = {arm: table.loc[table["arm"] == arm, "step"].tolist() for arm in results}
    assert steps["short"] == [*range(50, 3000, 150), 3000]
    assert steps["long"] == [*range(50, 12_500, 150), 12_500]


def test_a_network_of_which_no_step_was_good_has_no_value_at_its_best():
    result = replace(recorded([100, 100]), best_step=[0, 100])
    at_best = result.at_best(result.validation_costs)
    assert at_best.isnan().tolist() == [True, False]
    assert at_best[1] == result.validation_costs[1, 1]
    without = replace(result, evaluation_steps=[], validation_costs=result.validation_costs[:0])
    assert without.at_best(without.validation_costs).isnan().tolist() == [True, True]


def test_networks_that_never_had_a_finite_cost_have_no_curve():
    result = trained(l2=(DIVERGES, DIVERGES))
    empty = tables.curve_table({"arm": result}, *COSTS)
    assert (len(empty), list(empty)) == (0, ["arm", "series", "step", "low", "median", "high"])
    mixed = tables.curve_table({"arm": trained(l2=(DIVERGES, 0.0))}, *COSTS)
    assert np.isfinite(mixed[["low", "median", "high"]]).all(axis=None)
    assert set(mixed["series"]) == {"training cost", "validation cost"}


def test_a_run_shorter_than_a_hundred_steps_has_no_training_curve():
    table = tables.curve_table({"arm": trained(max_steps=40)}, *COSTS)
    assert set(table["series"]) == {"validation cost"}
    assert pd.api.types.is_integer_dtype(table["step"])


def test_confusion_is_told_in_counts_and_percent_of_the_true_class():
    assert records(tables.confusion_table({"arm": measured([1.0])}, ["zero", "one"])) == [
        {"arm": "arm", "actual": "zero", "predicted": "zero", "count": 3, "percent": 75.0},
        {"arm": "arm", "actual": "zero", "predicted": "one", "count": 1, "percent": 25.0},
        {"arm": "arm", "actual": "one", "predicted": "zero", "count": 0, "percent": 0.0},
        {"arm": "arm", "actual": "one", "predicted": "one", "count": 0, "percent": 0.0},
    ]


def test_networks_are_told_one_by_one():
    results = {"a": recorded([100, 200]), "b": recorded([50])}
    evaluations = {"a": measured([91.234, 92], headline=1), "b": measured([93.0])}
    rows = records(tables.network_table(results, evaluations))
    assert [row["arm"] for row in rows] == ["a", "a", "b"]
    assert rows[1] == {
        **{"arm": "a", "seed": 11, "headline": 1},
        **{"test_accuracy": 92.0, "validation_accuracy": 93.0, "train_accuracy": 94.0},
        **{"validation_cost": round(1 / 93, 5), "steps": 200, "epochs": 25.0},
    }
    assert [row["headline"] for row in rows] == [0, 1, 1]
    assert rows[0]["test_accuracy"] == 91.23


@pytest.mark.parametrize("accuracy", [80.175, 80.325, 80.675, 80.825])
def test_an_accuracy_is_rounded_as_the_report_writes_it(accuracy):
    table = tables.network_table({"a": recorded([100])}, {"a": measured([accuracy])})
    assert f"{table['test_accuracy'][0]:.2f}" == f"{accuracy:.2f}"


def test_histogram_bins_are_shared_symmetric_and_hold_what_lies_in_them():
    narrow = trained()
    wide = replace(narrow, parameters={name: 2 * each for name, each in narrow.parameters.items()})
    table = tables.weight_table({"narrow": narrow, "wide": wide})
    assert list(table) == ["arm", "layer", "weight", "percent"]
    assert table.groupby(["arm", "layer"])["percent"].sum().tolist() == pytest.approx([100] * 6, abs=0.05)
    first = table[table["layer"] == "W1"]
    centres, others = (first.loc[first["arm"] == arm, "weight"].to_numpy() for arm in ("narrow", "wide"))
    assert (centres == others).all() and len(centres) == tables.HISTOGRAM_BINS
    assert centres.tolist() == pytest.approx((-centres[::-1]).tolist(), abs=1e-4)
    width = centres[1] - centres[0]
    limit = centres[-1] + width / 2
    assert limit == pytest.approx(wide.parameters["W1"].abs().quantile(0.995).item(), abs=1e-3)
    for arm, result in (("narrow", narrow), ("wide", wide)):
        weights = result.parameters["W1"].flatten()
        outer = (weights > limit - width).double().mean()
        inner = ((weights > 0) & (weights < limit / 2)).double().mean()  # the first half of the bins above zero
        percent = first.loc[first["arm"] == arm, "percent"].to_numpy()
        assert percent[-1] == pytest.approx(100 * outer.item(), abs=0.5)
        assert percent[30:45].sum() == pytest.approx(100 * inner.item(), abs=0.5)


def test_the_l2_path_is_averaged_over_the_seeds_of_each_lambda():
    result = trained(l2=(0.0, 0.0, 0.1, 0.1))
    rows = records(tables.l2_path_table(result))
    assert [row["l2"] for row in rows] == [0.0, 0.1]
    for row, pair in zip(rows, ([0, 1], [2, 3]), strict=True):
        at = [result.evaluation_steps.index(result.best_step[k]) for k in pair]
        costs = [result.validation_costs[i, k].item() for i, k in zip(at, pair, strict=True)]
        accuracies = [result.validation_accuracies[i, k].item() for i, k in zip(at, pair, strict=True)]
        squares = [sum((result.parameters[f"W{layer}"][k] ** 2).sum() for layer in (1, 2, 3)) for k in pair]
        assert row["validation_cost"] == pytest.approx(np.mean(costs), abs=1e-5)
        assert row["validation_accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-3)
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(
            (min(accuracies), max(accuracies)), abs=1e-3
        )
        assert row["weight_norm"] == pytest.approx(np.mean(np.sqrt(squares)), abs=1e-4)
        assert row["steps"] == np.mean([result.steps[k] for k in pair])


def test_diverged_networks_do_not_spoil_the_l2_path():
    table = tables.l2_path_table(trained(l2=(0.0, DIVERGES, 0.1)))
    assert table["l2"].tolist() == [0.0, 0.1]
    assert np.isfinite(table).all(axis=None)


def test_a_path_on_which_all_diverged_is_an_empty_table():
    table = tables.l2_path_table(trained(l2=(DIVERGES, DIVERGES)))
    assert len(table) == 0
    assert list(table)[:3] == ["l2", "validation_cost", "validation_accuracy"]


def test_every_table_can_be_written_as_csv(tmp_path):
    results = {"a": trained(), "b": trained(l2=(DIVERGES, 0.0, 0.0))}
    evaluations = {arm: evaluated(result) for arm, result in results.items()}
    for number, table in enumerate(
        (
            tables.curve_table(results, *COSTS),
            tables.curve_table(results, "validation accuracy"),
            tables.cost_table(results, evaluations),
            tables.network_table(results, evaluations),
            tables.confusion_table(evaluations, list("abcd")),
            tables.weight_table(results),
            tables.l2_path_table(results["b"]),
        )
    ):
        write_table(tmp_path / f"{number}.csv", table)
        pd.testing.assert_frame_equal(read_table(tmp_path / f"{number}.csv"), table)
        assert len(table) and table.notna().all(axis=None)
        assert np.isfinite(table.select_dtypes("number")).all(axis=None)


def test_a_network_that_left_the_plateau_late_is_not_stuck():
    result, evaluation = recorded([200] * 3), measured([90.0, 91, 92])
    guessing = np.log(2)
    costs = torch.full_like(result.validation_costs, guessing)
    costs[-1] = torch.tensor([guessing, guessing - 0.2, guessing / 3])
    arm = tables._over_networks(replace(result, validation_costs=costs), evaluation)
    assert arm["stuck_networks"] == 1
