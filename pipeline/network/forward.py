"""Forward propagation: section 1 of the assignment, its functions in its order.

An example is a column: activations are ``(..., units, m)``, weights ``(..., n_l, n_{l-1})`` and
biases ``(..., n_l, 1)``. ``...`` stands for any number of replica axes, which broadcast as PyTorch
broadcasts; so sixteen networks of shape ``(16, n_l, n_{l-1})`` run as one.

NumPy arrays and tensors of float32 or float64 are taken, tensors are returned, and dtype and device follow the input.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.network.precision import product

if TYPE_CHECKING:
    import numpy as np

    Array = Tensor | np.ndarray[Any, Any]

Parameters = dict[str, Tensor]
Cache = dict[str, Any]

BATCHNORM_EPSILON = 1e-5
BATCHNORM_MOMENTUM = 0.1


def initialize_parameters(
    layer_dims: Sequence[int], *, seed: int | torch.Generator = 0, dtype: torch.dtype = torch.float32
) -> Parameters:
    """Draw He-initialised weights and zero biases (assignment, section 1a).

    Parameters
    ----------
    layer_dims : sequence of int
        Units of each layer, from the flattened input to the output softmax.
    seed : int or torch.Generator
        The source of randomness; the same seed gives the same start in every dtype.
    dtype : torch.dtype
        Floating type of the parameters.

    Returns
    -------
    dict
        ``W{l}`` of shape ``(n_l, n_{l-1})`` and ``b{l}`` of shape ``(n_l, 1)``, for l = 1..L.

    Raises
    ------
    ValueError
        If there are fewer than two layers, one of them has no whole number of units, the seed is none that
        torch.Generator takes, or the dtype not floating.

    References
    ----------
    K. He et al., "Delving deep into rectifiers", 2015, eq. 10.
    """
    layer_dims = sizes_of_layers("layer_dims", layer_dims)
    if not isinstance(seed, torch.Generator):
        require_seed("seed, if it is no torch.Generator,", seed)
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating type, got {dtype}")
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(int(seed))
    parameters: Parameters = {}
    for layer, (inputs, units) in enumerate(itertools.pairwise(layer_dims), start=1):
        W = torch.randn(units, inputs, generator=generator, dtype=torch.float64) * math.sqrt(2 / inputs)
        parameters[f"W{layer}"] = W.to(dtype)
        parameters[f"b{layer}"] = torch.zeros(units, 1, dtype=dtype)
    return parameters


def linear_forward(A: Array, W: Array, b: Array) -> tuple[Tensor, Cache]:
    """Compute ``Z = W A + b`` (assignment, section 1b).

    Parameters
    ----------
    A : (..., n_{l-1}, m)
        Activations of the previous layer.
    W : (..., n_l, n_{l-1})
    b : (..., n_l, 1)

    Returns
    -------
    Z : (..., n_l, m)
    linear_cache : dict
        ``A``, ``W`` and ``b``.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or the dtypes differ.
    """
    A, W, b = as_tensor(A), as_tensor(W), as_tensor(b)
    of_A, of_W, of_b = A.shape, W.shape, b.shape
    matrices = len(of_A) > 1 and len(of_W) > 1 and len(of_b) > 1
    if not matrices or of_W[-1] != of_A[-2] or of_b[-2] != of_W[-2] or of_b[-1] != 1:
        raise ValueError(
            "linear_forward wants A (..., n_prev, m), W (..., n, n_prev) and b (..., n, 1), "
            f"got A {tuple(of_A)}, W {tuple(of_W)} and b {tuple(of_b)}"
        )
    if not A.dtype == W.dtype == b.dtype:
        raise ValueError(f"linear_forward wants A, W and b of one dtype, got {A.dtype}, {W.dtype} and {b.dtype}")
    return product(W, A, b), {"A": A, "W": W, "b": b}


def softmax(Z: Array) -> tuple[Tensor, Tensor]:
    """Turn logits into probabilities, column by column (assignment, section 1c).

    The logits are shifted by their maximum, and no probability is below the smallest normal number:
    whatever the logits, if they are finite, so are ``log(A)`` and ``1 / A``.

    Parameters
    ----------
    Z : (..., units, m)

    Returns
    -------
    A : (..., units, m)
        Each column sums to one.
    activation_cache : (..., units, m)
        ``Z``.

    Raises
    ------
    ValueError
        If ``Z`` has fewer than two axes.
    """
    Z = as_tensor(Z)
    if Z.dim() < 2:
        raise ValueError(f"softmax wants Z of shape (..., units, m), got {tuple(Z.shape)}")
    A = (Z - Z.amax(dim=-2, keepdim=True)).exp_()
    A /= A.sum(dim=-2, keepdim=True)
    return A.clamp_min_(torch.finfo(A.dtype).tiny), Z


def relu(Z: Array) -> tuple[Tensor, Tensor]:
    """Replace what is negative by zero (assignment, section 1d).

    Parameters
    ----------
    Z : (..., units, m)

    Returns
    -------
    A : (..., units, m)
    activation_cache : (..., units, m)
        ``Z``.
    """
    Z = as_tensor(Z)
    return Z.clamp_min(0), Z


def linear_activation_forward(A_prev: Array, W: Array, B: Array, activation: str) -> tuple[Tensor, Cache]:
    """Run one layer, LINEAR -> ACTIVATION (assignment, section 1e).

    Parameters
    ----------
    A_prev : (..., n_{l-1}, m)
    W : (..., n_l, n_{l-1})
    B : (..., n_l, 1)
    activation : {"relu", "softmax"}

    Returns
    -------
    A : (..., n_l, m)
    cache : dict
        ``linear_cache`` and ``activation_cache``.

    Raises
    ------
    ValueError
        If the activation is unknown or the shapes do not fit each other.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
    Z, linear_cache = linear_forward(A_prev, W, B)
    A, activation_cache = ACTIVATIONS[activation](Z)
    return A, {"linear_cache": linear_cache, "activation_cache": activation_cache}


