"""The simulation of gated histories, small: a red gate stays red."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gates import histories
from benchmarks.gates.histories import History, gated

SLOW = float(np.log1p(0.6))


@pytest.mark.parametrize("before", [6, 25])
def test_a_step_stays_red_until_accepted_or_mended(before: int) -> None:
    """60 red runs after so many good ones; then a person accepts the last, or it is mended."""
    chance, history = np.random.default_rng(5), History()
    for _ in range(before):
        gated(history, 0.0, chance)
    assert {gated(history, SLOW, chance) for _ in range(60)} == {("regressed", "regressed")}
    mended = History(list(history.cases), list(history.rows))
    assert all(gated(mended, 0.0, chance)[0] in ("unchanged", "undecided") for _ in range(10))
    history.accept(len(history.rows) - 1)
    assert all(gated(history, SLOW, chance)[0] in ("unchanged", "undecided") for _ in range(10))
    assert gated(history, 2 * SLOW, chance)[0] == "regressed"


def test_the_same_step_again_is_red_at_once() -> None:
    """After one that a person accepted was mended: the way back to the old speed is no noise."""
    chance, history = np.random.default_rng(8), History()
    for _ in range(12):
        gated(history, 0.0, chance)
    assert gated(history, SLOW, chance)[0] == "regressed"
    history.accept(len(history.rows) - 1)
    gated(history, SLOW, chance)
    assert gated(history, 0.0, chance) == ("improved", "accepted")
    assert {gated(history, SLOW, chance)[0] for _ in range(5)} == {"regressed"}


def test_a_fast_branch_is_no_noise_of_a_slow_one() -> None:
    """Its runs stand between those of the slow one, which are compared with their own."""
    chance, history = np.random.default_rng(9), History()
    for _ in range(12):
        gated(history, 0.0, chance)
    for _ in range(6):
        gated(history, -SLOW, chance, 11)
        gated(history, 0.0, chance, 11)
    assert gated(history, SLOW, chance, 11)[0] == "regressed"


def test_nothing_changes() -> None:
    """Not one of 300 runs is red, and most are decided once a history is known."""
    chance, history = np.random.default_rng(6), History()
    said = [gated(history, 0.0, chance)[0] for _ in range(300)]
    assert said[0] == "undecided"
    assert said.count("regressed") == 0
    assert said.count("unchanged") > 100


def test_a_creep_is_seen_by_a_pinned_run() -> None:
    """Runs that creep are no noise: against a run that was pinned they become red."""
    chance, history = np.random.default_rng(7), History()
    for _ in range(40):
        gated(history, 0.0, chance)
    words = [gated(history, 0.01 * at, chance, 39)[0] for at in range(40)]
    assert "regressed" in words
    assert words.index("regressed") > 10


def test_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Every scenario runs and keeps its limits with a few histories."""
    assert histories.main(["--histories", "2", "--check", "--scenario", "step"]) == 0
    out = capsys.readouterr().out
    assert "### A step of +60%" in out
    assert "2 histories of 200 runs" in out
