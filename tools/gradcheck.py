"""Print, tensor by tensor, how far each gradient written by hand is from autograd and from central differences.

The two references are independent of each other. Autograd differentiates torch's own functions, not the engine's;
central differences evaluate the engine's own forward pass, twice for each number, all of them as one
ensemble. Autograd serves for comparison only: here, in the other tools, the benchmarks and the tests.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import (
    L_model_backward,
    L_model_forward,
    apply_batchnorm,
    batchnorm_backward,
    compute_cost,
    initialize_parameters,
    linear_backward,
    linear_forward,
    relu,
    relu_backward,
    softmax,
    softmax_backward,
)
from pipeline.network.arguments import number_of_layers
from pipeline.network.forward import BATCHNORM_EPSILON, batchnorm_forward

DIMS = [12, 20, 7, 5, 10]  # the assignment's network; 12 inputs instead of 784, so that every number can be checked
EXAMPLES = 16
L2 = 0.05
KINK = 1e-3
STEP = torch.finfo(torch.float64).eps ** (1 / 3)
AUTOGRAD_TOLERANCE = 1e-10
DIFFERENCES_TOLERANCE = 1e-6
EXPLANATION = f"""\
float64, {EXAMPLES} examples, a network of {DIMS[0]} inputs and {", ".join(map(str, DIMS[1:]))} units.
Absolute: the largest difference of a tensor. Relative: divided by the largest
number in the tensor. Autograd must agree to {AUTOGRAD_TOLERANCE:.0e}, relative; its last
digits differ as the two add in another order. A central difference is off by
step^2/6 times the third derivative, and by the rounding of the cost divided by
the step. The step {STEP:.1e}, the cube root of the machine epsilon, balances the
two; what is left is near 1e-10 and grows with that derivative, so {DIFFERENCES_TOLERANCE:.0e},
relative, is asked. Across the kink of ReLU a difference is no derivative: the
point is drawn again until no pre-activation is within {KINK:.0e} of zero."""

Tensors = Mapping[str, Tensor]
Function = Callable[[Tensors], Tensor]


@dataclass(frozen=True)
class Check:
    """Gradients written by hand, and twice the function that they are to be the gradients of.

    Attributes
    ----------
    title : str
    point : dict of tensors
        Where the gradients are taken; what is differentiated, and nothing else.
    gradients : dict of tensors
        By hand, under the names of ``point``.
    ours : callable
        The function by the engine's forward pass: one value for each network of its arguments.
    reference : callable
        The same function by torch.
    """

    title: str
    point: dict[str, Tensor]
    gradients: dict[str, Tensor]
    ours: Function
    reference: Function


@dataclass(frozen=True)
class Row:
    """Largest differences of one gradient, each as (absolute, relative)."""

    name: str
    shape: tuple[int, ...]
    autograd: tuple[float, float]
    differences: tuple[float, float]

    @property
    def passes(self) -> bool:
        """Whether both relative differences are within tolerance; NaN is not."""
        return self.autograd[1] <= AUTOGRAD_TOLERANCE and self.differences[1] <= DIFFERENCES_TOLERANCE


@torch.enable_grad()
def by_autograd(function: Function, point: Tensors) -> dict[str, Tensor]:
    """Differentiate a function by autograd, with respect to each tensor of ``point``."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in point.items()}
    return dict(zip(leaves, torch.autograd.grad(function(leaves), list(leaves.values())), strict=True))


def by_central_differences(function: Function, point: Tensors) -> dict[str, Tensor]:
    """Differentiate a function by ``(f(x + step) - f(x - step)) / (2 step)``, number by number.

    Each number that is moved makes a network of its own, and the function gives a value for each of them.
    """
    gradients = {}
    for name, tensor in point.items():
        moves = STEP * torch.eye(tensor.numel(), dtype=tensor.dtype).view(-1, *tensor.shape)
        copies = {other: each.expand(len(moves), *each.shape) for other, each in point.items()}
        upper, lower = (function({**copies, name: tensor + sign * moves}) for sign in (1, -1))
        gradients[name] = ((upper - lower) / (2 * STEP)).view(tensor.shape)
    return gradients


