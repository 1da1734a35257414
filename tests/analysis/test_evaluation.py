"""Every figure of an evaluation beside a direct computation, with diverged networks among them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from reference import DIMS, blobs, one_of, random_parameters
from samples import DIVERGES, SETS, evaluated, recorded, trained

from pipeline import L_model_forward, predict
from pipeline.analysis.evaluation import (
    MISTAKES,
    evaluate_arm,
    unit_activity,
)
from pipeline.network import prediction
from pipeline.network.training import train

RESULTS = {
    "plain": trained,
    "batchnorm": lambda: trained(use_batchnorm=True),
    "one diverged": lambda: trained(l2=(DIVERGES, 0.0, 0.0)),
    "all diverged": lambda: trained(l2=(DIVERGES, DIVERGES)),
}
each_result = pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS.keys())


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let every set take several blocks, the last of them short."""
    monkeypatch.setattr(prediction, "BLOCK", 40)


def probabilities(result, k, name):
    parameters = one_of(result.parameters, k)
    return L_model_forward(SETS[name][0], parameters, "mean1" in parameters, inference=True)[0]


@each_result
def test_accuracies_and_costs_are_each_networks_on_each_set(make):
    result = make()
    measured = evaluated(result)
    assert set(measured.accuracies) == set(measured.costs) == set(SETS)
    for name, (X, Y) in SETS.items():
        for k in range(len(result.seeds)):
            AL = probabilities(result, k, name)
            assert measured.costs[name][k].item() == pytest.approx(-(Y * AL.log()).sum(0).mean().item(), rel=1e-10)
            assert measured.accuracies[name][k].item() == pytest.approx(predict(X, Y, one_of(result.parameters, k)))


@each_result
def test_the_headline_model_has_the_lowest_validation_cost(make):
    result = make()
    measured = evaluated(result)
    costs = measured.costs["validation"].where(torch.tensor(result.best_step) > 0, math.inf)  # 0: not a finite check
    assert costs[measured.headline] == pytest.approx(costs.min().item())


def test_the_headline_is_chosen_by_the_validation_cost_at_the_best_step_and_by_nothing_else():
    result = recorded([150, 100, 150])
    costs = torch.tensor([[9.0, 9, 0], [9, 7, 9], [6, math.nan, 8]], dtype=torch.float64)
    accuracies = torch.tensor([[0.0, 0, 99], [0, 0, 99], [0, 0, 99]], dtype=torch.float64)
    result = dataclasses.replace(result, validation_costs=costs, validation_accuracies=accuracies)
    assert result.headline == 0
    assert dataclasses.replace(result, best_step=[0, 100, 150]).headline == 1  # 0 diverged before its first check
    assert dataclasses.replace(result, best_step=[0, 0, 0]).headline == 0
    assert dataclasses.replace(result, best_step=[0, 0, 50]).headline == 2


def test_a_network_that_diverged_before_its_first_check_is_never_the_headline_however_good_its_start():
    result = trained(l2=(DIVERGES, 0.0))
    good = {name: each[[1, 0]] for name, each in result.parameters.items()}
    measured = evaluated(dataclasses.replace(result, parameters=good))
    assert measured.costs["validation"][0] < measured.costs["validation"][1] and measured.headline == 1


@each_result
def test_confusion_counts_each_networks_test_examples_true_class_by_predicted(make):
    result = make()
    measured = evaluated(result)
    Y = SETS["test"][1]
    for k in range(len(result.seeds)):
        expected = torch.zeros(4, 4, dtype=torch.int64)
        predictions = probabilities(result, k, "test").argmax(0)
        for true, predicted in zip(Y.argmax(0).tolist(), predictions.tolist(), strict=True):
            expected[true, predicted] += 1
        assert torch.equal(measured.confusion[k], expected)
        assert torch.equal(measured.confusion[k].sum(1), Y.sum(1).long())
        accuracy = 100 * measured.confusion[k].trace() / Y.shape[1]
        assert accuracy.item() == pytest.approx(measured.accuracies["test"][k].item(), rel=1e-6)


