"""Backward propagation: section 2 of the assignment, each function the mirror of its forward twin.

``dZ`` and ``dA`` are gradients of the *sum* of the examples' losses, so the output layer's ``dZ`` is ``P - Y`` with
``P = softmax(Z)``. ``dW`` and ``db`` are divided by ``m``, the number of examples, a column each: they are gradients of
the cost, the mean. ``...`` are leading axes that count networks. Where networks share an array, its gradient is the sum
of theirs. No array is changed; :func:`update_parameters` puts new ones into its dictionary. Integers where floats are
wanted, shapes that do not fit, a malformed cache and an unknown activation raise a ValueError.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.network import arguments
from pipeline.network.arguments import Array, Cache, Parameters
from pipeline.network.forward import BATCHNORM_EPSILON, softmax


def linear_backward(
    dZ: Array, cache: Cache | tuple[Array, Array, Array], *, input_gradient: bool = True
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Pass the gradient through ``Z = W @ A_prev + b`` (assignment, 2a).

    ``dA_prev = W.mT @ dZ``, ``dW = dZ @ A_prev.mT / m``, ``db = sum of dZ over the examples / m``; ``.mT`` transposes.

    Parameters
    ----------
    dZ : (..., n_l, m)
    cache : dict or tuple
        The ``linear_cache``, or the tuple ``(A_prev, W, b)``.
    input_gradient : bool
        Whether to compute ``dA_prev``, which the first layer does not need.

    Returns
    -------
    dA_prev : (..., n_{l-1}, m) or None
    dW : (..., n_l, n_{l-1})
    db : (..., n_l, 1)
    """
    arguments.require_flags("linear_backward", input_gradient=input_gradient)
    dZ, A_prev, W, b = arguments.take_dZ("linear_backward", dZ, cache)
    m = A_prev.shape[-1]
    dA_prev = _sum_to(W.mT @ dZ, A_prev) if input_gradient else None
    dW = dZ @ A_prev.mT / m
    db = dZ.sum(dim=-1, keepdim=True) / m
    return dA_prev, _sum_to(dW, W), _sum_to(db, b)


