"""CSV of runs: a row per case, raw values, units in headings."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from pytest_flperf._text import printable
from pytest_flperf.results.judged import Judged, ModelScore
from pytest_flperf.results.metric_statistics import STATISTICS
from pytest_flperf.results.metrics import REQUEST_METRICS, RESOURCE_METRICS
from pytest_flperf.results.records import CaseResult, Run

__all__ = [
    "COLUMNS",
    "COUNT_COLUMNS",
    "NOBODY_JUDGED",
    "SWITCH_COLUMNS",
    "TEXT_COLUMNS",
    "case_values",
    "csv_of",
    "csv_text",
]

_RESOURCE_KEYS: Final = ("mean", "max")
_TEXT: Final = 2_000
NOBODY_JUDGED: Final[Mapping[str, Judged]] = MappingProxyType({})
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_KEY: Final = (
    "run_id", "started_at", "run_status", "nodeid", "host", "suite", "scenario", "model", "parameters", "outcome",
    "message", "backend", "model_id", "device", "execution_provider", "load", "rate_per_s", "concurrency", "stream",
    "clock_source", "tokens_source",
)  # fmt: skip
_NUMBERS: Final = (
    "requests_total", "requests_ok", "requests_failed", "timeouts", "late_reads", "clock_steps", "error_rate", "wall_s",
    "request_rate_per_s", "goodput_per_s", "offered_rate_per_s", "sent_rate_per_s", "tps_total", "load_s",
    "cold_ttft_ms", "tokens_per_chunk", "coalesced_pct", "stalls",
)  # fmt: skip
_EFFICIENCY: Final = (
    "cost_total", "cost_per_1k", "cost_per_right", "quality_per_1k_reasoning", "energy_per_answer_j",
    "energy_per_right_j",
)  # fmt: skip
COLUMNS: Final = (
    *_KEY,
    *_NUMBERS,
    *(f"{metric}.{statistic}" for metric in REQUEST_METRICS for statistic in STATISTICS),
    *(f"{resource}.{key}" for resource in RESOURCE_METRICS for key in _RESOURCE_KEYS),
    "unsure",
    "run_partial",
    "partial",
    "reruns",
    "transport",
    "download_s",
    "model_rss_mb",
    "quality.prompts",
    "quality.ci95_low",
    "quality.ci95_high",
    "quality.lower95",
    "quality.answered",
    "reasoning_tokens_source",
    "cost_currency",
    "cost_at_most",
    *_EFFICIENCY,
    "judge.prompts",
    "judge.score",
    "judge.score_low",
    "judge.score_high",
    "judge.pass_rate",
    "judge.pass_rate_lower",
    "judge.no_answer",
    "judge.errors",
)
"""All columns, always in this order; new ones are added at the end.

