"""How networks begin: first gradients as autograd has them, and what training leaves of the random start."""

from dataclasses import replace

import pytest
import torch
from pandas import DataFrame, Series
from reference import blobs
from samples import measured, recorded

from pipeline import train
from pipeline.analysis.beginnings import (
    along_start,
    first_gradient_norms,
    gradient_factors,
    late_start,
    start,
    weight_norms,
)
from pipeline.analysis.diagnosis import diagnose
from pipeline.network.ensemble import initialize_ensemble

DIMS = [12, 6, 5, 4]
SEEDS = [3, 8]
X, Y = (columns.double() for columns in blobs(40, dims=DIMS, seed=1))


def trained(**settings):
    validation = blobs(20, dims=DIMS, seed=2)
    return train(
        X, Y, DIMS, learning_rate=0.1, max_steps=20, batch_size=10, seeds=SEEDS, evaluate_every=5,
        validation=validation, **settings,
    )  # fmt: skip


def cost(parameters, k, use_batchnorm):
    """Return the mean cost of network ``k`` by PyTorch's own functions."""
    A = X
    for layer in range(1, len(DIMS)):
        A = parameters[f"W{layer}"][k] @ A + parameters[f"b{layer}"][k]
        if layer < len(DIMS) - 1:
            A = torch.relu(A)
            if use_batchnorm:
                A = torch.nn.functional.batch_norm(A.T, None, None, training=True, eps=1e-5).T
    return torch.nn.functional.cross_entropy(A.T, Y.argmax(dim=0))


@pytest.mark.parametrize("use_batchnorm", [False, True])
def test_the_first_gradients_are_those_of_autograd(use_batchnorm):
    norms = first_gradient_norms(X, Y, trained(use_batchnorm=use_batchnorm, l2=0.1))  # the cost's alone, without L2's
    assert list(norms) == ["W1", "W2", "W3"] and len(norms) == len(SEEDS)
    starts = initialize_ensemble(DIMS, SEEDS, dtype=torch.float64)
    for name in norms:
        starts[name].requires_grad_()
    for k in range(len(SEEDS)):
        gradients = torch.autograd.grad(cost(starts, k, use_batchnorm), [starts[name] for name in norms])
        expected = [gradient[k].norm().item() for gradient in gradients]
        assert norms.loc[k].tolist() == pytest.approx(expected, rel=1e-10)


def test_gradients_differ_by_the_largest_over_the_smallest_that_is_not_of_a_dead_start():
    factors = gradient_factors(DataFrame({"W1": [2.0, 0.0, 8.0], "W2": [3.0, 3.0, 3.0], "W3": [0.0, 0.0, 0.0]}))
    assert factors.to_dict() == {"W1": 4.0, "W2": 1.0, "W3": 1.0}


def steps_to_half(result):
    return diagnose(result, measured([90.0] * len(result.seeds)))["half_cost_steps"]  # of two classes


@pytest.mark.parametrize(
    ("steps", "correlation", "is_clear"),
    [
        ([6, 5, 4, 3, 2, 1], -1.0, True),
        ([1, 2, 3, 4, 5, 6], 1.0, True),  # a small gradient learns early
        ([1, 6, 2, 5, 3, 4], 0.2571, False),
        ([None, 5, 4, 3, 2, 1], -1.0, True),  # who never comes to it is the last
        ([5, 4, 3, 2, 1, None], -0.1429, False),
    ],
)
def test_a_late_start_is_a_clear_rank_correlation_below_zero(steps, correlation, is_clear):
    result = recorded([300] * 6)  # a check every 50 steps
    below = torch.tensor([[step is not None and check >= step for step in steps] for check in range(1, 7)])
    result = replace(result, validation_costs=torch.where(below, 0.1, 0.69).double())
    ((found, p),) = late_start(DataFrame({"W1": [1.0, 2, 3, 4, 5, 6]}), steps_to_half(result)).to_numpy()
    assert found == pytest.approx(correlation, abs=1e-3)
    assert (p < 0.05) == is_clear


def test_the_p_of_a_late_start_is_multiplied_by_the_number_of_layers():
    steps, norms = Series([1.0, 2, 3, 4, 5, 6]), {"W1": [6.0, 5, 4, 3, 1, 2], "W2": [1.0, 6, 2, 5, 3, 4]}
    alone = [late_start(DataFrame({layer: norm}), steps).loc[layer] for layer, norm in norms.items()]
    together = late_start(DataFrame(norms), steps)
    assert together["correlation"].tolist() == [each["correlation"] for each in alone]
    assert together["p"].tolist() == [pytest.approx(2 * alone[0]["p"]), 1.0]


@pytest.mark.parametrize("networks", [1, 2, 3, 5])
def test_fewer_than_six_networks_show_no_late_start_in_whatever_order(networks):
    norms, steps = DataFrame({"W1": range(networks)}, dtype=float), Series(range(networks, 0, -1), dtype=float)
    assert late_start(norms, steps).empty


def test_networks_that_come_to_it_at_one_check_have_no_order_and_bring_no_warning():
    result = recorded([300] * 6)
    result.validation_costs[:] = 0.1
    assert late_start(DataFrame({"W1": [1.0, 2, 3, 4, 5, 6]}), steps_to_half(result)).empty


def test_the_norms_at_the_start_are_those_of_the_network_s_own_seed():
    norms = weight_norms(start(trained()))
    for k, seed in enumerate(SEEDS):
        alone = initialize_ensemble(DIMS, [seed])
        expected = [alone[name].norm().item() for name in ("W1", "W2", "W3")]
        assert norms.loc[k].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_share_along_the_start_is_that_of_the_squared_norm():
    result = trained()
    starts = initialize_ensemble(DIMS, SEEDS)
    other = torch.randn_like(starts["W1"])
    dot = (starts["W1"] * other).sum(dim=(1, 2), keepdim=True) / (starts["W1"] ** 2).sum(dim=(1, 2), keepdim=True)
    across = other - dot * starts["W1"]  # at a right angle to the start
    size = starts["W1"].flatten(1).norm(dim=1) / across.flatten(1).norm(dim=1)
    across = across * size.view(-1, 1, 1)  # and as long
    factors = torch.tensor([[[3.0]], [[-0.5]]])  # along the start; across it 4 and 0
    result.parameters["W1"] = factors * starts["W1"] + torch.tensor([[[4.0]], [[0.0]]]) * across
    assert along_start(result)["W1"].tolist() == pytest.approx([100 * 9 / (9 + 16), 100.0], rel=1e-4)
    result.parameters["W2"] = starts["W2"]
    assert along_start(result)["W2"].tolist() == pytest.approx([100.0, 100.0])
