"""Series: one number of a scenario over the stored runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Select, select

from pytest_flperf.history.database import Database
from pytest_flperf.history.rows import NUMBERS, as_stored
from pytest_flperf.history.stored_numbers import INFINITE, OF_CASES, RESOURCE_STATISTICS, STATISTICS
from pytest_flperf.history.stored_values import checked_text
from pytest_flperf.history.tables import CASES, METRICS, RESOURCES, RUNS
from pytest_flperf.results.metric_aliases import OTHER_NAMES
from pytest_flperf.results.metrics import METRICS as KNOWN

__all__ = ["Number", "SeriesPoint", "SeriesQueries", "UnknownNumberError", "is_like", "number_named"]

_STATISTICS: Final = {"request": STATISTICS, "resource": RESOURCE_STATISTICS}
_SHOWN: Final = 60
_TEXTS: Final = (
    "run", "started_at", "machine", "nodeid", "host", "suite", "scenario", "model", "parameters", "outcome",
)  # fmt: skip
_OPTIONAL: Final = ("branch", "commit", "conditions")


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
    machine: str
    """Fingerprint of the machine (see ``surroundings.fingerprint``)."""
    nodeid: str
    host: str
    suite: str
    scenario: str
    model: str
    parameters: str
    """The point of the matrix, as JSON."""
    outcome: str
    value: float | None
    """In the metric's unit; None where it was not measured, or is infinite."""
    n: int
    """Values behind it."""
    infinite: bool
    """Whether it is infinite, because failed requests count as that."""
    conditions: str | None = None
    """Digest of load, settings, prompts and server (see ``conditions.conditions_of``); None: not known."""


def is_like(one: SeriesPoint, other: SeriesPoint) -> bool:
    """Whether two points of a case can be compared: same machine, no other conditions."""
    return one.machine == other.machine and (
        None in (one.conditions, other.conditions) or one.conditions == other.conditions
    )


def number_named(text: str) -> Number:
    """The number that a text names; raises UnknownNumberError."""
    name, _, statistic = text.partition(".")
    shown, metric = repr(text[:_SHOWN]), KNOWN.get(name)
    if metric is None:
        other = OTHER_NAMES.get(name)
        hint = f"did you mean {other!r}?" if other else "such as ttft_ms.p50; docs/metrics.md lists them"
        raise UnknownNumberError(f"found {shown}, expected a metric and its statistic, {hint}")
    known = _STATISTICS.get(metric.per, ())
    if not known and name not in (*OF_CASES, *NUMBERS):
        there = ", ".join((*OF_CASES, *NUMBERS))
        raise UnknownNumberError(
            f"the store has no column for {name}: a case has {there}; 'flperf show RUN' has the rest"
        )
    if not known and statistic:
        raise UnknownNumberError(f"found {shown}, expected {name} alone: it is one number per case")
    if known and statistic not in known:
        raise UnknownNumberError(f"found {shown}, expected one of {', '.join(f'{name}.{each}' for each in known)}")
    return Number(name, statistic)


class SeriesQueries(Database):
    """Queries of one number over all runs of the store."""

    def series(
        self,
        number: Number,
        *,
        scenario: str | None = None,
        model: str | None = None,
        suite: str | None = None,
        branch: str | None = None,
        limit: int | None = None,
    ) -> list[SeriesPoint]:
        """The number in each case, oldest run first.

        Args:
            number: What to read.
            scenario: Only cases of the scenario with this name.
            model: Only cases of this model.
            suite: Only cases of the suite with this name.
            branch: Only runs of this branch.
            limit: Only cases of this many of the newest runs that have any; None: all.

        """
        wanted = _selected(number).order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc(), CASES.c.case_no.desc())
        for column, chosen in (
            (CASES.c.scenario, scenario),
            (CASES.c.model, model),
            (CASES.c.suite, suite),
            (RUNS.c.git_branch, branch),
        ):
            if chosen is not None:
                wanted = wanted.where(column == as_stored(chosen))
        points: list[SeriesPoint] = []
        runs: set[str] = set()
        with self._told():
            for row in self._connection.execute(wanted).mappings():
                point = _point(row)
                if limit is not None and point.run not in runs and len(runs) == limit:
                    break
                runs.add(point.run)
                points.append(point)
        return points[::-1]


def _selected(number: Number) -> Select[Any]:
    """The query of the number in every case."""
    cases = RUNS.join(CASES, CASES.c.run_key == RUNS.c.run_key)
    if number.metric in OF_CASES:
        return _of_columns(CASES.c[number.metric], CASES.c.requests_ok).select_from(cases)
    table = RESOURCES if KNOWN[number.metric].per == "resource" else METRICS
    same = (table.c.run_key == CASES.c.run_key) & (table.c.case_no == CASES.c.case_no) & (table.c.name == number.metric)
    return _of_columns(table.c[number.statistic or "mean"], table.c.n).select_from(cases.outerjoin(table, same))


def _of_columns(value: ColumnElement[Any], n: ColumnElement[Any]) -> Select[Any]:
    return select(
        RUNS.c.id.label("run"), RUNS.c.started_at, RUNS.c.git_branch.label("branch"), RUNS.c.git_commit.label("commit"),
        RUNS.c.fingerprint.label("machine"), CASES.c.nodeid, CASES.c.host, CASES.c.suite, CASES.c.scenario,
        CASES.c.model, CASES.c.parameters, CASES.c.outcome, CASES.c.conditions, value.label("value"), n.label("n"),
    )  # fmt: skip


def _point(row: RowMapping) -> SeriesPoint:
    """The point in a row; raises ValueError where damaged."""
    texts: dict[str, Any] = {name: checked_text(row[name], name) for name in _TEXTS}
    texts |= {name: None if row[name] is None else checked_text(row[name], name) for name in _OPTIONAL}
    value = row["value"]
    if value is not None and not isinstance(value, int | float):
        raise ValueError(f"it is damaged: found {str(value)[:_SHOWN]!r}, expected a number")
    infinite = value is not None and value >= INFINITE
    n = row["n"] if isinstance(row["n"], int) else 0
    return SeriesPoint(**texts, value=None if infinite else value, n=n, infinite=infinite)
