"""Terminal summary of a run, by verbosity.

One table by default, the verdict only with -q, a block per case with -v, all percentiles with -vv.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_flperf._text import amount, printable
from pytest_flperf.gates.format import against_lines
from pytest_flperf.report.answer_sentence import answer_sentence
from pytest_flperf.report.efficiency_words import efficiency_facts, run_cost_words
from pytest_flperf.report.figures import (
    MARK,
    calibration_words,
    capacity_words,
    counted,
    load_words,
    number,
    statistic_of,
    tried_words,
)
from pytest_flperf.report.quality_words import quality_lines
from pytest_flperf.report.rivals import rivals_together, scenario_of
from pytest_flperf.report.sentences import without_verdict
from pytest_flperf.report.terminal.comparisons import compared_lines, gated, sums
from pytest_flperf.report.terminal.results_table import table_lines
from pytest_flperf.report.terminal.tables import WIDEST_NAME, Colour, Line, wrapped
from pytest_flperf.report.verdict_words import tone, verdict_of
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.bounds import bounded_run
from pytest_flperf.results.metric_statistics import unit_of
from pytest_flperf.results.notes import Note, labelled, warning
from pytest_flperf.results.records import BudgetVerdict, CaseResult, ClockQuality, Distribution, ResourceUse, Run
from pytest_flperf.results.serving import Target

__all__ = ["Line", "case_lines", "loads", "summary_lines"]

_LONGEST_LINE: Final = 500
_COLOURS: Final[Mapping[str, Colour]] = {"good": "green", "doubt": "yellow", "bad": "red"}


def summary_lines(
    run: Run, width: int, verbosity: int, problems: Sequence[str] = (), failures: Sequence[str] = ()
) -> list[Line]:
    """Summary of a run: table, details, problems and verdict, by verbosity.

    Args:
        run: What was measured.
        width: Columns of the terminal.
        verbosity: -1: the verdict only, and with a gate the summary of the comparisons; 1: a block per case; 2: all
        percentiles.
        problems: Lines on errors outside of the measurement.
        failures: Why cases failed, where pytest's own output doesn't say it.

    """
    absent = absent_lines(run.cases)
    run = bounded_run(run)
    lines: list[Line] = []
    if verbosity >= 0 and run.cases:
        lines += _table(run.cases, width)
        lines += compared_lines(run.cases, width, verbosity)
        lines += [Line(text) for text in _explanations(run.cases, run.clock)]
        lines += [
            Line(text, "yellow") for text in (*_cut_lines(run.cases), *_no_verdicts(run.cases), *_warnings(run.cases))
        ]
    elif gated(run.cases):  # how much a gate could not decide is part of its verdict
        lines += [Line(text, colour) for text, colour in sums(run.cases)]
    if verbosity >= 1:
        for case in run.cases:
            lines += _details(case, percentiles=verbosity >= 2)
        lines += [Line(printable(text, _LONGEST_LINE)) for text in absent]
    lines += [Line(printable(failure, _LONGEST_LINE), "red") for failure in failures]
    lines += [Line(f"flperf: {printable(fault, _LONGEST_LINE)}", "red") for fault in run.faults]
    for verdict in run.budgets:
        lines.append(Line(f"run: {_verdict(verdict)}", "" if verdict.met else "red"))
    lines += [Line(f"flperf: {printable(problem)}", "yellow") for problem in problems if problem not in absent]
    said = answer_sentence(run) if verbosity >= 0 else ""
    lines += [Line(text, bold=True) for text in wrapped(f"flperf: {said}", width)] if said else []
    return [*lines, _verdict_line(run)]


def _verdict_line(run: Run) -> Line:
    colour: Colour = _COLOURS[tone(run)]
    return Line(verdict_of(run), colour, bold=True)


def _table(cases: Sequence[CaseResult], width: int) -> list[Line]:
    cases = rivals_together(cases)
    texts = table_lines(cases, width)
    head = len(texts) - len(cases)
    rows = [Line(text, _colour(case)) for text, case in zip(texts[head:], cases, strict=True)]
    left_out = "model" not in " ".join(texts[:head]).split()
    below = [Line(f"model: {printable(cases[0].model, _LONGEST_LINE)}")] if left_out else []
    return [*(Line(text, bold=True) for text in texts[:head]), *rows, *below]


def _colour(case: CaseResult) -> Colour:
    if case.outcome in ("passed", "xpassed"):
        return ""
    return "yellow" if case.outcome in ("skipped", "xfailed") else "red"


def _explanations(cases: Sequence[CaseResult], clock: ClockQuality) -> list[str]:
    lines = []
    shown = {"ttft_ms", "tpot_ms", "tps", "e2e_ms"}
    if any(case.metrics[name].unsure for case in cases for name in shown & case.metrics.keys()):
        lines.append(f"{MARK} too few requests for this percentile (p50: 11, p95: 130); -vv: intervals")
    if any(metric.as_inf for case in cases for metric in case.metrics.values()):
        lines.append("∞ failed requests count as infinitely slow (failures: as_inf)")
    if late := sum(case.requests.late_reads for case in cases):
        lines.append(f"late reads ({late}): their TTFT is only an upper bound and stays out of the statistics")
    if clock.source is not None:
        lag = clock.lag_ms
        words = f", client's lag p50 {lag.p50:.3f} ms, p99 {lag.p99:.3f} ms" if lag else ", client's lag unknown"
        lines.append(f"clock: {printable(clock.source)} stamps{words}")
    if cost := run_cost_words(cases):
        lines.append(cost)
    lines += dict.fromkeys(calibration_words(case.calibration) for case in cases if case.calibration is not None)
    for case in cases:
        searches = (case.search, *case.searches) if case.search is not None else ()
        for search in searches:
            lines.append(f"{printable(scenario_of(case), WIDEST_NAME)}: {capacity_words(search)}")
            if tried := tried_words(search):
                lines.append(f"  {tried}")
    for model, load_s, cold in loads(cases):
        words = f", first token after it {number(cold)} ms" if cold is not None else ""
        took = amount(load_s, "s") if load_s >= 1 else amount(1000 * load_s, "ms")
        lines.append(f"{printable(model, WIDEST_NAME)}: loaded in {took}{words}")
    return lines


def _cut_lines(cases: Sequence[CaseResult]) -> list[str]:
    """Why cases have few or no requests, where they didn't fail."""
    skipped = [case for case in cases if case.partial and case.outcome == "skipped"]
    begun = [case for case in skipped if case.requests.total]
    not_run = Counter(case.message for case in skipped if not case.requests.total)
    lines = [f"{printable(scenario_of(case), WIDEST_NAME)}: {printable(case.message)}" for case in begun]
    return lines + [f"{count} of {len(cases)} cases {printable(message)}" for message, count in not_run.items()]


