"""Backward propagation beside autograd, under random cotangents: sum() would not see batch norm's gradient."""

import copy

import pytest
import torch
from reference import (
    COMBINATIONS,
    DIMS,
    LINEAR_SHAPES,
    assert_all_close,
    assert_close,
    assert_dtype_follows,
    assert_inputs_unchanged,
    assert_numpy_gives_the_same,
    autograd,
    batchnorm,
    each_leading_shape,
    network_gradients,
    normal,
    one_hot,
    random_parameters,
)

import pipeline
from pipeline import (
    L_model_backward,
    L_model_forward,
    batchnorm_backward,
    compute_cost,
    linear_activation_backward,
    linear_activation_forward,
    linear_backward,
    linear_forward,
    relu_backward,
    softmax,
    softmax_backward,
    update_parameters,
)
from pipeline.network.forward import BATCHNORM_EPSILON, batchnorm_forward

each_combination = pytest.mark.parametrize(("use_batchnorm", "l2"), COMBINATIONS.values(), ids=COMBINATIONS.keys())


def network(axes=(), m=9, use_batchnorm=False, dims=DIMS):
    """Labels, forward pass and parameters of a random network."""
    X, Y, parameters = normal(dims[0], m), one_hot(dims[-1], m), random_parameters(dims, axes)
    AL, caches = L_model_forward(X, dict(parameters), use_batchnorm)
    return X, Y, parameters, AL, caches


def network_arguments():
    _, Y, _, AL, caches = network(use_batchnorm=True)
    return [AL, Y, caches]


def layer_cache(*axes, activation="relu"):
    return linear_activation_forward(normal(*axes, 5, 7), normal(*axes, 4, 5), normal(*axes, 4, 1), activation)[1]


CALLS = {
    "linear_backward, dict": lambda: (
        linear_backward, [normal(4, 7), linear_forward(normal(5, 7), normal(4, 5), normal(4, 1))[1]]
    ),
    "linear_backward, tuple": lambda: (
        linear_backward, [normal(4, 7), (normal(5, 7), normal(4, 5), normal(4, 1))]
    ),
    "linear_activation_backward": lambda: (linear_activation_backward, [normal(4, 7), layer_cache(), "relu"]),
    "relu_backward": lambda: (relu_backward, [normal(4, 7), normal(4, 7)]),
    "softmax_backward": lambda: (softmax_backward, [normal(4, 7), normal(4, 7)]),
    "batchnorm_backward": lambda: (
        batchnorm_backward, [normal(4, 7), {"NA": normal(4, 7), "variance": normal(4, 1) ** 2}]
    ),
    "L_model_backward": lambda: (L_model_backward, network_arguments()),
    "L_model_backward with l2": lambda: (
        lambda AL, Y, caches: L_model_backward(AL, Y, caches, l2=0.3), network_arguments()
    ),
}  # fmt: skip
each_function = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@each_function
def test_numpy_arrays_give_the_same_tensors(call):
    assert_numpy_gives_the_same(*call())


@each_function
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_dtype_follows_the_input(call, dtype):
    assert_dtype_follows(*call(), dtype)


@each_function
def test_no_input_is_changed(call):
    assert_inputs_unchanged(*call())


def test_names_of_the_brief_are_the_same_functions():
    assert pipeline.Linear_backward is pipeline.linear_backward
    assert pipeline.Update_parameters is pipeline.update_parameters
    assert pipeline.Predict is pipeline.predict


# linear


@pytest.mark.parametrize("as_tuple", [False, True], ids=["dict", "tuple"])
@pytest.mark.parametrize("shapes", LINEAR_SHAPES.values(), ids=LINEAR_SHAPES.keys())
def test_linear_backward_equals_autograd(shapes, as_tuple):
    inputs = [normal(*shape) for shape in shapes]
    Z, cache = linear_forward(*inputs)
    dZ, m = normal(*Z.shape), Z.shape[-1]
    dA, dW, db = autograd(lambda A, W, b: W @ A + b, inputs, dZ)
    ours = linear_backward(dZ, tuple(inputs) if as_tuple else cache)
    for actual, expected in zip(ours, (dA, dW / m, db / m), strict=True):
        assert_close(actual, expected)


def test_linear_backward_leaves_out_the_input_gradient_on_demand():
    cache, dZ = layer_cache()["linear_cache"], normal(4, 7)
    dA, *rest = linear_backward(dZ, cache, input_gradient=False)
    assert dA is None
    for actual, expected in zip(rest, linear_backward(dZ, cache)[1:], strict=True):
        assert_close(actual, expected, 0)


