"""Forward propagation beside torch, and at its edges."""

import math

import pytest
import torch
from reference import (
    DIMS,
    LINEAR_SHAPES,
    assert_close,
    assert_dtype_follows,
    assert_inputs_unchanged,
    assert_numpy_gives_the_same,
    batchnorm,
    each_leading_shape,
    normal,
    one_hot,
    probabilities,
    random_parameters,
)

from pipeline import (
    L_model_forward,
    apply_batchnorm,
    compute_cost,
    initialize_parameters,
    l2_penalty,
    linear_activation_forward,
    linear_forward,
    relu,
    softmax,
)
from pipeline.network.forward import batchnorm_forward


def trained_statistics(parameters, units=(8, 5)):
    for layer, n in enumerate(units, start=1):
        parameters |= {f"mean{layer}": normal(n, 1), f"var{layer}": normal(n, 1).square() + 0.1}
    return parameters


def infer(X, parameters):
    return L_model_forward(X, parameters, True, inference=True)[0]


CALLS = {
    "linear_forward": lambda: (linear_forward, [normal(5, 7), normal(4, 5), normal(4, 1)]),
    "softmax": lambda: (softmax, [normal(4, 7)]),
    "relu": lambda: (relu, [normal(4, 7)]),
    "linear_activation_forward": lambda: (
        linear_activation_forward, [normal(5, 7), normal(4, 5), normal(4, 1), "softmax"]
    ),
    "L_model_forward": lambda: (L_model_forward, [normal(6, 7), random_parameters(DIMS), False]),
    "L_model_forward, inference": lambda: (infer, [normal(6, 7), trained_statistics(random_parameters(DIMS))]),
    "compute_cost": lambda: (compute_cost, [probabilities(4, 7), one_hot(4, 7)]),
    "compute_cost with l2": lambda: (
        lambda AL, Y, parameters: compute_cost(AL, Y, parameters=parameters, l2=0.3),
        [probabilities(4, 7), one_hot(4, 7), random_parameters(DIMS)],
    ),
    "l2_penalty": lambda: (l2_penalty, [random_parameters(DIMS), 0.3]),
    "batchnorm_forward": lambda: (batchnorm_forward, [normal(4, 7)]),
    "apply_batchnorm": lambda: (apply_batchnorm, [normal(4, 7)]),
    "apply_batchnorm, given statistics": lambda: (
        lambda A, mean, var: apply_batchnorm(A, mean=mean, var=var), [normal(4, 7), normal(4, 1), normal(4, 1) ** 2]
    ),
}  # fmt: skip
each_function = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@each_function
def test_numpy_arrays_give_the_same_tensors(call):
    assert_numpy_gives_the_same(*call())


def test_a_flipped_array_is_taken_as_it_looks():
    A, W, b = normal(5, 7), normal(4, 5), normal(4, 1)
    Z, _ = linear_forward(A.numpy()[:, ::-1], W.numpy()[::-1], b.numpy()[::-1])
    assert_close(Z, (W @ A + b).flip(0, 1), 1e-12)


def test_start_takes_layers_as_an_array():
    start = initialize_parameters([4, 3, 2])
    for layers in (torch.tensor([4, 3, 2]), torch.tensor([4, 3, 2]).numpy()):
        assert all(torch.equal(each, start[name]) for name, each in initialize_parameters(layers).items())


@pytest.mark.parametrize("layers", [[4], [4, 0], [4, True], [4, 2.0, 2], [4, "3"]], ids=str)
def test_start_names_layers_that_are_none(layers):
    with pytest.raises(
        ValueError, match=r"initialize_parameters wants layer_dims of two or more whole numbers of at least 1, got \["
    ):
        initialize_parameters(layers)


@each_function
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_dtype_follows_the_input(call, dtype):
    assert_dtype_follows(*call(), dtype)


@each_function
def test_no_input_is_changed(call):
    assert_inputs_unchanged(*call())


# initialize_parameters


def test_start_has_the_shapes_of_the_brief():
    shapes = {name: tuple(tensor.shape) for name, tensor in initialize_parameters([6, 8, 4]).items()}
    assert shapes == {"W1": (8, 6), "b1": (8, 1), "W2": (4, 8), "b2": (4, 1)}


