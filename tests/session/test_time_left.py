"""Time left: positions, and times that follow the run's own speed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.session.time_left import Expected, TimeLeft


def of(*names: str, seconds: float = 2.0, by_time: bool = False, ends_at_s: float | None = None) -> TimeLeft:
    """Cases that are expected to take equally long."""
    return TimeLeft(dict.fromkeys(names, Expected(seconds, by_time)), ends_at_s)


def test_place() -> None:
    """A case's number and how many there are; nothing for one that nobody expected."""
    left = of("a", "b")
    assert (left.place("a"), left.place("b"), left.place("c")) == ("1/2", "2/2", "")
    assert of().place("a") == ""


@pytest.mark.parametrize(("factor", "expected"), [(1, "30 s left"), (3, "90 s left"), (10, "5 min left")])
def test_left_follows_the_speed_of_the_run(factor: int, expected: str) -> None:
    """Of four equal cases one has ended: three times what it took, whatever was estimated."""
    left = of("a", "b", "c", "d")
    left.begin("a", 100.0)
    left.begin("b", 100.0 + 10 * factor)
    assert left.left(0.0, 100.0 + 10 * factor) == expected


def test_nothing_is_said_before_it_is_known() -> None:
    """At the beginning, for what was not expected, and where little is left."""
    left = of("a", "b")
    left.begin("a", 0.0)
    assert left.left(0.01, 3.0) == ""
    assert left.left(0.5, 30.0) == "90 s left"
    left.begin("b", 60.0)
    assert left.left(0.99, 119.0) == ""
    unexpected = of()
    unexpected.begin("a", 0.0)
    assert unexpected.left(0.5, 1.0) == ""


def test_a_case_that_is_told_by_time() -> None:
    """A duration, a search, turns: their requests are not counted in all, and the time left still falls."""
    left = of("a", "b", seconds=600.0, by_time=True)
    left.begin("a", 0.0)
    left.begin("b", 600.0)
    assert left.left(0.0, 600.0) == "10 min left"
    assert left.left(1.0, 900.0) == "5 min left"
    assert left.left(0.0, 1080.0) == "120 s left"


def test_the_share_of_a_case_never_falls() -> None:
    """The loads of a search count from 0 again."""
    left = of("a", "b")
    left.begin("a", 0.0)
    assert left.left(0.8, 40.0) == left.left(0.1, 40.0) == "60 s left"


def test_cases_that_are_passed_over_do_not_count() -> None:
    """Skipped ones; one that is run later after all counts again."""
    left = of("a", "b", "c", "d")
    left.begin("a", 0.0)
    left.begin("d", 60.0)
    assert left.left(0.5, 90.0) == "30 s left"
    left.begin("b", 120.0)
    assert left.left(0.0, 120.0) == "2 min left"


def test_a_time_limit() -> None:
    """No more is left than the run's time."""
    left = of("a", "b", ends_at_s=100.0)
    left.begin("a", 0.0)
    assert left.left(0.5, 60.0) == "40 s left"


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.dictionaries(st.text(max_size=3), st.builds(Expected, NUMBERS, st.booleans()), max_size=8),
       st.lists(st.tuples(st.text(max_size=3), NUMBERS, st.floats(0, 1e3))), st.none() | NUMBERS)  # fmt: skip
def test_any_order_of_cases(
    cases: Mapping[str, Expected], steps: list[tuple[str, float, float]], ends_at_s: float | None
) -> None:
    """Cases in any order, twice, unexpected, with any share and estimate: words or nothing."""
    left, now_s = TimeLeft(cases, ends_at_s), 0.0
    for nodeid, share, took_s in steps:
        left.begin(nodeid, now_s)
        now_s += took_s
        words = left.left(share, now_s)
        assert not words or words.split()[1:] in (["s", "left"], ["min", "left"])
