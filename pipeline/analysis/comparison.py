"""How one arm compares with another, seed by seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pandas import DataFrame

from pipeline.analysis.diagnosis import diagnose
from pipeline.analysis.evaluation import Evaluation
from pipeline.analysis.statistics import Comparison, compare
from pipeline.network.ensemble import TrainingResult


@dataclass(frozen=True)
class Quantity:
    """Something in which arms are compared."""

    title: str
    unit: str
    decimals: int
    more: str  # the word for an arm that has more of it
    less: str
    pair: str = "seed"  # what pairs the values
    interval: bool = True  # False if a difference is -1, 0 or 1: then only the decision says anything


QUANTITIES = {
    "test_accuracy": Quantity("test accuracy", "points", 2, "better", "worse"),
    "spread": Quantity("distance from the arm's median accuracy", "points", 2, "larger", "smaller"),
    "collapsed": Quantity("collapsed networks", "% of all", 2, "more", "fewer", interval=False),
    "validation_cost": Quantity("validation cost at the best step", "nats", 4, "worse", "better"),
    "equal_steps_accuracy": Quantity("validation accuracy at equal steps", "points", 2, "better", "worse"),
    "equal_steps_cost": Quantity("validation cost at equal steps", "nats", 4, "worse", "better"),
    "steps": Quantity("training steps until the stop", "steps", 0, "more", "fewer"),
    "half_cost_steps": Quantity("steps until the cost is half that of guessing", "steps", 0, "later", "sooner"),
    "dead_units": Quantity("dead units", "units per network", 2, "more", "fewer"),
}
# These are in the report alone.
SECONDS = Quantity("time to stop", "s", 1, "longer", "shorter")
STEP_TIME = Quantity("time of a training step of one network", "microseconds", 0, "longer", "shorter", pair="round")
GAP = Quantity("train minus validation accuracy", "points", 2, "larger", "smaller")
EPOCHS = Quantity("epochs until the stop", "epochs", 1, "more", "fewer")
ALONG_START = Quantity("share along the start", "points", 0, "larger", "smaller")
NORM = Quantity("Euclidean norm", "", 2, "larger", "smaller")
ACTIVATION = Quantity("99th percentile of the activations", "", 1, "larger", "smaller")


def compare_arms(
    result: TrainingResult, evaluation: Evaluation, reference: TrainingResult, reference_evaluation: Evaluation
) -> dict[str, Comparison]:
    """Compare one arm with the reference, seed by seed, in each of the ``QUANTITIES``.

    "At equal steps" is at the last validation check that both networks of a pair reached. The test set is not used
    there: it is read once, when training is over.
    """
    steps, longest = np.minimum(result.steps, reference.steps), max(*result.steps, *reference.steps)
    ours, theirs = (_values(*arm, steps, longest) for arm in ((result, evaluation), (reference, reference_evaluation)))
    return {name: compare(ours[name], theirs[name], result.seeds) for name in QUANTITIES}


def _values(result: TrainingResult, evaluation: Evaluation, steps: ArrayLike, longest: int) -> DataFrame:
    """Tabulate the quantities of each network, a row each.

    Whether a network collapsed is 0 or 100, whose paired comparison is McNemar's exact test. A network that never
    comes to half the cost of guessing, and did not diverge, counts with the longest training of both arms: so the
    slowest are not left out.
    """
    networks = diagnose(result, evaluation).rename(columns={"test": "test_accuracy"})
    half = networks["half_cost_steps"]
    checks = np.searchsorted(result.evaluation_steps, steps, side="right") - 1  # the last up to each step
    return networks.assign(
        spread=(networks["test_accuracy"] - networks["test_accuracy"].median()).abs(),
        collapsed=100.0 * networks["collapsed"],
        half_cost_steps=half.where(networks["diverged"], half.fillna(longest)),
        equal_steps_accuracy=result.validation_accuracies.numpy()[checks, networks.index],
        equal_steps_cost=result.validation_costs.numpy()[checks, networks.index],
    )
