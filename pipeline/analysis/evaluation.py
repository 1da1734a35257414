"""What trained stacks do: accuracy, confusion, mistakes, activations and weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.network.ensemble import TrainingResult
from pipeline.network.forward import L_model_forward, Parameters, number_of_layers
from pipeline.network.training import evaluate, forward_in_blocks, hits, initialize_stack

NEAR_ZERO = 0.01  # a weight this small counts as near zero
HISTOGRAM_BINS = 60
MISTAKES = 16
ACTIVATION_SAMPLE = 1000  # validation examples on which activations are looked at

Examples = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Evaluation:
    """What is known of one arm's networks.

    Attributes
    ----------
    accuracies, costs : dict of (replicas,) tensors
        In percent and nats, for ``train``, ``validation`` and ``test``.
    headline : int
        The replica with the lowest validation cost.
    confusion : (replicas, classes, classes) tensor
        Test examples, true class by predicted class. As in :func:`pipeline.network.training.predict` a tie is a miss:
        the rival counts as predicted.
    mistakes : dict of tensors
        The headline model's most confidently wrong test examples: ``images`` (standardised), ``true``,
        ``predicted`` and ``confidence``, the probability it gave to the class it predicted.
    activity : dict of (replicas, units) tensors
        For each hidden layer ``A{l}``, the share of training examples on which a unit's ReLU is active;
        0 is a dead unit.
    activations : dict of (2, replicas, 101) tensors
        For each hidden layer ``A{l}``, the percentiles of what its units pass on for a sample of the validation set,
        before the first step and at the best one. Batchnorm normalises by the sample, as in training.
    """

    accuracies: dict[str, Tensor]
    costs: dict[str, Tensor]
    headline: int
    confusion: Tensor
    mistakes: dict[str, Tensor]
    activity: dict[str, Tensor]
    activations: dict[str, Tensor]


def evaluate_arm(result: TrainingResult, sets: Mapping[str, Examples]) -> Evaluation:
    """Evaluate every replica on every set, and the headline model in detail.

    Parameters
    ----------
    result : TrainingResult
    sets : dict
        ``(X, Y)`` of ``train``, ``validation`` and ``test``. All is computed on their device.

    Returns
    -------
    Evaluation
        On the CPU.
    """
    device = sets["test"][0].device
    result = dataclasses.replace(result, parameters={name: each.to(device) for name, each in result.parameters.items()})
    costs, accuracies = {}, {}
    for name, (X, Y) in sets.items():
        costs[name], accuracies[name] = evaluate(X, Y, result.parameters)
    headline = int(costs["validation"].nan_to_num(nan=torch.inf).argmin())
    X_test, Y_test = sets["test"]
    confidence, predicted = _predictions(X_test, Y_test, result.parameters)
    true = Y_test.argmax(dim=0)
    wrong = (predicted[headline] != true).nonzero().flatten()
    worst = wrong[confidence[headline, wrong].argsort(descending=True, stable=True)[:MISTAKES]]
    evaluation = Evaluation(
        accuracies=accuracies,
        costs=costs,
        headline=headline,
        confusion=_confusion(true, predicted, classes=len(Y_test)),
        mistakes={
            "images": X_test[:, worst].mT,
            "true": true[worst],
            "predicted": predicted[headline, worst],
            "confidence": confidence[headline, worst],
        },
        activity=unit_activity(sets["train"][0], result.parameters),
        activations=_activations(sets["validation"][0][:, :ACTIVATION_SAMPLE], result),
    )
    return Evaluation(**{name: _on_cpu(value) for name, value in vars(evaluation).items()})


def unit_activity(X: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Measure for each hidden unit the share of examples on which its ReLU is active.

    Parameters
    ----------
    X : (n_0, examples) tensor
    parameters : dict

    Returns
    -------
    dict of (..., units) tensors
        ``A{l}`` for each hidden layer l.
    """
    counts = [
        [(cache["activation_cache"] > 0).sum(dim=-1) for cache in caches[:-1]]
        for _, caches in forward_in_blocks(X, parameters)
    ]
    return {
        f"A{layer}": torch.stack(blocks).sum(dim=0).double() / X.shape[1]
        for layer, blocks in enumerate(zip(*counts, strict=True), start=1)
    }


