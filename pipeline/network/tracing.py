"""A training step without most of the Python between its calls of torch.

A step of small networks is 55 to 110 calls of torch that take a few microseconds each. The Python around
them, which checks shapes and walks from layer to layer, does the same at every step. So the first step is traced:
``torch.fx`` writes down its calls, and the following steps make these alone, in the same order, so that every bit is
the same. A product is one call, which still asks each time how to multiply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import base_types, map_aggregate
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property
from torch.utils.weak import WeakTensorKeyDictionary

KIND = ("shape", "dtype", "device")
kind_of = attrgetter(*KIND)
TELLS_NO_VALUE = (
    *(getattr(Tensor, name).__get__ for name in KIND),
    *(Tensor.dim, Tensor.numel, Tensor.size, Tensor.__len__),
)


class Traced:
    """Run a function once, and then repeat its calls of torch for as long as its arguments are alike.

    They are alike if their names and numbers, and the shapes, dtypes and devices of their tensors are the same; with
    others the function is run, and traced, anew.

    Parameters
    ----------
    function : callable
        It takes tensors, dicts of tensors and numbers, and returns a tensor that it made. It depends on nothing but
        its arguments and on no value of their tensors, and changes nothing but these values, in place.

    Raises
    ------
    RuntimeError
        At a call that is traced, if the function looks at a tensor's values, uses a tensor that is neither one of its
        arguments nor made of them or a number that is not Python's, changes or returns a constant, returns no tensor,
        or is given a tensor twice.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._signature: list[Any] | None = None
        self._replay = function  # until there is a trace

    def __call__(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Take the function's arguments and return what it returns."""
        tensors, signature = _taken_apart(arguments, keywords)
        if signature == self._signature:
            return self._replay(*tensors)
        with _Tracer(tensors) as tracer:
            result = self._function(*arguments, **keywords)
        left, _ = _taken_apart(arguments, keywords)
        if list(map(id, left)) == list(map(id, tensors)):  # else it put a new one into a dict, and has to again
            self._replay, self._signature = tracer.replay(result), signature
        return result


def _taken_apart(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[list[Tensor], list[Any]]:
    """Return the tensors among the arguments, and a signature: with equal ones the calls are the same."""
    tensors: list[Tensor] = []
    signature: list[Any] = [*keywords]
    for argument in (*arguments, *keywords.values()):
        if isinstance(argument, Tensor):
            tensors.append(argument)
            signature.append(Tensor)
        elif isinstance(argument, dict):
            tensors += argument.values()
            signature.append([*argument])
        else:
            signature.append(repr(argument))
    signature += map(kind_of, tensors)
    return tensors, signature


class _Tracer(TorchFunctionMode):
    """Write down every call of torch that gives a tensor; but ``torch.full`` of a number is a constant, and kept."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self._graph = Graph()
        self._nodes: MutableMapping[Tensor, Node] = WeakTensorKeyDictionary()
        self._constants: dict[Node, Tensor] = {}
        for number, tensor in enumerate(tensors):
            if tensor in self._nodes:
                raise RuntimeError(f"a traced function must be given no tensor twice, got one of {tuple(tensor.shape)}")
            self._nodes[tensor] = self._graph.placeholder(f"given_{number}")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor):
            if func not in TELLS_NO_VALUE:
                raise RuntimeError(
                    "a traced call of torch must give a tensor, or tell a tensor's shape, dtype or device, "
                    f"{func.__name__} gives {result}"
                )
        elif func is torch.full and not any(isinstance(each, Tensor) for each in (*args, *kwargs.values())):
            node = self._graph.placeholder(f"constant_{len(self._constants)}")
            self._nodes[result], self._constants[node] = node, result
        else:
            self._refuse_constant(result)
            self._nodes[result] = self._call(func, *map_aggregate((args, kwargs), self._operand))
        return result

    def replay(self, result: Tensor) -> Callable[..., Tensor]:
        """Return a function of the tensors that makes the calls and returns the one that gave this result."""
        if not isinstance(result, Tensor):
            raise RuntimeError(f"a traced function must return a tensor, got {result!r}")
        self._refuse_constant(result)
        self._graph.output(self._operand(result))
        calls = GraphModule({}, self._graph).forward  # a torch.nn.Module, of which the code alone is used
        return partial(calls, **{node.name: constant for node, constant in self._constants.items()})

    def _call(self, func: Any, args: Any, kwargs: Any) -> Node:
        if not is_tensor_method_or_property(func):
            return self._graph.call_function(func, args, kwargs)
        if func.__name__ == "__get__":  # a property, such as A.mT
            return self._graph.call_function(getattr, (*args, func.__self__.__name__))
        return self._graph.call_method(func.__name__, args, kwargs)

    def _operand(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if value not in self._nodes:
                raise RuntimeError(
                    "a traced function must use tensors that are its arguments or made of them, "
                    f"got another one of shape {tuple(value.shape)}"
                )
            return self._nodes[value]
        if value is not None and value is not ... and type(value) not in base_types:
            raise RuntimeError(f"a traced function must use numbers of Python, got {value!r} of {type(value)}")
        return value

    def _refuse_constant(self, result: Tensor) -> None:
        if self._nodes.get(result) in self._constants:
            raise RuntimeError(f"a traced function must not change or return a constant, got {result}")
