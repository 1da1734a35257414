"""Forward propagation: section 1 of the assignment, its functions in its order.

An example is a column: activations are ``(..., units, m)``, weights ``(..., n_l, n_{l-1})``, biases
``(..., n_l, 1)``. ``...`` is any number of leading axes that count networks: sixteen run as one. NumPy arrays and
tensors of floats are taken, and tensors are returned. No array is changed; with batch norm :func:`L_model_forward` puts
new running statistics into the dictionary. Integers where floats are wanted, shapes that do not fit and an unknown
activation raise a ValueError.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.network import arguments
from pipeline.network.arguments import Array, Cache, Parameters

BATCHNORM_EPSILON = 1e-5
BATCHNORM_MOMENTUM = 0.1
STATISTICS_AT_START = {"mean": 0.0, "var": 1.0}  # of the running statistics


def initialize_parameters(
    layer_dims: Sequence[int], *, seed: int | torch.Generator = 0, dtype: torch.dtype = torch.float32
) -> Parameters:
    """Draw He's weights, ``randn(n_l, n_{l-1}) * sqrt(2 / n_{l-1})``, and zero biases (assignment, 1a).

    K. He et al., "Delving deep into rectifiers", 2015, eq. 10.

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
        If the layers, the seed or the dtype are invalid.
    """
    layer_dims = arguments.take_layers_dims("initialize_parameters", "layer_dims", layer_dims)
    generator = arguments.take_generator("initialize_parameters", seed, dtype)
    parameters = {}
    for layer, (inputs, units) in enumerate(itertools.pairwise(layer_dims), start=1):
        W = torch.randn(units, inputs, generator=generator, dtype=torch.float64) * math.sqrt(2 / inputs)
        parameters[f"W{layer}"] = W.to(dtype)
        parameters[f"b{layer}"] = torch.zeros(units, 1, dtype=dtype)
    return parameters


def linear_forward(A: Array, W: Array, b: Array) -> tuple[Tensor, Cache]:
    """Compute ``Z = W @ A + b`` (assignment, 1b).

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
    """
    A, W, b = arguments.take_linear("linear_forward", A, W, b)
    Z = W @ A + b
    return Z, {"A": A, "W": W, "b": b}


def softmax(Z: Array) -> tuple[Tensor, Tensor]:
    """Compute ``A = exp(Z - max(Z)) / sum(exp(Z - max(Z)))``, column by column (assignment, 1c).

    Subtracting the maximum changes nothing and keeps ``exp`` from overflowing. No probability is below the
    smallest normal number, ``tiny``, so that ``log(A)`` and ``1 / A`` are finite.

    Parameters
    ----------
    Z : (..., units, m)

    Returns
    -------
    A, activation_cache : (..., units, m)
        Columns that sum to one, and ``Z``.
    """
    Z = arguments.take_columns("softmax", "Z", Z)
    exp_Z = torch.exp(Z - Z.amax(dim=-2, keepdim=True))
    A = exp_Z / exp_Z.sum(dim=-2, keepdim=True)
    return arguments.at_least_tiny(A), Z


def relu(Z: Array) -> tuple[Tensor, Tensor]:
    """Compute ``A = max(Z, 0)`` (assignment, 1d).

    Parameters
    ----------
    Z : (..., units, m)

    Returns
    -------
    A, activation_cache : (..., units, m)
        The activations, and ``Z``.
    """
    Z = arguments.take_array("relu", "Z", Z)
    A = Z.clamp(min=0)  # max(Z, 0)
    return A, Z


def linear_activation_forward(A_prev: Array, W: Array, B: Array, activation: str) -> tuple[Tensor, Cache]:
    """Run one layer, LINEAR -> ACTIVATION (assignment, 1e).

    Parameters
    ----------
    A_prev, W, B : (..., n_{l-1}, m), (..., n_l, n_{l-1}), (..., n_l, 1)
    activation : {"relu", "softmax"}

    Returns
    -------
    A : (..., n_l, m)
    cache : dict
        ``linear_cache`` and ``activation_cache``.
    """
    arguments.require_activation("linear_activation_forward", activation, ACTIVATIONS)
    with arguments.errors_named("linear_activation_forward", "A_prev, W and B"):
        Z, linear_cache = linear_forward(A_prev, W, B)
    A, activation_cache = ACTIVATIONS[activation](Z)
    return A, {"linear_cache": linear_cache, "activation_cache": activation_cache}


ACTIVATIONS = {"relu": relu, "softmax": softmax}


def L_model_forward(
    X: Array, parameters: dict[str, Any], use_batchnorm: bool, *, inference: bool = False
) -> tuple[Tensor, list[Cache]]:
    """Run [LINEAR -> RELU -> (BATCHNORM)] * (L-1) -> LINEAR -> SOFTMAX (assignment, 1f).

    Parameters
    ----------
    X : (..., n_0, m)
        The examples, one a column; taken in the dtype and on the device of the parameters.
    parameters : dict
        ``W{l}`` and ``b{l}``. Training with batch norm keeps the running statistics ``mean{l}`` and ``var{l}`` of
        each hidden layer here too, as ``torch.nn.BatchNorm1d`` does: new arrays at every call.
    use_batchnorm : bool
        Whether to normalise each hidden layer's activations.
    inference : bool
        Normalise by the running statistics, and leave them as they are.

    Returns
    -------
    AL : (..., n_L, m)
        Probabilities of the classes.
    caches : list of dict
        Layer by layer ``linear_cache``, ``activation_cache`` and, with batch norm, ``batchnorm_cache``: None at
        inference, where there is no backward pass.

    Raises
    ------
    ValueError
        If a batch to train on with batch norm has one example, or inference with it finds no running statistics.
    """
    A, L = arguments.take_network("L_model_forward", X, parameters, use_batchnorm, inference)
    caches = []
    for layer in range(1, L):
        A, cache = linear_activation_forward(A, parameters[f"W{layer}"], parameters[f"b{layer}"], "relu")
        if use_batchnorm and inference:
            A = apply_batchnorm(A, mean=parameters[f"mean{layer}"], var=parameters[f"var{layer}"])
            cache["batchnorm_cache"] = None  # no backward pass follows
        elif use_batchnorm:
            A, cache["batchnorm_cache"] = batchnorm_forward(A)
            update_running_statistics(parameters, layer, cache["batchnorm_cache"])
        caches.append(cache)
    AL, cache = linear_activation_forward(A, parameters[f"W{L}"], parameters[f"b{L}"], "softmax")
    return AL, [*caches, cache]


def compute_cost(
    AL: Array, Y: Array, *, parameters: Mapping[str, Array] | None = None, l2: float | Tensor = 0.0
) -> Tensor:
    """Compute the categorical cross-entropy, the mean over the examples of ``-sum(Y * log(AL))`` (assignment, 1g).

    Parameters
    ----------
    AL, Y : (..., classes, m)
        Predicted probabilities, taken as at least the smallest normal number, and one-hot labels.
    parameters : dict, optional
        With it, the L2 penalty of these parameters is added.
    l2 : float or (...) tensor
        The penalty's lambda.

    Returns
    -------
    (...) tensor
        The cost in nats, one for each network.

    Raises
    ------
    ValueError
        If ``Y`` holds class numbers, or l2 comes without parameters.
    """
    AL, Y = arguments.take_probabilities_and_labels("compute_cost", AL, Y)
    arguments.require_penalty(l2, parameters, AL)
    cost = -(Y * torch.log(AL)).sum(dim=-2).mean(dim=-1)
    return cost if parameters is None else cost + l2_penalty(parameters, l2)


def l2_penalty(parameters: Mapping[str, Array], l2: float | Tensor) -> Tensor:
    """Compute ``l2 / 2 * sum ||W||^2`` over the weights, never the biases (assignment, 6).

    Parameters
    ----------
    parameters : dict
    l2 : float or (...) tensor
        Lambda, one for all networks or one for each.

    Returns
    -------
    (...) tensor
        The penalty in nats, one for each network.
    """
    weights = arguments.take_weights("l2_penalty", parameters)
    l2 = arguments.take_lambda("l2_penalty", l2, weights[0])
    return l2 / 2 * torch.stack([(W**2).sum(dim=(-2, -1)) for W in weights]).sum(dim=0)


def apply_batchnorm(A: Array, *, mean: "Array | None" = None, var: "Array | None" = None) -> Tensor:
    """Normalise each unit over the examples, ``NA = (A - mean) / sqrt(variance + eps)`` (assignment, 1h).

    No scale and no shift are learnt (assignment, 5). A dead unit gives zeros. S. Ioffe, C. Szegedy, "Batch
    normalization", 2015, algorithm 1.

    Parameters
    ----------
    A : (..., units, m)
    mean, var : (..., units, 1), optional
        The statistics to normalise by; without them those of ``A``, its variance divided by m.

    Returns
    -------
    NA : (..., units, m)
        The normalised activations.

    Raises
    ------
    ValueError
        If only one of the two statistics is given, or none with a single example.
    """
    A = arguments.take_columns("apply_batchnorm", "A", A)
    if mean is None and var is None:
        arguments.require_batch("apply_batchnorm", "A", A, hint="mean and var")
        mean, variance = batch_statistics(A)
    else:
        mean, variance = arguments.take_statistics("apply_batchnorm", mean, var, A)
    NA = (A - mean) / torch.sqrt(variance + BATCHNORM_EPSILON)
    return NA


def batchnorm_forward(A: Array) -> tuple[Tensor, Cache]:
    """Normalise ``A`` as :func:`apply_batchnorm` does, and keep what the backward pass needs.

    Parameters
    ----------
    A : (..., units, m)

    Returns
    -------
    NA : (..., units, m)
    batchnorm_cache : dict
        ``NA``, and of shape (..., units, 1) the ``mean`` and ``variance`` of A.
    """
    A = arguments.take_columns("batchnorm_forward", "A", A)
    arguments.require_batch("batchnorm_forward", "A", A, hint="mean and var to apply_batchnorm")
    mean, variance = batch_statistics(A)
    NA = apply_batchnorm(A, mean=mean, var=variance)
    return NA, {"NA": NA, "mean": mean, "variance": variance}


def batch_statistics(A: Tensor) -> tuple[Tensor, Tensor]:
    """Compute each unit's ``mean(A)`` and ``mean((A - mean)**2)`` over the examples, ``(..., units, 1)`` both."""
    mean = A.mean(dim=-1, keepdim=True)
    variance = ((A - mean) ** 2).mean(dim=-1, keepdim=True)
    return mean, variance


def update_running_statistics(parameters: dict[str, Any], layer: int, batchnorm_cache: Cache) -> None:
    """Set ``mean{l}`` to ``0.9 * mean{l} + 0.1 * mean of the batch``, and ``var{l}`` likewise, unbiased."""
    mean, variance, m = batchnorm_cache["mean"], batchnorm_cache["variance"], batchnorm_cache["NA"].shape[-1]
    for kind, new in {"mean": mean, "var": m / (m - 1) * variance}.items():
        name = f"{kind}{layer}"
        if name not in parameters:
            parameters[name] = torch.full_like(new, STATISTICS_AT_START[kind])
        old = arguments.take_array("L_model_forward", name, parameters[name])
        updated = (1 - BATCHNORM_MOMENTUM) * old + BATCHNORM_MOMENTUM * new
        parameters[name] = updated.detach()  # under a caller's autograd they would hold on to every batch
