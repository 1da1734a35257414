"""A reader's functions: ours are right in every row, and each known mistake is called by its name."""

import json
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
import torch
from reference import batchnorm

import pipeline
from pipeline.network import backward, forward
from pipeline.network.forward import batchnorm_forward
from tools import check_my_functions
from tools.check_my_functions import (
    ASSIGNMENT,
    MISSING,
    MORE,
    PARTLY,
    RIGHT,
    UNJUDGED,
    WRONG,
    Finding,
    Row,
    judge,
    known_in,
    settled,
)
from tools.findings import arguments_of, is_close, is_turned, is_unchanged, lambdas_of, options_of
from tools.mistakes import AS_EVALUATED, AS_IT_IS, NOT_DIVIDED

OURS = known_in(vars(pipeline))


def test_our_functions_are_right_in_every_row():
    assert set(OURS) >= set(ASSIGNMENT)
    rows = [judge(name, OURS) for name in [*ASSIGNMENT, *MORE]]
    assert [row for row in rows if row.state != RIGHT] == []


# Each wrong function makes one mistake; its name is what the row must say.


def softmax_without_shift(Z):
    return np.exp(Z) / np.exp(Z).sum(axis=0), Z


def softmax_shifted_by_one_number(Z):
    exp_Z = np.exp(Z - Z.max())
    return exp_Z / exp_Z.sum(axis=0), Z


def softmax_shifted_by_the_mean(Z):
    exp_Z = np.exp(Z - Z.mean(axis=0))
    return exp_Z / exp_Z.sum(axis=0), Z


def softmax_over_examples(Z):
    return torch.softmax(Z, dim=1), Z


def relu_in_place(Z):
    Z[Z < 0] = 0
    return Z, Z


def relu_caches_its_output(Z):
    A = Z.clamp(min=0)
    return A, A


def cost_of_zero(AL, Y):
    return -(Y * np.log(AL)).sum() / Y.shape[1]


def cost_over_classes(AL, Y):
    return -(Y * np.log(AL + 1e-9)).sum() / Y.shape[0]


def cost_of_all_entries(AL, Y):
    return -(Y * np.log(AL + 1e-9)).mean()


def binary_cost(AL, Y):
    return -(Y * np.log(AL + 1e-9) + (1 - Y) * np.log(1 - AL + 1e-9)).sum() / Y.shape[1]


def batchnorm_over_units(A):
    return (A - A.mean(axis=0)) / np.sqrt(A.var(axis=0) + 1e-8)


def batchnorm_without_brackets(A):
    return A - A.mean(axis=1, keepdims=True) / np.sqrt(A.var(axis=1, keepdims=True) + 1e-8)


def batchnorm_thrown_away(A):
    normalised = (A - A.mean(1, keepdim=True)) / (A.var(1, keepdim=True) + 1e-5).sqrt()
    assert normalised.shape == A.shape
    return A


def batchnorm_of_torch_s_variance(A):
    return (A - A.mean(1, keepdim=True)) / (A.var(1, keepdim=True) + 1e-5).sqrt()


def batchnorm_without_eps(A):
    return (A - A.mean(axis=1, keepdims=True)) / A.std(axis=1, keepdims=True)


def batchnorm_in_float32(A):
    return pipeline.apply_batchnorm(A).float()


def batchnorm_turned(A):
    return pipeline.apply_batchnorm(A).T


def linear_backward_by(dA_prev=lambda dZ, A, W: W.T @ dZ, dW=lambda dZ, A, m: dZ @ A.T / m, db=None):
    db = db or (lambda dZ, m: dZ.sum(1, keepdims=True) / m)

    def linear_backward(dZ, cache):
        A_prev, W, _ = cache
        m = A_prev.shape[1]
        return dA_prev(dZ, A_prev, W), dW(dZ, A_prev, m), db(dZ, m)

    return linear_backward


def relu_backward_overwrites_Z(dA, activation_cache):
    activation_cache[activation_cache <= 0] = 0
    activation_cache[activation_cache > 0] = 1
    return dA * activation_cache


def relu_backward_overwrites_dA(dA, activation_cache):
    dA[activation_cache <= 0] = 0
    return dA


def relu_backward_at_zero(dA, activation_cache):
    return dA * (activation_cache >= 0)


def diagonal_softmax_backward(dA, Z):
    P, _ = pipeline.softmax(Z)
    return P * (1 - P) * dA


def softmax_backward_of_labels(dA, Z):
    return pipeline.softmax(Z)[0] - dA


def statistics_as_constants(dNA, cache):
    return dNA / torch.sqrt(cache["variance"] + 1e-5)


def constants_of_A(dNA, A):
    return dNA / np.sqrt(np.var(A, axis=1, keepdims=True) + 1e-8)


def variance_as_a_constant(dNA, cache):
    return (dNA - dNA.mean(1, keepdim=True)) / torch.sqrt(cache["variance"] + 1e-5)


def batchnorm_backward_by(mean):
    def batchnorm_backward(g, cache):
        return (g - mean(g) - cache["NA"] * mean(g * cache["NA"])) / torch.sqrt(cache["variance"] + 1e-5)

    return batchnorm_backward


def network_backward(AL, Y, caches, through_batchnorm, derivative=lambda AL, Y: -Y / AL):
    """Go back as published solutions do, layer by layer."""
    grads, dA, L = {}, derivative(AL, Y), len(caches)
    for layer in range(L, 0, -1):
        cache = caches[layer - 1]
        dA = through_batchnorm(dA, cache["batchnorm_cache"]) if cache.get("batchnorm_cache") else dA
        dA, grads[f"dW{layer}"], grads[f"db{layer}"] = pipeline.linear_activation_backward(
            dA, cache, "softmax" if layer == L else "relu"
        )
    return grads


def network_of_constants(AL, Y, caches):
    return network_backward(AL, Y, caches, statistics_as_constants)


def network_without_batchnorm(AL, Y, caches):
    return network_backward(AL, Y, caches, lambda dNA, cache: dNA)


def network_not_divided(AL, Y, caches):
    return {name: each * Y.shape[1] for name, each in pipeline.L_model_backward(AL, Y, caches).items()}


def network_divided_by_classes(AL, Y, caches):
    return {name: each * Y.shape[1] / len(Y) for name, each in pipeline.L_model_backward(AL, Y, caches).items()}


def forward_with_relu_at_the_end(X, parameters, use_batchnorm):
    *_, last = pipeline.L_model_forward(X, parameters, use_batchnorm)[1]
    return torch.softmax(torch.relu(last["activation_cache"]), 0), []


def forward_without_batchnorm(X, parameters, use_batchnorm):
    return pipeline.L_model_forward(X, parameters, False)


def forward_with_batchnorm_first(X, parameters, use_batchnorm):
    A, L = X, len(parameters) // 2
    for layer in range(1, L + 1):
        Z = parameters[f"W{layer}"] @ A + parameters[f"b{layer}"]
        A = torch.relu(pipeline.apply_batchnorm(Z) if use_batchnorm else Z)
    return torch.softmax(Z, 0), []


def start_of_ones(layer_dims):
    start = pipeline.initialize_parameters(layer_dims)
    return {name: torch.ones_like(each) if name[0] == "W" else each for name, each in start.items()}


