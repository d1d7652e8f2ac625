"""Report sentences: reasons, doubts, budgets, clock and times in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from pytest_flperf._text import amount
from pytest_flperf.foundry_host.embedded import find_embedded
from pytest_flperf.gates.severity import failed_cases, missed_budgets
from pytest_flperf.report.figures import MARK, counted, number, point
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED, unit_of
from pytest_flperf.results.records import BudgetVerdict, CaseResult, ClockQuality, LagMs, LoopMs, Run

__all__ = [
    "case_name",
    "clock_words",
    "doubts",
    "duration",
    "failures",
    "models_of",
    "reasons",
    "run_budgets",
    "run_reasons",
    "value_of",
    "when",
    "without_verdict",
]

_REASONS: Final = 20
_SHOWN: Final = frozenset({"ttft_ms", "tpot_ms", "tps", "e2e_ms"})


def models_of(cases: Iterable[CaseResult]) -> tuple[str, ...]:
    """Models, as requested, in the order in which they were measured."""
    return tuple(dict.fromkeys(case.model for case in cases))


def case_name(case: CaseResult, *, host: bool = False) -> str:
    """Name of a case: scenario, matrix point, model, and optionally host."""
    where = f" ({case.host})" if host else ""
    return f"{case.scenario} {point(case.parameters)}".strip() + f" on {case.model}{where}"


def reasons(run: Run) -> tuple[str, ...]:
    """Why the run did not pass, worst first; empty where it passed."""
    return (*_of_the_run(run), *failures(run.cases), *_of_nothing(run))


def run_reasons(run: Run) -> tuple[str, ...]:
    """Those of :func:`reasons` that are no failed case's."""
    return (*_of_the_run(run), *_of_nothing(run))


def _of_the_run(run: Run) -> list[str]:
    return [*(f"the run missed {each.expression} ({value_of(each)})" for each in missed_budgets(run)), *run.faults]


def _of_nothing(run: Run) -> list[str]:
    """Why there is no verdict, or an error without a case."""
    lines = without_verdict(run.cases) if run.status == "not_measured" else []
    if run.status == "error" and not (lines or _of_the_run(run) or failed_cases(run.cases)):
        lines.append("pytest ended with an error; its output has the details")
    return lines


def failures(cases: Sequence[CaseResult]) -> list[str]:
    """Why cases failed, a line each, the worst first."""
    bad, hosts = failed_cases(cases), len({case.host for case in cases}) > 1
    lines = []
    for case in bad[:_REASONS]:
        headline = case.message.partition("\n")[0] or case.outcome
        name = case_name(case)
        where = f"{case.host}: " if hosts else ""
        lines.append(where + (headline if headline.startswith(name) else f"{name}: {headline}"))
    return [*lines, f"… and {len(bad) - _REASONS} more cases"] if len(bad) > _REASONS else lines


def without_verdict(cases: Iterable[CaseResult]) -> list[str]:
    """Why cases have no verdict, a line for each reason.

    They were skipped or expected to fail.
    """
    found: dict[str, list[CaseResult]] = {}
    for case in cases:
        if case.outcome in ("skipped", "xfailed"):
            said = case.message.splitlines() or [""]
            found.setdefault(f"{case.outcome}: {said[0]}" if said[0] else case.outcome, []).append(case)
    lines = [
        f"{case_name(same[0])}: {words}" if len(same) == 1 else f"{len(same)} cases {words}"
        for words, same in found.items()
    ]
    return [*lines[:_REASONS], f"… and {len(lines) - _REASONS} more reasons"] if len(lines) > _REASONS else lines


def run_budgets(run: Run) -> tuple[str, ...]:
    """Budgets of the whole run, a line each; empty without any."""
    return tuple(
        f"{each.expression}: {'met' if each.met else 'MISSED'} ({value_of(each)}, n {each.n})" for each in run.budgets
    )


def value_of(verdict: BudgetVerdict) -> str:
    """Value of a budget with its unit, or why it is missing."""
    return (
        verdict.reason if verdict.value is None else amount(verdict.value, unit_of(verdict.metric, verdict.statistic))
    )


