"""Migrations of the store's tables: numbered steps, one transaction each.

A released step is never changed; a new one is added at the end, and ``tables`` is changed with it.  The SQL runs on
both SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, TypeAlias

from sqlalchemy import Connection, text

from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.history.rows import read_document
from pytest_flperf.history.standing import standing_of
from pytest_flperf.results.records import CaseResult

__all__ = ["MIGRATIONS", "Migration"]

Migration: TypeAlias = Callable[[Connection], None]


def _first(connection: Connection) -> None:
    """Create all tables."""
    for statement in _FIRST:
        connection.exec_driver_sql(statement.replace("@BLOB", _blob(connection)).replace("@FLOAT", "DOUBLE PRECISION"))


def _of_cases(connection: Connection) -> None:
    """Add indexes for runs by branch and cases by suite."""
    connection.exec_driver_sql("CREATE INDEX flperf_runs_by_branch ON flperf_runs (git_branch, started_at)")
    connection.exec_driver_sql("CREATE INDEX flperf_cases_by_suite ON flperf_cases (suite, run_key)")


def _of_values(connection: Connection) -> None:
    """Add values of single requests, baselines, and an index of node ids.

    Comparisons need them.  The index holds only the head of a node id: PostgreSQL takes 2,704 bytes, and a node id may
    have more.
    """
    blob = _blob(connection)
    connection.exec_driver_sql(
        f"""CREATE TABLE flperf_values (run_key BIGINT NOT NULL, case_no INTEGER NOT NULL, name TEXT NOT NULL,
        n INTEGER NOT NULL, content {blob} NOT NULL, PRIMARY KEY (run_key, case_no, name))"""
    )
    connection.exec_driver_sql(
        "CREATE TABLE flperf_baselines (name TEXT PRIMARY KEY, run_id TEXT NOT NULL, set_at TEXT NOT NULL)"
    )
    connection.exec_driver_sql("CREATE INDEX flperf_cases_by_node ON flperf_cases (substr(nodeid, 1, 400), run_key)")


def _of_conditions(connection: Connection) -> None:
    """Add the conditions of a case: measurements under others are no history."""
    connection.exec_driver_sql("ALTER TABLE flperf_cases ADD COLUMN conditions TEXT")


def _of_standings(connection: Connection) -> None:
    """Add standings of cases, and the runs that a person accepted.

    A failed run must not become a baseline because it is older than this step: for the newest runs, standings are
    computed from the stored results.  In older runs, and where results can't be read, a passed case is noise and no
    baseline.
    """
    connection.exec_driver_sql("CREATE TABLE flperf_accepted (run_id TEXT PRIMARY KEY, accepted_at TEXT NOT NULL)")
    connection.exec_driver_sql("ALTER TABLE flperf_cases ADD COLUMN standing TEXT")
    connection.exec_driver_sql(
        """UPDATE flperf_cases SET standing = CASE WHEN outcome = 'skipped' OR partial OR requests_ok = 0
        THEN 'unmeasured' WHEN outcome = 'passed' THEN 'undecided' ELSE 'failed' END"""
    )
    newest = text("SELECT run_key FROM flperf_runs ORDER BY started_at DESC, run_key DESC LIMIT :most")
    for (run_key,) in connection.execute(newest, {"most": _READ_AGAIN}).fetchall():
        _read_again(connection, run_key)


def _of_levels(connection: Connection) -> None:
    """Add the compared run and whether the case improved.

    Steps between levels are no noise.
    """
    connection.exec_driver_sql("ALTER TABLE flperf_cases ADD COLUMN compared_with TEXT")
    connection.exec_driver_sql("ALTER TABLE flperf_cases ADD COLUMN improved BOOLEAN")


_READ_AGAIN: Final = 1_000
"""How many runs' results are read for the standings of their cases; each takes 2 to 3 ms."""


