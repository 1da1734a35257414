"""How networks begin: the gradients of their first step, and what training leaves of their random start."""

from __future__ import annotations

from pandas import DataFrame
from torch import Tensor

from pipeline.network.arguments import number_of_layers
from pipeline.network.backward import L_model_backward
from pipeline.network.ensemble import TrainingResult, initialize_ensemble
from pipeline.network.forward import L_model_forward
from pipeline.network.precision import full_precision


@full_precision()
def first_gradient_norms(X: Tensor, Y: Tensor, result: TrainingResult) -> DataFrame:
    """Measure the norm of ``dW{l}`` before the first step: a row a network, a column ``W{l}`` a layer.

    ``X`` is ``(n_0, m)`` and ``Y`` ``(n_L, m)``. Networks with batch norm go through it.
    """
    use_batchnorm = "mean1" in result.parameters
    starts = initialize_ensemble(result.layers_dims, result.seeds, use_batchnorm=use_batchnorm, dtype=X.dtype)
    AL, caches = L_model_forward(X, starts, use_batchnorm)
    grads = L_model_backward(AL, Y, caches)
    norms = {f"W{layer}": grads[f"dW{layer}"] for layer in range(1, len(caches) + 1)}
    return DataFrame({name: dW.double().flatten(start_dim=1).norm(dim=1) for name, dW in norms.items()})


def start_norms(result: TrainingResult) -> DataFrame:
    """Measure the norm of each ``W{l}`` at its random start: a row a network, a column a layer."""
    return DataFrame({name: start.norm(dim=1) for name, (start, _) in _starts_and_ends(result).items()})


def along_start(result: TrainingResult) -> DataFrame:
    """Measure how much of each ``W{l}`` lies along its random start: a row a network, a column a layer.

    It is the share of the squared norm that lies along the start, ``100 * (W . W_0)^2 / (||W||^2 * ||W_0||^2)``.
    """
    return DataFrame(
        {
            name: 100 * (W * W_0).sum(dim=1) ** 2 / ((W**2).sum(dim=1) * (W_0**2).sum(dim=1))
            for name, (W_0, W) in _starts_and_ends(result).items()
        }
    )


def _starts_and_ends(result: TrainingResult) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each ``W{l}`` at the start and at the best step, flattened, ``(networks, weights)``."""
    starts = initialize_ensemble(result.layers_dims, result.seeds, dtype=result.parameters["W1"].dtype)
    names = [f"W{layer}" for layer in range(1, number_of_layers(result.parameters) + 1)]
    return {
        name: (starts[name].double().flatten(start_dim=1), result.parameters[name].double().flatten(start_dim=1))
        for name in names
    }
