"""Readings that are summed up from the file."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.telemetry.sums import Sums, stored_resources

NS = 1_000_000_000
READINGS = st.lists(
    st.tuples(st.integers(1, NS), st.sampled_from(["warmup", "measured"]), st.floats(0, 1e6)), max_size=20
)


@given(READINGS, st.booleans())
def test_the_file_says_the_same(readings: list[tuple[int, str, float]], told: bool) -> None:
    """Means, extremes and counts are those of the readings as they came; older files don't name the source."""
    live, lines, at_ns = Sums(["cpu_pct", "ram_pct"]), [], NS
    for span_ns, phase, value in readings:
        at_ns += span_ns
        live.add(at_ns, {"cpu_pct": value}, counts=phase == "measured")
        line: dict[str, Any] = {"at_ns": at_ns, "phase": phase, "cpu_pct": value}
        lines.append({**line, "source": "host"} if told else line)
    found = stored_resources(lines)
    assert found.use == live.result().use
    assert found.absent["ram_pct"] == live.result().absent["ram_pct"]


def test_why_metrics_are_absent() -> None:
    """The newest reason that the file gives; a source that can't be read at all has a line without a reading."""
    lines: list[dict[str, Any]] = [
        {"at_ns": 1, "phase": "warmup", "source": "gpu", "never": True, "absent": {"gpu_temp_c": "no driver"}},
        {"at_ns": 1, "phase": "measured", "source": "host", "absent": {"server_rss_mb": "not yet", "x": 1}},
        {"at_ns": 2, "phase": "measured", "source": "host", "cpu_pct": 5, "absent": {"server_rss_mb": "it has ended"}},
    ]
    found = stored_resources(lines)
    assert found.use["cpu_pct"].mean == 5
    assert found.absent["gpu_temp_c"] == "no driver"
    assert found.absent["server_rss_mb"] == "it has ended"
    assert found.absent["gpu_power_w"] == "it had not answered yet"
    assert not found.use.keys() & found.absent.keys()


def test_lines_that_are_none() -> None:
    """They are passed over."""
    lines: list[dict[str, Any]] = [
        {},
        {"source": []},
        {"source": "host"},
        {"source": "host", "at_ns": "x"},
        {"source": "host", "at_ns": 1, "cpu_pct": "x", "absent": []},
        {"source": "other", "at_ns": 1, "cpu_pct": 1},
    ]
    assert stored_resources(lines).use == {}