def turned_start(layer_dims):
    return {name: each.T for name, each in pipeline.initialize_parameters(layer_dims).items()}


def uphill(parameters, grads, learning_rate):
    return {name: each + learning_rate * grads[f"d{name}"] for name, each in parameters.items()}


def share(X, Y, parameters):
    return pipeline.Predict(X, Y, parameters) / 100


def accuracy_over(axis):
    def Predict(X, Y, parameters):
        AL, _ = pipeline.L_model_forward(X, parameters, "mean1" in parameters, inference=True)
        return 100 * (AL.argmax(axis) == torch.as_tensor(Y).argmax(axis)).float().mean()

    return Predict


def accuracy_by_the_statistics_of_the_set(X, Y, parameters):
    AL, _ = pipeline.L_model_forward(X, parameters, True)
    return 100 * (AL.argmax(0) == torch.as_tensor(Y).argmax(0)).double().mean()


def every_cost(*arguments, **options):
    return pipeline.L_layer_model(*arguments, progress=False)[0], [1.0] * 300


CASES = [
    ("softmax", softmax_without_shift, "exp overflows at large Z"),
    ("softmax", softmax_shifted_by_one_number, "0 / 0 at large Z: subtract the largest of each column"),
    ("softmax", softmax_shifted_by_the_mean, "overflows at large Z: subtract the largest of each column"),
    ("softmax", softmax_over_examples, "the sum is over the examples"),
    ("relu", relu_in_place, "Z: the function overwrites this argument"),
    ("relu", relu_caches_its_output, "activation_cache: A, and not Z"),
    ("compute_cost", cost_of_zero, "log of zero"),
    ("compute_cost", cost_over_classes, "divided by the number of classes, and not by m"),
    ("compute_cost", lambda AL, Y: -(Y * np.log(AL + 1e-9)).sum(), "the sum over the examples, and not the mean"),
    ("compute_cost", cost_of_all_entries, "divided by the number of classes as well as by m"),
    ("compute_cost", binary_cost, "binary cross-entropy"),
    ("apply_batchnorm", batchnorm_over_units, "the wrong axis"),
    (
        "apply_batchnorm",
        lambda A: (A - A.mean(1)[:, None]) / (A.var(0) + 1e-8) ** 0.5,
        "the variance is over the units",
    ),
    ("apply_batchnorm", lambda A: (A - A.mean(0)) / (A.var(1)[:, None] + 1e-8) ** 0.5, "the mean is over the units"),
    ("apply_batchnorm", batchnorm_without_brackets, "A - mean / std: the brackets"),
    ("apply_batchnorm", batchnorm_thrown_away, "the normalised value is thrown away"),
    ("apply_batchnorm", batchnorm_of_torch_s_variance, "divided by m - 1"),
    ("apply_batchnorm", batchnorm_without_eps, "add a small eps"),
    ("apply_batchnorm", batchnorm_turned, "NA: transposed"),
    ("Linear_backward", linear_backward_by(dW=lambda dZ, A, m: dZ @ A.T), "dW: not divided by m"),
    ("Linear_backward", linear_backward_by(dW=lambda dZ, A, m: A @ dZ.T / m), "dW: transposed"),
    ("Linear_backward", linear_backward_by(dW=lambda dZ, A, m: A @ dZ.T), "dW: transposed; dW: not divided by m"),
    ("Linear_backward", linear_backward_by(db=lambda dZ, m: dZ.sum(1)[None]), "db: transposed; db: not divided by m"),
    (
        "Linear_backward",
        linear_backward_by(dW=lambda dZ, A, m: dZ @ A.T / len(dZ)),
        "dW: divided by the number of units",
    ),
    ("Linear_backward", linear_backward_by(db=lambda dZ, m: dZ.sum() / m), "db: one number for all units"),
    (
        "Linear_backward",
        linear_backward_by(db=lambda dZ, m: (dZ.sum(1, keepdims=True) / m)[0] + 0 * dZ[:, :1]),
        "db: the first unit's, given to all",
    ),
    ("Linear_backward", linear_backward_by(db=lambda dZ, m: dZ.sum(0) / m), "db: the sum is over the units"),
    ("Linear_backward", linear_backward_by(db=lambda dZ, m: dZ.sum(0)), "db: the sum is over the units"),
    ("Linear_backward", linear_backward_by(db=lambda dZ, m: dZ.mean(0)[None]), "db: the mean is over the units"),
    ("Linear_backward", linear_backward_by(db=lambda dZ, m: dZ.sum(1) / m), "db: has shape"),
    (
        "Linear_backward",
        linear_backward_by(dA_prev=lambda dZ, A, W: W.T @ dZ / 2),
        "dA_prev: wrong, but not by a mistake",
    ),
    ("relu_backward", relu_backward_overwrites_Z, "activation_cache: the function overwrites this argument"),
    ("relu_backward", relu_backward_overwrites_dA, "dA: the function overwrites this argument"),
    ("relu_backward", relu_backward_at_zero, "it lets the gradient through where Z is 0"),
    (
        "linear_activation_backward",
        lambda dA, cache, activation: [2 * each for each in pipeline.linear_activation_backward(dA, cache, activation)],
        'dW, db: wrong with activation "relu", but not by a mistake that is known here',
    ),
    ("softmax_backward", diagonal_softmax_backward, "only the diagonal of the Jacobian"),
    ("softmax_backward", lambda dA, Z: dA, "dA comes back as it is"),
    ("softmax_backward", softmax_backward_of_labels, "it takes dA for Y"),
    ("batchnorm_backward", statistics_as_constants, "mean and variance are taken as constants"),
    ("batchnorm_backward", constants_of_A, "mean and variance are taken as constants"),
    ("batchnorm_backward", variance_as_a_constant, "batch norm's variance is taken as a constant"),
    ("batchnorm_backward", batchnorm_backward_by(lambda x: x.mean(0, keepdim=True)), "the wrong axis"),
    ("batchnorm_backward", batchnorm_backward_by(torch.mean), "one mean for the whole matrix"),
    ("batchnorm_backward", batchnorm_backward_by(lambda x: x.sum(1, keepdim=True)), "sums over the examples"),
    ("L_model_backward", network_of_constants, "batch norm's mean and variance are taken as constants"),
    ("L_model_backward", network_without_batchnorm, "batch norm is left out of the backward pass"),
    ("L_model_backward", network_not_divided, "not divided by m"),
    ("L_model_backward", network_divided_by_classes, "divided by the number of classes, and not by m"),
    (
        "L_model_backward",
        lambda AL, Y, caches: {name: -each for name, each in pipeline.L_model_backward(AL, Y, caches).items()},
        "the wrong sign, as of Y - AL in place of AL - Y",
    ),
    ("L_model_forward", forward_with_relu_at_the_end, "ReLU before the softmax"),
    ("L_model_forward", forward_with_batchnorm_first, "batch norm before ReLU, and not after it"),
    ("L_model_forward", forward_without_batchnorm, "the normalised value is thrown away"),
    ("initialize_parameters", start_of_ones, "W1, W2, W3: all units start alike"),
    ("initialize_parameters", turned_start, "W1, b1, W2, b2, W3, b3: transposed"),
    ("Update_parameters", uphill, "it goes uphill"),
    ("Predict", share, "a share, and not per cent"),
    ("Predict", accuracy_over(axis=1), "accuracy: argmax over the examples, and not over the classes: the wrong axis"),
    ("Predict", accuracy_by_the_statistics_of_the_set, "depends on what else is predicted"),
    ("Predict", lambda X, Y, parameters: 0.0, "accuracy: wrong, but not by a mistake that is known here"),
    ("L_layer_model", every_cost, "costs: holds 300 after 300 iterations, and one each 100 makes 3"),
    ("L_layer_model", lambda *arguments: pipeline.initialize_parameters(arguments[2]), "costs: is missing from what"),
    ("initialize_parameters", lambda dims: [1.0], "returns list, and must return a dictionary"),
    ("linear_forward", lambda A, W, b: W @ A, "linear_cache: is missing from what the function returns"),
    ("relu", lambda Z: None, "A: is of type NoneType, and no array"),
    ("relu", lambda Z: 1 / 0, "raises ZeroDivisionError: division by zero"),
]


