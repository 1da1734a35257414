"""Paired comparisons between arms, with their intervals."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pandas import DataFrame
from scipy import stats

CONFIDENCE = 0.95
FEWEST = 6  # pairs that have an interval of this confidence
SUBSETS = 2**16  # all subsets of sixteen values; of more values, as many are drawn
MUCH = 100 / 3  # per cent of a difference above which the pair that makes them is named


@dataclass(frozen=True)
class Comparison:
    """One arm against another, seed by seed."""

    difference: float  # mean of the paired differences
    low: float  # 95 % interval of the differences' centre; infinite for too few pairs
    high: float
    above: int  # pairs whose difference is above zero
    below: int
    pairs: int  # all that count
    mean: float = math.nan  # of the arm and of the other, over these pairs
    reference: float = math.nan
    alone: tuple[int, float] | None = None  # the pair that makes more than a third of the difference, and its part

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Bound the probability of what happened ``count`` times in ``of``: Clopper and Pearson's 95 % interval."""
    low, high = stats.binomtest(count, of).proportion_ci(CONFIDENCE)
    return float(low), float(high)


def rank_correlation(values: ArrayLike, others: ArrayLike) -> tuple[float, float]:
    """Return Spearman's rank correlation of paired values, and its p by permutation; pairs with a NaN do not count.

    Both are NaN if all values are the same, as they have no order. All permutations count, or random ones of more than
    seven pairs.
    """
    pairs = np.asarray([values, others], dtype=float)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if min(len(np.unique(row)) for row in pairs) < 2:
        return math.nan, math.nan
    ranks = stats.rankdata(pairs, axis=1)
    found = stats.pearsonr(*ranks, method=stats.PermutationMethod(rng=np.random.default_rng(0)))
    return float(found.statistic), float(found.pvalue)


def compare(values: ArrayLike, reference: ArrayLike, labels: list[int] | None = None) -> Comparison:
    """Compare two arms' values, ``(networks,)`` each, that are paired by seed: ``values - reference``.

    A pair does not count if one of its values is not finite, because its network diverged. ``labels`` are the names of
    the pairs, from 1 if not given. No pair is named if they are too few for an interval, or if one makes more than all
    of the difference, as chance does where the others cancel out.
    """
    ours, theirs = np.asarray(values, dtype=float), np.asarray(reference, dtype=float)
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        raise ValueError(f"values and reference must be one value per seed each, got {ours.shape} and {theirs.shape}")
    pairs = DataFrame({"ours": ours, "theirs": theirs}, index=labels or range(1, len(ours) + 1))
    pairs = pairs[np.isfinite(pairs)].dropna()
    differences = pairs["ours"] - pairs["theirs"]
    low, high = typical_interval(differences)
    parts = 100 * differences / differences.sum()
    is_named = math.isfinite(low) and MUCH < parts.max() <= 100
    return Comparison(
        difference=float(differences.mean()),
        low=low,
        high=high,
        above=int((differences > 0).sum()),
        below=int((differences < 0).sum()),
        pairs=len(pairs),
        mean=float(pairs["ours"].mean()),
        reference=float(pairs["theirs"].mean()),
        alone=(pairs.index.tolist()[parts.argmax()], float(parts.max())) if is_named else None,
    )


def typical_interval(sample: ArrayLike, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bound the centre of a symmetric distribution, whatever its tails. The report says what this means for two arms.

    The means of all non-empty subsets of the values cut the line into ``2**n`` intervals, and each holds the centre
    with the same probability (ties only raise it). So the interval between two of these means has exactly the coverage
    that one counts. scipy has the sign-flip permutation test that rejects all shifts outside, but not the interval.
    Of more than sixteen values, ``(n,)``, random subsets are drawn. The ends are infinite for too few values (below six
    for 95 %). See J. A. Hartigan, "Using subsample values as typical values", JASA 64 (1969), 1303-1317.
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
