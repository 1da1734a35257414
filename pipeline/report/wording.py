"""Numbers in words: the parts of the report's sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.analysis.comparison import Quantity
from pipeline.analysis.statistics import Comparison, compare, share_interval

NUMBER_WORDS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)

ROUNDING = 0.1  # of an interval's length: its ends moved by that from one kind of processor to another


def verdict(comparison: Comparison, quantity: Quantity) -> str:
    """Say how an arm compares with the reference: "better by 1.30 points [0.60, 2.20], 14 of 16 seeds"."""
    difference, low, high, pairs = comparison.difference, comparison.low, comparison.high, comparison.pairs
    decimals = quantity.decimals
    if not pairs:
        return f"not comparable (no pair in which both networks {quantity.both})"
    if not comparison.excludes_zero:
        return f"no clear difference (n = {pairs})"
    direction, count = (quantity.more, comparison.above) if low > 0 else (quantity.less, comparison.below)
    size, nearest, farthest = (f"{each:,.{decimals}f}" for each in (abs(difference), *sorted((abs(low), abs(high)))))
    interval = f" [{nearest}, {farthest}]" if quantity.interval else ""
    return f"{direction} by {_with_unit(size, quantity.unit)}{interval}, {count} of {pairs} {quantity.pair}s"


def interval(comparison: Comparison, quantity: Quantity) -> str:
    """Write a difference with its interval: "+1.30 [+0.60, +2.20]"; "" if it is not known."""
    if math.isnan(comparison.difference):
        return ""
    difference, low, high = (
        signed(value, quantity.decimals) if math.isfinite(value) else ""
        for value in (comparison.difference, comparison.low, comparison.high)
    )
    return f"{difference} [{low}, {high}]" if low and quantity.interval else difference


def is_settled(comparison: Comparison) -> bool:
    """Whether another processor's rounding, which moves the interval's ends, leaves zero on the same side of them."""
    return math.isinf(comparison.low) or nearness(comparison) > ROUNDING


def nearness(comparison: Comparison) -> float:
    """Return how far from zero the interval's nearest end is, as a share of its length."""
    return min(abs(comparison.low), abs(comparison.high)) / max(comparison.high - comparison.low, math.ulp(0))


def made_by_one(gains: Tensor, seeds: Sequence[int]) -> str:
    """Say if one network makes more than a third of a clear mean gain: " Seed 14 alone makes 54 % of it."; else ""."""
    shares = gains / gains.sum()
    largest = int(shares.argmax())
    if not compare(gains, torch.zeros_like(gains)).excludes_zero or shares[largest] <= 1 / 3:
        return ""
    return f" Seed {seeds[largest]} alone makes {percent(100 * float(shares[largest]), 0)} of it."


def share(count: int, of: int) -> str:
    """Write a count out of all, with the interval of the share."""
    low, high = share_interval(count, of)
    return f"{count} of {of} [{100 * low:.1f}, {percent(100 * high, 1)}]"


def signed(value: float, decimals: int) -> str:
    """Write a difference with its sign; zero has none."""
    text = f"{value:+,.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text[1:]


def counted(count: int, noun: str) -> str:
    """Write a count in words: "no seeds", "one seed", "sixteen seeds", "32 seeds"."""
    said = numbered(count, noun)
    return said.replace(str(count), NUMBER_WORDS[count]) if count < len(NUMBER_WORDS) else said


def numbered(count: int | str, noun: str) -> str:
    """Write a count in figures: "1 step", "1,200 steps", "0.5 steps"."""
    return _with_unit(count if isinstance(count, str) else f"{count:,}", f"{noun}s")


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number.lstrip('+−') == '1' else unit}".rstrip()


def named(noun: str, numbers: Sequence[int]) -> str:
    """Name things by their numbers: "seed 3", "seeds 1, 3 and 4"."""
    return f"{noun}{'s' * (len(numbers) > 1)} {listed([f'{number:,}' for number in numbers])}"


def listed(parts: Sequence[str]) -> str:
    """Join with commas and a last "and"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def lower(title: str) -> str:
    """Write a title inside a sentence: an acronym keeps its capitals."""
    return title if title[1:2].isupper() or title[1:2].isdigit() else title[0].lower() + title[1:]


def percent(value: float, decimals: int = 2) -> str:
    """Write a percentage."""
    return f"{value:.{decimals}f}\N{NO-BREAK SPACE}%"


def where(size: int) -> str:
    """Say how a network trains in an ensemble of this size."""
    return "alone" if size == 1 else f"in an ensemble of {size}"
