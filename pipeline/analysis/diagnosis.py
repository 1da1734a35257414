"""One table of an arm's networks: results, plateaus, divergence, collapse and dead units."""

import math

from pandas import DataFrame, Series

from pipeline.analysis.evaluation import Evaluation
from pipeline.network.ensemble import TrainingResult

COLLAPSED = 85.0  # per cent of test accuracy below which a network counts as collapsed
PLATEAU_MARGIN = 0.1  # nats below the cost of guessing at which a network has left the plateau
NEARLY_DEAD = 0.01  # a unit that is active for a smaller share of the training examples is nearly dead


def diagnose(result: TrainingResult, evaluation: Evaluation) -> DataFrame:
    """Tabulate the networks of an arm, unrounded: a row each, in the order of the seeds.

    ``headline`` is 1 for the headline model. ``train``, ``validation`` and ``test`` are accuracies. ``left_plateau``
    is the step of the first check with a cost 0.1 nats below that of guessing, ``half_cost_steps`` of the first below
    half of it; NaN if there is none. ``weakest_class`` has the lowest ``recall``, in per cent. ``dead_A{l}`` and
    ``nearly_dead_A{l}`` count the units of a hidden layer that no training example activates, or fewer than 1 %;
    ``dead_units`` are those of all layers.
    """
    recalls = 100 * evaluation.confusion.diagonal(dim1=1, dim2=2) / evaluation.confusion.sum(dim=2)
    recalls = recalls.nan_to_num(nan=math.inf)  # of a class without test examples
    guessing = guessing_cost(evaluation)
    dead, nearly_dead = {}, {}
    for layer, share in evaluation.activity.items():
        dead[f"dead_{layer}"] = (share == 0).sum(dim=1).numpy()
        nearly_dead[f"nearly_dead_{layer}"] = ((share > 0) & (share < NEARLY_DEAD)).sum(dim=1).numpy()
    return DataFrame(
        {
            "seed": result.seeds,
            "headline": [int(network == evaluation.headline) for network in range(len(result.seeds))],
            **{name: values.numpy() for name, values in evaluation.accuracies.items()},
            "validation_cost": evaluation.costs["validation"].numpy(),
            "steps": result.steps,
            "epochs": result.epochs,
            "collapsed": evaluation.accuracies["test"].numpy() < COLLAPSED,
            "diverged": [reason == "diverged" for reason in result.stop_reason],
            "left_plateau": first_step_below(result, guessing - PLATEAU_MARGIN),
            "half_cost_steps": first_step_below(result, guessing / 2),
            "weakest_class": recalls.argmin(dim=1).numpy(),
            "recall": recalls.amin(dim=1).numpy(),
            "dead_units": sum(dead.values()),
            **dead,
            **nearly_dead,
        }
    )


def guessing_cost(evaluation: Evaluation) -> float:
    """Return the cost of giving each class the same probability, ln(classes)."""
    return math.log(evaluation.confusion.shape[-1])


def first_step_below(result: TrainingResult, cost: float) -> "Series[float]":
    """Find the step of each network's first validation check with a cost below ``cost``; NaN if there is none."""
    is_below = DataFrame(result.validation_costs.numpy() < cost, index=result.evaluation_steps)
    return is_below.idxmax().astype(float).where(is_below.any())
