"""Series: one number of a scenario over the stored runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, RowMapping, select

from pytest_flperf.history.database import Database
from pytest_flperf.history.rows import as_stored
from pytest_flperf.history.tables import CASES, METRICS, RESOURCES, RUNS
from pytest_flperf.results.metrics import METRICS as KNOWN
from pytest_flperf.results.metrics import OTHER_NAMES

__all__ = ["Number", "SeriesPoint", "SeriesQueries", "UnknownNumberError", "number_named"]

_STATISTICS: Final[Mapping[str, tuple[str, ...]]] = {
    "request": ("p50", "p90", "p95", "p99", "mean", "min", "max"),
    "resource": ("mean", "min", "max"),
}
_OF_CASES: Final = ("error_rate", "wall_s", "request_rate", "goodput", "tps_total")
_SHOWN: Final = 60


class UnknownNumberError(ValueError):
    """A name that is no number of the store; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number that the store has a column of."""

    metric: str
    statistic: str
    """Empty for a metric that is one number for a case."""

    @property
    def name(self) -> str:
        """As written: ``ttft_ms.p50``."""
        return ".".join(filter(None, (self.metric, self.statistic)))


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """The number in one case of one run."""

    run: str
    """Id of the run."""
    started_at: str
    """ISO 8601, UTC."""
    branch: str | None
    commit: str | None
    host: str
    suite: str
    scenario: str
    model: str
    parameters: str
    """The point of the matrix, as JSON."""
    outcome: str
    value: float | None
    """In the metric's unit; None where it was not measured."""
    n: int
    """Values behind it."""


def number_named(text: str) -> Number:
    """The number that a text names; raises UnknownNumberError."""
    name, _, statistic = text.partition(".")
    shown, metric = repr(text[:_SHOWN]), KNOWN.get(name)
    if metric is None:
        other = OTHER_NAMES.get(name)
        hint = f"did you mean {other!r}?" if other else "such as ttft_ms.p50; docs/metrics.md lists them"
        raise UnknownNumberError(f"found {shown}, expected a metric and its statistic, {hint}")
    known = _STATISTICS.get(metric.per, ())
    if not known and name not in _OF_CASES:
        raise UnknownNumberError(
            f"the store has no column of {name}: of cases it has {', '.join(_OF_CASES)}; 'flperf show RUN' has the rest"
        )
    if not known and statistic:
        raise UnknownNumberError(f"found {shown}, expected {name} alone: it is one number for a case")
    if known and statistic not in known:
        raise UnknownNumberError(f"found {shown}, expected one of {', '.join(f'{name}.{each}' for each in known)}")
    return Number(name, statistic)


class SeriesQueries(Database):
    """Queries of one number over all runs of the store."""

    def series(
        self,
        scenario: str,
        number: Number,
        *,
        model: str | None = None,
        suite: str | None = None,
        branch: str | None = None,
        limit: int | None = None,
    ) -> list[SeriesPoint]:
        """The number in each case of a scenario, oldest run first.

        Args:
            scenario: Its name.
            number: What to read.
            model: Only cases of this model.
            suite: Only cases of the suite with this name.
            branch: Only runs of this branch.
            limit: Only cases of this many of the newest runs; None: all.

        """
        value, n, joined = _columns(number)
        wanted = select(RUNS, CASES, value.label("value"), n.label("n")).select_from(joined)
        for column, chosen in (
            (CASES.c.scenario, scenario),
            (CASES.c.model, model),
            (CASES.c.suite, suite),
            (RUNS.c.git_branch, branch),
        ):
            if chosen is not None:
                wanted = wanted.where(column == as_stored(chosen))
        newest = wanted.order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc(), CASES.c.case_no.desc())
        points: list[SeriesPoint] = []
        runs: set[str] = set()
        with self._told():
            for row in self._connection.execute(newest.with_only_columns(*_chosen(value, n))).mappings():
                point = _point(row)
                if limit is not None and point.run not in runs and len(runs) == limit:
                    break
                runs.add(point.run)
                points.append(point)
        return points[::-1]


def _columns(number: Number) -> tuple[ColumnElement[Any], ColumnElement[Any], FromClause]:
    """The columns of value and count, and the tables that they are in."""
    cases = RUNS.join(CASES, CASES.c.run_key == RUNS.c.run_key)
    if not number.statistic:
        return CASES.c[number.metric], CASES.c.requests_ok, cases
    table = METRICS if KNOWN[number.metric].per == "request" else RESOURCES
    same = (table.c.run_key == CASES.c.run_key) & (table.c.case_no == CASES.c.case_no) & (table.c.name == number.metric)
    return table.c[number.statistic], table.c.n, cases.outerjoin(table, same)


def _chosen(value: ColumnElement[Any], n: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    return (
        RUNS.c.id.label("run"), RUNS.c.started_at, RUNS.c.git_branch.label("branch"), RUNS.c.git_commit.label("commit"),
        CASES.c.host, CASES.c.suite, CASES.c.scenario, CASES.c.model, CASES.c.parameters, CASES.c.outcome,
        value.label("value"), n.label("n"),
    )  # fmt: skip


def _point(row: RowMapping) -> SeriesPoint:
    return SeriesPoint(**{**row, "n": row["n"] or 0})