ACTIVATIONS = {"relu": relu, "softmax": softmax}


def L_model_forward(
    X: Array, parameters: Mapping[str, Array], use_batchnorm: bool, *, inference: bool = False
) -> tuple[Tensor, list[Cache]]:
    """Run [LINEAR -> RELU -> (BATCHNORM)] * (L-1) -> LINEAR -> SOFTMAX (assignment, section 1f).

    Parameters
    ----------
    X : (..., n_0, m)
        The examples, one a column; taken in the dtype of the parameters.
    parameters : dict
        ``W{l}`` and ``b{l}``. In training with batchnorm the running statistics ``mean{l}`` and
        ``var{l}`` of each hidden layer are kept here too: made at the first call, and from then on
        updated in place with the momentum and the unbiased variance of ``torch.nn.BatchNorm1d``.
    use_batchnorm : bool
        Whether to normalise each hidden layer's activations.
    inference : bool
        Normalise by the running statistics, and leave them as they are.

    Returns
    -------
    AL : (..., n_L, m)
        Probabilities of the classes.
    caches : list of dict
        Layer by layer ``linear_cache``, ``activation_cache`` and, with batchnorm, ``batchnorm_cache``:
        None at inference, where there is no backward pass.

    Raises
    ------
    ValueError
        If shapes do not fit, or inference with batchnorm finds no running statistics.
    """
    L = number_of_layers(parameters)
    W1 = as_tensor(parameters["W1"])
    A = as_tensor(X, W1.dtype)
    if A.dim() < 2 or A.shape[-2] != W1.shape[-1]:
        raise ValueError(f"X must have shape (..., {W1.shape[-1]}, m) for W1 {tuple(W1.shape)}, got {tuple(A.shape)}")
    caches = []
    for layer in range(1, L):
        A, cache = linear_activation_forward(A, parameters[f"W{layer}"], parameters[f"b{layer}"], "relu")
        if use_batchnorm and inference:
            if f"mean{layer}" not in parameters:
                raise ValueError(f"parameters hold no running statistics mean{layer}: train with batchnorm first")
            A = apply_batchnorm(A, mean=parameters[f"mean{layer}"], var=parameters[f"var{layer}"])
            cache["batchnorm_cache"] = None  # these statistics are none of A's
        elif use_batchnorm:
            A, cache["batchnorm_cache"] = batchnorm_forward(A)
            _update_running_statistics(parameters, layer, cache["batchnorm_cache"])
        caches.append(cache)
    AL, cache = linear_activation_forward(A, parameters[f"W{L}"], parameters[f"b{L}"], "softmax")
    return AL, [*caches, cache]