def test_start_is_he_scaled_by_the_inputs_of_a_layer_and_biases_are_zero():
    parameters = initialize_parameters([400, 100, 200], dtype=torch.float64)
    for layer, inputs in ((1, 400), (2, 100)):
        W = parameters[f"W{layer}"]
        assert W.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.03)
        assert abs(W.mean().item()) < 0.03 * math.sqrt(2 / inputs)
        assert (W.abs() > 2.5 * math.sqrt(2 / inputs)).any()  # normal, not uniform
        assert not parameters[f"b{layer}"].any()


def test_start_depends_on_the_seed_alone():
    once = initialize_parameters(DIMS, seed=5)
    torch.rand(3)  # the global generator plays no part
    again, other = initialize_parameters(DIMS, seed=5), initialize_parameters(DIMS, seed=6)
    for name in ("W1", "W2", "W3"):
        assert torch.equal(once[name], again[name])
        assert not torch.equal(once[name], other[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 0.2}, r"initialize_parameters wants seed whole, .*got \[0.2"),
        ({"dtype": torch.int64}, "initialize_parameters wants a floating type as dtype"),
    ],
)
def test_start_refuses_what_would_be_cut_to_whole_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        initialize_parameters(DIMS, **options)


def test_start_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    initialize_parameters(DIMS)
    assert torch.equal(torch.get_rng_state(), state)


def test_start_is_the_same_in_both_dtypes():
    double = initialize_parameters(DIMS, seed=5, dtype=torch.float64)
    for name, tensor in initialize_parameters(DIMS, seed=5, dtype=torch.float32).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, double[name].float())


def test_start_takes_a_generator_and_draws_on_from_it():
    generator = torch.Generator().manual_seed(5)
    first, second = (initialize_parameters(DIMS, seed=generator) for _ in range(2))
    assert torch.equal(first["W1"], initialize_parameters(DIMS, seed=5)["W1"])
    assert not torch.equal(first["W1"], second["W1"])


@pytest.mark.parametrize("dims", [[], [7], [7, 0, 4], [7, -2]], ids=str)
def test_start_names_bad_layer_dims(dims):
    with pytest.raises(ValueError, match=r"layer_dims .*got ") as error:
        initialize_parameters(dims)
    assert str(dims) in str(error.value)


# linear, relu, softmax


@pytest.mark.parametrize("shapes", LINEAR_SHAPES.values(), ids=LINEAR_SHAPES.keys())
def test_linear_forward_is_the_affine_map(shapes):
    A, W, b = (normal(*shape) for shape in shapes)
    Z, cache = linear_forward(A, W, b)
    assert_close(Z, torch.einsum("...ij,...jk->...ik", W, A) + b)
    assert list(cache) == ["A", "W", "b"]
    assert cache["A"] is A and cache["W"] is W and cache["b"] is b


BAD_SHAPES = {
    "A": ((6, 7), (4, 5), (4, 1)),
    "W": ((5, 7), (4, 6), (4, 1)),
    "b too long": ((5, 7), (4, 5), (5, 1)),
    "b of many columns": ((5, 7), (4, 5), (4, 7)),
    "b a vector": ((5, 7), (4, 5), (4,)),
    "A a vector": ((5,), (4, 5), (4, 1)),
}


@pytest.mark.parametrize("shapes", BAD_SHAPES.values(), ids=BAD_SHAPES.keys())
def test_linear_forward_names_shapes_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match="linear_forward") as error:
        linear_forward(*(normal(*shape) for shape in shapes))
    for name, shape in zip("AWb", shapes, strict=True):
        assert f"{name} {shape}" in str(error.value)


@each_leading_shape
def test_softmax_and_relu_equal_torch(axes):
    Z = 3 * normal(*axes, 5, 7)
    for function, theirs in ((softmax, torch.softmax(Z, dim=-2)), (relu, torch.relu(Z))):
        A, cache = function(Z)
        assert_close(A, theirs)
        assert cache is Z


