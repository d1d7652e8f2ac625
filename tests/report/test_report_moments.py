"""Cases in time on the page: timelines, and gaps between arrivals."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_doubles import case, run

from pytest_flperf.report.html.gaps_chart import gaps_chart
from pytest_flperf.report.html.moments_view import moments
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.html.timeline_chart import Window, timeline, window_of
from pytest_flperf.report.samples import CaseSamples, SamplesReader
from pytest_flperf.report.spans import Reading, ReadingsReader, Span
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult

MS = 1_000_000


def span(stream: int, sent_ms: int, first_ms: int | None, end_ms: int, *, ok: bool = True) -> Span:
    """A request."""
    return Span(stream, sent_ms * MS, None if first_ms is None else first_ms * MS, end_ms * MS, ok)


def in_turn(count: int, streams: int = 1, bad: int = -1) -> list[Span]:
    """Requests one after the other on each stream, 100 ms each."""
    return [
        span(number % streams, 100 * (number // streams), 100 * (number // streams) + 30,
             100 * (number // streams) + 90, ok=number != bad)
        for number in range(count)
    ]  # fmt: skip


def known(spans: list[Span], **changes: Any) -> CaseSamples:
    """Samples with these spans."""
    return replace(CaseSamples({}, "", True, tuple(spans)), **changes)


def drawn(window: Window | None, readings: dict[str, list[Reading]] | None = None) -> str:
    """The timeline of a window."""
    assert window is not None
    return str(timeline("k", "chat in time", 0, window, readings or {}))


# ---- timelines


def test_light_while_it_waits_and_dark_while_tokens_arrive() -> None:
    """Lengths are in proportion; a failed request has a cross, one without a first token no dark part."""
    svg = drawn(window_of([span(0, 0, 250, 1_000), span(1, 0, None, 500, ok=False)], 2))
    light, dark = (
        re.findall(r"M([0-9.]+) [0-9.]+H([0-9.]+)", data) for data in re.findall(r'd="(M[^"]*H[^"]*)"/', svg)[-2:]
    )
    width = float(dark[0][1]) - float(light[0][0])
    assert float(light[0][1]) - float(light[0][0]) == pytest.approx(0.25 * width, abs=0.2)
    assert float(light[1][1]) - float(light[1][0]) == pytest.approx(0.5 * width, abs=0.2)
    assert len(light) == 2
    assert len(dark) == 1
    assert svg.count("l6 8") == 1
    assert "2 requests of 2 streams in 1 s, 1 failed" in svg


def test_at_most_sixteen_lanes_and_160_requests() -> None:
    """What is left out is said; a large case is no larger a drawing."""
    window = window_of(in_turn(1_000, 32), 5_000)
    assert window is not None
    assert window.left_out == "16 of 32 streams, 160 of 5000 requests"
    assert window.lanes == tuple(range(16))
    svg = drawn(window)
    assert svg.count("<") < 120
    assert len(svg) < 9_000
    whole = window_of(in_turn(20, 4), 20)
    assert whole is not None
    assert whole.left_out == ""


def test_a_late_failure_is_drawn() -> None:
    """Of a long case, the part around the first failure; of many streams, those with failures first."""
    window = window_of(in_turn(900, bad=700), 900)
    assert window is not None
    assert any(not each.ok for each in window.spans)
    assert "around the first failure" in window.left_out
    wide = window_of(in_turn(64, 32, bad=31), 64)
    assert wide is not None
    assert 31 in wide.lanes


def test_resources_are_below() -> None:
    """Processor, memory, GPU and power from zero, on the same axis; the server's own rather than the machine's."""
    window = window_of(in_turn(10), 10)
    times = [number * 100 * MS for number in range(10)]
    names = ("server_cpu_pct", "cpu_pct", "ram_pct", "gpu_util_pct", "gpu_power_w")
    readings = {name: [Reading(at_ns, 50.0 + place) for at_ns in times] for place, name in enumerate(names)}
    svg = drawn(window, readings)
    for words in (
        "server&#39;s processors, %, 0 to 50",
        "memory of the machine, %",
        "GPU, %, 0 to",
        "power of the GPU, W",
    ):
        assert words in svg
    assert "all processors" not in svg
    assert "0 to" not in drawn(window, {"cpu_pct": readings["cpu_pct"][:1]})


def test_many_readings_are_thinned() -> None:
    """Three thousand readings: a hundred points, the highest of each part kept."""
    window = window_of([span(0, 0, 1, 300_000)], 1)
    many = [Reading(number * 100 * MS, 99.0 if number == 1_234 else 10.0) for number in range(3_000)]
    svg = drawn(window, {"cpu_pct": many})
    assert "0 to 100" in svg
    path = max(re.findall(r'd="M([^"]*)"', svg), key=lambda data: data.count("L"))
    assert path.count("L") <= 100


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 10**9), st.booleans()
        ),
        min_size=1, max_size=200,
    )
)  # fmt: skip
def test_any_timeline(found: list[tuple[int, int, int, int, bool]]) -> None:
    """Whatever the requests: a drawing in its bounds, no NaN, few elements."""
    spans = [Span(stream, at, at + first, at + first + rest, ok) for stream, at, first, rest, ok in found]
    svg = drawn(window_of(spans, len(spans)))
    assert "nan" not in svg
    assert all(0 <= float(x) <= 360 for x in re.findall(r"H([0-9.e+]+)", svg))
    assert svg.count("<text") < 40


# ---- gaps


def test_gaps() -> None:
    """Five thin traces in one path, a bold median; a single request has no median."""
    svg = str(gaps_chart("k", "gaps", 0, [[1.0, 2.0, 3.0]] * 11 + [[9.0]]))
    assert svg.count('class="s0"') == 2
    assert "median over 12 requests: 2.00 ms" in svg
    assert "5 requests, the longest gap 3.00 ms" in svg
    alone = str(gaps_chart("k", "gaps", 0, [[1.0, 2.0]]))
    assert alone.count('class="s0"') == 1
    assert "median" not in alone


def test_long_answers_keep_their_longest_gap() -> None:
    """Of 512 arrivals a hundred points, the stall among them."""
    trace = [1.0] * 512
    trace[300] = 250.0
    svg = str(gaps_chart("k", "gaps", 0, [trace]))
    assert "the longest gap 250 ms" in svg
    assert len(svg) < 5_000


@given(st.lists(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=40), min_size=1, max_size=12))
def test_any_gaps(gaps: list[list[float]]) -> None:
    """Whatever the gaps: finite numbers in the drawing."""
    svg = str(gaps_chart("k", "gaps", 0, gaps))
    assert "nan" not in svg
    assert "inf" not in svg
    for x, y in re.findall(r"[ML]([0-9.]+) ([0-9.]+)", svg):
        assert 0 <= float(x) <= 360.1
        assert 0 <= float(y) <= 200


# ---- which cases


def section_of(*cases: CaseResult) -> list[str]:
    """The captions of the timelines of these cases."""
    samples = {it.nodeid: known(in_turn(3)) for it in cases}
    found = moments(cases, samples, list(dict.fromkeys(it.model for it in cases)), host=False)
    assert found is not None
    return [panel.caption for panel in found.groups[0].panels]


def test_which_cases_are_drawn() -> None:
    """Twelve: failed ones first, then those with most streams; six of many. The order is that of the page."""
    plain = [case(f"s{index}") for index in range(13)]
    chosen = section_of(*plain, case("busy", load=Load(concurrency=8)), case("bad", outcome="failed"))
    assert len(chosen) == 12
    assert chosen[-2:] == ["busy on m", "bad on m"]
    assert len(section_of(*(case(f"s{index}") for index in range(30)))) == 6


def test_the_section() -> None:
    """Timelines and gaps to choose from; nothing without requests."""
    samples = known(in_turn(3), gaps=([1.0, 2.0], [1.5]))
    html = Pages().run(run(), {case().nodeid: samples})
    assert '<a href="#moments">In time</a>' in html
    assert "Streams in time" in html
    assert "Gaps between arrivals" in html
    assert "#moments" not in Pages().run(run(), {})
    alone = Pages().run(run(), {case().nodeid: known(in_turn(3))})
    assert "Gaps between arrivals" not in alone


# ---- where it comes from


def line(index: int, **changes: Any) -> str:
    """A line of samples.jsonl."""
    record = {
        "nodeid": case().nodeid, "index": index, "phase": "measured", "slot": index % 2, "outcome": "ok", "target": 0,
        "started_ns": 1_000 * index, "sent_ns": 1_000 * index, "first_token_ns": 1_000 * index + 100,
        "last_token_ns": 1_000 * index + 900, "end_ns": 1_000 * index + 950, "finished_ns": 1_000 * index + 960,
        "chunk_ns": [1_000 * index + 100, 1_000 * index + 400, 1_000 * index + 900], "output_tokens": 3,
        "output_text": '"chunk_ns":[1,2]', "clock_source": "kernel", "clock_step": False,
    }  # fmt: skip
    return json.dumps({**record, **changes}, separators=(",", ":")) + "\n"


def read(folder: Path, lines: list[str]) -> CaseSamples | None:
    """The samples of these lines."""
    (folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
    reader = SamplesReader(folder / "samples.jsonl")
    reader.read()
    return reader.of([case()]).get(case().nodeid)


def test_spans_and_gaps_are_read(tmp_path: Path) -> None:
    """Stream, moments and outcome of each request, failed ones too; gaps of those that ended ok."""
    found = read(tmp_path, [line(0), line(1, outcome="http_5xx", first_token_ns=None), line(2, end_ns=None)])
    assert found is not None
    assert found.spans == (
        Span(0, 0, 100, 950, True), Span(1, 1_000, None, 1_950, False), Span(0, 2_000, 2_100, 2_960, True),
    )  # fmt: skip
    assert [[round(gap, 6) for gap in gaps] for gaps in found.gaps] == [[0.0003, 0.0005]] * 2


@pytest.mark.parametrize(
    "odd",
    [
        {"end_ns": 0}, {"end_ns": 10**30}, {"slot": None}, {"finished_ns": None, "end_ns": None},
        {"chunk_ns": ["x"]}, {"first_token_ns": -5}, {"slot": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_moments_cost_no_values(tmp_path: Path, odd: dict[str, Any]) -> None:
    """A line whose moments make no sense is not drawn in time; the others are."""
    found = read(tmp_path, [line(0), line(1, **odd), line(2)])
    assert found is not None
    assert {0, 2_000} <= {each.sent_ns for each in found.spans}
    Pages().run(run(), {case().nodeid: found})


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """A thousand spans, twelve traces of 512 gaps."""
    stamps = list(range(10, 900))
    found = read(tmp_path, [line(index, chunk_ns=stamps) for index in range(1_100)])
    assert found is not None
    assert len(found.spans) == 1_000
    assert [len(gaps) for gaps in found.gaps] == [512] * 12


def test_readings(tmp_path: Path) -> None:
    """Those of the measured part; what comes before begins a case anew; damaged lines are left out."""
    path = tmp_path / "resources.jsonl"
    rows: list[Any] = [
        {"at_ns": 1, "nodeid": "a", "phase": "measured", "cpu_pct": 1.0},
        {"at_ns": 2, "nodeid": "a", "phase": "warmup", "cpu_pct": 2.0},
        {"at_ns": 3, "nodeid": "a", "phase": "measured", "cpu_pct": 3.0, "gpu_power_w": math.inf, "other": 1},
        {"at_ns": 4, "nodeid": "a", "phase": "measured", "cpu_pct": True, "gpu_power_w": "x", "server_rss_mb": -1},
        {"at_ns": "x", "nodeid": "a", "phase": "measured", "cpu_pct": 5.0},
        [], None, {"nodeid": 3},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"at_ns": 9, "nodei', encoding="utf-8")
    reader = ReadingsReader(path)
    reader.read()
    assert reader.of("a") == {"cpu_pct": (Reading(3, 3.0),)}
    assert reader.of("b") == {}
    with path.open("a", encoding="utf-8") as file:
        file.write('d": "a", "phase": "measured", "cpu_pct": 9.0}\n')
    reader.read()
    assert reader.of("a")["cpu_pct"][-1] == Reading(9, 9.0)
    ReadingsReader(tmp_path / "absent.jsonl").read()
