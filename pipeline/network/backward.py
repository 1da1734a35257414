"""Backward propagation: section 2 of the assignment, each function the mirror of its forward twin.

Gradients with respect to activations (``dA``, ``dZ``) are those of the *sum* of the examples' losses,
so that the output layer's ``dZ`` is ``p - y``; ``dW`` and ``db`` are divided by ``m`` and are gradients
of the cost, which is the mean. A gradient has the shape of what it is the gradient of, also where that
was broadcast over replica axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.network.forward import as_tensor, scalar, softmax
from pipeline.network.precision import product

if TYPE_CHECKING:
    from pipeline.network.forward import Array, Cache, Parameters


def linear_backward(
    dZ: Array, cache: Cache | tuple[Array, Array, Array], *, input_gradient: bool = True
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Pass the gradient through ``Z = W A_prev + b`` (assignment, section 2a).

    Parameters
    ----------
    dZ : (..., n_l, m)
    cache : dict or tuple
        The ``linear_cache``, or the tuple ``(A_prev, W, b)``.
    input_gradient : bool
        Whether to compute ``dA_prev``; the first layer's is the costliest product of all and unused.

    Returns
    -------
    dA_prev : (..., n_{l-1}, m) or None
    dW : (..., n_l, n_{l-1})
    db : (..., n_l, 1)

    Raises
    ------
    ValueError
        If ``dZ`` does not have the shape of ``W A_prev``.
    """
    A_prev, W, b = (cache["A"], cache["W"], cache["b"]) if isinstance(cache, dict) else cache
    dZ, A_prev, W, b = as_tensor(dZ), as_tensor(A_prev), as_tensor(W), as_tensor(b)
    of_dZ, of_A, of_W = dZ.shape, A_prev.shape, W.shape
    m = of_A[-1]
    if len(of_dZ) < 2 or of_dZ[-2] != of_W[-2] or of_dZ[-1] != m:
        raise ValueError(
            f"linear_backward wants dZ (..., {of_W[-2]}, {m}) for W {tuple(of_W)} "
            f"and A_prev {tuple(of_A)}, got {tuple(of_dZ)}"
        )
    dA_prev = _sum_to(of_A, product(W.mT, dZ)) if input_gradient else None
    dZ_mean = dZ / scalar(m, dZ)  # in the first layer, the largest, smaller than dW
    dW = _sum_to(of_W, product(dZ_mean, A_prev.mT))
    db = _sum_to(b.shape, dZ_mean.sum(dim=-1, keepdim=True))
    return dA_prev, dW, db


