"""The interval beside its definition, beside scipy's permutation test, and at its word."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.analysis import statistics
from pipeline.analysis.statistics import Comparison, compare, rank_correlation, share_interval, typical_interval


def symmetric_with_collapses(generator, shape):
    """Draw differences of two arms that are alike, whose seeds now and then collapse to far below."""
    arms = generator.standard_normal((2, *shape)) - 80 * (generator.random((2, *shape)) < 0.1)
    return arms[0] - arms[1]


def coverage(samples, confidence=0.95):
    """The share of samples whose interval holds zero."""
    intervals = [typical_interval(sample, confidence) for sample in samples]
    return np.mean([low <= 0 <= high for low, high in intervals])


def by_definition(values, outside):
    """The interval from the exact means of every subset, written out."""
    means = sorted(
        Fraction(sum(subset), len(subset))
        for size in range(1, len(values) + 1)
        for subset in itertools.combinations(values, size)
    )
    return float(means[outside - 1]), float(means[-outside])


def test_a_share_is_bounded_as_clopper_and_pearson_do():
    low, high = share_interval(1, 16)
    assert stats.binom.sf(0, 16, low) == pytest.approx(0.025)
    assert stats.binom.cdf(1, 16, high) == pytest.approx(0.025)
    assert share_interval(0, 16)[0] == 0
    assert share_interval(16, 16)[1] == 1


def test_a_comparison_has_the_means_of_the_pairs_that_count():
    compared = compare(torch.tensor([1.0, math.nan, 5.0]), [2, 100, 4])
    assert (compared.mean, compared.reference, compared.difference, compared.pairs) == (3.0, 3.0, 0.0, 2)
    nothing = compare([math.nan], [2.0])
    assert math.isnan(nothing.mean) and math.isnan(nothing.difference) and nothing.pairs == 0


def test_a_pair_that_makes_more_than_a_third_of_a_clear_difference_is_named():
    gains, none = np.array([math.nan, 1, 1, 1, 1, 1, 9, 1]), np.zeros(8)
    for each in (gains, -gains):
        assert compare(each, none).alone == (7, pytest.approx(60.0))
        assert compare(each, none, [*range(10, 18)]).alone == (16, pytest.approx(60.0))
    assert compare(np.ones(8), none).alone is None
    assert compare([9.0, -8, 1, -1, 2, -2, 1, -1], none).alone is None  # nothing of which it could be a part
    assert compare([9.0], [0.0]).alone is None


def test_of_six_values_the_interval_is_their_range():
    # 63 means make 64 intervals; leaving 2.5 % out on a side leaves out one, whose edge is the smallest value.
    assert typical_interval([4, 1, 32, 2, 16, 8]) == (1.0, 32.0)


@pytest.mark.parametrize(
    ("values", "outside"),
    [
        ([4, -1, 32, 2, 16, 8, -7], 3),  # 2.5 % of 128 intervals are 3.2
        ([5, 3, 1, -4, 12, 0, 7, 31], 6),  # of 256: 6.4
        ([9, -3, 1, -4, 12, 0, 7, 31, -20], 12),  # of 512: 12.8
    ],
    ids=lambda value: f"n={len(value)}" if isinstance(value, list) else "",
)
def test_the_interval_is_counted_off_the_means_of_all_subsets(values, outside):
    assert typical_interval(values) == pytest.approx(by_definition(values, outside), rel=1e-14)


def test_another_confidence_counts_off_others():
    values = [5, 3, 1, -4, 12, 0, 7, 31]
    assert typical_interval(values, confidence=0.5) == pytest.approx(by_definition(values, 64), rel=1e-14)


def test_the_order_of_the_seeds_is_of_no_consequence():
    values = np.random.default_rng(1).standard_normal(9)
    assert typical_interval(values) == pytest.approx(typical_interval(values[::-1]), rel=1e-13)


def test_the_interval_shifts_scales_and_turns_with_the_sample():
    values = np.random.default_rng(1).standard_normal(10)
    low, high = typical_interval(values)
    assert typical_interval(values * 3 + 5) == pytest.approx((low * 3 + 5, high * 3 + 5), rel=1e-12)
    assert typical_interval(-values) == pytest.approx((-high, -low), rel=1e-12)


@pytest.mark.parametrize("n", range(6))
def test_below_six_values_there_is_no_interval(n):
    assert typical_interval(range(n)) == (-math.inf, math.inf)


@pytest.mark.parametrize("n", [8, 9, 10])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_a_sign_flip_permutation_test_does_not_reject(n, seed):
    values = symmetric_with_collapses(np.random.default_rng(seed), (n,)) + 1

    def p_value(shift):
        test = stats.permutation_test(
            (values - shift,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        )
        return test.pvalue

    low, high = typical_interval(values)
    inside = 1e-6 * (high - low)
    assert min(p_value(low + inside), p_value(high - inside)) > 0.05
    assert max(p_value(low - inside), p_value(high + inside)) <= 0.05


@pytest.mark.parametrize("confidence", [0.95, 0.8, 0.5])
def test_coverage_is_exactly_what_one_counts(confidence):
    draws = 3000
    share = coverage(symmetric_with_collapses(np.random.default_rng(2), (draws, 8)), confidence=confidence)
    exact = 1 - 2 * math.floor((1 - confidence) / 2 * 2**8) / 2**8
    assert share == pytest.approx(exact, abs=3.5 * math.sqrt(exact * (1 - exact) / draws))


def test_coverage_of_sixteen_seeds_is_95_percent_with_collapsed_ones_among_them():
    draws = 1000
    share = coverage(symmetric_with_collapses(np.random.default_rng(3), (draws, 16)))
    assert share == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / draws))


def test_coverage_holds_where_a_t_interval_fails():
    """A single wild pair in eight: the t interval is far too wide, this one keeps to its word."""
    generator, draws = np.random.default_rng(4), 3000
    samples = generator.standard_normal((draws, 8))
    samples[:, 0] *= 1000
    ours = coverage(samples)
    t = stats.t.interval(0.95, 7, loc=samples.mean(1), scale=stats.sem(samples, axis=1))
    theirs = np.mean((t[0] <= 0) & (t[1] >= 0))
    exact = 1 - 12 / 256
    assert ours == pytest.approx(exact, abs=3.5 * math.sqrt(exact * (1 - exact) / draws))
    assert theirs > 0.99


def test_two_arms_that_do_not_differ_are_told_apart_in_one_case_of_twenty():
    """The whole comparison in the null case: sixteen pairs, collapsed seeds among them."""
    generator, draws = np.random.default_rng(8), 600
    arms = 93 + generator.standard_normal((2, draws, 16)) - 60 * (generator.random((2, draws, 16)) < 0.06)
    apart = [compare(ours, theirs).excludes_zero for ours, theirs in zip(*arms, strict=True)]
    assert np.mean(apart) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / draws))


def test_the_bootstrap_covers_too_seldom_at_sixteen_values():
    """Why the interval is not scipy's BCa, which is meant for it but is short of its word at this size."""
    samples = symmetric_with_collapses(np.random.default_rng(9), (400, 16))
    interval = stats.bootstrap(
        (samples,), np.mean, axis=1, n_resamples=999, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    share = np.mean((interval.low <= 0) & (interval.high >= 0))
    assert share < 0.93 < coverage(samples)


def test_no_interval_bounds_the_mean_of_skewed_differences_as_often_as_it_says():
    """One network of sixteen loses ten points: the mean is -0.6, and most samples do not show why."""
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((300, 16)) - 10 * (rng.random((300, 16)) < 0.06)
    bootstrap = stats.bootstrap((samples,), np.mean, axis=1, n_resamples=499, method="BCa", rng=rng).confidence_interval
    t = stats.ttest_1samp(samples, 0, axis=1).confidence_interval()
    ours = np.array([typical_interval(sample) for sample in samples]).T
    for low, high in (bootstrap, t, ours):
        assert np.mean((low <= -0.6) & (high >= -0.6)) < 0.9


@pytest.mark.parametrize("n", [17, 24])
def test_random_subsets_of_more_seeds_come_near_the_same_coverage(monkeypatch, n):
    monkeypatch.setattr(statistics, "SUBSETS", 2**11)
    draws = 1200
    share = coverage(symmetric_with_collapses(np.random.default_rng(n), (draws, n)))
    assert share == pytest.approx(0.95, abs=3.5 * math.sqrt(0.95 * 0.05 / draws))


def test_random_subsets_give_nearly_the_interval_of_all(monkeypatch):
    values = np.random.default_rng(5).standard_normal(14)
    exact = typical_interval(values)
    monkeypatch.setattr(statistics, "SUBSETS", 2**13)
    assert typical_interval(values) == pytest.approx(exact, abs=0.05)
    assert typical_interval(values) != exact


def test_random_subsets_are_the_same_in_every_run():
    values = np.random.default_rng(6).standard_normal(17)
    assert typical_interval(values) == typical_interval(values)


def test_ties_only_raise_the_coverage():
    """Steps come in multiples of fifty, and two collapsed seeds differ by nothing at all."""
    generator, draws = np.random.default_rng(7), 2000
    samples = 50.0 * generator.integers(-2, 3, (draws, 9))
    assert coverage(samples) >= 1 - 24 / 512 - 3 * math.sqrt(0.05 * 0.95 / draws)


def test_arms_that_are_equal_everywhere_are_not_told_apart():
    comparison = compare([97.0] * 16, [97.0] * 16)
    assert comparison == Comparison(0.0, 0.0, 0.0, above=0, below=0, pairs=16, mean=97.0, reference=97.0)
    assert not comparison.excludes_zero


def test_comparison_is_paired_and_signed():
    reference = np.array([10.0, 20, 30, 40, 50, 60, 70])
    comparison = compare(reference + np.array([1, 2, 3, 4, 5, -6, 0]), reference)
    assert comparison.difference == pytest.approx(9 / 7)
    assert (comparison.above, comparison.below, comparison.pairs) == (5, 1, 7)
    assert (comparison.low, comparison.high) == pytest.approx(by_definition([1, 2, 3, 4, 5, -6, 0], 3))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clear_difference_excludes_zero(sign):
    differences = sign * np.arange(1.0, 9)
    comparison = compare(differences, np.zeros(8))
    assert comparison.excludes_zero
    assert math.copysign(1, comparison.low) == math.copysign(1, comparison.high) == sign


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 1, 1, 1, 1, 4], (6, 400 / 9)),
        ([3.0, -1, 2, -2, 3, 4], (6, 400 / 9)),  # also of a difference that is not clear
        ([-3.0, 1, -2, 2, -3, -4], (6, 400 / 9)),
        ([1.0, 1, 1, 1, 1, 1], None),
        ([1.0, 0, 0, 0, 0, 2], (6, 200 / 3)),
        ([5.0, 0, 0, 0, 0, 0], (1, 100)),  # all of it
        ([3.0, -3, 3, -3, 3, 4], (6, 400 / 7)),
        ([3.0, -3, 3, -3, -3, 4], None),  # four times the whole: the others cancel out
        ([1.0, -1, 1, -1, 1, -1], None),  # no difference
        ([1.0, 1, 1, 1, 4], None),  # too few pairs for an interval
    ],
)
def test_the_pair_that_makes_more_than_a_third_of_a_difference_and_at_most_all_of_it_is_named(differences, expected):
    alone = compare(differences, np.zeros(len(differences))).alone
    assert alone == (expected and (expected[0], pytest.approx(expected[1])))