def weight_statistics(parameters: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Describe the weights layer by layer (assignment, section 6).

    Parameters
    ----------
    parameters : dict
        Stacked.

    Returns
    -------
    dict
        For each of ``W1``..``WL``, a value a network: Frobenius ``norm``, ``mean_magnitude``, ``maximum`` (of the
        magnitudes) and ``near_zero``, the percentage of magnitudes below 0.01.
    """
    statistics = {}
    for layer in range(1, number_of_layers(parameters) + 1):
        magnitudes = parameters[f"W{layer}"].double().abs().flatten(start_dim=1)
        statistics[f"W{layer}"] = {
            "norm": magnitudes.square().sum(dim=1).sqrt(),
            "mean_magnitude": magnitudes.mean(dim=1),
            "maximum": magnitudes.amax(dim=1),
            "near_zero": 100 * (magnitudes < NEAR_ZERO).double().mean(dim=1),
        }
    return statistics


def weight_histograms(arms: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Bin all seeds' weights of each arm, layer by layer, in bins that the arms share.

    Parameters
    ----------
    arms : dict of dict
        Each arm's stacked parameters.

    Returns
    -------
    dict
        For each layer ``W{l}``: ``centres`` of the bins, and for each arm the percentage of its weights in
        each; the outermost bins hold whatever lies beyond them.
    """
    histograms = {}
    for layer in range(1, number_of_layers(next(iter(arms.values()))) + 1):
        weights = {arm: parameters[f"W{layer}"].double().flatten() for arm, parameters in arms.items()}
        limit = max(values.abs().quantile(0.995).item() for values in weights.values())
        edges = torch.linspace(-limit, limit, HISTOGRAM_BINS + 1, dtype=torch.float64)
        shares = {
            arm: 100 * torch.histogram(values.clamp(-limit, limit), edges).hist / len(values)
            for arm, values in weights.items()
        }
        histograms[f"W{layer}"] = {"centres": (edges[1:] + edges[:-1]) / 2, **shares}
    return histograms


def _predictions(X: Tensor, Y: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return each network's predicted class, and the probability it gave to it, ``(replicas, examples)`` both."""
    AL = torch.cat([AL for AL, _ in forward_in_blocks(X, parameters)], dim=-1)
    of_rival, rival = (AL - Y).max(dim=-2)  # the true class is never its own rival
    is_hit = hits(AL, Y)
    return (AL * Y).sum(dim=-2).where(is_hit, of_rival), Y.argmax(dim=0).where(is_hit, rival)


def _confusion(true: Tensor, predicted: Tensor, classes: int) -> Tensor:
    replicas = torch.arange(len(predicted), device=predicted.device).unsqueeze(1)
    cells = (replicas * classes + true) * classes + predicted
    counts = torch.bincount(cells.flatten(), minlength=len(predicted) * classes**2)
    return counts.view(-1, classes, classes)


def _activations(X: Tensor, result: TrainingResult) -> dict[str, Tensor]:
    fractions = torch.linspace(0, 1, 101, dtype=torch.float64, device=X.device)
    use_batchnorm = "mean1" in result.parameters
    ends = {name: stacked.clone() for name, stacked in result.parameters.items()}  # whose running statistics will move
    forwards = [L_model_forward(X, stack, use_batchnorm)[1] for stack in (_starts(result), ends)]
    return {
        f"A{layer}": torch.stack(
            [caches[layer]["linear_cache"]["A"].double().flatten(1).quantile(fractions, dim=1).T for caches in forwards]
        )
        for layer in range(1, number_of_layers(result.parameters))
    }


def _starts(result: TrainingResult) -> Parameters:
    """Initialise the networks of a stack as they were before their first step."""
    weights = [result.parameters[f"W{layer}"] for layer in range(1, number_of_layers(result.parameters) + 1)]
    layers_dims = [weights[0].shape[-1], *(W.shape[-2] for W in weights)]
    return initialize_stack(layers_dims, result.seeds, dtype=weights[0].dtype, device=weights[0].device)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _on_cpu(each) for name, each in value.items()}
    return value.cpu() if isinstance(value, Tensor) else value
