"""How one arm compares with another, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pipeline.analysis.diagnosis import COLLAPSED, dead_units, first_step_below, guessing_cost
from pipeline.analysis.evaluation import Evaluation
from pipeline.analysis.statistics import Comparison, compare
from pipeline.network.ensemble import TrainingResult


@dataclass(frozen=True)
class Quantity:
    """Something in which arms are compared.

    Attributes
    ----------
    title, unit : str
    decimals : int
        That are written.
    more, less : str
        What an arm is called that has more of it, or less.
    pair : str
        What pairs the values.
    both : str
        What is true of the two networks of a pair that counts.
    interval : bool
        Whether the ends of an interval say anything: of differences that are -1, 0 or 1 only the decision does.
    """

    title: str
    unit: str
    decimals: int
    more: str
    less: str
    pair: str = "seed"
    both: str = "stayed finite"
    interval: bool = True


QUANTITIES = {
    "test_accuracy": Quantity("test accuracy", "points", 2, "better", "worse"),
    "spread": Quantity("distance from the arm's median accuracy", "points", 2, "larger", "smaller"),
    "collapsed": Quantity("collapsed networks", "% of all", 2, "more", "fewer", interval=False),
    "validation_cost": Quantity("validation cost at the best step", "nats", 4, "worse", "better"),
    "equal_steps_accuracy": Quantity("validation accuracy at equal steps", "points", 2, "better", "worse"),
    "equal_steps_cost": Quantity("validation cost at equal steps", "nats", 4, "worse", "better"),
    "steps": Quantity("training steps until the stop", "steps", 0, "more", "fewer"),
    "half_cost_steps": Quantity(
        "steps until the cost is half that of guessing", "steps", 0, "later", "sooner", both="came to it"
    ),
    "dead_units": Quantity("dead units", "units a network", 2, "more", "fewer"),
}
# What follows is in the report alone: times, as they are measured apart, weights and activations.
SECONDS = Quantity("time to stop", "s", 3, "longer", "shorter")
STEP_TIME = Quantity("time of a training step of one network", "microseconds", 1, "longer", "shorter", pair="round")
NORM = Quantity("Euclidean norm", "", 2, "larger", "smaller")
ACTIVATION = Quantity("99th percentile of the activations", "", 1, "larger", "smaller")


def compare_arms(
    result: TrainingResult,
    evaluation: Evaluation,
    reference: TrainingResult,
    reference_evaluation: Evaluation,
) -> dict[str, Comparison]:
    """Compare one arm with the reference, seed by seed.

    At equal steps means at the last evaluation that both networks of a pair reached. That is on the validation
    set: the test set is read once, when training is over.

    Returns
    -------
    dict
        Of each of the ``QUANTITIES``.
    """
    steps = torch.minimum(torch.tensor(result.steps), torch.tensor(reference.steps))
    half = guessing_cost(reference_evaluation) / 2
    pairs: dict[str, Sequence[ArrayLike]] = {
        "test_accuracy": (evaluation.accuracies["test"], reference_evaluation.accuracies["test"]),
        "spread": (_distances(evaluation), _distances(reference_evaluation)),
        "collapsed": (_collapsed(evaluation), _collapsed(reference_evaluation)),
        "validation_cost": (evaluation.costs["validation"], reference_evaluation.costs["validation"]),
        "equal_steps_accuracy": _at("validation_accuracies", steps, result, reference),
        "equal_steps_cost": _at("validation_costs", steps, result, reference),
        "steps": (result.steps, reference.steps),
        "half_cost_steps": (first_step_below(result, half), first_step_below(reference, half)),
        "dead_units": (
            dead_units(evaluation, len(result.seeds)),
            dead_units(reference_evaluation, len(reference.seeds)),
        ),
    }
    return {name: compare(ours, theirs) for name, (ours, theirs) in pairs.items()}


def _distances(evaluation: Evaluation) -> Tensor:
    """Measure how far each network's test accuracy is from the middle of its arm."""
    accuracies = evaluation.accuracies["test"]
    return (accuracies - accuracies.quantile(0.5)).abs()


def _collapsed(evaluation: Evaluation) -> Tensor:
    """Mark the networks that collapsed; their paired comparison is McNemar's exact test."""
    return 100.0 * (evaluation.accuracies["test"] < COLLAPSED)


def _at(curve: str, steps: Tensor, *results: TrainingResult) -> list[Tensor]:
    """Look up each result's curve at the last evaluation up to ``steps``, a step a network."""
    values = []
    for result in results:
        rows = torch.searchsorted(torch.tensor(result.evaluation_steps), steps, right=True) - 1
        values.append(getattr(result, curve)[rows, torch.arange(len(steps))])
    return values
