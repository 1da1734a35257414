"""Summaries over networks and paired comparisons between arms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
SUBSETS = 2**16  # all subsets of sixteen values; of more values, as many are drawn


@dataclass(frozen=True)
class Summary:
    """One quantity over the networks of an arm."""

    mean: float
    sd: float  # divided by n - 1
    median: float
    median_low: float  # 95 % interval of the median; infinite for too few networks
    median_high: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Comparison:
    """One arm against another, seed by seed."""

    difference: float  # mean of the paired differences
    low: float  # 95 % interval of the differences' centre; infinite for too few pairs
    high: float
    above: int  # pairs whose difference is above zero
    below: int
    pairs: int  # all that count

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def summarise(values: ArrayLike) -> Summary:
    """Describe one quantity over the networks, ``(networks,)``; ``sd`` is 0 for a single one.

    The median's interval is that of the exact sign test. It assumes no distribution, so collapsed networks, which
    shift the mean and inflate the deviation, do not affect it.
    """
    sample = np.asarray(values, dtype=float)
    interval = stats.quantile_test(sample).confidence_interval(CONFIDENCE)
    median_low, median_high = np.where(np.isnan(interval), (-math.inf, math.inf), interval).tolist()
    lowest, median, highest = np.quantile(sample, [0, 0.5, 1]).tolist()
    sd = float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
    return Summary(float(sample.mean()), sd, median, median_low, median_high, lowest, highest)


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Bound the probability of what happened ``count`` times in ``of``: Clopper and Pearson's 95 % interval."""
    low, high = stats.binomtest(count, of).proportion_ci(CONFIDENCE)
    return float(low), float(high)


def rank_correlation(values: ArrayLike, others: ArrayLike) -> tuple[float, float]:
    """Return Spearman's rank correlation of paired values and its p; pairs that are not finite do not count."""
    pairs = np.asarray([values, others], dtype=float)
    found = stats.spearmanr(*pairs[:, np.isfinite(pairs).all(axis=0)])
    return float(found.statistic), float(found.pvalue)


def compare(values: ArrayLike, reference: ArrayLike) -> Comparison:
    """Compare two arms' values, ``(networks,)`` each, that are paired by seed: ``values - reference``.

    A pair does not count if one of its values is not finite, because its network diverged.
    """
    ours, theirs = np.asarray(values, dtype=float), np.asarray(reference, dtype=float)
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        raise ValueError(f"values and reference must be one value a seed each, got {ours.shape} and {theirs.shape}")
    finite = np.isfinite(ours) & np.isfinite(theirs)
    differences = ours[finite] - theirs[finite]
    low, high = typical_interval(differences)
    return Comparison(
        difference=float(differences.mean()) if len(differences) else math.nan,
        low=low,
        high=high,
        above=int((differences > 0).sum()),
        below=int((differences < 0).sum()),
        pairs=len(differences),
    )


def typical_interval(sample: ArrayLike, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bound the centre of a symmetric distribution, whatever its tails.

    If two arms do not differ, swapping them changes nothing, so their paired differences are symmetric about zero.
    For independent values that are symmetric about one centre and have no ties, the means of all non-empty subsets
    cut the line into ``2**n`` intervals, and each holds the centre with the same probability. So the interval
    between two of these means has exactly the coverage that one counts. Collapsed networks do not change that, and
    ties only raise it. Of more than sixteen values, random subsets are drawn.

    The interval holds all shifts that a two-sided sign-flip permutation test does not reject; scipy has that test
    but not its interval. The bootstrap's intervals, BCa too, cover too seldom at sixteen values. Where arms differ
    and the differences are skewed, there is no centre: whether zero is excluded is still the test's answer, but the
    ends bound no mean (nor do those of a t interval or the bootstrap).

    The ends are infinite if the sample, ``(n,)``, is too small for that confidence (below six for 95 %). See
    J. A. Hartigan, "Using subsample values as typical values", JASA 64 (1969), 1303-1317.
    """
    values = np.asarray(sample, dtype=float)
    n = len(values)
    if 2**n <= SUBSETS:
        sums, sizes = np.zeros(1), np.zeros(1)
        for value in values:  # each subset so far, without the value and with it
            sums, sizes = np.append(sums, sums + value), np.append(sizes, sizes + 1)
    else:
        members = np.random.default_rng(0).integers(0, 2, size=(SUBSETS, n), dtype=np.int8)
        sums, sizes = members @ values, members.sum(axis=1)
    means = np.sort(sums[sizes > 0] / sizes[sizes > 0])
    outside = math.floor((1 - confidence) / 2 * (len(means) + 1))
    if outside < 1:
        return -math.inf, math.inf
    return float(means[outside - 1]), float(means[-outside])
