"""How networks begin: the gradients of their first step, and what training leaves of their random start."""

import math
from collections.abc import Mapping

import torch
from pandas import DataFrame, Series
from torch import Tensor

from pipeline.analysis.statistics import FEWEST, rank_correlation
from pipeline.network.backward import L_model_backward
from pipeline.network.ensemble import TrainingResult, initialize_ensemble
from pipeline.network.forward import L_model_forward
from pipeline.network.precision import full_precision


@full_precision()
def first_gradient_norms(X: Tensor, Y: Tensor, result: TrainingResult) -> DataFrame:
    """Measure the norm of ``dW{l}`` before the first step: a row per network, a column ``W{l}`` per layer.

    ``X`` is ``(n_0, m)`` and ``Y`` ``(n_L, m)``. Networks with batch norm go through it,
    and all compute in their own dtype.
    """
    AL, caches = L_model_forward(X, start(result), "mean1" in result.parameters)
    grads = L_model_backward(AL, Y, caches)
    return weight_norms({name.removeprefix("d"): each for name, each in grads.items()})


def gradient_factors(norms: DataFrame) -> "Series[float]":
    """Return, layer by layer, the largest of the networks' norms over the smallest above zero, that of a dead start."""
    return (norms.max() / norms[norms > 0].min()).fillna(1.0)


def late_start(norms: DataFrame, steps: "Series[float]") -> DataFrame:
    """Correlate the networks' first gradients with the ``steps`` they took to learn, by ranks, layer by layer.

    ``correlation`` is below zero if networks with a small gradient learn late; its ``p`` is multiplied by the number
    of layers, as each is a test of its own (Bonferroni). A network that never learnt, NaN, is the last. A layer whose
    values are all the same is left out; all are for fewer networks than have an interval, or if all took the same
    number of steps.
    """
    layers = norms.items() if len(norms) >= FEWEST else ()
    found = {layer: rank_correlation(norm, steps.fillna(math.inf)) for layer, norm in layers}
    table = DataFrame.from_dict(found, orient="index", columns=["correlation", "p"], dtype=float).dropna()
    return table.assign(p=(table["p"] * len(table)).clip(upper=1))


def start(result: TrainingResult) -> dict[str, Tensor]:
    """Return the parameters of the random start."""
    return initialize_ensemble(result.layers_dims, result.seeds, dtype=result.parameters["W1"].dtype)


def weight_norms(parameters: Mapping[str, Tensor]) -> DataFrame:
    """Measure the norm of each ``W{l}``: a row per network, a column per layer."""
    return DataFrame({name: W.norm(dim=1) for name, W in _flat(parameters).items()})


def along_start(result: TrainingResult) -> DataFrame:
    """Measure how much of each ``W{l}`` lies along its random start: a row per network, a column per layer.

    It is the share of the squared norm that lies along the start, ``100 * (W . W_0)^2 / (||W||^2 * ||W_0||^2)``.
    """
    starts, ends = _flat(start(result)), _flat(result.parameters)
    return DataFrame({name: 100 * torch.cosine_similarity(W_0, ends[name]) ** 2 for name, W_0 in starts.items()})


def _flat(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each ``W{l}`` in double precision, ``(networks, weights)``."""
    names = sorted((name for name in parameters if name.startswith("W")), key=lambda name: int(name[1:]))
    return {name: parameters[name].double().flatten(start_dim=1) for name in names}
