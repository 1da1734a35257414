"""The table of ``make gradcheck`` lists every tensor and sees a gradient that is wrong."""

import math
import re

import pytest
import torch
from reference import assert_close, normal

import pipeline.network.backward
from tools import gradcheck

NETWORKS = ["network", "network, L2", "network, batch norm", "network, batch norm, L2"]
PARAMETERS = [f"d{kind}{layer}" for layer in (1, 2, 3, 4) for kind in "Wb"]
OUTPUTS = [f"dA{layer}" for layer in (1, 2, 3, 4)]
TENSORS = {
    "linear_backward": ["dA_prev", "dW", "db"],
    "relu_backward": ["dZ"],
    "softmax_backward": ["dZ"],
    "batchnorm_backward": ["dA"],
    **dict.fromkeys(NETWORKS, PARAMETERS + OUTPUTS),
}
TITLE = re.compile(r"(\S.*?) +autograd +central differences$")
ROW = re.compile(r"    (d\w+) +(\([^)]*\))((?: +\d\.\de[+-]\d\d){4})( FAIL)?$")


def table(text):
    """Read what was printed: for each title the tensors with their numbers and whether they failed."""
    tables = {}
    for line in text.splitlines():
        assert len(line) <= 80, line
        if title := TITLE.match(line):
            rows = tables[title[1]] = {}
        elif row := ROW.match(line):
            rows[row[1]] = [float(number) for number in row[3].split()], bool(row[4])
    return tables


def test_it_lists_every_tensor_of_every_function_and_network_and_all_are_within_tolerance(capsys):
    gradcheck.main()
    tables = table(capsys.readouterr().out)
    assert {title: list(rows) for title, rows in tables.items()} == TENSORS
    for rows in tables.values():
        for (_, autograd, _, differences), failed in rows.values():
            assert autograd <= 1e-10 and differences <= 1e-6 and not failed
    shown = [numbers for rows in tables.values() for numbers, _ in rows.values()]
    assert all(numbers[2] > 0 for numbers in shown)  # differences are never exact: the two are not one and the same


def statistics_as_constants(dNA, cache):
    return dNA / torch.sqrt(cache["variance"] + 1e-5)


def leaky(dA, Z):
    return dA * torch.where(Z > 0, 1.0, 1e-5)


def without_its_outer_factor(dA, Z):
    return dA - (torch.softmax(Z, dim=-2) * dA).sum(dim=-2, keepdim=True)


def bias_of_the_mean_unit(dZ, cache, **options):
    dA_prev, dW, db = pipeline.linear_backward(dZ, cache, **options)
    return dA_prev, dW, db.mean().expand_as(db)


BIASES = {"db1", "db2", "db3", "db4"}
BELOW_THE_LAST_RELU = {"dW1", "db1", "dW2", "db2", "dW3", "db3", "dA1", "dA2"}
MISTAKES = {
    "batchnorm_backward": (
        statistics_as_constants,
        {"batchnorm_backward": {"dA"}} | dict.fromkeys(NETWORKS[2:], BELOW_THE_LAST_RELU),
    ),
    "relu_backward": (leaky, {"relu_backward": {"dZ"}} | dict.fromkeys(NETWORKS, BELOW_THE_LAST_RELU)),
    "softmax_backward": (
        without_its_outer_factor,
        {"softmax_backward": {"dZ"}} | dict.fromkeys(NETWORKS, BELOW_THE_LAST_RELU | {"dW4", "db4", "dA3"}),
    ),
    "linear_backward": (bias_of_the_mean_unit, {"linear_backward": {"db"}} | dict.fromkeys(NETWORKS, BIASES)),
}


@pytest.mark.parametrize("function", MISTAKES)
def test_a_wrong_gradient_fails_and_is_named_with_what_lies_below_it(monkeypatch, capsys, function):
    mistake, expected = MISTAKES[function]
    monkeypatch.setattr(pipeline.network.backward, function, mistake)
    monkeypatch.setattr(gradcheck, function, mistake)
    if activation := {"relu_backward": "relu", "softmax_backward": "softmax"}.get(function):
        monkeypatch.setitem(pipeline.network.backward.ACTIVATIONS_BACKWARD, activation, mistake)
    with pytest.raises(SystemExit) as caught:
        gradcheck.main()
    failed = {
        title: {name for name, (_, failed) in rows.items() if failed}
        for title, rows in table(capsys.readouterr().out).items()
    }
    assert {title: names for title, names in failed.items() if names} == expected
    said = caught.value.code  # a text: it is printed, and the status is 1
    assert set(re.findall(r"(d\w+) of ([^;]+?)(?=;|\.$)", said)) == {
        (name, title) for title, names in expected.items() for name in names
    }


@pytest.mark.parametrize("wrong", [1e-9, math.nan])
def test_either_reference_alone_fails_a_row(wrong):
    good = (0.0, 0.0)
    assert gradcheck.Row("dW", (1,), good, good).passes
    assert not gradcheck.Row("dW", (1,), (0.0, wrong), good).passes
    assert not gradcheck.Row("dW", (1,), good, (0.0, 1000 * wrong + 1e-6)).passes


def test_central_differences_of_a_cubic_are_its_derivative():
    x, y = normal(3, 2), normal(2, 4)
    gradients = gradcheck.by_central_differences(
        lambda at: (at["x"] ** 3 @ at["y"]).sum(dim=(-2, -1)), {"x": x, "y": y}
    )
    assert_close(gradients["x"], 3 * x**2 * y.sum(dim=1), 1e-8)
    assert_close(gradients["y"], (x**3).sum(dim=0)[:, None].expand(2, 4), 1e-8)


def test_the_points_of_the_networks_are_away_from_the_kinks_of_relu():
    for use_batchnorm in (False, True):
        X, parameters = gradcheck._smooth_point(torch.Generator().manual_seed(1), use_batchnorm)
        _, caches = pipeline.L_model_forward(X, parameters, use_batchnorm)
        assert all(cache["activation_cache"].abs().min() > 1e-3 for cache in caches[:-1])
