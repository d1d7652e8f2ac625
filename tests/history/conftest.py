"""Both kinds of stores: a SQLite file, and a PostgreSQL that is started for the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_flperf.history.place import StorePlace, store_place


@pytest.fixture
def postgres(empty_postgres: str) -> StorePlace:
    """An empty PostgreSQL."""
    place = store_place(empty_postgres, Path())
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
