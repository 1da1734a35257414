"""What trained networks do: accuracy, confusion, mistakes, activations and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from pipeline.network.ensemble import TrainingResult, require_range
from pipeline.network.forward import L_model_forward
from pipeline.network.precision import full_precision
from pipeline.network.prediction import evaluate, forward_in_blocks, is_correct

MISTAKES = 16
ACTIVATION_SAMPLE = 1000  # validation examples for the activations

OF_EACH_SET = dict.fromkeys(("train", "validation", "test"), (torch.float64, "networks"))
OF_MISTAKES = {
    "images": (torch.float32, torch.float64, "mistakes", "pixels"),
    "true": (torch.int64, "mistakes"),
    "predicted": (torch.int64, "mistakes"),
    "confidence": (torch.float32, torch.float64, "mistakes"),
}


@dataclass(frozen=True)
class Evaluation:
    """What is known of one arm's networks.

    A tie is a miss, as in :func:`pipeline.network.prediction.predict`: in ``confusion`` the rival counts as predicted.
    ``mistakes`` are the headline model's most confident ones on the test set: ``images`` (standardised), ``true``,
    ``predicted`` and ``confidence``, the probability of the predicted class. ``activations`` are the 99th percentiles
    of the hidden layers' outputs on a sample of the validation set, by which batchnorm normalises, as in training.
    """

    accuracies: Annotated[dict[str, Tensor], OF_EACH_SET]  # in per cent
    costs: Annotated[dict[str, Tensor], OF_EACH_SET]  # in nats
    headline: int  # as in the TrainingResult
    confusion: Annotated[Tensor, torch.int64, "networks", "classes", "classes"]  # test set, true by predicted class
    mistakes: Annotated[dict[str, Tensor], OF_MISTAKES]
    activity: Annotated[dict[str, Tensor], torch.float64, "networks", "{}"]  # A{l}: share of training examples that
    # activate a unit; 0 is dead
    activations: Annotated[dict[str, Tensor], torch.float64, "networks"]  # A{l}

    def require_whole(self, sizes: Mapping[str, int]) -> None:
        """Refuse networks, layers and classes that are not there, and numbers out of range."""
        require_range("headline", [self.headline], sizes["networks"] - 1)
        for field, highest in {"accuracies": 100, "costs": torch.inf, "activity": 1}.items():
            for key, values in getattr(self, field).items():
                require_range(f"{field}.{key}", values, highest)
        require_range("confusion", self.confusion)
        last_class = sizes["classes"] - 1
        for key, highest in {"true": last_class, "predicted": last_class, "confidence": 1}.items():
            require_range(f"mistakes.{key}", self.mistakes[key], highest)
        layers = [f"A{layer}" for layer in range(1, len(self.activity) + 1)]
        for field in ("activity", "activations"):
            found = list(getattr(self, field))
            if sorted(found) != sorted(layers):
                raise ValueError(f"{field} is of the layers {', '.join(found)}: must be {', '.join(layers)}")
        if self.mistakes["images"].dtype != self.mistakes["confidence"].dtype:
            raise ValueError("mistakes.images and mistakes.confidence must be of one dtype")


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