def compute_cost(
    AL: Array, Y: Array, *, parameters: Mapping[str, Array] | None = None, l2: float | Tensor = 0.0
) -> Tensor:
    """Average the categorical cross-entropy over the examples (assignment, section 1g).

    Parameters
    ----------
    AL : (..., classes, m)
        Predicted probabilities.
    Y : (..., classes, m)
        One-hot labels.
    parameters : dict, optional
        With it, the L2 penalty of these parameters is added.
    l2 : float or (...) tensor
        The penalty's lambda.

    Returns
    -------
    (...) tensor
        The cost in nats, one for each replica.

    Raises
    ------
    ValueError
        If the shapes of ``AL`` and ``Y`` differ in classes or examples, or l2 comes without parameters.
    """
    AL = as_tensor(AL)
    Y = as_tensor(Y, AL.dtype)
    if parameters is None and not (isinstance(l2, float | int) and l2 == 0):
        raise ValueError(f"compute_cost wants the parameters that l2 = {l2} is to penalise")
    if AL.dim() < 2 or AL.shape[-2:] != Y.shape[-2:]:
        raise ValueError(
            f"compute_cost wants AL and Y of one shape (classes, m), got {tuple(AL.shape)} and {tuple(Y.shape)}"
        )
    log_likelihood = (Y * AL.clamp(min=torch.finfo(AL.dtype).tiny).log()).sum(dim=-2)
    cost = -log_likelihood.mean(dim=-1)
    return cost if parameters is None else cost + l2_penalty(parameters, l2)


def l2_penalty(parameters: Mapping[str, Array], l2: float | Tensor) -> Tensor:
    """Compute ``l2 / 2 * sum ||W||^2`` over the weights, never the biases (assignment, section 6).

    Parameters
    ----------
    parameters : dict
    l2 : float or (...) tensor
        Lambda, one for all replicas or one for each.

    Returns
    -------
    (...) tensor
        The penalty, one for each replica.
    """
    weights = [as_tensor(parameters[f"W{layer}"]) for layer in range(1, number_of_layers(parameters) + 1)]
    squares = [W.square().sum(dim=(-2, -1)) for W in weights]
    return l2 / 2 * torch.stack(squares).sum(dim=0)


def apply_batchnorm(A: Array, *, mean: Array | None = None, var: Array | None = None) -> Tensor:
    """Normalise each unit over the examples, ``(A - mean) / sqrt(var + eps)`` (assignment, section 1h).

    No scale and no shift are learnt (assignment, section 5). A dead unit gives zeros; so does any constant one, but
    for the rounding of its mean.

    Parameters
    ----------
    A : (..., units, m)
    mean, var : (..., units, 1), optional
        The statistics to normalise by; without them those of ``A``.

    Returns
    -------
    NA : (..., units, m)
        The normalised activations.

    Raises
    ------
    ValueError
        If only one of the two statistics is given, or neither and there is no example.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization", 2015, algorithm 1.
    """
    A = as_tensor(A)
    if (mean is None) != (var is None):
        raise ValueError("apply_batchnorm wants both mean and var, or neither of them")
    if mean is None or var is None:
        return batchnorm_forward(A)[0]
    return (A - as_tensor(mean)) * torch.rsqrt(as_tensor(var) + BATCHNORM_EPSILON)


