"""Numbers in words: the parts of the report's sentences."""

import math
from collections.abc import Sequence

from pandas import Series

from pipeline.analysis.comparison import Quantity
from pipeline.analysis.statistics import FEWEST, Comparison, share_interval

ROUNDING = 0.15  # of an interval's length: its ends moved by 0.12 between processors, and with the compiler


def verdict(comparison: Comparison, quantity: Quantity) -> str:
    """Say how an arm compares with the reference: "better by 1.30 points [0.60, 2.20]".

    A pair that makes more than a third of the difference is named: " (seed 3 alone makes 54 %)". What has no interval
    has a count: "fewer by 12.50 % of all, 2 of 16 seeds".
    """
    if said := unclear(comparison, quantity):
        return said
    direction, counted = _side(comparison, quantity)
    size = _with_unit(f"{abs(comparison.difference):,.{quantity.decimals}f}", quantity.unit)
    nearest, farthest = sorted((abs(comparison.low), abs(comparison.high)))
    interval = between(nearest, farthest, quantity.decimals) if quantity.interval else f", {counted}"
    if not comparison.alone:
        return f"{direction} by {size}{interval}"
    pair, part = comparison.alone
    return f"{direction} by {size}{interval} ({quantity.pair} {pair} alone makes {percent(part, 0)})"


def roughly(comparison: Comparison, quantity: Quantity) -> str:
    """Say it where a table has the numbers: "better by about 1.3 points, in 14 of 16 seeds (much of it in seed 3)"."""
    if said := unclear(comparison, quantity):
        return said
    direction, counted = _side(comparison, quantity)
    size = _with_unit(f"{float(f'{abs(comparison.difference):.2g}'):,.9g}", quantity.unit)
    alone = f" (much of it in {quantity.pair} {comparison.alone[0]})" if comparison.alone else ""
    return f"{direction} by about {size}, in {counted}{alone}"


def unclear(comparison: Comparison, quantity: Quantity) -> str:
    """Say why a difference is not clear; "" if it is. A count has no interval that could end near zero."""
    if not comparison.pairs:
        return "not comparable (no pair has both values)"
    if not comparison.above and not comparison.below:
        return f"no difference {sample(comparison.pairs)}"
    if comparison.above + comparison.below < FEWEST:  # whatever rounding does
        return f"no clear difference {sample(comparison.pairs)}"
    if quantity.interval and not is_settled(comparison):
        return "uncertain, as its interval ends near zero"
    return "" if comparison.excludes_zero else f"no clear difference {sample(comparison.pairs)}"


def _side(comparison: Comparison, quantity: Quantity) -> tuple[str, str]:
    """Name the side of zero on which the interval lies, and how many pairs lie there: "better", "14 of 16 seeds"."""
    is_above = comparison.low > 0
    count = comparison.above if is_above else comparison.below
    return quantity.more if is_above else quantity.less, f"{count} of {comparison.pairs} {quantity.pair}s"


def sample(pairs: int) -> str:
    """Write how many pairs were compared: "(n = 16)", on one line."""
    return f"(n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{pairs})"


def between(low: float, high: float, decimals: int) -> str:
    """Write the ends of an interval: " [0.60, 2.20]"; "" if they are not known."""
    return f" [{low:,.{decimals}f}, {high:,.{decimals}f}]" if math.isfinite(low) and math.isfinite(high) else ""


def interval(comparison: Comparison, quantity: Quantity) -> str:
    """Write a difference with its interval: "+1.30 [+0.60, +2.20]"; "" if it is not known."""
    if not comparison.pairs:
        return ""
    ends = comparison.difference, comparison.low, comparison.high
    difference, low, high = (signed(each, quantity.decimals) for each in ends)
    return f"{difference} [{low}, {high}]" if math.isfinite(comparison.low) else difference


def is_settled(comparison: Comparison) -> bool:
    """Whether another processor's rounding, which moves the interval's ends, leaves zero on the same side of them."""
    return math.isinf(comparison.low) or nearness(comparison) > ROUNDING


def clear_side(comparison: Comparison) -> int:
    """Return on which side of zero the interval is, on any processor: 1 above, -1 below, 0 if that is not clear."""
    return ((comparison.low > 0) - (comparison.high < 0)) * is_settled(comparison)


def nearness(comparison: Comparison) -> float:
    """Return how far from zero the interval's nearest end is, as a share of its length."""
    return min(abs(comparison.low), abs(comparison.high)) / max(comparison.high - comparison.low, math.ulp(0))


def share(flags: "Series[bool]") -> str:
    """Write how many flags out of all are set, with the interval of the share."""
    count, of = int(flags.sum()), len(flags)
    low, high = share_interval(count, of)
    return f"{count} of {of} [{100 * low:.1f}, {percent(100 * high, 1)}]"


def signed(value: float, decimals: int) -> str:
    """Write a difference with its sign; zero has none."""
    text = f"{value:+,.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text[1:]


def numbered(count: int | str, noun: str) -> str:
    """Write a count in figures: "1 step", "1,200 steps", "0.5 steps"."""
    return _with_unit(count if isinstance(count, str) else f"{count:,}", f"{noun}s")


def _with_unit(number: str, unit: str) -> str:
    is_one = number.lstrip("+−") == "1" and len(unit) > 1  # the unit "s" is of seconds
    return f"{number} {unit.removesuffix('s') if is_one else unit}".rstrip()


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