@pytest.mark.parametrize("shape", [(4, 8), (5, 7), (7, 4), (7,)], ids=str)
def test_linear_backward_names_a_gradient_that_does_not_fit(shape):
    with pytest.raises(ValueError, match=r"dZ of shape \(\.\.\., 4, 7\) for W @ A_prev, got") as error:
        linear_backward(normal(*shape), layer_cache()["linear_cache"])
    assert f"got {shape}" in str(error.value)


# activations


@each_leading_shape
def test_relu_backward_equals_autograd(axes):
    dA, Z = normal(*axes, 5, 7), normal(*axes, 5, 7)
    assert_close(relu_backward(dA, Z), *autograd(torch.relu, [Z], dA))


@pytest.mark.parametrize(("of_dA", "of_Z"), [((3, 5, 7), (5, 7)), ((5, 7), (3, 5, 7)), ((3, 1, 5, 7), (2, 5, 7))])
def test_relu_backward_broadcasts_over_networks(of_dA, of_Z):
    dA, Z = normal(*of_dA), normal(*of_Z)
    assert_close(relu_backward(dA, Z), torch.where(Z > 0, dA, 0), 0)


def test_relu_backward_lets_nothing_through_at_zero():
    Z = torch.tensor([[-1.0, -0.0, 0.0, 1e-300]], dtype=torch.float64)
    assert_close(relu_backward(torch.full_like(Z, 3), Z), torch.tensor([[0.0, 0, 0, 3]], dtype=torch.float64), 0)


@each_leading_shape
def test_softmax_backward_equals_autograd_for_any_gradient(axes):
    dA, Z = normal(*axes, 5, 7), 2 * normal(*axes, 5, 7)
    assert_close(softmax_backward(dA, Z), *autograd(lambda Z: torch.softmax(Z, dim=-2), [Z], dA))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-15)], ids=str)
def test_softmax_backward_of_the_cross_entropy_is_p_minus_y_also_where_p_underflows(dtype, tolerance):
    Z = torch.tensor([[1e4, -1e4, 3.0], [-1e4, 1e4, -1e4], [0.0, -1e3, 2.0]], dtype=dtype)
    for truth in range(3):
        Y = torch.zeros_like(Z)
        Y[truth] = 1
        P, _ = softmax(Z)
        assert_close(softmax_backward(-Y / P, Z), torch.softmax(Z, dim=-2) - Y, tolerance)


@each_leading_shape
@pytest.mark.parametrize("activation", ["relu", "softmax"])
def test_linear_activation_backward_equals_autograd(activation, axes):
    cache, dA = layer_cache(*axes, activation=activation), normal(*axes, 4, 7)
    act = torch.relu if activation == "relu" else lambda Z: torch.softmax(Z, dim=-2)
    dA_prev, dW, db = autograd(lambda A, W, b: act(W @ A + b), list(cache["linear_cache"].values()), dA)
    ours = linear_activation_backward(dA, cache, activation)
    for actual, expected in zip(ours, (dA_prev, dW / 7, db / 7), strict=True):
        assert_close(actual, expected)


def test_linear_activation_backward_names_an_unknown_activation():
    with pytest.raises(ValueError, match=r"activation .*'tanh'"):
        linear_activation_backward(normal(4, 7), layer_cache(), "tanh")


# batchnorm


@each_leading_shape
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3], ids=["eps matters little", "eps rules", "eps vanishes"])
def test_batchnorm_backward_equals_autograd_with_the_statistics_jacobian(axes, scale):
    A, dNA = scale * normal(*axes, 5, 7) + 2, normal(*axes, 5, 7)
    assert_close(batchnorm_backward(dNA, batchnorm_forward(A)[1]), *autograd(batchnorm, [A], dNA))


def test_batchnorm_backward_equals_torch():
    A, dNA = normal(5, 7), normal(5, 7)
    (theirs,) = autograd(lambda A: torch.nn.functional.batch_norm(A.T, None, None, training=True).T, [A], dNA)
    assert_close(batchnorm_backward(dNA, batchnorm_forward(A)[1]), theirs)


def test_batchnorm_backward_of_a_constant_unit_equals_autograd_and_is_finite():
    A, dNA = torch.full((2, 7), 0.5, dtype=torch.float64), normal(2, 7)
    dA = batchnorm_backward(dNA, batchnorm_forward(A)[1])
    assert dA.isfinite().all()
    assert_close(dA, *autograd(batchnorm, [A], dNA))


def test_inference_with_batchnorm_has_no_backward_pass():
    X, Y, parameters = normal(6, 9), one_hot(4, 9), random_parameters(DIMS)
    L_model_forward(X, parameters, True)
    AL, caches = L_model_forward(X, parameters, True, inference=True)
    with pytest.raises(
        ValueError, match=r"wants valid caches\[1\]: .* NA, variance in cache, got None, which inference leaves"
    ):
        L_model_backward(AL, Y, caches)


