"""What a reader's function takes and returns, and what is found in it."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Convert = Callable[[Tensor], Any]
Solution = Mapping[str, Callable[..., Any]]

TOLERANCE = 1e-4  # of the largest number: room for any small eps, and for float32; a wrong formula is further off
ROUNDING = 1e-12  # what is smaller is zero: a sum that cancels out
L2_NAMES = ("l2", "lam", "reg", "decay")  # parts of a name that means lambda
BATCHNORM_NAMES = ("batchnorm", "batch_norm", "use_bn")  # parts of a name that means the switch of batch norm
TRANSPOSED = "transposed"
NOT_RETURNED = "is missing from what the function returns"
# How bad a finding is; of several attempts the best counts. A note does not make a function wrong.
NOTE, RECOGNISED, UNKNOWN, NEEDS, RAISES, NOTHING = range(6)


class MoreArgumentsError(TypeError):
    """A function requires arguments that the assignment does not pass, and whose meaning is not known here."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with an output of a function, or with the function itself."""

    output: str
    mistake: str
    rank: int = RECOGNISED
    others: tuple[str, ...] = ()  # mistakes that give the same here


def is_float32(value: Any) -> bool:
    """Whether an array is in float32; a single number may be."""
    return getattr(value, "dtype", None) in (torch.float32, np.float32) and value.ndim > 0


def arguments_of(function: Callable[..., Any] | None) -> dict[str, inspect.Parameter]:
    """Return a function's arguments by name."""
    try:
        return dict(inspect.signature(function).parameters) if function else {}
    except (TypeError, ValueError):  # of a function that is not written in Python
        return {}


def lambdas_of(function: Callable[..., Any] | None) -> list[str]:
    """Name the arguments that mean lambda, or switch it on."""
    return named_like(function, L2_NAMES)


def batchnorm_of(function: Callable[..., Any] | None) -> str | None:
    """Return the name that a function has for the switch of batch norm."""
    return next(iter(named_like(function, BATCHNORM_NAMES)), None)


def named_like(function: Callable[..., Any] | None, parts: Sequence[str]) -> list[str]:
    """Name the arguments with one of these parts in their names, but none that takes a word."""
    taken = {name: each for name, each in arguments_of(function).items() if not isinstance(each.default, str)}
    return [name for name in taken if any(part in name.lower() for part in parts)]


def options_of(
    function: Callable[..., Any], given: int, values: Mapping[str, Any], l2: float | None = None
) -> dict[str, Any]:
    """Pass what a function takes besides so many given arguments, if its name tells what it means.

    Without ``l2`` lambda keeps its default, or is 0 if it has none. The parameters may be the cost's third argument.
    """
    further = {name: each for name, each in list(arguments_of(function).items())[given:] if "VAR" not in each.kind.name}
    required = [name for name, each in further.items() if each.default is each.empty]
    options = {name: values[name] for name in further if name in values}
    options |= dict.fromkeys(further.keys() & {batchnorm_of(function)}, values.get("use_batchnorm", False))
    lambdas = [name for name in lambdas_of(function) if name in further]
    for name in lambdas if l2 is not None else set(lambdas) & set(required):
        is_switch = name.startswith("use") or isinstance(further[name].default, bool)
        options[name] = bool(l2) if is_switch else l2 or 0.0
    others = [name for name in further if name not in [*options, *lambdas]]
    theirs = [name for name in others if "param" in name.lower()]
    if lambdas and given == 2 and not theirs:
        theirs = [name for name in others[:1] if name in required or further[name].default is None]
    if theirs and (theirs[0] in required or "parameters" in values):
        options[theirs[0]] = values.get("parameters", {})
    if needed := [name for name in required if name not in options]:
        raise MoreArgumentsError(f"requires {', '.join(needed)}, and the assignment does not pass that")
    return options


def needed_by(function: Callable[..., Any] | None, given: int) -> str:
    """Say what a function requires besides so many arguments, if its meaning is not known."""
    try:
        if function:
            options_of(function, given, {})
    except MoreArgumentsError as error:
        return str(error)
    return ""


def outputs_of(result: Any, names: list[str]) -> dict[str, Any]:
    """Name what a function returned; more than was asked for does no harm."""
    if isinstance(result, Mapping) and not set(names).isdisjoint(result):
        return {name: result[name] for name in names if name in result}
    return dict(zip(names, result if isinstance(result, tuple | list) else [result], strict=False))


def is_turned(array: Tensor, shape: Sequence[int]) -> bool:
    """Whether an array has the right shape only once it is transposed."""
    return array.dim() > 1 and array.shape != shape and array.mT.shape == shape


def as_numbers(value: Any) -> Tensor | None:
    """Take what a function returned as a tensor in float64; None if it is no array."""
    try:
        return (value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))).double()
    except (TypeError, ValueError, RuntimeError):
        return None


def is_close(array: Tensor, other: Tensor) -> bool:
    """Whether two arrays are equal, up to rounding and to axes of length one; one number may stand for many."""
    array, other = array.squeeze(), other.squeeze()
    if array.dim() and array.shape != other.shape:
        return False
    scale = other.nan_to_num(0, 0, 0).abs().max().item()
    atol = max(TOLERANCE * scale, ROUNDING)
    return torch.allclose(array.expand_as(other), other, rtol=0, atol=atol, equal_nan=True)


def holds(cache: Any, wanted: list[Tensor]) -> bool:
    """Whether all wanted arrays are somewhere in a cache."""
    held = list(arrays_in(cache))
    return all(any(array.shape == each.shape and is_close(array, each) for array in held) for each in wanted)


def arrays_in(nested: Any) -> Iterator[Tensor]:
    """List the arrays in a nest of dictionaries, tuples and lists."""
    if isinstance(nested, Mapping):
        nested = list(nested.values())
    if isinstance(nested, tuple | list):
        for each in nested:
            yield from arrays_in(each)
    elif hasattr(nested, "shape") and (array := as_numbers(nested)) is not None:
        yield array


def converted(nested: Any, convert: Convert) -> Any:
    """Copy a nest of dictionaries, tuples and lists, its tensors converted."""
    if isinstance(nested, Mapping):
        return {name: converted(each, convert) for name, each in nested.items()}
    if isinstance(nested, tuple | list):
        return type(nested)(converted(each, convert) for each in nested)
    return convert(nested) if isinstance(nested, Tensor) else nested


def is_unchanged(before: Any, now: Any) -> bool:
    """Whether the arrays in a nest are what they were; entries may have been added."""
    if isinstance(before, Mapping):
        return all(name in now and is_unchanged(each, now[name]) for name, each in before.items())
    if isinstance(before, tuple | list):
        return len(before) == len(now) and all(map(is_unchanged, before, now))
    return not hasattr(before, "shape") or np.array_equal(np.asarray(before), np.asarray(now), equal_nan=True)


def numbers(array: Any) -> Tensor:
    """Take an array that must be one."""
    found = as_numbers(array)
    if found is None:
        raise TypeError(f"it must return arrays, and returned {type(array).__name__}")
    return found