def compare(check: Check) -> list[Row]:
    """Measure the differences of all tensors of a check."""
    autograd = by_autograd(check.reference, check.point)
    differences = by_central_differences(check.ours, check.point)
    return [
        Row(f"d{name}", tuple(ours.shape), _distance(ours, autograd[name]), _distance(ours, differences[name]))
        for name, ours in check.gradients.items()
    ]


def _distance(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    largest = (ours - theirs).abs().max().item()
    return largest, largest / (theirs.abs().max().item() or 1.0)


def function_checks(seed: int = 0) -> Iterator[Check]:
    """Each function alone, under a random cotangent: ones would not see the gradients of softmax and batch norm."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    inputs, units, m = DIMS[0], DIMS[1], EXAMPLES
    cotangent = normal(units, m)

    def contract(output: Tensor) -> Tensor:
        return (cotangent * output).sum(dim=(-2, -1))

    point = {"A_prev": normal(inputs, m), "W": normal(units, inputs), "b": normal(units, 1)}
    dA_prev, dW, db = linear_backward(cotangent, linear_forward(*point.values())[1])
    assert dA_prev is not None
    yield Check(
        "linear_backward",
        point,
        {"A_prev": dA_prev, "W": m * dW, "b": m * db},  # dW and db are divided by m, by convention
        lambda at: contract(linear_forward(at["A_prev"], at["W"], at["b"])[0]),
        lambda at: contract(at["W"] @ at["A_prev"] + at["b"]),
    )

    Z = normal(units, m)
    while Z.abs().min() < KINK:
        Z = normal(units, m)
    yield Check(
        "relu_backward",
        {"Z": Z},
        {"Z": relu_backward(cotangent, Z)},
        lambda at: contract(relu(at["Z"])[0]),
        lambda at: contract(functional.relu(at["Z"])),
    )
    yield Check(
        "softmax_backward",
        {"Z": Z},
        {"Z": softmax_backward(cotangent, Z)},
        lambda at: contract(softmax(at["Z"])[0]),
        lambda at: contract(functional.softmax(at["Z"], dim=-2)),
    )

    A = normal(units, m).clamp(min=0)
    yield Check(
        "batchnorm_backward",
        {"A": A},
        {"A": batchnorm_backward(cotangent, batchnorm_forward(A)[1])},
        lambda at: contract(apply_batchnorm(at["A"])),
        lambda at: contract(functional.batch_norm(at["A"].mT, None, None, training=True, eps=BATCHNORM_EPSILON).mT),
    )


def network_checks(seed: int = 0) -> Iterator[Check]:
    """Take the whole network, with and without batch norm and L2."""
    generator = torch.Generator().manual_seed(seed)
    for use_batchnorm, l2 in itertools.product((False, True), (0.0, L2)):
        yield from _network_checks(generator, use_batchnorm, l2)


def _network_checks(generator: torch.Generator, use_batchnorm: bool, l2: float) -> Iterator[Check]:
    """Check the gradients of the parameters, and then those of each layer's output."""
    title = "network" + ", batch norm" * use_batchnorm + ", L2" * (l2 > 0)
    X, parameters = _smooth_point(generator, use_batchnorm)
    AL, caches = L_model_forward(X, dict(parameters), use_batchnorm)
    labels = torch.multinomial(AL.mT, 1, generator=generator).squeeze(-1)  # likely ones: -log(p) curves as 1 / p^2
    Y = functional.one_hot(labels, DIMS[-1]).double().mT
    grads = L_model_backward(AL, Y, caches, l2=l2)

    def cost(at: Tensors) -> Tensor:
        return compute_cost(L_model_forward(X, dict(at), use_batchnorm)[0], Y, parameters=at, l2=l2)

    def torch_cost(at: Tensors) -> Tensor:
        squares = torch.stack([W.square().sum() for name, W in at.items() if name[0] == "W"])
        return functional.cross_entropy(_logits(X, at, use_batchnorm).mT, labels) + l2 / 2 * squares.sum()

    yield Check(title, parameters, {name: grads[f"d{name}"] for name in parameters}, cost, torch_cost)

    outputs = [*(cache["linear_cache"]["A"] for cache in caches[1:]), AL]
    for layer, A in enumerate(outputs, start=1):
        above = {f"{name[0]}{int(name[1]) - layer}": each for name, each in parameters.items() if int(name[1]) > layer}
        yield _output_check(title, f"A{layer}", A, grads[f"dA{layer}"], above, Y, use_batchnorm)


def _output_check(
    title: str, name: str, A: Tensor, gradient: Tensor, above: dict[str, Tensor], Y: Tensor, use_batchnorm: bool
) -> Check:
    """Check the gradient at a layer's output: that of the losses' sum, by convention, through the layers above."""

    def loss(at: Tensors) -> Tensor:
        AL = L_model_forward(at[name], dict(above), use_batchnorm)[0] if above else at[name]
        return compute_cost(AL, Y) * EXAMPLES

    def torch_loss(at: Tensors) -> Tensor:
        log_probabilities = _logits(at[name], above, use_batchnorm).log_softmax(-2) if above else at[name].log()
        return functional.nll_loss(log_probabilities.mT, Y.argmax(dim=-2), reduction="sum")

    return Check(title, {name: A}, {name: gradient}, loss, torch_loss)


def _smooth_point(generator: torch.Generator, use_batchnorm: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw examples and parameters, again until no hidden pre-activation is near the kink of ReLU."""
    while True:
        X = torch.randn(DIMS[0], EXAMPLES, generator=generator, dtype=torch.float64)
        parameters = initialize_parameters(DIMS, seed=generator, dtype=torch.float64)
        for name, tensor in parameters.items():
            if name[0] == "b":  # not zero, as they are at the start
                tensor.normal_(std=0.3, generator=generator)
        _, caches = L_model_forward(X, dict(parameters), use_batchnorm)
        if all(cache["activation_cache"].abs().min() > KINK for cache in caches[:-1]):
            return X, parameters


def _logits(X: Tensor, parameters: Tensors, use_batchnorm: bool) -> Tensor:
    """Run the assignment's network by torch's own functions."""
    A, L = X.mT, number_of_layers(parameters)  # torch has an example a row
    for layer in range(1, L + 1):
        A = functional.linear(A, parameters[f"W{layer}"], parameters[f"b{layer}"].squeeze(-1))
        if layer < L:
            A = functional.relu(A)
            if use_batchnorm:
                A = functional.batch_norm(A, None, None, training=True, eps=BATCHNORM_EPSILON)
    return A.mT


def lines(title: str, rows: list[Row]) -> Iterator[str]:
    """Format the rows of a check under its title."""
    yield ""
    yield f"{title:<26}{'autograd':>23}{'central differences':>25}"
    yield f"{'':4}{'tensor':8}{'shape':14}{'absolute':>12}{'relative':>11}{'absolute':>14}{'relative':>11}"
    for row in rows:
        numbers = f"{row.autograd[0]:12.1e}{row.autograd[1]:11.1e}{row.differences[0]:14.1e}{row.differences[1]:11.1e}"
        yield f"{'':4}{row.name:8}{row.shape!s:14}{numbers}{'' if row.passes else ' FAIL'}"


def main() -> None:
    """Print all checks; end with exit status 1 if a gradient is further off than its tolerance."""
    print(EXPLANATION)
    failed = []
    checks = itertools.chain(function_checks(), network_checks())
    for title, group in itertools.groupby(checks, key=lambda check: check.title):
        rows = [row for check in group for row in compare(check)]
        print("\n".join(lines(title, rows)))
        failed += [f"{row.name} of {title}" for row in rows if not row.passes]
    if failed:
        sys.exit(f"\nNot within tolerance: {'; '.join(failed)}.")
    print("\nEvery gradient is within tolerance.")


if __name__ == "__main__":
    main()
