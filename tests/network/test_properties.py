"""Every public function over shapes, leading axes, dtypes and extreme values.

Shapes come out right, dtypes stay, what is finite stays finite, NumPy and tensors give the same, and no input is
changed in place unless the docstring says so.
"""

import ast
import copy
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from pipeline import (
    L_layer_model,
    L_model_backward,
    L_model_forward,
    TrainingResult,
    apply_batchnorm,
    batchnorm_backward,
    compute_cost,
    initialize_parameters,
    l2_penalty,
    linear_activation_backward,
    linear_activation_forward,
    linear_backward,
    linear_forward,
    predict,
    relu,
    relu_backward,
    softmax,
    softmax_backward,
    train,
    update_parameters,
)
from pipeline.network.forward import batchnorm_forward

DTYPES = [torch.float32, torch.float64]
LARGE = 1e15  # the product of two, summed, is finite in single precision
LAMBDAS = [0.0, 0.01, 1e3]
reproducible = settings(deadline=None, derandomize=True, max_examples=30, database=None)
slow = settings(reproducible, max_examples=8)
sizes = st.integers(1, 4)
leading_axes = st.lists(st.integers(1, 3), max_size=2).map(tuple)
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**16)


def tensors(shape, dtype, largest=LARGE):
    """Draw a tensor whose entries are of one magnitude, from zero to the largest, or a mix of all."""

    def fill(seed, magnitude):
        generator = torch.Generator().manual_seed(seed)
        unit = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
        if magnitude is None:
            powers = torch.rand(shape, generator=generator, dtype=torch.float64)
            magnitude = largest**powers * 1e-30 ** (1 - powers)
        limit = torch.finfo(dtype).max
        return (unit * magnitude).clamp(-limit, limit).to(dtype)

    return st.builds(fill, seeds, st.sampled_from([0.0, 1e-30, 1e-3, 1.0, largest, None]))


def labels(classes, examples, dtype, shape=()):
    def fill(seed):
        drawn = torch.randint(classes, (*shape, examples), generator=torch.Generator().manual_seed(seed))
        return torch.nn.functional.one_hot(drawn, classes).mT.to(dtype)

    return st.builds(fill, seeds)


