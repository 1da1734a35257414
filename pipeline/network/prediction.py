"""Prediction: section 3b of the assignment, and the cost and accuracy of trained networks on a set of examples."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pipeline.network import arguments
from pipeline.network.arguments import Array, Cache
from pipeline.network.forward import L_model_forward, compute_cost
from pipeline.network.precision import full_precision

BLOCK = 2000  # examples evaluated at once, few enough that their activations stay in the processor's cache


def predict(
    X: Array, Y: Array, parameters: Mapping[str, Array], *, use_batchnorm: bool | None = None
) -> float | Tensor:
    """Measure how many examples' true class has the highest probability (assignment, 3b).

    It must be higher than every other: a tie counts as a miss. With batch norm, activations are normalised by the
    running statistics, so that the answer for an image does not depend on the other images.

    Parameters
    ----------
    X : (n_0, examples)
    Y : (n_L, examples)
        One-hot labels.
    parameters : dict
    use_batchnorm : bool, optional
        By default whether the parameters hold running statistics, ``mean{l}`` or ``var{l}``. With batch norm
        a missing one is an error.

    Returns
    -------
    float or (...) tensor
        Accuracy in percent, one for each network.

    Raises
    ------
    ValueError
        If ``X`` is not finite, ``Y`` not one-hot, a shape does not fit, or running statistics are missing.
    """
    weights = arguments.take_weights("predict", parameters)
    X, Y = arguments.take_examples("predict", X, Y, [weights[0].shape[-1], weights[-1].shape[-2]])
    if use_batchnorm is None:
        use_batchnorm = arguments.holds_statistics(parameters)
    arguments.take_network("predict", X, parameters, use_batchnorm, inference=True)
    if not use_batchnorm:
        parameters = {name: each for name, each in parameters.items() if name[0] in "Wb"}
    _, accuracy = evaluate(X, Y, parameters)
    return accuracy if accuracy.dim() else accuracy.item()


def evaluate(X: Tensor, Y: Tensor, parameters: Mapping[str, Array]) -> tuple[Tensor, Tensor]:
    """Compute the data cost in nats and the accuracy in percent of trained networks, ``(...)`` both, block by block.

    ``X`` is ``(n_0, examples)`` and ``Y`` ``(n_L, examples)``.
    """
    m, costs, correct = X.shape[1], [], []
    with full_precision():
        blocks = zip(forward_in_blocks(X, parameters), torch.split(Y, BLOCK, dim=1), strict=True)
        for (AL, _), Y_block in blocks:
            costs.append(compute_cost(AL, Y_block).double() * Y_block.shape[1])
            correct.append(is_correct(AL, Y_block.to(AL)).sum(dim=-1))
    return torch.stack(costs).sum(dim=0) / m, 100 * torch.stack(correct).sum(dim=0).double() / m


def forward_in_blocks(X: Tensor, parameters: Mapping[str, Array]) -> Iterator[tuple[Tensor, list[Cache]]]:
    """Run trained networks on 2,000 examples at a time, as L_model_forward does at inference."""
    use_batchnorm = arguments.holds_statistics(parameters)
    for X_block in torch.split(X, BLOCK, dim=1):
        yield L_model_forward(X_block, dict(parameters), use_batchnorm, inference=True)


def is_correct(AL: Tensor, Y: Tensor) -> Tensor:
    """Mark the examples whose true class has a higher probability than every other, ``(..., examples)``."""
    of_true_class = (AL * Y).sum(dim=-2)
    of_others = (AL * (1 - Y)).amax(dim=-2)
    return of_true_class > of_others


Predict = predict
