"""Suggested budgets, from measured runs with room for noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from pytest_flperf._text import amount
from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult, Distribution
from pytest_flperf.stats.inference.failure_bounds import upper_bound
from pytest_flperf.stats.inference.student import prediction_bound

__all__ = ["CONFIDENCE", "FEWEST_RUNS", "ONE_RUN_MARGIN", "LeftOut", "Suggestion", "scoped", "suggest"]

ONE_RUN_MARGIN: Final = 1.5
"""Factor beyond the interval where too few runs show how much runs differ.

When the same model was measured twice, one side was more than 10 % slower in up to 24 of 100 comparisons on an idle
machine with two shared cores and in up to 36 of 100 on a busy one.  If the logarithms of the ratios are normal, that is
a standard deviation of 0.135 and 0.266; a ratio over 1.5 then comes once in 750 comparisons, and once in 16.
"""
FEWEST_RUNS: Final = 3
"""Fewest runs whose own spread sets the room: with two, t is 31.8."""
CONFIDENCE: Final = 0.99
"""Confidence that the next run keeps a limit from the spread."""
_SUBJECTS: Final = (("ttft_ms", "p50"), ("ttft_ms", "p95"), ("tpot_ms", "p50"), ("gen_tps", "p50"), ("e2e_ms", "p50"))
_DIGITS: Final = 2
_LONGEST_NAME: Final = 200
_MOST: Final = 1e15
_WORTHLESS: Final = 10.0
"""A limit this many times beyond the end of a run's interval says nothing."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested budget, and the reason for its limit."""

    suite: str
    scenario: str
    model: str
    budget: str
    """For this scenario and model, as it may be written anywhere."""
    metric: str
    statistic: str | None
    limit: float
    """In the metric's own unit."""
    why: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A number without a suggested budget, and why."""

    suite: str
    scenario: str
    model: str
    number: str
    """``ttft_ms.p95``; empty: all of them."""
    reason: str


@dataclass(frozen=True, slots=True)
class _Limit:
    raw: float
    why: str


def suggest(
    cases: Iterable[CaseResult], margin: float | None = None
) -> tuple[tuple[Suggestion, ...], tuple[LeftOut, ...]]:
    """Suggest budgets per scenario and model, which all the cases keep.

    Also returns the numbers without a suggestion.

    Args:
        cases: Of one run, or of several.  Those with the same node id are the same case, measured again.
        margin: Factor beyond the interval, in place of the one that is chosen here.

    """
    groups: dict[tuple[str, str, str], dict[str, list[CaseResult]]] = {}
    for case in cases:
        groups.setdefault((case.suite, case.scenario, case.model), {}).setdefault(case.nodeid, []).append(case)
    found: list[Suggestion] = []
    left: list[LeftOut] = []
    for group, by_id in groups.items():
        points = [measured for each in by_id.values() if (measured := _measured(each))]
        reason = _unusable(points)
        if reason:
            left.append(LeftOut(*group, "", reason))
            continue
        for metric, statistic in _SUBJECTS:
            limits = [_limit(point, metric, statistic, margin) for point in points]
            reasons = [limit for limit in limits if isinstance(limit, str)]
            usable = [limit for limit in limits if isinstance(limit, _Limit)]
            if usable and not any(reasons):
                found.append(_suggestion(group, metric, statistic, usable))
            elif any(reasons):
                left.append(LeftOut(*group, f"{metric}.{statistic}", next(filter(None, reasons))))
        found.append(_error_rate(group, points))
    return tuple(found), tuple(left)


def _measured(cases: Sequence[CaseResult]) -> list[CaseResult]:
    return [case for case in cases if 0 < case.requests.ok <= case.requests.total - case.requests.failed]


def _unusable(points: Sequence[Sequence[CaseResult]]) -> str:
    if not points:
        return "not one good request was measured"
    if any(case.search is not None for point in points for case in point):
        return "a search looks for a load under limits that you choose"
    return ""


def _limit(cases: Sequence[CaseResult], metric: str, statistic: str, margin: float | None) -> _Limit | str:
    """Unrounded limit of one case, or why there is none.

    The case may be measured once or more.  The reason is empty where it has no such number.
    """
    there = [found for case in cases if (found := case.metric(metric)) is not None]
    if not there:
        return ""
    enough = [found for found in there if statistic not in found.unsure]
    if not enough:
        return f"{max(found.n for found in there)} requests, it needs {REQUESTS_NEEDED[statistic]}"
    lower = METRICS[metric].better == "lower"
    values = [value for found in enough if (value := found.statistic(statistic)) is not None]
    # runs with too few requests say nothing about the noise, but should keep the limit as well
    ends = [found.statistic(statistic) for found in there]
    ends += [interval[int(lower)] if (interval := found.interval(statistic)) else None for found in enough]
    known = [end for end in ends if end is not None and 0 < end < _MOST]
    if len(known) < len(ends):
        return "its interval reaches 0 or has no end"
    unit = METRICS[metric].unit
    end = max(known) if lower else min(known)
    if margin is None and len(values) >= FEWEST_RUNS:
        return _from_spread(values, end, unit, lower=lower)
    factor = ONE_RUN_MARGIN if margin is None else margin
    sign = "×" if lower else "/"
    at = f"95 % interval {'up' if lower else 'down'} to {amount(end, unit)}, {sign} {factor:g}"
    return _Limit(end * factor if lower else end / factor, f"{_seen(values, enough, unit)}, {at}")


def _from_spread(values: Sequence[float], end: float, unit: str, *, lower: bool) -> _Limit | str:
    """Limit from the spread between runs.

    It is a prediction bound of the statistic's logarithm, and at least what each run allows.
    """
    way = 1 if lower else -1
    log = way * prediction_bound([way * math.log(value) for value in values], CONFIDENCE)
    if way * (log - math.log(end)) > math.log(_WORTHLESS):
        return f"{_seen(values, (), unit)}: they differ too much for a limit that means something"
    bound = math.exp(log)
    raw = max(bound, end) if lower else min(bound, end)
    side = "below" if lower else "above"
    why = f"{_seen(values, (), unit)}; {100 * CONFIDENCE:g} % of further runs {side} {amount(bound, unit)}"
    if raw != bound:
        why += f", and a run's own 95 % interval reaches {amount(end, unit)}"
    return _Limit(raw, why)


def _seen(values: Sequence[float], found: Sequence[Distribution], unit: str) -> str:
    if len(values) == 1:
        return f"{amount(values[0], unit)} (n {found[0].n})" if found else amount(values[0], unit)
    return f"{amount(min(values), unit)} to {amount(max(values), unit)} in {len(values)} runs"


def _suggestion(group: tuple[str, str, str], metric: str, statistic: str, limits: Sequence[_Limit]) -> Suggestion:
    """Suggestion from the matrix point that needs the most room."""
    lower = METRICS[metric].better == "lower"
    widest = max(limits, key=lambda limit: limit.raw) if lower else min(limits, key=lambda limit: limit.raw)
    number = _rounded(Decimal(widest.raw), up=lower)
    text = f"{metric}.{statistic} {'<=' if lower else '>='} {number:f}"
    of = f", the widest of {len(limits)} points" if len(limits) > 1 else ""
    return Suggestion(*group, scoped(group[1], group[2], text), metric, statistic, float(number), widest.why + of)


def _error_rate(group: tuple[str, str, str], points: Sequence[Sequence[CaseResult]]) -> Suggestion:
    """Suggested error rate: 0 without failures, else their upper bound.

    Failures are no noise: without any there is no room; else the limit is the bound of their rate.
    """
    total = sum(case.requests.total for point in points for case in point)
    worst, failed, n = max(map(_bound, points))
    if not failed:
        text = "error_rate <= 0"
        return Suggestion(*group, scoped(*group[1:], text), "error_rate", None, 0.0, f"none of {total} requests failed")
    number = min(_rounded(Decimal(worst) * 100, up=True), Decimal(100))
    text = f"error_rate <= {number:f}%"
    why = f"{failed} of {n} requests failed, 95 % sure to be below {amount(worst, 'fraction')}"
    return Suggestion(*group, scoped(*group[1:], text), "error_rate", None, float(number / 100), why)


def _bound(cases: Sequence[CaseResult]) -> tuple[float, int, int]:
    """Failure rate to allow for a case, with failed and total.

    It is the bound over all runs, and at least the rate of each of them.
    """
    failed, total = sum(case.requests.failed for case in cases), sum(case.requests.total for case in cases)
    if not failed:
        return 0.0, 0, total
    highest = max(case.requests.failed / case.requests.total for case in cases)
    return max(upper_bound(failed, total), highest), failed, total


def _rounded(value: Decimal, *, up: bool) -> Decimal:
    """To two significant digits, away from what was measured."""
    step = Decimal(1).scaleb(value.adjusted() - _DIGITS + 1)
    return value.quantize(step, ROUND_CEILING if up else ROUND_FLOOR) if value else value


def scoped(scenario: str, model: str, budget: str) -> str:
    """A budget limited to one scenario and one model.

    Characters of their names that can't be written become ``?``.
    """
    return f"{_written(scenario, '@')}@{_written(model, '')}: {budget}"


def _written(name: str, reserved: str) -> str:
    plain = " ".join(name.split()) == name and name.isprintable() and len(name) <= _LONGEST_NAME
    if plain and not set(reserved) & set(name):
        return name
    return "".join(_escaped(char, reserved) for char in name[:_LONGEST_NAME]) + "*" * (len(name) > _LONGEST_NAME)


def _escaped(char: str, reserved: str) -> str:
    if char in reserved or char.isspace() or not char.isprintable():
        return "?"
    return f"[{char}]" if char in "*?[" else char
