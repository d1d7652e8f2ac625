"""Table of results: a row per case, rivals side by side, verdicts in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.gates.format import failing, name
from pytest_flperf.report.efficiency_words import MIXED, cost_cell, cost_heading
from pytest_flperf.report.figures import MARK, NOTHING, errors, number, statistic
from pytest_flperf.report.quality_words import share, share_and_interval
from pytest_flperf.report.rivals import ScenarioKey, scenario_key, scenario_of, shown_models
from pytest_flperf.report.terminal.tables import Column, fitted
from pytest_flperf.results.comparison import DEFAULT_SCOPE
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult, Distribution

__all__ = ["table_lines"]

_NUMBERS: Final[Mapping[tuple[str, str], tuple[str, int]]] = {
    ("ttft_ms", "p50"): ("TTFT\np50 ms", 0),
    ("ttft_ms", "p95"): ("\np95 ms", 5),
    ("tpot_ms", "p50"): ("TPOT\np50 ms", 4),
    ("tps", "p50"): ("tok/s\np50", 3),
    ("e2e_ms", "p50"): ("e2e\np50 ms", 0),
    ("e2e_ms", "p95"): ("\np95 ms", 6),
}
"""Heading, and how early the column is dropped, by metric and statistic."""
_RESOURCES: Final = (
    ("server\nCPU %", "server_cpu_pct", "mean", 9),
    ("server\nmax MB", "server_rss_mb", "max", 8),
    ("GPU\n%", "gpu_util_pct", "mean", 10),
    ("GPU\nmax MB", "gpu_mem_mb", "max", 11),
)
"""Heading, metric, statistic, and how early the column is dropped."""
_KEPT: Final = -1
"""Of a column that a budget or a rule names: dropped only where names are as short as possible."""
_STATISTICS: Final = ("mean", "min", "p5", "p50", "p90", "p95", "p99", "max")
_OF_REQUESTS: Final = frozenset(name for name, metric in METRICS.items() if metric.per == "request")
_MOST_NAMED: Final = 3
"""Columns that are added because a budget names them."""
_LONGEST: Final = 40
"""Characters of a verdict."""
_OUTCOMES: Final[Mapping[str, str]] = {"failed": "FAIL", "error": "ERROR"}


def table_lines(cases: Sequence[CaseResult], width: int) -> list[str]:
    """The table of cases, headings first, fitted to ``width`` characters.

    Rows keep their order.  Columns are dropped in order of importance, and names are shortened; a column that a budget
    or a rule names goes last.
    """
    return fitted(cases, _columns(cases), width)


def _columns(cases: Sequence[CaseResult]) -> list[Column[CaseResult]]:
    named = _named(cases)
    shown = shown_models(case.model for case in cases)
    judged = [Column("verdict", _verdict, goes=0)] if any(case.outcome != "passed" for case in cases) else []
    columns: list[Column[CaseResult]] = [
        # The only model tells no rows apart: where it goes, a line below names it.
        Column("model", lambda case: shown[case.model], goes=4 if len(shown) == 1 else 0, name=True),
        Column("scenario", scenario_of, name=True),
        *judged,
        Column("n", lambda case: str(case.requests.ok), goes=2),
    ]
    for (metric, which), (heading, goes) in _NUMBERS.items():
        columns.append(Column(heading, _statistic(metric, which), goes=_KEPT if (metric, which) in named else goes))
        if (metric, which) == ("ttft_ms", "p50"):
            columns += _ratio(cases)
        if metric == "tps":
            columns += _throughput(cases, named)
    columns += _more_named(named)
    columns.append(Column("errors", errors))
    columns += _special(cases, named)
    columns += [
        Column(heading, _resource(metric, which), goes=_KEPT if (metric, which) in named else goes)
        for heading, metric, which, goes in _RESOURCES
        if any(metric in case.resources for case in cases)
    ]
    if len({case.host for case in cases}) > 1:
        columns.insert(0, Column("host", lambda case: case.host, name=True))
    if len({case.suite for case in cases}) > 1:
        columns.insert(0, Column("suite", lambda case: case.suite, goes=7, name=True))
    return columns


def _special(cases: Sequence[CaseResult], named: Mapping[tuple[str, str], None]) -> list[Column[CaseResult]]:
    """Columns that few runs have."""
    found: list[Column[CaseResult]] = []
    if any("quality" in case.metrics for case in cases):
        found.append(Column("quality\nmean", _quality))
        found.append(Column("\n95 %", _quality_interval, goes=7))
    found += _costs(cases, named)
    if any(case.requests.late_reads for case in cases):
        found.append(Column("late\nreads", lambda case: str(case.requests.late_reads), goes=7))
    if any(case.reruns for case in cases):
        found.append(Column("reruns", lambda case: str(case.reruns)))
    return found


def _costs(cases: Sequence[CaseResult], named: Mapping[tuple[str, str], None]) -> list[Column[CaseResult]]:
    """Cost of a thousand answers, where a model has a price."""
    heading = cost_heading(cases)
    if not heading:
        return []
    mixed = heading == MIXED
    goes = _KEPT if ("cost_per_1k", "") in named else 3
    return [Column(f"cost\n{heading}", lambda case: cost_cell(case, with_currency=mixed), goes=goes)]


def _named(cases: Sequence[CaseResult]) -> dict[tuple[str, str], None]:
    """Metrics and statistics that budgets and rules name."""
    found: dict[tuple[str, str], None] = {}
    for case in cases:
        for budget in case.budgets:
            if budget.scope != DEFAULT_SCOPE:
                found[budget.metric, budget.statistic or ""] = None
        for against in case.against:
            for each in against.comparisons:
                if each.scope != DEFAULT_SCOPE:
                    found[each.metric, each.statistic or ""] = None
    return found


def _more_named(named: Iterable[tuple[str, str]]) -> list[Column[CaseResult]]:
    """Columns of named statistics that the table doesn't have."""
    have = {*_NUMBERS, ("quality", "mean")}
    missing = [
        (metric, which)
        for metric, which in named
        if (metric, which) not in have and which in _STATISTICS and metric in _OF_REQUESTS
    ]
    return [
        Column(f"{metric}\n{which}", _statistic(metric, which), goes=_KEPT) for metric, which in missing[:_MOST_NAMED]
    ]


