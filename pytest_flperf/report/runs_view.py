"""Several runs side by side: numbers in a row per case, without a judgement on what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_flperf.report.content import Cell, Table
from pytest_flperf.report.figures import NOTHING
from pytest_flperf.report.run_view import COMPARED
from pytest_flperf.report.summary import outcome_words
from pytest_flperf.report.words import case_name, clock_words, models_of, when
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["RunsPage", "runs_page"]


@dataclass(frozen=True, slots=True)
class RunsPage:
    """Several runs side by side."""

    title: str
    sentence: str
    runs: Table
    tables: tuple[Table, ...]


def runs_page(runs: Sequence[Run]) -> RunsPage:
    """What a page on several runs says; cases are matched by node id and host."""
    names = [f"{letter}: {run.id}" for letter, run in zip(_letters(len(runs)), runs, strict=True)]
    by_run = [{(case.nodeid, case.host): case for case in run.cases} for run in runs]
    keys = list(dict.fromkeys(key for cases in by_run for key in cases))
    several_hosts = len({host for _, host in keys}) > 1
    known = {key: case for cases in reversed(by_run) for key, case in cases.items()}
    labels = _labels([known[key] for key in keys], host=several_hosts)
    tables = [
        table
        for caption, cell in (("Verdicts", lambda case: case.outcome), *COMPARED)
        if (table := _table(caption, cell, names, [[cases.get(key) for cases in by_run] for key in keys], labels))
    ]
    shared = sum(all(key in cases for cases in by_run) for key in keys)
    return RunsPage(
        title=f"{len(runs)} runs side by side",
        sentence=f"{len(keys)} cases, {shared} of them in every run. The numbers stand side by side; "
        "nothing here says whether a difference is more than chance.",
        runs=_runs(runs, names),
        tables=tuple(tables),
    )


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(count)]


def _labels(cases: Sequence[CaseResult], *, host: bool) -> list[str]:
    """Names of cases; the node id beside those that share one."""
    names = [case_name(case, host=host) for case in cases]
    return [
        name if names.count(name) == 1 else f"{name}: {case.nodeid}" for name, case in zip(names, cases, strict=True)
    ]


def _table(
    caption: str,
    cell: Callable[[CaseResult], str],
    names: Sequence[str],
    rows: Sequence[Sequence[CaseResult | None]],
    labels: Sequence[str],
) -> Table | None:
    shown = [[NOTHING if case is None else cell(case) for case in row] for row in rows]
    if all(text == NOTHING for row in shown for text in row):
        return None
    cells = tuple((Cell(label), *map(Cell, row)) for label, row in zip(labels, shown, strict=True))
    return Table(caption, ("case", *names), cells)


def _runs(runs: Sequence[Run], names: Sequence[str]) -> Table:
    rows = tuple(
        (
            Cell(name),
            Cell(run.status, "good" if run.status == "passed" else "bad"),
            Cell(outcome_words(run)),
            Cell(when(run.started_at)),
            Cell(", ".join(run.suites) or NOTHING),
            Cell(", ".join(models_of(run.cases)) or NOTHING),
            Cell(f"{run.host.name}: {run.host.cpu}, {run.host.cores} cores" if run.host else NOTHING),
            Cell(clock_words(run.clock)),
            Cell(" ".join(run.command)),
        )
        for name, run in zip(names, runs, strict=True)
    )
    head = ("run", "verdict", "cases", "started", "suites", "models", "machine", "clock", "command")
    return Table("Runs", head, rows, words=True)
