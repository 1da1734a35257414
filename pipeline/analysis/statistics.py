"""Summaries over seeds and paired comparisons between arms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
SUBSETS = 2**16  # all subsets of sixteen seeds; of more seeds, as many are drawn
BLOCK = 2**8  # drawn at once: all subsets of a thousand seeds would be a gigabyte


@dataclass(frozen=True)
class Summary:
    """One quantity over the seeds.

    Attributes
    ----------
    mean, sd, median : float
        The standard deviation divides by n - 1.
    median_low, median_high : float
        95 % interval of the median, from one value to another; infinite where there are too few seeds for one.
    lowest, highest : float
    """

    mean: float
    sd: float
    median: float
    median_low: float
    median_high: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Comparison:
    """One arm against another, seed by seed.

    Attributes
    ----------
    difference : float
        Mean of the paired differences.
    low, high : float
        95 % interval of the differences' centre; infinite where there are too few seeds for one.
    above, below, pairs : int
        Seeds whose difference is above zero, below zero, and all that count.
    """

    difference: float
    low: float
    high: float
    above: int
    below: int
    pairs: int

    @property
    def decided(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def summarise(values: ArrayLike) -> Summary:
    """Describe one quantity over the seeds.

    The median's interval is that of the exact sign test: it asks nothing of the distribution, so that
    collapsed seeds, which pull the mean and stretch the deviation, leave it alone.

    Parameters
    ----------
    values : (seeds,) array_like

    Returns
    -------
    Summary
        ``sd`` is 0 for a single seed.
    """
    sample = np.asarray(values, dtype=float)
    low, high = stats.quantile_test(sample).confidence_interval(CONFIDENCE)
    return Summary(
        mean=float(sample.mean()),
        sd=float(sample.std(ddof=1)) if len(sample) > 1 else 0.0,
        median=float(np.median(sample)),
        median_low=float(np.nan_to_num(low, nan=-math.inf)),
        median_high=float(np.nan_to_num(high, nan=math.inf)),
        lowest=float(sample.min()),
        highest=float(sample.max()),
    )


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Bound the probability of what happened ``count`` times in ``of``: Clopper and Pearson's 95 % interval."""
    low, high = stats.binomtest(count, of).proportion_ci(CONFIDENCE)
    return float(low), float(high)


def compare(values: ArrayLike, reference: ArrayLike) -> Comparison:
    """Compare two arms whose entries are paired by seed.

    A pair in which one value is not finite, because its network diverged, does not count.

    Parameters
    ----------
    values, reference : (seeds,) array_like

    Returns
    -------
    Comparison
        Of ``values - reference``.

    Raises
    ------
    ValueError
        If the two do not pair.
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

    If two arms do not differ, swapping them changes nothing, so that their paired differences are
    symmetric about zero. For independent values, each symmetric about one common centre and without
    ties, the means of all non-empty subsets cut the line into ``2**n`` intervals that hold the centre
    with equal probability; so the interval between two of these means has exactly the coverage that
    one counts, with collapsed seeds among them too. Ties can only raise it. Of more than sixteen
    values random subsets stand in for all, and the coverage is that count's but for chance.

    It is the interval of all shifts that a two-sided sign-flip permutation test does not reject. scipy has
    that test but not its interval; and the bootstrap's, BCa too, cover too seldom at sixteen values.
    Where two arms do differ and the differences are skewed, whether it leaves zero out is still that
    test's answer; its ends then bound no mean, as there is no centre to bound. (Nor does a t interval or
    the bootstrap's keep its level there, at sixteen values.)

    Parameters
    ----------
    sample : (n,) array_like
    confidence : float

    Returns
    -------
    low, high : float
        Infinite if ``n`` is too small for that confidence (below six for 95 %).

    References
    ----------
    J. A. Hartigan, "Using subsample values as typical values", JASA 64 (1969), 1303-1317.
    """
    values = np.asarray(sample, dtype=float)
    n = len(values)
    if 2**n <= SUBSETS:
        sums, sizes = np.zeros(1), np.zeros(1)
        for value in values:  # each subset so far, without the value and with it
            sums, sizes = np.append(sums, sums + value), np.append(sizes, sizes + 1)
    else:
        draw = np.random.default_rng(0)
        blocks = (draw.integers(0, 2, size=(BLOCK, n)) for _ in range(SUBSETS // BLOCK))
        sums, sizes = np.hstack([(members @ values, members.sum(axis=1)) for members in blocks])[:, 1:]
    means = np.sort(sums[sizes > 0] / sizes[sizes > 0])
    outside = math.floor((1 - confidence) / 2 * (len(means) + 1))
    if outside < 1:
        return -math.inf, math.inf
    return float(means[outside - 1]), float(means[-outside])