@pytest.mark.parametrize("scale", [1.0, 1e3], ids=["as drawn", "weights so large that eps vanishes"])
def test_scaling_a_units_weights_changes_nothing_but_what_eps_lets_through(scale):
    # Scaling a unit's W and b scales its ReLU, and batchnorm takes the scale out again up to eps:
    # exactly, <W, dW> + <b, db> = eps / (var + eps) * mean(dA * NA).
    X, Y, parameters = normal(6, 9), one_hot(4, 9), random_parameters(DIMS)
    for name in ("W1", "b1", "W2", "b2"):
        parameters[name] *= scale
    AL, caches = L_model_forward(X, parameters, True)
    grads = L_model_backward(AL, Y, caches)
    for layer in (1, 2):
        radial = (parameters[f"W{layer}"] * grads[f"dW{layer}"]).sum(1, keepdim=True)
        radial += parameters[f"b{layer}"] * grads[f"db{layer}"]
        NA, var = (caches[layer - 1]["batchnorm_cache"][name] for name in ("NA", "variance"))
        leak = BATCHNORM_EPSILON / (var + BATCHNORM_EPSILON)
        assert_close(radial, leak * (grads[f"dA{layer}"] * NA).mean(1, keepdim=True), 1e-12)
        live = var > 0.01 * scale**2
        assert live.sum() >= 3
        assert radial[live].abs().max() < 1e-3 / scale**2  # the plain identity, once eps is nothing


def test_a_gradient_that_networks_share_is_that_of_each():
    dZ, cache = normal(4, 7), (normal(5, 7), normal(3, 4, 5), normal(3, 4, 1))
    of_each = linear_backward(torch.stack([dZ] * 3), cache)
    for ours, theirs in zip(linear_backward(dZ, cache), of_each, strict=True):
        assert_close(ours, theirs)


# the whole network


@each_combination
@each_leading_shape
@pytest.mark.parametrize("m", [9, 2, 1], ids=["a batch", "two examples", "one example"])
def test_network_gradients_equal_autograd(use_batchnorm, l2, axes, m):
    m = max(m, 2) if use_batchnorm else m  # one example alone is refused: see test_arguments
    X, Y, parameters, AL, caches = network(axes, m, use_batchnorm)
    cost, grads = network_gradients(X, Y, parameters, use_batchnorm, l2)
    assert_close(compute_cost(AL, Y, parameters=parameters, l2=l2), cost, 1e-9)
    assert set(grads) == {f"d{kind}{layer}" for kind in "AWb" for layer in (1, 2, 3)}
    assert_all_close(L_model_backward(AL, Y, caches, l2=l2), grads, 1e-9)


@pytest.mark.parametrize("axes", [(3,), (2, 3)], ids=str)
def test_network_gradients_equal_autograd_with_a_lambda_for_each_network(axes):
    X, Y, parameters, AL, caches = network(axes, use_batchnorm=True)
    l2 = torch.rand(axes, dtype=torch.float64)
    _, grads = network_gradients(X, Y, parameters, True, l2)
    assert_all_close(L_model_backward(AL, Y, caches, l2=l2), grads, 1e-9)


def test_network_gradients_equal_autograd_with_a_batch_for_each_network():
    X, Y, parameters = normal(3, 6, 9), one_hot(4, 3, 9), random_parameters(DIMS, (3,))
    AL, caches = L_model_forward(X, dict(parameters), True)
    assert_all_close(L_model_backward(AL, Y, caches), network_gradients(X, Y, parameters, True, 0.0)[1], 1e-9)


def test_a_network_without_hidden_layers_is_softmax_regression():
    X, Y, _, AL, caches = network(dims=[6, 4])
    grads = L_model_backward(AL, Y, caches)
    assert_close(grads["dW1"], (AL - Y) @ X.T / 9)
    assert_close(grads["db1"], (AL - Y).mean(1, keepdim=True))


def test_network_gradients_are_p_minus_y_where_probabilities_underflow():
    X, Y, parameters = 1e4 * normal(6, 9), one_hot(4, 9), random_parameters([6, 4])
    AL, caches = L_model_forward(X, parameters, False)
    grads = L_model_backward(AL, Y, caches)
    P = torch.softmax(parameters["W1"] @ X + parameters["b1"], dim=0)
    assert ((P == 0) & (Y == 1)).any()  # some true class has underflowed
    assert_close(grads["db1"], (P - Y).mean(1, keepdim=True), 1e-12)
    assert_close(grads["dW1"], (P - Y) @ X.T / 9, 1e-12)
    assert compute_cost(AL, Y).isfinite()
    for name, theirs in L_model_backward(P, Y, caches).items():  # from a softmax whose probabilities can be 0
        assert_close(theirs, grads[name], 1e-12)
    assert_close(compute_cost(P, Y), compute_cost(AL, Y), 1e-12)


