"""A training step without the Python between its calls of torch.

A step of small networks is about a hundred calls of torch that take a few microseconds each. The Python around them,
which checks shapes and decides what to call, decides alike at every step. So the calls of the first step are written
down, by ``torch.fx``, and the following steps make these calls alone: the same ones in the same order, so that every
bit is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property

KIND = attrgetter("shape", "dtype", "device")
SIZES = (Tensor.dim, Tensor.numel, Tensor.size, Tensor.__len__)


class Recorded:
    """Call a function, and from then on repeat its calls of torch, for as long as it is given what is alike.

    Arguments are alike if their names and numbers, and the shapes, dtypes and devices of their tensors are the same.

    Parameters
    ----------
    function : callable
        It takes tensors, dicts of tensors and numbers, and returns a tensor. What it keeps, it keeps by updating
        these tensors in place, and what it does depends on none of their values.

    Raises
    ------
    RuntimeError
        When called, if the function looks at a tensor's values, or uses a tensor that is neither one of its arguments
        nor made of them.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._alike: list[Any] | None = None
        self._repeat: Callable[..., Tensor]
        self._constants: list[Tensor]

    def __call__(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Take the function's arguments and return what it returns."""
        tensors: list[Tensor] = []
        alike: list[Any] = [*keywords]
        for argument in (*arguments, *keywords.values()):
            if isinstance(argument, Tensor):
                tensors.append(argument)
            elif isinstance(argument, dict):
                tensors += argument.values()
                alike += argument
            else:
                alike.append(argument)
        alike += map(KIND, tensors)
        if alike == self._alike:
            return self._repeat(*tensors, *self._constants)
        with _Recorder(tensors) as recorder:
            result = self._function(*arguments, **keywords)
        self._repeat, self._constants, self._alike = recorder.repeated(result), recorder.constants, alike
        return result


class _Recorder(TorchFunctionMode):
    """Write down every call of torch that gives a tensor; but a number made a tensor, by ``torch.full``, is kept."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self.constants: list[Tensor] = []
        self.graph = Graph()
        self._nodes: dict[int, Node] = {}
        self._living: list[Tensor] = []  # an id is a tensor's own while that lives
        for tensor in tensors:
            self._give(tensor)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is torch.full:
            self.constants.append(result)
            self._give(result)
        elif isinstance(result, Tensor):
            self._call(func, map_aggregate(args, self._operand), map_aggregate(kwargs, self._operand), result)
        elif func not in SIZES and func.__name__ != "__get__":
            raise RuntimeError(
                "a recorded call of torch must give a tensor, or tell a tensor's shape, dtype or device, "
                f"{func.__name__} gives {result}"
            )
        return result

    def repeated(self, result: Tensor) -> Callable[..., Tensor]:
        """Return a function of the tensors, then the constants, that makes the calls."""
        self.graph.output(self._operand(result))
        return GraphModule({}, self.graph).forward

    def _give(self, tensor: Tensor) -> None:
        self._keep(tensor, self.graph.placeholder(f"given_{len(self._living)}"))

    def _call(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> None:
        if not is_tensor_method_or_property(func):
            node = self.graph.call_function(func, args, kwargs)
        elif func.__name__ == "__get__":
            node = self.graph.call_function(getattr, (*args, func.__self__.__name__))
        else:
            node = self.graph.call_method(func.__name__, args, kwargs)
        self._keep(result, node)

    def _keep(self, tensor: Tensor, node: Node) -> None:
        self._nodes[id(tensor)] = node
        self._living.append(tensor)

    def _operand(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:
            raise RuntimeError(
                "a recorded function must use tensors that are its arguments or made of them, "
                f"got another one of shape {tuple(value.shape)}"
            )
        return self._nodes[id(value)]
