"""The store, on SQLite and on PostgreSQL: what is stored comes back, nothing is stored by halves."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from history_doubles import ABOUT, eventful_run, rows, run
from sqlalchemy import Connection

from pytest_flperf.history import store as store_module
from pytest_flperf.history.environment import Commit
from pytest_flperf.history.migrations import MIGRATIONS
from pytest_flperf.history.place import StorePlace, StoreUnusableError, store_place
from pytest_flperf.history.store import Pruned, Store, StoreError
from pytest_flperf.history.tables import LOGS, METADATA, METRICS, MODELS, OF_RUNS, RESOURCES, RUNS
from pytest_flperf.results.reader import run_of
from pytest_flperf.results.records import Run

STORING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from history_doubles import run
from pytest_flperf.history.place import store_place
from pytest_flperf.history.store import Store
first, count = int(sys.argv[3]), int(sys.argv[4])
for number in range(first, first + count):
    with Store(store_place(sys.argv[2], Path())) as store:
        assert store.add(run(number)) == "added"
"""
KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from history_doubles import run
from pytest_flperf.history import store as store_module
from pytest_flperf.history.place import store_place
def wait(run):
    print("in the middle", flush=True)
    time.sleep(60)
with store_module.Store(store_place(sys.argv[2], Path())) as store:
    store.add(run(1))
    store_module.log_rows = wait
    store.add(run(2))
