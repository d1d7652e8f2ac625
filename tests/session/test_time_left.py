"""Time left: positions, and times that follow the run's own speed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.session.time_left import TimeLeft


def test_place() -> None:
    """A case's number and how many there are; nothing for one that nobody expected."""
    left = TimeLeft({"a": 1.0, "b": 2.0})
    assert (left.place("a"), left.place("b"), left.place("c")) == ("1/2", "2/2", "")
    assert TimeLeft({}).place("a") == ""


@pytest.mark.parametrize(("factor", "expected"), [(1, "30 s left"), (3, "90 s left"), (10, "5 min left")])
def test_left_follows_the_speed_of_the_run(factor: int, expected: str) -> None:
    """Of four equal cases one has ended: three times what it took, whatever was estimated."""
    left = TimeLeft(dict.fromkeys("abcd", 2.0))
    left.begin("a", 100.0)
    left.begin("b", 100.0 + 10 * factor)
    assert left.left("b", 0.0, 100.0 + 10 * factor) == expected


def test_nothing_is_said_before_it_is_known() -> None:
    """At the beginning, for what was not expected, and where little is left."""
    left = TimeLeft({"a": 10.0, "b": 10.0})
    assert left.left("a", 0.5, 0.0) == ""
    left.begin("a", 0.0)
    assert left.left("a", 0.01, 3.0) == ""
    assert left.left("a", 0.5, 30.0) == "90 s left"
    left.begin("b", 60.0)
    assert left.left("b", 0.99, 119.0) == ""
    assert TimeLeft({}).left("a", 0.5, 1.0) == ""


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1e6), max_size=8),
       st.lists(st.tuples(st.text(max_size=3), st.floats(-1, 2), st.floats(0, 1e3))))  # fmt: skip
def test_any_order_of_cases(seconds: dict[str, float], steps: list[tuple[str, float, float]]) -> None:
    """Cases in any order, twice, unexpected, with any share: words or nothing."""
    left, now_s = TimeLeft(seconds), 0.0
    for nodeid, share, took_s in steps:
        left.begin(nodeid, now_s)
        now_s += took_s
        words = left.left(nodeid, share, now_s)
        assert not words or words.split()[1:] in (["s", "left"], ["min", "left"])