@each_leading_shape
@pytest.mark.parametrize("activation", ["relu", "softmax"])
def test_linear_activation_is_linear_then_activation(activation, axes):
    A_prev, W, b = normal(*axes, 5, 7), normal(*axes, 4, 5), normal(*axes, 4, 1)
    A, cache = linear_activation_forward(A_prev, W, b, activation)
    Z = W @ A_prev + b
    assert_close(A, torch.relu(Z) if activation == "relu" else torch.softmax(Z, dim=-2))
    assert set(cache) == {"linear_cache", "activation_cache"}
    assert_close(cache["activation_cache"], Z)
    assert cache["linear_cache"]["A"] is A_prev


def test_linear_activation_names_an_unknown_activation():
    with pytest.raises(ValueError, match=r"wants as activation one of .*'tanh'"):
        linear_activation_forward(normal(5, 7), normal(4, 5), normal(4, 1), "tanh")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_softmax_of_huge_logits_is_finite_and_stays_so_in_log_and_inverse(dtype):
    Z = torch.tensor([[1e4, -1e4, 1e4], [-1e4, -1e4, 0.0], [0.0, -1e4, 1e4]], dtype=dtype)
    A, _ = softmax(Z)
    expected = torch.tensor([[1, 1 / 3, 0.5], [0, 1 / 3, 0], [0, 1 / 3, 0.5]], dtype=dtype)
    assert_close(A, expected, 1e-6 if dtype == torch.float32 else 1e-15)
    assert A.log().isfinite().all() and (1 / A).isfinite().all()


# batchnorm


@each_leading_shape
def test_batchnorm_equals_torch(axes):
    A = 2 * normal(*axes, 5, 7) + 3
    assert_close(apply_batchnorm(A), batchnorm(A))
    examples_first = A.reshape(-1, 7).T  # torch wants (examples, units)
    theirs = torch.nn.functional.batch_norm(examples_first, None, None, training=True)
    assert_close(apply_batchnorm(A), theirs.T.reshape(A.shape))


def test_batchnorm_by_given_statistics_equals_torch():
    A, mean, var = normal(5, 7), normal(5, 1), normal(5, 1).square()
    theirs = torch.nn.functional.batch_norm(A.T, mean[:, 0], var[:, 0], training=False)
    assert_close(apply_batchnorm(A, mean=mean, var=var), theirs.T)


@pytest.mark.parametrize("given", ["mean", "var"])
def test_batchnorm_wants_both_statistics_or_none(given):
    with pytest.raises(ValueError, match=r"^apply_batchnorm wants both mean and var, or neither of them, got one$"):
        apply_batchnorm(normal(5, 7), **{given: torch.ones(5, 1)})


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e3])
def test_batchnorm_of_a_constant_unit_is_zero(constant):
    A = torch.cat([torch.full((1, 7), constant, dtype=torch.float64), normal(1, 7)])
    NA = apply_batchnorm(A)
    assert_close(NA[0], torch.zeros(7, dtype=torch.float64), 1e-15 * max(constant, 1) / math.sqrt(1e-5))
    assert NA[1].abs().max() > 0.5


@pytest.mark.parametrize("axes", [(), (3,)])
def test_batchnorm_of_one_example_is_refused_unless_by_given_statistics(axes):
    A, mean, var = normal(*axes, 5, 1), normal(5, 1), normal(5, 1).square()
    for function, hint in ((apply_batchnorm, "mean and var"), (batchnorm_forward, "mean and var to apply_batchnorm")):
        said = f"^{function.__name__} wants two examples or more as A to train .*, got 1: to predict, pass {hint}$"
        with pytest.raises(ValueError, match=said):
            function(A)
    assert_close(apply_batchnorm(A, mean=mean, var=var), (A - mean) / (var + 1e-5).sqrt())


# the whole network


@each_leading_shape
@pytest.mark.parametrize("use_batchnorm", [False, True], ids=["plain", "batchnorm"])
def test_network_equals_its_definition(use_batchnorm, axes):
    X, parameters = normal(6, 9), random_parameters(DIMS, axes)
    AL, caches = L_model_forward(X, parameters, use_batchnorm)
    A = X
    for layer in (1, 2):
        A = torch.relu(parameters[f"W{layer}"] @ A + parameters[f"b{layer}"])
        A = batchnorm(A) if use_batchnorm else A
    assert_close(AL, torch.softmax(parameters["W3"] @ A + parameters["b3"], dim=-2))
    assert len(caches) == 3
    assert ["batchnorm_cache" in cache for cache in caches] == [use_batchnorm, use_batchnorm, False]


