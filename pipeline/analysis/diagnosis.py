"""Plateaus, divergence, collapse and dead units of each network."""

from __future__ import annotations

import math

import torch
from pandas import DataFrame, Series
from torch import Tensor

from pipeline.analysis.evaluation import Evaluation
from pipeline.network.ensemble import TrainingResult

COLLAPSED = 85.0  # per cent of test accuracy below which a network counts as collapsed
PLATEAU_MARGIN = 0.1  # nats below the cost of guessing at which a network has left the plateau
NEARLY_DEAD = 0.01  # a unit that is active for a smaller share of the training examples is nearly dead


def diagnose(result: TrainingResult, evaluation: Evaluation) -> DataFrame:
    """Diagnose each network, a row each, in the order of the seeds.

    ``accuracy`` is that on the test set; ``left_plateau`` the step of the first check with a cost 0.1 nats below that
    of guessing, NaN if there is none; ``weakest_class`` that with the lowest ``recall``, in per cent; ``dead_A{l}`` and
    ``nearly_dead_A{l}`` count the units of a hidden layer that no training example activates, or fewer than 1 %.
    """
    recalls = 100 * evaluation.confusion.diagonal(dim1=1, dim2=2) / evaluation.confusion.sum(dim=2).clamp(min=1)
    accuracies, activity = evaluation.accuracies["test"].numpy(), evaluation.activity.items()
    is_nearly_dead = {layer: (share > 0) & (share < NEARLY_DEAD) for layer, share in activity}
    return DataFrame(
        {
            "seed": result.seeds,
            "accuracy": accuracies,
            "collapsed": accuracies < COLLAPSED,
            "diverged": [reason == "diverged" for reason in result.stop_reason],
            "left_plateau": first_step_below(result, guessing_cost(evaluation) - PLATEAU_MARGIN),
            "weakest_class": recalls.argmin(dim=1).numpy(),
            "recall": recalls.amin(dim=1).numpy(),
            **{f"dead_{layer}": (share == 0).sum(dim=1).numpy() for layer, share in activity},
            **{f"nearly_dead_{layer}": mask.sum(dim=1).numpy() for layer, mask in is_nearly_dead.items()},
        }
    )


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