def doubts(run: Run) -> tuple[str, ...]:
    """Doubts: facts to know before trusting the numbers."""
    cases = run.cases
    lines = []
    embedded = [model for model in models_of(cases) if _is_embedded(model, cases)]
    if embedded:
        lines.append(f"{', '.join(embedded)}: embedded models with random weights; their answers are noise by design.")
    unsure = [case for case in cases if any(case.metrics[name].unsure for name in _SHOWN & case.metrics.keys())]
    if unsure:
        needs = ", ".join(f"{name} {count}" for name, count in REQUESTS_NEEDED.items() if name != "p5")
        lines.append(
            f"{MARK} marks a percentile from fewer requests than it needs ({needs}): "
            f"{len(unsure)} of {counted(len(cases), 'case')} have some. Their 95 % intervals are in the case's section."
        )
    late, ok = sum(case.requests.late_reads for case in cases), sum(case.requests.ok for case in cases)
    if late:
        lines.append(
            f"Late reads: {late} of {counted(ok, 'request')} have a TTFT that is an upper bound only; "
            "it stays out of the statistics."
        )
    steps = sum(case.requests.clock_steps for case in cases)
    if steps:
        lines.append(f"Clock steps: {counted(steps, 'request')} left out of timing, because the machine's clock moved.")
    sources = Counter(case.tokens_source for case in cases if case.tokens_source is not None)
    if sources.keys() - {"usage", "timings"}:
        words = ", ".join(f"{name} ({count})" for name, count in sources.items())
        lines.append(f"Output tokens were not reported by the server everywhere; counted from: {words}.")
    if run.clock.source in ("user", "mixed"):
        lines.append("Not every arrival was stamped by the kernel: times may include how late the client read.")
    lines += _otherwise(cases)
    hosts = {case.host for case in cases}
    if len(hosts) > 1:
        lines.append(f"Measured on {len(hosts)} machines: {', '.join(sorted(hosts))}.")
    absent = absent_lines(cases)  # no doubt about what was measured; each case's table of resources says it
    return (*lines, *(note for note in run.notes if note not in absent))


def _otherwise(cases: Sequence[CaseResult]) -> list[str]:
    """Parameters not sent as requested, and models loaded more than once."""
    by_words: dict[str, dict[str, None]] = {}
    for case in cases:
        for each in case.adjusted:
            what = "left out" if each.sent is None else f"{each.asked} sent as {each.sent}"
            by_words.setdefault(f"{each.parameter} {what}: {each.reason}", {})[case.model] = None
    lines = [f"Parameters: {words} ({', '.join(models)})." for words, models in by_words.items()]
    reloaded = dict.fromkeys(case.model for case in cases if case.reloaded)
    if reloaded:
        lines.append(f"Loaded again in the middle of the run, because they were gone: {', '.join(reloaded)}.")
    return lines


def _is_embedded(model: str, cases: Sequence[CaseResult]) -> bool:
    targets = [case.target for case in cases if case.model == model and case.target is not None]
    return any(each.backend == "foundry" and find_embedded(each.model_id or "") is not None for each in targets)


def clock_words(clock: ClockQuality) -> str:
    """Clock in words: source of stamps, client lag and loop, ms."""
    if clock.source is None:
        return "nothing was received"
    words = {
        "kernel": "the kernel's stamp of each arrival",
        "user": "the monotonic clock right after each read",
        "mixed": "the kernel's stamps for some requests, the clock after the read for others",
    }.get(clock.source, clock.source)
    lag, loop = clock.lag_ms, clock.loop_ms
    late = "how late the client read can't be known" if lag is None else f"the client read later by {_figures(lag)}"
    busy = "" if loop is None else f"; a turn of its loop took {_figures(loop)}"
    return f"{clock.source}: {words}; {late}{busy}"


def _figures(of: LagMs | LoopMs) -> str:
    return f"p50 {number(of.p50)} ms, p99 {number(of.p99)} ms, at most {number(of.max)} ms"


def when(text: str | None) -> str:
    """An ISO time as ``2026-11-21 04:17:53 UTC``; any other text stays unchanged."""
    if text is None:
        return "not finished"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or ''}".strip()


def duration(run: Run) -> str:
    """Duration of the run; empty where unknown."""
    try:
        seconds = (
            datetime.fromisoformat(run.finished_at or "") - datetime.fromisoformat(run.started_at)
        ).total_seconds()
    except (ValueError, TypeError):
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
