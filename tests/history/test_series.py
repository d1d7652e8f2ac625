"""Series: one number over the stored runs, and what is infinite or damaged."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from history_doubles import ABOUT, case, run

from pytest_flperf import cli
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.series import Number
from pytest_flperf.history.store import Store, StoreError

P99 = Number("ttft_ms", "p99")
SERIES = ("history", "--scenario=case-0", "--metric=ttft_ms.p99")


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs of one case; in the second more than one request of a hundred failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    path = tmp_path / "reports" / "history.db"
    path.parent.mkdir()
    with Store(StorePlace("sqlite", str(path), path)) as store:
        for number, p99 in enumerate((90.0, math.inf, 80.0)):
            slow = replace(case().metrics["ttft_ms"], p99=p99, as_inf=int(math.isinf(p99)))
            store.add(run(number, cases=(case(metrics={"ttft_ms": slow}), case(1, model="other"))), ABOUT)
    return path


def points(path: Path, number: Number = P99, **chosen: Any) -> list[tuple[str, float | None, bool]]:
    """What a store says of a number."""
    with Store(StorePlace("sqlite", str(path), path)) as store:
        return [(each.scenario, each.value, each.infinite) for each in store.series(number, **chosen)]


def test_every_case(stored: Path) -> None:
    """Oldest first; of one scenario, of one model, of the newest runs."""
    of_case = [("case-0", 90.0, False), ("case-0", None, True), ("case-0", 80.0, False)]
    assert points(stored, scenario="case-0") == points(stored, model="m") == of_case
    assert points(stored, limit=1, scenario="case-0") == of_case[2:]
    assert len(points(stored)) == 6
    assert len(points(stored, limit=2)) == 4
    assert points(stored, branch="nosuch") == points(stored, suite="nosuch") == []
    (found, *_) = points(stored, Number("error_rate", ""), scenario="case-1")
    assert found == ("case-1", 0.0, False)
    assert {each[1] for each in points(stored, Number("server_rss_mb", "max"))} == {110.0}


@pytest.mark.usefixtures("stored")
def test_infinite(capsys: pytest.CaptureFixture[str]) -> None:
    """Shown as that, without a bar; null in JSON; never the best."""
    assert cli.main([*SERIES, "--plot"]) == 0
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert [(row.rstrip(" █▏▎▍▌▋▊▉").split()[-1], "█" in row) for row in rows] == [
        ("90.0", True), ("∞", False), ("80.0", True),
    ]  # fmt: skip
    assert cli.main([*SERIES, "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [(each["value"], each["infinite"]) for each in found] == [(90.0, False), (None, True), (80.0, False)]
    assert cli.main([*SERIES, "--best", "--json"]) == 0
    assert [each["value"] for each in json.loads(capsys.readouterr().out)] == [80.0]


@pytest.mark.parametrize("value", [b"\xff\x00", "x", "[" * 5_000])
@pytest.mark.parametrize(
    ("table", "column"),
    [("runs", "started_at"), ("runs", "git_branch"), ("cases", "nodeid"), ("cases", "model"), ("metrics", "p99")],
)
def test_damaged(stored: Path, table: str, column: str, value: Any) -> None:
    """A value of another type is never taken for one; a text is a text."""
    with sqlite3.connect(stored) as connection:
        connection.execute(f"UPDATE flperf_{table} SET {column} = ?", (value,))  # noqa: S608
    connection.close()
    if isinstance(value, str) and column != "p99":
        assert len(points(stored)) == 6
    else:
        with pytest.raises(StoreError, match="damaged"):
            points(stored)
