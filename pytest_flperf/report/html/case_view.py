"""HTML sections of single cases: measurements, budgets, percentiles, failures."""

from __future__ import annotations

from typing import Final

from pytest_flperf._text import amount, printable
from pytest_flperf.report.efficiency_words import efficiency_facts
from pytest_flperf.report.figures import (
    NOTHING,
    calibration_words,
    capacity_words,
    errors,
    interval,
    load_words,
    number,
    statistic,
    statistic_of,
)
from pytest_flperf.report.html.comparisons_view import against_tables
from pytest_flperf.report.html.content import CaseSection, Cell, Fact, FailedCase, Table, Tone
from pytest_flperf.report.html.quality_view import quality_tables
from pytest_flperf.report.quality_words import quality_words
from pytest_flperf.report.rerun import rerun_command
from pytest_flperf.report.samples import CaseSamples
from pytest_flperf.report.sentences import case_name, clock_words
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.bounds import first_lines
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.load import Load
from pytest_flperf.results.metric_statistics import unit_of
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Distribution, Run
from pytest_flperf.results.serving import Adjustment

__all__ = ["case_section", "failed_case", "tone_of"]

_LINES: Final = 40
_NOTES: Final = 20
_TITLES: Final = {
    "gen_tps": "generating",
    "tps": "whole request",
    "prompt_tps": "reading the prompt",
    "server_prompt_tps": "reading the prompt, by the server",
}


def tone_of(case: CaseResult) -> Tone:
    """Tone of a case, by its outcome."""
    if case.outcome in ("passed", "xpassed"):
        return "good"
    return "doubt" if case.outcome in ("skipped", "xfailed") else "bad"


def failed_case(run: Run, case: CaseResult, anchor: str, *, host: bool) -> FailedCase:
    """A failed case: its message, evidence, and command to rerun it."""
    lines = case.message.splitlines()
    shown = tuple(first_lines(lines, _LINES, "lines"))
    return FailedCase(
        anchor=anchor,
        heading=case_name(case, host=host),
        outcome=case.outcome,
        brief=lines[0].removeprefix(f"{case.scenario} on {case.model}: ") if lines else "",
        lines=shown,
        evidence=_evidence(case),
        command=rerun_command(run, case),
    )


def case_section(
    run: Run, case: CaseResult, samples: CaseSamples | None, anchor: str, *, host: bool, open_: bool
) -> CaseSection:
    """The section of a case: facts, tables and notes."""
    tables = [
        *(_search(each, played=each is case.search) for each in _searches(case)),
        *against_tables(case),
        _percentiles(case),
        _budgets(case),
        *quality_tables(case.answer_quality),
        _resources(case),
    ]
    return CaseSection(
        anchor=anchor,
        heading=case_name(case, host=host),
        outcome=case.outcome,
        tone=tone_of(case),
        brief=_brief(case),
        open=open_,
        command=rerun_command(run, case),
        facts=_facts(case),
        tables=tuple(table for table in tables if table is not None),
        notes=(*_why(case), *first_lines(case.notes, _NOTES, "notes")),
        answer=samples.answer if samples is not None else "",
    )


def _why(case: CaseResult) -> tuple[str, ...]:
    """Why a case was skipped or expected to fail.

    Failures are described elsewhere, in detail.
    """
    return (
        tuple(first_lines(case.message.splitlines(), _LINES, "lines")) if case.outcome in ("skipped", "xfailed") else ()
    )


def _brief(case: CaseResult) -> str:
    parts = [
        f"{title} p50 {statistic(case, name, 'p50')} ms"
        for name, title in (("ttft_ms", "TTFT"), ("e2e_ms", "e2e"))
        if name in case.metrics
    ]
    return ", ".join([*parts, f"errors {errors(case)}"])


def _evidence(case: CaseResult) -> Table | None:
    if not case.failures:
        return None
    rows = tuple(
        (
            Cell(failure.outcome),
            Cell(str(failure.count)),
            Cell(NOTHING if failure.status is None else str(failure.status)),
            Cell(failure.detail or NOTHING, wide=True),
            Cell(failure.body_head or NOTHING, wide=True),
        )
        for failure in case.failures
    )
    shown, failed = sum(failure.count for failure in case.failures), case.requests.failed
    note = (
        f"{failed - shown} more failed requests are of other kinds; samples.jsonl has them." if failed > shown else ""
    )
    head = ("outcome", "requests", "HTTP status", "what was found", "answer's body, 2 kB of it at most")
    return Table("Failed requests, the first of each kind as evidence", head, rows, words=True, note=note)