def _throughput(cases: Sequence[CaseResult], named: Mapping[tuple[str, str], None]) -> list[Column[CaseResult]]:
    """Tokens per second of the whole case, where requests overlap."""
    loads = [case.load for case in cases if case.load is not None]
    if not any(load.concurrency > 1 or load.rate is not None for load in loads):
        return []
    goes = _KEPT if ("tps_total", "") in named else 1
    return [Column("total\ntok/s", lambda case: number(case.tps_total), goes=goes)]


def _ratio(cases: Sequence[CaseResult]) -> list[Column[CaseResult]]:
    """TTFT as a multiple of the scenario's best, where models compete."""
    best: dict[ScenarioKey, Distribution] = {}
    rivals: dict[ScenarioKey, set[str]] = {}
    for case in cases:
        rivals.setdefault(scenario_key(case), set()).add(case.model)
        found = case.metrics.get("ttft_ms")
        if found is not None and found.p50 and found.p50 < _p50(best.get(scenario_key(case))):
            best[scenario_key(case)] = found
    if not any(len(models) > 1 for models in rivals.values()):
        return []

    def cell(case: CaseResult) -> str:
        found, least = case.metrics.get("ttft_ms"), best.get(scenario_key(case))
        if found is None or found.p50 is None or least is None or len(rivals[scenario_key(case)]) < 2:
            return NOTHING
        words = "best" if found is least else f"{number(found.p50 / _p50(least))}x"
        return words + (MARK if "p50" in {*found.unsure, *least.unsure} else "")

    return [Column("\nvs best", cell, goes=2)]


def _p50(found: Distribution | None) -> float:
    return inf if found is None or found.p50 is None else found.p50


def _verdict(case: CaseResult) -> str:
    """The verdict in words, with the first missed budget or rule: ``FAIL ttft_ms.p95 +1``."""
    word = _OUTCOMES.get(case.outcome, case.outcome)
    if case.outcome not in _OUTCOMES:
        return word
    missed = [
        ".".join(filter(None, (each.metric, each.statistic))) + f"[{each.category}]" * bool(each.category)
        for each in case.budgets
        if not each.met
    ]
    missed = list(dict.fromkeys([*missed, *map(name, failing(case))]))
    more = f"+{len(missed) - 1}" if len(missed) > 1 else ""
    return printable(" ".join(filter(None, (word, *missed[:1], more))), _LONGEST)


def _statistic(metric: str, which: str) -> Callable[[CaseResult], str]:
    return lambda case: statistic(case, metric, which)


def _resource(metric: str, which: str) -> Callable[[CaseResult], str]:
    def cell(case: CaseResult) -> str:
        use = case.resources.get(metric)
        return NOTHING if use is None else number(use.statistic(which))

    return cell


def _quality(case: CaseResult) -> str:
    found, quality = case.metrics.get("quality"), case.answer_quality
    if quality is not None:
        return share_and_interval(quality.mean, quality.ci95)[0]
    return NOTHING if found is None else share(found.mean)


def _quality_interval(case: CaseResult) -> str:
    """The 95 % interval over prompts."""
    quality = case.answer_quality
    return NOTHING if quality is None else share_and_interval(quality.mean, quality.ci95)[1] or NOTHING