def test_network_takes_a_batch_for_each_network():
    X, parameters = normal(2, 3, 6, 9), random_parameters(DIMS, (3,))
    AL, _ = L_model_forward(X, parameters, True)
    for i in range(2):
        for k in range(3):
            alone = {name: each[k].clone() for name, each in parameters.items() if name[0] in "Wb"}
            assert_close(AL[i, k], L_model_forward(X[i, k], alone, True)[0])


@each_leading_shape
def test_running_statistics_are_those_of_batchnorm1d(axes):
    parameters, norm = random_parameters([6, 5, 4], axes), torch.nn.BatchNorm1d(5, affine=False).double()
    k = (-1,) * len(axes)
    for m in (9, 2, 30):
        X = normal(6, m)
        norm(torch.relu(parameters["W1"][k] @ X + parameters["b1"][k]).T)
        L_model_forward(X, parameters, True)
        assert_close(parameters["mean1"][k], norm.running_mean[:, None])
        assert_close(parameters["var1"][k], norm.running_var[:, None])


def test_running_statistics_are_new_arrays_and_all_else_is_as_it_was():
    parameters = trained_statistics(random_parameters(DIMS))
    given, before = dict(parameters), {name: tensor.clone() for name, tensor in parameters.items()}
    L_model_forward(normal(6, 9), parameters, True)
    assert parameters.keys() == before.keys()
    for name, tensor in parameters.items():
        assert torch.equal(given[name], before[name])
        assert (tensor is given[name]) == (name[0] in "Wb")
        assert torch.equal(tensor, before[name]) == (name[0] in "Wb")


def test_the_output_layer_has_no_running_statistics():
    parameters = random_parameters(DIMS)
    L_model_forward(normal(6, 9), parameters, True)
    assert set(parameters) - set(random_parameters(DIMS)) == {"mean1", "var1", "mean2", "var2"}


def test_inference_normalises_by_running_statistics():
    parameters, X = trained_statistics(random_parameters([6, 5, 4]), units=(5,)), normal(6, 9)
    A = torch.relu(parameters["W1"] @ X + parameters["b1"])
    NA = (A - parameters["mean1"]) / (parameters["var1"] + 1e-5).sqrt()
    assert_close(infer(X, parameters), torch.softmax(parameters["W2"] @ NA + parameters["b2"], dim=-2))


def test_inference_of_one_example_equals_it_in_a_batch():
    parameters, X = trained_statistics(random_parameters(DIMS)), normal(6, 9)
    assert_close(infer(X[:, 4:5], parameters), infer(X, parameters)[:, 4:5])


def test_inference_without_running_statistics_names_them():
    with pytest.raises(ValueError, match="running statistics mean1"):
        infer(normal(6, 9), random_parameters(DIMS))


def test_network_names_an_input_that_does_not_fit():
    with pytest.raises(
        ValueError, match=r"L_model_forward wants X \(\.\.\., n_prev, m\), .*got X \(7, 9\), W1 \(8, 6\)"
    ):
        L_model_forward(normal(7, 9), random_parameters(DIMS), False)


def test_dead_units_and_two_examples_stay_finite_under_batchnorm():
    parameters = random_parameters(DIMS)
    parameters["b1"][2] = -1e6
    for m in (2, 9):
        AL, caches = L_model_forward(normal(6, m), parameters, True)
        assert AL.isfinite().all()
        assert not caches[0]["batchnorm_cache"]["NA"][2].any()
        assert all(tensor.isfinite().all() for tensor in parameters.values())


# compute_cost, l2_penalty


@each_leading_shape
def test_cost_equals_cross_entropy(axes):
    Z, Y = 3 * normal(*axes, 4, 11), one_hot(4, 11)
    cost = compute_cost(torch.softmax(Z, dim=-2), Y)
    assert cost.shape == axes
    for Z_k, cost_k in zip(Z.reshape(-1, 4, 11), cost.reshape(-1), strict=True):
        assert_close(cost_k, torch.nn.functional.cross_entropy(Z_k.T, Y.argmax(0)))


