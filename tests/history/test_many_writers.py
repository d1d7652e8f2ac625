"""Many processes at one store: PostgreSQL and SQLite, new, of an older version, with few rights."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from history_doubles import run
from test_store import written

from pytest_flperf.history.place import StorePlace, StoreUnusableError, store_place
from pytest_flperf.history.store import Store, StoreError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="fifty processes that import the store take a minute")

WRITERS = 50
HISTORY = Path(__file__).parents[2] / "docs" / "history.md"
_OF_CASES = ("conditions", "standing", "compared_with", "improved")
"""Columns of a case that later versions added."""
AT_ONCE = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from history_doubles import run
from pytest_flperf.history.place import store_place
from pytest_flperf.history.store import Store
import sqlalchemy.dialects.postgresql, sqlalchemy.dialects.sqlite
try:
    import psycopg
except ImportError:
    pass
gate, opened = os.pipe()
writers = []
for number in range(int(sys.argv[3])):
    pid = os.fork()
    if pid == 0:
        os.close(opened)
        os.read(gate, 1)  # until the parent lets go
        status = 1
        try:
            for each in range(2):
                with Store(store_place(sys.argv[2], Path())) as store:
                    assert store.add(run(2 * number + each)) == "added"
            status = 0
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
        os._exit(status)
    writers.append(pid)
os.close(opened)
sys.exit(sum(os.waitpid(pid, 0)[1] != 0 for pid in writers))
"""


