"""Recent runs: the headline number of each case of a run in the runs before it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from sqlalchemy import RowMapping, select

from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.history.database import Database
from pytest_flperf.history.earlier_runs import HEADLINES, EarlierRun, EarlierRuns, headline
from pytest_flperf.history.environment import fingerprint
from pytest_flperf.history.rows import as_stored, as_time
from pytest_flperf.history.tables import CASES, METRICS, RUNS
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["MOST_EARLIER", "RecentQueries"]

MOST_EARLIER: Final = 19
"""Earlier runs of a case; with the run itself, twenty."""
_RUNS: Final = 60
"""Runs that are looked at: not each has every case."""
_ROWS: Final = 50_000
_INFINITE: Final = 1e300


class RecentQueries(Database):
    """Queries of the runs before one."""

    def earlier_runs(self, run: Run) -> EarlierRuns:
        """The headline number of a run's cases in earlier runs, at most 19 of each.

        Looked for in the sixty newest runs of the same suites on a machine of the same kind that began before it, under
        the same conditions.  Two queries, whatever the number of cases.  Of a case that a run measured on several
        machines, the one of the same name counts.
        """
        cases = {as_stored(case.nodeid): case for case in reversed(run.cases) if headline(case) is not None}
        conditions = {nodeid: conditions_of(case) for nodeid, case in cases.items()}
        found: dict[str, dict[int, EarlierRun]] = defaultdict(dict)
        for row in self._rows(self._keys(run)) if cases else ():
            case = cases.get(row["nodeid"])
            if case is None or row["conditions"] not in (None, conditions[row["nodeid"]]):
                continue
            of_case, same_host = found[case.nodeid], row["host"] == as_stored(case.host)
            known = row["run_key"] in of_case
            if _is_headline(case, row) and (same_host if known else len(of_case) < MOST_EARLIER):
                of_case[row["run_key"]] = EarlierRun(row["started_at"], row["outcome"], row["p50"])
        return {nodeid: tuple(reversed(runs.values())) for nodeid, runs in found.items()}

    def _keys(self, run: Run) -> list[int]:
        wanted = (
            select(RUNS.c.run_key)
            .where(RUNS.c.suites == json.dumps(list(run.suites)), RUNS.c.fingerprint == fingerprint(run.host))
            .where(RUNS.c.started_at < as_time(run.started_at), RUNS.c.id != run.id)
            .order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc())
            .limit(_RUNS)
        )
        with self._told():
            return list(self._connection.execute(wanted).scalars())

    def _rows(self, keys: list[int]) -> Iterator[RowMapping]:
        """The numbers in these runs, the newest run first."""
        same = (METRICS.c.run_key == CASES.c.run_key) & (METRICS.c.case_no == CASES.c.case_no)
        wanted = (
            select(
                CASES.c.run_key, CASES.c.nodeid, CASES.c.host, CASES.c.conditions, CASES.c.outcome, RUNS.c.started_at,
                METRICS.c.name, METRICS.c.p50,
            )
            .select_from(RUNS.join(CASES, CASES.c.run_key == RUNS.c.run_key).join(METRICS, same))
            .where(RUNS.c.run_key.in_(keys), METRICS.c.name.in_(HEADLINES), METRICS.c.p50 < _INFINITE)
            .order_by(RUNS.c.started_at.desc(), RUNS.c.run_key.desc(), CASES.c.case_no)
            .limit(_ROWS)
        )  # fmt: skip
        with self._told():
            yield from self._connection.execute(wanted).mappings().all() if keys else ()


def _is_headline(case: CaseResult, row: RowMapping) -> bool:
    found = headline(case)
    return found is not None and found[0] == row["name"]