def test_few_seeds_never_exclude_zero():
    comparison = compare([5.0] * 5, [1.0] * 5)
    assert (comparison.low, comparison.high, comparison.excludes_zero) == (-math.inf, math.inf, False)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf], ids=str)
def test_a_pair_that_is_not_finite_does_not_count(broken):
    values, reference = np.arange(1.0, 11), np.zeros(10)
    expected = compare(values[2:9], reference[2:9])
    values[0] = values[1] = reference[1] = reference[9] = broken
    assert compare(values, reference) == expected
    assert expected.pairs == 7


def test_if_no_pair_is_finite_nothing_is_claimed():
    comparison = compare([math.nan] * 8, [1.0] * 8)
    assert math.isnan(comparison.difference)
    assert (comparison.pairs, comparison.above, comparison.excludes_zero) == (0, 0, False)


@pytest.mark.parametrize(
    ("values", "reference"), [([1.0, 2], [1.0]), ([], []), ([[1.0]], [[2.0]]), (1.0, 2.0)], ids=str
)
def test_what_does_not_pair_is_refused(values, reference):
    with pytest.raises(ValueError, match="one value per seed each"):
        compare(values, reference)


def test_the_p_of_a_rank_correlation_counts_all_permutations_of_few_pairs():
    values, others = [1.0, 2, 3, 4, 5, 6], [1.0, 2, 3, 4, 6, 5]
    correlation, p = rank_correlation(values, others)
    all_of_them = [np.corrcoef(values, order)[0, 1] for order in itertools.permutations(values)]
    assert correlation == pytest.approx(1 - 6 * 2 / (6 * 35))
    assert p == pytest.approx(np.mean(np.abs(all_of_them) > correlation - 1e-9))


def test_of_sixteen_values_all_subsets_count():
    values = np.random.default_rng(1).normal(size=16)
    member = (np.arange(1, 2**16)[:, None] >> np.arange(16)) & 1
    means = np.sort(member @ values / member.sum(axis=1))
    outside = 2**16 // 40  # 2.5 per cent
    assert typical_interval(values) == pytest.approx((means[outside - 1], means[-outside]))
