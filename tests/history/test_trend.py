"""``flperf trend``: what it shows of stored runs, what it claims, and what it writes."""

from __future__ import annotations

import json
import math
import random
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from history_doubles import ABOUT, HOST, case, run
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf import cli
from pytest_flperf.history.environment import Commit
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.series import SeriesPoint
from pytest_flperf.history.store import Store
from pytest_flperf.history.trends import trends_of
from pytest_flperf.report.html.trend_chart import TrendChart, trend_svg
from pytest_flperf.report.html.trend_view import trend_page
from pytest_flperf.report.terminal.trend_table import sparkline, trend_table
from pytest_flperf.report.trend_words import as_shown, change_words, unit_words
from pytest_flperf.results.load import Load
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult, Requests, Run
from pytest_flperf.stats.descriptive.summary import distribution

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def measured(run_number: int, level: float, seed: int = 0, **changes: Any) -> tuple[CaseResult, tuple[float, ...]]:
    """A case of 60 requests around a level, and their values."""
    source = random.Random(1_000 * seed + run_number)
    level *= source.gauss(1, 0.01)
    values = tuple(source.gauss(level, level / 20) for _ in range(60))
    found = distribution(values)
    assert found is not None
    about = {"requests": Requests(total=60, ok=60), "metrics": {"ttft_ms": found}, "budgets": (), **changes}
    return case(**about), values


def stored(path: Path, runs: Sequence[tuple[Run, tuple[float, ...]]], branch: str = "main") -> None:
    """Store runs of one case each."""
    path.parent.mkdir(exist_ok=True)
    with Store(StorePlace("sqlite", str(path), path)) as store:
        for each, values in runs:
            values_of = {(found.nodeid, found.host): {"ttft_ms": values} for found in each.cases}
            store.add(each, replace(ABOUT, commit=Commit("b" * 40, branch)), values_of)


def history(levels: Sequence[float], first: int = 0, **changes: Any) -> list[tuple[Run, tuple[float, ...]]]:
    """Runs of a case at these levels, one a day."""
    found = []
    for number, level in enumerate(levels, first):
        each, values = measured(number, level, **changes)
        found.append((run(1_440 * number, cases=(each,)), values))
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a store will be, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "reports" / "history.db"