def batchnorm_forward(A: Array) -> tuple[Tensor, Cache]:
    """Normalise each unit by its own mean and biased variance over the examples.

    Parameters
    ----------
    A : (..., units, m)

    Returns
    -------
    NA : (..., units, m)
    batchnorm_cache : dict
        ``NA``, and of shape (..., units, 1) ``mean``, ``norm``, that of the centred activations, ``sqrt(m * var)``,
        and ``inverse_std``, ``1 / sqrt(var + eps)``.

    Raises
    ------
    ValueError
        If there is no example.
    """
    A = as_tensor(A)
    m = A.shape[-1]
    if m < 1:
        raise ValueError(f"batch norm wants at least one example, a column each, got A {tuple(A.shape)}")
    mean = A.sum(dim=-1, keepdim=True).div_(scalar(m, A))
    centred = A - mean
    norm = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)  # which needs no array of the squares
    inverse_std = torch.addcmul(scalar(BATCHNORM_EPSILON, A), norm, norm, value=1 / m).rsqrt_()
    NA = centred.mul_(inverse_std)
    return NA, {"NA": NA, "mean": mean, "norm": norm, "inverse_std": inverse_std}


def number_of_layers(parameters: Mapping[str, Array]) -> int:
    """Count the layers L of a network, the input not among them."""
    layers = [name[:1] for name in parameters].count("W")
    if not layers:
        raise ValueError(f"parameters must hold W1, b1 and so on, got {sorted(parameters)}")
    return layers


def as_tensor(array: Array, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor as it is and a NumPy array as the tensor that shares its memory, in another dtype as a copy.

    A flipped array is copied, since no tensor can share it.
    """
    tensor = array if isinstance(array, Tensor) else _from_numpy(array)
    return tensor if dtype is None or tensor.dtype == dtype else tensor.to(dtype)


def sizes_of_layers(name: str, layers: Sequence[int]) -> list[int]:
    """Return the units of each layer, and refuse what is not two or more whole numbers of them."""
    try:
        sizes = [operator.index(units) for units in layers]
    except TypeError:
        sizes = []
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"{name} must be two or more whole numbers of at least 1, got {list(layers)}")
    return sizes


def require_seed(name: str, seed: int) -> None:
    """Refuse a seed that torch.Generator does not take."""
    if not isinstance(seed, Integral) or not -(2**63) <= seed < 2**64:
        raise ValueError(f"{name} must be whole, from -2**63 to 2**64 - 1, got {seed!r}")


def scalar(value: float, like: Tensor) -> Tensor:
    """Return a number as a tensor of no axes, for what happens at every step.

    PyTorch makes one of a Python number at every call, which takes as long as to add two small arrays; a traced
    step makes this one once.
    """
    return torch.full((), value, dtype=like.dtype, device=like.device)


def _from_numpy(array: Any) -> Tensor:
    flipped = min(getattr(array, "strides", None) or [0]) < 0
    return torch.as_tensor(array.copy() if flipped else array)


def _update_running_statistics(parameters: Any, layer: int, batchnorm_cache: Cache) -> None:
    mean, norm, m = batchnorm_cache["mean"], batchnorm_cache["norm"], batchnorm_cache["NA"].shape[-1]
    if f"mean{layer}" not in parameters:
        parameters[f"mean{layer}"] = torch.zeros_like(mean)
        parameters[f"var{layer}"] = torch.ones_like(norm)
    kept = scalar(1 - BATCHNORM_MOMENTUM, norm)
    as_tensor(parameters[f"mean{layer}"]).lerp_(mean, BATCHNORM_MOMENTUM)
    as_tensor(parameters[f"var{layer}"]).mul_(kept).addcmul_(norm, norm, value=BATCHNORM_MOMENTUM / max(m - 1, 1))