def flat(value):
    """List the tensors and arrays in any nest of tuples, lists and dicts, as tensors."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return [torch.as_tensor(value)]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [each for part in parts for each in flat(part)]


def as_numpy(value):
    if isinstance(value, torch.Tensor):
        return value.numpy().copy()
    if isinstance(value, dict):
        return {name: as_numpy(each) for name, each in value.items()}
    return type(value)(map(as_numpy, value)) if isinstance(value, list | tuple) else value


def called(function, *arguments, **keywords):
    """Call a function with tensors and with arrays; check what holds of every call, and return the result."""
    before = copy.deepcopy(arguments)
    result = function(*arguments, **keywords)
    for ours, theirs in zip(flat(arguments), flat(before), strict=True):
        assert torch.equal(ours, theirs), "an input was changed"
    dtype = flat(arguments)[0].dtype
    for each in flat(result):
        assert each.dtype == dtype
        assert each.isfinite().all()
    for ours, theirs in zip(flat(result), flat(function(*as_numpy(arguments), **keywords)), strict=True):
        assert torch.equal(ours, theirs), "an array gives something else than a tensor"
    return result


@reproducible
@given(st.lists(sizes, min_size=2, max_size=4), seeds, dtypes)
def test_initialize_parameters(dims, seed, dtype):
    parameters = initialize_parameters(dims, seed=seed, dtype=dtype)
    assert list(parameters) == [f"{kind}{layer}" for layer in range(1, len(dims)) for kind in "Wb"]
    for layer, (inputs, units) in enumerate(itertools.pairwise(dims), start=1):
        W, b = parameters[f"W{layer}"], parameters[f"b{layer}"]
        assert (W.shape, b.shape, W.dtype, b.dtype) == ((units, inputs), (units, 1), dtype, dtype)
        assert W.isfinite().all()
        assert not b.any()
    again = initialize_parameters(dims, seed=seed, dtype=dtype)
    assert all(torch.equal(parameters[name], again[name]) for name in parameters)


@reproducible
@given(st.data(), leading_axes, leading_axes, sizes, sizes, sizes, dtypes)
def test_linear(data, of_A, of_W, inputs, units, m, dtype):
    try:
        axes = torch.broadcast_shapes(of_A, of_W)
    except RuntimeError:
        of_A, axes = (), of_W
    A = data.draw(tensors((*of_A, inputs, m), dtype))
    W = data.draw(tensors((*of_W, units, inputs), dtype))
    b = data.draw(tensors((*of_W, units, 1), dtype))
    Z, cache = called(linear_forward, A, W, b)
    assert Z.shape == (*axes, units, m)
    assert set(cache) == {"A", "W", "b"}
    dZ = data.draw(tensors(tuple(Z.shape), dtype))
    dA, dW, db = called(linear_backward, dZ, (A, W, b))
    assert (dA.shape, dW.shape, db.shape) == (A.shape, W.shape, b.shape)
    nothing, *_ = linear_backward(dZ, cache, input_gradient=False)
    assert nothing is None


@reproducible
@given(st.data(), leading_axes, sizes, sizes, dtypes)
def test_softmax(data, axes, units, m, dtype):
    Z = data.draw(tensors((*axes, units, m), dtype, largest=torch.finfo(dtype).max))
    A, cache = called(softmax, Z)
    assert A.shape == Z.shape
    assert cache is Z
    assert (A > 0).all()
    assert torch.allclose(A.sum(dim=-2), torch.ones((), dtype=dtype), atol=1e-6)
    assert A.log().isfinite().all()
    assert (1 / A).isfinite().all()
    dA = data.draw(tensors((*axes, units, m), dtype))
    dZ = called(softmax_backward, dA, Z)
    assert dZ.shape == Z.shape
    uniform = called(softmax_backward, torch.ones_like(Z), Z)
    assert torch.allclose(uniform, torch.zeros_like(Z), atol=1e-6)


@reproducible
@given(st.data(), leading_axes, sizes, sizes, dtypes)
def test_relu(data, axes, units, m, dtype):
    Z = data.draw(tensors((*axes, units, m), dtype, largest=torch.finfo(dtype).max))
    A, cache = called(relu, Z)
    assert cache is Z
    assert torch.equal(A, torch.where(Z > 0, Z, torch.zeros_like(Z)))
    dA = data.draw(tensors((*axes, units, m), dtype, largest=torch.finfo(dtype).max))
    assert torch.equal(called(relu_backward, dA, Z), torch.where(Z > 0, dA, torch.zeros_like(dA)))


@reproducible
@given(st.data(), leading_axes, sizes, sizes, sizes, dtypes, st.sampled_from(["relu", "softmax"]))
def test_linear_activation(data, axes, inputs, units, m, dtype, activation):
    A = data.draw(tensors((*axes, inputs, m), dtype))
    W, b = data.draw(tensors((*axes, units, inputs), dtype)), data.draw(tensors((*axes, units, 1), dtype))
    out, cache = called(linear_activation_forward, A, W, b, activation)
    assert out.shape == (*axes, units, m)
    dA = data.draw(tensors((*axes, units, m), dtype))
    gradients = called(linear_activation_backward, dA, cache, activation)
    assert [each.shape for each in gradients] == [A.shape, W.shape, b.shape]


@reproducible
@given(st.data(), leading_axes, sizes, st.integers(2, 6), dtypes)
def test_batchnorm(data, axes, units, m, dtype):
    A = data.draw(tensors((*axes, units, m), dtype))
    NA = called(apply_batchnorm, A)
    assert NA.shape == A.shape
    assert NA.abs().max() <= math.sqrt(m) * (1 + 1e-3)
    assert (NA.mean(dim=-1).abs() < 1e-3).all() or A.abs().max() > 1
    mean, var = A.mean(dim=-1, keepdim=True), A.var(dim=-1, keepdim=True, correction=0)
    assert called(apply_batchnorm, A, mean=mean, var=var).shape == A.shape
    constant = A[..., :1].expand(A.shape).clone()
    dNA = data.draw(tensors((*axes, units, m), dtype))
    for activations in (A, constant):
        dA = called(batchnorm_backward, dNA, batchnorm_forward(activations)[1])
        assert dA.shape == A.shape


@reproducible
@given(st.data(), leading_axes, sizes, sizes, dtypes)
def test_compute_cost(data, axes, classes, m, dtype):
    AL = data.draw(tensors((*axes, classes, m), dtype)).abs()
    AL = AL / AL.sum(dim=-2, keepdim=True).clamp(min=torch.finfo(dtype).tiny)  # exact zeros and ones among them
    Y = data.draw(labels(classes, m, dtype))
    cost = called(compute_cost, AL, Y)
    assert cost.shape == axes
    assert (cost > -1e-6).all()


def networks(draw, dtype, *, batchnorm=False):
    """Draw a network of one to three layers, alone or as an ensemble."""
    dims, axes = draw(st.lists(sizes, min_size=2, max_size=4)), draw(leading_axes)
    parameters = {}
    for layer, (inputs, units) in enumerate(itertools.pairwise(dims), start=1):
        parameters[f"W{layer}"] = draw(tensors((*axes, units, inputs), dtype, largest=1e3))
        parameters[f"b{layer}"] = draw(tensors((*axes, units, 1), dtype, largest=1e3))
        if batchnorm and layer < len(dims) - 1:
            parameters[f"mean{layer}"] = draw(tensors((*axes, units, 1), dtype, largest=1e3))
            parameters[f"var{layer}"] = draw(tensors((*axes, units, 1), dtype, largest=1e3)).abs()
    return dims, axes, parameters


@reproducible
@given(st.data(), dtypes, st.sampled_from(LAMBDAS))
def test_l2_penalty(data, dtype, l2):
    _, axes, parameters = networks(data.draw, dtype)
    penalty = called(l2_penalty, parameters, l2)
    assert penalty.shape == axes
    squares = sum(W.double().square().sum(dim=(-2, -1)) for name, W in parameters.items() if name[0] == "W")
    assert torch.allclose(penalty.double(), l2 / 2 * squares, rtol=1e-5, atol=1e-37)


@reproducible
@given(st.data(), dtypes, st.integers(1, 5), st.booleans(), st.sampled_from(LAMBDAS))
def test_the_whole_network(data, dtype, m, use_batchnorm, l2):
    m += use_batchnorm  # one example alone is refused
    dims, axes, parameters = networks(data.draw, dtype, batchnorm=use_batchnorm)
    X = data.draw(tensors((dims[0], m), dtype, largest=1e3))
    Y = data.draw(labels(dims[-1], m, dtype))
    AL, _ = called(L_model_forward, X, parameters, use_batchnorm, inference=True)
    assert AL.shape == (*axes, dims[-1], m)

    trained = copy.deepcopy(parameters)
    AL, caches = L_model_forward(X, trained, use_batchnorm)
    for name in parameters:  # the running statistics are new, as the docstring says, and nothing else
        assert name[0] in "mv" or torch.equal(trained[name], parameters[name])
        assert trained[name].isfinite().all()
    assert len(caches) == len(dims) - 1
    grads = called(L_model_backward, AL, Y, caches, l2=l2)
    L = len(caches)
    assert set(grads) == {f"d{kind}{layer}" for layer in range(1, L + 1) for kind in "AWb"}
    for layer in range(1, L + 1):
        assert grads[f"dA{layer}"].shape == (*axes, dims[layer], m)
        assert grads[f"dW{layer}"].shape == parameters[f"W{layer}"].shape
        assert grads[f"db{layer}"].shape == parameters[f"b{layer}"].shape

    given_grads = copy.deepcopy(grads)
    updated = update_parameters(trained, grads, 0.1)
    assert updated is trained  # with new arrays, as the docstring says
    assert all(torch.equal(grads[name], given_grads[name]) for name in grads)
    assert all(updated[name].isfinite().all() and updated[name].dtype == dtype for name in updated)

    accuracy = torch.as_tensor(predict(X, Y, parameters))
    assert accuracy.shape == axes
    assert ((accuracy >= 0) & (accuracy <= 100)).all()


@slow
@given(st.data(), dtypes, st.booleans(), st.sampled_from(LAMBDAS), st.integers(1, 3), st.integers(2, 12))
def test_training(data, dtype, use_batchnorm, l2, networks, examples):
    dims = data.draw(st.lists(sizes, min_size=2, max_size=4))
    X = data.draw(tensors((dims[0], examples), dtype, largest=1e6))
    Y = data.draw(labels(dims[-1], examples, dtype))
    batch_size = data.draw(st.integers(1 + use_batchnorm, examples))
    before = (X.clone(), Y.clone())
    options = {"batch_size": batch_size, "use_batchnorm": use_batchnorm, "l2": l2, "validation": (X, Y)}
    result = train(X, Y, dims, learning_rate=0.01, max_steps=120, seeds=list(range(networks)), **options)
    assert isinstance(result, TrainingResult)
    assert torch.equal(X, before[0])
    assert torch.equal(Y, before[1])
    shapes = {name: tuple(each.shape) for name, each in initialize_parameters(dims).items()}
    for name, each in result.parameters.items():
        assert each.isfinite().all()
        assert each.dtype == dtype
        assert name[0] in "mv" or tuple(each.shape) == (networks, *shapes[name])
    assert len(result.stop_reason) == len(result.steps) == networks
    assert result.costs.shape == (len(result.cost_steps), networks)
    assert result.validation_costs.shape == (len(result.evaluation_steps), networks)
    if networks == 1 and result.stop_reason != ["diverged"]:
        parameters, costs = L_layer_model(X, Y, dims, 0.01, 120, progress=False, **options)
        assert parameters.keys() == result.parameters.keys()
        assert all(each.shape == result.parameters[name][0].shape for name, each in parameters.items())
        assert all(map(math.isfinite, costs))


def used_in_property_tests():
    """List what the tests above that draw their examples name of this module."""
    for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and any("given" in ast.unparse(each) for each in node.decorator_list):
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            yield from [globals()[name] for name in names & globals().keys()]


@pytest.mark.parametrize("name", sorted({*pipeline.__all__} - {"TrainingInterrupted"}))
def test_every_public_name_is_among_what_is_tested_here(name):
    assert getattr(pipeline, name) in list(used_in_property_tests())


def test_the_aliases_are_the_same_functions():
    assert pipeline.Linear_backward is linear_backward
    assert pipeline.Update_parameters is update_parameters
    assert pipeline.Predict is predict
