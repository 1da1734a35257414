"""What docs/derivations.md derives is so, its Python prints what it says, and the tests that it names exist."""

import inspect
import math
import re
from pathlib import Path

import pytest
import torch
from reference import DIMS, assert_close, batchnorm, blobs, normal, random_parameters

import pipeline
from pipeline import (
    L_model_backward,
    L_model_forward,
    batchnorm_backward,
    initialize_parameters,
    linear_forward,
    relu,
    softmax,
    softmax_backward,
    update_parameters,
)
from pipeline.network.forward import BATCHNORM_EPSILON, batchnorm_forward
from pipeline.network.prediction import BLOCK

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
FORMULAS = [body for kind, body in BLOCKS if kind == "math"] + re.findall(r"\$`([^`]+)`\$", PROSE)
REFUSED = r"\\(operatorname|def|newcommand|renewcommand|let|label|require|href|style|class|cssId|unicode)\b"


def jacobian(function, at):
    return torch.autograd.functional.jacobian(function, at)


@pytest.mark.parametrize("scale", [1.0, 1e-3], ids=["as drawn", "eps rules"])
def test_the_jacobian_of_batch_norm_is_as_derived_step_by_step(scale):
    m, eps = 7, BATCHNORM_EPSILON
    a, ones, identity = scale * normal(m), torch.ones(m).double(), torch.eye(m).double()
    c, v = a - a.mean(), (a - a.mean()).square().mean()
    s = (v + eps).sqrt()
    n, Q = c / s, identity - torch.outer(ones, ones) / m
    assert_close(jacobian(lambda a: a - a.mean(), a), Q)
    assert_close(jacobian(lambda c: c.square().mean(), c), 2 / m * c)
    assert_close(jacobian(lambda c: (c.square().mean() + eps).sqrt(), c), n / m)
    assert_close(
        jacobian(lambda c: c / (c.square().mean() + eps).sqrt(), c), (identity - torch.outer(n, n) / m) / s, 1e-9
    )
    K = (identity - torch.outer(ones, ones) / m - torch.outer(n, n) / m) / s
    assert_close((identity - torch.outer(n, n) / m) @ Q / s, K)
    assert_close(jacobian(lambda a: batchnorm(a[None])[0], a), K, 1e-9)
    assert_close(K @ ones, 0 * ones, 1e-11)
    assert_close(K @ n, eps / (v + eps) * n / s)
    assert_close(n @ n / m, v / (v + eps))
    g = normal(m)
    v_bar = -(g * c).sum() / (2 * s**3)
    mu_bar = -g.sum() / s - 2 * v_bar / m * c.sum()
    of_the_paper = g / s + 2 * v_bar / m * c + mu_bar / m
    ours = batchnorm_backward(g[None], batchnorm_forward(a[None])[1])[0]
    assert_close(ours, K @ g)
    assert_close(ours, of_the_paper)


def test_the_jacobian_of_softmax_is_as_derived():
    z, g, y = normal(5), normal(5), torch.softmax(normal(5), dim=0)  # y sums to one and is not one-hot
    p = torch.softmax(z, dim=0)
    J = p.diag() - torch.outer(p, p)
    assert_close(jacobian(lambda z: torch.softmax(z, dim=0), z), J)
    assert_close(softmax_backward(g[:, None], z[:, None])[:, 0], J @ g)
    assert_close(softmax_backward((-y / p)[:, None], z[:, None])[:, 0], p - y)
    assert_close(J @ torch.ones(5).double(), torch.zeros(5).double())


def test_a_cotangent_of_ones_is_blind_and_a_random_one_is_not():
    A = relu(normal(5, 9))[0]
    _, cache = batchnorm_forward(A)
    for backward in (lambda G: batchnorm_backward(G, cache), lambda G: softmax_backward(G, A)):
        assert backward(torch.ones_like(A)).abs().max() < 1e-13
        assert backward(normal(5, 9)).abs().max() > 1e-2


def test_a_he_start_keeps_the_mean_square_and_half_of_it_halves_it():
    for factor, expected in ((1.0, 1.0), (0.5, 2.0**-6)):
        A, parameters = normal(400, 300), initialize_parameters([400] * 7, dtype=torch.float64)
        for layer in range(1, 7):
            A, _ = relu(linear_forward(A, factor**0.5 * parameters[f"W{layer}"], parameters[f"b{layer}"])[0])
        assert A.square().mean().item() == pytest.approx(expected, rel=0.3)


def test_units_that_start_alike_stay_alike():
    parameters = random_parameters(DIMS)
    parameters["W1"][1], parameters["b1"][1], parameters["W2"][:, 1] = (
        each.clone() for each in (parameters["W1"][0], parameters["b1"][0], parameters["W2"][:, 0])
    )
    X, Y = blobs(30)
    for _ in range(20):
        AL, caches = L_model_forward(X, parameters, False)
        grads = L_model_backward(AL, Y, caches)
        assert grads["dW1"][0].abs().max() > 1e-6
        update_parameters(parameters, grads, 0.1)
    for alike in (parameters["W1"], parameters["b1"], parameters["W2"].mT):
        assert_close(alike[1], alike[0], 1e-12)
        assert (alike[2] - alike[0]).abs().max() > 1e-3


def test_from_a_start_of_zeros_nothing_but_the_last_bias_learns():
    parameters = {name: 0 * each for name, each in initialize_parameters(DIMS, dtype=torch.float64).items()}
    X, Y = blobs(30)
    AL, caches = L_model_forward(X, parameters, False)
    grads = L_model_backward(AL, Y, caches)
    learns = {name for name in parameters if grads[f"d{name}"].abs().max() > 0}
    assert learns == {f"b{len(DIMS) - 1}"}