def linear_activation_backward(
    dA: Array, cache: Cache, activation: str, *, input_gradient: bool = True
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Pass the gradient through one layer, LINEAR -> ACTIVATION (assignment, section 2b).

    Parameters
    ----------
    dA : (..., n_l, m)
        Gradient at the layer's activation.
    cache : dict
        ``linear_cache`` and ``activation_cache``.
    activation : {"relu", "softmax"}
    input_gradient : bool
        Whether to compute ``dA_prev``.

    Returns
    -------
    dA_prev : (..., n_{l-1}, m) or None
    dW : (..., n_l, n_{l-1})
    db : (..., n_l, 1)

    Raises
    ------
    ValueError
        If the activation is unknown or the shapes do not fit each other.
    """
    if activation not in ACTIVATIONS_BACKWARD:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS_BACKWARD)}, got {activation!r}")
    dZ = ACTIVATIONS_BACKWARD[activation](dA, cache["activation_cache"])
    return linear_backward(dZ, cache["linear_cache"], input_gradient=input_gradient)


def relu_backward(dA: Array, activation_cache: Array) -> Tensor:
    """Let the gradient through where the unit was active (assignment, section 2c).

    Parameters
    ----------
    dA : (..., units, m)
    activation_cache : (..., units, m)
        ``Z``.

    Returns
    -------
    dZ : (..., units, m)
        ``dA``, which is finite, where ``Z > 0``; else zero.

    Raises
    ------
    ValueError
        If ``dA`` does not have the shape of ``Z``.
    """
    dA, Z = _same_shape("relu_backward", dA, activation_cache)
    active = Z.sign().clamp_min_(0)  # ones and zeros: a bool mask multiplies five times slower
    return active * dA


def softmax_backward(dA: Array, activation_cache: Array) -> Tensor:
    """Multiply by the Jacobian of softmax, ``p * (dA - <p, dA>)`` (assignment, section 2d).

    With the gradient of the cross-entropy, ``dA = -y / p``, this is ``p - y``; also where a probability
    underflows, since :func:`pipeline.network.forward.softmax` keeps ``p`` and ``1 / p`` finite.

    Parameters
    ----------
    dA : (..., units, m)
    activation_cache : (..., units, m)
        ``Z``.

    Returns
    -------
    dZ : (..., units, m)

    Raises
    ------
    ValueError
        If ``dA`` does not have the shape of ``Z``.
    """
    dA, Z = _same_shape("softmax_backward", dA, activation_cache)
    P, _ = softmax(Z)
    return P * (dA - (P * dA).sum(dim=-2, keepdim=True))


ACTIVATIONS_BACKWARD = {"relu": relu_backward, "softmax": softmax_backward}


def L_model_backward(AL: Array, Y: Array, caches: list[Cache], *, l2: float | Tensor = 0.0) -> dict[str, Tensor]:
    """Pass the cost's gradient through the whole network (assignment, section 2e).

    Parameters
    ----------
    AL : (..., n_L, m)
        Output of :func:`pipeline.network.forward.L_model_forward`.
    Y : (..., n_L, m)
        One-hot labels.
    caches : list of dict
        The forward pass's caches.
    l2 : float or (...) tensor
        Lambda of the L2 penalty, one for all replicas or one for each; adds ``l2 * W`` to ``dW``.

    Returns
    -------
    dict
        ``dA{l}`` (the gradient at the output of layer l), ``dW{l}`` and ``db{l}``, for l = 1..L.

    Raises
    ------
    ValueError
        If the shapes of ``AL`` and ``Y`` differ in classes or examples, or the caches are those of
        inference with batchnorm.
    """
    AL = as_tensor(AL)
    Y = as_tensor(Y, AL.dtype)
    if AL.shape[-2:] != Y.shape[-2:]:
        raise ValueError(
            f"L_model_backward wants AL and Y of one shape (classes, m), got {tuple(AL.shape)} and {tuple(Y.shape)}"
        )
    L = len(caches)
    grads = {f"dA{L}": -Y / AL}
    for layer in range(L, 0, -1):
        cache, input_gradient = caches[layer - 1], layer > 1
        if layer == L:  # p - y is what softmax_backward makes of -y / p
            dA_prev, dW, db = linear_backward(AL - Y, cache["linear_cache"], input_gradient=input_gradient)
        else:
            dA = grads[f"dA{layer}"]
            if "batchnorm_cache" in cache:
                dA = batchnorm_backward(dA, cache["batchnorm_cache"])
            dA_prev, dW, db = linear_activation_backward(dA, cache, "relu", input_gradient=input_gradient)
        if dA_prev is not None:
            grads[f"dA{layer - 1}"] = dA_prev
        grads[f"dW{layer}"], grads[f"db{layer}"] = dW, db
    if isinstance(l2, Tensor) or l2 != 0:
        weight_decay = l2.to(AL)[..., None, None] if isinstance(l2, Tensor) else scalar(l2, AL)
        for layer in range(1, L + 1):
            W = as_tensor(caches[layer - 1]["linear_cache"]["W"])
            grads[f"dW{layer}"] = torch.addcmul(grads[f"dW{layer}"], weight_decay, W)
    return grads


def update_parameters(parameters: Parameters, grads: Mapping[str, Array], learning_rate: float) -> Parameters:
    """Take one step of gradient descent, in place (assignment, section 2f).

    Parameters
    ----------
    parameters : dict
        ``W{l}`` and ``b{l}``; they are overwritten (a flipped NumPy array is replaced by its copy).
    grads : dict
        ``dW{l}`` and ``db{l}``, as :func:`L_model_backward` returns them.
    learning_rate : float

    Returns
    -------
    dict
        ``parameters`` itself.

    Raises
    ------
    ValueError
        If the learning rate is not positive and finite.
    """
    require_learning_rate(learning_rate)
    for name in parameters:
        if name[0] in "Wb":
            parameters[name] = as_tensor(parameters[name]).sub_(as_tensor(grads[f"d{name}"]), alpha=learning_rate)
    return parameters


def require_learning_rate(learning_rate: float) -> None:
    """Refuse a learning rate that is not positive and finite."""
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")


def batchnorm_backward(dNA: Array, cache: Cache | None) -> Tensor:
    """Pass the gradient through :func:`pipeline.network.forward.batchnorm_forward`, statistics included.

    The mean and the variance depend on every example, so the Jacobian is full:
    ``(g - mean(g) - n * mean(g * n)) / sqrt(var + eps)`` for the gradient g and the normalised n.

    Parameters
    ----------
    dNA : (..., units, m)
    cache : dict
        ``NA`` (..., units, m) and ``inverse_std`` (..., units, 1).

    Returns
    -------
    dA : (..., units, m)

    Raises
    ------
    ValueError
        If the cache is None, as at inference.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization", 2015, section 3.
    """
    if cache is None:
        raise ValueError("batchnorm_backward wants the cache of a training pass, got None, which inference leaves")
    dNA, NA, inverse_std = as_tensor(dNA), as_tensor(cache["NA"]), as_tensor(cache["inverse_std"])
    m = NA.shape[-1]
    total = dNA.sum(dim=-1, keepdim=True)
    projection = torch.linalg.vecdot(dNA, NA).unsqueeze(-1)
    return torch.addcmul(dNA, NA, projection, value=-1 / m).sub_(total, alpha=1 / m).mul_(inverse_std)


def _sum_to(shape: torch.Size, gradient: Tensor) -> Tensor:
    """Sum a gradient over the replica axes along which an array of this shape was broadcast."""
    return gradient if gradient.shape == shape else gradient.sum_to_size(shape)


def _same_shape(function: str, dA: Array, Z: Array) -> tuple[Tensor, Tensor]:
    dA, Z = as_tensor(dA), as_tensor(Z)
    if dA.shape != Z.shape and dA.shape[-2:] != Z.shape[-2:]:
        raise ValueError(f"{function} wants dA of the shape of Z, got {tuple(dA.shape)} and {tuple(Z.shape)}")
    return dA, Z


Linear_backward = linear_backward
Update_parameters = update_parameters
