"""Markdown report of a run, for a CI job summary or comment.

It has the verdict, the table of cases, comparisons and failures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.gates.format import name
from pytest_flperf.gates.severity import failed_cases
from pytest_flperf.report.answer_sentence import answer_sentence
from pytest_flperf.report.efficiency_words import MIXED, cost_cell, cost_heading, run_cost_words
from pytest_flperf.report.figures import errors, point, statistic
from pytest_flperf.report.judged_tables import judged_tables
from pytest_flperf.report.quality_words import mean_quality
from pytest_flperf.report.rerun import rerun_command
from pytest_flperf.report.rivals import rivals_together
from pytest_flperf.report.sentences import case_name, clock_words, doubts, run_budgets, without_verdict
from pytest_flperf.report.terminal.comparisons import (
    figure_heads,
    figures,
    notes_of,
    relative,
    rows_of,
    sums,
)
from pytest_flperf.report.verdict_words import heading, sentence, tone
from pytest_flperf.results.bounds import bounded_run, first_lines
from pytest_flperf.results.judged import Judged
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["code", "markdown", "words"]

_LONGEST_BYTES: Final = 400_000
_ROWS: Final = 500
_FAILURES: Final = 30
_DOUBTS: Final = 30
_MESSAGE_LINES: Final = 12
_SIGNS: Final = {"passed": "✅", "failed": "❌", "error": "❌", "skipped": "⏭️", "xfailed": "🟡", "xpassed": "🟡"}
_TONES: Final = {"good": "✅", "doubt": "⚠️", "bad": "❌"}
_CHANGES: Final = {"regressed": "⚠️", "improved": "✅", "unchanged": "", "undecided": "❔"}
_ACTIVE: Final = re.compile(r"(?i:www\.)|:(?! )|[!-/;-@\[-`{-~]")
_HARMLESS: Final = frozenset("-.,;%()/=+?\"'")


def words(text: str, limit: int = 300) -> str:
    """Escape a foreign text for Markdown and HTML, in one line.

    Characters with a meaning become entities, so that no user is notified (``@name``) and nothing is linked (``#1``,
    addresses).  The result must not stand first in a line.
    """
    return _ACTIVE.sub(_entity, printable(text, limit))


def code(text: str, limit: int = 300) -> str:
    """Escape a foreign text as code, where ``@name`` and ``#1`` mean nothing."""
    return f"<code>{words(text, limit)}</code>"


def _entity(found: re.Match[str]) -> str:
    char = found[0]
    if char in _HARMLESS:
        return char
    if len(char) > 1:
        return f"{char[:-1]}&#46;"
    # The empty comment keeps programs that read the page's text from seeing a name or an address.
    return f"&#{ord(char)};" + ("<!-- -->" if char in "@#:" else "")


