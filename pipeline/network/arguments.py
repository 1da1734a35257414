"""What a caller hands in: arrays taken as tensors, and checks that name what is wrong.

``take_...`` checks an argument and returns it, an array as a tensor. ``read_...`` does so with the parts of a cache.
``require_...`` only refuses. Each raises a ValueError that says which function wants which argument, what came and
what is wanted. In a training step those that cost most return at once: the training has checked what it was given.
"""

import contextlib
import contextvars
import math
import operator
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "Tensor | np.ndarray[Any, Any]"
Parameters = dict[str, Tensor]
Cache = dict[str, Any]
Pair = tuple[Tensor, Tensor]

_is_unchecked = contextvars.ContextVar("is_unchecked", default=False)  # true in a training step, for its thread alone
_broadcast_shapes: Any = torch.broadcast_shapes  # which lacks type hints


def unchecked(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a training step skip the checks that cost most: in eager mode they would take 30 % of one network's step."""

    def step_unchecked(*arguments: Any, **settings: Any) -> Tensor:
        context = contextvars.copy_context()
        context.run(_is_unchecked.set, True)
        return context.run(step, *arguments, **settings)

    return step_unchecked


def take_array(function: str, name: str, array: Any, like: Tensor | None = None) -> Tensor:
    """Take an array of floats as a tensor, on the device and in the dtype of another one if that is given."""
    tensor = _take_numbers(function, name, array)
    if not tensor.is_floating_point():
        raise _error(function, f"floats as {name}", f"{tensor.dtype}: convert it by {_floats(name, array)}")
    return tensor if like is None else tensor.to(like.device, like.dtype)


def take_columns(function: str, name: str, array: Any) -> Tensor:
    """Take an array ``(..., units, m)`` of floats, an example a column and one at least."""
    tensor = take_array(function, name, array)
    if tensor.dim() < 2 or tensor.shape[-1] < 1:
        raise _error(function, f"{name} of shape (..., units, m), at least one example", tensor)
    return tensor


def take_fitting(function: str, name: str, array: Any, of: str, shape: Sequence[int], like: Tensor) -> Tensor:
    """Take an array of the units and columns of a shape, for as many networks."""
    tensor = take_array(function, name, array, like=like)
    if tensor.shape == shape:
        return tensor
    whole = _broadcast(tensor.shape, shape)
    if whole is None or tensor.shape[-2:] != tuple(shape[-2:]):
        raise _error(function, f"{name} of shape (..., {shape[-2]}, {shape[-1]}) for {of}", tensor)
    return tensor.expand(whole)


def take_statistic(function: str, name: str, array: Any, A: Tensor) -> Tensor:
    """Take a mean or a variance of each unit, like the activations."""
    return take_fitting(function, name, array, f"A {tuple(A.shape)}", (*A.shape[:-1], 1), like=A)


def take_statistics(function: str, mean: Any, var: Any, A: Tensor) -> Pair:
    """Take both statistics of a normalisation, like the activations."""
    if _is_unchecked.get():
        return mean, var
    if mean is None or var is None:
        raise _error(function, "both mean and var, or neither of them", "one")
    return take_statistic(function, "mean", mean, A), take_statistic(function, "var", var, A)


def take_probabilities_and_labels(function: str, AL: Any, Y: Any) -> Pair:
    """Take probabilities, raised to tiny as softmax does, and one-hot labels like them; class numbers are refused."""
    if _is_unchecked.get():
        return AL, Y
    AL, one_hot = take_columns(function, "AL", AL), _take_numbers(function, "Y", Y)
    if one_hot.shape[-2:] != AL.shape[-2:] or _networks(AL, one_hot) is None:
        got = f"{tuple(AL.shape)} and {tuple(one_hot.shape)}{_one_hot_hint('Y', Y, one_hot, AL.shape[-2])}"
        raise _error(function, "AL and Y of one shape (classes, m)", got)
    return at_least_tiny(AL), one_hot.to(AL.device, AL.dtype)


def at_least_tiny(P: Tensor) -> Tensor:
    """Compute ``max(P, tiny)``, where tiny is the smallest normal number: ``log(P)`` and ``1 / P`` are finite."""
    return P.clamp(min=torch.finfo(P.dtype).tiny)


def take_linear(function: str, A: Any, W: Any, b: Any, names: Sequence[str] = "AWb") -> tuple[Tensor, Tensor, Tensor]:
    """Take the arguments of ``W @ A + b``, which fit each other; A comes in the dtype of W."""
    if _is_unchecked.get():
        return A, W, b
    A_name, W_name, b_name = names
    W, b = take_array(function, W_name, W), take_array(function, b_name, b)
    A = take_array(function, A_name, A, like=W)
    if W.dtype != b.dtype:
        raise _error(function, f"{W_name} and {b_name} of one dtype", f"{W.dtype} and {b.dtype}")
    are_matrices = min(A.dim(), W.dim(), b.dim()) > 1 and _networks(A, W, b) is not None
    if not are_matrices or W.shape[-1] != A.shape[-2] or b.shape[-2:] != (W.shape[-2], 1):
        wanted = f"{A_name} (..., n_prev, m), {W_name} (..., n, n_prev) and {b_name} (..., n, 1)"
        got = f"{A_name} {tuple(A.shape)}, {W_name} {tuple(W.shape)} and {b_name} {tuple(b.shape)}"
        raise _error(function, wanted, got)
    return A, W, b


def take_network(function: str, X: Any, parameters: Any, use_batchnorm: bool, inference: bool) -> tuple[Tensor, int]:
    """Take data that fit the first layer of a network, whose layers fit each other, and the number of its layers L."""
    if _is_unchecked.get():
        return X, sum(name.startswith("W") for name in parameters)
    require_flags(function, use_batchnorm=use_batchnorm, inference=inference)
    require_dict(function, "parameters", parameters, to_write=use_batchnorm and not inference)
    L = number_of_layers(parameters, function)
    X, _, b = take_linear(function, X, parameters["W1"], parameters["b1"], ("X", "W1", "b1"))
    if use_batchnorm and not inference:
        require_batch(function, "X", X, hint="inference=True")
    for layer in range(1, L):
        for name in (f"mean{layer}", f"var{layer}") if use_batchnorm else ():
            if name in parameters:
                take_statistic(function, name, parameters[name], b)
            elif inference:
                raise _error(
                    function, f"running statistics {name}", "parameters without it: train with batch norm first"
                )
        names = (f"b{layer}", f"W{layer + 1}", f"b{layer + 1}")  # biases have the shape of one example's activations
        _, _, b = take_linear(function, b, parameters[names[1]], parameters[names[2]], names)
    return X, L


def holds_statistics(parameters: Mapping[str, Any]) -> bool:
    """Tell whether parameters are of a network with batch norm."""
    return any(str(name).startswith(("mean", "var")) for name in parameters)


def require_batch(function: str, name: str, A: Tensor, hint: str) -> None:
    """Refuse a single example to normalise: by itself it is zero."""
    if A.shape[-1] < 2:
        got = f"{A.shape[-1]}: to predict, pass {hint}"
        raise _error(function, f"two examples or more as {name} to train with batch norm", got)


def read_parts(function: str, cache: Any, *names: str) -> list[Any]:
    """Read the parts of a cache: a dictionary of these names, or the assignment's tuple in this order."""
    try:
        values = [cache[name] for name in names] if isinstance(cache, dict) else [*cache]
    except (KeyError, TypeError):
        values = []
    if len(values) != len(names):
        got = "None, which inference leaves" if cache is None else _kind(cache)
        raise _error(function, f"{', '.join(names)} in cache", got)
    return values


def read_W(function: str, cache: Any) -> Tensor:
    """Read W from the cache of a layer."""
    linear_cache, _ = read_parts(function, cache, "linear_cache", "activation_cache")
    return take_array(function, "W", read_parts(function, linear_cache, "A", "W", "b")[1])


def take_dZ(function: str, dZ: Any, cache: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take the gradient at ``Z = W @ A + b``, and from the cache A, W and b, which fit each other."""
    A, W, b = read_parts(function, cache, "A", "W", "b")
    if _is_unchecked.get():
        return dZ, A, W, b
    A, W, b = take_linear(function, A, W, b, ("A of cache", "W of cache", "b of cache"))
    shape_of_Z = (*(_networks(A, W, b) or ()), W.shape[-2], A.shape[-1])
    return take_fitting(function, "dZ", dZ, "W @ A_prev", shape_of_Z, like=W), A, W, b


def take_dA(function: str, dA: Any, Z: Any) -> Pair:
    """Take the gradient at a layer's output and its cached Z, of one shape."""
    if _is_unchecked.get():
        return dA, Z
    if isinstance(Z, dict | tuple):
        raise _error(function, "the array Z as activation_cache", f"{_kind(Z)}: pass cache['activation_cache']")
    Z = take_columns(function, "activation_cache", Z)
    return take_fitting(function, "dA", dA, "activation_cache", Z.shape, like=Z), Z


def take_dNA(function: str, dNA: Any, cache: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Take the gradient at the normalised activations, and from the cache these and the variance."""
    NA, variance = read_parts(function, cache, "NA", "variance")
    if _is_unchecked.get():
        return dNA, NA, variance
    NA = take_columns(function, "NA of cache", NA)
    variance = take_statistic(function, "variance of cache", variance, NA)
    return take_fitting(function, "dNA", dNA, "NA", NA.shape, like=NA), NA, variance


def require_dict(function: str, name: str, value: Any, *, to_write: bool = False) -> None:
    """Refuse what is no dictionary, and one that cannot be written to, if it is to be."""
    if not isinstance(value, MutableMapping if to_write else Mapping):
        raise _error(function, f"a dict as {name}", _kind(value))


def require_caches(function: str, caches: Any) -> None:
    """Refuse what is no list of caches."""
    if not isinstance(caches, list | tuple) or not caches:
        raise _error(function, "a list of the caches of all layers", _kind(caches))


def errors_named(function: str, argument: str) -> contextlib.AbstractContextManager[None]:
    """Let the error of a function that is called inside name the outer function and its argument."""
    return contextlib.nullcontext() if _is_unchecked.get() else _errors_named(function, argument)


@contextlib.contextmanager
def _errors_named(function: str, argument: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{function} wants valid {argument}: {error}") from None


def take_lambda(function: str, l2: Any, like: Tensor, *, per_matrix: bool = False) -> float | Tensor:
    """Take lambda as one number for all networks, or as a tensor of one for each, in front of a matrix if wanted."""
    if 0 <= _real(l2) < math.inf:
        return float(l2)
    if not hasattr(l2, "shape"):
        raise _error(function, "l2 as a number of at least 0, or an array of one for each network", _shown(l2))
    tensor = take_array(function, "l2", l2, like=like)
    if not _is_unchecked.get():
        if _broadcast(tensor.shape, like.shape[:-2]) is None:
            raise _error(function, f"l2 for networks {tuple(like.shape[:-2])}", tensor)
        # The compiler cannot look at values, and on a GPU the CPU would wait for them.
        may_look = tensor.is_cpu and not torch.compiler.is_compiling()
        if may_look and not ((tensor >= 0) & tensor.isfinite()).all():
            raise _error(function, "l2 of at least 0 and finite", _shown(l2))
    return tensor[..., None, None] if per_matrix else tensor


def take_weights(function: str, parameters: Any) -> list[Tensor]:
    """Take the weights of each layer, for as many networks."""
    names = [f"W{layer}" for layer in range(1, number_of_layers(parameters, function) + 1)]
    taken = [take_array(function, name, parameters[name]) for name in names]
    networks = _networks(*taken) if min(W.dim() for W in taken) > 1 else None
    if networks is None:
        raise _error(function, f"{', '.join(names)} (..., n, n_prev)", [tuple(W.shape) for W in taken])
    return [W.expand(*networks, *W.shape[-2:]) for W in taken]


def require_penalty(l2: Any, parameters: Any, AL: Tensor) -> None:
    """Refuse an invalid lambda, and a lambda without the parameters of a network to penalise."""
    if _is_unchecked.get():
        return
    l2 = take_lambda("compute_cost", l2, AL)
    if parameters is not None:
        take_weights("compute_cost", parameters)
    elif isinstance(l2, Tensor) or l2 != 0:
        raise ValueError(f"compute_cost wants the parameters that l2 = {l2} is to penalise")


def take_updates(function: str, parameters: Any, grads: Any) -> dict[str, Pair]:
    """Take each ``W{l}`` and ``b{l}`` with its gradient, of its shape; refuse names that no network has."""
    if _is_unchecked.get():
        return {name: (parameters[name], grads[f"d{name}"]) for name in parameters if name[0] in "Wb"}
    require_dict(function, "parameters", parameters, to_write=True)
    require_dict(function, "grads", grads)
    L, updates = number_of_layers(parameters, function), {}
    statistics = {f"{kind}{layer}" for layer in range(1, L) for kind in ("mean", "var")}
    for name in [name for name in parameters if name not in statistics]:
        if not str(name).startswith(("W", "b")):
            wanted = f"parameters W, b, mean, var with a layer's number, mean and var below {L}"
            raise _error(function, wanted, _shown(name))
        if f"d{name}" not in grads:
            raise _error(function, f"the gradient d{name} in grads", _kind(grads))
        for each, array in ((name, parameters[name]), (f"d{name}", grads[f"d{name}"])):
            if getattr(array, "requires_grad", False):
                got = "one that requires grad: detach it, and the data that it comes from"
                raise _error(function, f"{each} without autograd", got)
        parameter = take_array(function, name, parameters[name])
        gradient = take_array(function, f"d{name}", grads[f"d{name}"], like=parameter)
        if gradient.shape != parameter.shape:
            raise _error(function, f"d{name} of the shape of {name}, {tuple(parameter.shape)}", gradient)
        updates[name] = parameter, gradient
    return updates


def number_of_layers(parameters: Mapping[str, Any], function: str = "number_of_layers") -> int:
    """Count the layers L of a network, the input not among them; all of W1..WL and b1..bL must be there, no other."""
    require_dict(function, "parameters", parameters)
    held = {name for name in parameters if str(name).startswith(("W", "b"))}
    L = len(held) // 2
    if not L or held != {f"{kind}{layer}" for layer in range(1, L + 1) for kind in "Wb"}:
        odd = [f"{_shown(name)} in " for name in parameters if name in held and not name[1:].isdecimal()]
        raise _error(function, "parameters W1, b1 and so on", f"{', '.join(odd[:1])}{_kind(parameters)}")
    return L


def take_generator(function: str, seed: Any, dtype: torch.dtype) -> torch.Generator:
    """Take a generator as it is, and make one of a seed; refuse a dtype that would cut its numbers to whole ones."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise _error(function, "a floating type as dtype, such as torch.float32", _shown(dtype))
    if isinstance(seed, torch.Generator):
        return seed
    return torch.Generator().manual_seed(take_seeds(function, "seed", [seed])[0])


def require_activation(function: str, activation: str, known: Mapping[str, Any]) -> None:
    """Refuse the name of an activation that is unknown."""
    if not isinstance(activation, str) or activation not in known:
        raise _error(function, f"as activation one of {sorted(known)}", _shown(activation))


def require_flags(function: str, **flags: Any) -> None:
    """Refuse what is neither True nor False."""
    if _is_unchecked.get():
        return
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise _error(function, f"True or False as {name}", _shown(value))


def take_examples(function: str, X: Any, Y: Any, layers_dims: Sequence[int], names: Sequence[str] = "XY") -> Pair:
    """Take a set of examples: finite columns ``X`` (n_0, m) and one-hot columns ``Y`` (n_L, m) of the same dtype."""
    units, classes, (x_name, y_name) = layers_dims[0], layers_dims[-1], names
    inputs, labels = _take_numbers(function, x_name, X).detach(), _take_numbers(function, y_name, Y).detach()
    if inputs.dim() != 2 or inputs.shape[0] != units or inputs.shape[1] < 1:
        raise _error(function, f"{x_name} of shape ({units}, examples), an example a column", inputs)
    if inputs.dtype not in (torch.float32, torch.float64):
        hint = f": convert pixels by {_floats(x_name, X)} / 255" if not inputs.is_floating_point() else ""
        raise _error(function, f"{x_name} of float32 or float64", f"{inputs.dtype}{hint}")
    if not inputs.isfinite().all():
        raise _error(function, f"a finite {x_name}", f"NaN or inf in {int((~inputs.isfinite()).sum())} places")
    if labels.shape != (classes, inputs.shape[1]):
        got = f"{tuple(labels.shape)}{_one_hot_hint(y_name, Y, labels, classes)}"
        raise _error(function, f"{y_name} of shape ({classes}, {inputs.shape[1]})", got)
    is_one_hot = ((labels == 0) | (labels == 1)).all(dim=0) & (labels.sum(dim=0) == 1)
    if not is_one_hot.all():
        raise _error(function, f"a one-hot {y_name}, a single 1 a column", f"{int((~is_one_hot).sum())} other columns")
    return inputs, labels.to(inputs.device, inputs.dtype)


def take_validation(function: str, validation: Any, layers_dims: Sequence[int]) -> Pair | None:
    """Take the validation set, if there is one."""
    if validation is None:
        return None
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise _error(function, "a pair (X, Y) as validation, or None", _kind(validation))
    return take_examples(function, validation[0], validation[1], layers_dims, ("validation[0]", "validation[1]"))


def take_lambdas(function: str, l2: Any, networks: int) -> list[float]:
    """Return lambda network by network, from one number for all or one for each."""
    is_one_for_all = isinstance(l2, Real) or getattr(l2, "ndim", None) == 0
    try:
        lambdas = [float(each) for each in ([l2] * networks if is_one_for_all else l2)]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        lambdas = []
    if len(lambdas) != networks or not all(0 <= each < math.inf for each in lambdas):
        wanted = f"l2 of at least 0 and finite, as one number or one for each of {networks} networks"
        raise _error(function, wanted, _shown(l2))
    return lambdas


def require_settings(
    function: str,
    examples: int,
    *,
    use_batchnorm: Any,
    compile: Any,
    learning_rate: Any,
    min_delta: Any,
    progress: Any,
    **counts: Any,
) -> None:
    """Refuse wrong settings of a training, each by its name."""
    require_flags(function, use_batchnorm=use_batchnorm, compile=compile)
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= int(value) < 2**63:
            raise _error(function, f"a whole {name}, at least 1 and below 2**63", _shown(value))
    batch_size = counts["batch_size"]
    if batch_size > examples:
        raise _error(function, f"a batch_size of at most the {examples} examples", batch_size)
    if use_batchnorm and batch_size < 2:
        raise _error(function, "a batch_size of at least 2 for batch norm: one alone is normalised to zero", batch_size)
    require_learning_rate(function, learning_rate)
    if not 0 <= _real(min_delta) < math.inf:
        raise _error(function, "a min_delta of at least 0 and finite", _shown(min_delta))
    if not isinstance(progress, bool) and not callable(progress):
        raise _error(function, "True, False or a function as progress", _shown(progress))


def require_learning_rate(function: str, learning_rate: Any) -> None:
    """Refuse a learning rate that is not a positive and finite number."""
    if not _is_unchecked.get() and not 0 < _real(learning_rate) < math.inf:
        raise _error(function, "a positive and finite learning_rate", _shown(learning_rate))


def take_layers_dims(function: str, name: str, layers: Any) -> list[int]:
    """Take the units of each layer: two or more whole numbers of at least 1."""
    sizes = _whole_numbers(layers)
    if len(sizes) < 2 or min(sizes) < 1 or any(isinstance(units, bool) for units in layers):
        raise _error(function, f"{name} of two or more whole numbers of at least 1", _shown(layers))
    return sizes


def take_seeds(function: str, name: str, seeds: Any) -> list[int]:
    """Take seeds, one at least, that torch.Generator takes."""
    numbers = _whole_numbers(seeds)
    if not numbers or not all(-(2**63) <= number < 2**64 for number in numbers):
        raise _error(function, f"{name} whole, from -2**63 to 2**64 - 1, one at least", _shown(seeds))
    return numbers


def _whole_numbers(values: Any) -> list[int]:
    """Return whole numbers as a list, which is empty if they are not."""
    try:
        return [operator.index(value) for value in values]
    except TypeError:
        return []


def _take_numbers(function: str, name: str, array: Any) -> Tensor:
    if isinstance(array, Tensor):
        if array.layout != torch.strided:
            raise _error(function, f"a dense {name}", f"{array.layout}: convert it by {name}.to_dense()")
        return array
    numbers = array
    try:
        numbers = array.__array__() if hasattr(array, "__array__") else array
        if hasattr(numbers, "strides") and (not numbers.flags.writeable or min(numbers.strides, default=0) < 0):
            numbers = numbers.copy()  # a tensor shares NumPy's memory, and is never read-only or flipped
        return torch.as_tensor(numbers)
    except (TypeError, ValueError, RuntimeError) as error:
        dtype = getattr(numbers, "dtype", None)
        got = _kind(array) if dtype is None else f"{_kind(array)} of {dtype}"
        hint = f": convert it by {_floats(name, array)}" if dtype is not None and dtype.kind in "fO" else ""
        raise _error(function, f"an array of numbers as {name}", f"{got}{hint}") from error


def _real(value: Any) -> float:
    """Return a real number as a float, and what is none as NaN, which no range holds."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf


def _broadcast(*shapes: Sequence[int]) -> torch.Size | None:
    """Return the shape to which shapes broadcast, or None."""
    long = [shape for shape in shapes if len(shape)] or [shapes[0]]
    if all(shape == long[0] for shape in long):  # torch's function takes longer than a product
        return torch.Size(long[0])
    try:
        return torch.Size(_broadcast_shapes(*shapes))
    except RuntimeError:
        return None


def _networks(*arrays: Tensor) -> torch.Size | None:
    """Return the leading axes to which arrays broadcast, one network each, or None."""
    return _broadcast(*[array.shape[:-2] for array in arrays])


def _error(function: str, wanted: str, got: object) -> ValueError:
    return ValueError(f"{function} wants {wanted}, got {tuple(got.shape) if isinstance(got, Tensor) else got}")


def _floats(name: str, array: Any) -> str:
    name = name.partition(" of ")[0]  # of a cache
    return f"{name}.float()" if isinstance(array, Tensor) else f"numpy.asarray({name}, 'float32')"


def _one_hot_hint(name: str, given: Any, Y: Tensor, classes: int) -> str:
    if Y.dim() > 1 and 1 not in Y.shape:
        return ""
    is_tensor = isinstance(given, Tensor)
    columns = f"torch.eye({classes})[{name}.ravel()].T" if is_tensor else f"numpy.eye({classes})[numpy.ravel({name})].T"
    return f": make columns of class numbers by {columns}"


def _shown(value: Any) -> str:
    """Show a value on one line, and cut."""
    return f"{' '.join(repr(value).split()):.120}"


def _kind(value: Any) -> str:
    names = f" of {', '.join(map(str, value)) or 'nothing'}" if isinstance(value, Mapping) else ""
    if isinstance(value, list | tuple) and not value:
        return f"an empty {type(value).__name__}"
    return "None" if value is None else f"a {type(value).__name__}{names}"
