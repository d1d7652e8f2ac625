"""The table at the end: one by default, verdicts only with -q, rows and percentiles with -v and -vv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from pytest_flperf.gates.text import amount, printable
from pytest_flperf.integration.outcomes import NOT_MEASURED
from pytest_flperf.integration.tables import cut, render, width_of
from pytest_flperf.results.records import CaseResult, ClockQuality, Distribution, Run

__all__ = ["print_summary", "table_lines"]

_WIDEST_NAME: Final = 40
_NARROWEST_NAME: Final = 12
_MARK: Final = "*"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its heading, what it shows, and how early it goes where the terminal is narrow (0: never)."""

    heading: str
    cell: Callable[[CaseResult], str]
    goes: int = 0
    name: bool = False
    """Whether it holds a name, which is on the left and may be shortened."""


def _number(value: float) -> str:
    """Three significant digits, in a form that lines up: ``2.19``, ``71.3``, ``494``, ``12843``."""
    size = abs(value)
    if value == 0 or size >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def _statistic(metric: str, name: str) -> Callable[[CaseResult], str]:
    def cell(case: CaseResult) -> str:
        found = case.metrics.get(metric)
        value = found.statistic(name) if found is not None else None
        if found is None or value is None:
            return "–"
        return _number(value) + (_MARK if name in found.unsure else "")

    return cell


def _errors(case: CaseResult) -> str:
    if case.outcome == "error" and not case.requests.total:
        return "not run" if case.message.startswith(NOT_MEASURED) else "not ready"
    if case.outcome == "skipped" and not case.requests.total:
        return "not run"
    if not case.requests.failed:
        return "0"
    return f"{case.requests.failed}/{case.requests.total}"


def _columns(cases: Sequence[CaseResult]) -> tuple[_Column, ...]:
    columns = [
        _Column("model", lambda case: case.model, name=True),
        _Column("scenario", _scenario, name=True),
        _Column("n", lambda case: str(case.requests.ok), goes=2),
        _Column("TTFT\np50 ms", _statistic("ttft_ms", "p50")),
        _Column("\np95 ms", _statistic("ttft_ms", "p95"), goes=5),
        _Column("TPOT\np50 ms", _statistic("tpot_ms", "p50"), goes=4),
        _Column("tok/s\np50", _statistic("tps", "p50"), goes=3),
        _Column("e2e\np50 ms", _statistic("e2e_ms", "p50")),
        _Column("\np95 ms", _statistic("e2e_ms", "p95"), goes=6),
        _Column("errors", _errors),
    ]
    if any(case.requests.late_reads for case in cases):
        columns.append(_Column("late\nreads", lambda case: str(case.requests.late_reads), goes=1))
    if any(case.reruns for case in cases):
        columns.append(_Column("reruns", lambda case: str(case.reruns)))
    if len({case.suite for case in cases}) > 1:
        columns.insert(0, _Column("suite", lambda case: case.suite, goes=7, name=True))
    return tuple(columns)


def _scenario(case: CaseResult) -> str:
    point = " ".join(f"{key}={value}" for key, value in case.parameters.items())
    return f"{case.scenario} {point}".strip()


def table_lines(cases: Sequence[CaseResult], width: int) -> list[str]:
    """The table, head first, in ``width`` characters: columns go in order of importance, names are shortened."""
    columns = list(_columns(cases))
    longest = _WIDEST_NAME
    while True:
        lines = _render(cases, columns, longest)
        if max(map(width_of, lines)) <= width:
            return lines
        droppable = [column for column in columns if column.goes]
        if longest > _NARROWEST_NAME * 2:
            longest -= 2
        elif droppable:
            columns.remove(max(droppable, key=lambda column: column.goes))
        elif longest > _NARROWEST_NAME:
            longest -= 2
        else:
            return [cut(line, width) for line in lines]


def _render(cases: Sequence[CaseResult], columns: Sequence[_Column], longest: int) -> list[str]:
    rows = [
        [
            cut(printable(column.cell(case), 4 * longest), longest) if column.name else column.cell(case)
            for column in columns
        ]
        for case in cases
    ]
    return render([column.heading for column in columns], rows, [column.name for column in columns])


def print_summary(reporter: pytest.TerminalReporter, run: Run, folder: Path | None, problems: Sequence[str]) -> None:
    """Print verdict, table, details and where the files are, as much as the verbosity asks for."""
    cases = run.cases
    verbosity = reporter.config.get_verbosity()
    if verbosity >= 0:
        reporter.write_sep("=", f"flperf{_mark(run)}")
        _print_table(reporter, cases)
        _print_explanations(reporter, cases, run.clock)
    if verbosity >= 1:
        _print_details(reporter, cases, percentiles=verbosity >= 2)
    for line in problems:
        reporter.write_line(f"flperf: {printable(line)}", yellow=True)
    _print_verdict(reporter, run)
    if folder is not None and verbosity >= 0:
        reporter.write_line(f"results: {_shown_path(folder, reporter.startpath)}")


def _mark(run: Run) -> str:
    """What must stand beside every verdict of a run that did not measure everything."""
    if run.status == "interrupted":
        return " (INTERRUPTED)"
    return " (PARTIAL)" if run.partial else ""


def _print_table(reporter: pytest.TerminalReporter, cases: Sequence[CaseResult]) -> None:
    width = reporter.config.get_terminal_writer().fullwidth
    lines = table_lines(cases, width)
    head = len(lines) - len(cases)
    for line in lines[:head]:
        reporter.write_line(line, bold=True)
    for line, case in zip(lines[head:], cases, strict=True):
        reporter.write_line(line, **_colour(case))


