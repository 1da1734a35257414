"""What no formula tells: of a start, of a training, and of predictions with batch norm, whether they do what they must.

A training is seen from outside: by what it returns for examples on which a right and a wrong one must differ. Whether
it keeps a copy of its best parameters shows only if the validation set is an argument: else the last may be meant.
"""

import contextlib
import io
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.findings import (
    NOT_RETURNED,
    NOTE,
    TOLERANCE,
    TRANSPOSED,
    UNKNOWN,
    Convert,
    Finding,
    Solution,
    arguments_of,
    as_numbers,
    batchnorm_of,
    converted,
    is_turned,
    needed_by,
    numbers,
    options_of,
    outputs_of,
)
from tools.mistakes import AS_EVALUATED, Draw, as_it_is, batchnorm, forward

Train = Callable[..., Any]

STOP = ("validation", "evaluate_every", "patience")  # the arguments of a training that can stop early
LEARNT = 0.1  # a cost that is so low need not fall: from one mini-batch to the next it goes up and down
NO_RATE = 1e-30  # a learning rate by which no weight changes: it is lost in rounding
SLOW, FAST = 7.5e-6, 1e-3  # learning rates on the plateau: the cost falls by 0.0005 in 100 steps, or by 0.06
TOO_PATIENT, LONG = 500, 11_000  # steps: room for a patience above the assignment's 100; for 100 checks, one each 100
QUICK = 1.0  # seconds at most for 300 steps, so that the long training ends before the checker ends it
FEW = 10  # examples at least, of which a right prediction does not by chance get all as one without batch norm does
LEFT_OUT = "batch norm is left out, though the network was trained with it"
KEPT_AS_A_REFERENCE = "not those of the best check, as they were kept as a reference and then trained on (keep a copy)"
COUNTS_CHECKS = "patience counts checks of the validation set, and not training steps"
TRAINS_ON = "training goes on for {} steps without an improvement, and the assignment has 100: it may count checks"
ON_A_PLATEAU = (
    "by the assignment its stopping rule is right; but on a plateau, as at the cost of guessing, it would stop "
    "where the cost falls by 0.0005 in 100 steps"
)


def of_the_start(solution: Solution, convert: Convert) -> list[Finding]:
    """Look at the shapes of the start, its biases, and whether its units differ."""
    parameters, findings = solution["initialize_parameters"](dims := [6, 5, 4, 3]), []
    if not isinstance(parameters, Mapping):
        return [Finding("", f"returns {type(parameters).__name__}, and must return a dictionary", UNKNOWN)]
    for layer in range(1, len(dims)):
        for name, shape in ((f"W{layer}", (dims[layer], dims[layer - 1])), (f"b{layer}", (dims[layer], 1))):
            array = as_numbers(parameters.get(name))
            if array is None:
                findings.append(Finding(name, "is missing", UNKNOWN))
            elif array.shape != shape:
                said = f"has shape {tuple(array.shape)}, and must have {shape}"
                said = TRANSPOSED if is_turned(array, shape) else said
                findings.append(Finding(name, said))
            elif name[0] == "b" and array.any():
                findings.append(Finding(name, "is not zero"))
            elif name[0] == "W" and torch.equal(array[:1].expand_as(array), array):
                findings.append(Finding(name, "all units start alike, and so stay alike: draw at random"))
    return findings


def run(
    train: Train, X: Any, Y: Any, dims: list[int], rate: float, steps: int, batch_size: int, **options: Any
) -> tuple[Any, Any]:
    """Train once from the same random numbers, and return parameters and costs; nothing is printed."""
    options = options_of(train, 6, options) | options
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        returned = outputs_of(train(X, Y, dims, rate, steps, batch_size, **options), ["parameters", "costs"])
    costs = returned.get("costs")
    return returned["parameters"], None if costs is None else without_steps(costs)


def without_steps(costs: Any) -> list[Any]:
    """List costs that are perhaps by step, or each beside its step."""
    values = costs.values() if isinstance(costs, Mapping) else costs
    return [_no_step(each) if isinstance(each, tuple | list) else each for each in values]


def _no_step(pair: Sequence[Any]) -> Any:
    return next((each for each in pair if not isinstance(each, Integral)), pair)


