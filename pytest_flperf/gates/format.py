"""Formatting of comparisons: change, evidence and baseline, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from pytest_flperf._text import amount, printable
from pytest_flperf.gates.rules import COUNTED, DEFAULT_SCOPE, IMPLIED_SCOPE
from pytest_flperf.results.bounds import first_lines
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.metric_statistics import unit_of
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.notes import labelled
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.serialize import Interval
from pytest_flperf.stats.inference.findings import RANKS

__all__ = [
    "against_lines",
    "arrow",
    "beyond_for_the_better",
    "change",
    "comparisons_of",
    "counted_words",
    "failing",
    "falls",
    "goes_without_saying",
    "headline",
    "in_points",
    "interval",
    "limit",
    "limit_pct",
    "name",
    "of_medians",
    "probability",
    "raw",
    "sides",
    "word",
]

_RULE: Final = 120
_REASON: Final = 300
_LABEL: Final = 100
_LINES: Final = 40
_NOTES: Final = 10
_SURELY: Final = 0.995
_NEAR_POINTS: Final = 3.0
_NEAR_SHARE: Final = 0.1
"""Of a change: a difference that rounding and chance make."""
WORDS: Final = ("regressed", "improved", "unchanged", "undecided")


def goes_without_saying(each: Comparison) -> bool:
    """Whether this is an unchanged error rate that nobody asked to compare: neither shown nor counted."""
    return each.metric in COUNTED and each.verdict == "unchanged" and each.scope in (DEFAULT_SCOPE, IMPLIED_SCOPE)


def comparisons_of(case: CaseResult) -> tuple[Comparison, ...]:
    """All comparisons of a case.

    With stored runs, and of interleaved measurements.
    """
    return tuple(each for against in case.against for each in against.comparisons)


def failing(case: CaseResult) -> tuple[Comparison, ...]:
    """The comparisons that fail a case."""
    return tuple(each for each in comparisons_of(case) if each.fails)


def counted_words(comparisons: Iterable[Comparison]) -> str:
    """Verdict counts: ``2 regressed, 1 improved, 15 unchanged, 0 undecided``."""
    found = [each.verdict for each in comparisons]
    return ", ".join(f"{found.count(each)} {each}" for each in WORDS)


def name(comparison: Comparison) -> str:
    """Name of the compared number, as in rules: ``ttft_ms.p50``, ``quality.mean[maths]``."""
    found = f"{comparison.metric}.{comparison.statistic}" if comparison.statistic else comparison.metric
    return printable(f"{found}[{comparison.category}]" if comparison.category else found, 60)


def word(comparison: Comparison) -> str:
    """The verdict; in capitals where it fails the case."""
    return comparison.verdict.upper() if comparison.fails else comparison.verdict


def change(comparison: Comparison) -> str:
    """Change of the number: ``+12.3 %``; empty if unknown."""
    if in_points(comparison):
        points = _points(comparison)
        return "" if points is None else f"{_signed(points)} points"
    if comparison.change_pct is None or not math.isfinite(comparison.change_pct):
        return ""
    return f"{_signed(comparison.change_pct)} %"


def interval(comparison: Comparison) -> str:
    """The 95 % interval of the change: ``[+8.1, +16.9]``; empty if none.

    In percent or points.
    """
    by_ranks = in_points(comparison) and comparison.statistic not in (None, "mean")  # the interval is of a ratio
    bounds = None if by_ranks else comparison.change_ci95_pct
    return "" if bounds is None else _bounds(bounds)


def arrow(comparison: Comparison) -> str:
    """Direction of the number: ``▲``, ``▼``, ``=`` or ``?``.

    ``▲`` or ``▼`` where that is decided, or where the interval shows an improvement beyond the limit; ``=`` where
    nothing changed, else ``?``.
    """
    if comparison.verdict == "undecided":
        return "?"
    if comparison.verdict == "unchanged" and not beyond_for_the_better(comparison):
        return "="
    return "▲" if (comparison.verdict == "regressed") is not falls(comparison) else "▼"


def beyond_for_the_better(comparison: Comparison) -> bool:
    """Whether the whole interval is better by more than the limit.

    The word can be ``unchanged`` all the same: the run's error rate asks for more than one interval does.
    """
    bounds, before = comparison.change_ci95_pct, comparison.baseline
    if bounds is None or not interval(comparison):
        return False
    least = -bounds[1] if not falls(comparison) else bounds[0]
    floor = comparison.threshold_floor or 0.0
    if in_points(comparison):
        return least > 100 * floor and not comparison.threshold_pct
    return least > abs(comparison.threshold_pct or 0.0) and (not floor or least * abs(before or 0.0) > 100 * floor)


def falls(comparison: Comparison) -> bool:
    """Whether a lower number is worse."""
    if comparison.threshold_pct:
        return comparison.threshold_pct < 0
    metric = METRICS.get(comparison.metric)
    if metric is not None and metric.better == "neither":  # such as tokens: the rule says what is worse
        return "<" in comparison.rule.rpartition(":")[2]
    return metric is not None and metric.better == "higher"


def sides(comparison: Comparison) -> tuple[str, str]:
    """Numbers of baseline and candidate with their units; ``–`` if missing."""
    unit = unit_of(comparison.metric)
    found = (comparison.baseline, comparison.candidate)
    return tuple("–" if value is None else amount(value, unit) for value in found)  # type: ignore[return-value]


def limit(comparison: Comparison) -> str:
    """Limit of change: ``+10 %``, ``+10 % and +20 ms``, ``any rise``.

    A change beyond it is a regression.
    """
    sign = "-" if falls(comparison) else "+"
    parts = []
    if comparison.threshold_pct:
        parts.append(f"{sign}{abs(comparison.threshold_pct):.4g} %")
    if comparison.threshold_floor:
        if unit_of(comparison.metric) == "fraction":
            parts.append(f"{sign}{100 * comparison.threshold_floor:.4g} points")
        else:
            parts.append(f"{sign}{amount(comparison.threshold_floor, unit_of(comparison.metric))}")
    return " and ".join(parts) or ("any fall" if falls(comparison) else "any rise")


def limit_pct(comparison: Comparison) -> float | None:
    """Limit of change in percent or points, or None.

    None where the rule has only a floor in a unit.
    """
    if comparison.threshold_pct is None and comparison.threshold_floor and in_points(comparison):
        return 100 * comparison.threshold_floor * (-1 if falls(comparison) else 1)
    return comparison.threshold_pct


def headline(comparison: Comparison) -> str:
    """A failing comparison in few words.

    This line is all that pytest's short summary shows.
    """
    what = f"{name(comparison)} {'is ' * (comparison.verdict == 'undecided')}{comparison.verdict}"
    grown = " ".join(filter(None, (change(comparison), interval(comparison))))
    if comparison.reason:
        return f"{what}: {printable(comparison.reason, 160)}"
    return f"{what}{' by ' * bool(grown)}{grown} (limit {limit(comparison)})"


def against_lines(against: Against) -> list[str]:
    """Lines on a counterpart: its comparisons, then differences and notes."""
    lines = [f"  compared with {printable(against.label, _LABEL)}{_how(against)}"]
    rows = [_row(each) for each in against.comparisons[:_LINES]]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(_COLUMNS)]
    lines += [
        "  " + "  ".join([*(row[i].ljust(widths[i]) for i in range(_COLUMNS) if widths[i]), row[_COLUMNS]]).rstrip()
        for row in rows
    ]
    if len(against.comparisons) > _LINES:
        lines.append(f"  … and {len(against.comparisons) - _LINES} more comparisons")
    lines += first_lines([f"  differs: {printable(line, _REASON)}" for line in against.differs], _NOTES, "differences")
    return lines + first_lines([f"  {printable(labelled(note))}" for note in against.notes], _NOTES, "notes")


_COLUMNS: Final = 4


def _row(comparison: Comparison) -> tuple[str, ...]:
    baseline, candidate = sides(comparison)
    return (
        word(comparison).ljust(len(WORDS[0])),
        printable(comparison.rule, _RULE),
        f"{baseline} → {candidate}",
        " ".join(filter(None, (change(comparison), interval(comparison)))),
        _evidence(comparison),
    )


def _evidence(comparison: Comparison) -> str:
    """Evidence of a comparison: probability, amount of data, reason and scope."""
    parts = [probability(comparison), _amount_of_data(comparison), raw(comparison), of_medians(comparison)]
    if comparison.reason:
        parts.append(printable(comparison.reason, _REASON))
    if comparison.scope:
        parts.append(f"({printable(comparison.scope, _LABEL)})")
    return "  ".join(filter(None, parts))


def probability(comparison: Comparison) -> str:
    """Probability beyond the limit: ``98 % beyond the limit``; empty if unknown."""
    found = comparison.probability
    if found is None:
        return ""
    shown = ">99" if found > _SURELY else "<1" if found < 1 - _SURELY else f"{100 * found:.0f}"
    return f"{shown} % beyond the limit"


def raw(comparison: Comparison) -> str:
    """Change as measured, if judged relative to a reference load.

    With its interval.
    """
    shown = measured(comparison)
    between = "" if comparison.raw_change_ci95_pct is None else f" {_bounds(comparison.raw_change_ci95_pct)}"
    return f"as measured {shown}{between}" if shown else ""


def of_medians(comparison: Comparison) -> str:
    """Change of the two medians, where it is another than that of a typical pair; else empty.

    Signed ranks tell how a typical pair changed.  Who divides the two numbers that stand beside it would wonder.
    """
    before, after, told = comparison.baseline, comparison.candidate, comparison.change_pct
    if comparison.method != RANKS or not before or after is None or told is None or not math.isfinite(told):
        return ""
    change_pct = 100 * (after / before - 1)
    near = abs(change_pct - told) <= max(_NEAR_POINTS, _NEAR_SHARE * abs(told))
    return (
        "" if near or measured(comparison) else f"the medians {_signed(change_pct)} %, a typical pair {_signed(told)} %"
    )


def measured(comparison: Comparison) -> str:
    """Change as measured, alone: ``-8.1 %``; empty if not relative."""
    if comparison.raw_change_pct is None or not math.isfinite(comparison.raw_change_pct):
        return ""
    return f"{_signed(comparison.raw_change_pct)} %"


def _amount_of_data(comparison: Comparison) -> str:
    if comparison.pairs is not None:
        return f"{comparison.pairs} pair{'s' * (comparison.pairs != 1)}"
    return f"n {comparison.n_baseline} and {comparison.n_candidate}"


def _how(against: Against) -> str:
    if against.kind == "pairs":
        count = against.pairs
        pairs = "" if count is None else f"{count} pair{'s' * (count != 1)} of turns, "
        return f" ({pairs}interleaved)"
    return f" ({printable(against.started_at, 40)})" if against.started_at else ""


def in_points(comparison: Comparison) -> bool:
    """Whether the change is in percentage points.

    That is so for shares and scores: there is no relative change from 0.
    """
    return comparison.metric in METRICS and unit_of(comparison.metric) == "fraction"


def _points(comparison: Comparison) -> float | None:
    if comparison.baseline is None or comparison.candidate is None:
        return None
    return 100 * (comparison.candidate - comparison.baseline)


def _bounds(bounds: Interval) -> str:
    return f"[{_signed(bounds[0])}, {_signed(bounds[1])}]"


def _signed(value: float) -> str:
    """Signed number, with no more digits than useful.

    ``+12.3``, ``-0.4``, ``+1234``.
    """
    if math.isinf(value):
        return "+∞" if value > 0 else "-∞"
    shown = f"{value:+.0f}" if abs(value) >= 1000 else f"{value:+.1f}"
    return shown.replace("-0.0", "+0.0") if shown == "-0.0" else shown
