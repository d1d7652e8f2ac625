"""Queries of one case over all runs: its measurements and their numbers."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, exists, literal_column, or_, select

from pytest_flperf.history.clocks import latest_start
from pytest_flperf.history.database import Database
from pytest_flperf.history.rows import as_stored
from pytest_flperf.history.selection import LOOK_BACK, Measurement
from pytest_flperf.history.standing import BASELINES, BY_PERSON
from pytest_flperf.history.stored_numbers import INFINITE, OF_CASES, STATISTICS
from pytest_flperf.history.tables import ACCEPTED, CASES, METRICS, RUNS

__all__ = ["CaseQueries"]

_NODE_HEAD: Final = "substr(flperf_cases.nodeid, 1, 400)"
_NODE_TAIL: Final = "substr(flperf_cases.nodeid, 401)"
_NODE_CHARACTERS: Final = 400
"""The head of a node id is indexed, and databases use the index only for exactly this expression.  No condition on the
whole id may be added: SQLite would merge it with the one on the head, and then use no index."""
_FIRST_PAGE: Final = 40
_LARGER: Final = 4
_AT_ONCE: Final = 500
"""Parameters in one statement; SQLite's limit was 999 once."""


class CaseQueries(Database):
    """Queries of one case over all runs of the store."""

    def measurements(
        self,
        nodeid: str,
        fingerprint: str | None = None,
        conditions: str | None = None,
        *,
        host: str = "",
        before: str | None = None,
        began_before: str | None = None,
        but: str | None = None,
    ) -> Iterator[Measurement]:
        """Measurements of a case in earlier runs, newest first, read in pages.

        Args:
            nodeid: The case.
            fingerprint: Of the machine (see ``surroundings.fingerprint``); None: of any.
            conditions: Under which it was measured (see ``conditions.conditions_of``); None: under any.  Where a row
                doesn't say, it counts.
            host: The machine whose case comes first, of a run that measured it on more than one.
            before: The id of a run: only measurements that began before it; None, or a run that is not stored: any.
            began_before: Only measurements that began before this time, written like stored times.
            but: The id of a run that is left out.

        """
        for keys in self._pages(fingerprint, before, began_before, but):
            with self._told():
                rows = self._of_case(nodeid, keys, conditions)
            place = {key: number for number, key in enumerate(keys)}
            rows.sort(key=lambda row: (place[row["run_key"]], row["host"] != as_stored(host), row["case_no"]))
            yield from map(_measurement, rows)

    def numbers(self, measurements: Sequence[Measurement], metric: str, statistic: str | None) -> list[float | None]:
        """One number of each measurement; None where infinite or not stored.

        A number is infinite where failed requests count as that.

        Args:
            measurements: Of this store.
            metric: Its name.
            statistic: Of the metric's values: one of those in the table of metrics; None: the metric is one number
                for a case.

        """
        name = statistic or metric
        if not measurements or name not in (STATISTICS if statistic is not None else OF_CASES):
            return [None] * len(measurements)
        column = (METRICS if statistic is not None else CASES).c[name]
        table = column.table
        wanted = select(table.c.run_key, table.c.case_no, column).where(column < INFINITE)
        if table is METRICS:
            wanted = wanted.where(METRICS.c.name == metric)
        keys = list(dict.fromkeys(key for key, _ in (each.key for each in measurements)))
        found: dict[tuple[int, int], float] = {}
        with self._told():
            for start in range(0, len(keys), _AT_ONCE):
                rows = self._connection.execute(wanted.where(table.c.run_key.in_(keys[start : start + _AT_ONCE])))
                found |= {(run_key, case_no): number for run_key, case_no, number in rows}
        return [found.get(each.key) for each in measurements]

    def earlier(
        self,
        nodeid: str,
        fingerprint: str,
        metric: str,
        limit: int = 20,
        *,
        before: str | None = None,
        statistic: str | None = "p50",
        conditions: str | None = None,
    ) -> tuple[float, ...]:
        """One number of a case in its earlier noise runs, newest first.

        Noise says how much runs of the same thing differ.

        Left out are cases that were cut short, missed a budget or regressed, and numbers that are infinite.

        Args:
            nodeid: As of :meth:`measurements`.
            fingerprint: As of :meth:`measurements`.
            metric: As of :meth:`numbers`.
            limit: How many at most.
            before: As of :meth:`measurements`.
            statistic: As of :meth:`numbers`.
            conditions: As of :meth:`measurements`.

        """
        latest = latest_start()
        rows = islice(self.measurements(nodeid, fingerprint, conditions, before=before), LOOK_BACK)
        noise = (each for each in rows if each.is_noise and each.started_at <= latest)
        found: list[float] = []
        while len(found) < limit and (some := tuple(islice(noise, limit))):
            found += [number for number in self.numbers(some, metric, statistic) if number is not None]
        return tuple(found[:limit])

    def newest_baseline(self, suites: Sequence[str], branch: str | None = None) -> str | None:
        """The id of the newest run that may be a baseline.

        At least one of its cases must be accepted, by itself or by a person.

        Args:
            suites: The refs of the suites, of which the run has at least one; none: any.
            branch: Only runs of this branch.

        """
        of_run = select(CASES.c.run_key).where(CASES.c.run_key == RUNS.c.run_key, _may_be_baseline()).correlate(RUNS)
        wanted = select(RUNS.c.id).where(of_run.exists())
        if suites:
            wanted = wanted.where(
                or_(*(RUNS.c.suites.contains(json.dumps(suite), autoescape=True) for suite in suites))
            )
        if branch is not None:
            wanted = wanted.where(RUNS.c.git_branch == as_stored(branch))
        with self._told():
            newest_first = wanted.order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
            return self._connection.execute(newest_first.limit(1)).scalar()

    def only_baselines(self, kept: Collection[int]) -> set[int]:
        """The keys of other runs that hold a case's only baseline.

        That is, the newest baseline of a case that these runs measured, but without a measurement that may be one.
        Looked for on any branch and on the same branch; within the caller's transaction.
        """
        wanted = (
            select(
                CASES.c.run_key,
                CASES.c.nodeid,
                CASES.c.conditions,
                RUNS.c.fingerprint,
                RUNS.c.git_branch,
                _may_be_baseline().label("may_be"),
            )
            .join(RUNS, RUNS.c.run_key == CASES.c.run_key)
            .where(CASES.c.standing != "unmeasured")
            .order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
        )
        lacking: set[tuple[str | None, ...]] = set()
        has: set[tuple[str | None, ...]] = set()
        needed: set[int] = set()
        for run_key, nodeid, conditions, fingerprint, branch, may_be in self._connection.execute(wanted):
            of_any = (nodeid, conditions, fingerprint)
            for case in (of_any, (*of_any, branch)):
                if run_key in kept:
                    (has if may_be else lacking).add(case)
                elif may_be and case in lacking and case not in has:
                    needed.add(run_key)
                    has.add(case)
        return needed

    def _pages(
        self, fingerprint: str | None, before: str | None, began_before: str | None, but: str | None
    ) -> Iterator[list[int]]:
        """The keys of runs, newest first, in pages.

        Callers mostly need the newest, and a store may have thousands.
        """
        wanted = select(RUNS.c.run_key).order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
        if fingerprint is not None:
            wanted = wanted.where(RUNS.c.fingerprint == fingerprint)
        if but is not None:
            wanted = wanted.where(RUNS.c.id != but)
        if began_before is not None:
            wanted = wanted.where(RUNS.c.started_at < began_before)
        with self._told():
            if before is not None and (row := self._row_of(before)) is not None:
                earlier = RUNS.c.started_at < row["started_at"]
                wanted = wanted.where(
                    earlier | (RUNS.c.started_at == row["started_at"]) & (RUNS.c.run_key < row["run_key"])
                )
        seen, page = 0, _FIRST_PAGE
        while True:
            with self._told():
                keys = list(self._connection.execute(wanted.limit(page).offset(seen)).scalars())
            yield keys
            if len(keys) < page:
                return
            seen, page = seen + page, min(_LARGER * page, _AT_ONCE)

    def _of_case(self, nodeid: str, keys: Sequence[int], conditions: str | None) -> list[RowMapping]:
        node = as_stored(nodeid)
        wanted = (
            select(
                CASES.c.run_key,
                CASES.c.case_no,
                CASES.c.host,
                CASES.c.standing,
                CASES.c.compared_with,
                CASES.c.improved,
                RUNS.c.id,
                RUNS.c.started_at,
                RUNS.c.git_branch,
                ACCEPTED.c.accepted_at,
            )
            .join(RUNS, RUNS.c.run_key == CASES.c.run_key)
            .outerjoin(ACCEPTED, ACCEPTED.c.run_id == RUNS.c.id)
            .where(literal_column(_NODE_HEAD) == node[:_NODE_CHARACTERS])
            .where(literal_column(_NODE_TAIL) == node[_NODE_CHARACTERS:])
            .where(CASES.c.run_key.in_(keys))
        )
        if conditions is not None:
            wanted = wanted.where(CASES.c.conditions.is_(None) | (CASES.c.conditions == conditions))
        return list(self._connection.execute(wanted).mappings()) if keys else []

    def _row_of(self, run_id: str) -> RowMapping | None:
        return self._connection.execute(select(RUNS).where(RUNS.c.id == run_id)).mappings().first()


def _may_be_baseline() -> ColumnElement[bool]:
    """The condition of :attr:`Measurement.may_be_baseline` in SQL."""
    accepted = exists().where(ACCEPTED.c.run_id == RUNS.c.id).correlate(RUNS)
    return CASES.c.standing.in_(BASELINES) | (CASES.c.standing.in_(BY_PERSON) & accepted)


def _measurement(row: RowMapping) -> Measurement:
    standing: Any = row["standing"] or "unmeasured"
    return Measurement(
        run_id=row["id"],
        host=row["host"],
        started_at=row["started_at"],
        standing=standing,
        branch=row["git_branch"],
        accepted=row["accepted_at"] is not None,
        compared_with=row["compared_with"],
        improved=bool(row["improved"]),
        key=(row["run_key"], row["case_no"]),
    )
