"""Whatever a caller can get wrong is a ValueError that names function, argument, what came and what is wanted."""

import math
import mmap
import re
import warnings
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch
from reference import DIMS, assert_close, blobs, normal, one_hot, random_parameters

import pipeline
from pipeline import (
    L_layer_model,
    L_model_backward,
    L_model_forward,
    Predict,
    TrainingInterrupted,
    apply_batchnorm,
    batchnorm_backward,
    batchnorm_forward,
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
from pipeline.network.prediction import evaluate

A, W, b, Z, Y = normal(5, 7), normal(4, 5), normal(4, 1), normal(4, 7), one_hot(4, 7)
FLOATS = {  # calls of functions, with the place of each array
    "linear_forward A": lambda array: linear_forward(array(A), W, b),
    "linear_forward W": lambda array: linear_forward(A, array(W), b),
    "linear_forward b": lambda array: linear_forward(A, W, array(b)),
    "softmax Z": lambda array: softmax(array(Z)),
    "relu Z": lambda array: relu(array(Z)),
    "apply_batchnorm A": lambda array: apply_batchnorm(array(A)),
    "compute_cost AL": lambda array: compute_cost(array(softmax(Z)[0]), Y),
    "linear_backward dZ": lambda array: linear_backward(array(Z), (A, W, b)),
    "linear_backward W of cache": lambda array: linear_backward(Z, (A, array(W), b)),
    "relu_backward dA": lambda array: relu_backward(array(Z), Z),
    "relu_backward activation_cache": lambda array: relu_backward(Z, array(Z)),
    "softmax_backward dA": lambda array: softmax_backward(array(Z), Z),
    "L_model_forward X": lambda array: L_model_forward(array(normal(6, 7)), random_parameters(DIMS), False),
}
WHOLE = {
    "uint8": lambda tensor: (200 * torch.ones_like(tensor)).to(torch.uint8),
    "int64": lambda tensor: tensor.long(),
    "bool": lambda tensor: tensor > 0,
    "NumPy's uint8": lambda tensor: tensor.abs().numpy().astype(np.uint8),
    "NumPy's bool": lambda tensor: tensor.numpy() > 0,
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("where", FLOATS)
def test_whole_numbers_where_floats_are_wanted_are_refused_with_the_way_to_convert_them(where, kind):
    function, name = where.split(maxsplit=1)
    with pytest.raises(ValueError, match=rf"^{function} wants floats as {name}, got torch\.\w+: convert it by "):
        FLOATS[where](WHOLE[kind])


@pytest.mark.parametrize("where", FLOATS)
@pytest.mark.parametrize("nothing", [None, {"Z": Z}, "text", object()], ids=["None", "dict", "text", "object"])
def test_whatever_is_no_array_is_refused_by_name(where, nothing):
    function, name = where.split(maxsplit=1)
    with pytest.raises(ValueError, match=rf"^{function} wants .*{name}, got "):
        FLOATS[where](lambda tensor: nothing)


@pytest.mark.parametrize("where", FLOATS)
def test_a_sparse_array_is_refused_with_the_way_to_convert_it(where):
    function, name = where.split(maxsplit=1)
    with pytest.raises(ValueError, match=rf"^{function} wants a dense {name}, got torch.sparse_coo: .*to_dense"):
        FLOATS[where](torch.Tensor.to_sparse)


def test_what_holds_no_numbers_is_named_with_its_dtype():
    with pytest.raises(ValueError, match=r"^softmax wants an array of numbers as Z, got a Series of (object|str)"):
        softmax(pd.Series(["a", "b"]))
    with pytest.raises(ValueError, match=r"^softmax wants an array of numbers as Z, got a ndarray of >f4"):
        softmax(np.zeros((2, 2), dtype=">f4"))


def test_a_dictionary_that_cannot_be_written_to_is_refused_where_a_function_writes():
    parameters, X = random_parameters(DIMS), normal(6, 7)
    read_only = MappingProxyType(parameters)
    AL, caches = L_model_forward(X, read_only, False)
    grads = MappingProxyType(L_model_backward(AL, Y, caches))
    update_parameters(dict(parameters), grads, 0.1)
    with pytest.raises(ValueError, match=r"^update_parameters wants a dict as parameters, got a mappingproxy"):
        update_parameters(read_only, grads, 0.1)
    with pytest.raises(ValueError, match=r"^L_model_forward wants a dict as parameters, got a mappingproxy"):
        L_model_forward(X, read_only, True)


@pytest.mark.parametrize("function", [relu_backward, softmax_backward])
def test_a_layers_cache_in_place_of_z_is_refused_with_the_part_to_pass(function):
    _, cache = linear_activation_forward(A, W, b, "relu")
    with pytest.raises(
        ValueError, match=r"the array Z as activation_cache, got a dict of linear_cache, .*: pass cache"
    ):
        function(Z, cache)


@pytest.mark.parametrize("l2", [None, "0.1", -0.1, float("nan"), float("inf"), [0.1, 0.2]], ids=repr)
def test_a_lambda_that_is_none_is_refused(l2):
    AL, caches = L_model_forward(normal(6, 7), random_parameters(DIMS), False)
    for function, call in (
        ("L_model_backward", lambda: L_model_backward(AL, Y, caches, l2=l2)),
        ("compute_cost", lambda: compute_cost(AL, Y, parameters=random_parameters(DIMS), l2=l2)),
    ):
        with pytest.raises(ValueError, match=rf"^{function} wants l2 as a number of at least 0, .*got "):
            call()


def test_lambdas_of_each_network_are_taken_as_numpy_too():
    parameters, l2 = random_parameters(DIMS, (3,)), torch.rand(3, dtype=torch.float64)
    AL, caches = L_model_forward(normal(6, 7), parameters, False)
    ours, theirs = (L_model_backward(AL, Y, caches, l2=each) for each in (l2.numpy(), l2))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    costs = [compute_cost(AL, Y, parameters=parameters, l2=each) for each in (l2.numpy(), l2)]
    assert torch.equal(*costs)


def test_gradients_that_are_no_arrays_are_named():
    with pytest.raises(ValueError, match=r"^update_parameters wants an array of numbers as dW1, got a str"):
        update_parameters({"W1": W, "b1": b}, {"dW1": "text", "db1": b}, 0.1)
    parameters = update_parameters({"W1": W, "b1": b}, {"dW1": W.tolist(), "db1": b.tolist()}, 1.0)
    assert_close(parameters["W1"], torch.zeros_like(W), 1e-6)


def test_tuple_caches_of_numpy_arrays_are_taken():
    parameters, X = {name: each.numpy() for name, each in random_parameters(DIMS).items()}, normal(6, 7)
    AL, caches = L_model_forward(X, parameters, False)
    as_numpy = [
        (tuple(each.numpy() for each in cache["linear_cache"].values()), cache["activation_cache"].numpy())
        for cache in caches
    ]
    ours, theirs = L_model_backward(AL.numpy(), Y.numpy(), as_numpy, l2=0.1), L_model_backward(AL, Y, caches, l2=0.1)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("rate", [None, True, "0.1", 0, -1.0, float("nan"), float("inf"), [0.1]], ids=repr)
def test_a_learning_rate_that_is_none_is_refused(rate):
    said = re.escape(f"wants a positive and finite learning_rate, got {rate!r}")
    with pytest.raises(ValueError, match=said):
        update_parameters({"W1": W, "b1": b}, {"dW1": W, "db1": b}, rate)
    with pytest.raises(ValueError, match=said):
        L_layer_model(*blobs(40), DIMS, rate, 10, 10)


@pytest.mark.parametrize("name", ["B1", "w1", "W", "b", "bias1", "gamma1", "W1x"])
def test_a_name_that_no_network_has_is_refused_and_nothing_is_updated(name):
    parameters = {"W1": W, "b1": b, name: b}
    with pytest.raises(ValueError, match=rf"^update_parameters wants parameters W.*got '{name}'"):
        update_parameters(parameters, {"dW1": W, "db1": b, f"d{name}": b}, 0.1)
    assert parameters == {"W1": W, "b1": b, name: b}


@pytest.mark.parametrize(
    ("grads", "said"),
    [
        ({"dW1": W}, "wants the gradient db1 in grads, got a dict of dW1"),
        ({}, "wants the gradient dW1 in grads, got a dict of nothing"),
        ({"dW1": W.T, "db1": b}, r"wants dW1 of the shape of W1, \(4, 5\), got \(5, 4\)"),
        ({"dW1": W, "db1": b[0]}, r"wants db1 of the shape of b1, \(4, 1\), got \(1,\)"),
    ],
)
def test_gradients_that_are_missing_or_of_another_shape_are_named_and_nothing_is_updated(grads, said):
    parameters = {"W1": W, "b1": b}
    with pytest.raises(ValueError, match=f"^update_parameters {said}"):
        update_parameters(parameters, grads, 0.1)
    assert parameters == {"W1": W, "b1": b}


def test_parameters_under_autograd_are_refused_by_name():
    parameters = {"W1": W.clone(), "b1": b.clone().requires_grad_()}
    with pytest.raises(ValueError, match=r"^update_parameters wants b1 without autograd, got one that requires grad"):
        update_parameters(parameters, {"dW1": W, "db1": b}, 0.1)


def test_a_missing_parameter_is_named_by_what_is_there():
    parameters = random_parameters(DIMS)
    parameters["B1"] = parameters.pop("b1")
    with pytest.raises(
        ValueError, match=r"^L_model_forward wants parameters W1, b1 and so on, got a dict of W1, .*, B1$"
    ):
        L_model_forward(normal(6, 7), parameters, False)


NUMBERS = [0, 1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize("shape", [(7,), (1, 7), (7, 1)])
@pytest.mark.parametrize("array", [torch.tensor, np.array])
def test_class_numbers_are_refused_with_the_way_to_convert_them(array, shape):
    Y_wrong = array(NUMBERS).reshape(shape)
    AL, caches = L_model_forward(normal(6, 7), random_parameters(DIMS), False)
    way = "torch.eye(4)[Y.ravel()].T" if array is torch.tensor else "numpy.eye(4)[numpy.ravel(Y)].T"
    assert np.array_equal(eval(way, {"torch": torch, "numpy": np, "Y": Y_wrong}), np.eye(4)[NUMBERS].T)
    hint = re.escape(f"make columns of class numbers by {way}")
    for call in (
        lambda: compute_cost(AL, Y_wrong),
        lambda: L_model_backward(AL, Y_wrong, caches),
        lambda: Predict(normal(6, 7), Y_wrong, random_parameters(DIMS)),
        lambda: L_layer_model(normal(6, 7), Y_wrong, DIMS, 0.1, 10, 5),
    ):
        with pytest.raises(ValueError, match=hint):
            call()


@pytest.mark.parametrize(
    "cache", [None, A, {"A": A}, (A, W), {"linear_cache": (A, W, b)}], ids=lambda c: type(c).__name__
)
def test_a_linear_cache_that_is_none_is_refused(cache):
    with pytest.raises(ValueError, match=r"^linear_backward wants A, W, b in cache, got "):
        linear_backward(Z, cache)


@pytest.mark.parametrize("cache", [None, {"A": A, "W": W, "b": b}, (A, W, b)], ids=["None", "linear", "tuple"])
def test_a_layers_cache_that_is_none_is_refused(cache):
    said = "^linear_activation_backward wants linear_cache, activation_cache in cache, got "
    with pytest.raises(ValueError, match=said):
        linear_activation_backward(Z, cache, "relu")


# what is taken


@pytest.mark.parametrize("l2", [0.0, 0.3, torch.tensor(0.3)], ids=repr)
@pytest.mark.parametrize("layer_as", [dict, tuple])
def test_tuples_are_taken_wherever_a_cache_is_read(l2, layer_as):
    parameters, Y = random_parameters(DIMS), one_hot(4, 7)
    AL, caches = L_model_forward(normal(6, 7), parameters, False)
    as_tuples = [
        {**cache, "linear_cache": tuple(cache["linear_cache"].values())} if layer_as is dict
        else (tuple(cache["linear_cache"].values()), cache["activation_cache"])
        for cache in caches
    ]  # fmt: skip
    ours, theirs = L_model_backward(AL, Y, as_tuples, l2=l2), L_model_backward(AL, Y, caches, l2=l2)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_data_frame_is_taken_as_an_array():
    X = normal(6, 7)
    parameters = random_parameters(DIMS)
    frame = pd.DataFrame(X.numpy())
    assert torch.equal(L_model_forward(frame, parameters, False)[0], L_model_forward(X, parameters, False)[0])
    accuracy = Predict(frame, pd.DataFrame(one_hot(4, 7).numpy().astype(int)), parameters)
    assert 0 <= accuracy <= 100


def test_the_briefs_natural_first_call_works():
    """NumPy's float64 data, and parameters as initialize_parameters gives them."""
    X, Y = (each.numpy() for each in blobs(40))
    parameters = initialize_parameters(DIMS)
    start = {name: each.clone() for name, each in parameters.items()}
    for _ in range(3):
        AL, caches = L_model_forward(X, parameters, False)
        cost = compute_cost(AL, Y)
        grads = L_model_backward(AL, Y, caches)
        update_parameters(parameters, grads, 0.1)
    assert cost.dtype == AL.dtype == torch.float32
    assert all(each.dtype == torch.float32 for each in (*grads.values(), *parameters.values()))
    assert all(not torch.equal(parameters[name], start[name]) for name in ("W1", "W2", "W3"))
    double = {name: each.double() for name, each in start.items()}
    assert_close(L_model_forward(X, start, False)[0].double(), L_model_forward(X, double, False)[0], 1e-5)


# nothing is written into an argument


def steps(X, Y, parameters):
    """Take two steps with batch norm, as a student's loop does."""
    for _ in range(2):
        AL, caches = L_model_forward(X, parameters, True)
        update_parameters(parameters, L_model_backward(AL, Y, caches, l2=0.1), 0.1)
    return parameters


def test_memory_mapped_read_only_and_immutable_parameters_work_and_stay_as_they_are(tmp_path):
    X, Y = blobs(40)
    start = {name: each.numpy() for name, each in steps(X, Y, random_parameters(DIMS)).items()}
    expected = steps(X, Y, {name: torch.tensor(each) for name, each in start.items()})
    for name, each in start.items():
        np.save(tmp_path / f"{name}.npy", each)

    def frozen(array):
        array = array.copy()
        array.flags.writeable = False
        return array

    kinds = {
        "memory-mapped": {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in start},
        "read-only": {name: frozen(each) for name, each in start.items()},
        "immutable bytes": {name: np.frombuffer(each.tobytes()).reshape(each.shape) for name, each in start.items()},
    }
    for kind, given in kinds.items():
        held, before = dict(given), {name: each.copy() for name, each in given.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            steps(X, Y, held)
        for name, tensor in expected.items():
            assert_close(torch.as_tensor(held[name]), tensor, 1e-12)
            assert np.array_equal(given[name], before[name]), f"{kind} {name}"
    assert isinstance(kinds["memory-mapped"]["W1"].base, mmap.mmap)


def test_a_shallow_copy_of_parameters_is_a_copy():
    X, Y = blobs(40)
    parameters = steps(X, Y, random_parameters(DIMS))
    best = dict(parameters)
    before = {name: each.clone() for name, each in best.items()}
    steps(X, Y, parameters)
    assert all(torch.equal(best[name], before[name]) for name in best)
    assert all(not torch.equal(best[name], parameters[name]) for name in ("W1", "b1", "mean1", "var1"))


# batch norm and prediction


@pytest.mark.parametrize("X", [normal(6, 1), normal(3, 6, 1)], ids=["one example", "one for each network"])
def test_one_example_to_train_on_with_batch_norm_is_refused_with_the_way_to_predict(X):
    parameters = steps(*blobs(40), random_parameters(DIMS))
    before = dict(parameters)
    with pytest.raises(ValueError, match=r"^L_model_forward wants two examples or more .*got 1: .*inference=True"):
        L_model_forward(X, parameters, True)
    assert parameters == before
    assert L_model_forward(X, parameters, True, inference=True)[0].shape[-1] == 1


def test_predict_refuses_weights_without_running_statistics_when_told_of_batch_norm():
    X, Y = blobs(40)
    trained = steps(X, Y, random_parameters(DIMS))
    weights = {name: each for name, each in trained.items() if name[0] in "Wb"}
    with pytest.raises(ValueError, match=r"wants running statistics mean1"):
        Predict(X, Y, weights, use_batchnorm=True)
    assert Predict(X, Y, trained) == Predict(X, Y, trained, use_batchnorm=True)
    assert Predict(X, Y, weights) == Predict(X, Y, trained, use_batchnorm=False)


# L_layer_model


def test_unscaled_pixels_are_warned_of_and_scaled_ones_are_not():
    X, Y = blobs(40)
    pixels = 255 * (X - X.min()) / (X.max() - X.min())
    for unscaled in (pixels, pixels / 4, 257 * pixels, pixels - pixels.mean()):
        said = rf"^L_layer_model got an X of values up to {unscaled.abs().max():g}, as unscaled pixels .*divide by 255"
        with pytest.warns(RuntimeWarning, match=said):
            L_layer_model(unscaled, Y, DIMS, 0.009, 2, 10, progress=False)
    for scaled in (pixels / 255, X, (pixels - pixels.mean()) / pixels.std()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            L_layer_model(scaled, Y, DIMS, 0.009, 2, 10, progress=False)


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_whole_numbers_as_pixels_are_refused_with_the_way_to_convert_them(kind):
    X, Y = blobs(40)
    with pytest.raises(
        ValueError,
        match=r"^L_layer_model wants X of float32 or float64, got torch.u?int\d+: .*asarray\(X, 'float32'\) / 255",
    ):
        L_layer_model(X.abs().numpy().astype(kind), Y, DIMS, 0.009, 2, 10)


def interrupt_at(step):
    def progress(snapshot):
        if snapshot.step == step:
            raise KeyboardInterrupt

    return progress


def test_ctrl_c_in_a_model_ends_the_callers_loop_and_leaves_what_was_reached():
    X, Y = blobs(40)
    options = {"validation": blobs(90, seed=1), "evaluate_every": 10, "patience": 1000}
    begun = []
    with pytest.raises(KeyboardInterrupt) as stopped:
        for seed in range(3):
            begun.append(seed)
            L_layer_model(X, Y, DIMS, 0.1, 400, 10, progress=interrupt_at(300), seed=seed, **options)
    assert begun == [0]
    assert isinstance(stopped.value, TrainingInterrupted)
    assert re.fullmatch(
        r"at step 300; this error holds the best so far \(step \d+\) in \.parameters, \.costs", str(stopped.value)
    )
    expected, costs = L_layer_model(X, Y, DIMS, 0.1, 290, 10, progress=False, **options)
    assert stopped.value.costs[:2] == costs
    for name, each in expected.items():
        assert_close(stopped.value.parameters[name], each, 1e-12)


def test_ctrl_c_in_train_ends_in_a_keyboard_interrupt_with_the_result():
    X, Y = blobs(40)
    with pytest.raises(
        KeyboardInterrupt, match=r"at step 200; this error holds the best so far \(step \d+\) in \.result"
    ) as stopped:
        train(X, Y, DIMS, learning_rate=0.1, max_steps=400, batch_size=10, seeds=[0, 1], progress=interrupt_at(200))
    assert stopped.value.result.stop_reason == ["interrupted"] * 2
    assert stopped.value.result.best_step == [200] * 2


NO_DICT = [None, [1], "W1", 3]


@pytest.mark.parametrize("value", NO_DICT, ids=repr)
def test_what_is_no_dict_of_parameters_or_gradients_is_refused_by_name(value):
    for function, call in {
        "L_model_forward": lambda: L_model_forward(torch.ones(2, 3), value, False),
        "predict": lambda: predict(torch.ones(2, 3), torch.eye(3), value),
        "update_parameters": lambda: update_parameters(value, {}, 0.1),
    }.items():
        with pytest.raises(ValueError, match=rf"^{function} wants a dict as parameters, got "):
            call()
    with pytest.raises(ValueError, match=r"^update_parameters wants a dict as grads, got "):
        update_parameters({"W1": W, "b1": b}, value, 0.1)


@pytest.mark.parametrize("caches", [None, [], {}, "caches"], ids=repr)
def test_what_is_no_list_of_caches_is_refused_by_name(caches):
    with pytest.raises(ValueError, match=r"^L_model_backward wants a list of the caches of all layers, got "):
        L_model_backward(torch.full((3, 4), 1 / 3), torch.eye(3)[:, [0, 1, 2, 0]], caches)


@pytest.mark.parametrize("name", [1, "W0", "b01", "mean0"], ids=repr)
def test_a_name_whose_number_is_none_of_a_layer_is_refused(name):
    with pytest.raises(ValueError, match=rf"^update_parameters wants parameters W.*got .*{name}"):
        update_parameters({name: W}, {f"d{name}": W}, 0.1)


@pytest.mark.parametrize("name", ["mean1", "var2", "mean9"])
def test_statistics_of_no_hidden_layer_are_refused(name):
    with pytest.raises(ValueError, match=f"^update_parameters wants .* layer's number, .* below 1, got '{name}'"):
        update_parameters({"W1": W, "b1": W[:, :1], name: W}, {"dW1": W, "db1": W[:, :1]}, 0.1)


@pytest.mark.parametrize(
    "numbers",
    [
        pd.DataFrame({"a": [True, False], "b": [0.5, 1.0]}),
        pd.DataFrame({"a": [1.0, 2.0]}, dtype="Float64").astype(object),
        np.ones((2, 2), dtype=object),
        np.ones((2, 2), dtype=np.longdouble),
    ],
    ids=["mixed", "objects", "array of objects", "longdouble"],
)
def test_numbers_that_torch_does_not_take_are_refused_with_their_dtype_and_the_cure(numbers):
    with pytest.raises(ValueError, match=r"^relu wants an array of numbers as Z, got ") as caught:
        relu(numbers)
    cure = re.search(r": convert it by (.*)$", str(caught.value))[1]
    assert f"of {np.asarray(numbers).dtype}:" in str(caught.value)
    assert relu(eval(cure, {"numpy": np, "Z": numbers}))[0].shape == numbers.shape  # the hint is code that works


@pytest.mark.parametrize("l2", [-1.0, float("nan"), float("inf")])
def test_an_array_of_lambdas_is_at_least_0_and_finite(l2):
    parameters = {"W1": torch.ones(3, 2), "b1": torch.zeros(3, 1)}
    AL, Y = torch.full((3, 4), 1 / 3), torch.eye(3)[:, [0, 1, 2, 0]]
    with pytest.raises(ValueError, match=r"^compute_cost wants l2 of at least 0 and finite, got "):
        compute_cost(AL, Y, parameters=parameters, l2=np.array(l2))


@pytest.mark.parametrize("lacking", ["mean1", "var1"])
def test_parameters_with_half_of_the_running_statistics_are_refused(lacking):
    parameters = random_parameters(DIMS) | {"mean1": torch.zeros(DIMS[1], 1), "var1": torch.ones(DIMS[1], 1)}
    del parameters[lacking]
    X, Y = blobs(20)
    said = f"wants running statistics {lacking}, got parameters without it: train with batch norm first"
    for measure in (predict, evaluate):
        with pytest.raises(ValueError, match=said):
            measure(X, Y, parameters)


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (2,)])
def test_statistics_of_another_number_of_units_are_refused(shape):
    with pytest.raises(ValueError, match=r"^apply_batchnorm wants mean of shape \(\.\.\., 3, 1\) for .*, got "):
        apply_batchnorm(torch.ones(3, 4), mean=torch.zeros(shape), var=torch.ones(3, 1))


# every argument of every public function, and values that it cannot be

PARAMETERS = random_parameters(DIMS) | {
    f"{kind}{layer}": torch.ones(DIMS[layer], 1, dtype=torch.float64) for kind in ("mean", "var") for layer in (1, 2)
}
SET, LAYER = blobs(20), linear_activation_forward(A, W, b, "relu")[1]
AL, CACHES = L_model_forward(SET[0], dict(PARAMETERS), True)
TRAINING = {
    "X": SET[0], "Y": SET[1], "layers_dims": DIMS, "learning_rate": 0.1, "batch_size": 10, "use_batchnorm": False,
    "l2": 0.0, "validation": SET, "evaluate_every": 2, "patience": 9, "min_delta": 0.0, "progress": False,
}  # fmt: skip
GOOD = {  # arguments that each function takes
    initialize_parameters: {"layer_dims": DIMS, "seed": 0, "dtype": torch.float32},
    linear_forward: {"A": A, "W": W, "b": b},
    softmax: {"Z": Z},
    relu: {"Z": Z},
    linear_activation_forward: {"A_prev": A, "W": W, "B": b, "activation": "relu"},
    L_model_forward: {"X": SET[0], "parameters": PARAMETERS, "use_batchnorm": True, "inference": False},
    compute_cost: {"AL": AL, "Y": SET[1], "parameters": PARAMETERS, "l2": 0.1},
    l2_penalty: {"parameters": PARAMETERS, "l2": 0.1},
    apply_batchnorm: {"A": A, "mean": torch.zeros(5, 1), "var": torch.ones(5, 1)},
    batchnorm_forward: {"A": A},
    linear_backward: {"dZ": Z, "cache": LAYER["linear_cache"], "input_gradient": True},
    linear_activation_backward: {"dA": Z, "cache": LAYER, "activation": "relu", "input_gradient": True},
    relu_backward: {"dA": Z, "activation_cache": Z},
    softmax_backward: {"dA": Z, "activation_cache": Z},
    batchnorm_backward: {"dNA": A, "cache": batchnorm_forward(A)[1]},
    L_model_backward: {"AL": AL, "Y": SET[1], "caches": CACHES, "l2": 0.1},
    update_parameters: {"parameters": PARAMETERS, "grads": L_model_backward(AL, SET[1], CACHES), "learning_rate": 0.1},
    predict: {"X": SET[0], "Y": SET[1], "parameters": PARAMETERS, "use_batchnorm": None},
    L_layer_model: {**TRAINING, "num_iterations": 2, "seed": 0},
    train: {**TRAINING, "max_steps": 2, "seeds": [0, 1], "shuffle_seed": 0},
}
WRONG = {
    "None": None, "True": True, "text": "x", "3": 3, "a list": [], "a dict": {}, "an object": object(),
    "NaN": math.nan, "infinity": math.inf, "-1": -1, "a huge number": 10**400, "ragged": [[1.0, 2.0], [3.0]],
    "texts": np.array(["a", "b"]), "whole numbers": torch.ones(4, 7, dtype=torch.int64), "complex": 1j,
    "another shape": torch.ones(11, 13), "a vector": torch.ones(3), "one of a pair": (A,),
}  # fmt: skip
NUMBER = {"3", "True", "-1"}
TAKEN = {  # what is right for an argument after all
    "seed": NUMBER, "shuffle_seed": NUMBER, "progress": {"True"}, "validation": {"None"}, "learning_rate": {"3"},
    "l2": {"3", "True", "another shape", "a vector"}, "min_delta": {"3"}, "batch_size": {"3"}, "patience": {"3"},
    "evaluate_every": {"3"}, "max_steps": {"3"}, "num_iterations": {"3"}, "inference": {"True"},
    "input_gradient": {"True"}, "use_batchnorm": {"True", "None"},
}  # fmt: skip
TAKEN_BY = {
    (relu, "Z"): {"NaN", "infinity", "a list", "another shape", "a vector"},
    (softmax, "Z"): {"another shape"},
    (batchnorm_forward, "A"): {"another shape"},
}
PART_OF = {"parameters": r"parameters|[Wb]\d", "grads": r"grads|d[Wb]\d"}  # what names an argument, beside its name


def raised(function, **changes):
    arguments = {name: dict(each) if isinstance(each, dict) else each for name, each in GOOD[function].items()}
    with pytest.raises(ValueError) as error:
        function(**(arguments | changes))
    return str(error.value)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("function", GOOD, ids=lambda function: function.__name__)
def test_a_wrong_value_of_any_argument_is_refused_by_the_names_of_function_and_argument(function, wrong):
    for argument in GOOD[function]:
        if wrong not in TAKEN_BY.get((function, argument), TAKEN.get(argument, set())):
            said = raised(function, **{argument: WRONG[wrong]})
            assert re.match(rf"{function.__name__} wants .*\b({PART_OF.get(argument, argument)})\b", said), said
            assert len(said) < 400


def test_every_public_function_is_among_them():
    public = {getattr(pipeline, name) for name in pipeline.__all__}
    assert public - {TrainingInterrupted, pipeline.TrainingResult} == set(GOOD)


@pytest.mark.parametrize("name", ["W2", "b2", "mean2", "var2"])
@pytest.mark.parametrize(
    "array", [torch.ones(11, 13, dtype=torch.float64), None, "text"], ids=["shape", "None", "text"]
)
@pytest.mark.parametrize("function", [L_model_forward, predict])
def test_a_parameter_of_a_later_layer_is_named_and_no_statistic_changes(function, name, array):
    parameters = PARAMETERS | {name: array}
    assert re.match(rf"{function.__name__} wants .*\b{name}\b", raised(function, parameters=parameters))
    assert parameters["mean1"] is PARAMETERS["mean1"]


@pytest.mark.parametrize("part", [None, "text", {}, (1, 2)], ids=str)
@pytest.mark.parametrize("k", range(3))
def test_a_cache_of_any_layer_is_named(k, part):
    caches = [*CACHES]
    caches[k] = part
    assert re.match(rf"L_model_backward wants .* caches\[{k}\]", raised(L_model_backward, caches=caches))


def test_data_under_autograd_train_and_leave_none_of_it():
    X, Y = SET
    parameters, _ = L_layer_model(X.clone().requires_grad_(), Y, DIMS, 0.1, 2, 10)
    assert not any(each.requires_grad for each in parameters.values())
