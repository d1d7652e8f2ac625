"""Contradictions in results: impossible counts, orders and dates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from pytest_flperf.results.comparison import Against
from pytest_flperf.results.document import Fault, Path, shown
from pytest_flperf.results.measured import ClockQuality, Distribution, Requests, ResourceUse
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Run
from pytest_flperf.results.serialize import Interval

__all__ = ["EARLIEST_MS", "contradictions", "contradictions_of_case"]

_ORDER: Final = ("min", "p5", "p50", "p90", "p95", "p99", "max")
_PERCENTILES: Final = frozenset({"p5", "p50", "p90", "p95", "p99"})
_ROUNDING: Final = 1e-9
"""Relative tolerance, for sums of floats."""
EARLIEST_MS: Final = -1.0
"""Lower bound of latencies, exclusive: kernel stamps are converted between clocks, and requests with clock steps of a
millisecond are left out."""
_COLDEST_C: Final = -273.15
_MANY_TO_A_REQUEST: Final = frozenset({"itl_ms"})
_NOT_COUNTED: Final = "cancelled"
"""An outcome that is in no count but its own."""
_LONGEST_BUCKET: Final = 6
_FIRST_YEAR: Final = 1970


def contradictions(run: Run) -> Iterator[Fault]:
    """Contradictions in a run; their paths begin at the run.

    Its values must be of the right types.
    """
    if run.started_at or run.status != "interrupted":  # a run that was recovered without its log has no start
        yield from _date(run.started_at, ("started_at",))
    if run.finished_at is not None:
        yield from _date(run.finished_at, ("finished_at",))
    yield from _clock(run.clock, ("clock",))
    for number, budget in enumerate(run.budgets):
        yield from _budget(budget, ("budgets", number))
    seen: dict[tuple[str, str], int] = {}
    for number, case in enumerate(run.cases):
        first = seen.setdefault((case.nodeid, case.host), number)
        if first != number:
            found = f"{shown(case.nodeid)} again, as in cases[{first}]"
            yield Fault(("cases", number, "nodeid"), found, "each case of a host once")
        yield from contradictions_of_case(case, ("cases", number))


def contradictions_of_case(case: CaseResult, path: Path) -> Iterator[Fault]:
    """Contradictions in one case, whose path is given."""
    yield from _requests(case.requests, (*path, "requests"))
    yield from _error_rate(case.error_rate, case.requests, (*path, "error_rate"))
    yield from _metrics(case.metrics, case.requests, (*path, "metrics"))
    not_scored = sum(case.not_scored.values())
    if not_scored > case.requests.ok:
        yield Fault((*path, "not_scored"), f"{not_scored} answers", f"at most {case.requests.ok}, which is 'ok'")
    for name, used in case.resources.items():
        yield from _resource(name, used, (*path, "resources", name))
    if case.steady_window_s is not None:
        yield from _interval(case.steady_window_s, (*path, "steady_window_s"))
    for number, budget in enumerate(case.budgets):
        yield from _budget(budget, (*path, "budgets", number))
    yield from _clock(case.clock, (*path, "clock"))
    if case.reference is not None:
        yield from _requests(case.reference.requests, (*path, "reference", "requests"))
        yield from _metrics(case.reference.metrics, case.reference.requests, (*path, "reference", "metrics"))
    for number, against in enumerate(case.against):
        yield from _against(against, (*path, "against", number))


def _against(against: Against, path: Path) -> Iterator[Fault]:
    yield from _requests(against.requests, (*path, "requests"))
    yield from _error_rate(against.error_rate, against.requests, (*path, "error_rate"))
    yield from _metrics(against.metrics, against.requests, (*path, "metrics"))
    if against.started_at:
        yield from _date(against.started_at, (*path, "started_at"))
    for number, each in enumerate(against.comparisons):
        for name in ("change_ci95_pct", "raw_change_ci95_pct"):
            if (found := getattr(each, name)) is not None:
                yield from _interval(found, (*path, "comparisons", number, name))


def _requests(requests: Requests, path: Path) -> Iterator[Fault]:
    if requests.ok + requests.failed != requests.total:
        found = f"{requests.total} of which {requests.ok} ok and {requests.failed} failed"
        yield Fault((*path, "total"), found, "the sum of both")
    for part, whole in (
        ("timeouts", "failed"),
        ("late_reads", "ok"),
        ("clock_steps", "ok"),
        ("warmup_failed", "warmup"),
        ("recovered", "retries"),
    ):
        count, most = getattr(requests, part), getattr(requests, whole)
        if count > most:
            yield Fault((*path, part), str(count), f"at most {most}, which is {whole!r}")
    counted = sum(count for outcome, count in requests.by_outcome.items() if outcome != _NOT_COUNTED)
    if requests.by_outcome and counted != requests.total:
        yield Fault((*path, "by_outcome"), f"{counted} requests", f"{requests.total}, which is 'total'")


def _error_rate(rate: float | None, requests: Requests, path: Path) -> Iterator[Fault]:
    expected = requests.failed / requests.total if requests.total else 0.0
    if rate is not None and requests.total and not math.isclose(rate, expected, abs_tol=_ROUNDING):
        yield Fault(path, shown(rate), f"{expected:g}: {requests.failed} of {requests.total} requests failed")


def _metrics(metrics: Mapping[str, Distribution], requests: Requests, path: Path) -> Iterator[Fault]:
    for name, found in metrics.items():
        here = (*path, name)
        yield from _distribution(found, here)
        yield from _possible(name, found.min, (*here, "min"))
        yield from _possible(name, found.max, (*here, "max"))
        if found.n > requests.total and name not in _MANY_TO_A_REQUEST:
            yield Fault((*here, "n"), str(found.n), f"at most {requests.total}, the number of requests")


def _distribution(found: Distribution, path: Path) -> Iterator[Fault]:
    measured = found.n - found.as_inf
    if measured < 1:
        expected = "1 or more values" + f" besides {found.as_inf} infinite ones" * bool(found.as_inf)
        yield Fault((*path, "n"), str(found.n), expected)
        return
    yield from _ascending(found, path)
    if not _at_most(found.min, found.mean) or not _at_most(found.mean, found.max):
        yield Fault((*path, "mean"), shown(found.mean), f"from min {found.min:g} to max {found.max:g}")
    for name in ("p50_ci95", "p95_ci95"):
        if (interval := found.interval(name.removesuffix("_ci95"))) is not None:
            yield from _interval(interval, (*path, name))
            if not _at_most(found.min, interval[0]) or not _at_most(interval[1], found.max):
                yield Fault((*path, name), shown(interval[0]), f"within min {found.min:g} and max {found.max:g}")


def _ascending(found: Distribution, path: Path) -> Iterator[Fault]:
    before, low = "min", found.min
    for name in _ORDER[1:]:
        value: float = getattr(found, name)
        if math.isinf(value) and name in _PERCENTILES:
            continue  # among failed requests, beyond the greatest that was measured
        if not _at_most(low, value):
            yield Fault((*path, name), shown(value), f"at least {low:g}, which is {before!r}")
            return
        before, low = name, value


def _resource(name: str, used: ResourceUse, path: Path) -> Iterator[Fault]:
    if used.n < 1:
        yield Fault((*path, "n"), str(used.n), "1 or more readings")
    if not _at_most(used.min, used.mean) or not _at_most(used.mean, used.max):
        yield Fault((*path, "mean"), shown(used.mean), f"from min {used.min:g} to max {used.max:g}")
    yield from _possible(name, used.min, (*path, "min"))
    yield from _possible(name, used.max, (*path, "max"))


def _possible(name: str, value: float, path: Path) -> Iterator[Fault]:
    """A fault where a metric can't have the value, by its unit.

    Little is known of a metric of a later version.
    """
    metric = METRICS.get(name)
    unit = metric.unit if metric is not None else "ms" if name.endswith("_ms") else ""
    if unit == "ms":
        if value <= EARLIEST_MS:
            yield Fault(path, shown(value), "0 ms or more")
    elif unit == "°C":
        if value < _COLDEST_C:
            yield Fault(path, shown(value), f"{_COLDEST_C} °C or more")
    elif metric is not None and value < 0:
        yield Fault(path, shown(value), "0 or more")
    most = {"fraction": 1, "%": math.inf if metric is None or metric.over_100 else 100}.get(unit, math.inf)
    if not _at_most(value, most):
        yield Fault(path, shown(value), f"at most {most:g}")


def _budget(budget: BudgetVerdict, path: Path) -> Iterator[Fault]:
    if budget.value is None and budget.met:
        yield Fault((*path, "met"), "true without a value", "false, where nothing was measured")


def _clock(clock: ClockQuality, path: Path) -> Iterator[Fault]:
    for bucket in clock.lag_histogram:
        if not bucket.removeprefix("-").isdecimal() or not bucket.isascii() or len(bucket) > _LONGEST_BUCKET:
            yield Fault((*path, "lag_histogram"), f"the key {shown(bucket)}", "whole numbers as keys")
    lag = clock.lag_ms
    if lag is not None and not (_at_most(lag.p50, lag.p99) and _at_most(lag.p99, lag.max)):
        yield Fault((*path, "lag_ms"), f"p50 {lag.p50:g}, p99 {lag.p99:g}, max {lag.max:g}", "ascending numbers")


def _interval(interval: Interval, path: Path) -> Iterator[Fault]:
    low, high = interval
    if not _at_most(low, high):
        yield Fault(path, f"[{low:g}, {high:g}]", "the lower end first")


def _date(text: str, path: Path) -> Iterator[Fault]:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        possible = moment.year >= _FIRST_YEAR
    except (ValueError, OverflowError):
        possible = False
    if not possible:
        yield Fault(path, shown(text), "a time such as 2026-11-21T10:15:00.000+00:00")


def _at_most(low: float, high: float) -> bool:
    """Whether ``low <= high``, apart from rounding."""
    return low <= high or math.isclose(low, high, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