def linear_activation_backward(
    dA: Array, cache: Cache | tuple[Any, Array], activation: str, *, input_gradient: bool = True
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Pass the gradient through one layer, LINEAR -> ACTIVATION (assignment, 2b).

    Parameters
    ----------
    dA : (..., n_l, m)
        Gradient at the layer's activation.
    cache : dict or pair
        ``linear_cache`` and ``activation_cache``.
    activation : {"relu", "softmax"}
    input_gradient : bool

    Returns
    -------
    dA_prev, dW, db
        As :func:`linear_backward` returns them.
    """
    arguments.require_activation("linear_activation_backward", activation, ACTIVATIONS_BACKWARD)
    arguments.require_flags("linear_activation_backward", input_gradient=input_gradient)
    linear_cache, Z = arguments.read_parts("linear_activation_backward", cache, "linear_cache", "activation_cache")
    with arguments.errors_named("linear_activation_backward", "dA and cache"):
        dZ = ACTIVATIONS_BACKWARD[activation](dA, Z)
        return linear_backward(dZ, linear_cache, input_gradient=input_gradient)


def relu_backward(dA: Array, activation_cache: Array) -> Tensor:
    """Let the gradient through where the unit was active, ``dZ = dA * (Z > 0)`` (assignment, 2c).

    Parameters
    ----------
    dA, activation_cache : (..., units, m)
        The gradient at the output, and ``Z``.

    Returns
    -------
    dZ : (..., units, m)
    """
    dA, Z = arguments.take_dA("relu_backward", dA, activation_cache)
    dZ = dA * (Z > 0)
    return dZ


def softmax_backward(dA: Array, activation_cache: Array) -> Tensor:
    """Multiply by the Jacobian of softmax, ``dZ = P * (dA - sum(P * dA))`` over the classes (assignment, 2d).

    For the gradient of the summed losses, ``dA = -Y / P``, the sum over the classes is -1, and ``dZ`` is ``P - Y``.

    Parameters
    ----------
    dA, activation_cache : (..., units, m)
        The gradient at the output, and ``Z``.

    Returns
    -------
    dZ : (..., units, m)
    """
    dA, Z = arguments.take_dA("softmax_backward", dA, activation_cache)
    P, _ = softmax(Z)
    dZ = P * (dA - (P * dA).sum(dim=-2, keepdim=True))
    return dZ


ACTIVATIONS_BACKWARD = {"relu": relu_backward, "softmax": softmax_backward}


def batchnorm_backward(dNA: Array, cache: Cache | tuple[Array, Array] | None) -> Tensor:
    """Pass the gradient through :func:`pipeline.network.forward.batchnorm_forward`, also through mean and variance.

    With ``g = dNA`` and ``n = NA``, ``dA = (g - mean(g) - n * mean(g * n)) / sqrt(variance + eps)``: the second term
    comes through the mean, the third through the variance, as both depend on every example (S. Ioffe,
    C. Szegedy, "Batch normalization", 2015, section 3).

    Parameters
    ----------
    dNA : (..., units, m)
    cache : dict or pair
        ``NA`` (..., units, m) and ``variance`` (..., units, 1).

    Returns
    -------
    dA : (..., units, m)

    Raises
    ------
    ValueError
        If the cache is None, as at inference.
    """
    g, n, variance = arguments.take_dNA("batchnorm_backward", dNA, cache)
    mean_g, mean_gn = g.mean(dim=-1, keepdim=True), (g * n).mean(dim=-1, keepdim=True)
    dA = (g - mean_g - n * mean_gn) / torch.sqrt(variance + BATCHNORM_EPSILON)
    return dA


def L_model_backward(
    AL: Array, Y: Array, caches: Sequence[Cache | tuple[Any, Array]], *, l2: float | Tensor = 0.0
) -> dict[str, Tensor]:
    """Go back through the whole network from ``dA{L} = -Y / AL``, the gradient of the summed losses (assignment, 2e).

    From layer L to 1, ``dA`` goes through :func:`batchnorm_backward`, if the layer has batch norm, and then
    ``dA_prev, dW, db = linear_activation_backward(dA, cache, activation)``. L2 adds ``l2 * W`` to ``dW``.

    Parameters
    ----------
    AL, Y : (..., n_L, m)
        Probabilities of the forward pass (a 0 counts as the smallest normal number), and one-hot labels.
    caches : list
        Those of the forward pass, dictionaries or tuples.
    l2 : float or (...) tensor
        Lambda of the L2 penalty, one for all networks or one for each.

    Returns
    -------
    dict
        ``dA{l}`` (at the output of layer l, after batch norm if there is one), ``dW{l}`` and ``db{l}``, for l = 1..L.

    Raises
    ------
    ValueError
        If the caches are those of inference with batch norm.
    """
    AL, Y = arguments.take_probabilities_and_labels("L_model_backward", AL, Y)
    l2 = arguments.take_lambda("L_model_backward", l2, AL, per_matrix=True)
    arguments.require_caches("L_model_backward", caches)
    L = len(caches)
    grads = {f"dA{L}": -Y / AL}
    for layer in range(L, 0, -1):
        cache, dA = caches[layer - 1], grads[f"dA{layer}"]
        activation = "softmax" if layer == L else "relu"
        with arguments.errors_named("L_model_backward", f"caches[{layer - 1}]"):
            if isinstance(cache, dict) and "batchnorm_cache" in cache:
                dA = batchnorm_backward(dA, cache["batchnorm_cache"])
            dA_prev, dW, db = linear_activation_backward(dA, cache, activation, input_gradient=layer > 1)
        if dA_prev is not None:
            grads[f"dA{layer - 1}"] = dA_prev
        if isinstance(l2, Tensor) or l2 != 0:
            W = arguments.read_W("L_model_backward", cache)
            dW = dW + l2 * W
        grads[f"dW{layer}"], grads[f"db{layer}"] = dW, db
    return grads


def update_parameters(parameters: Parameters, grads: Mapping[str, Array], learning_rate: float) -> Parameters:
    """Take one step of gradient descent, ``W - learning_rate * dW`` and ``b - learning_rate * db`` (assignment, 2f).

    Parameters
    ----------
    parameters : dict
        ``W{l}`` and ``b{l}``; also ``mean{l}`` and ``var{l}``, which stay as they are.
    grads : dict
        ``dW{l}`` and ``db{l}``, as :func:`L_model_backward` returns them.
    learning_rate : float

    Returns
    -------
    dict
        ``parameters`` itself, with new arrays in it.

    Raises
    ------
    ValueError
        If a name is unknown, a gradient is missing or of another shape, a parameter is under autograd, or the
        learning rate is not positive and finite.
    """
    arguments.require_learning_rate("update_parameters", learning_rate)
    updates = arguments.take_updates("update_parameters", parameters, grads)
    parameters.update({name: value - learning_rate * gradient for name, (value, gradient) in updates.items()})
    return parameters


def _sum_to(gradient: Tensor, of: Tensor) -> Tensor:
    """Sum the gradients of networks that share an array, as where several networks see the same examples."""
    return gradient if gradient.shape == of.shape else gradient.sum_to_size(of.shape)


Linear_backward = linear_backward
Update_parameters = update_parameters