def test_a_tie_is_a_miss_in_the_confusion_matrix_too():
    """A network of zeros gives every class the same probability; the rival that it predicts is the first."""
    result = trained()
    zeros = {name: torch.zeros_like(each) for name, each in result.parameters.items()}
    measured = evaluated(dataclasses.replace(result, parameters=zeros))
    assert measured.accuracies["test"].tolist() == [0, 0, 0]
    assert not measured.confusion.diagonal(dim1=1, dim2=2).any()
    assert (measured.mistakes["true"] != measured.mistakes["predicted"]).all()
    assert measured.mistakes["confidence"].tolist() == [0.25] * MISTAKES


@pytest.mark.parametrize("use_batchnorm", [False, True])
def test_activations_are_99th_percentiles_of_each_hidden_layer_s_output(use_batchnorm):
    result = trained(use_batchnorm=use_batchnorm)
    measured = evaluated(result).activations
    assert set(measured) == {"A1", "A2"}
    for k in range(len(result.seeds)):
        _, caches = L_model_forward(SETS["validation"][0], one_of(result.parameters, k), use_batchnorm)
        for layer in (1, 2):
            expected = np.percentile(caches[layer]["linear_cache"]["A"].numpy(), 99)
            assert measured[f"A{layer}"][k].item() == pytest.approx(expected, abs=1e-12)


def test_a_network_without_hidden_layers_has_neither_activity_nor_activations():
    X, Y = SETS["train"]
    result = train(X, Y, [DIMS[0], DIMS[-1]], learning_rate=0.1, max_steps=20, batch_size=20, seeds=[0])
    measured = evaluate_arm(result, SETS)
    assert (measured.activity, measured.activations) == ({}, {})


@each_result
def test_mistakes_are_the_most_confidently_wrong(make):
    result = make()
    measured = evaluated(result)
    X, Y = SETS["test"]
    AL = probabilities(result, measured.headline, "test")
    confidence, predicted = AL.max(0)
    wrong = [k for k in range(X.shape[1]) if predicted[k] != Y[:, k].argmax()]
    wrong.sort(key=lambda k: -confidence[k])
    kept = wrong[:MISTAKES]
    assert len(kept) > 0
    torch.testing.assert_close(measured.mistakes["confidence"], confidence[kept], rtol=1e-12, atol=0)
    assert torch.equal(measured.mistakes["predicted"], predicted[kept])
    assert torch.equal(measured.mistakes["true"], Y.argmax(0)[kept])
    assert torch.equal(measured.mistakes["images"], X[:, kept].T)
    assert (measured.mistakes["true"] != measured.mistakes["predicted"]).all()


def test_a_model_without_mistakes_has_none():
    easy = {name: blobs(60, noise=0.01, seed=seed) for seed, name in enumerate(SETS)}
    X, Y = easy["train"]
    result = train(
        X, Y, DIMS, learning_rate=0.3, max_steps=300, batch_size=20, seeds=[0], validation=easy["validation"]
    )
    measured = evaluate_arm(result, easy)
    assert measured.accuracies["test"].tolist() == [100.0]
    assert {name: len(tensor) for name, tensor in measured.mistakes.items()} == dict.fromkeys(measured.mistakes, 0)
    assert measured.mistakes["images"].shape == (0, DIMS[0])


@each_result
def test_activity_is_the_share_of_examples_with_a_positive_z(make):
    result = make()
    X = SETS["train"][0]
    activity = unit_activity(X, result.parameters)
    assert set(activity) == {"A1", "A2"}
    for k in range(len(result.seeds)):
        parameters = one_of(result.parameters, k)
        _, caches = L_model_forward(X, parameters, "mean1" in parameters, inference=True)
        for layer in (1, 2):
            Z = caches[layer - 1]["linear_cache"]["W"] @ caches[layer - 1]["linear_cache"]["A"]
            Z = Z + parameters[f"b{layer}"]
            expected = [(row > 0).sum().item() / X.shape[1] for row in Z]
            assert activity[f"A{layer}"][k].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_dead_unit_has_no_activity_and_an_ever_active_one_all():
    parameters = random_parameters(DIMS, axes=(2,))
    parameters["b1"][0, 3], parameters["b1"][1, 0] = -1e3, 1e3
    activity = unit_activity(SETS["train"][0], parameters)["A1"]
    assert (activity[0, 3], activity[1, 0]) == (0, 1)


def test_an_evaluation_holds_the_activity_on_the_training_set():
    result = trained()
    expected = unit_activity(SETS["train"][0], result.parameters)
    activity = evaluated(result).activity
    assert activity.keys() == expected.keys()
    assert all(torch.equal(activity[name], expected[name]) for name in expected)
