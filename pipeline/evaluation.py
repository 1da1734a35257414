"""What trained stacks do: accuracy, confusion, weights, dead units, and how arms compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.forward import Cache, L_model_forward, number_of_layers
from pipeline.statistics import Comparison, compare
from pipeline.training import EVALUATION_BLOCK, TrainingResult, evaluate

NEAR_ZERO = 0.01  # a weight this small counts as near zero
HISTOGRAM_BINS = 60
MISTAKES = 16

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
    confusion : (classes, classes) tensor
        The headline model's test examples, true class by predicted class.
    mistakes : dict of tensors
        The headline model's most confidently wrong test examples: ``images`` (standardised), ``true``,
        ``predicted`` and ``confidence``, the probability it gave to the class it predicted.
    activity : dict of (replicas, units) tensors
        For each hidden layer ``A{l}``, the share of training examples on which a unit's ReLU is active;
        0 is a dead unit.
    """

    accuracies: dict[str, Tensor]
    costs: dict[str, Tensor]
    headline: int
    confusion: Tensor
    mistakes: dict[str, Tensor]
    activity: dict[str, Tensor]


def evaluate_arm(result: TrainingResult, sets: Mapping[str, Examples]) -> Evaluation:
    """Evaluate every replica on every set, and the headline model in detail.

    Parameters
    ----------
    result : TrainingResult
    sets : dict
        ``(X, Y)`` of ``train``, ``validation`` and ``test``.

    Returns
    -------
    Evaluation
    """
    costs, accuracies = {}, {}
    for name, (X, Y) in sets.items():
        costs[name], accuracies[name] = evaluate(X, Y, result.parameters)
    headline = int(costs["validation"].nan_to_num(nan=torch.inf).argmin())
    X_test, Y_test = sets["test"]
    model = {name: stack[headline] for name, stack in result.parameters.items()}
    probabilities = torch.cat([AL for AL, _ in _forward_in_blocks(X_test, model)], dim=-1)
    true, (confidence, predicted) = Y_test.argmax(dim=0), probabilities.max(dim=0)
    classes = len(Y_test)
    wrong = (predicted != true).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)[:MISTAKES]]
    return Evaluation(
        accuracies=accuracies,
        costs=costs,
        headline=headline,
        confusion=torch.bincount(true * classes + predicted, minlength=classes**2).view(classes, classes),
        mistakes={
            "images": X_test[:, worst].mT,
            "true": true[worst],
            "predicted": predicted[worst],
            "confidence": confidence[worst],
        },
        activity=unit_activity(sets["train"][0], result.parameters),
    )


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
        for _, caches in _forward_in_blocks(X, parameters)
    ]
    return {
        f"A{layer}": torch.stack(blocks).sum(dim=0).double() / X.shape[1]
        for layer, blocks in enumerate(zip(*counts, strict=True), start=1)
    }


def weight_statistics(parameters: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """Describe the weights layer by layer (brief, section 6).

    Parameters
    ----------
    parameters : dict
        Stacked; what depends on a single network is averaged over the replicas.

    Returns
    -------
    dict
        For each of ``W1``..``WL``: Frobenius ``norm``, ``mean_magnitude``, ``maximum`` (of the
        magnitudes) and ``near_zero``, the percentage of magnitudes below 0.01.
    """
    statistics = {}
    for layer in range(1, number_of_layers(parameters) + 1):
        magnitudes = parameters[f"W{layer}"].double().abs().flatten(start_dim=1)
        statistics[f"W{layer}"] = {
            "norm": magnitudes.square().sum(dim=1).sqrt().mean().item(),
            "mean_magnitude": magnitudes.mean().item(),
            "maximum": magnitudes.amax(dim=1).mean().item(),
            "near_zero": 100 * (magnitudes < NEAR_ZERO).double().mean().item(),
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
        weights = {arm: values[values.isfinite()] for arm, values in weights.items()}
        limit = max(values.abs().quantile(0.995).item() for values in weights.values())
        edges = torch.linspace(-limit, limit, HISTOGRAM_BINS + 1, dtype=torch.float64)
        shares = {
            arm: 100 * torch.histogram(values.clamp(-limit, limit), edges).hist / len(values)
            for arm, values in weights.items()
        }
        histograms[f"W{layer}"] = {"centres": (edges[1:] + edges[:-1]) / 2, **shares}
    return histograms


def compare_arms(
    result: TrainingResult,
    evaluation: Evaluation,
    reference: TrainingResult,
    reference_evaluation: Evaluation,
) -> dict[str, Comparison]:
    """Compare one arm with the reference, seed by seed.

    Returns
    -------
    dict
        ``test_accuracy``, ``validation_cost``, ``steps``; and at equal steps, the last evaluation that both
        networks of a pair reached, ``equal_steps_accuracy`` and ``equal_steps_cost``.
    """
    equal = torch.minimum(torch.tensor(result.steps), torch.tensor(reference.steps))

    def at_equal_steps(curve: str, of: TrainingResult) -> Tensor:
        evaluations = torch.tensor(of.evaluation_steps)
        rows = torch.searchsorted(evaluations, equal, right=True) - 1
        values: Tensor = getattr(of, curve)
        return values[rows, torch.arange(len(equal))]

    return {
        "test_accuracy": compare(evaluation.accuracies["test"], reference_evaluation.accuracies["test"]),
        "validation_cost": compare(evaluation.costs["validation"], reference_evaluation.costs["validation"]),
        "steps": compare(result.steps, reference.steps),
        **{
            f"equal_steps_{name}": compare(at_equal_steps(curve, result), at_equal_steps(curve, reference))
            for name, curve in (
                ("accuracy", "validation_accuracies"),
                ("cost", "validation_costs"),
            )
        },
    }


def _forward_in_blocks(X: Tensor, parameters: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, list[Cache]]]:
    for X_block in torch.split(X, EVALUATION_BLOCK, dim=1):
        yield L_model_forward(X_block, parameters, "mean1" in parameters, inference=True)
