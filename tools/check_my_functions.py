"""Say of each function of the assignment in a file of yours whether it is right, or how it is wrong.

Each is held against autograd on random shapes in float64, with random gradients coming in. Functions may take tensors
or NumPy arrays, and have the assignment's names or ours; caches may be tuples or dictionaries. A function that calls a
wrong one is checked with ours in its place. In a notebook: ``check(linear_backward)``. The file runs with your rights:
this is no sandbox.

Some checks need arguments: the copy of the best parameters ``validation``, ``evaluate_every`` and ``patience`` of
``L_layer_model``; batch norm one with ``batchnorm``, ``batch_norm`` or ``use_bn`` in its name; L2 one with ``l2``,
``lam``, ``reg`` or ``decay``. A function that requires others is not judged, nor is a stopping rule on the accuracy.
No file shows whether networks were compared at different numbers of steps, or by one seed alone.

A function is right, partly checked (no mistake found, but a part not looked at), WRONG, not judged (it rests on a wrong
one, or needs arguments that are not known here) or missing. The import of a file and the check of ``L_layer_model`` may
each take 60 seconds, that of another function 20. The exit status is 0 if nothing is wrong, and nothing but L2 missing.
"""

import argparse
import contextlib
import copy
import importlib.util
import itertools
import json
import os
import select
import subprocess
import sys
import textwrap
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor

import pipeline
from pipeline.text import shown
from tools.findings import (
    NEEDS,
    NOT_RETURNED,
    NOTE,
    NOTHING,
    RAISES,
    RECOGNISED,
    TOLERANCE,
    TRANSPOSED,
    UNKNOWN,
    Convert,
    Finding,
    MoreArgumentsError,
    Solution,
    arguments_of,
    as_numbers,
    batchnorm_of,
    converted,
    holds,
    is_close,
    is_float32,
    is_turned,
    is_unchanged,
    lambdas_of,
    needed_by,
    numbers,
    options_of,
    outputs_of,
)
from tools.mistakes import CASES, CONVENTIONS, NOT_DIVIDED, Cache, Case, Draw
from tools.trainings import STOP, of_the_prediction, of_the_start, of_the_training

ASSIGNMENT = [  # its functions, in its order and spelling
    *("initialize_parameters", "linear_forward", "softmax", "relu", "linear_activation_forward", "L_model_forward"),
    *("compute_cost", "apply_batchnorm", "Linear_backward", "linear_activation_backward", "relu_backward"),
    *("softmax_backward", "L_model_backward", "Update_parameters", "L_layer_model", "Predict"),
]
MORE = ["batchnorm_backward", "L2"]  # no row where there is nothing to say of them
KNOWN = {name.lower(): name for name in [*ASSIGNMENT, "batchnorm_forward", "batchnorm_backward"]}
_LAYER = ("linear_forward", "softmax", "relu")
_FORWARD = (*_LAYER, "linear_activation_forward", "apply_batchnorm", "L_model_forward")
_LAYER_BACK = ("Linear_backward", "relu_backward", "softmax_backward")
_BACKWARD = (*_LAYER_BACK, "linear_activation_backward", "batchnorm_backward", "L_model_backward")
_TRAINING = ("initialize_parameters", *_FORWARD, "compute_cost", *_BACKWARD, "Update_parameters")
RESTS_ON = {  # the functions that each may call, or whose caches it reads
    "linear_activation_forward": _LAYER,
    "L_model_forward": _FORWARD[:-1],
    "Linear_backward": _LAYER[:1],
    "relu_backward": _LAYER[2:],
    "softmax_backward": _LAYER[1:2],
    "batchnorm_backward": ("apply_batchnorm",),
    "linear_activation_backward": (*_FORWARD[:4], *_LAYER_BACK),
    "L_model_backward": (*_FORWARD, *_BACKWARD[:-1]),
    "L_layer_model": _TRAINING,
    "Predict": (*_TRAINING, "L_layer_model"),
}
L2_FUNCTIONS = ("compute_cost", "L_model_backward", "Update_parameters")
SEEDS = (1, 2, 3)  # of the random calls
KINDS: list[list[Convert]] = [  # of arrays; the right answer to one of them counts
    [torch.clone, lambda tensor: tensor.numpy().copy()],
    [Tensor.float, lambda tensor: tensor.float().numpy()],  # see `best`
]
OVERWRITES = "the function overwrites this argument"
GUARD = 'put what it runs under if __name__ == "__main__"'
LONG_SECONDS, SECONDS = 60, 20  # until a file is imported or its training checked, and until another function is
COLUMNS = 96  # as many as fit a notebook's page
ONLY_WITH = (  # of the mistakes of a training, those that take an argument which the assignment does not have
    f"copy of the best parameters: checked only if L_layer_model takes {', '.join(STOP)}",
    "patience in steps: checked only if it takes them, or holds back a validation set itself",
    "statistics of batch norm in Predict: checked only if L_layer_model takes use_batchnorm",
    "a stopping rule on the accuracy: not judged",
    "no file shows whether you compared networks at different numbers of steps, or by one seed alone",
)
RIGHT, PARTLY, WRONG, UNJUDGED, MISSING = "right", "partly checked", "WRONG", "not judged", "missing"


