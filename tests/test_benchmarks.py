"""Who is measured side by side does the same work."""

import numpy as np
import pytest
import torch

pytest.importorskip("jax", reason="JAX is not installed: make .venv/bench")
from benchmarks import measure, peers

LAYERS = [20, 6, 5, 10]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_all_peers_take_the_same_steps(use_batchnorm):
    data = peers.Data.random(300, pixels=LAYERS[0])
    batches = torch.randint(300, (6, 32), generator=torch.Generator().manual_seed(1))
    start = peers.stacked_parameters(LAYERS, 3)["W1"].clone()
    ours = peers.engine(data, LAYERS, 3, use_batchnorm)(batches)
    assert (ours - start).abs().max() > 1e-3
    for theirs in (
        peers.vmap_grad(data, LAYERS, 3, use_batchnorm)(batches),
        peers.jax_scan(data, LAYERS, 3, use_batchnorm)(batches),
        [peers.eager(data, LAYERS, use_batchnorm)(batches)],
        [peers.engine(data, LAYERS, 1, use_batchnorm)(batches)],
        peers.jax_scan(data, LAYERS, 1, use_batchnorm)(batches),
    ):
        for k, network in enumerate(theirs):
            np.testing.assert_allclose(np.asarray(network), ours[k].numpy(), rtol=1e-4, atol=1e-6)


def test_scikit_learn_takes_a_step_a_batch():
    data = peers.Data.random(300, pixels=LAYERS[0])
    steps = peers.scikit_learn(data, LAYERS)
    steps(torch.arange(96).view(3, 32))


def test_operations_are_those_of_the_products():
    macs = 20 * 6 + 6 * 5 + 5 * 10
    assert peers.product_operations(LAYERS, 7) == 2 * 7 * (3 * macs - 20 * 6)


def test_turns_alternate_and_a_first_one_does_not_count():
    order = []
    seconds = measure.in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "a", "b", "b"] * 4
    assert set(seconds) == {"a", "b"}