def easy(convert: Convert, count: int = 60) -> tuple[list[int], Any, Any]:
    """Draw examples of three classes that are easy to tell apart."""
    draw = Draw(0)
    dims = [6, 12, 3]
    Y = draw.one_hot(dims[-1], count)
    X = 2 * draw(dims[0], dims[-1]) @ Y + 0.5 * draw(dims[0], count)
    return dims, convert(X), convert(Y)


def of_the_training(solution: Solution, convert: Convert) -> list[Finding]:
    """Train a small network: costs fall, one each 100 steps is returned, and parameters that have learnt."""
    train = solution["L_layer_model"]
    dims, X, Y = easy(convert)
    stops = set(STOP) <= set(arguments_of(train))
    options = {"validation": (X, Y), "evaluate_every": 50, "patience": 300} if stops else {}
    parameters, costs = run(train, X, Y, dims, 0.5, 300, 20, **options)
    if costs is None:
        return [Finding("costs", NOT_RETURNED, UNKNOWN)]
    if not 0 < len(costs) <= 3:
        return [Finding("costs", f"holds {len(costs)} after 300 iterations, and one each 100 makes 3")]
    findings = []
    if len(costs) > 1 and not float(costs[-1]) < max(float(costs[0]), LEARNT):
        findings.append(Finding("costs", "does not fall", UNKNOWN))
    if (accuracy := _accuracy(parameters, X, Y)) < 80:
        said = f"gets only {accuracy:.0f} % right of what it was trained on, easy data"
        findings.append(Finding("parameters", said, UNKNOWN))
    if stops:
        findings += of_the_stop(train, dims, X, Y)
    if not findings:
        checks = [on_a_plateau] if stops else [on_a_plateau, of_its_validation_set]
        for check in checks:
            with contextlib.suppress(Exception, SystemExit):  # such examples are not what it was made for
                findings += check(train, convert)
    return findings


def of_the_stop(train: Train, dims: list[int], X: Any, Y: Any) -> list[Finding]:
    """Validate on false labels, so that training soon only harms: it must stop then, and return an early network."""
    every, patience = 10, 40
    true, false = (X, Y), (X, Y[[1, 2, 0]])

    def reached(steps: int, validation: tuple[Any, Any]) -> tuple[float, int]:
        options = {"validation": validation, "evaluate_every": every, "patience": patience}
        parameters, costs = run(train, X, Y, dims, 0.1, steps, Y.shape[1], **options)  # a batch is all examples
        return _cost(parameters, *false), len(costs)

    by_step = {step: reached(step, true)[0] for step in range(every, 101, every)}  # on true labels the last is the best
    best_step = min(by_step, key=by_step.__getitem__)
    cost, recorded = reached(1000, false)
    findings = []
    if cost > (1 + TOLERANCE) * by_step[best_step]:
        findings.append(Finding("parameters", KEPT_AS_A_REFERENCE))
    if recorded > (best_step + patience) // 100:
        findings.append(Finding("", COUNTS_CHECKS))
    return findings


def on_a_plateau(train: Train, convert: Convert) -> list[Finding]:
    """Train on black images of one class: whatever the start, the cost falls from that of guessing at a known pace.

    A rule that stops where it falls slowly, but not where it falls fast, asks for more than an improvement. (A rule on
    the accuracy stops on both: nothing is said of it.)
    """
    dims, count = [6, 12, 3], 60
    X, Y = convert(torch.zeros(dims[0], count).double()), convert(torch.eye(3).double()[:, :1].repeat(1, count))
    rule = {"validation": (X, Y), "evaluate_every": 50, "patience": 100}
    options = rule if set(STOP) <= set(arguments_of(train)) else {}
    slow, fast = (len(run(train, X, Y, dims, rate, 500, 20, **options)[1]) for rate in (SLOW, FAST))
    return [Finding("", ON_A_PLATEAU, NOTE)] if slow < fast else []


