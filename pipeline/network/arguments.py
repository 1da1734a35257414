"""What a caller hands in: arrays taken as tensors, and checks that name what is wrong.

Every check raises a ValueError that says which function wants which argument, what came and what is wanted.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

    Array = Tensor | np.ndarray[Any, Any]

Parameters = dict[str, Tensor]
Cache = dict[str, Any]


def as_tensor(function: str, name: str, array: Any, like: Tensor | None = None) -> Tensor:
    """Take an array of floats as a tensor, on the device and in the dtype of another one if that is given.

    A NumPy array shares its memory with the tensor, unless it is read-only or flipped, as no tensor can be.
    """
    tensor = array if isinstance(array, Tensor) else _numbers(function, name, array)
    if not tensor.is_floating_point():
        hint = f"convert it, as by {name}.astype('float32')"
        raise ValueError(f"{function} wants floats as {name}, got {tensor.dtype}: {hint}")
    if like is None or (tensor.dtype == like.dtype and tensor.device == like.device):
        return tensor
    return tensor.to(like.device, like.dtype)


def columns(function: str, name: str, array: Any) -> Tensor:
    """Take an array ``(..., units, m)`` of floats, an example a column and one at least."""
    tensor = as_tensor(function, name, array)
    if tensor.dim() < 2 or tensor.shape[-1] < 1:
        wanted = "of shape (..., units, m), at least one example"
        raise ValueError(f"{function} wants {name} {wanted}, got {tuple(tensor.shape)}")
    return tensor


def labels(function: str, Y: Any, AL: Tensor) -> Tensor:
    """Take one-hot labels as a tensor like the probabilities; class numbers are refused."""
    one_hot = _numbers(function, "Y", Y)
    if one_hot.shape[-2:] != AL.shape[-2:]:
        got = f"{tuple(AL.shape)} and {tuple(one_hot.shape)}{_one_hot_hint('Y', one_hot, AL.shape[-2])}"
        raise ValueError(f"{function} wants AL and Y of one shape (classes, m), got {got}")
    return one_hot.to(AL.device, AL.dtype)


def linear(function: str, A: Any, W: Any, b: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Take the arguments of ``W @ A + b``, which fit each other; A comes in the dtype of W."""
    W, b = as_tensor(function, "W", W), as_tensor(function, "b", b)
    A = as_tensor(function, "A", A, like=W)
    if W.dtype != b.dtype:
        raise ValueError(f"{function} wants W and b of one dtype, got {W.dtype} and {b.dtype}")
    are_matrices = A.dim() > 1 and W.dim() > 1 and b.dim() > 1
    if not are_matrices or W.shape[-1] != A.shape[-2] or b.shape[-2:] != (W.shape[-2], 1):
        got = f"A {tuple(A.shape)}, W {tuple(W.shape)} and b {tuple(b.shape)}"
        raise ValueError(f"{function} wants A (..., n_prev, m), W (..., n, n_prev) and b (..., n, 1), got {got}")
    return A, W, b


def network_input(function: str, X: Any, W1: Any) -> Tensor:
    """Take data whose columns fit the first layer, on its device and in its dtype."""
    W1 = as_tensor(function, "W1", W1)
    A = as_tensor(function, "X", X, like=W1)
    if A.dim() < 2 or A.shape[-2] != W1.shape[-1]:
        wanted = f"X of shape (..., {W1.shape[-1]}, m) for W1 {tuple(W1.shape)}"
        raise ValueError(f"{function} wants {wanted}, got {tuple(A.shape)}")
    return A


def statistics(function: str, mean: Any, var: Any, A: Tensor) -> tuple[Tensor, Tensor]:
    """Take both statistics of a normalisation, like the activations."""
    if mean is None or var is None:
        raise ValueError(f"{function} wants both mean and var, or neither of them")
    taken = as_tensor(function, "mean", mean, like=A), as_tensor(function, "var", var, like=A)
    for name, tensor in zip(("mean", "var"), taken, strict=True):
        if tensor.shape[-2:] != (A.shape[-2], 1):
            raise ValueError(f"{function} wants {name} of shape (..., {A.shape[-2]}, 1), got {tuple(tensor.shape)}")
    return taken