def test_dead_units_have_zero_gradients_under_batchnorm():
    X, Y, parameters = normal(6, 9), one_hot(4, 9), random_parameters(DIMS)
    parameters["b1"][2] = -1e6  # never active
    parameters["W1"][3], parameters["b1"][3] = 0.0, 1.0  # always on, and constant
    AL, caches = L_model_forward(X, dict(parameters), True)
    grads = L_model_backward(AL, Y, caches)
    assert not grads["dW1"][2].any() and not grads["db1"][2].any()
    assert all(tensor.isfinite().all() for tensor in grads.values())
    assert_all_close(grads, network_gradients(X, Y, parameters, True, 0.0)[1], 1e-9)


def test_network_backward_names_shapes_that_differ():
    _, Y, _, AL, caches = network()
    with pytest.raises(ValueError, match=r"AL and Y .*got \(4, 9\) and \(4, 8\)"):
        L_model_backward(AL, Y[:, :8], caches)


# update_parameters


@pytest.mark.parametrize("as_numpy", [False, True], ids=["tensors", "numpy"])
def test_update_descends_and_returns_the_same_dict_with_new_arrays(as_numpy):
    _, Y, parameters, AL, caches = network((3,), use_batchnorm=True)
    before = copy.deepcopy(parameters)
    grads = L_model_backward(AL, Y, caches)
    expected = {name: tensor - 0.1 * grads[f"d{name}"] for name, tensor in parameters.items()}
    held, grads = (
        {name: tensor.numpy() if as_numpy else tensor for name, tensor in tensors.items()}
        for tensors in (parameters, grads)
    )
    assert update_parameters(held, grads, 0.1) is held
    assert_all_close(held, expected, 1e-15)
    assert_all_close(parameters, before, 0)  # the memory that was given is as it was


def test_update_leaves_gradients_and_running_statistics_alone():
    X, Y, parameters = normal(6, 9), one_hot(4, 9), random_parameters(DIMS)
    AL, caches = L_model_forward(X, parameters, True)
    grads = L_model_backward(AL, Y, caches)
    before, grads_before = copy.deepcopy(parameters), copy.deepcopy(grads)
    update_parameters(parameters, grads, 0.1)
    assert_all_close(grads, grads_before, 0)
    assert {name for name in before if torch.equal(before[name], parameters[name])} == {
        "mean1", "var1", "mean2", "var2"
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64], ids=str)
def test_network_gradients_do_not_depend_on_the_dtype_of_the_labels(dtype):
    parameters, Y = random_parameters(DIMS), one_hot(DIMS[-1], 9)
    AL, caches = L_model_forward(normal(DIMS[0], 9), parameters, False)
    ours, theirs = L_model_backward(AL, Y.to(dtype), caches), L_model_backward(AL, Y, caches)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("function", [relu_backward, softmax_backward])
def test_activations_name_a_gradient_of_another_shape(function):
    with pytest.raises(ValueError, match=r"wants dA of shape \(\.\.\., 3, 4\) for activation_cache, got \(3, 1\)"):
        function(normal(3, 1), normal(3, 4))


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_update_refuses_a_learning_rate_that_is_none(rate):
    parameters = random_parameters(DIMS)
    with pytest.raises(ValueError, match="wants a positive and finite learning_rate"):
        update_parameters(parameters, {f"d{name}": value for name, value in parameters.items()}, rate)


def test_steps_of_every_mode_leave_nothing_behind_that_another_cannot_meet():
    A, W, b, dZ, cotangent = normal(5, 7), normal(4, 5), normal(4, 1), normal(4, 7), normal(4, 5)

    def linear(dZ):
        return linear_backward(dZ, (A, W, b))[1]

    def cost(dZ):
        return linear(dZ).square().sum()

    with torch.inference_mode():
        linear(dZ)
    curvature = torch.func.jacrev(torch.func.jacrev(cost))
    assert_close(curvature(dZ), curvature(2 * dZ), 1e-12)
    assert_close(torch.func.grad(cost)(dZ), 2 * linear(dZ) @ A / 7, 1e-12)
    assert_close(torch.func.vmap(linear)(torch.stack([dZ, -dZ])), torch.stack([linear(dZ), -linear(dZ)]), 1e-12)
    assert_close(torch.autograd.grad(linear(dZ.requires_grad_()), dZ, cotangent)[0], cotangent @ A / 7, 1e-12)


def test_gradients_of_many_labels_can_be_mapped_over_one_pass():
    _, Y, _, AL, caches = network(use_batchnorm=True)
    labels = torch.stack([Y, Y.flip(0)])
    mapped = torch.func.vmap(lambda Y: L_model_backward(AL, Y, caches)["dW1"])(labels)
    assert_close(mapped, torch.stack([L_model_backward(AL, Y, caches)["dW1"] for Y in labels]), 1e-12)
