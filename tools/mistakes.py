"""Calls of the assignment's functions: what each must give, by autograd, and what it gives with a known mistake.

A mistake is its name in words and its formula: a wrong answer is recognised if it is the answer of a wrong formula.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import pipeline
from pipeline.network.arguments import number_of_layers
from pipeline.network.forward import BATCHNORM_EPSILON
from tools.gradcheck import by_autograd

Values = dict[str, Any]  # by the name of an output: a tensor, or of a cache the list of tensors that it holds
Mistakes = list[tuple[str, Values]]
Function = Callable[[Tensor], Tensor]

SMALLEST, LARGEST = 3, 8  # units and examples; all sizes of a call differ, so that a transposed matrix shows
SMALLEST_VARIANCE = 10  # of a hidden unit that is not constant
NOT_DIVIDED = "not divided by m, the number of examples"
AS_IT_IS = "dA comes back as it is, which is right only where dA is P - Y already"
FOR_LABELS = "P - dA: it takes dA for Y"
AS_EVALUATED = "depends on what else is predicted: batch norm takes the statistics of the evaluated set"
CONVENTIONS = (NOT_DIVIDED, AS_IT_IS, FOR_LABELS)  # no mistakes in a network whose gradients are right


@dataclass(frozen=True)
class Cache:
    """A cache as an argument: as the reader's own forward function makes it, or as the assignment has it."""

    forwards: tuple[str, ...]  # functions that may return it as their second output
    arguments: tuple[Any, ...]  # of these functions
    forms: tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """One call of a function, its right answer, and its wrong ones by the name of the mistake."""

    arguments: tuple[Any, ...]
    right: Values
    mistakes: Mistakes
    where: str = ""
    options: dict[str, Any] = field(default_factory=dict)  # passed on if the function has an argument of that name
    keeps_arguments: bool = True  # as every function but the update must