@pytest.mark.parametrize(("name", "function", "said"), CASES, ids=[said for _, _, said in CASES])
def test_a_mistake_is_called_by_its_name(name, function, said):
    row = judge(name, OURS | {name: function})
    assert row.state == WRONG
    assert said in row.words, row.words


GUARDED = [lambda AL, Y: -Y / (AL + 1e-8), lambda AL, Y: -Y / AL.clamp(1e-7, 1), lambda AL, Y: -Y / (AL + 1e-6)]


@pytest.mark.parametrize("guarded", GUARDED)
@pytest.mark.parametrize(
    ("through_batchnorm", "said"),
    [
        (pipeline.batchnorm_backward, ""),
        (statistics_as_constants, "batch norm's mean and variance are taken as constants"),
    ],
)
def test_a_guard_against_division_by_zero_is_no_mistake_and_hides_none(guarded, through_batchnorm, said):
    def L_model_backward(AL, Y, caches):
        return network_backward(torch.as_tensor(AL), torch.as_tensor(Y), caches, through_batchnorm, guarded)

    row = judge("L_model_backward", OURS | {"L_model_backward": L_model_backward})
    assert (row.state == RIGHT) == (not said)
    assert said in row.words and "not by a mistake" not in row.words


def linear_forward_overwrites_A(A, W, b):
    Z = W @ A + b
    A *= 2
    return Z, {"A": A, "W": W, "b": b}


def layer_backward_turned(dA, cache, activation):
    dA_prev, dW, db = pipeline.linear_activation_backward(dA, cache, activation)
    return dA_prev, dW.T, db


def network_of_two_mistakes(AL, Y, caches):
    grads = network_of_constants(AL, Y, caches)
    return {name: each[0].expand_as(each) if name[:2] == "db" else each for name, each in grads.items()}


@pytest.mark.parametrize(
    ("name", "function", "words"),
    [
        (
            "apply_batchnorm",
            batchnorm_over_units,
            "NA: normalised over the units, and not over the examples: the wrong axis",
        ),
        ("linear_forward", linear_forward_overwrites_A, "A: the function overwrites this argument"),
        ("relu", relu_in_place, "Z: the function overwrites this argument"),
        ("linear_activation_backward", layer_backward_turned, "dW: transposed"),
        (
            "L_model_backward",
            network_of_two_mistakes,
            "db1, db2, db3: the first unit's, given to all; "
            "dW1, db1, dW2, db2: batch norm's mean and variance are taken as constants",
        ),
    ],
)
def test_besides_the_mistakes_made_no_other_is_named(name, function, words):
    assert judge(name, OURS | {name: function}).words == words


def test_where_several_mistakes_fit_the_one_that_fits_most_is_named():
    both, other = Finding("dW1", "this", others=("that",)), Finding("db1", "that; third", others=("that",))
    assert check_my_functions.by_mistake([both, other]) == {"that": ["dW1", "db1"]}


@pytest.mark.parametrize(("imports", "said"), [("numpy as np", "cannot reshape array"), ("torch", "no attribute")])
def test_of_two_errors_that_of_the_readers_own_kind_of_array_is_shown(imports, said):
    exec(f"import {imports}\ndef relu(Z): return Z.astype(float).reshape(2, 0), Z", space := {})
    assert said in judge("relu", known_in(space)).words


@pytest.mark.parametrize("eps", [1e-12, 1e-8, 1e-5])
def test_any_small_eps_of_batch_norm_is_right(monkeypatch, eps):
    for module in (forward, backward):
        monkeypatch.setattr(module, "BATCHNORM_EPSILON", eps)
    assert (pipeline.apply_batchnorm(torch.tensor([[-1e-6, 1e-6]])).max() > 0.5) == (eps == 1e-12)
    monkeypatch.setattr(check_my_functions, "SEEDS", range(10))
    names = ("L_model_forward", "L_model_backward", "apply_batchnorm", "batchnorm_backward")
    assert [judge(name, OURS) for name in names] == [Row(name, RIGHT) for name in names]


def test_a_prediction_by_the_statistics_of_the_evaluated_set_is_seen():
    def Predict(X, Y, parameters):
        A, _ = pipeline.relu(pipeline.linear_forward(X, parameters["W1"], parameters["b1"])[0])
        A = batchnorm(A) if "mean1" in parameters else A
        AL, _ = pipeline.linear_activation_forward(A, parameters["W2"], parameters["b2"], "softmax")
        return 100 * (AL.argmax(0) == Y.argmax(0)).double().mean()

    row = judge("Predict", OURS | {"Predict": Predict})
    assert row.words == "accuracy: " + AS_EVALUATED
    assert judge("Predict", OURS | {"Predict": accuracy_over(axis=0)}) == Row("Predict", RIGHT)
    turned = judge("Predict", OURS | {"Predict": accuracy_over(axis=1)})
    assert AS_EVALUATED not in turned.words


def test_what_is_not_checked_of_a_right_function_is_said():
    def L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size):
        return pipeline.L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size, progress=False)

    def Predict(X, Y, parameters, use_batchnorm):
        return pipeline.Predict(X, Y, parameters)

    plain = {"L_layer_model": L_layer_model, "Predict": Predict}
    train, predict = judge("L_layer_model", plain), judge("Predict", plain)
    assert train.state == predict.state == PARTLY
    assert (
        train.words
        == "copy of the best parameters not checked: it needs the arguments validation, evaluate_every, patience"
    )
    assert predict.words == "batch norm not checked: L_layer_model needs an argument use_batchnorm"


def penalised_cost(AL, Y, parameters=None, l2=0.0):
    weights = [each for name, each in (parameters or {}).items() if name[0] == "W"]
    return pipeline.compute_cost(AL, Y) + l2 / 2 * sum((W**2).sum() for W in weights)