def gradient(function: str, name: str, array: Any, at: str, shape: Sequence[int], like: Tensor) -> Tensor:
    """Take the gradient at something of the given units and examples."""
    tensor = as_tensor(function, name, array, like=like)
    if tensor.shape[-2:] != tuple(shape):
        wanted = f"the shape of {at}, (..., {shape[0]}, {shape[1]})"
        raise ValueError(f"{function} wants {name} of {wanted}, got {tuple(tensor.shape)}")
    return tensor


def activation_gradient(function: str, dA: Any, Z: Any) -> tuple[Tensor, Tensor]:
    """Take the gradient at a layer's output and its cached Z, of one shape."""
    if isinstance(Z, dict | tuple):
        hint = "pass cache['activation_cache']"
        raise ValueError(f"{function} wants the array Z as activation_cache, got {_kind(Z)}: {hint}")
    Z = columns(function, "activation_cache", Z)
    return gradient(function, "dA", dA, "Z", Z.shape[-2:], like=Z), Z


def parts(function: str, cache: Any, *names: str) -> list[Any]:
    """Read the parts of a cache: a dictionary of these names, or the assignment's tuple in this order."""
    try:
        values = [cache[name] for name in names] if isinstance(cache, dict) else [*cache]
    except (KeyError, TypeError):
        values = []
    if len(values) != len(names):
        raise ValueError(f"{function} wants a cache of {', '.join(names)}, got {_kind(cache)}")
    return values