"""


def written(place: StorePlace) -> str:
    """How to name the place to another process."""
    return place.url or str(place.path)


@pytest.mark.parametrize("kept", [run(), eventful_run(), run(cases=())], ids=["plain", "eventful", "empty"])
def test_round_trip(place: StorePlace, kept: Run) -> None:
    """The whole results come back as they were, whatever texts and numbers they hold."""
    with Store(place) as store:
        assert store.add(kept, ABOUT) == "added"
    with Store(place) as store:
        text = store.document(kept.id)
        assert text is not None
        assert json.loads(text) == json.loads(json.dumps(kept.to_dict()))
        assert run_of(text, "the store").to_dict() == kept.to_dict()
        (listed,) = store.runs()
    assert (listed.id, listed.status, listed.partial) == (kept.id, kept.status, kept.partial)
    assert (listed.cases, listed.suites) == (len(kept.cases), kept.suites)
    assert (listed.git_commit, listed.git_branch, listed.ci_job, listed.folder) == (
        "a" * 40, "main", "1/1/test", "/somewhere/run",
    )  # fmt: skip


def test_tables(place: StorePlace) -> None:
    """Metrics, resources, models and lines have rows of their own."""
    kept = eventful_run()
    with Store(place) as store:
        store.add(kept)
    metrics = {(row["case_no"], row["name"]): row for row in rows(place, METRICS)}
    ttft = kept.cases[0].metrics["ttft_ms"]
    assert metrics[0, "ttft_ms"] == {
        "run_key": 1, "case_no": 0, "name": "ttft_ms", "n": 11,
        **{name: getattr(ttft, name) for name in ("mean", "p50", "p90", "p95", "p99", "min", "max")},
    }  # fmt: skip
    assert metrics[1, "ttft_ms"]["p99"] == math.inf
    assert [row["mean"] for row in rows(place, RESOURCES)] == [100.0, 100.0]
    assert [row["load_s"] for row in rows(place, MODELS)] == [1.25, 1.25]
    kinds = [(row["case_no"], row["kind"]) for row in rows(place, LOGS)]
    assert kinds == [(None, "note"), (None, "note"), (1, "warning"), (1, "note"), (1, "failure")]
    assert rows(place, LOGS)[2]["text"] == "hot"


def test_the_same_run_again(place: StorePlace) -> None:
    """The same results change nothing; others replace them and keep commit, job and folder; another run is refused."""
    with Store(place) as store:
        store.add(run(status="interrupted"), ABOUT)
        assert store.add(run(status="interrupted")) == "known"
        assert store.add(run()) == "replaced"
        (only,) = store.runs()
        assert (only.status, only.git_branch, only.folder) == ("passed", "main", "/somewhere/run")
        with pytest.raises(StoreError, match="another run has that id"):
            store.add(run(started_at="2025-01-01T00:00:00+00:00"))
        assert store.runs() == [only]
    assert len(rows(place, METRICS)) == 6


def test_listing(place: StorePlace) -> None:
    """Newest first, by suite, by branch, so many at most; ids by how they begin."""
    others = replace(ABOUT, commit=Commit(None, "other"))
    with Store(place) as store:
        for number in (2, 0, 1):
            store.add(run(number, "default"), ABOUT)
        store.add(run(3, "quick"), others)
        newest_first = [run(3, "quick").id, run(2).id, run(1).id, run(0).id]
        assert [each.id for each in store.runs()] == newest_first
        assert [each.id for each in store.runs(2)] == newest_first[:2]
        assert [each.id for each in store.runs(suite="default")] == newest_first[1:]
        assert [each.id for each in store.runs(suite="flperf:quick")] == newest_first[:1]
        assert [each.id for each in store.runs(branch="other")] == newest_first[:1]
        assert store.ids("latest") == newest_first[:1]
        assert store.ids(run(1).id[:15]) == [run(1).id]
        assert store.ids("2026") == newest_first[::-1]
        assert store.ids("%") == []
        assert store.document("nosuch") is None


def test_prune(place: StorePlace) -> None:
    """The newest stay; of the others not a row is left."""
    with Store(place) as store:
        for number in range(5):
            store.add(run(number))
        assert store.prune(2).gone == [run(number).id for number in range(3)]
        assert [each.id for each in store.runs()] == [run(4).id, run(3).id]
        assert store.prune(2) == Pruned([], [])
        assert store.document(run(4).id)
        assert store.prune(0).gone == [run(3).id, run(4).id]
    assert [rows(place, table) for table in OF_RUNS] == [[]] * len(OF_RUNS)


def test_tables_are_those_of_the_code(place: StorePlace) -> None:
    """What the migrations made has the columns that the code writes and reads, no more and no fewer."""
    Store(place).close()
    engine = sqlalchemy.create_engine(place.url or f"sqlite:///{place.path}", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        found = sqlalchemy.inspect(connection)
        assert set(found.get_table_names()) == set(METADATA.tables)
        for name, table in METADATA.tables.items():
            columns = {each["name"]: each["nullable"] for each in found.get_columns(name)}
            keys = set(found.get_pk_constraint(name)["constrained_columns"])
            assert set(columns) == {each.name for each in table.columns}
            assert keys == {each.name for each in table.primary_key}
            needed = {each.name for each in table.columns if not each.nullable}
            assert {each for each, nullable in columns.items() if not nullable} | keys == needed | keys


def test_migrations(place: StorePlace) -> None:
    """A store of the version before comes to the newest with its runs; a step that fails changes nothing."""

    def add_label(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE flperf_runs ADD COLUMN label TEXT")
        connection.exec_driver_sql("UPDATE flperf_runs SET label = id")

    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE flperf_runs ADD COLUMN half TEXT")
        connection.exec_driver_sql("UPDATE flperf_runs SET nosuch = 1")

    with Store(place) as store:
        store.add(eventful_run(), ABOUT)
        before = store.runs()
    engine = sqlalchemy.create_engine(place.url or f"sqlite:///{place.path}", poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:  # as the version before left it
        connection.exec_driver_sql("ALTER TABLE flperf_cases DROP COLUMN compared_with")
        connection.exec_driver_sql("ALTER TABLE flperf_cases DROP COLUMN improved")
        connection.exec_driver_sql("DELETE FROM flperf_schema WHERE version = 6")
    with Store(place) as store:
        assert store.runs() == before
        assert store.add(eventful_run()) == "known"
        store.add(run(9))
    with pytest.raises(StoreError, match="nosuch"):
        Store(place, migrations=(*MIGRATIONS, add_label, broken))
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT * FROM flperf_runs").mappings().all()
        versions = connection.exec_driver_sql("SELECT version FROM flperf_schema ORDER BY version").scalars().all()
    assert [row["label"] == row["id"] and "half" not in row for row in found] == [True, True]
    assert versions == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(StoreError, match="tables of version 7, but this flperf only knows 6: a newer one wrote it"):
        Store(place)


def test_writers_at_once(place: StorePlace) -> None:
    """Processes that store into a new store at the same time wait for each other; every run is there, whole."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", STORING, here, written(place)]
    writers = [subprocess.Popen([*command, str(10 * each), "4"]) for each in range(4)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    with Store(place) as store:
        runs = store.runs()
        assert sorted(each.id for each in runs) == sorted(run(10 * a + b).id for a in range(4) for b in range(4))
        assert all(store.document(each.id) for each in runs)
    assert len({row["run_key"] for row in rows(place, RUNS)}) == 16


def test_a_kill_in_the_middle(place: StorePlace) -> None:
    """Of a run that was being stored nothing is left; what was there is there, and the next one is stored at once."""
    here = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, here, written(place)], stdout=subprocess.PIPE, text=True
    ) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "in the middle\n"
        it.kill()
    with Store(place) as store:
        assert [each.id for each in store.runs()] == [run(1).id]
        assert store.add(run(2)) == "added"
    assert len(rows(place, METRICS)) == 12