@pytest.mark.parametrize(
    ("factor", "biases", "said"),
    [
        (1, "W", ""),
        (2, "W", "dW grows by 2 times the derivative"),
        (1, "Wb", "biases are penalised"),
        (0, "W", "lambda changes the cost, but not the gradient"),
    ],
)
def test_a_gradient_of_l2_that_is_not_that_of_the_cost_is_seen(factor, biases, said):
    def Update_parameters(parameters, grads, learning_rate, lambd=0.0):
        decay = {name: factor * lambd * each * (name[0] in biases) for name, each in parameters.items()}
        return {name: each - learning_rate * (grads[f"d{name}"] + decay[name]) for name, each in parameters.items()}

    row = judge("L2", {"compute_cost": penalised_cost, "Update_parameters": Update_parameters})
    assert (row.state == RIGHT) == (not said) and said in row.words


def cost_of_theta(AL, Y, theta, lambda_reg):
    return penalised_cost(AL, Y, theta, lambda_reg)


def decayed(parameters, grads, rate, lambd):
    step = {name: grads[f"d{name}"] + lambd * each * (name[0] == "W") for name, each in parameters.items()}
    return {name: each - rate * step[name] for name, each in parameters.items()}


def backward_with_parameters(AL, Y, caches, params, decay_rate):
    grads = network_backward(AL, Y, caches, pipeline.batchnorm_backward)
    return {name: each + decay_rate * params.get(name[1:], 0) * (name[:2] == "dW") for name, each in grads.items()}


@pytest.mark.parametrize(
    "solution",
    [
        {"compute_cost": cost_of_theta},
        {"compute_cost": lambda AL, Y, REG=0.0, params=None: penalised_cost(AL, Y, params, REG)},
        {
            "compute_cost": lambda AL, Y, weight_decay, parameters: penalised_cost(AL, Y, parameters, weight_decay),
            "L_model_backward": backward_with_parameters,
        },
    ],
)
def test_lambda_and_the_parameters_may_have_other_names_and_places_and_no_defaults(solution):
    solution = {"Update_parameters": decayed} | solution
    if "L_model_backward" in solution:
        del solution["Update_parameters"]
    assert [judge(name, solution) for name in [*solution, "L2"]] == [Row(name, RIGHT) for name in [*solution, "L2"]]


def test_of_a_flag_and_a_strength_of_l2_both_are_passed():
    def compute_cost(AL, Y, parameters, use_l2, lambd):
        return penalised_cost(AL, Y, parameters, lambd) if use_l2 is True else pipeline.compute_cost(AL, Y)

    def Update_parameters(parameters, grads, learning_rate, use_l2=False, lambd=0.5):
        return decayed(parameters, grads, learning_rate, lambd if use_l2 is True else 0)

    solution = {"compute_cost": compute_cost, "Update_parameters": Update_parameters}
    assert [judge(name, solution) for name in [*solution, "L2"]] == [Row(name, RIGHT) for name in [*solution, "L2"]]


@pytest.mark.parametrize("default", [{}, {"m": 1}])
def test_lambda_may_be_divided_by_an_argument_m(default):
    def compute_cost(AL, Y, parameters=None, lambd=0.0):
        return penalised_cost(AL, Y, parameters, lambd / Y.shape[1])

    def Update_parameters(parameters, grads, learning_rate, lambd, m):
        return decayed(parameters, grads, learning_rate, lambd / m)

    Update_parameters.__defaults__ = (0.0, 1) if default else None
    solution = {"compute_cost": compute_cost, "Update_parameters": Update_parameters}
    assert [judge(name, solution) for name in [*solution, "L2"]] == [Row(name, RIGHT) for name in [*solution, "L2"]]


@pytest.mark.parametrize("defaults", [None, (False,)])
def test_the_switch_of_batch_norm_is_passed_under_any_of_its_names(defaults):
    def L_model_backward(AL, Y, caches, use_bn):
        return network_backward(AL, Y, caches, pipeline.batchnorm_backward if use_bn else statistics_as_constants)

    def with_l2(AL, Y, caches, use_batch_norm, lambd=0.0):
        grads = L_model_backward(AL, Y, caches, use_batch_norm)
        W = {f"dW{layer}": cache["linear_cache"]["W"] for layer, cache in enumerate(caches, start=1)}
        return {name: each + lambd * W.get(name, 0) for name, each in grads.items()}

    def Predict(X, Y, parameters, use_bn):
        return pipeline.Predict(X, Y, parameters)

    for function in (L_model_backward, Predict):
        function.__defaults__ = defaults
    assert judge("L_model_backward", {"L_model_backward": L_model_backward}).state == RIGHT
    assert judge("L2", {"compute_cost": penalised_cost, "L_model_backward": with_l2}).state == RIGHT
    assert judge("Predict", OURS | {"Predict": Predict}).state == RIGHT


@pytest.mark.parametrize(
    ("name", "function", "said"),
    [
        ("softmax_backward", lambda dA, cache, Y: dA, "requires Y"),
        ("softmax_backward", lambda dA, cache, Y=None: pipeline.softmax(cache)[0] - Y, "needs Y"),
        ("batchnorm_backward", lambda dNA, A, mu, var: dNA / var, "requires mu, var"),
        ("batchnorm_backward", lambda dNA, cache: cache["xhat"], "raises"),
    ],
    ids=["required", "None", "of batch norm", "a cache of his own"],
)
def test_a_function_that_needs_what_the_assignment_does_not_pass_is_not_judged(name, function, said):
    row = judge(name, {name: function})
    assert row.state == UNJUDGED and said in row.words


def test_batch_norm_may_be_a_function_of_the_readers_own_form():
    def apply_batchnorm(A):
        return pipeline.apply_batchnorm(A), {"mine": A}

    def batchnorm_backward(dNA, cache):
        return pipeline.batchnorm_backward(dNA, batchnorm_forward(cache["mine"])[1])

    solution = {"apply_batchnorm": apply_batchnorm, "batchnorm_backward": batchnorm_backward}
    assert [judge(name, solution) for name in solution] == [Row(name, RIGHT) for name in solution]
    rows = [Row("L_model_backward", RIGHT), Row("batchnorm_backward", WRONG, "dA: wrong")]
    assert [row.state for row in settled(rows)] == [RIGHT, UNJUDGED]


def test_where_no_argument_is_lambda_the_row_of_l2_says_so():
    row = judge("L2", {"compute_cost": lambda AL, Y, alpha=0.0: 0.0})
    assert row == Row("L2", MISSING, "no argument for lambda found in compute_cost")
    assert judge("L2", {"relu": pipeline.relu}) == Row("L2", MISSING)


def test_another_convention_is_right_only_in_a_network_whose_gradients_are():
    convention = Row("softmax_backward", WRONG, "dZ: dA comes back as it is", [AS_IT_IS], is_known=True)
    mistake = Row("relu", WRONG, "A: Z comes back", ["Z comes back"], is_known=True)
    slow, unknown = Row("compute_cost", WRONG, "has not ended"), Row("L_model_backward", WRONG, "dW1: wrong")
    known = Row("L_model_backward", WRONG, "dW1: constants", ["constants"], is_known=True)
    by_it = Row("L_model_backward", WRONG, "dW1: half", ["half"], alone="")
    for network, state in (
        *((Row("L_model_backward", RIGHT), RIGHT), (known, RIGHT), (by_it, WRONG)),
        *((unknown, UNJUDGED), (Row("L_model_backward", MISSING), UNJUDGED)),
    ):
        rows = settled([convention, mistake, slow, network])
        assert [row.state for row in rows[:3]] == [state, WRONG, WRONG]