def markdown(run: Run, judged: Judged | None = None, *, longest_bytes: int = _LONGEST_BYTES) -> str:
    """Markdown of a run, in at most ``longest_bytes`` of UTF-8.

    It says what was left out.  ``judged``: what a judge said of its answers.
    """
    run = bounded_run(run)
    head = [
        f"## {_TONES[tone(run)]} flperf: {words(heading(run))}",
        "",
        *([f"**{words(said, 1_000)}.**", ""] if (said := answer_sentence(run)) else []),
        words(sentence(run)),
        "",
        *(f"- {words(line, 300)}" for line in (*run_budgets(run), *first_lines(run.faults, _FAILURES, "errors"))),
        "",
    ]
    facts = [f"- run {code(run.id)}", f"- clock: {words(clock_words(run.clock), 500)}"]
    facts[1:1] = [
        f"- {words(host.name)}: {words(host.cpu)}, {host.cores} cores, {words(host.os)}" for host in run.machines
    ]
    if cost := run_cost_words(run.cases):
        facts.append(f"- {words(cost)}")
    tail = ["", *(f"- {words(line, 500)}" for line in first_lines(doubts(run), _DOUBTS, "notes")), *facts, ""]
    table, compared, failures = _table(run.cases), _compared(run.cases), _failures(run)
    kept = longest_bytes - _size(head) - _size(tail) - 200
    shown = _fitting(failures, kept // 2)
    changes = _fitting(compared, (kept - _size(shown)) // 2)
    opinions = _fitting(_judged(judged), (kept - _size(shown) - _size(changes)) // 2)
    rows = _fitting(table, kept - _size(shown) - _size(changes) - _size(opinions))
    return "\n".join([*head, *rows, *changes, *opinions, *shown, *tail])


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _fitting(lines: Sequence[str], most_bytes: int) -> list[str]:
    shown: list[str] = []
    used = 0
    for line in lines:
        used += len(line.encode()) + 1
        if used > most_bytes:
            return [*shown, "", "The rest is left out for its length; report.html and results.json have all.", ""]
        shown.append(line)
    return shown


def _table(cases: Sequence[CaseResult]) -> list[str]:
    if not cases:
        return []
    suites = len({case.suite for case in cases}) > 1
    hosts = len({case.host for case in cases}) > 1
    scored = any("quality" in case.metrics for case in cases)
    priced = cost_heading(cases)
    head = ["", "model", "scenario", *["suite"] * suites, *["host"] * hosts, "n", "TTFT p50 ms", "TTFT p95 ms",
            "TPOT p50 ms", "tokens/s p50", "e2e p50 ms", "e2e p95 ms", "errors", *["quality"] * scored,
            *[f"cost {words(priced)}"] * bool(priced)]  # fmt: skip
    left = 3 + suites + hosts
    lines = [_row(head), _row([":--"] * left + ["--:"] * (len(head) - left))]
    for case in rivals_together(cases)[:_ROWS]:
        label = f"{case.scenario} {point(case.parameters)}".strip()
        numbers = (
            ("ttft_ms", "p50"), ("ttft_ms", "p95"), ("tpot_ms", "p50"), ("tps", "p50"), ("e2e_ms", "p50"),
            ("e2e_ms", "p95"),
        )  # fmt: skip
        lines.append(
            _row(
                [
                    _SIGNS.get(case.outcome, ""),
                    words(case.model, 80),
                    words(label, 80),
                    *[words(case.suite, 80)] * suites,
                    *[words(case.host, 80)] * hosts,
                    str(case.requests.ok),
                    *(words(statistic(case, metric, name)) for metric, name in numbers),
                    errors(case),
                    *[words(mean_quality(case))] * scored,
                    *[words(cost_cell(case, with_currency=priced == MIXED))] * bool(priced),
                ]
            )
        )
    more = [f"… and {len(cases) - _ROWS} more cases, in report.html and results.json."] if len(cases) > _ROWS else []
    return [*lines, "", *more]


def _compared(cases: Sequence[CaseResult]) -> list[str]:
    """The section of comparisons: summary, table and other differences."""
    found = sums(cases)
    if not found:
        return []
    lines = ["### Compared", "", *(f"- {words(text, 400)}" for text, _ in found), ""]
    rows = rows_of(cases)
    of_reference = relative(rows)
    labels = len({row.against.label for row in rows}) > 1
    if rows:
        heads = figure_heads(of_reference=of_reference)
        lines.append(_row(["", "model", "scenario", "compared", *["with"] * labels, *heads, "verdict"]))
        lines.append(_row([":--"] * (4 + labels) + ["--:"] * len(heads) + [":--"]))
    for row in rows[:_ROWS]:
        each = row.comparison
        verdict = words(row.verdict)
        lines.append(
            _row(
                [
                    "❌" if each.fails else _CHANGES.get(each.verdict, ""),
                    words(row.case.model, 80),
                    words(row.scenario, 80),
                    words(name(each), 80),
                    *[words(row.against.label, 80)] * labels,
                    *(words(text, 80) for text in figures(row, of_reference=of_reference)),
                    f"**{verdict}**" if each.fails else verdict,
                ]
            )
        )
    more = [f"… and {len(rows) - _ROWS} more comparisons, in results.json.", ""] if len(rows) > _ROWS else []
    return [*lines, "", *more, *(f"- {words(line, 400)}" for line in notes_of(cases)), ""]


def _judged(judged: Judged | None) -> list[str]:
    """The section of what a judge said."""
    parts = () if judged is None else judged_tables(judged)
    lines = ["### Judged", ""] if parts else []
    for part in parts:
        lines += [*(f"- {words(line, 600)}" for line in part.lines), ""]
        for head, rows, names, further in part.tables:
            lines += [_row([words(each, 80) for each in head]), _row([":--"] * names + ["--:"] * (len(head) - names))]
            lines += [*(_row([words(cell, 80) for cell in row]) for row in rows[:_ROWS]), ""]
            more = len(rows[_ROWS:]) + further
            lines += [f"… and {more} more, in judged.json.", ""] if more else []
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _failures(run: Run) -> list[str]:
    bad, others = failed_cases(run.cases), without_verdict(run.cases)
    hosts = len({case.host for case in run.cases}) > 1
    unjudged = ["### Without a verdict", "", *(f"- {words(line, 400)}" for line in others), ""] if others else []
    if not bad:
        return unjudged
    lines = ["### What failed", ""]
    for case in bad[:_FAILURES]:
        lines += [f"**{words(case_name(case, host=hosts))}**: {words(case.outcome)}", ""]
        said = first_lines(case.message.splitlines(), _MESSAGE_LINES, "lines, in report.html")
        lines += [f"<pre>{'&#10;'.join(words(line, 400) for line in said)}</pre>", ""] if said else []
        lines += [f"Run it again: {code(rerun_command(run, case), 600)}", ""]
    if len(bad) > _FAILURES:
        lines += [f"… and {len(bad) - _FAILURES} more, in report.html.", ""]
    return [*lines, *unjudged]