def _no_verdicts(cases: Sequence[CaseResult]) -> list[str]:
    """Why other cases were skipped, or were expected to fail."""
    others = [case for case in cases if not (case.partial and case.outcome == "skipped")]
    return [printable(line, _LONGEST_LINE) for line in without_verdict(others)]


def _warnings(cases: Sequence[CaseResult]) -> list[str]:
    """Warnings, once for each model and kind."""
    found: dict[tuple[str, str], list[str]] = {}
    lines = _otherwise(cases)
    for case in cases:
        for note in case.notes:
            read = Note.of(note)
            if read.level == "warning" and read.code != "parameters":
                # Notes that differ only in numbers become one line, with their count.
                kind = re.sub(r"\d+(\.\d+)?", "#", note)
                found.setdefault((case.model, kind), []).append(f"{printable(case.scenario, WIDEST_NAME)}: {read.text}")
    return lines + [
        warning(f"{printable(model, WIDEST_NAME)}, {printable(said[0], _LONGEST_LINE)}")
        + (f" (and {counted(len(said) - 1, 'more case')} like this)" if len(said) > 1 else "")
        for (model, _), said in found.items()
    ]


def _otherwise(cases: Sequence[CaseResult]) -> list[str]:
    """One line for all parameters that were not sent as requested."""
    words: dict[str, dict[str, None]] = {}
    for case in cases:
        for each in case.adjusted:
            what = "left out" if each.sent is None else f"{each.asked} → {each.sent}"
            words.setdefault(f"{each.parameter} {what} ({each.reason})", {})[case.model] = None
    if not words:
        return []
    said = "; ".join(f"{text} on {', '.join(models)}" for text, models in words.items())
    return [warning(printable(said, 2 * _LONGEST_LINE), "parameters")]