@pytest.mark.parametrize(("whole", "state"), [("dW, db", UNJUDGED), ("dW", WRONG)])
def test_gradients_may_carry_the_m_from_the_last_layer_on_but_not_half_of_them(whole, state):
    (row,) = settled([Row("Linear_backward", WRONG, f"{whole}: {NOT_DIVIDED}", [NOT_DIVIDED], is_known=True)])
    assert row.state == state and NOT_DIVIDED in row.words


def test_caches_may_have_the_readers_own_form_and_arrays_may_be_numpy_s():
    def linear_forward(A, W, b):
        return W @ A + b, {"input": A, "weights": W, "bias": b}

    def linear_backward(dZ, cache):
        A, W = np.asarray(cache["input"]), np.asarray(cache["weights"])
        dZ.astype(float)  # which a tensor lacks
        return W.T @ dZ, dZ @ A.T / A.shape[1], dZ.sum(axis=1, keepdims=True) / A.shape[1]

    solution = known_in({"linear_forward": linear_forward, "LINEAR_backward": linear_backward})
    assert [judge(name, solution).state for name in ("linear_forward", "Linear_backward")] == [RIGHT, RIGHT]


@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_data_may_be_numpy_s_beside_parameters_in_tensors(is_right):
    def l_model_forward(X, parameters, use_batchnorm):
        A, layers = torch.from_numpy(X), len(parameters) // 2
        for layer in range(1, layers):
            A = (parameters[f"W{layer}"].matmul(A) + parameters[f"b{layer}"]).relu()
            if use_batchnorm:
                A = (A - A.mean(1, keepdim=True)) / (A.var(1, keepdim=True, correction=1 - is_right) + 1e-8).sqrt()
        return (parameters[f"W{layers}"].matmul(A) + parameters[f"b{layers}"]).softmax(0), []

    def predict(X, Y, parameters):
        AL, _ = l_model_forward(X, parameters, False)
        hits = AL.argmax(0) == torch.from_numpy(Y).argmax(0)
        return (100 if is_right else 1) * hits.double().mean().item()

    solution = known_in({"l_model_forward": l_model_forward, "predict": predict})
    rows = [judge(name, solution) for name in ("L_model_forward", "Predict")]
    assert [row.state for row in rows] == ([RIGHT, PARTLY] if is_right else [WRONG, WRONG])
    assert is_right or rows[0].words.startswith("AL: variance divided by m - 1")


STUDENTS_FILE = """
    import numpy as np
    def initialize_parameters(layer_dims):
        start = {}
        for l, (inputs, units) in enumerate(zip(layer_dims, layer_dims[1:]), start=1):
            start[f"W{l}"] = np.random.randn(units, inputs) * np.sqrt(2 / inputs)
            start[f"b{l}"] = np.zeros((units, 1))
        return start

    def linear_forward(A, W, b):
        return W @ A + b, linear_cache(A, W, b)

    def softmax(Z):
        e = np.exp(Z - Z.max(axis=0))
        return e / e.sum(axis=0), Z

    def relu(Z):
        return np.maximum(Z, 0), Z

    def linear_activation_forward(A_prev, W, B, activation):
        Z, linear = linear_forward(A_prev, W, B)
        A, Z = relu(Z) if activation == "relu" else softmax(Z)
        return A, joint(linear, Z)

    def L_model_forward(X, parameters, use_batchnorm):
        A, caches, L = X, [], len(parameters) // 2
        for l in range(1, L):
            A, cache = linear_activation_forward(A, parameters[f"W{l}"], parameters[f"b{l}"], "relu")
            caches.append((cache, A if use_batchnorm else None))
            A = apply_batchnorm(A) if use_batchnorm else A
        AL, cache = linear_activation_forward(A, parameters[f"W{L}"], parameters[f"b{L}"], "softmax")
        return AL, [*caches, (cache, None)]

    def compute_cost(AL, Y):
        return -np.sum(Y * np.log(AL + 1e-12)) / Y.shape[1]

    def apply_batchnorm(A):
        return (A - A.mean(axis=1, keepdims=True)) / np.sqrt(A.var(axis=1, keepdims=True) + 1e-8)

    def linear_backward(dZ, cache):
        A_prev, W, b = unpack(cache)
        m = A_prev.shape[1]
        return W.T @ dZ, dZ @ A_prev.T / m, dZ.sum(axis=1, keepdims=True) / m

    def relu_backward(dA, activation_cache):
        return dA * (activation_cache > 0)

    def softmax_backward(dA, activation_cache):
        P, _ = softmax(activation_cache)
        return P * (dA - (P * dA).sum(axis=0))

    def linear_activation_backward(dA, cache, activation):
        linear, Z = split(cache)
        dZ = relu_backward(dA, Z) if activation == "relu" else softmax_backward(dA, Z)
        return linear_backward(dZ, linear)

    def batchnorm_backward(g, A):
        n, s = apply_batchnorm(A), np.sqrt(A.var(axis=1, keepdims=True) + 1e-8)
        return (g - g.mean(axis=1, keepdims=True) - n * (g * n).mean(axis=1, keepdims=True)) / s

    def L_model_backward(AL, Y, caches):
        grads, L = {}, len(caches)
        dA = -Y / AL
        for l in range(L, 0, -1):
            cache, A = caches[l - 1]
            dA = dA if A is None else batchnorm_backward(dA, A)
            grads[f"dA{l}"] = dA
            activation = "softmax" if l == L else "relu"
            dA, grads[f"dW{l}"], grads[f"db{l}"] = linear_activation_backward(dA, cache, activation)
        return grads

    def update_parameters(parameters, grads, learning_rate):
        return {name: each - learning_rate * grads[f"d{name}"] for name, each in parameters.items()}

    def L_layer_model(X, Y, layers_dims, learning_rate, num_iterations, batch_size):
        parameters, costs = initialize_parameters(layers_dims), []
        for step in range(num_iterations):
            AL, caches = L_model_forward(X, parameters, False)
            if step % 100 == 99:
                costs.append(compute_cost(AL, Y))
            parameters = update_parameters(parameters, L_model_backward(AL, Y, caches), learning_rate)
        return parameters, costs

    def Predict(X, Y, parameters):
        AL, _ = L_model_forward(X, parameters, False)
        return 100 * np.mean(AL.argmax(axis=0) == Y.argmax(axis=0))
"""
CACHES = {
    "tuples": """
    def linear_cache(A, W, b): return A, W, b
    def unpack(cache): return cache
    def joint(linear, Z): return linear, Z
    def split(cache): return cache
    """,
    "the assignment's dictionaries": """
    def linear_cache(A, W, b): return {"A": A, "W": W, "b": b}
    def unpack(cache): return cache["A"], cache["W"], cache["b"]
    def joint(linear, Z): return {"linear_cache": linear, "activation_cache": Z}
    def split(cache): return cache["linear_cache"], cache["activation_cache"]
    """,
    "dictionaries of his own": """
    def linear_cache(A, W, b): return {"input": A, "weights": W, "bias": b}
    def unpack(cache): return cache["input"], cache["weights"], cache["bias"]
    def joint(linear, Z): return {"lin": linear, "act": Z}
    def split(cache): return cache["lin"], cache["act"]
    """,
}
ONE_WRONG = [
    ("initialize_parameters", "np.random.randn(units, inputs)", "np.ones((units, inputs))"),
    ("linear_forward", "W @ A + b", "W @ A"),
    ("softmax", "e / e.sum(axis=0)", "e / e.sum(axis=1, keepdims=True)"),
    ("relu", "np.maximum(Z, 0)", "np.abs(Z)"),
    ("relu", "np.maximum(Z, 0), Z", "Z, Z"),
    ("relu", "np.maximum(Z, 0), Z", "np.maximum(Z, 0), np.maximum(Z, 0)"),
    ("relu", "np.maximum(Z, 0), Z", "1/0"),
    ("linear_activation_forward", 'relu(Z) if activation == "relu"', 'softmax(Z) if activation == "relu"'),
    ("L_model_forward", "A = apply_batchnorm(A) if use_batchnorm else A", "A"),
    ("L_model_forward", 'parameters[f"b{l}"], "relu")', '0 * parameters[f"b{l}"], "relu")'),
    ("compute_cost", "-np.sum(Y * np.log(AL + 1e-12))", "np.sum(Y * np.log(AL + 1e-12))"),
    ("compute_cost", "/ Y.shape[1]", "/ Y.shape[0]"),
    (
        "apply_batchnorm",
        "(A - A.mean(axis=1, keepdims=True)) / np.sqrt(A.var(axis=1, keepdims=True) + 1e-8)",
        "A - A.mean(axis=1, keepdims=True) / np.sqrt(A.var(axis=1, keepdims=True) + 1e-8)",
    ),
    (
        "Linear_backward",
        "dZ @ A_prev.T / m, dZ.sum(axis=1, keepdims=True) / m",
        "dZ @ A_prev.T, dZ.sum(axis=1, keepdims=True)",
    ),
    ("Linear_backward", "dZ.sum(axis=1, keepdims=True) / m", "dZ.sum() / m"),
    ("Linear_backward", "W.T @ dZ, dZ", "W.T @ dZ / m, dZ"),
    ("relu_backward", "dA * (activation_cache > 0)", "dA"),
    ("relu_backward", "dA * (activation_cache > 0)", "np.maximum(dA, 0)"),
    ("softmax_backward", "P * (dA - (P * dA).sum(axis=0))", "dA"),
    ("softmax_backward", "P * (dA - (P * dA).sum(axis=0))", "dA * P * (1 - P)"),
    (
        "linear_activation_backward",
        'relu_backward(dA, Z) if activation == "relu"',
        'relu_backward(dA, Z) if activation == "softmax"',
    ),
    (
        "batchnorm_backward",
        "(g - g.mean(axis=1, keepdims=True) - n * (g * n).mean(axis=1, keepdims=True)) / s",
        "g / s",
    ),
    ("L_model_backward", "dA = -Y / AL", "dA = Y / AL"),
    ("L_model_backward", "dA if A is None else batchnorm_backward(dA, A)", "dA"),
    ("Update_parameters", "each - learning_rate", "each + learning_rate"),
    ("L_layer_model", "parameters = update_parameters(parameters,", "update_parameters(parameters,"),
    ("Predict", "100 * np.mean", "np.mean"),
]


