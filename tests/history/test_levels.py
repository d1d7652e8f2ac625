"""Levels of a case's history, between which no difference counts as noise."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.history.levels import levels, series
from pytest_flperf.history.selection import Measurement
from pytest_flperf.history.standing import Standing


def runs(*judged: tuple[int | None, bool], accepted: tuple[int, ...] = ()) -> list[Measurement]:
    """Measurements, newest first; each is given oldest first: the number of its baseline, and whether it improved."""
    found = []
    for number, (baseline, improved) in enumerate(judged):
        standing: Standing = "regressed" if number in accepted else "accepted"
        compared_with = None if baseline is None else str(baseline)
        found.append(
            Measurement(
                str(number),
                "box",
                f"2026-11-{1 + number:02d}",
                standing,
                accepted=number in accepted,
                compared_with=compared_with,
                improved=improved,
            )
        )
    return found[::-1]


def by_level(noise: list[Measurement]) -> list[str]:
    """The numbers of the runs of each level, oldest first."""
    return ["".join(noise[at].run_id for at in reversed(level)) for level in levels(noise)]


NOT = (None, False)


def test_without_gates_there_is_one_level() -> None:
    """Nothing is known to have changed."""
    assert by_level(runs(NOT, NOT, NOT)) == ["012"]
    assert levels([]) == []


def test_an_accepted_run_begins_a_level() -> None:
    """It is slower than those before, and a person said that it shall be so."""
    assert by_level(runs(NOT, (0, False), (1, False), (2, False), accepted=(2,))) == ["01", "23"]


def test_a_run_that_improved_begins_a_level() -> None:
    """Also one after the other, and after one that a person accepted."""
    assert by_level(runs(NOT, (0, False), (1, True), (2, False))) == ["01", "23"]
    assert by_level(runs(NOT, (0, True), (1, True), (2, False))) == ["0", "1", "23"]
    assert by_level(runs(NOT, (0, False), (1, False), (2, True), (3, False), accepted=(2,))) == ["01", "2", "34"]


def test_a_pinned_baseline_has_one_faster_level() -> None:
    """Each later run improves on it; only the first begins a level, and one that falls back is of the pinned one's."""
    assert by_level(runs(NOT, (0, True), (0, True), (0, True))) == ["0", "123"]
    assert by_level(runs(NOT, (0, True), (0, True), (0, False), (0, True))) == ["03", "124"]


def test_two_branches_are_two_levels() -> None:
    """A fast branch's runs stand between those of main, and are no noise of main's."""
    assert by_level(runs(NOT, (0, False), (1, True), (1, False), (1, True), (3, False))) == ["0135", "24"]


def test_a_baseline_that_is_not_among_them() -> None:
    """A file, or a run of long ago: a run is of the level of the one before, and improves once."""
    assert by_level(runs(NOT, (77, False), (77, True), (77, True))) == ["01", "23"]


def test_no_difference_is_taken_between_levels() -> None:
    """The numbers of each level stand together; what has no number is left out."""
    noise = runs(NOT, (0, False), (1, False), (2, False), accepted=(2,))
    assert str(series(noise, [4.0, 3.0, 2.0, 1.0])) == "[2.0, 1.0, nan, 4.0, 3.0]"
    assert str(series(noise, [4.0, None, math.inf, 1.0])) == "[1.0, nan, 4.0]"
    assert str(series(noise, [None, None, 2.0, 1.0])) == "[2.0, 1.0]"
    assert str(series(noise, [4.0, 3.0, None, None])) == "[4.0, 3.0]"


histories = st.lists(st.tuples(st.none() | st.integers(0, 45), st.booleans()), max_size=40)


@given(histories, st.sets(st.integers(0, 39)))
def test_each_run_is_of_one_level(judged: list[tuple[int | None, bool]], accepted: set[int]) -> None:
    """Whatever was compared with what, in the order of the runs."""
    noise = runs(*judged, accepted=tuple(accepted))
    found = levels(noise)
    assert sorted(position for level in found for position in level) == list(range(len(noise)))
    assert all(level and all(a < b for a, b in pairwise(level)) for level in found)
    alone = [replace(each, compared_with=None, improved=False) for each in noise]
    assert len(levels(alone)) <= len(found)
