"""Summary of values: moments, percentiles, confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from operator import mul, sub
from typing import Protocol

from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED
from pytest_flperf.results.records import Distribution, Interval
from pytest_flperf.stats.descriptive.quantiles import Column

__all__ = ["Ordered", "distribution", "quantile", "quantile_interval"]


class Ordered(Protocol):
    """Values in ascending order: a sorted list, or a column."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> float: ...


def distribution(
    values: Iterable[float],
    *,
    scale: float = 1.0,
    requests: int | None = None,
    independent: bool = True,
) -> Distribution | None:
    """Summarise ``values``; None where there is none.

    Args:
        values: In any order; a column where there are very many.  What is not finite is no measurement and is left
            out; ``n`` tells.
        scale: What every value is divided by (1e6: ns to ms); int values stay exact until then.
        requests: How many requests the values come from; None: one value each.  Percentiles are marked by this.
        independent: False for values that come in runs (the gaps of one stream): the order-statistic intervals
            hold for independent values only and are None then.

    """
    ordered: Ordered
    runs: Sequence[Sequence[float]]
    if isinstance(values, Column):
        ordered, runs = values, values.runs()
    else:
        ordered = in_memory = sorted(filter(math.isfinite, values))
        runs = [in_memory]
    n = len(ordered)
    if not n:
        return None
    mean = math.fsum(chain.from_iterable(runs)) / n
    squares = chain.from_iterable(_squares(run, mean) for run in runs)
    stdev = math.sqrt(math.fsum(squares) / (n - 1)) if n > 1 else None
    known = n if requests is None else requests

    def interval(p: float) -> Interval | None:
        found = quantile_interval(ordered, p) if independent else None
        return None if found is None else (found[0] / scale, found[1] / scale)

    return Distribution(
        n=n,
        mean=mean / scale,
        stdev=None if stdev is None else stdev / scale,
        min=ordered[0] / scale,
        p5=quantile(ordered, 0.05) / scale,
        p50=quantile(ordered, 0.5) / scale,
        p90=quantile(ordered, 0.9) / scale,
        p95=quantile(ordered, 0.95) / scale,
        p99=quantile(ordered, 0.99) / scale,
        max=ordered[-1] / scale,
        p50_ci95=interval(0.5),
        p95_ci95=interval(0.95),
        unsure=tuple(name for name, needed in REQUESTS_NEEDED.items() if known < needed),
    )


def _squares(run: Sequence[float], mean: float) -> Iterator[float]:
    """Squared distances from the mean.

    Without a loop of Python's, since there may be millions.
    """
    away = list(map(sub, run, repeat(mean)))
    return map(mul, away, away)


def quantile(ordered: Ordered, p: float) -> float:
    """Quantile ``p`` (0 to 1) of values in ascending order.

    It is linear between order statistics.

    Definition 7 of Hyndman and Fan (1996), "Sample quantiles in statistical packages", The American Statistician
    50(4); the default of numpy, whose rounding it follows.  Raises IndexError for no values.
    """
    place = (len(ordered) - 1) * p
    below = math.floor(place)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    share = place - below
    # From the nearer end, as numpy does, so that the result never leaves [low, high].
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def quantile_interval(ordered: Ordered, p: float, confidence: float = 0.95) -> Interval | None:
    """Distribution-free confidence interval of quantile ``p``.

    Its limits are two order statistics of ascending values.

    With B binomial (n, p), the l-th and the u-th smallest enclose the quantile with probability P(l ≤ B ≤ u − 1) at
    least, whatever the distribution (Conover, "Practical Nonparametric Statistics", 3rd ed. 1999, section 3.2;
    David and Nagaraja, "Order Statistics", 3rd ed. 2003, section 7.1).  Tails are equal where n allows; near an end
    of the data the interval is clamped to it and the other end moves out until the confidence holds.  No
    interpolation (Hettmansperger and Sheather 1986), so the confidence is never less than asked for.

    None where even the smallest and the largest value don't give that confidence (p50: n < 6, p95: n < 59).
    Values must be independent.
    """
    n = len(ordered)
    if n < 2 or 1 - p**n - (1 - p) ** n < confidence:
        return None
    first, chances = _binomial(n, p)
    tail = (1 - confidence) / 2

    # cumulative[k] = P(B <= first + k)
    cumulative: list[float] = []
    total = 0.0
    for chance in chances:
        total += chance
        cumulative.append(total)

    def at_most(k: int) -> float:
        if k < first:
            return 0.0
        return cumulative[min(k - first, len(cumulative) - 1)]

    low = first + next(i for i, reached in enumerate(cumulative) if reached > tail)  # largest l: P(B <= l-1) <= tail
    high = first + next(i for i, reached in enumerate(cumulative) if reached >= 1 - tail) + 1
    low, high = max(low, 1), min(high, n)
    while low > 1 and at_most(high - 1) - at_most(low - 1) < confidence:
        low -= 1
    while high < n and at_most(high - 1) - at_most(low - 1) < confidence:
        high += 1
    return (float(ordered[low - 1]), float(ordered[high - 1]))


def _binomial(n: int, p: float) -> tuple[int, list[float]]:
    """Binomial probabilities around the mode.

    Returns the first count, and the chance of it and of each next one.

    By the ratio of neighbours, outwards from the mode until a chance no longer matters in a float, then normalised:
    no factorial, no loss, and about 17 standard deviations of steps for n in the millions.
    """
    mode = min(int((n + 1) * p), n)
    odds = p / (1 - p)
    below: list[float] = []
    chance = 1.0
    for k in range(mode, 0, -1):
        chance *= k / ((n - k + 1) * odds)
        if chance < 1e-18:
            break
        below.append(chance)
    above: list[float] = []
    chance = 1.0
    for k in range(mode, n):
        chance *= (n - k) * odds / (k + 1)
        if chance < 1e-18:
            break
        above.append(chance)
    chances = [*reversed(below), 1.0, *above]
    whole = math.fsum(chances)
    return mode - len(below), [each / whole for each in chances]