def of_its_validation_set(train: Train, convert: Convert) -> list[Finding]:
    """Find the examples that a training holds back: each has a pixel of its own, whose weights then never move.

    Where there are such examples, train without learning: a rule of 100 steps without an improvement stops soon. One
    of 100 checks shows if there is one each 6 to 100 steps.
    """
    (inputs, units, classes), X, Y = easy(torch.clone, count := 100)
    X, dims = torch.cat([torch.eye(count).double(), X]), [count + inputs, 2 * units, classes]

    def trained(rate: float, steps: int, batch_size: int) -> tuple[Tensor, int]:
        parameters, costs = run(train, convert(X), convert(Y), dims, rate, steps, batch_size)
        return numbers(parameters["W1"])[:, :count], len(costs)

    began = time.monotonic()
    start, recorded = trained(NO_RATE, 300, 5)
    is_quick = time.monotonic() - began < QUICK
    ends = [trained(0.01, 300, batch_size)[0] for batch_size in (10, 50)]  # two, as one may return a very early network
    held = torch.cat([end == start for end in ends]).all(0).nonzero().flatten().tolist()
    for which, first in (("first", 0), ("last", count - len(held))):
        if held == list(range(first, first + len(held))) and 5 <= len(held) <= count // 2:
            said = f"it never trains on the {which} {len(held)} of {count} examples: draw the validation set at random"
            return [Finding("", said)]
    waited = 100 * trained(NO_RATE, LONG, 5)[1] if held and recorded == 3 and is_quick else 0
    return [Finding("", TRAINS_ON.format(f"{waited:,}"))] if TOO_PATIENT < waited < LONG else []


def weights_of(parameters: Mapping[str, Any]) -> dict[str, Tensor]:
    """Leave out what else a reader may keep beside his weights and biases."""
    return {name: numbers(each) for name, each in parameters.items() if re.fullmatch(r"[Wb]\d+", name)}


def _probabilities(parameters: Mapping[str, Any], X: Any) -> Tensor:
    return forward(numbers(X), weights_of(parameters), as_it_is)


def _accuracy(parameters: Mapping[str, Any], X: Any, Y: Any) -> float:
    return 100 * (_probabilities(parameters, X).argmax(0) == numbers(Y).argmax(0)).double().mean().item()


def _cost(parameters: Mapping[str, Any], X: Any, Y: Any) -> float:
    return -(numbers(Y) * _probabilities(parameters, X).log()).sum(0).mean().item()


def of_the_prediction(solution: Solution, convert: Convert) -> list[Finding]:
    """With batch norm, predict examples together and two by two: the accuracy must be the same."""
    train, predict = solution.get("L_layer_model"), solution["Predict"]
    of_train, of_predict = batchnorm_of(train), batchnorm_of(predict)
    dims, X, Y = easy(convert)
    if train and of_train and not needed_by(train, 6):
        parameters, _ = run(train, X, Y, dims, 0.5, 200, 20, **{of_train: True})
        findings = of_pairs(predict, X, Y, parameters, of_predict)
        return findings or of_left_out(predict, dims, parameters, convert, of_predict)
    if of_predict:
        with contextlib.suppress(Exception, SystemExit):  # it wants running statistics, as it should
            return of_pairs(predict, X, Y, converted(Draw(0).parameters(dims), convert), of_predict)
    return []


def of_pairs(predict: Train, X: Any, Y: Any, parameters: Any, switch: str | None) -> list[Finding]:
    """Compare the accuracy of all examples with the mean of those of pairs."""
    options = {switch: True} if switch else {}
    together = float(predict(X, Y, parameters, **options))
    pairs = [slice(k, k + 2) for k in range(0, X.shape[1], 2)]
    of_each = [float(predict(X[:, pair], Y[:, pair], parameters, **options)) for pair in pairs]
    return [Finding("accuracy", AS_EVALUATED)] if abs(together - np.mean(of_each)) > TOLERANCE * together else []


def of_left_out(
    predict: Train, dims: list[int], parameters: Any, convert: Convert, switch: str | None
) -> list[Finding]:
    """Take examples on which networks with and without batch norm disagree, and as labels what that without it says."""
    X, taken = 2 * Draw(1)(dims[0], 500), weights_of(parameters)
    plain, normed = (forward(X, taken, normalise).argmax(0) for normalise in (as_it_is, batchnorm))
    differ = plain != normed
    X, Y = X[:, differ], torch.eye(dims[-1]).double()[:, plain[differ]]
    options = {switch: True} if switch else {}
    is_left_out = differ.sum() >= FEW and float(predict(convert(X), convert(Y), parameters, **options)) > 99
    return [Finding("accuracy", LEFT_OUT)] if is_left_out else []