def judged(changes, caches="dictionaries of his own"):
    """Return the rows in which something is wrong or not judged, of the student's file with these changes."""
    source = textwrap.dedent(CACHES[caches]) + textwrap.dedent(STUDENTS_FILE)
    for text, other in changes:
        assert text in source
        source = source.replace(text, other, 1)
    exec(source, space := {})
    solution = known_in(space)
    rows = settled([judge(name, solution) for name in [*ASSIGNMENT, *MORE]])
    assert known_in(space) == solution  # all is put back
    return {row.function: row for row in rows if row.state in (WRONG, UNJUDGED)}


@pytest.mark.parametrize("caches", CACHES)
def test_in_a_right_file_nothing_is_wrong_whatever_the_form_of_its_caches(caches):
    assert judged([], caches) == {}


@pytest.mark.parametrize(("name", "text", "wrong"), ONE_WRONG)
def test_of_a_file_with_one_wrong_function_only_that_is_called_wrong(name, text, wrong):
    rows = judged([(text, wrong)])
    assert [row.function for row in rows.values() if row.state == WRONG] == [name]
    blind = {"L_model_backward"} if name in ("L_model_forward", "batchnorm_backward") else set()
    assert {row.function for row in rows.values() if row.state == UNJUDGED} == blind
    assert all(row.words == f"mend {name} first" for row in rows.values() if row.state == UNJUDGED)


def test_a_network_that_keeps_batch_norm_in_a_cache_of_its_own_is_not_blamed_for_another_function():
    """With our caches it would not find that there is batch norm."""
    changes = [
        ("append((cache, A if use_batchnorm else None))", 'append(cache | ({"A": A} if use_batchnorm else {}))'),
        ("[*caches, (cache, None)]", "[*caches, cache]"),
        ("cache, A = caches[l - 1]", 'cache = caches[l - 1]; A = cache.get("A")'),
    ]
    assert judged(changes, "the assignment's dictionaries") == {}
    wrong = ("dZ.sum(axis=1, keepdims=True) / m", "dZ.sum(axis=1, keepdims=True)")
    assert [*judged([*changes, wrong], "the assignment's dictionaries")] == ["Linear_backward"]


@pytest.mark.parametrize("wanted", [torch.float32, np.float32])
def test_code_that_takes_float32_alone_is_checked_in_float32(wanted):
    def linear_forward(A, W, b):
        assert A.dtype == wanted
        return W @ A + b, {"mine": (A, W, b)}

    def Linear_backward(dZ, cache):
        A, W, _ = cache["mine"]  # as ours has it not
        return W.T @ dZ, dZ @ A.T / A.shape[1], dZ.sum(1)[:, None] / A.shape[1]

    solution = {"linear_forward": linear_forward, "Linear_backward": Linear_backward}
    assert [judge(name, solution) for name in solution] == [Row(name, RIGHT) for name in solution]


def test_a_copy_for_float64_does_not_excuse_who_overwrites():
    def relu(Z):
        A = Z.double()
        A[A < 0] = 0
        return A, Z

    assert judge("relu", {"relu": relu}).words == "Z: the function overwrites this argument"


def test_that_an_array_comes_back_as_float32_makes_a_function_not_wrong():
    row = judge("apply_batchnorm", {"apply_batchnorm": batchnorm_in_float32})
    assert row == Row("apply_batchnorm", RIGHT, "NA: comes back as float32, and float64 went in")


