"""What trained networks do: accuracy, confusion, mistakes, activations and weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from pipeline.network.ensemble import TrainingResult
from pipeline.network.forward import L_model_forward
from pipeline.network.precision import full_precision
from pipeline.network.prediction import evaluate, forward_in_blocks, is_correct

MISTAKES = 16
ACTIVATION_SAMPLE = 1000  # validation examples for the activations


@dataclass(frozen=True)
class Evaluation:
    """What is known of one arm's networks.

    A tie is a miss, as in :func:`pipeline.network.prediction.predict`: in ``confusion`` the rival counts as predicted.
    ``mistakes`` are the headline model's most confident ones on the test set: ``images`` (standardised), ``true``,
    ``predicted`` and ``confidence``, the probability of the predicted class. ``activations`` are the 99th percentiles
    of the hidden layers' outputs on a sample of the validation set, by which batchnorm normalises, as in training.
    """

    accuracies: dict[str, Tensor]  # by set, (networks,), in per cent
    costs: dict[str, Tensor]  # by set, (networks,), in nats
    headline: int  # as in the TrainingResult
    confusion: Tensor  # (networks, classes, classes) int64: test set, true by predicted class
    mistakes: dict[str, Tensor]  # (mistakes,), images (mistakes, pixels)
    activity: dict[str, Tensor]  # A{l}, (networks, units): share of training examples that activate a unit; 0 is dead
    activations: dict[str, Tensor]  # A{l}, (networks,)


def require_same_networks(results: Mapping[str, TrainingResult], evaluations: Mapping[str, Evaluation]) -> None:
    """Refuse trainings and evaluations that do not belong together, as stages run one by one may leave them."""
    (first, theirs), *_ = results.items()
    for arm, result in results.items():
        if (result.seeds, result.layers_dims) != (theirs.seeds, theirs.layers_dims):
            raise ValueError(f"the arms {first} and {arm} were trained with different seeds or layers: run dvc repro")
    for arm, evaluation in evaluations.items():
        _, *hidden, classes = theirs.layers_dims
        units = {name: each.shape[1] for name, each in evaluation.activity.items()}
        wanted = {f"A{layer}": count for layer, count in enumerate(hidden, start=1)}
        if evaluation.confusion.shape != (len(theirs.seeds), classes, classes) or units != wanted:
            raise ValueError(f"the evaluation of the arm {arm} is of other networks: run dvc repro")


@full_precision()
def evaluate_arm(result: TrainingResult, sets: Mapping[str, tuple[Tensor, Tensor]]) -> Evaluation:
    """Evaluate every network on every set, and the headline model in detail.

    ``sets`` holds ``(X, Y)`` of ``train``, ``validation`` and ``test``. Their device computes; the result lies on the
    CPU.
    """
    X, Y = sets["test"]
    parameters = {name: each.to(X.device) for name, each in result.parameters.items()}
    measured = {name: [each.cpu() for each in evaluate(*examples, parameters)] for name, examples in sets.items()}
    AL = torch.cat([AL for AL, _ in forward_in_blocks(X, parameters)], dim=-1).cpu()
    X, Y, headline = X.cpu(), Y.cpu(), result.headline
    true = Y.argmax(dim=0)
    confidence, rival = (AL - Y).max(dim=-2)  # the true class is never its own rival
    predicted = true.where(is_correct(AL, Y), rival)
    wrong = (predicted[headline] != true).nonzero().flatten()
    worst = wrong[confidence[headline, wrong].argsort(descending=True, stable=True)[:MISTAKES]]
    return Evaluation(
        accuracies={name: accuracy for name, (_, accuracy) in measured.items()},
        costs={name: cost for name, (cost, _) in measured.items()},
        headline=headline,
        confusion=torch.tensor(np.stack([confusion_matrix(true, each, labels=range(len(Y))) for each in predicted])),
        mistakes={
            "images": X[:, worst].mT,
            "true": true[worst],
            "predicted": predicted[headline, worst],
            "confidence": confidence[headline, worst],
        },
        activity=unit_activity(sets["train"][0], parameters),
        activations=activation_percentiles(sets["validation"][0][:, :ACTIVATION_SAMPLE], parameters),
    )


def unit_activity(X: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Measure the share of examples for which each hidden unit is active, ``A{l}``: ``(..., units)``."""
    counts: dict[str, Tensor] = {}
    for _, caches in forward_in_blocks(X, parameters):
        for layer, cache in enumerate(caches[:-1], start=1):
            active = (cache["activation_cache"] > 0).sum(dim=-1)
            counts[f"A{layer}"] = active + counts.get(f"A{layer}", 0)
    return {name: count.double().cpu() / X.shape[1] for name, count in counts.items()}


def activation_percentiles(X: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the 99th percentile of the output of each hidden layer, ``A{l}``: ``(networks,)``.

    With batch norm ``X`` is normalised as a batch in training.
    """
    _, caches = L_model_forward(X, dict(parameters), "mean1" in parameters)  # which puts running statistics into it
    outputs = [cache["linear_cache"]["A"].flatten(start_dim=1).double().cpu() for cache in caches[1:]]
    return {f"A{layer}": A.quantile(0.99, dim=1) for layer, A in enumerate(outputs, start=1)}