def loads(cases: Sequence[CaseResult]) -> list[tuple[str, float, float | None]]:
    """Loaded models, with load time in s and cold TTFT in ms.

    The cold TTFT is of the first request after the load.
    """
    found = {case.model: (case.model, case.load_s, case.cold_ttft_ms) for case in reversed(cases) if case.load_s}
    return [(model, load_s, cold) for model, load_s, cold in reversed(found.values()) if load_s is not None]


def case_lines(case: CaseResult) -> list[str]:
    """All details of a case, as plain text.

    The lines of ``-vv``, with target, host and clock.
    """
    target, host = case.target, printable(case.host, 100) or "unknown"
    where = "unknown" if target is None else printable(", ".join(map(str, filter(None, _target_words(target)))))
    lines = [line.text for line in _details(case, percentiles=True)][1:]
    source = printable(case.clock.source or "")
    facts = [f"  target: {where}", f"  host: {host}", f"  clock: {source} stamps" if source else "  clock: unknown"]
    return [*lines[:1], *facts, *lines[1:], *(f"  {line}" for line in absent_lines([case]))]


def _target_words(target: Target) -> tuple[str | None, ...]:
    return (target.backend, target.model_id, target.base_url, target.device, target.execution_provider)


def _details(case: CaseResult, *, percentiles: bool) -> list[Line]:
    lines = [Line(""), Line(printable(case.nodeid, 200), _colour(case), bold=True), Line(f"  {_facts(case)}")]
    lines += [Line(f"  {_verdict(verdict)}") for verdict in case.budgets]
    lines += [Line(text) for against in case.against for text in against_lines(against)]
    lines += [Line(f"  {printable(labelled(note))}") for note in case.notes]
    if percentiles:
        lines += [Line(f"  {_distribution(name, found)}") for name, found in case.metrics.items()]
        lines += [Line(f"  {_use(name, use)}") for name, use in case.resources.items()]
        lines += [
            Line(f"  {text}") for text in ([] if case.answer_quality is None else quality_lines(case.answer_quality))
        ]
        lines += [Line(f"  {name.lower()}: {text}") for name, text in efficiency_facts(case)]
    return lines


def _verdict(verdict: BudgetVerdict) -> str:
    met = "met" if verdict.met else "MISSED"
    return f"budget {printable(verdict.expression)}: {met} ({_measured(verdict)}, n={verdict.n})"


def _measured(verdict: BudgetVerdict) -> str:
    if verdict.value is not None:
        return amount(verdict.value, unit_of(verdict.metric, verdict.statistic))
    return f"not measured: {printable(verdict.reason)}" if verdict.reason else "nothing measured"


def _use(name: str, found: ResourceUse) -> str:
    parts = [f"{statistic} {number(found.statistic(statistic))}" for statistic in ("mean", "min", "max")]
    return f"{printable(name, 40):14} n={found.n} {' '.join(parts)}"


def _facts(case: CaseResult) -> str:
    facts = [f"{case.requests.ok} ok, {case.requests.failed} failed"]
    if case.requests.retries:
        facts.append(f"{case.requests.retries} retries, {case.requests.recovered} recovered")
    if case.wall_s is not None:
        facts.append(f"{case.wall_s:.2f} s")
    if case.tps_total is not None:
        facts.append(f"{number(case.tps_total)} tokens/s in all")
    if case.load is not None:
        facts.append(load_words(case.load))
    if case.goodput is not None:
        facts.append(f"goodput {number(case.goodput)} requests/s")
    if case.offered_rate is not None:
        sent = "" if case.sent_rate is None else f" and {number(case.sent_rate)} sent"
        facts.append(f"{number(case.offered_rate)} requests/s due{sent}")
    if case.tokens_per_chunk is not None:
        facts.append(f"{case.tokens_per_chunk:.2f} tokens/chunk")
    if case.coalesced_pct:
        facts.append(f"{number(case.coalesced_pct)} % of chunks shared a read")
    if case.expected_output_length is not None:
        facts.append(f"expected output {printable(case.expected_output_length, 20)}")
    return ", ".join(facts)


def _distribution(name: str, found: Distribution) -> str:
    parts = [f"n={found.n}", f"mean {number(found.mean)}"]
    for each in ("min", "p50", "p90", "p95", "p99", "max"):
        between = found.interval(each)
        text = f"{each} {statistic_of(found, each)}"
        parts.append(text + (f" [{number(between[0])}, {number(between[1])}]" if between else ""))
    return f"{printable(name, 40):14} {' '.join(parts)}"