def test_a_step_changes_the_cost_as_the_second_order_says():
    X, Y = blobs(30)
    start = random_parameters(DIMS)  # at biases of zero, pre-activations stand on the kink of ReLU
    sizes = [each.numel() for each in start.values()]

    def parameters_of(theta):
        parts = theta.split(sizes)
        return {name: part.view_as(start[name]) for name, part in zip(start, parts, strict=True)}

    def cost(theta):
        A, L = X, len(DIMS) - 1
        for layer in range(1, L + 1):
            A = parameters_of(theta)[f"W{layer}"] @ A + parameters_of(theta)[f"b{layer}"]
            A = A.clamp(min=0) if layer < L else A
        return -(Y * A.log_softmax(0)).sum(0).mean()

    theta = torch.cat([each.flatten() for each in start.values()])
    AL, caches = L_model_forward(X, start, False)
    grads = L_model_backward(AL, Y, caches)
    g = torch.cat([grads[f"d{name}"].flatten() for name in start])
    h = g @ torch.autograd.functional.hessian(cost, theta) @ g / (g @ g)
    for alpha in (1e-4, 1e-3):
        after = update_parameters({name: each.clone() for name, each in start.items()}, grads, alpha)
        change = cost(torch.cat([each.flatten() for each in after.values()])) - cost(theta)
        assert_close(change / -(alpha * g @ g), 1 - alpha * h / 2, 100 * alpha**2)
        assert abs(alpha * h / 2) > 100 * alpha**2  # the second order shows


def test_its_python_prints_what_it_says(capsys):
    names, printed = {}, []
    for kind, body in BLOCKS:
        if kind == "python":
            exec(compile(body, "docs/derivations.md", "exec"), names)
        elif kind == "text":
            printed.append(body)
    assert "".join(printed) == capsys.readouterr().out


def test_its_numbers_of_floating_point_are_right():
    single, double = torch.finfo(torch.float32), torch.finfo(torch.float64)
    numbers = {
        r"z \approx 88.7": math.log(single.max),
        r"1.2 \cdot 10^{-38}": single.tiny * 1e38 / 10**0,
        "87.3 nats": -math.log(single.tiny),
        "708.4 in": -math.log(double.tiny),
        r"\log 10 = 2.303": math.log(10.0),
        r"\sqrt\varepsilon = 316": BATCHNORM_EPSILON**-0.5,
        r"\epsilon = 2.2 \cdot 10^{-16}": double.eps * 1e16,
        r"\epsilon^{1/3} = 6 \cdot 10^{-6}": double.eps ** (1 / 3) * 1e6,
        r"\epsilon^{2/3} = 4 \cdot 10^{-11}": double.eps ** (2 / 3) * 1e11,
        r"2 \cdot 10^{-5}": single.eps ** (2 / 3) * 1e5,
    }
    for text, value in numbers.items():
        assert text in PAGE, text
        said = re.findall(
            r"(?<![\^{/\d-])\d+(?:\.\d+)?(?![\d/])", text.replace("10^", "x^").replace("log 10", "log x")
        )[0]
        assert round(float(value), len(said.partition(".")[2])) == float(said), text


def test_every_test_that_it_names_exists():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)\(", sources, flags=re.MULTILINE))
    named = re.findall(r"`(test_\w+)`", PROSE)
    assert len(named) > 30
    assert set(named) <= defined, set(named) - defined
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[2:]:
        assert "**Tested by** `test_" in section, section.splitlines()[0]
        if "How a gradient" not in section:
            assert "**Numerically.**" in section or "whole network" in section, section.splitlines()[0]
            assert "**Shapes.**" in section or "| `Z`, `A`, `dA`, `dZ` |" in section, section.splitlines()[0]


def test_it_names_every_function_of_the_network():
    functions = {name for name in pipeline.__all__ if name.islower() and inspect.isfunction(getattr(pipeline, name))}
    functions |= {"L_model_forward", "L_model_backward", "L_layer_model"}
    assert {name for name in functions if f"`{name}`" not in PROSE} == set()


def test_github_renders_its_formulas():
    assert len(FORMULAS) > 100
    for formula in FORMULAS:
        assert not re.search(REFUSED, formula), formula
        assert formula.count("{") - formula.count(r"\{") == formula.count("}") - formula.count(r"\}"), formula
        assert re.findall(r"\\begin{(\w+)}", formula) == re.findall(r"\\end{(\w+)}", formula), formula
        assert formula.count(r"\left") - formula.count(r"\leftarrow") == formula.count(r"\right"), formula
        assert formula.isascii(), formula
    assert not any("\n" in formula for formula in re.findall(r"\$`([^`]+)`\$", PROSE))
    outside = re.sub(r"\$`[^`]+`\$|`[^`]+`", "", PROSE)
    assert "$" not in outside and "\\" not in outside  # inline mathematics without backquotes meets Markdown's _ and *


def test_its_table_of_contents_is_that_of_its_headings():
    headings = re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    links = re.findall(r"^\d+\. \[(.*)\]\(#(.*)\)$", PAGE, flags=re.MULTILINE)
    assert [f"{k}. {title}" for k, (title, _) in enumerate(links, start=1)] == headings
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    assert softmax is pipeline.softmax


def test_the_page_says_how_many_examples_a_block_of_an_evaluation_has():
    assert f"in blocks of {BLOCK:,} whose costs" in PROSE