@pytest.mark.parametrize("name", ["softmax_backward", "linear_activation_backward"])
@pytest.mark.parametrize(
    ("words", "network", "state"),
    [
        ("raises ValueError: more", RIGHT, UNJUDGED),
        ("raises ValueError: more", WRONG, WRONG),
        ("dZ: wrong", RIGHT, WRONG),
    ],
)
def test_a_part_of_a_right_network_may_take_other_arguments_than_the_assignment_passes(name, words, network, state):
    rows = settled([Row(name, WRONG, words), Row("L_model_backward", network, "dW1: wrong" * (network == WRONG))])
    assert rows[0].state == state


def test_of_two_wrong_functions_each_is_called_wrong_for_its_own_mistake():
    divided = "dA_prev, dW, db = linear_backward(dZ, linear)\n    return dA_prev / dZ.shape[1], dW, db"
    rows = judged([("dA * (activation_cache > 0)", "dA"), ("return linear_backward(dZ, linear)", divided)])
    assert rows["relu_backward"].words == "dZ: dA comes back: it is not zeroed where Z <= 0"
    assert rows["linear_activation_backward"].words == "dA_prev: divided by m, as only dW and db are"


def test_a_convention_stays_right_where_the_network_has_a_mistake_of_another_kind():
    constants = [("dA = -Y / AL", "dA = AL - Y"), ("P * (dA - (P * dA).sum(axis=0))", "dA")]
    constants += [("batchnorm_backward(dA, A)", "dA / np.sqrt(A.var(axis=1, keepdims=True) + 1e-8)")]
    (row,) = judged(constants).values()
    assert (row.function, row.state) == ("L_model_backward", WRONG)
    assert row.words.endswith("batch norm's mean and variance are taken as constants")


def test_a_convention_is_not_called_wrong_where_another_function_is_and_only_that_is_to_be_mended():
    labels = [("dA = -Y / AL", "dA = Y"), ("P * (dA - (P * dA).sum(axis=0))", "P - dA")]
    rows = judged([*labels, ("dZ.sum(axis=1, keepdims=True) / m", "dZ.sum(axis=0)[:1] + 0 * dZ[:, :1]")])
    assert [row.function for row in rows.values() if row.state == WRONG] == ["Linear_backward"]
    assert {row.words for row in rows.values() if row.words.startswith("mend")} == {"mend Linear_backward first"}
    assert rows["softmax_backward"].words.endswith("it takes dA for Y: right only in a network made for it")


def test_that_the_forward_pass_is_wrong_is_no_fault_of_the_backward_pass():
    def L_model_forward(X, parameters, use_batchnorm):
        doubled = {name: 2 * each for name, each in parameters.items()}
        return pipeline.L_model_forward(X, doubled, use_batchnorm)

    solution = OURS | {"L_model_forward": L_model_forward}
    assert judge("L_model_forward", solution).state == WRONG
    assert judge("L_model_backward", solution).state == RIGHT


def test_in_a_notebook_a_function_is_checked_under_its_name_with_or_without_my(capsys):
    def my_linear_backward(dZ, cache):
        return pipeline.linear_backward(dZ, cache)

    check_my_functions.check(my_linear_backward, pipeline.relu)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["relu", "right"],
        ["Linear_backward", "right"],
    ]
    with pytest.raises(ValueError, match="none of these is a function of the assignment: \\['known_in'\\]"):
        check_my_functions.check(known_in)


NASTY = """
    import os, random, sys
    import numpy as np
    from beside import relu_backward
    print("on import")
    np.random.seed(1); random.seed(1)

    def initialize_parameters(layer_dims):
        np.random.seed(3)
        print("x" * 100_000)
        shapes = list(zip(layer_dims[1:], layer_dims))
        W = {f"W{l}": np.random.randn(*shape) for l, shape in enumerate(shapes, start=1)}
        return W | {f"b{l}": np.zeros((n, 1)) for l, (n, _) in enumerate(shapes, start=1)}

    def linear_forward(A, W, b):
        while True:
            pass

    def softmax(Z):
        os._exit(0)

    def relu(Z):
        sys.exit("enough")

    def compute_cost(AL, Y):
        return float(input("cost? "))

    def apply_batchnorm(A, gamma):
        return A
"""


def written(folder, source, name="solution.py"):
    (folder / name).write_text(textwrap.dedent(source))
    return folder / name


@pytest.mark.slow
def test_functions_that_hang_end_python_print_ask_or_stand_beside_get_a_row_each(tmp_path, monkeypatch, capfd):
    written(tmp_path, "def relu_backward(dA, activation_cache):\n    return dA * (activation_cache > 0)\n", "beside.py")
    monkeypatch.setattr(check_my_functions, "SECONDS", 6)
    rows = {row.function: row for row in check_my_functions.rows_of(written(tmp_path, NASTY))}
    assert list(rows) == [*ASSIGNMENT, "L2"]
    assert {name: row.words for name, row in rows.items() if row.state == WRONG} == {
        "linear_forward": "has not ended after 6 s",
        "softmax": "ends Python",
        "relu": "raises SystemExit: enough",
        "compute_cost": "it waits for input()",
    }
    assert rows["apply_batchnorm"].words == "requires gamma, and the assignment does not pass that"
    assert {name for name, row in rows.items() if row.state == RIGHT} == {"initialize_parameters", "relu_backward"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def relu(Z)", "cannot be imported: SyntaxError: expected ':'"),
        ("input()", 'stops at line 1 (put what it runs under if __name__ == "__main__"); only what stands above it is'),
        ("import nothing", "stops at line 1; only what stands above it is checked: ModuleNotFoundError: No module"),
        ("while True: pass", 'has not ended after 5 s on import: put what it runs under if __name__ == "__main__"'),
    ],
)
def test_a_file_that_cannot_be_imported_gets_one_line(tmp_path, monkeypatch, source, said):
    monkeypatch.setattr(check_my_functions, "LONG_SECONDS", 5 if "while" in source else 60)
    (row,) = check_my_functions.rows_of(written(tmp_path, source))
    assert row.function == "" and row.state == WRONG and said in row.words


def test_what_stands_above_the_line_that_stops_a_file_is_checked(tmp_path):
    source = "def relu_backward(dA, Z):\n    return dA * (Z > 0)\nraise SystemExit\ndef softmax(Z):\n    return Z"
    stopped, *rows = check_my_functions.rows_of(written(tmp_path, source))
    assert (stopped.function, stopped.state) == ("", WRONG)
    assert stopped.words.startswith("stops at line 3 (put what it runs under if __name__")
    assert {row.function: row.state for row in rows if row.state != MISSING} == {"relu_backward": RIGHT}


AT_HOME = """
    from __future__ import annotations

    import dataclasses
    import sys

    import torch
    from pipeline import relu_backward
    from solution import relu
    from tools import nothing

    @dataclasses.dataclass
    class Settings:
        batch_size: int = 32

    get_ipython().run_line_magic("matplotlib", "inline")
    assert len(sys.argv) == 1
    open("beside.txt").close()
    torch.set_grad_enabled(False)
    torch.set_default_device("meta")
    sys.path.clear()
    print = sys = None
"""