def _searches(case: CaseResult) -> tuple[Search, ...]:
    return (case.search, *case.searches) if case.search is not None else ()


def _search(search: Search, *, played: bool) -> Table:
    rows = tuple(
        (
            Cell(f"{step.load:.4g}"),
            Cell("met" if step.met else "missed", "" if step.met else "bad"),
            Cell(str(step.requests)),
            *(Cell(number(each)) for each in (step.request_rate, step.tps_total, step.ttft_p95_ms, step.e2e_p95_ms)),
            Cell(step.missed, wide=True) if step.missed else Cell(NOTHING),
        )
        for step in sorted(search.steps, key=lambda step: step.load)
    )
    under = f" under {printable(' and '.join(search.conditions), 200)}" if search.conditions else ""
    head = (
        search.unit,
        "limits" if under else "budgets",
        "n",
        "requests/s",
        "tokens/s",
        "TTFT p95 ms",
        "e2e p95 ms",
        "missed",
    )
    note = "All else here is of the highest that met them." if played else ""
    return Table(f"Loads that were tried{under}", head, rows, words=True, note=note)


def _percentiles(case: CaseResult) -> Table | None:
    if not case.metrics:
        return None
    head = ("metric", "n", "mean", "stdev", "min", "p5", "p50", "p50, 95 % interval", "p90", "p95",
            "p95, 95 % interval", "p99", "max")  # fmt: skip
    rows = tuple(tuple(map(Cell, _row(name, found))) for name, found in case.metrics.items())
    return Table("Distributions over the requests that ended ok", head, rows)


def _row(name: str, found: Distribution) -> list[str]:
    return [
        _metric_words(name),
        str(found.n),
        number(found.mean),
        number(found.stdev),
        number(found.min),
        statistic_of(found, "p5"),
        statistic_of(found, "p50"),
        interval(found, "p50") or NOTHING,
        statistic_of(found, "p90"),
        statistic_of(found, "p95"),
        interval(found, "p95") or NOTHING,
        statistic_of(found, "p99"),
        number(found.max),
    ]


def _metric_words(name: str) -> str:
    """Name of a row: the metric's name in budgets, title and unit.

    The title is left out where it says no more than the name.
    """
    metric = METRICS.get(name)
    if metric is None or name == metric.title.replace(" ", "_"):
        return name
    return f"{name}: {_TITLES.get(name, metric.title)}, {metric.unit}"


def _budgets(case: CaseResult) -> Table | None:
    if not case.budgets:
        return None
    rows = []
    for verdict in case.budgets:
        unit = unit_of(verdict.metric, verdict.statistic)
        found = case.metrics.get(verdict.metric)
        doubt = found is not None and verdict.statistic in found.unsure
        rows.append(
            (
                Cell(verdict.expression),
                Cell("met" if verdict.met else "MISSED", "good" if verdict.met else "bad"),
                Cell(amount(verdict.limit, unit)),
                Cell(_not_measured(verdict) or amount(verdict.value, unit) + "*" * doubt),
                Cell(str(verdict.n)),
                Cell(verdict.scope or "suite"),
            )
        )
    return Table("Budgets", ("budget", "verdict", "limit", "value", "n", "set by"), tuple(rows))


def _not_measured(verdict: BudgetVerdict) -> str:
    """Why a budget has no value; empty where it has one."""
    if verdict.value is not None:
        return ""
    return f"not measured: {printable(verdict.reason)}" if verdict.reason else "not measured"


def _resources(case: CaseResult) -> Table | None:
    if not case.resources:
        return None
    rows = []
    for name, use in case.resources.items():
        unit = f" {METRICS[name].unit}" if name in METRICS else ""
        rows.append(
            (Cell(name), Cell(str(use.n)), *(Cell(number(value) + unit) for value in (use.mean, use.min, use.max)))
        )
    head = ("metric", "n", "mean", "min", "max")
    return Table("Resources during the measured part", head, tuple(rows), note="; ".join(absent_lines([case])))