def require_dict(function: str, name: str, value: Any) -> None:
    """Refuse what is no dictionary."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{function} wants a dict as {name}, got {_kind(value)}")


def require_caches(function: str, caches: Any) -> None:
    """Refuse what is no list of the caches of one layer at least."""
    if not isinstance(caches, list | tuple) or not caches:
        raise ValueError(f"{function} wants a list of the caches of all layers, got {_kind(caches)}")


def weights_in(cache: Any) -> Tensor:
    """Read W from the cache of a layer."""
    linear_cache, _ = parts("L_model_backward", cache, "linear_cache", "activation_cache")
    return as_tensor("L_model_backward", "W", parts("L_model_backward", linear_cache, "A", "W", "b")[1])


def lambda_of(function: str, l2: Any, like: Tensor, *, per_matrix: bool = False) -> float | Tensor:
    """Take lambda as one number for all networks, or as a tensor of one for each, in front of a matrix if wanted."""
    if isinstance(l2, Real) and 0 <= float(l2) < math.inf:
        return float(l2)
    if hasattr(l2, "shape"):
        tensor = as_tensor(function, "l2", l2, like=like)
        if not isinstance(l2, Tensor) and not ((tensor >= 0) & tensor.isfinite()).all():
            raise ValueError(f"{function} wants l2 of at least 0 and finite, got {l2!r}")
        return tensor[..., None, None] if per_matrix else tensor
    raise ValueError(f"{function} wants l2 as a number of at least 0, or an array of one for each network, got {l2!r}")


def names_to_update(parameters: Mapping[str, Any], grads: Mapping[str, Any]) -> list[str]:
    """List ``W{l}`` and ``b{l}``, each with its gradient; refuse names that no network has."""
    function, names = "update_parameters", []
    require_dict(function, "parameters", parameters)
    require_dict(function, "grads", grads)
    for name, array in parameters.items():
        kind = str(name).rstrip("0123456789")
        layer = str(name).removeprefix(kind)
        if kind not in ("W", "b", "mean", "var") or not layer or layer.startswith("0"):
            raise ValueError(f"{function} wants parameters W, b, mean, var with a layer's number, got {name!r}")
        if kind in ("W", "b"):
            names.append(name)
            if f"d{name}" not in grads:
                raise ValueError(f"{function} wants the gradient d{name}, got {', '.join(sorted(grads)) or 'none'}")
            if getattr(array, "requires_grad", False):
                raise ValueError(f"{function} wants {name} without autograd, got one that requires grad: detach it")
    return names


def gradient_of(name: str, parameter: Tensor, gradient: Any) -> Tensor:
    """Take the gradient of a parameter, of its shape."""
    tensor = as_tensor("update_parameters", f"d{name}", gradient, like=parameter)
    if tensor.shape != parameter.shape:
        wanted = f"d{name} of the shape of {name}, {tuple(parameter.shape)}"
        raise ValueError(f"update_parameters wants {wanted}, got {tuple(tensor.shape)}")
    return tensor


def number_of_layers(parameters: Mapping[str, Any], function: str = "number_of_layers") -> int:
    """Count the layers L of a network, the input not among them; all of W1..WL and b1..bL must be there."""
    require_dict(function, "parameters", parameters)
    L = sum(str(name).startswith("W") for name in parameters)
    if not L or not all(f"{kind}{layer}" in parameters for layer in range(1, L + 1) for kind in "Wb"):
        held = ", ".join(sorted(map(str, parameters))) or "none"
        raise ValueError(f"{function} wants parameters W1, b1 and so on, got {held}")
    return L


def generator_of(function: str, seed: Any, dtype: torch.dtype) -> torch.Generator:
    """Take a generator as it is, and make one of a seed; refuse a dtype that would cut its numbers to whole ones."""
    if not dtype.is_floating_point:
        raise ValueError(f"{function} wants a floating type as dtype, got {dtype}")
    if isinstance(seed, torch.Generator):
        return seed
    require_seeds(function, "seed", [seed])
    return torch.Generator().manual_seed(int(seed))


def require_activation(function: str, activation: str, known: Mapping[str, Any]) -> None:
    """Refuse the name of an activation that is unknown."""
    if activation not in known:
        raise ValueError(f"{function} wants as activation one of {sorted(known)}, got {activation!r}")


def require_batch(A: Tensor) -> None:
    """Refuse to train with batch norm on one example: normalised by itself it is zero."""
    if A.shape[-1] < 2:
        wanted = "two examples or more to train with batch norm"
        raise ValueError(f"L_model_forward wants {wanted}, got {A.shape[-1]}: to predict, pass inference=True")


def require_statistics(function: str, parameters: Mapping[str, Any], L: int) -> None:
    """Refuse inference with batch norm without the running statistics of each hidden layer."""
    for name in (f"{kind}{layer}" for layer in range(1, L) for kind in ("mean", "var")):
        if name not in parameters:
            hint = "train with batch norm first"
            raise ValueError(f"{function} wants running statistics {name}, which the parameters lack: {hint}")


def require_parameters_for(l2: float | Tensor, parameters: Any) -> None:
    """Refuse a penalty of nothing."""
    if parameters is None and (isinstance(l2, Tensor) or l2 != 0):
        raise ValueError(f"compute_cost wants the parameters that l2 = {l2} is to penalise")


def sizes_of_layers(function: str, name: str, layers: Sequence[int]) -> list[int]:
    """Return the units of each layer: two or more whole numbers of at least 1."""
    try:
        sizes = [operator.index(units) for units in layers]
    except TypeError:
        sizes = []
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"{function} wants {name} of two or more whole numbers of at least 1, got {layers!r}")
    return sizes


def examples(
    function: str, X: Any, Y: Any, layers_dims: Sequence[int], names: Sequence[str] = "XY"
) -> tuple[Tensor, Tensor]:
    """Take a set of examples: finite columns ``X`` (n_0, m) and one-hot columns ``Y`` (n_L, m) of the same dtype."""
    inputs, classes, (x_name, y_name) = layers_dims[0], layers_dims[-1], names
    X, Y = _numbers(function, x_name, X), _numbers(function, y_name, Y)
    if X.dim() != 2 or X.shape[0] != inputs or X.shape[1] < 1:
        raise ValueError(
            f"{function} wants {x_name} of shape ({inputs}, examples), an example a column, got {tuple(X.shape)}"
        )
    if X.dtype not in (torch.float32, torch.float64):
        hint = f": convert pixels by {x_name}.astype('float32') / 255" if X.dtype == torch.uint8 else ""
        raise ValueError(f"{function} wants {x_name} of float32 or float64, got {X.dtype}{hint}")
    if not X.isfinite().all():
        raise ValueError(f"{function} wants a finite {x_name}, got NaN or inf in {int((~X.isfinite()).sum())} places")
    if Y.shape != (classes, X.shape[1]):
        hint = _one_hot_hint(y_name, Y, classes)
        raise ValueError(f"{function} wants {y_name} of shape ({classes}, {X.shape[1]}), got {tuple(Y.shape)}{hint}")
    is_one_hot = ((Y == 0) | (Y == 1)).all(dim=0) & (Y.sum(dim=0) == 1)
    if not is_one_hot.all():
        wrong = int((~is_one_hot).sum())
        raise ValueError(f"{function} wants a one-hot {y_name}, a single 1 a column, got {wrong} other columns")
    return X, Y.to(X.device, X.dtype)


def validation_set(function: str, validation: Any, layers_dims: Sequence[int]) -> tuple[Tensor, Tensor] | None:
    """Take the validation set, if there is one."""
    names = ("validation[0]", "validation[1]")
    return None if validation is None else examples(function, validation[0], validation[1], layers_dims, names)


def lambda_of_each(function: str, l2: Any, networks: int) -> list[float]:
    """Return lambda network by network, from one number for all or one for each."""
    is_one_for_all = isinstance(l2, Real) or getattr(l2, "ndim", None) == 0
    wanted = f"{function} wants l2 as one number or one for each of the {networks} seeds"
    try:
        lambdas = [float(l2)] * networks if is_one_for_all else [float(each) for each in l2]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{wanted}, got {l2!r}") from error
    if len(lambdas) != networks:
        raise ValueError(f"{wanted}, got {len(lambdas)}")
    if not all(0 <= each < math.inf for each in lambdas):
        raise ValueError(f"{function} wants l2 of at least 0 and finite, got {lambdas}")
    return lambdas


def require_settings(
    function: str,
    examples: int,
    use_batchnorm: bool,
    learning_rate: Any,
    min_delta: Any,
    seeds: Mapping[str, Any],
    **counts: Any,
) -> None:
    """Refuse settings of a training that cannot be, each by its name."""
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= int(value) < 2**63:
            raise ValueError(f"{function} wants a whole {name}, at least 1 and below 2**63, got {value!r}")
    batch_size = counts["batch_size"]
    if batch_size > examples:
        raise ValueError(f"{function} wants a batch_size of at most the {examples} examples, got {batch_size}")
    if use_batchnorm and batch_size < 2:
        reason = "as one example is normalised to zero"
        raise ValueError(f"{function} wants a batch_size of at least 2 for batch norm, {reason}, got {batch_size}")
    require_learning_rate(function, learning_rate)
    if not isinstance(min_delta, Real) or not 0 <= float(min_delta) < math.inf:
        raise ValueError(f"{function} wants a min_delta of at least 0 and finite, got {min_delta!r}")
    for name, values in seeds.items():
        require_seeds(function, name, values)


def require_seeds(function: str, name: str, seeds: Sequence[Any]) -> None:
    """Refuse seeds that torch.Generator does not take, and a list of none."""
    if not len(seeds):
        raise ValueError(f"{function} wants at least one seed as {name}, got none")
    for seed in seeds:
        if not isinstance(seed, Integral) or not -(2**63) <= int(seed) < 2**64:
            raise ValueError(f"{function} wants {name} whole, from -2**63 to 2**64 - 1, got {seed!r}")


def require_learning_rate(function: str, learning_rate: Any) -> None:
    """Refuse a learning rate that is not a positive and finite number."""
    is_number = isinstance(learning_rate, Real) and not isinstance(learning_rate, bool)
    if not is_number or not 0 < float(learning_rate) < math.inf:
        raise ValueError(f"{function} wants a positive and finite learning_rate, got {learning_rate!r}")


def _numbers(function: str, name: str, array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array
    try:
        array = array.__array__() if hasattr(array, "__array__") else array
        if hasattr(array, "strides") and (not array.flags.writeable or min(array.strides, default=0) < 0):
            array = array.copy()
        return torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{function} wants an array of numbers as {name}, got {type(array).__name__}") from error


def _one_hot_hint(name: str, Y: Tensor, classes: int) -> str:
    return f": make columns of class numbers by numpy.eye({classes})[{name}].T" if Y.dim() == 1 else ""


def _kind(cache: Any) -> str:
    if cache is None:
        return "None, which inference leaves"
    if isinstance(cache, dict):
        return f"a dict of {', '.join(map(str, cache))}"
    return "an empty list" if cache == [] else f"a {type(cache).__name__}"