def test_cost_takes_labels_for_each_network():
    AL, Y = probabilities(3, 4, 11), one_hot(4, 3, 11)
    assert_close(compute_cost(AL, Y), torch.stack([compute_cost(AL[k], Y[k]) for k in range(3)]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cost_is_finite_and_right_where_probabilities_are_zero(dtype):
    AL = torch.tensor([[0.0, 0.5], [0.0, 0.5], [1.0, 0.0]], dtype=dtype)
    Y = torch.tensor([[0, 1], [0, 0], [1, 0]], dtype=dtype)
    assert compute_cost(AL, Y).item() == pytest.approx(math.log(2) / 2, rel=1e-6)
    worst = compute_cost(AL, Y.flip(0)).item()  # the truth has probability zero
    assert math.isfinite(worst) and worst > 40


@pytest.mark.parametrize("shapes", [((4, 7), (4, 8)), ((4, 7), (5, 7)), ((4,), (4,))], ids=str)
def test_cost_names_shapes_that_differ(shapes):
    AL, Y = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"compute_cost wants AL") as error:
        compute_cost(AL, Y)
    assert all(f"{shape}" in str(error.value) for shape in set(shapes))


@each_leading_shape
@pytest.mark.parametrize("of_each", [False, True], ids=["one lambda", "lambda of each"])
def test_penalty_is_half_lambda_times_the_squared_weights_of_every_layer(axes, of_each):
    parameters = random_parameters(DIMS, axes)
    l2 = torch.rand(axes, dtype=torch.float64) if of_each else 0.3
    expected = sum(l2 / 2 * torch.linalg.matrix_norm(parameters[f"W{layer}"]) ** 2 for layer in (1, 2, 3))
    assert_close(l2_penalty(parameters, l2), expected)
    AL, Y = probabilities(*axes, 4, 7), one_hot(4, 7)
    assert_close(compute_cost(AL, Y, parameters=parameters, l2=l2), compute_cost(AL, Y) + expected)


def test_penalty_ignores_running_statistics():
    parameters = random_parameters(DIMS)
    expected = l2_penalty(parameters, 0.3)
    assert_close(l2_penalty(trained_statistics(parameters), 0.3), expected, 0)


def test_cost_refuses_a_lambda_that_has_nothing_to_penalise():
    with pytest.raises(ValueError, match=r"compute_cost wants the parameters that l2 = 0.1"):
        compute_cost(probabilities(4, 9), one_hot(4, 9), l2=0.1)


def test_linear_forward_names_parameters_of_two_dtypes_and_takes_data_of_another():
    A, W, b = normal(3, 9), normal(2, 3), normal(2, 1)
    with pytest.raises(ValueError, match=r"W and b of one dtype, got torch.float64 and torch.float32"):
        linear_forward(A, W, b.float())
    Z, cache = linear_forward(A.numpy(), W.float(), b.float())
    assert Z.dtype == cache["A"].dtype == torch.float32
    assert_close(Z.double(), W @ A + b, 1e-5)


def test_network_takes_the_input_in_the_dtype_of_its_parameters():
    X, parameters = normal(6, 9), {name: value.float() for name, value in random_parameters(DIMS).items()}
    ours, _ = L_model_forward(X.numpy(), parameters, False)
    assert torch.equal(ours, L_model_forward(X.float(), parameters, False)[0])


def test_softmax_and_the_network_name_what_they_cannot_take():
    with pytest.raises(ValueError, match=r"softmax wants Z of shape .*got \(3,\)"):
        softmax(normal(3))
    with pytest.raises(ValueError, match="wants parameters W1"):
        L_model_forward(normal(6, 9), {}, False)


def test_gradients_kept_beside_the_parameters_are_no_layers():
    X, parameters = normal(DIMS[0], 5), random_parameters(DIMS)
    kept = parameters | {f"d{name}": value for name, value in parameters.items()}
    assert_close(L_model_forward(X, kept, False)[0], L_model_forward(X, parameters, False)[0], 0)


def test_batchnorm_names_a_batch_of_no_examples():
    with pytest.raises(ValueError, match=r"at least one example, got \(5, 0\)"):
        apply_batchnorm(normal(5, 0))