def shown(capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    """What the command prints."""
    assert cli.main(["trend", *more]) == 0
    return capsys.readouterr().out.splitlines()


def as_json(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """What it prints as JSON, without infinities."""
    assert cli.main(["trend", "--json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return found


@pytest.mark.parametrize(
    ("levels", "word"),
    [([50.0] * 12 + [80.0] * 4, "slower"), ([80.0] * 12 + [50.0] * 4, "faster"), ([50.0] * 16, ""), ([50, 52], "")],
)
def test_the_word(place: Path, capsys: pytest.CaptureFixture[str], levels: list[float], word: str) -> None:
    """Slower or faster where compare would say so; no word for noise, or where two runs are all there is."""
    stored(place, history(levels))
    title, head, _, row, *more = shown(capsys)
    assert title == "ttft_ms.p50, ms: lower is better"
    assert ("verdict" in head.split()) is bool(word)
    assert (word in row.split()) is bool(word)
    assert row.split()[:3] == ["case-0", "m", str(len(levels))]
    assert not any(other in row for other in {"slower", "faster"} - {word})
    assert bool(more) is bool(word)
    (found,) = as_json(capsys)["cases"]
    assert found["verdict"] == {"slower": "regressed", "faster": "improved"}.get(word, found["verdict"])
    assert found["verdict"] in ({"regressed", "improved"} if word else {"unchanged", "undecided"})
    assert found["change_pct"] == pytest.approx(100 * (found["last"]["value"] / found["start"]["value"] - 1))
    assert [point["run"] for point in found["points"]] == [each.id for each, _ in history(levels)]


@pytest.mark.parametrize("other", ["machine", "load"])
def test_nothing_across_machines_and_conditions(place: Path, capsys: pytest.CaptureFixture[str], other: str) -> None:
    """No word and no change: it begins with the oldest run that is like the newest, and others are counted."""
    before, after = history([50.0] * 12), history([90.0] * 2, 12, load=Load(concurrency=8) if other == "load" else None)
    if other == "machine":
        after = [(replace(each, host=replace(HOST, cpu="another")), values) for each, values in after]
    stored(place, [*before, *after])
    _, head, _, row, told = shown(capsys)
    assert "slower" not in row
    assert head.split()[2:4] == ["runs", "!="]
    assert row.split()[2:4] == ["14", "12"]
    assert row.split()[-1].startswith("×" * 12)
    assert told.startswith("!=, ×: other load, settings, prompts, server or machine")
    (found,) = as_json(capsys)["cases"]
    assert found["verdict"] != "regressed"
    assert found["start"]["run"] == after[0][0].id
    assert [point["comparable"] for point in found["points"]] == [False] * 12 + [True] * 2
    (found,) = as_json(capsys, f"--baseline={before[0][0].id}")["cases"]
    assert (found["verdict"], found["change_pct"]) == ("not_compared", None)
    assert " %" not in shown(capsys, f"--baseline={before[0][0].id}", "-o", "t.svg")[3]
    picture = Path("t.svg").read_text(encoding="utf-8")
    assert "not comparable with 5" in picture
    assert picture.count('opacity=".4"') == 12


def test_what_is_chosen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest runs, a branch, a scenario, a model; the change from a run by name."""
    stored(place, history([50.0, 51.0, 52.0, 53.0]))
    stored(place, history([70.0], 4), "other")
    assert len(as_json(capsys)["cases"][0]["points"]) == 5
    assert len(as_json(capsys, "--last=2")["cases"][0]["points"]) == 2
    assert len(as_json(capsys, "--branch=main")["cases"][0]["points"]) == 4
    for none in ("--scenario=no", "--model=no", "--suite=no", "--branch=no", "--metric=goodput"):
        assert as_json(capsys, none)["cases"] == []
        assert shown(capsys, none) == ["no stored run matches"]
    assert cli.main(["baseline", "set", "release", history([50.0] * 2)[1][0].id]) == 0
    capsys.readouterr()
    (found,) = as_json(capsys, "--baseline=release", "--last=2")["cases"]
    assert found["start"]["run"] == history([50.0] * 2)[1][0].id
    assert len(found["points"]) == 2
    higher = as_json(capsys, "--metric=server_rss_mb.max")
    assert (higher["unit"], higher["cases"][0]["verdict"]) == ("MB", "not_compared")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--metric=ttft_ms",), "--metric: found 'ttft_ms', expected one of ttft_ms."),
        (("--last=-1",), "--last"),
        (("-o", "trend.png"), "-o: found 'trend.png', expected a file that ends in .svg or .html"),
        (("--baseline=nosuch",), "--baseline: no run 'nosuch'"),
        (("--store=nosuch.db",), "there is no store"),
    ],
)
def test_refused(place: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was expected."""
    stored(place, history([50.0]))
    with pytest.raises(SystemExit) as ended:
        cli.main(["trend", *arguments])
    assert ended.value.code == 4
    assert said in capsys.readouterr().err


def test_infinite_and_missing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An infinite number is no change; a run that measured nothing is a gap; what failed is said."""
    runs = history([50.0] * 4)
    (first, _), (second, _), (third, _), (last, _) = runs
    slow = replace(second.cases[0].metrics["ttft_ms"], p99=math.inf, as_inf=1)
    stored(
        place,
        [
            (first, ()),
            (replace(second, cases=(replace(second.cases[0], metrics={"ttft_ms": slow}),)), ()),
            (replace(third, cases=(replace(third.cases[0], metrics={}),)), ()),
            (replace(last, cases=(replace(last.cases[0], outcome="failed"),)), ()),
        ],
    )
    row = shown(capsys, "--metric=ttft_ms.p99")[3]
    assert row.split()[-2] == "failed"
    assert row.split()[-1][1:3] == "∞·"
    row = shown(capsys, "--metric=ttft_ms.p99", "--last=3")[3]
    assert {"∞", "–"} <= set(row.split())
    (found,) = as_json(capsys, "--metric=ttft_ms.p99", "--last=3")["cases"]
    assert (found["start"]["value"], found["start"]["infinite"], found["change_pct"]) == (None, True, None)
    assert cli.main(["trend", "--metric=ttft_ms.p99", "-o", "t.svg"]) == 0
    assert "∞" in Path("t.svg").read_text(encoding="utf-8")


HOSTILE = '</text><script>alert("x")</script>&\x1b[31m ]]>'


@pytest.mark.parametrize("name", ["trend.svg", "trend.html"])
def test_a_file(place: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole by itself, its texts escaped, each run a circle with its id and number."""
    about = {"scenario": HOSTILE, "model": HOSTILE, "nodeid": HOSTILE, "parameters": {"p": HOSTILE}}
    stored(place, history([50.0] * 12 + [80.0] * 4, **about))
    assert shown(capsys, "-o", name)[-1] == f"written: {name}"
    text = Path(name).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "\x1b" not in text
    assert "prefers-color-scheme" in text
    assert text.count("<circle") == 16
    assert history([50.0])[0][0].id in text
    assert "slower" in text
    assert "lower is better" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    if name.endswith(".svg"):
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_a_file_that_can_not_be_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said in a line; exit 1, and the table all the same."""
    stored(place, history([50.0]))
    Path("folder.svg").mkdir()
    assert cli.main(["trend", "-o", "folder.svg"]) == 1
    said = capsys.readouterr()
    assert "folder.svg was not written" in said.err
    assert "case-0" in said.out


def points(values: Sequence[float | None], **changes: Any) -> list[SeriesPoint]:
    """Points of a case."""
    about = SeriesPoint(
        "",
        "2026-11-01T00:00:00+00:00",
        None,
        None,
        "",
        "",
        "box",
        "s",
        "one",
        "m",
        "{}",
        "passed",
        1,
        1,
        infinite=False,
    )
    return [replace(about, run=str(number), value=value, **changes) for number, value in enumerate(values)]


def test_sparklines() -> None:
    """Noise is small, a step is large, a gap is a gap; more runs than cells are medians."""
    assert sparkline(points([100, 101, 99, 100]), 9) == "▄▅▄▄"
    assert sparkline(points([100, 200, None]), 9) == "▁█·"
    assert sparkline(points([None, None]), 9) == "··"
    assert sparkline(points([0, 0]), 9) == "▅▅"
    assert sparkline(points([1] * 30 + [9] * 30), 4) == "▁▁██"


@given(st.lists(st.none() | st.floats(0, 1e300), max_size=60), st.integers(1, 40))
def test_any_sparkline(values: list[float | None], cells: int) -> None:
    """A block per run, or per cell."""
    line = sparkline(points(values), cells)
    assert len(line) == min(len(values), cells)
    assert set(line) <= set("▁▂▃▄▅▆▇█·")


def test_shares_as_comparisons_have_them() -> None:
    """In percent, their changes in points, in the terminal, the picture and the page; of amounts no word is a unit."""
    metric = METRICS["quality"]
    trends = as_shown(trends_of(points([0.9, None, 0.86])), metric)
    assert unit_words(metric) == "%"
    _, _, row = trend_table(trends, [""], NOW, 140, in_points=True)
    assert "90.0  86.0  -4.0 pts" in row
    chart = TrendChart("quality.mean, %", "%", trends, [""])
    assert "86.0, -4.0 pts from 90.0" in trend_svg(chart)
    assert [cell.text for cell in trend_page(chart, "").table.rows[0][5:8]] == ["90.0", "86.0", "-4.0 pts"]
    assert change_words(trends_of(points([50.0, 49.99999]))[0], in_points=True) == "+0.0 pts"
    assert change_words(trends_of(points([0.0, 2.0]))[0], in_points=True) == "+2.0 pts"
    assert change_words(trends_of(points([0.0]))[0], in_points=True) == "–"
    assert as_shown(trends_of(points([5.0])), METRICS["ttft_ms"])[0].last.value == 5
    assert unit_words(METRICS["cost_per_1k"]) == ""


def test_the_title_of_a_share(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal has percent, JSON the number as it is stored."""
    stored(place, history([50.0, 50.0], error_rate=0.25))
    title, *lines = shown(capsys, "--metric", "error_rate")
    assert title == "error_rate, %: lower is better"
    assert "25.0  +0.0 pts" in lines[2]
    assert as_json(capsys, "--metric", "error_rate")["cases"][0]["last"]["value"] == 0.25


def test_hosts_and_suites_are_told_apart() -> None:
    """A case on another machine is another case; then a column says which."""
    both = [*points([1.0, 2.0]), *points([3.0, 4.0], host="other"), *points([5.0], suite="t")]
    trends = trends_of(both)
    assert [trend.change_pct for trend in trends] == [100, pytest.approx(100 / 3), None]
    head, _, *rows = trend_table(trends, ["", "", ""], NOW, 140)
    assert {"suite", "host"} <= set(head.split())
    assert len(rows) == 3
    for width in (40, 80, 140):
        assert max(map(len, trend_table(trends, ["slower", "", ""], NOW, width))) <= width
    assert trends_of(both, [])[0].start is None
