"""How networks begin: first gradients as autograd has them, and what training leaves of the random start."""

import pytest
import torch
from reference import blobs

from pipeline import train
from pipeline.analysis.beginnings import along_start, first_gradient_norms, start, weight_norms
from pipeline.network.ensemble import initialize_ensemble

DIMS = [12, 6, 5, 4]
SEEDS = [3, 8]
X, Y = (columns.double() for columns in blobs(40, dims=DIMS, seed=1))


def trained(**settings):
    validation = blobs(20, dims=DIMS, seed=2)
    return train(
        X.float(), Y.float(), DIMS, learning_rate=0.1, max_steps=20, batch_size=10, seeds=SEEDS, evaluate_every=5,
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