def test_a_file_runs_as_in_its_own_folder_beside_modules_of_any_name(tmp_path):
    written(tmp_path, "def relu_backward(dA, Z):\n    return dA * (Z > 0)\n", "pipeline.py")
    written(tmp_path, "nothing = None\n", "tools.py")
    written(tmp_path, "def relu(Z):\n    return Z.clamp(min=0), Z\n", "solution.py")
    written(tmp_path, "", "beside.txt")
    rows = check_my_functions.rows_of(written(tmp_path, AT_HOME, "main.py"))
    found = {row.function: row.state for row in rows if row.state != MISSING}
    assert found == {"relu": RIGHT, "relu_backward": RIGHT}


@pytest.mark.slow
def test_functions_of_a_package_of_the_same_name_are_the_file_s(tmp_path):
    (tmp_path / "pipeline/network").mkdir(parents=True)
    for package in ("pipeline", "pipeline/network"):
        written(tmp_path / package, "", "__init__.py")
    written(tmp_path / "pipeline/network", "def relu(Z):\n    return Z.clamp(min=0), Z\n", "forward.py")
    rows = check_my_functions.rows_of(written(tmp_path, "from pipeline.network.forward import relu\n"))
    assert {row.function: row.state for row in rows if row.state != MISSING} == {"relu": RIGHT}


@pytest.mark.slow
def test_what_rests_on_a_function_that_ends_python_is_not_called_and_what_is_not_there_is_missing(tmp_path):
    source = """
        import os
        def relu(Z):
            os._exit(1)
        def relu_backward(dA, Z):
            return dA * (Z > 0)
        def linear_activation_forward(A_prev, W, B, activation):
            return relu(W @ A_prev + B)
    """
    rows = {row.function: row for row in check_my_functions.rows_of(written(tmp_path, source))}
    assert {name: (row.state, row.words) for name, row in rows.items() if row.state != MISSING} == {
        "relu": (WRONG, "ends Python"),
        "linear_activation_forward": (UNJUDGED, "mend relu first"),
        "relu_backward": (UNJUDGED, "mend relu first"),
    }


@pytest.mark.slow
def test_a_file_that_runs_but_once_is_believed_the_first_time(tmp_path):
    source = """
        import os
        os.mkdir("made")
        def relu(Z):
            return Z.clamp(min=0), Z
        def relu_backward(dA, Z):
            os._exit(1)
        def Update_parameters(parameters, grads, learning_rate):
            return parameters
    """
    rows = {row.function: (row.state, row.words) for row in check_my_functions.rows_of(written(tmp_path, source))}
    assert {name: told for name, told in rows.items() if told[0] != MISSING} == {
        "relu": (RIGHT, ""),
        "relu_backward": (WRONG, "ends Python"),
        "Update_parameters": (UNJUDGED, "its file did not run again"),
    }


@pytest.mark.slow
def test_functions_of_this_repository_are_not_the_file_s(tmp_path):
    (tmp_path / "of_mine").mkdir()
    source = "from pipeline import relu_backward, softmax\ndef relu(Z):\n    return Z.clamp(min=0), Z\n"
    first, *rows = check_my_functions.rows_of(written(tmp_path / "of_mine", source))
    assert (first.state, first.words) == (WRONG, "these functions are this repository's: relu_backward, softmax")
    assert {row.function: row.state for row in rows if row.state != MISSING} == {"relu": RIGHT}


@pytest.mark.parametrize("source", ["x = 1", "class Network:\n    def relu(self, Z):\n        return Z"])
def test_a_file_without_functions_at_its_top_level_gets_one_line(tmp_path, source):
    found = check_my_functions.rows_of(written(tmp_path, source))
    assert found == [Row("", MISSING, "no function of the assignment at its top level")]


def test_rows_that_arrive_together_are_all_read_at_once(tmp_path, monkeypatch):
    """They did not if a buffer held the second: the function was said to have no end."""
    row = json.dumps({"function": "relu", "state": RIGHT})
    worker = tmp_path / "worker"
    worker.write_text(f"#!/bin/sh\nprintf '%s\\n%s\\n' '{row}' '{row}'\nexec sleep 60\n")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    monkeypatch.setattr(check_my_functions, "SECONDS", 3)
    rows = check_my_functions.answers(tmp_path / "solution.py", ["relu"])
    assert [next(rows).state, next(rows).state] == [RIGHT, RIGHT]
    rows.close()


def test_several_files_are_checked_on_one_command_line(tmp_path):
    source = """
        import numpy as np
        def relu(Z):
            return np.maximum(Z, 0), Z
        def relu_backward(dA, Z):
            return dA * (Z > 0)
    """
    subset = written(tmp_path, source, "subset.py")
    too_long = f"{'x' * 300}.py"  # to ask for it is an error, as in a folder that may not be entered
    command = [sys.executable, "-m", "tools.check_my_functions", subset, too_long, tmp_path / "none.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == ""
    assert "  2 right, 0 partly checked, 0 wrong, 0 not judged, 14 missing\n" in done.stdout
    said = " ".join(done.stdout.split())
    refused = "WRONG there is no such Python file to read (a notebook must be exported as a script)"
    assert said.count(refused) == 2 and f"none.py {refused} copy of" in said
    named = [line.partition(": checked only if ") for line in done.stdout.splitlines() if "checked only if" in line]
    assert [(what.strip(), needed) for what, _, needed in named] == [
        ("copy of the best parameters", "L_layer_model takes validation, evaluate_every, patience"),
        ("patience in steps", "it takes them, or holds back a validation set itself"),
        ("statistics of batch norm in Predict", "L_layer_model takes use_batchnorm"),
    ]


@pytest.mark.parametrize(
    ("states", "status"), [([RIGHT, PARTLY, UNJUDGED], 0), ([RIGHT, WRONG], 1), (["missing", RIGHT], 1)]
)
def test_the_exit_status_is_0_if_nothing_is_wrong_or_missing(tmp_path, monkeypatch, states, status):
    rows = [Row(name, state) for name, state in zip(ASSIGNMENT, states, strict=False)]
    monkeypatch.setattr(check_my_functions, "rows_of", lambda path: rows)
    monkeypatch.setattr(sys, "argv", ["check", str(written(tmp_path, ""))])
    with pytest.raises(SystemExit) as caught:
        check_my_functions.main()
    assert caught.value.code == status


def test_a_module_that_is_no_function_is_missing():
    assert judge("relu", known_in({"relu": types.ModuleType("relu")})).state == "missing"
    assert batchnorm_forward.__name__ in known_in({"batchnorm_forward": batchnorm_forward})


def test_further_arguments_without_names_are_none_that_is_needed():
    assert options_of(lambda Z, *rest, **more: Z, 1, {}) == {}


def test_a_function_without_a_signature_has_no_known_arguments():
    assert arguments_of(max) == {}


def test_an_array_is_turned_only_if_its_transpose_has_the_shape():
    assert is_turned(torch.ones(2, 3), (3, 2)) and not is_turned(torch.ones(2, 3), (3, 4))


def test_a_list_that_grew_is_changed():
    one = [torch.ones(2)]
    assert not is_unchanged(one, [*one, *one])


def test_an_argument_that_takes_a_word_is_not_lambda():
    assert lambdas_of(lambda A, regularization="l2", lam=0.0: A) == ["lam"]


def test_rounding_is_zero():
    assert is_close(torch.tensor([1e-16, -1e-17]), torch.tensor([0.0, 0.0]))