def test_locked(place: StorePlace) -> None:
    """Another one writes for too long: said so, and nothing is stored."""
    with Store(place) as first, Store(place, busy_s=0.05) as second, first._writing():
        with pytest.raises(StoreError, match="another process has been writing to it for too long"):
            second.add(run())
        assert second.runs() == []


def test_damaged_results(sqlite: StorePlace) -> None:
    """Results that are not what was stored are not shown as if they were."""
    with Store(sqlite) as store:
        store.add(run())
        for change in ("content = X'00'", "encoding = 'other'", "digest = 'x'", "content = substr(content, 1, 100)"):
            before = rows(sqlite, store_module.DOCUMENTS)[0]
            store._connection.exec_driver_sql(f"UPDATE flperf_documents SET {change}")  # noqa: S608
            with pytest.raises(StoreError, match="can't be read: its "):
                store.document(run().id)
            store._connection.execute(sqlalchemy.update(store_module.DOCUMENTS).values(before))
        assert store.document(run().id)


def test_unreachable() -> None:
    """A PostgreSQL that nobody serves: what was tried and why it failed, without the password."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    place = store_place("postgresql+psycopg://me:hunter2@127.0.0.1:1/db", Path())
    assert place is not None
    with pytest.raises(StoreError, match=r"postgresql\+psycopg://\*\*\*@127.0.0.1:1/db: ") as told:
        Store(place)
    assert "hunter2" not in str(told.value)


def cut(place: StorePlace) -> None:
    """End every connection to a PostgreSQL, as a restart of it does."""
    import psycopg

    url = place.url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flperf'")


def test_a_connection_that_is_cut(postgres: StorePlace) -> None:
    """What was under way fails and says so; the next call has a new connection, and a run is stored in spite of it."""
    with Store(postgres) as store:
        store.add(run(1))
        cut(postgres)
        with pytest.raises(StoreUnusableError, match=": the connection was lost") as told:
            store.runs()
        assert told.value.lost
        assert [each.id for each in store.runs()] == [run(1).id]
        cut(postgres)
        assert store.add(run(2)) == "added"
        assert len(store.runs()) == 2


def test_an_answer_to_a_commit_that_is_lost(postgres: StorePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is there, and counts as added by this call."""
    with Store(postgres) as store:
        writing = store._writing
        ends = iter([True, False])

        @contextlib.contextmanager
        def lost_at_the_end() -> Iterator[None]:
            with writing():
                yield
            if next(ends):
                cut(postgres)
                store.runs()

        monkeypatch.setattr(store, "_writing", lost_at_the_end)
        assert store.add(run(1)) == "added"
        assert len(store.runs()) == 1


def test_a_connection_that_was_cut_while_it_rested(postgres: StorePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it is tried before it is used."""
    monkeypatch.setattr("pytest_flperf.history.database._IDLE_S", 0.0)
    with Store(postgres) as store:
        cut(postgres)
        assert store.runs() == []


def test_a_wait_is_told(sqlite: StorePlace) -> None:
    """Once, while it lasts."""
    lines: list[str] = []
    with Store(sqlite) as first, Store(sqlite, busy_s=1.5, on_wait=lines.append) as second:
        assert second.add(run(1)) == "added"
        with first._writing():
            for _ in range(2):
                with pytest.raises(StoreUnusableError):
                    second.add(run(2))
    assert lines == [f"waiting for {sqlite.shown}: another process may be using it"]


def test_a_fault_of_one_run_is_none_of_the_store(place: StorePlace) -> None:
    """Another run with its id is refused, and the store can be used."""
    with Store(place) as store:
        store.add(run(1))
        with pytest.raises(StoreError, match="another run has that id") as told:
            store.add(replace(run(1), started_at=run(2).started_at))
        assert not isinstance(told.value, StoreUnusableError)
        assert store.add(run(2)) == "added"