class Draw:
    """Random tensors in float64, and random sizes."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        """Draw from the normal distribution."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def sizes(self, count: int) -> list[int]:
        """Draw sizes that all differ."""
        order = torch.randperm(LARGEST - SMALLEST + 1, generator=self.generator)
        return (order[:count] + SMALLEST).tolist()

    def one_hot(self, classes: int, m: int) -> Tensor:
        """Draw labels."""
        return torch.eye(classes, dtype=torch.float64)[:, torch.randint(classes, (m,), generator=self.generator)]

    def parameters(self, dims: Sequence[int]) -> dict[str, Tensor]:
        """Draw a network with large hidden activations, so that no eps of batch norm shows, and a small last layer."""
        parameters: dict[str, Tensor] = {}
        for layer, (inputs, units) in enumerate(itertools.pairwise(dims), start=1):
            scale = 0.01 if layer == len(dims) - 1 else 10.0
            parameters |= {f"W{layer}": scale * self(units, inputs), f"b{layer}": scale * self(units, 1)}
        return parameters

    def network(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Draw X, Y and a network until each hidden unit has variance 0, or so much that no eps of batch norm shows."""
        while True:
            *dims, m = self.sizes(5)
            X, Y, parameters = self(dims[0], m), self.one_hot(dims[-1], m), self.parameters(dims)
            _, caches = pipeline.L_model_forward(X, dict(parameters), True)
            variances = torch.cat([cache["batchnorm_cache"]["variance"] for cache in caches[:-1]])
            if ((variances == 0) | (variances > SMALLEST_VARIANCE)).all():
                return X, Y, parameters


# Batch norm, and what it is taken for: the first list is wrong forward, the second backward alone.


def batchnorm(A: Tensor, dim: Any = 1, correction: int = 0) -> Tensor:
    """Normalise over an axis: the examples, if it is right."""
    mean, variance = A.mean(dim, keepdim=True), A.var(dim, correction=correction, keepdim=True)
    return (A - mean) / (variance + BATCHNORM_EPSILON).sqrt()


def batchnorm_of_constants(A: Tensor, mean_is_one: bool = True, variance_is_one: bool = True) -> Tensor:
    """Normalise, and hide from autograd that the mean or the variance depends on A."""
    mean, variance = A.mean(1, keepdim=True), A.var(1, correction=0, keepdim=True)
    mean, variance = mean.detach() if mean_is_one else mean, variance.detach() if variance_is_one else variance
    return (A - mean) / (variance + BATCHNORM_EPSILON).sqrt()


FORWARD_BATCHNORM: list[tuple[str, Function]] = [
    ("the normalised value is thrown away: A comes back", lambda A: A),
    ("normalised over the units, and not over the examples: the wrong axis", lambda A: batchnorm(A, dim=0)),
    ("normalised over the units: the wrong axis; variance divided by m - 1", lambda A: batchnorm(A, 0, correction=1)),
    ("the variance is over the units: the wrong axis", lambda A: (A - A.mean(1, keepdim=True)) / _std(A, dim=0)),
    ("the mean is over the units: the wrong axis", lambda A: (A - A.mean(0, keepdim=True)) / _std(A)),
    ("one mean and one variance for the whole matrix, and not for each unit", lambda A: batchnorm(A, dim=(0, 1))),
    ("A - mean / std: the brackets around A - mean are missing", lambda A: A - A.mean(1, keepdim=True) / _std(A)),
    ("variance divided by m - 1, torch's default, and not by m", lambda A: batchnorm(A, correction=1)),
    ("divided by the variance, and not by its square root", lambda A: batchnorm(A) / _std(A)),
    ("the mean is subtracted, but nothing divided", lambda A: A - A.mean(1, keepdim=True)),
    ("divided by the deviation, but no mean subtracted", lambda A: A / _std(A)),
]
BACKWARD_BATCHNORM: list[tuple[str, Function]] = [
    ("batch norm's mean and variance are taken as constants", batchnorm_of_constants),
    ("batch norm's variance is taken as a constant", lambda A: batchnorm_of_constants(A, mean_is_one=False)),
    ("batch norm's mean is taken as a constant", lambda A: batchnorm_of_constants(A, variance_is_one=False)),
    ("batch norm is left out of the backward pass", lambda A: A + (batchnorm(A) - A).detach()),
]


def _std(A: Tensor, dim: int = 1) -> Tensor:
    return (A.var(dim, correction=0, keepdim=True) + BATCHNORM_EPSILON).sqrt()


# Section 1 of the assignment.


def linear_forward(draw: Draw) -> Iterator[Case]:
    """``Z = W @ A + b``."""
    n, k, m = draw.sizes(3)
    A, W, b = draw(k, m), draw(n, k), draw(n, 1)
    yield Case((A, W, b), {"Z": W @ A + b, "linear_cache": [A, W, b]}, [("b is not added", {"Z": W @ A})])


def softmax(draw: Draw) -> Iterator[Case]:
    """Softmax of each column, and of one with a number so large that ``exp`` overflows."""
    n, m = draw.sizes(2)
    large = draw(n, m)
    large[0, 0] += 2000
    for Z, where in ((draw(n, m), ""), (large, " at large Z")):
        exp_Z = Z.exp()
        largest = (Z - Z.max()).exp()
        yield Case(
            (Z,),
            {"A": torch.softmax(Z, 0), "activation_cache": [Z]},
            [
                ("the sum is over the examples, and not over the classes", {"A": torch.softmax(Z, 1)}),
                ("the sum is over the whole matrix, and not over each column", {"A": largest / largest.sum()}),
                ("exp overflows at large Z: subtract the largest of each column first", {"A": exp_Z / exp_Z.sum(0)}),
                ("0 / 0 at large Z: subtract the largest of each column, not of all", {"A": largest / largest.sum(0)}),
                ("nothing is divided by the sum", {"A": exp_Z}),
            ],
            where,
        )


def relu(draw: Draw) -> Iterator[Case]:
    """Keep what is above zero: ``A = max(Z, 0)``."""
    Z = draw(*draw.sizes(2))
    A = Z.clamp(min=0)
    wrong = [
        ("the absolute value", {"A": Z.abs()}),
        ("Z comes back", {"A": Z}),
        ("1 where Z > 0", {"A": (Z > 0).double()}),
    ]
    yield Case((Z,), {"A": A, "activation_cache": [Z]}, [*wrong, ("A, and not Z", {"activation_cache": [A]})])


def linear_activation_forward(draw: Draw) -> Iterator[Case]:
    """One layer, with each activation."""
    n, k, m = draw.sizes(3)
    A_prev, W, B = draw(k, m), draw(n, k), draw(n, 1)
    Z = W @ A_prev + B
    of = {"relu": Z.clamp(min=0), "softmax": torch.softmax(Z, 0)}
    for activation, other in (("relu", "softmax"), ("softmax", "relu")):
        yield Case(
            (A_prev, W, B, activation),
            {"A": of[activation], "cache": [A_prev, W, B, Z]},
            [(f"takes {other} for {activation}", {"A": of[other]}), ("the activation is left out", {"A": Z})],
            f' with activation "{activation}"',
        )


def forward(
    X: Tensor,
    parameters: Mapping[str, Tensor],
    normalise: Function,
    last: Function | None = None,
    activation: Function = torch.relu,
) -> Tensor:
    """Run the assignment's network by torch's own functions."""
    A, L = X, number_of_layers(parameters)
    for layer in range(1, L):
        A = normalise(activation(parameters[f"W{layer}"] @ A + parameters[f"b{layer}"]))
    Z = parameters[f"W{L}"] @ A + parameters[f"b{L}"]
    return last(Z) if last else torch.softmax(Z, 0)


def of_small_logits(X: Tensor, parameters: dict[str, Tensor], normalise: Function) -> dict[str, Tensor]:
    """Scale the last layer so that all probabilities are above 0.05: no guard against zero shows, as in AL + eps."""
    L = number_of_layers(parameters)
    scale = 0.4 / forward(X, parameters, normalise, as_it_is).abs().max()
    return parameters | {name: scale * parameters[name] for name in (f"W{L}", f"b{L}")}


def as_it_is(A: Tensor) -> Tensor:
    """Stand in for batch norm where there is none."""
    return A


def L_model_forward(draw: Draw) -> Iterator[Case]:
    """Run the whole network, without and with batch norm."""
    X, _, drawn = draw.network()
    for use_batchnorm, normalise in ((False, as_it_is), (True, batchnorm)):
        parameters = of_small_logits(X, drawn, normalise)
        wrong = FORWARD_BATCHNORM if use_batchnorm else [("batch norm, which is off", batchnorm)]
        no_relu = forward(X, parameters, normalise, lambda Z: torch.softmax(torch.relu(Z), 0))
        over_examples = forward(X, parameters, normalise, lambda Z: torch.softmax(Z, 1))
        before = forward(X, parameters, torch.relu, activation=batchnorm)
        yield Case(
            (X, parameters, use_batchnorm),
            {"AL": forward(X, parameters, normalise)},
            [
                *((name, {"AL": forward(X, parameters, function)}) for name, function in wrong),
                ("ReLU before the softmax of the last layer", {"AL": no_relu}),
                ("softmax over the examples, and not over the classes", {"AL": over_examples}),
                *([("batch norm before ReLU, and not after it", {"AL": before})] if use_batchnorm else []),
            ],
            " with batch norm" * use_batchnorm,
        )


def compute_cost(draw: Draw) -> Iterator[Case]:
    """Cross-entropy; also where some probabilities are zero."""
    n, m = draw.sizes(2)
    Y = draw.one_hot(n, m)
    certain = Y.clone()
    certain[:, 1:] = torch.softmax(draw(n, m - 1), 0)
    for AL, where in ((torch.softmax(draw(n, m), 0), ""), (certain, " where a probability is 0")):
        sum_of_losses = -(Y * AL.log()).nansum()
        binary = -torch.nansum(Y * AL.log() + (1 - Y) * (1 - AL).log())
        yield Case(
            (AL, Y),
            {"cost": sum_of_losses / m},
            [
                ("the sum over the examples, and not the mean", {"cost": sum_of_losses}),
                ("divided by the number of classes, and not by m", {"cost": sum_of_losses / n}),
                ("divided by the number of classes as well as by m", {"cost": sum_of_losses / m / n}),
                ("the minus sign is missing", {"cost": -sum_of_losses / m}),
                ("it has the binary cross-entropy's second term, with 1 - Y", {"cost": binary / m}),
                ("log of zero: 0 * log(0) is NaN", {"cost": -(Y * AL.log()).sum() / m}),
            ],
            where,
            {"m": m},
        )


def apply_batchnorm(draw: Draw) -> Iterator[Case]:
    """Normalise; also a unit that is always zero."""
    A = 100 * draw(*draw.sizes(2))
    dead = A.clone()
    dead[0] = 0
    no_eps = (dead - dead.mean(1, keepdim=True)) / dead.var(1, correction=0, keepdim=True).sqrt()
    mistake = ("a unit that is always 0 gives 0 / 0: add a small eps to the variance", {"NA": no_eps})
    for given, more, where in ((A, [], ""), (dead, [mistake], " for a unit that is always 0")):
        wrong = [(name, {"NA": function(given)}) for name, function in FORWARD_BATCHNORM]
        yield Case((given,), {"NA": batchnorm(given)}, [*wrong, *more], where)


# Section 2.


def linear_mistakes(dA_prev: Tensor, dW: Tensor, db: Tensor, m: int) -> Mistakes:
    """Make the mistakes of the linear layer, from its right gradients."""
    n = len(db)
    return [
        (NOT_DIVIDED, {"dW": dW * m, "db": db * m}),
        ("divided by the number of units or classes, and not by m", {"dW": dW * m / n, "db": db * m / n}),
        ("divided by the number of inputs, and not by m", {"dW": dW * m / dW.shape[1], "db": db * m / dW.shape[1]}),
        ("divided by m, as only dW and db are", {"dA_prev": dA_prev / m}),
        ("divided by m twice", {"dW": dW / m, "db": db / m}),
        ("one number for all units: sum over the examples alone", {"db": db.sum().expand_as(db)}),
        ("one number for all units: sum over the examples alone", {"db": m * db.sum().expand_as(db)}),
        ("one number for all units: sum over the examples alone", {"db": db.mean().expand_as(db)}),
        ("the first unit's, given to all", {"db": db[0].expand_as(db)}),
    ]


def of_linear(dZ: Tensor, A_prev: Tensor, W: Tensor, b: Tensor) -> tuple[Values, Mistakes]:
    """Return the right gradients of the linear layer, and the mistakes."""
    m = dZ.shape[1]
    point = {"A_prev": A_prev, "W": W, "b": b}
    sums = by_autograd(lambda at: (dZ * (at["W"] @ at["A_prev"] + at["b"])).sum(), point)
    right = {"dA_prev": sums["A_prev"], "dW": sums["W"] / m, "db": sums["b"] / m}
    over_units = dZ.sum(0, keepdim=True)
    return right, [
        *linear_mistakes(right["dA_prev"], right["dW"], right["db"], m),
        ("the sum is over the units, and not over the examples", {"db": over_units / m}),
        ("the sum is over the units, and not over the examples; " + NOT_DIVIDED, {"db": over_units}),
        ("the mean is over the units, and not over the examples", {"db": over_units / len(dZ)}),
    ]


def Linear_backward(draw: Draw) -> Iterator[Case]:
    """``dA_prev``, ``dW`` and ``db`` for any ``dZ``."""
    n, k, m = draw.sizes(3)
    dZ, A_prev, W, b = draw(n, m), draw(k, m), draw(n, k), draw(n, 1)
    cache = Cache(("linear_forward",), (A_prev, W, b), ((A_prev, W, b), {"A": A_prev, "W": W, "b": b}))
    yield Case((dZ, cache), *of_linear(dZ, A_prev, W, b))


def of_relu(dA: Tensor, Z: Tensor) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """Return the right ``dZ`` of ReLU, and the wrong ones."""
    dZ = by_autograd(lambda at: (dA * torch.relu(at["Z"])).sum(), {"Z": Z})["Z"]
    return dZ, [
        ("dA comes back: it is not zeroed where Z <= 0", dA),
        ("1 where Z > 0: it is not multiplied by dA", (Z > 0).double()),
        ("ReLU of dA: it asks for dA > 0, and not for Z > 0", torch.relu(dA)),
        ("multiplied by relu(Z), and not by its derivative", dA * torch.relu(Z)),
        ("where Z > 0 stands Z, and not dA", torch.relu(Z)),
        ("it lets the gradient through where Z is 0", dA * (Z >= 0)),
    ]


def of_softmax(dA: Tensor, Z: Tensor) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """Return the right ``dZ`` of softmax, and the wrong ones."""
    dZ = by_autograd(lambda at: (dA * torch.softmax(at["Z"], 0)).sum(), {"Z": Z})["Z"]
    P = torch.softmax(Z, 0)
    return dZ, [
        (AS_IT_IS, dA),
        (FOR_LABELS, P - dA),
        ("only the diagonal of the Jacobian, as of a sigmoid: dA * P * (1 - P)", dA * P * (1 - P)),
        ("the factor P in front is missing", dA - (P * dA).sum(0, keepdim=True)),
        ("the sum is over the examples, and not over the classes", P * (dA - (P * dA).sum(1, keepdim=True))),
    ]


def relu_backward(draw: Draw) -> Iterator[Case]:
    """Pass any ``dA`` through ReLU; one Z is exactly 0."""
    n, m = draw.sizes(2)
    dA, Z = draw(n, m), draw(n, m)
    Z[0, 0] = 0
    dZ, wrong = of_relu(dA, Z)
    yield Case((dA, Cache(("relu",), (Z,), (Z,))), {"dZ": dZ}, [(name, {"dZ": value}) for name, value in wrong])


def softmax_backward(draw: Draw) -> Iterator[Case]:
    """Pass any ``dA`` through softmax."""
    n, m = draw.sizes(2)
    dA, Z = draw(n, m), draw(n, m)
    dZ, wrong = of_softmax(dA, Z)
    yield Case((dA, Cache(("softmax",), (Z,), (Z,))), {"dZ": dZ}, [(name, {"dZ": value}) for name, value in wrong])


def linear_activation_backward(draw: Draw) -> Iterator[Case]:
    """One layer with each activation; mistakes of the activation and of the linear layer, alone and together."""
    n, k, m = draw.sizes(3)
    A_prev, W, b, dA = draw(k, m), draw(n, k), draw(n, 1), draw(n, m)
    Z = W @ A_prev + b
    linear = {"A": A_prev, "W": W, "b": b}
    for activation, of in (("relu", of_relu), ("softmax", of_softmax)):
        forms = ({"linear_cache": linear, "activation_cache": Z}, ((A_prev, W, b), Z), (linear, Z))
        cache = Cache(("linear_activation_forward",), (A_prev, W, b, activation), forms)
        dZ, wrong = of(dA, Z)
        right, mistakes = of_linear(dZ, A_prev, W, b)
        for name, wrong_dZ in wrong:
            values, more = of_linear(wrong_dZ, A_prev, W, b)
            mistakes += [(name, values), *((f"{name}; {also}", value) for also, value in more)]
        yield Case((dA, cache, activation), right, mistakes, f' with activation "{activation}"')


def L_model_backward(draw: Draw) -> Iterator[Case]:
    """Go back through the whole network, without and with batch norm; ``dA{l}`` is not looked at."""
    X, Y, drawn = draw.network()
    m = Y.shape[1]
    for use_batchnorm, normalise in ((False, as_it_is), (True, batchnorm)):
        parameters = of_small_logits(X, drawn, normalise)
        _, ours = pipeline.L_model_forward(X, dict(parameters), use_batchnorm)
        cache = Cache(("L_model_forward",), (X, parameters, use_batchnorm), (ours,))
        right = network_gradients(X, Y, parameters, normalise)
        mistakes = network_mistakes(right, m)
        for name, function in [*BACKWARD_BATCHNORM, *FORWARD_BATCHNORM] if use_batchnorm else []:
            wrong = network_gradients(X, Y, parameters, function)
            mistakes += [(name, wrong), *((f"{name}; {also}", value) for also, value in network_mistakes(wrong, m))]
        AL, where = forward(X, parameters, normalise), " with batch norm" * use_batchnorm
        options = {"use_batchnorm": use_batchnorm, "parameters": parameters, "m": m}
        yield Case((AL, Y, cache), right, mistakes, where, options)


def network_gradients(X: Tensor, Y: Tensor, parameters: dict[str, Tensor], normalise: Function) -> Values:
    """Differentiate the cost of a network."""
    by_name = by_autograd(
        lambda at: -(Y * forward(X, at, normalise, lambda Z: torch.log_softmax(Z, 0))).sum() / X.shape[1], parameters
    )
    return {f"d{name}": gradient for name, gradient in by_name.items()}


def network_mistakes(right: Values, m: int) -> Mistakes:
    """Make in each layer the mistakes of the linear layer that touch its own parameters alone."""
    mistakes = []
    for layer in range(1, len(right) // 2 + 1):
        dW, db = right[f"dW{layer}"], right[f"db{layer}"]
        for name, wrong in linear_mistakes(dW, dW, db, m):
            mistakes.append((name, {f"{of}{layer}": value for of, value in wrong.items() if of != "dA_prev"}))
    classes = len(right[f"dW{len(right) // 2}"])
    by_classes = {name: value * m / classes for name, value in right.items()}
    uphill = {name: -value for name, value in right.items()}
    return [
        *mistakes,
        ("divided by the number of classes, and not by m", by_classes),
        ("the wrong sign, as of Y - AL in place of AL - Y", uphill),
    ]


def Update_parameters(draw: Draw) -> Iterator[Case]:
    """``W - learning_rate * dW``."""
    parameters = draw.parameters(dims := draw.sizes(3))
    grads = {f"d{name}": each for name, each in draw.parameters(dims).items()}
    rate = 0.25
    updated = {name: each - rate * grads[f"d{name}"] for name, each in parameters.items()}
    uphill = {name: each + rate * grads[f"d{name}"] for name, each in parameters.items()}
    without = {name: each - grads[f"d{name}"] for name, each in parameters.items()}
    yield Case(
        (parameters, grads, rate),
        updated,
        [
            ("it goes uphill: subtract the gradient", uphill),
            ("the learning rate is left out", without),
            ("not updated", parameters),
        ],
        options={"m": 1},
        keeps_arguments=False,
    )


def batchnorm_backward(draw: Draw) -> Iterator[Case]:
    """Pass any gradient through batch norm."""
    n, m = draw.sizes(2)
    dNA, A = draw(n, m), 100 * draw(n, m)
    mean, variance, NA = A.mean(1, keepdim=True), A.var(1, correction=0, keepdim=True), batchnorm(A)
    forms = ({"NA": NA, "mean": mean, "variance": variance}, (NA, variance), A)

    def gradient(normalise: Function) -> Values:
        return {"dA": by_autograd(lambda at: (dNA * normalise(at["A"])).sum(), {"A": A})["A"]}

    wrong = [(name, gradient(function)) for name, function in BACKWARD_BATCHNORM]
    averages: list[tuple[str, Function]] = [
        ("the means are over the units, and not over the examples: the wrong axis", lambda x: x.mean(0, keepdim=True)),
        ("one mean for the whole matrix, and not for each unit", Tensor.mean),
        ("sums over the examples, and not means", lambda x: x.sum(1, keepdim=True)),
    ]
    for name, mean_of in averages:
        wrong.append((name, {"dA": (dNA - mean_of(dNA) - NA * mean_of(dNA * NA)) / _std(A)}))
    yield Case((dNA, Cache(("batchnorm_forward", "apply_batchnorm"), (A,), forms)), gradient(batchnorm), wrong)


# Section 3.


def Predict(draw: Draw) -> Iterator[Case]:
    """Accuracy in per cent."""
    dims, m = draw.sizes(3), 50
    X, parameters = draw(dims[0], m), draw.parameters(dims)
    Y = draw.one_hot(dims[-1], m)
    X = X[:, forward(X, parameters, as_it_is)[0].argsort(descending=True)]
    Y[:, 0] = torch.eye(dims[-1])[0]  # so that the wrong axis is sometimes right, and not as wrong as anything else
    AL = forward(X, parameters, as_it_is)
    right, turned = (100 * (AL.argmax(axis) == Y.argmax(axis)).double().mean() for axis in (0, 1))
    normed = 100 * (forward(X, parameters, batchnorm).argmax(0) == Y.argmax(0)).double().mean()
    yield Case(
        (X, Y, parameters),
        {"accuracy": right},
        [
            ("a share, and not per cent", {"accuracy": right / 100}),
            ("the errors", {"accuracy": 100 - right}),
            ("argmax over the examples, and not over the classes: the wrong axis", {"accuracy": turned}),
            (AS_EVALUATED, {"accuracy": normed}),
        ],
        options={"use_batchnorm": False},
    )


CASES: dict[str, Callable[[Draw], Iterator[Case]]] = {
    function.__name__: function
    for function in (
        linear_forward,
        softmax,
        relu,
        linear_activation_forward,
        L_model_forward,
        compute_cost,
        apply_batchnorm,
        Linear_backward,
        linear_activation_backward,
        relu_backward,
        softmax_backward,
        L_model_backward,
        Update_parameters,
        batchnorm_backward,
        Predict,
    )
}
