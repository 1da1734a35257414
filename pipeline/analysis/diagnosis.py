"""What went wrong in a network, or did not: plateaus, divergence, collapse, dead units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.analysis.evaluation import Evaluation
from pipeline.network.ensemble import TrainingResult

COLLAPSED = 85.0  # per cent of test accuracy below which a network counts as collapsed
PLATEAU_MARGIN = 0.1  # nats that a validation cost must lie below that of guessing to have left the plateau
SILENT = 0.01  # share of the training examples; a unit that is active for fewer is all but dead


@dataclass(frozen=True)
class Diagnosis:
    """How one network fared.

    Attributes
    ----------
    seed : int
    accuracy : float
        Of the test set, in percent.
    collapsed : bool
        Whether ``accuracy`` is below 85 %.
    diverged : bool
        Whether its cost stopped being finite.
    left_plateau : int or None
        Step of the first evaluation whose validation cost is at least 0.1 nats below that of guessing,
        ln(classes); None if there is none.
    dead, silent : dict
        For each hidden layer ``A{l}`` the units, counted from 1, that are active for no training example; and
        those that are for some, but for fewer than 1 %.
    weakest_class : int
        The class of which it recognises the smallest share, ``recall`` percent of the test examples.
    recall : float
    never_predicted : list of int
        Classes that it predicts for no test example.
    """

    seed: int
    accuracy: float
    collapsed: bool
    diverged: bool
    left_plateau: int | None
    dead: dict[str, list[int]]
    silent: dict[str, list[int]]
    weakest_class: int
    recall: float
    never_predicted: list[int]


def diagnose(result: TrainingResult, evaluation: Evaluation) -> list[Diagnosis]:
    """Diagnose each network of a stack.

    Parameters
    ----------
    result : TrainingResult
    evaluation : Evaluation

    Returns
    -------
    list of Diagnosis
        In the order of the seeds.
    """
    recalls = 100 * evaluation.confusion.diagonal(dim1=1, dim2=2) / evaluation.confusion.sum(dim=2).clamp(min=1)
    predicted = evaluation.confusion.sum(dim=1)
    left = first_step_below(result, guessing_cost(evaluation) - PLATEAU_MARGIN)
    return [
        Diagnosis(
            seed=seed,
            accuracy=(accuracy := evaluation.accuracies["test"][k].item()),
            collapsed=accuracy < COLLAPSED,
            diverged=result.stop_reason[k] == "diverged",
            left_plateau=int(left[k]) if left[k].isfinite() else None,
            dead={layer: _units(activity[k] == 0) for layer, activity in evaluation.activity.items()},
            silent={
                layer: _units((activity[k] > 0) & (activity[k] < SILENT))
                for layer, activity in evaluation.activity.items()
            },
            weakest_class=int(recalls[k].argmin()),
            recall=recalls[k].min().item(),
            never_predicted=(predicted[k] == 0).nonzero().flatten().tolist(),
        )
        for k, seed in enumerate(result.seeds)
    ]


def guessing_cost(evaluation: Evaluation) -> float:
    """Return the cost of giving each class the same probability, ln(classes)."""
    return math.log(evaluation.confusion.shape[-1])


def first_step_below(result: TrainingResult, cost: float) -> Tensor:
    """Find the first evaluation at which each network's validation cost is below ``cost``.

    Returns
    -------
    (replicas,) tensor
        Training steps; NaN where no evaluation is.
    """
    below = result.validation_costs < cost  # not where the cost is NaN
    steps = torch.tensor(result.evaluation_steps, dtype=torch.float64).unsqueeze(1)
    first = steps.expand_as(below).where(below, torch.inf).amin(dim=0)
    return first.where(first.isfinite(), torch.nan)


def dead_units(evaluation: Evaluation, replicas: int) -> Tensor:
    """Count each network's hidden units that are active for no training example, ``(replicas,)``."""
    return sum(((activity == 0).sum(dim=1) for activity in evaluation.activity.values()), torch.zeros(replicas))


def _units(mask: Tensor) -> list[int]:
    return [unit + 1 for unit in mask.nonzero().flatten().tolist()]