def _colour(case: CaseResult) -> dict[str, bool]:
    if case.outcome == "passed":
        return {}
    return {"yellow": True} if case.outcome == "skipped" else {"red": True}


def _print_explanations(reporter: pytest.TerminalReporter, cases: Sequence[CaseResult], clock: ClockQuality) -> None:
    shown = {"ttft_ms", "tpot_ms", "tps", "e2e_ms"}
    if any(case.metrics[name].unsure for case in cases for name in shown & case.metrics.keys()):
        reporter.write_line(f"{_MARK} too few requests for this percentile (p50: 11, p95: 130); -vv: intervals")
    if any(case.requests.late_reads for case in cases):
        reporter.write_line("late reads: their TTFT is only an upper bound and stays out of the statistics")
    if clock.source is not None:
        lag = clock.lag_ms
        words = f", client's lag p50 {lag.p50:.3f} ms, p99 {lag.p99:.3f} ms" if lag else ", client's lag unknown"
        reporter.write_line(f"clock: {clock.source} stamps{words}")
    for line in _cut_lines(cases):
        reporter.write_line(line, yellow=True)
    for model, load_s, cold in _loads(cases):
        words = f", first token after it {_number(cold)} ms" if cold is not None else ""
        reporter.write_line(f"{printable(model, _WIDEST_NAME)}: loaded in {amount(load_s, 's')}{words}")


def _cut_lines(cases: Sequence[CaseResult]) -> list[str]:
    """Why cases have few requests or none, where that made no failure."""
    skipped = [case for case in cases if case.partial and case.outcome == "skipped"]
    begun = [case for case in skipped if case.requests.total]
    not_run = Counter(case.message for case in skipped if not case.requests.total)
    lines = [f"{printable(_scenario(case), _WIDEST_NAME)}: {printable(case.message)}" for case in begun]
    return lines + [f"{count} of {len(cases)} cases {printable(message)}" for message, count in not_run.items()]


def _loads(cases: Sequence[CaseResult]) -> list[tuple[str, float, float | None]]:
    loads = {case.model: (case.model, case.load_s, case.cold_ttft_ms) for case in reversed(cases) if case.load_s}
    return [(model, load_s, cold) for model, load_s, cold in reversed(loads.values()) if load_s is not None]


def _print_details(reporter: pytest.TerminalReporter, cases: Sequence[CaseResult], *, percentiles: bool) -> None:
    for case in cases:
        reporter.write_line("")
        reporter.write_line(printable(case.nodeid, 200), bold=True, **_colour(case))
        reporter.write_line(f"  {_facts(case)}")
        for verdict in case.budgets:
            met = "met" if verdict.met else "MISSED"
            reporter.write_line(
                f"  budget {printable(verdict.expression)}: {met} ({_measured(verdict.value)}, n={verdict.n})"
            )
        for note in case.notes:
            reporter.write_line(f"  note: {printable(note)}")
        if percentiles:
            for name, distribution in case.metrics.items():
                reporter.write_line(f"  {_distribution(name, distribution)}")


def _facts(case: CaseResult) -> str:
    facts = [f"{case.requests.ok} ok, {case.requests.failed} failed"]
    if case.wall_s is not None:
        facts.append(f"{case.wall_s:.2f} s")
    if case.tps_total is not None:
        facts.append(f"{_number(case.tps_total)} tokens/s in all")
    if case.load is not None:
        facts.append(f"concurrency {case.load.concurrency}")
    if case.tokens_per_chunk is not None:
        facts.append(f"{case.tokens_per_chunk:.2f} tokens/chunk")
    if case.coalesced_pct:
        facts.append(f"{_number(case.coalesced_pct)} % of chunks shared a read")
    if case.expected_output_length is not None:
        facts.append(f"expected output {printable(case.expected_output_length, 20)}")
    return ", ".join(facts)


def _distribution(name: str, found: Distribution) -> str:
    parts = [f"n={found.n}", f"mean {_number(found.mean)}"]
    for statistic in ("min", "p50", "p90", "p95", "p99", "max"):
        value = found.statistic(statistic)
        interval = found.interval(statistic)
        text = f"{statistic} {_number(value)}" if value is not None else ""
        text += _MARK if statistic in found.unsure else ""
        parts.append(text + (f" [{_number(interval[0])}, {_number(interval[1])}]" if interval else ""))
    return f"{name:14} {' '.join(parts)}"


def _measured(value: float | None) -> str:
    return "nothing measured" if value is None else _number(value)


def _print_verdict(reporter: pytest.TerminalReporter, run: Run) -> None:
    counts = {
        word: sum(case.outcome == word for case in run.cases) for word in ("passed", "failed", "error", "skipped")
    }
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    reruns = sum(case.reruns for case in run.cases)
    if reruns:
        words += f", {reruns} {'rerun' if reruns == 1 else 'reruns'}"
    partial = run.partial and run.status != "interrupted"
    verdict = run.status.upper()
    if partial:
        verdict = f"PARTIAL, {verdict}" + (" as far as measured" if run.status == "passed" else "")
    colour = {"red": True} if run.status != "passed" else {"yellow": True} if partial else {"green": True}
    reporter.write_line(f"flperf: {verdict}: {words or 'nothing measured'}", bold=True, **colour)


def _shown_path(folder: Path, start: Path) -> str:
    return str(folder.relative_to(start)) if folder.is_relative_to(start) else str(folder)
