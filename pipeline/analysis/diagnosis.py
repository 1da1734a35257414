"""Plateaus, divergence, collapse and dead units of each network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pandas import DataFrame, Series
from torch import Tensor

from pipeline.analysis.evaluation import Evaluation
from pipeline.network.ensemble import TrainingResult

COLLAPSED = 85.0  # per cent of test accuracy below which a network counts as collapsed
PLATEAU_MARGIN = 0.1  # nats below the cost of guessing at which a network has left the plateau
NEARLY_DEAD = 0.01  # a unit that is active for a smaller share of the training examples is nearly dead


@dataclass(frozen=True)
class Diagnosis:
    """How one network fared."""

    seed: int
    accuracy: float  # on the test set, in percent
    collapsed: bool  # accuracy below 85 %
    diverged: bool  # the cost stopped being finite
    left_plateau: int | None  # step of the first check with a cost 0.1 nats below that of guessing, ln(classes)
    dead: dict[str, list[int]]  # for each hidden layer A{l} the units, from 1, that no training example activates
    nearly_dead: dict[str, list[int]]  # those that some activate, but fewer than 1 %
    weakest_class: int  # the class with the lowest recall
    recall: float  # per cent of its test examples that are recognised


def diagnose(result: TrainingResult, evaluation: Evaluation) -> list[Diagnosis]:
    """Diagnose each network, in the order of the seeds."""
    recalls = 100 * evaluation.confusion.diagonal(dim1=1, dim2=2) / evaluation.confusion.sum(dim=2).clamp(min=1)
    left_plateau = first_step_below(result, guessing_cost(evaluation) - PLATEAU_MARGIN)
    accuracies, activity = evaluation.accuracies["test"].tolist(), evaluation.activity.items()
    return [
        Diagnosis(
            seed=seed,
            accuracy=accuracies[k],
            collapsed=accuracies[k] < COLLAPSED,
            diverged=result.stop_reason[k] == "diverged",
            left_plateau=None if math.isnan(left_plateau[k]) else int(left_plateau[k]),
            dead={layer: _units(share[k] == 0) for layer, share in activity},
            nearly_dead={layer: _units((share[k] > 0) & (share[k] < NEARLY_DEAD)) for layer, share in activity},
            weakest_class=int(recalls[k].argmin()),
            recall=recalls[k].min().item(),
        )
        for k, seed in enumerate(result.seeds)
    ]


def guessing_cost(evaluation: Evaluation) -> float:
    """Return the cost of giving each class the same probability, ln(classes)."""
    return math.log(evaluation.confusion.shape[-1])


def first_step_below(result: TrainingResult, cost: float) -> Series[float]:
    """Find the step of each network's first validation check with a cost below ``cost``; NaN if there is none."""
    is_below = DataFrame(result.validation_costs.numpy() < cost, index=result.evaluation_steps)
    return is_below.idxmax().astype(float).where(is_below.any())


def dead_units(evaluation: Evaluation, networks: int) -> Tensor:
    """Count each network's hidden units that are active for no training example, ``(networks,)``."""
    return sum(((activity == 0).sum(dim=1) for activity in evaluation.activity.values()), torch.zeros(networks))


def _units(mask: Tensor) -> list[int]:
    return (mask.nonzero().flatten() + 1).tolist()
