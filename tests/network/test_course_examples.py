"""Worked examples of the course that this assignment descends from, as published, each called twice.

The course is "Neural Networks and Deep Learning" by deeplearning.ai; its inputs are drawn by NumPy's legacy generator.
"""

import numpy as np
import pytest
import torch

from pipeline import (
    linear_activation_backward,
    linear_activation_forward,
    linear_backward,
    linear_forward,
    update_parameters,
)


def drawn(seed, *shapes):
    numbers = np.random.RandomState(seed)
    return [numbers.randn(*shape) for shape in shapes]


def assert_is(actual, published):
    """Eight decimals were published."""
    torch.testing.assert_close(actual, torch.tensor(published, dtype=torch.float64), rtol=0, atol=6e-9)


@pytest.fixture(params=["once", "twice"])
def called(request):
    """Call a function once, or twice with the same inputs and take the second answer."""

    def call(function, *arguments):
        first = function(*arguments)
        return first if request.param == "once" else function(*arguments)

    return call


def test_linear_forward(called):
    A, W, b = drawn(1, (3, 2), (1, 3), (1, 1))
    Z, _ = called(linear_forward, A, W, b)
    assert_is(Z, [[3.26295337, -1.23429987]])


def test_linear_activation_forward(called):
    A_prev, W, b = drawn(2, (3, 2), (1, 3), (1, 1))
    A, _ = called(linear_activation_forward, A_prev, W, b, "relu")
    assert_is(A, [[3.43896131, 0.0]])


def test_linear_backward(called):
    dZ, A, W, b = drawn(1, (1, 2), (3, 2), (1, 3), (1, 1))
    dA_prev, dW, db = called(linear_backward, dZ, (A, W, b))
    assert_is(dA_prev, [[0.51822968, -0.19517421], [-0.40506361, 0.15255393], [2.37496825, -0.89445391]])
    assert_is(dW, [[-0.10076895, 1.40685096, 1.64992505]])
    assert_is(db, [[0.50629448]])


def test_linear_activation_backward(called):
    dA, A, W, b, Z = drawn(2, (1, 2), (3, 2), (1, 3), (1, 1), (1, 2))
    dA_prev, dW, db = called(linear_activation_backward, dA, ((A, W, b), Z), "relu")
    assert_is(dA_prev, [[0.44090989, 0.0], [0.37883606, 0.0], [-0.2298228, 0.0]])
    assert_is(dW, [[0.44513824, 0.37371418, -0.10478989]])
    assert_is(db, [[-0.20837892]])


def test_update_parameters():
    W1, b1, W2, b2 = drawn(2, (3, 4), (3, 1), (1, 3), (1, 1))
    dW1, db1, dW2, db2 = drawn(3, (3, 4), (3, 1), (1, 3), (1, 1))
    for _ in range(2):
        parameters = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
        update_parameters(parameters, {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}, 0.1)
        assert_is(
            parameters["W1"],
            [
                [-0.59562069, -0.09991781, -2.14584584, 1.82662008],
                [-1.76569676, -0.80627147, 0.51115557, -1.18258802],
                [-1.0535704, -0.86128581, 0.68284052, 2.20374577],
            ],
        )
        assert_is(parameters["b1"], [[-0.04659241], [-1.28888275], [0.53405496]])
        assert_is(parameters["W2"], [[-0.55569196, 0.0354055, 1.32964895]])
        assert_is(parameters["b2"], [[-0.84610769]])