@dataclass(frozen=True)
class Row:
    """What is said of a function."""

    function: str
    state: str
    words: str = ""
    mistakes: Sequence[str] = ()
    is_known: bool = False  # whether all its mistakes are
    alone: str | None = None  # what is wrong if all that it calls is ours; None if that is not clear
    functions: Sequence[str] = ()  # of a whole file: those that it has


def check(*functions: Callable[..., Any]) -> None:
    """Print what is right or wrong with these functions, each under its own name."""
    solution = known_in({function.__name__: function for function in functions})
    if not solution:
        raise ValueError(f"none of these is a function of the assignment: {[each.__name__ for each in functions]}")
    rows = [judge(name, solution) for name in [*ASSIGNMENT, *MORE]]
    for row in settled([row for row in rows if row.state != MISSING]):
        print(line(row))


def known_in(namespace: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Pick the functions of the assignment; neither capital letters in their names matter, nor a leading ``my_``."""
    named = {key: key.lower().removeprefix("my_") for key, each in namespace.items() if callable(each)}
    return {KNOWN[name]: namespace[key] for key, name in named.items() if name in KNOWN}


OURS = {name: each for name, each in known_in(vars(pipeline)).items() if name in ASSIGNMENT}


def judge(name: str, solution: Solution) -> Row:
    """Check one function."""
    if name == "L2":
        taking = [each for each in L2_FUNCTIONS if each in solution]
        if not any(lambdas_of(solution[each]) for each in taking):
            return Row(name, MISSING, f"no argument for lambda found in {', '.join(taking)}" if taking else "")
    elif name not in solution:
        return Row(name, MISSING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of overflow and the like: the findings say it
        findings = findings_of(name, solution)
        if worst(findings) == NOTE:
            words = not_checked(name, solution)
            return Row(name, PARTLY if words else RIGHT, "; ".join(filter(None, [words, said_of(findings)])))
        findings = [each for each in findings if each.rank != NEEDS] or findings
        if worst(findings) == NEEDS or (name == "batchnorm_backward" and worst(findings) == RAISES):
            return Row(name, UNJUDGED, said_of(findings))
        alone = beside_ours(name, solution) if solution.keys() & RESTS_ON.get(name, ()) else None
    return Row(name, WRONG, said_of(findings), list(by_mistake(findings)), worst(findings) == RECOGNISED, alone)


def findings_of(name: str, solution: Solution) -> list[Finding]:
    """Say what is wrong with a function."""
    findings = list(of_formulas(name, solution)) if name in CASES else []
    if name in PROPERTIES and not findings:
        findings = best(lambda convert: [attempt(PROPERTIES[name], solution, convert)], uses_numpy(solution))
    return findings


def beside_ours(name: str, solution: Solution) -> str | None:
    """Say what is wrong with a function if all others that it calls are ours; None if that is not clear."""
    function, convert = solution[name], KINDS[0][uses_numpy(solution)]
    space = getattr(function, "__globals__", {})
    theirs = {key: each for key, each in space.items() if each is not function and {*known_in({key: each})} & {*OURS}}
    space.update({key: returning(OURS[known], convert) for key in theirs for known in known_in({key: function})})
    try:
        by_itself = {each: solution[each] for each in (name, "L_layer_model") if each in solution}
        findings = findings_of(name, by_itself)
        if worst(findings) != NOTE:  # perhaps it reads caches of the reader's form alone
            findings = min(findings, findings_of(name, solution), key=badness)
        return said_of(findings) if worst(findings) <= RECOGNISED else None
    finally:
        space.update(theirs)


def returning(function: Callable[..., Any], convert: Convert) -> Callable[..., Any]:
    """Let a function of ours return the reader's kind of array."""
    return lambda *arguments, **options: converted(function(*arguments, **options), convert)


def said_of(findings: list[Finding]) -> str:
    """Name the outputs, and what is wrong with them."""
    outputs = by_mistake(findings)
    return "; ".join(f"{', '.join(filter(None, of))}: {mistake}".lstrip(": ") for mistake, of in outputs.items())


def by_mistake(findings: list[Finding]) -> dict[str, list[str]]:
    """List the outputs by mistake: where several mistakes fit, it is the one that fits most outputs."""
    fits = Counter(part for each in findings for part in {part for name in fitting(each) for part in parts(name)})
    outputs: dict[str, list[str]] = {}
    for finding in findings:
        likeliest = max(fitting(finding), key=lambda name: (min(fits[part] for part in parts(name)), -len(parts(name))))
        for part in parts(likeliest):
            if finding.output not in outputs.setdefault(part, []):
                outputs[part].append(finding.output)
    return outputs


def fitting(finding: Finding) -> tuple[str, ...]:
    """Return all mistakes that fit a finding."""
    return finding.mistake, *finding.others


def parts(mistake: str) -> list[str]:
    """Split a mistake that is several at once."""
    return mistake.split("; ")


def not_checked(name: str, solution: Solution) -> str:
    """Say which part of a function in which nothing is wrong was not checked."""
    train = solution.get("L_layer_model")
    if name == "L_layer_model" and not set(STOP) <= set(arguments_of(train)):
        return f"copy of the best parameters not checked: it needs the arguments {', '.join(STOP)}"
    if name == "Predict" and not batchnorm_of(train):
        return "batch norm not checked: L_layer_model needs an argument use_batchnorm"
    if name == "Predict" and (more := needed_by(train, 6)):
        return f"batch norm not checked: L_layer_model {more}"
    return ""


def of_formulas(name: str, solution: Solution) -> Iterator[Finding]:
    """Call a function in all cases; after a case that is not understood the others would say nothing new."""
    for case in (case for seed in SEEDS for case in CASES[name](Draw(seed))):

        def attempts(convert: Convert, case: Case = case) -> Iterator[list[Finding]]:
            for arguments in calls(case, solution, convert):
                yield attempt(call, solution[name], arguments, case, convert)

        yield from (findings := best(attempts, uses_numpy(solution), reads_caches=True))
        if worst(findings) > RECOGNISED:
            return


def best(
    attempts: Callable[[Convert], Iterable[list[Finding]]], numpy_first: bool, *, reads_caches: bool = False
) -> list[Finding]:
    """Return the findings of the best attempt, of equals the first; once one is right, no other is made.

    Float32 is tried if all else raises errors. What reads caches may be wrong only because the reader's own function,
    which makes them, raised one.
    """
    least = [Finding("", "", NOTHING)]
    for kinds in KINDS:
        for findings in itertools.chain.from_iterable(map(attempts, kinds[:: -1 if numpy_first else 1])):
            if badness(findings) < badness(least):
                least = findings
            if worst(findings) == NOTE:
                return findings
        if (worst(least) < RAISES and not reads_caches) or all(each.mistake == OVERWRITES for each in least):
            break  # who overwrites would not in float32 if he copies for float64
    return least


def uses_numpy(solution: Solution) -> bool:
    """Whether a file imports NumPy and not torch: of what goes wrong with tensors nothing need be said."""
    known = [each for function in solution.values() for each in getattr(function, "__globals__", {}).values()]
    return any(each is np for each in known) and not any(each is torch for each in known)


def badness(findings: list[Finding]) -> tuple[int, int, int]:
    """Order attempts: by the worst finding, then by how many there are, and how many mistakes they are made of."""
    return worst(findings), len(findings), sum(len(parts(finding.mistake)) for finding in findings)


def worst(findings: list[Finding]) -> int:
    """Return the highest rank."""
    return max((finding.rank for finding in findings), default=0)


def attempt(function: Callable[..., list[Finding]], *arguments: Any) -> list[Finding]:
    """Let an error of the reader's code be a finding."""
    try:
        np.random.seed(0)
        torch.manual_seed(0)
        return function(*arguments)
    except EOFError:
        return [Finding("", "it waits for input()", RAISES)]
    except MoreArgumentsError as error:
        return [Finding("", str(error), NEEDS)]
    except (Exception, SystemExit) as error:
        return [Finding("", f"raises {type(error).__name__}: {shown(error)}", RAISES)]


def calls(case: Case, solution: Solution, convert: Convert) -> Iterator[tuple[Any, ...]]:
    """Make the arguments of a case, once for each form of a cache among them, and of parameters beside NumPy data."""
    caches = [argument for argument in case.arguments if isinstance(argument, Cache)]
    kinds = [convert]
    if any(isinstance(each, Mapping) for each in case.arguments) and not isinstance(convert(torch.zeros(1)), Tensor):
        kinds.append(lambda tensor: torch.as_tensor(convert(tensor)))
    for form in forms_of(caches[0], solution, convert) if caches else [None]:
        for of_parameters in kinds:
            given = [
                converted(each, of_parameters if isinstance(each, Mapping) else convert) for each in case.arguments
            ]
            yield tuple(form if isinstance(each, Cache) else each for each in given)


def forms_of(cache: Cache, solution: Solution, convert: Convert) -> list[Any]:
    """Make a cache by the reader's own forward function, if that works, and as the assignment has it."""
    own = []
    for name in set(cache.forwards) & set(solution):
        with contextlib.suppress(Exception, SystemExit):
            forward, arguments = solution[name], converted(cache.arguments, convert)
            returned = forward(*arguments, **options_of(forward, len(arguments), {}))
            own += [returned[1]] if isinstance(returned, tuple | list) else []
    return [*own, *converted(cache.forms, convert)]


def call(function: Callable[..., Any], arguments: tuple[Any, ...], case: Case, convert: Convert) -> list[Finding]:
    """Call a function once, and look at what it returns and at what it did to its arguments."""
    before = copy.deepcopy(arguments)
    names = arguments_of(function)
    options = options_of(function, len(arguments), converted(case.options, convert))
    try:
        returned = outputs_of(function(*arguments, **options), list(case.right))
    except (TypeError, AttributeError) as error:
        left = [name for name, each in names.items() if each.default is None and name not in options]
        if left and "NoneType" in str(error):
            raise MoreArgumentsError(f"needs {', '.join(left)}, and the assignment does not pass that") from error
        raise
    kind = convert(torch.zeros(1, dtype=torch.float64)).dtype
    changed = [name for name, old, new in zip(names, before, arguments, strict=False) if not is_unchanged(old, new)]
    overwritten = changed if case.keeps_arguments else []
    findings = []
    for output, right in case.right.items():
        if output not in returned:
            findings.append(Finding(output, NOT_RETURNED, UNKNOWN))
        elif overwritten and isinstance(right, list):
            continue  # a cache holds what was overwritten, and is no second mistake
        elif found := mistake_in(output, returned[output], case):
            findings.append(found)
        elif is_float32(returned[output]) and "64" in str(kind):
            findings.append(Finding(output, "comes back as float32, and float64 went in", NOTE))
    return findings + [Finding(name, OVERWRITES) for name in overwritten]


def mistake_in(output: str, value: Any, case: Case) -> Finding | None:
    """Compare an output with the right one, and then with those of known mistakes."""
    right = case.right[output]
    wrong = [(mistake, values[output]) for mistake, values in case.mistakes if output in values]
    if isinstance(right, list):
        named = next((mistake for mistake, held in wrong if holds(value, held)), "does not hold all that it should")
        return None if holds(value, right) else Finding(output, named)
    array = as_numbers(value)
    if array is None:
        return Finding(output, f"is of type {type(value).__name__}, and no array", UNKNOWN)
    turned = is_turned(array, right.shape)
    upright = array.mT if turned else array
    if is_close(upright, right) and (upright.shape == right.shape or right.dim() == 0):
        return Finding(output, TRANSPOSED) if turned else None
    if fit := [f"{TRANSPOSED}; " * turned + mistake for mistake, values in wrong if is_close(upright, values)]:
        return Finding(output, fit[0], others=tuple(fit[1:]))
    return Finding(output, unknown(array, right, case.where), UNKNOWN)


def unknown(array: Tensor, right: Tensor, where: str) -> str:
    """Say of a wrong array what one can without knowing the mistake."""
    if array.shape != right.shape:
        return f"has shape {tuple(array.shape)}{where}, and must have {tuple(right.shape)}"
    if not array.isfinite().all():
        return f"holds NaN or infinity{where}"
    return f"wrong{where}, but not by a mistake that is known here"


def of_l2(solution: Solution, convert: Convert) -> list[Finding]:
    """Hold what lambda adds to the gradients against the derivative of what it adds to the cost."""
    takes_it = [name for name in L2_FUNCTIONS if lambdas_of(solution.get(name))]
    if len(takes_it) < 2 or takes_it[0] != "compute_cost":
        return [Finding("", f"only {', '.join(takes_it)} takes lambda: cost and gradient must both grow", NEEDS)]
    draw, l2 = Draw(0), 0.25
    *dims, m = draw.sizes(4)
    X, Y = draw(dims[0], m), draw.one_hot(dims[-1], m)
    parameters, direction = draw.parameters(dims), draw.parameters(dims)
    AL, ours = pipeline.L_model_forward(X, dict(parameters), False)

    def grown(name: str, arguments: tuple[Any, ...], at: dict[str, Tensor]) -> Any:
        """Call with lambda and without it."""
        for value in (l2, 0.0):
            (given, *_) = calls(Case(arguments, {}, []), solution, convert)
            values = {"use_batchnorm": False, "parameters": converted(at, convert), "m": m}
            yield solution[name](*given, **options_of(solution[name], len(given), values, value))

    def penalty(sign: int, kind: str) -> Tensor:
        at = {name: each + sign * direction[name] * (name[0] == kind) for name, each in parameters.items()}
        with_it, without = (numbers(cost) for cost in grown("compute_cost", (AL, Y), at))
        return with_it - without

    if takes_it[1] == "L_model_backward":
        arguments: tuple[Any, ...] = (AL, Y, Cache(("L_model_forward",), (X, parameters, False), (ours,)))
        sign, d = 1, "d"
    else:
        arguments = (parameters, {f"d{name}": torch.zeros_like(each) for name, each in parameters.items()}, 1.0)
        sign, d = -1, ""  # the gradient is subtracted
    with_it, without = grown(takes_it[1], arguments, parameters)
    added = {name: sign * (numbers(with_it[d + name]) - numbers(without[d + name])) for name in parameters}
    slopes = {kind: (penalty(1, kind) - penalty(-1, kind)).item() / 2 for kind in "Wb"}  # exact, of a square
    gradients = {
        kind: sum((added[name] * each).sum().item() for name, each in direction.items() if name[0] == kind)
        for kind in "Wb"
    }
    findings = []
    if max(abs(slopes["b"]), abs(gradients["b"])) > TOLERANCE:
        findings.append(Finding("", "biases are penalised, and the assignment has the norm of weights"))
    if abs(slopes["W"]) < TOLERANCE:
        findings.append(Finding("", "lambda does not change the cost"))
    elif abs(gradients["W"]) < TOLERANCE:
        findings.append(Finding("", "lambda changes the cost, but not the gradient"))
    elif abs((ratio := gradients["W"] / slopes["W"]) - 1) > TOLERANCE:
        said = f"cost and gradient are at odds: dW grows by {ratio:.3g} times the derivative of what the cost grows by"
        findings.append(Finding("", said))
    return findings


PROPERTIES: dict[str, Callable[[Solution, Convert], list[Finding]]] = {
    "initialize_parameters": of_the_start,
    "L_layer_model": of_the_training,
    "Predict": of_the_prediction,
    "L2": of_l2,
}


# A file: a process of its own imports it and checks its functions, and is ended if that takes too long.


def rows_of(path: Path) -> list[Row]:
    """Check a file; after a function that never ends, or ends Python, go on with those that do not rest on it."""
    names = [*ASSIGNMENT, *MORE]
    of_file, *told = answers(path, names)
    if not told:  # its import never ends, or ends Python
        return [of_file]
    rows = {row.function: row for row in told}
    while pending := [name for name in names if name not in rows]:
        last = told[-1].function  # it never ends, or ends Python
        for name in set(of_file.functions) & set(pending):
            if last in RESTS_ON.get(name, ()):
                rows[name] = Row(name, UNJUDGED, f"mend {last} first")
        again, *told = answers(path, [name for name in pending if name not in rows])
        if not told or again.words != of_file.words:
            unjudged = {name: Row(name, UNJUDGED, "its file did not run again") for name in of_file.functions}
            told = [unjudged.get(name, Row(name, MISSING)) for name in pending]
        rows = {row.function: row for row in told} | rows
    found = [rows[name] for name in names if name in ASSIGNMENT or rows[name].state != MISSING or rows[name].words]
    if all(row.state == MISSING for row in found):
        return [of_file if of_file.words else Row("", MISSING, "no function of the assignment at its top level")]
    return [*[of_file] * bool(of_file.words), *settled(found)]


def settled(rows: list[Row]) -> list[Row]:
    """Call a function wrong only for what is wrong in itself: neither for a convention, nor by the fault of another."""
    network = next((row for row in rows if row.function == "L_model_backward"), Row("", MISSING))
    conventions = {row.function for row in rows if is_convention(row)}
    if network.alone and conventions & set(RESTS_ON["L_model_backward"]):
        made_for_his = replace(network, alone=None)  # with ours in their place it says nothing
        rows = [made_for_his if row is network else row for row in rows]
    rows = [forgiven(row, network) for row in rows]
    wrong = {row.function: row for row in rows if row.state == WRONG}
    others = [[wrong[name] for name in RESTS_ON.get(row.function, ()) if name in wrong] for row in rows]
    once = list(map(blamed, rows, others))
    stay = {row.function for row in once if row.state == WRONG}
    named = [[other for other in each if other.function in stay] or each for each in others]
    return list(map(blamed, rows, named))


def is_convention(row: Row) -> bool:
    """Whether all that is wrong is right in a network that is made for it."""
    return row.is_known and set(row.mistakes) <= set(CONVENTIONS)


def forgiven(row: Row, network: Row) -> Row:
    """Do not call a function wrong for a convention, unless the network of the file is wrong by it."""
    takes_more = row.function in ("softmax_backward", "linear_activation_backward") and row.words.startswith("raises ")
    if (row.function == "batchnorm_backward" or takes_more) and (row.state, network.state) == (WRONG, RIGHT):
        return replace(row, state=UNJUDGED, words=f"{row.words}; but L_model_backward is right")
    if not is_convention(row):
        return row
    if network.state == RIGHT or (network.is_known and not set(row.mistakes) & set(network.mistakes)):
        return Row(row.function, RIGHT)
    if network.is_known or network.alone == "" or is_half_divided(row):
        return row
    return replace(row, state=UNJUDGED, words=f"{row.words}: right only in a network made for it")


def is_half_divided(row: Row) -> bool:
    """Whether only one of dW and db is divided by m."""
    return NOT_DIVIDED in row.mistakes and f"dW, db: {NOT_DIVIDED}" not in row.words


def blamed(row: Row, others: list[Row]) -> Row:
    """Say what is wrong with a function that rests on others that are wrong."""
    if row.state != WRONG or not others:
        return row
    if row.function == "L_layer_model" and row.is_known and row.alone is None:
        return row  # its stop and its validation set are its own
    names = ", ".join(other.function for other in others)
    if row.alone == "":
        return replace(row, state=PARTLY, words=f"right with ours in place of {names}")
    if row.alone is None or any(mistake in row.alone for other in others for mistake in other.mistakes):
        return replace(row, state=UNJUDGED, words=f"mend {names} first")
    return replace(row, words=row.alone)


def answers(path: Path, names: list[str]) -> Iterator[Row]:
    """Start a worker, and pass on its rows: the first is of the file; the last says so if it ends before its time."""
    command = [sys.executable, "-m", "tools.check_my_functions", "--worker", str(path), *names]
    env = os.environ | {"MPLBACKEND": "agg"}  # a figure on a screen would wait for somebody to close it
    # Unbuffered: select does not see a row that a buffer already holds.
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen([*command], env=env, **streams) as worker:
        try:
            for name in ["", *names]:
                seconds = LONG_SECONDS if name in ("", "L_layer_model") else SECONDS
                assert worker.stdout
                ready, _, _ = select.select([worker.stdout], [], [], seconds)
                said = worker.stdout.readline() if ready else b""
                slow = f"has not ended after {seconds} s" + f" on import: {GUARD}" * (not name)
                yield Row(**json.loads(said)) if said else Row(name, WRONG, "ends Python" if ready else slow)
                if not said:
                    return
        finally:
            worker.kill()


def work(path: Path, names: list[str]) -> None:
    """Import a file and check its functions, and print a row of JSON for each; what the file prints is not shown."""
    with os.fdopen(os.dup(1), "w") as out, Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
        solution, error = imported(path.resolve())
        of_file = Row("", WRONG if error else RIGHT, error, functions=[*solution])
        for row in itertools.chain([of_file], (judge(name, solution) for name in names)):
            out.write(f"{json.dumps(asdict(row))}\n")  # not by print, which the file may have changed
            out.flush()


def imported(path: Path) -> tuple[dict[str, Callable[..., Any]], str]:
    """Run a file from its own folder, as if it were typed there; return its functions, and what stopped it."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pipeline", "tools")]:
        del sys.modules[name]  # a file beside it may have the same name
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    sys.argv, paths = [str(path)], [*sys.path]
    spec = importlib.util.spec_from_file_location("the_file_that_is_checked", path)  # as no module beside it is named
    assert spec and spec.loader
    module, error = importlib.util.module_from_spec(spec), ""
    sys.modules[spec.name] = module
    vars(module)["get_ipython"] = MagicMock()  # which a notebook calls that was exported as a script
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit, KeyboardInterrupt) as raised:
        lines = [frame.lineno for frame in traceback.extract_tb(raised.__traceback__) if frame.filename == str(path)]
        what = "it waits for input()" if isinstance(raised, EOFError) else f"{type(raised).__name__}: {shown(raised)}"
        error = f"cannot be imported: {what}"
        if lines:
            advice = "" if isinstance(raised, ImportError) else f" ({GUARD})"
            error = f"stops at line {lines[0]}{advice}; only what stands above it is checked: {what}"
    sys.path[:] = paths
    torch.set_default_device("cpu")
    found = known_in(vars(module))
    ours = [name for name, each in found.items() if is_ours(each)]
    if ours and not error:
        error = f"these functions are this repository's: {', '.join(ours)}"
    return {name: each for name, each in found.items() if name not in ours}, error


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function is written in this repository's package."""
    code = getattr(function, "__code__", None)
    return code is not None and Path(code.co_filename).is_relative_to(Path(pipeline.__file__).parent)


def line(row: Row, indent: str = "") -> str:
    """Format a row, on several lines if it is long."""
    text = f"{indent}{row.function:28}{row.state:16}{row.words}".rstrip()
    return textwrap.fill(text, COLUMNS, subsequent_indent=indent + " " * 44, break_long_words=False)


def main() -> None:
    """Check files, and end with 1 if in one of them a function is missing or something is wrong."""
    in_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m tools.check_my_functions", description=__doc__, formatter_class=in_lines
    )
    parser.add_argument("file", type=Path, nargs="+", help="a Python file; it is run with your rights")
    all_right, some_checked = True, False
    for path in parser.parse_args().file:
        print(shown(path), flush=True)
        rows = [Row("", WRONG, "there is no such Python file to read (a notebook must be exported as a script)")]
        if os.access(path, os.R_OK) and path.is_file() and path.suffix == ".py":
            rows = rows_of(path)
        for row in rows:
            print(line(row, indent="  "))
        states = (RIGHT, PARTLY, WRONG, UNJUDGED, MISSING)
        counts = {state: sum(row.state == state for row in rows if row.function) for state in states}
        if rows[-1].function:
            some_checked = True
            print("  " + ", ".join(f"{count} {state.lower()}" for state, count in counts.items()), flush=True)
        all_right &= not any(row.state == WRONG or (row.state == MISSING and row.function != "L2") for row in rows)
    if some_checked:
        print("\n".join(ONLY_WITH))
    sys.exit(not all_right)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        torch.set_num_threads(1)
        work(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