def _read_again(connection: Connection, run_key: int) -> None:
    wanted = text("SELECT encoding, digest, content FROM flperf_documents WHERE run_key = :run_key")
    row = connection.execute(wanted, {"run_key": run_key}).mappings().first()
    try:
        records = json.loads(read_document(dict(row)))["cases"] if row is not None else []
        cases = [CaseResult.from_dict(record) for record in records]
        found = [
            {"run_key": run_key, "case_no": number, "standing": standing_of(case), "conditions": conditions_of(case)}
            for number, case in enumerate(cases)
        ]
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged: it keeps what its outcome says
        return
    if found:
        connection.execute(
            text(
                "UPDATE flperf_cases SET standing = :standing, conditions = :conditions "
                "WHERE run_key = :run_key AND case_no = :case_no"
            ),
            found,
        )


def _blob(connection: Connection) -> str:
    return "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"


MIGRATIONS: Final[tuple[Migration, ...]] = (_first, _of_cases, _of_values, _of_conditions, _of_standings, _of_levels)
"""From an empty database to the newest version, which is their number."""

_FIRST: Final = (
    """CREATE TABLE flperf_runs (
        run_key BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, started_at TEXT NOT NULL, finished_at TEXT,
        status TEXT NOT NULL, partial BOOLEAN NOT NULL, suites TEXT NOT NULL, command TEXT NOT NULL,
        cases INTEGER NOT NULL, cases_passed INTEGER NOT NULL, host TEXT, fingerprint TEXT NOT NULL,
        versions TEXT NOT NULL, git_commit TEXT, git_branch TEXT, ci_system TEXT, ci_job TEXT, ci_url TEXT,
        folder TEXT, stored_at TEXT NOT NULL)""",
    "CREATE INDEX flperf_runs_by_time ON flperf_runs (started_at, run_key)",
    """CREATE TABLE flperf_documents (
        run_key BIGINT PRIMARY KEY, encoding TEXT NOT NULL, digest TEXT NOT NULL, content @BLOB NOT NULL)""",
    """CREATE TABLE flperf_cases (
        run_key BIGINT NOT NULL, case_no INTEGER NOT NULL, nodeid TEXT NOT NULL, host TEXT NOT NULL,
        suite TEXT NOT NULL, scenario TEXT NOT NULL, model TEXT NOT NULL, parameters TEXT NOT NULL,
        outcome TEXT NOT NULL, message TEXT NOT NULL, partial BOOLEAN NOT NULL, requests INTEGER NOT NULL,
        requests_ok INTEGER NOT NULL, error_rate @FLOAT, wall_s @FLOAT, request_rate @FLOAT, goodput @FLOAT,
        tps_total @FLOAT, PRIMARY KEY (run_key, case_no))""",
    """CREATE TABLE flperf_metrics (
        run_key BIGINT NOT NULL, case_no INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, mean @FLOAT,
        p50 @FLOAT, p90 @FLOAT, p95 @FLOAT, p99 @FLOAT, min @FLOAT, max @FLOAT,
        PRIMARY KEY (run_key, case_no, name))""",
    """CREATE TABLE flperf_resources (
        run_key BIGINT NOT NULL, case_no INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, mean @FLOAT,
        min @FLOAT, max @FLOAT, PRIMARY KEY (run_key, case_no, name))""",
    """CREATE TABLE flperf_models (
        run_key BIGINT NOT NULL, model_no INTEGER NOT NULL, name TEXT NOT NULL, backend TEXT, base_url TEXT,
        model_id TEXT, variant TEXT, device TEXT, execution_provider TEXT, transport TEXT, size_mb INTEGER,
        load_s @FLOAT, model_rss_mb @FLOAT, PRIMARY KEY (run_key, model_no))""",
    """CREATE TABLE flperf_logs (
        run_key BIGINT NOT NULL, line_no INTEGER NOT NULL, case_no INTEGER, kind TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (run_key, line_no))""",
)
