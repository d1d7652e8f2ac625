"""HTML page of runs side by side, without a statistical verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_flperf.report.figures import NOTHING, counted
from pytest_flperf.report.html.content import Cell, Table
from pytest_flperf.report.html.run_view import COMPARED
from pytest_flperf.report.rerun import command_line
from pytest_flperf.report.sentences import case_name, clock_words, models_of, when
from pytest_flperf.report.verdict_words import heading, outcome_words, tone
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["RunsPage", "runs_page"]


@dataclass(frozen=True, slots=True)
class RunsPage:
    """The page contents of runs side by side."""

    title: str
    sentence: str
    runs: Table
    tables: tuple[Table, ...]


def runs_page(runs: Sequence[Run]) -> RunsPage:
    """Build the page; cases are matched by node id and host."""
    letters = _letters(len(runs))
    by_run = [{(case.nodeid, case.host): case for case in run.cases} for run in runs]
    keys = list(dict.fromkeys(key for cases in by_run for key in cases))
    several_hosts = len({host for _, host in keys}) > 1
    known = {key: case for cases in reversed(by_run) for key, case in cases.items()}
    labels = _labels([known[key] for key in keys], host=several_hosts)
    tables = [
        table
        for caption, cell in (("Verdicts", lambda case: case.outcome), *COMPARED)
        if (table := _table(caption, cell, letters, [[cases.get(key) for cases in by_run] for key in keys], labels))
    ]
    shared = sum(all(key in cases for cases in by_run) for key in keys)
    return RunsPage(
        title=f"{len(runs)} runs side by side",
        sentence=f"{counted(len(keys), 'case')}, {shared} of them in every run. The numbers stand side by side; "
        "nothing here says whether a difference is more than chance.",
        runs=_runs(runs, [f"{letter}: {run.id}" for letter, run in zip(letters, runs, strict=True)]),
        tables=tuple(tables),
    )


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(count)]


def _labels(cases: Sequence[CaseResult], *, host: bool) -> list[str]:
    """Names of cases, with the node id where names repeat."""
    names = [case_name(case, host=host) for case in cases]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}: {case.nodeid}" for name, case in zip(names, cases, strict=True)]


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
    known: tuple[tuple[str, Callable[[Run], str]], ...] = (
        ("cases", outcome_words),
        ("started", lambda run: when(run.started_at)),
        ("suites", lambda run: ", ".join(run.suites)),
        ("models", lambda run: ", ".join(models_of(run.cases))),
        ("machine", lambda run: f"{run.host.name}: {run.host.cpu}, {run.host.cores} cores" if run.host else ""),
        ("clock", lambda run: clock_words(run.clock)),
        ("command", command_line),
    )
    verdicts = tuple(Cell(heading(run).lower(), tone(run)) for run in runs)
    rows = [(Cell(term), *(Cell(tell(run) or NOTHING) for run in runs)) for term, tell in known]
    return Table("Runs", ("", *names), ((Cell("verdict"), *verdicts), *rows), words=True)