def _facts(case: CaseResult) -> tuple[Fact, ...]:
    requests = case.requests
    facts: list[tuple[str, str | None]] = [
        ("Test id", case.nodeid),
        ("Description", case.description),
        ("Requests", _requests(case)),
        ("Ended", ", ".join(f"{count} × {name}" for name, count in requests.by_outcome.items())),
        ("Finish reasons", ", ".join(f"{count} × {name}" for name, count in case.finish_reasons.items())),
        ("Load", _load(case.load)),
        ("Capacity", "; ".join(map(capacity_words, _searches(case)))),
        ("What this client adds", calibration_words(case.calibration) if case.calibration is not None else None),
        ("Goodput", _amount(case.goodput, "requests/s")),
        ("Offered load", _rates(case)),
        ("Steady window", _window(case)),
        ("Throughput", _amount(case.tps_total, "tokens/s")),
        ("Requests per second", _amount(case.request_rate, "requests/s")),
        ("Measured part", _amount(case.wall_s, "s")),
        ("Tool calls", None if case.tool_calls is None else case.tool_calls.words),
        ("Tools right", _amount(case.tool_right, "fraction")),
        ("Arguments right", _amount(case.argument_right, "fraction")),
        ("Error rate", _amount(case.error_rate, "fraction")),
        ("Quality", quality_words(case.answer_quality) if case.answer_quality is not None else None),
        *efficiency_facts(case),
        ("Model loaded in", _amount(case.load_s, "s")),
        ("Downloaded in", _amount(case.download_s, "s")),
        ("Model memory", _memory(case)),
        ("Cold TTFT", _amount(case.cold_ttft_ms, "ms")),
        ("Overlapping requests", "answered one after the other" if case.serialised else None),
        ("Sent differently than asked", "; ".join(map(_adjusted, case.adjusted))),
        ("Output tokens from", case.tokens_source),
        ("Prompt tokens from", case.prompt_tokens_source),
        ("Reasoning tokens from", case.reasoning_tokens_source),
        ("Tokens per chunk", None if case.tokens_per_chunk is None else number(case.tokens_per_chunk)),
        ("Chunks that shared a read", _amount(case.coalesced_pct, "%")),
        ("Stalls", None if case.stalls is None else str(case.stalls)),
        ("Late reads", str(requests.late_reads) if requests.late_reads else None),
        ("Clock", clock_words(case.clock)),
        ("Asked for", ", ".join(f"{name}={value}" for name, value in case.settings.items())),
        ("Expected output", case.expected_output_length),
        ("Tags", ", ".join(case.tags)),
        ("Server", _server(case)),
        ("Host", case.host),
    ]  # fmt: skip
    return tuple(Fact(term, text) for term, text in facts if text)


def _load(load: Load | None) -> str | None:
    if load is None:
        return None
    return f"{load_words(load)}, {'streaming' if load.stream else 'not streaming'}"


def _rates(case: CaseResult) -> str | None:
    if case.offered_rate is None:
        return None
    sent = "" if case.sent_rate is None else f", sent {number(case.sent_rate)}"
    return f"due {number(case.offered_rate)}{sent} requests/s"


def _window(case: CaseResult) -> str | None:
    if case.steady_window_s is None:
        return None
    begin_s, end_s = case.steady_window_s
    outside = f"{case.requests.outside} requests that began before or after it count in rates alone"
    return f"{begin_s:.1f} s to {end_s:.1f} s, {outside}"


def _server(case: CaseResult) -> str | None:
    target = case.target
    if target is None:
        return None
    native = target.transport == "native"
    where = "inside its process, without HTTP" if native else f"at {target.base_url or 'an address unknown'}"
    return f"{target.backend}, {target.model_id or case.model} {where}"


def _requests(case: CaseResult) -> str:
    requests = case.requests
    warm = f"; {requests.warmup} warm-up before them" if requests.warmup else ""
    bad = f" ({requests.warmup_failed} failed)" if requests.warmup_failed else ""
    tried = f"; {requests.retries} retries, by which {requests.recovered} recovered" if requests.retries else ""
    return f"{requests.total} measured, {requests.ok} ok, {requests.failed} failed{tried}{warm}{bad}"


def _amount(value: float | None, unit: str) -> str | None:
    """A value with its unit, three significant digits; fractions as percentages."""
    if value is None:
        return None
    return f"{number(100 * value)} %" if unit == "fraction" else f"{number(value)} {unit}"


def _memory(case: CaseResult) -> str | None:
    if case.model_rss_mb is None or case.rss_before_load_mb is None or case.rss_after_load_mb is None:
        return None
    before, after = number(case.rss_before_load_mb), number(case.rss_after_load_mb)
    return f"{number(case.model_rss_mb)} MB (the server's processes before its load {before} MB, after it {after} MB)"


def _adjusted(each: Adjustment) -> str:
    what = "left out" if each.sent is None else f"sent as {each.sent}"
    return f"{each.parameter}={each.asked} {what}: {each.reason}"
