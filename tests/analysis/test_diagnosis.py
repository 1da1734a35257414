"""Each network's plateau, divergence, collapse and dead units, on made-up networks of which they are known."""

import dataclasses
import math

import pytest
import torch
from samples import DIVERGES, evaluated, measured, recorded, trained

from pipeline.analysis.diagnosis import diagnose, first_step_below, guessing_cost

GUESSING = math.log(2)  # the made-up evaluations have two classes


def with_costs(*columns):
    """Make up a result whose networks have these validation costs, every 50 steps."""
    costs = torch.tensor(columns, dtype=torch.float64).T
    return dataclasses.replace(recorded([50 * len(costs)] * len(columns)), validation_costs=costs)


def test_the_first_step_below_a_cost_is_nan_where_there_is_none():
    steps = first_step_below(with_costs([3, 2, 1], [1, 2, 3], [math.nan, 1, 1], [2, 2, 2], [math.nan] * 3), 2)
    assert steps.tolist() == pytest.approx([150, 50, 100, math.nan, math.nan], nan_ok=True)


def test_a_plateau_ends_a_margin_below_the_cost_of_guessing():
    near, below = GUESSING - 0.09, GUESSING - 0.11
    result = with_costs([near, below, near], [near, near, near], [below, near, near])
    diagnoses = diagnose(result, measured([90.0, 90, 90]))
    assert diagnoses["left_plateau"].tolist() == pytest.approx([100, math.nan, 50], nan_ok=True)
    assert guessing_cost(measured([90.0])) == pytest.approx(GUESSING)


def test_collapse_is_below_85_percent_and_seeds_keep_their_names():
    diagnoses = diagnose(recorded([100, 100, 100]), measured([84.99, 85.0, 10.0]))
    assert diagnoses["collapsed"].tolist() == [True, False, True]
    assert diagnoses["seed"].tolist() == [10, 11, 12]
    assert diagnoses["test"].tolist() == [84.99, 85.0, 10.0]


def test_dead_and_nearly_dead_units_are_counted_by_layer():
    evaluation = measured([90.0, 90.0])
    evaluation.activity["A1"][0, 2] = 0
    evaluation.activity["A1"][1, [0, 7]] = torch.tensor([0.0099, 0.0])
    evaluation.activity["A1"][1, 3] = 0.01
    evaluation.activity["A2"] = torch.tensor([[0.0, 0.0, 0.5], [0.5, 0.5, 0.5]])
    diagnoses = diagnose(recorded([100, 100]), evaluation)
    assert diagnoses[["dead_A1", "dead_A2"]].to_numpy().tolist() == [[1, 2], [1, 0]]
    assert diagnoses[["nearly_dead_A1", "nearly_dead_A2"]].to_numpy().tolist() == [[0, 0], [1, 0]]
    assert diagnoses["dead_units"].tolist() == [3, 1]


def test_the_weakest_class_is_that_recognised_least():
    evaluation = measured([90.0, 90.0])
    evaluation.confusion[0] = torch.tensor([[6, 2], [3, 1]])
    evaluation.confusion[1] = torch.tensor([[0, 5], [0, 5]])
    diagnoses = diagnose(recorded([100, 100]), evaluation)
    assert diagnoses[["weakest_class", "recall"]].to_numpy().tolist() == [[1, 25.0], [0, 0.0]]


def test_a_class_without_test_examples_is_not_the_weakest():
    evaluation = measured([90.0])
    evaluation.confusion[0] = torch.tensor([[0, 0], [2, 6]])
    assert diagnose(recorded([100]), evaluation)[["weakest_class", "recall"]].to_numpy().tolist() == [[1, 75.0]]


def test_divergence_is_told_of_real_networks():
    result = trained(l2=(DIVERGES, 0.0))
    diagnoses = diagnose(result, evaluated(result))
    assert diagnoses["diverged"].tolist() == [True, False]
    left = pytest.approx([math.nan, result.evaluation_steps[0]], nan_ok=True)
    assert diagnoses["left_plateau"].tolist() == left


def test_a_network_without_hidden_layers_has_no_dead_units():
    evaluation = dataclasses.replace(measured([90.0, 90.0]), activity={})
    diagnoses = diagnose(recorded([100, 100]), evaluation)
    assert diagnoses["dead_units"].tolist() == [0, 0]
    assert diagnoses.filter(like="dead_A").shape == (2, 0)
