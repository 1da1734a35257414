"""Arms are compared pair by pair, in each quantity beside a plain loop."""

import dataclasses
import math

import numpy as np
import pytest
from samples import DIVERGES, evaluated, measured, recorded, trained

from pipeline.analysis.comparison import QUANTITIES, compare_arms
from pipeline.analysis.statistics import compare

OURS = recorded([400, 150, 900, 250, 100, 600, 350, 1000], diverged=[3], seed=1)
THEIRS = recorded([300, 150, 950, 250, 500, 200, 700, 450], diverged=[6], seed=2)
OUR_TEST, THEIR_TEST = [97.0, 91, 93, 95, 99.5, 90, 96, 92], [90.0, 92, 95, 91, 97, 96, 94, 93]


def at_equal_steps(curve):
    """Look the last common evaluation of each pair up in a plain loop."""
    ours, theirs = [], []
    for k in range(len(OURS.steps)):
        common = [
            step
            for step in sorted(set(OURS.evaluation_steps) & set(THEIRS.evaluation_steps))
            if step <= min(OURS.steps[k], THEIRS.steps[k])
        ]
        ours.append(getattr(OURS, curve)[OURS.evaluation_steps.index(common[-1]), k].item())
        theirs.append(getattr(THEIRS, curve)[THEIRS.evaluation_steps.index(common[-1]), k].item())
    return ours, theirs


def with_dead(accuracies, networks):
    evaluation = measured(accuracies)
    for unit, k in enumerate(networks):
        evaluation.activity["A1"][k, unit] = 0
    return evaluation


def compared(ours=OURS, theirs=THEIRS):
    return compare_arms(ours, measured(OUR_TEST), theirs, measured(THEIR_TEST))


def paired(ours, theirs):
    return compare(ours, theirs, OURS.seeds)


def first_below(result, cost):
    """Look for the first evaluation below a cost in a plain loop; if there is none, it is late, or the end unknown."""
    checks = list(zip(result.evaluation_steps, result.validation_costs, strict=True))
    never = [math.nan if reason == "diverged" else max(*OURS.steps, *THEIRS.steps) for reason in result.stop_reason]
    return [next((step for step, row in checks if row[k] < cost), none) for k, none in enumerate(never)]


def test_arms_are_compared_in_nine_quantities():
    ours, theirs = with_dead(OUR_TEST, [0, 3, 3]), with_dead(THEIR_TEST, [1])
    half = math.log(2) / 2  # of a made-up evaluation's two classes
    expected = {
        "test_accuracy": paired(OUR_TEST, THEIR_TEST),
        "spread": paired(*(np.abs(np.array(each) - np.median(each)) for each in (OUR_TEST, THEIR_TEST))),
        "collapsed": paired([0] * 8, [0] * 8),
        "validation_cost": paired(ours.costs["validation"], theirs.costs["validation"]),
        "steps": paired(OURS.steps, THEIRS.steps),
        "equal_steps_accuracy": paired(*at_equal_steps("validation_accuracies")),
        "equal_steps_cost": paired(*at_equal_steps("validation_costs")),
        "half_cost_steps": paired(first_below(OURS, half), first_below(THEIRS, half)),
        "dead_units": paired([1, 0, 0, 2, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]),
    }
    assert compare_arms(OURS, ours, THEIRS, theirs) == expected
    assert set(expected) == set(QUANTITIES)
    never = [k for k, row in enumerate(OURS.validation_costs.T) if not (row < half).any()]
    pairs = expected["half_cost_steps"].pairs
    assert len(never) > 1 and pairs > 8 - len(never)  # they count


@pytest.mark.parametrize(("collapsed", "excludes_zero"), [(5, False), (6, True)])
def test_collapses_are_compared_by_mcnemars_exact_test(collapsed, excludes_zero):
    """Of six seeds all on one side, p is 2 / 2^6; of five 2 / 2^5, which is above 5 %."""
    sound, ill = [90.0] * 16, [10.0] * collapsed + [90.0] * (16 - collapsed)
    steps = recorded([100] * 16)
    compared = compare_arms(steps, measured(ill), steps, measured(sound))["collapsed"]
    assert compared.difference == pytest.approx(100 * collapsed / 16)
    assert (compared.above, compared.below, compared.excludes_zero) == (collapsed, 0, excludes_zero)


def test_a_pair_in_which_one_diverged_at_the_common_step_does_not_count():
    comparisons = compared()
    assert comparisons["equal_steps_cost"].pairs == 7  # seed 3 diverged at step 250, where both stopped
    assert comparisons["steps"].pairs == 8


def test_networks_that_never_stop_apart_are_compared_at_their_last_step():
    ours, theirs = recorded([200] * 6, seed=3), recorded([200] * 6, seed=4)
    comparisons = compare_arms(ours, measured([1.0] * 6), theirs, measured([1.0] * 6))
    assert comparisons["equal_steps_cost"] == compare(ours.validation_costs[-1], theirs.validation_costs[-1])


def test_a_cap_between_two_evaluations_counts_as_one():
    ours = dataclasses.replace(recorded([100, 100], seed=5), evaluation_steps=[50, 70], steps=[70, 70])
    theirs = dataclasses.replace(recorded([100, 100], seed=6), evaluation_steps=[50, 70], steps=[50, 70])
    comparisons = compare_arms(ours, measured([1.0, 1]), theirs, measured([1.0, 1]))
    expected = (ours.validation_costs - theirs.validation_costs)[[0, 1], [0, 1]].mean().item()
    assert comparisons["equal_steps_cost"].difference == pytest.approx(expected)


def test_an_arm_with_diverged_networks_is_compared_by_the_others():
    arm, reference = trained(l2=(DIVERGES, 0.0, 0.0)), trained()
    comparisons = compare_arms(arm, evaluated(arm), reference, evaluated(reference))
    assert comparisons["equal_steps_cost"].pairs == 2
    assert comparisons["equal_steps_accuracy"].pairs == comparisons["half_cost_steps"].pairs == 2
    assert all(math.isfinite(comparison.difference) for comparison in comparisons.values())
