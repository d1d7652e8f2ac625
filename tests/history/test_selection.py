"""Which earlier measurements are the baseline of a case, and its noise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.history.clocks import latest_start
from pytest_flperf.history.selection import (
    LOOK_BACK,
    NOISE_RUNS,
    Measurement,
    select,
)
from pytest_flperf.history.standing import Standing

LATEST = "2026-12-01"


def measurement(number: int, standing: Standing = "accepted", **changes: Any) -> Measurement:
    """The higher its number the newer."""
    return Measurement(f"run{number}", "box", f"2026-11-{1 + number:02d}", standing, key=(number, 0), **changes)


def ids(measurements: tuple[Measurement, ...]) -> list[str]:
    """Of their runs."""
    return [each.run_id for each in measurements]


def test_red_is_neither_baseline_nor_noise() -> None:
    """The newest that was accepted is the baseline; undecided ones are noise; the others are passed over."""
    standings: list[Standing] = ["accepted", "accepted", "undecided", "failed", "regressed", "unmeasured"]
    found = select([measurement(at, each) for at, each in reversed(list(enumerate(standings)))], LATEST)
    assert found.baseline == measurement(1)
    assert ids(found.noise) == ["run2", "run1", "run0"]
    assert ids(found.passed_over) == ["run4", "run3", "run2"]


standings = st.sampled_from(get_args(Standing))
histories = st.lists(st.tuples(standings, st.booleans(), st.sampled_from(["main", "topic", None])), max_size=60)


@given(histories, st.lists(st.sampled_from(["regressed", "failed", "unmeasured"]), max_size=20))
def test_a_rerun_after_red_runs_is_judged_alike(
    history: list[tuple[Standing, bool, str | None]], red: list[Standing]
) -> None:
    """However many red runs follow: the same baseline and the same noise."""
    rows = [measurement(0, s, accepted=a, branch=b) for s, a, b in history]
    before = select(rows, LATEST)
    after = select([*(measurement(0, each) for each in red), *rows], LATEST)
    assert (after.baseline, after.noise) == (before.baseline, before.noise)


@given(histories, st.sampled_from(["main", "topic", None]))
def test_the_baseline_may_be_one(history: list[tuple[Standing, bool, str | None]], branch: str | None) -> None:
    """Accepted by its results or by a person, never unmeasured, of the branch; nothing newer may be one."""
    rows = [measurement(0, s, accepted=a, branch=b) for s, a, b in history]
    found = select(rows, LATEST, branch)
    may_be = [each for each in rows if each.may_be_baseline and branch in (None, each.branch)]
    assert found.baseline == (may_be[0] if may_be else None)
    assert all(each.standing != "unmeasured" for each in (*found.noise, *found.passed_over))
    assert len(found.noise) <= NOISE_RUNS


def test_a_person_accepts() -> None:
    """A red, undecided or failed measurement becomes a baseline; one that is unmeasured never does."""
    for standing in get_args(Standing):
        found = select([measurement(1, standing, accepted=True), measurement(0)], LATEST)
        assert found.baseline == (
            measurement(0) if standing == "unmeasured" else measurement(1, standing, accepted=True)
        )


def test_of_a_branch() -> None:
    """The baseline is of that branch; noise is of any."""
    rows = [measurement(3, branch="topic"), measurement(2, "failed", branch="main"), measurement(1, branch="main")]
    found = select(rows, LATEST, "main")
    assert (found.baseline, ids(found.passed_over)) == (measurement(1, branch="main"), ["run2"])
    assert ids(found.noise) == ["run3", "run1"]
    assert select(rows, LATEST, "other").never_had_any


def test_whether_there_ever_was_a_baseline() -> None:
    """Nothing, or only what failed by itself: no. What was judged by one, or is dated in the future: yes."""
    assert select([], LATEST).never_had_any
    assert select([measurement(1, "failed"), measurement(0, "unmeasured")], LATEST).never_had_any
    for standing in ("regressed", "undecided"):
        assert not select([measurement(1, "failed"), measurement(0, standing)], LATEST).never_had_any
    assert not select([measurement(0)], "2020").never_had_any
    assert not select([measurement(0)], LATEST).never_had_any
    assert not select([measurement(0, "failed")] * LOOK_BACK, LATEST).never_had_any


def test_dated_in_the_future() -> None:
    """It is neither baseline nor noise, and told; clocks may differ by minutes."""
    found = select([measurement(9), measurement(8, "unmeasured"), measurement(0)], "2026-11-05")
    assert (found.baseline, ids(found.not_yet), ids(found.noise)) == (measurement(0), ["run9"], ["run0"])
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    assert moment < latest_start() < (datetime.now(UTC) + timedelta(minutes=11)).isoformat(timespec="milliseconds")


def test_no_more_is_read_than_needed() -> None:
    """It ends with the baseline and enough noise, or after so many measurements."""
    read = []

    def rows(standing: Standing) -> Iterator[Measurement]:
        for number in range(5_000):
            read.append(number)
            yield measurement(0, standing)

    assert len(select(rows("accepted"), LATEST).noise) == NOISE_RUNS
    assert len(read) == NOISE_RUNS
    read.clear()
    assert select(rows("failed"), LATEST).baseline is None
    assert len(read) == LOOK_BACK


def test_a_named_baseline_needs_noise_only() -> None:
    """Then none is looked for."""
    found = select([measurement(0)] * 100, LATEST, baseline=False)
    assert len(found.noise) == NOISE_RUNS