``parameters`` is JSON, ``message`` the verdict's first line, ``error_rate`` a fraction; ``tps`` and its kin are tokens
per second.  ``ttft_ms.p95`` and so on are named as in budgets; empty means not measured.  ``unsure`` names the
percentiles from fewer requests than they need, with spaces between.  ``run_partial`` and ``partial`` say whether the
run, and the case, ended before everything was measured.
"""


TEXT_COLUMNS: Final = frozenset(_KEY) - {"rate_per_s", "concurrency", "stream"} | {
    "unsure",
    "transport",
    "reasoning_tokens_source",
    "cost_currency",
}
"""Columns that hold texts."""
SWITCH_COLUMNS: Final = frozenset({"stream", "run_partial", "partial", "cost_at_most"})
"""Columns that hold true or false."""
COUNT_COLUMNS: Final = frozenset(
    {"concurrency", "requests_total", "requests_ok", "requests_failed", "timeouts", "late_reads", "clock_steps",
     "stalls", "reruns", "quality.prompts", "judge.prompts", "judge.no_answer", "judge.errors",
     *(f"{metric}.n" for metric in REQUEST_METRICS)}
)  # fmt: skip
"""Columns that hold whole numbers; all others hold numbers."""


def csv_text(runs: Iterable[Run], judged: Mapping[str, Judged] = NOBODY_JUDGED) -> str:
    """CSV text (RFC 4180): a header and a row per case.

    Rows are in the order of the runs.  A text that a spreadsheet would take for a formula gets an apostrophe in front;
    numbers never do.  ``judged``: what judges said, by the id of the run.
    """
    return csv_of(COLUMNS, (case_values(run, case, judged.get(run.id)) for run in runs for case in run.cases))


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV text of any rows, its cells as of :func:`csv_text`."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(map(_cell, row) for row in rows)
    return out.getvalue()


def case_values(run: Run, case: CaseResult, judged: Judged | None = None) -> list[str | bool | int | float | None]:
    """Values of a case, one for each of :data:`COLUMNS`; None: not measured."""
    return [
        *_key(run, case),
        *_numbers(case),
        *(_statistic(case, metric, name) for metric in REQUEST_METRICS for name in STATISTICS),
        *(_resource(case, resource, key) for resource in RESOURCE_METRICS for key in _RESOURCE_KEYS),
        " ".join(f"{metric}.{name}" for metric, found in case.metrics.items() for name in found.unsure) or None,
        run.partial,
        case.partial,
        case.reruns,
        case.target.transport if case.target is not None else None,
        case.download_s,
        case.model_rss_mb,
        *_quality(case),
        case.reasoning_tokens_source,
        case.cost.currency if case.cost is not None else None,
        case.cost.at_most if case.cost is not None else None,
        *(getattr(case, name) for name in _EFFICIENCY),
        *_score(None if judged is None else judged.case_score(case.nodeid)),
    ]


def _score(score: ModelScore | None) -> Sequence[int | float | None]:
    """What a judge said."""
    if score is None:
        return (None,) * 8
    low, high = score.mean_score_ci95 or (None, None)
    rates = score.pass_rate, score.pass_rate_lower
    return score.prompts, score.mean_score, low, high, *rates, score.no_answer, score.judge_errors


def _quality(case: CaseResult) -> Sequence[int | float | None]:
    """Quality over prompts."""
    quality = case.answer_quality
    if quality is None:
        return (None,) * 5
    low, high = quality.ci95 or (None, None)
    return quality.prompts, low, high, quality.lower95, quality.answered


def _key(run: Run, case: CaseResult) -> Sequence[Any]:
    target, load = case.target, case.load
    return (
        run.id,
        run.started_at,
        run.status,
        case.nodeid,
        case.host,
        case.suite,
        case.scenario,
        case.model,
        json.dumps(dict(case.parameters), ensure_ascii=False) if case.parameters else None,
        case.outcome,
        case.message.partition("\n")[0],
        target and target.backend,
        target and target.model_id,
        target and target.device,
        target and target.execution_provider,
        load and load.shape,
        load and load.rate,
        load and load.concurrency,
        load and load.stream,
        case.clock.source,
        case.tokens_source,
    )


def _numbers(case: CaseResult) -> Sequence[Any]:
    requests = case.requests
    return (
        requests.total,
        requests.ok,
        requests.failed,
        requests.timeouts,
        requests.late_reads,
        requests.clock_steps,
        case.error_rate,
        case.wall_s,
        case.request_rate,
        case.goodput,
        case.offered_rate,
        case.sent_rate,
        case.tps_total,
        case.load_s,
        case.cold_ttft_ms,
        case.tokens_per_chunk,
        case.coalesced_pct,
        case.stalls,
    )


def _statistic(case: CaseResult, metric: str, name: str) -> float | None:
    found = case.metrics.get(metric)
    return None if found is None else found.statistic(name)


def _resource(case: CaseResult, resource: str, key: str) -> float | None:
    found = case.resources.get(resource)
    return None if found is None else found.statistic(key)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return "" if math.isnan(value) else repr(value)
    text = printable(str(value), _TEXT)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
