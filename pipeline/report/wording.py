"""Numbers in words: what the report's sentences are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.analysis.comparison import Quantity
from pipeline.analysis.statistics import Comparison, Summary, share_interval

NUMBER_WORDS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)


def verdict(comparison: Comparison, quantity: Quantity) -> str:
    """Say by how much an arm is better or worse and in how many pairs, or that nothing shows.

    Parameters
    ----------
    comparison : Comparison
    quantity : Quantity

    Returns
    -------
    str
        Such as "better by 1.30 points [0.60, 2.20], 14 of 16 seeds".
    """
    if not comparison.pairs:
        return f"not to be compared, since in no pair both networks {quantity.both}"
    decimals, unit = quantity.decimals, f" {quantity.unit}" if quantity.unit else ""
    if not comparison.decided:
        apart = f"{signed(comparison.difference, decimals)}{unit}"
        within = (
            ""
            if not quantity.interval
            else f", with too few {quantity.pair}s for an interval"
            if math.isinf(comparison.low)
            else f" [{signed(comparison.low, decimals)}, {signed(comparison.high, decimals)}]"
        )
        return f"no difference that {counted(comparison.pairs, quantity.pair)} can show ({apart}{within})"
    is_more = comparison.low > 0
    size, *ends = (
        f"{value:,.{decimals}f}"
        for value in (abs(comparison.difference), *sorted((abs(comparison.low), abs(comparison.high))))
    )
    pairs = f"{comparison.above if is_more else comparison.below} of {comparison.pairs} {quantity.pair}s"
    interval = f" [{', '.join(ends)}]" if quantity.interval else ""
    return f"{quantity.more if is_more else quantity.less} by {size}{unit}{interval}, {pairs}"


def median_interval(summary: Summary) -> str:
    """Write the interval of a median, with a space before it; nothing if there is none."""
    if math.isinf(summary.median_low):
        return ""
    return f" [{summary.median_low:.2f}, {summary.median_high:.2f}]"


def share(count: int, of: int) -> str:
    """Write how many of all there are, with the interval of their share."""
    low, high = share_interval(count, of)
    return f"{count} of {of} [{100 * low:.1f}, {percent(100 * high, 1)}]"


def signed(value: float, decimals: int) -> str:
    """Write a difference with its sign; zero has none."""
    text = f"{value:+,.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text[1:]


def counted(count: int, noun: str) -> str:
    """Write a count of something: "no seeds", "one seed", "sixteen seeds", "32 seeds"."""
    return f"{number_word(count)} {noun}{'' if count == 1 else 's'}"


def number_word(count: int) -> str:
    """Write a small number as a word."""
    return NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else f"{count:,}"


def listed(parts: Sequence[str]) -> str:
    """Join with commas and a last "and"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def numbers(values: Sequence[int]) -> str:
    """Join whole numbers with commas and a last "and"."""
    return listed([f"{value:,}" for value in values])


def lower(title: str) -> str:
    """Write a title inside a sentence: an acronym keeps its capitals."""
    return title if title[1:2].isupper() or title[1:2].isdigit() else title[0].lower() + title[1:]


def capitalised(sentence: str) -> str:
    """Begin a sentence with a capital."""
    return sentence[:1].upper() + sentence[1:]


def percent(value: float, decimals: int = 2) -> str:
    """Write a percentage."""
    return f"{value:.{decimals}f}\N{NO-BREAK SPACE}%"