def store_at_once(
    place: StorePlace, writers: int = WRITERS, url: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Each of the processes opens the store twice, and adds a run each time."""
    arguments = [str(Path(__file__).parent), url or written(place), str(writers)]
    return subprocess.run(
        [sys.executable, "-c", AT_ONCE, *arguments], capture_output=True, text=True, timeout=170, check=False
    )


def statements(place: StorePlace, *texts: str) -> list[Any]:
    """Run SQL as the owner."""
    engine = sqlalchemy.create_engine(place.url or f"sqlite:///{place.path}", poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        return [connection.exec_driver_sql(text.replace("%", "%%")) for text in texts]


def to_first_version(place: StorePlace) -> None:
    """Take the store back to its first version, with what is stored."""
    statements(
        place,
        *(f"ALTER TABLE flperf_cases DROP COLUMN {each}" for each in _OF_CASES),
        *(f"DROP TABLE flperf_{each}" for each in ("values", "baselines", "accepted")),
        *(f"DROP INDEX flperf_{each}" for each in ("runs_by_branch", "cases_by_suite", "cases_by_node")),
        "DELETE FROM flperf_schema WHERE version > 1",
    )  # fmt: skip


@pytest.mark.parametrize("older", [False, True], ids=["new", "of the first version"])
def test_fifty_writers(place: StorePlace, older: bool) -> None:
    """All find no store, or an old one, at the same time: it is migrated once, and no run is lost."""
    before = []
    if older:
        before = [run(1_000 + number) for number in range(20)]
        with Store(place) as store:
            for each in before:
                store.add(each)
        to_first_version(place)
    done = store_at_once(place)
    assert (done.returncode, done.stderr) == (0, "")
    with Store(place) as store:
        ids = {each.id for each in store.runs()}
        assert ids == {run(number).id for number in range(2 * WRITERS)} | {each.id for each in before}
        assert all(store.document(run_id) for run_id in ids)
        versions = store._connection.exec_driver_sql("SELECT version FROM flperf_schema ORDER BY version").scalars()
        assert versions.all() == [1, 2, 3, 4, 5, 6]
        count = store._connection.exec_driver_sql("SELECT count(*), count(standing) FROM flperf_cases").one()
    assert tuple(count) == (2 * len(ids), 2 * len(ids))


def test_a_line_that_gets_on(sqlite: StorePlace) -> None:
    """Others that write one after the other are waited for longer than one that holds the store."""
    with Store(sqlite) as store:
        store.add(run(0))
    begun = threading.Event()

    def others() -> None:
        with Store(sqlite) as store:
            for number in range(1, 7):
                with store._writing():
                    begun.set()
                    statement = sqlalchemy.text("UPDATE flperf_runs SET folder = :folder")
                    store._connection.execute(statement, {"folder": str(number)})
                    time.sleep(0.15)

    thread = threading.Thread(target=others)
    thread.start()
    assert begun.wait(60)
    with Store(sqlite, busy_s=0.2) as last:
        assert last.add(run(1)) == "added"
    thread.join()


def test_more_writers_than_connections(postgres: StorePlace) -> None:
    """A server that takes few connections: the others come when these have left."""
    statements(
        postgres,
        "DROP ROLE IF EXISTS crowd",
        "CREATE ROLE crowd LOGIN CONNECTION LIMIT 3",
        "GRANT ALL ON SCHEMA public TO crowd",
    )
    done = store_at_once(postgres, 12, re.sub("//[^@]*@", "//crowd@", postgres.url))
    assert (done.returncode, done.stderr) == (0, "")
    with Store(postgres) as store:
        assert len(store.runs()) == 24


@pytest.fixture
def adder(postgres: StorePlace) -> StorePlace:
    """What the documentation says to grant to a role that may only add runs."""
    (found,) = [
        text for text in re.findall("```sql\n(.*?)```", HISTORY.read_text("utf-8"), re.S) if "CREATE ROLE" in text
    ]
    statements(postgres, "DROP OWNED BY flperf_ci", "DROP ROLE flperf_ci") if _has_role(postgres) else None
    Store(postgres).close()
    statements(postgres, *filter(str.strip, found.split(";")))
    url = re.sub("//[^@]*@", "//flperf_ci:change-me@", postgres.url)
    place = store_place(url, Path())
    assert place is not None
    return place


def _has_role(place: StorePlace) -> bool:
    engine = sqlalchemy.create_engine(place.url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = 'flperf_ci'").first() is not None


def test_a_role_that_may_only_add(adder: StorePlace, postgres: StorePlace) -> None:
    """It adds and reads; what would change or remove something is refused with what it may not do."""
    with Store(adder) as store:
        assert store.add(run(501, status="interrupted")) == "added"
        assert store.add(run(501, status="interrupted")) == "known"
        for refused, what in (
            (lambda: store.add(run(501)), f"replace run {run(501).id}, which is stored with other results"),
            (lambda: store.prune(0), "prune"),
            (lambda: store.set_baseline("x", run(501).id), "name a baseline"),
            (lambda: store.remove_baseline("x"), "remove the name of a baseline"),
            (lambda: store.accept(run(501).id), "accept a run"),
            (lambda: store.unaccept(run(501).id), "take an acceptance back"),
        ):
            with pytest.raises(
                StoreError, match=f"its role may only add runs, and can't {what}: use one that may "
            ) as told:
                refused()
            assert not isinstance(told.value, StoreUnusableError)  # an import goes on with the next run
        assert store.add(run(502)) == "added"
        for statement in (
            "UPDATE flperf_runs SET status = 'passed'",
            "DELETE FROM flperf_runs",
            "INSERT INTO flperf_accepted VALUES ('x', 'y')",
            "INSERT INTO flperf_baselines VALUES ('x', 'y', 'z')",
            "INSERT INTO flperf_schema VALUES (99, 'z')",
            "DROP TABLE flperf_runs",
            "CREATE TABLE mine (x INTEGER)",
        ):
            with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"permission denied|must be owner"):
                store._connection.exec_driver_sql(statement)
    done = store_at_once(adder, 10)
    assert (done.returncode, done.stderr) == (0, "")
    with Store(postgres) as store:
        assert len(store.prune(0).gone) == 22


def test_a_role_that_may_only_add_can_not_migrate(adder: StorePlace, postgres: StorePlace) -> None:
    """An older store, or none, needs its owner first; then it works, without new grants."""
    to_first_version(postgres)
    with pytest.raises(
        StoreUnusableError,
        match=r"its tables are of version 1, this flperf needs version 6, and its role may not change",
    ):
        Store(adder)
    Store(postgres).close()
    with Store(adder) as store:
        assert store.add(run(1)) == "added"
    statements(
        postgres, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "GRANT USAGE ON SCHEMA public TO flperf_ci"
    )
    with pytest.raises(
        StoreUnusableError, match=r"it has no tables yet, this flperf needs version 6, .* as their owner"
    ):
        Store(adder)
