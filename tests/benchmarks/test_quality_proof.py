"""The proof of quality gates, short: known truth through the product's decisions, its bounds, its whole runs."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.quality import run
from benchmarks.quality.decisions import RULE, in_turns, stored
from benchmarks.quality.run import Asked, Rate
from benchmarks.quality.whole import KINDS, comparison_of
from benchmarks.quality.worlds import AT_LIMIT, FOUND, NOTHING_LOST, SORTED, World, independent
from pytest_flperf.gates.feasibility import Size
from pytest_flperf.gates.quality_power import power_of
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson


def words(world: World, runs: int) -> Counter[str]:
    """What so many runs say."""
    chance = np.random.default_rng(7)
    return Counter(each.verdict for _ in range(runs) for each in in_turns(world, chance))


def test_twenty_of_two_hundred_turn_wrong() -> None:
    """Found in each of ten runs."""
    assert words(FOUND[0], 10) == {"regressed": 10}


@pytest.mark.parametrize("world", [NOTHING_LOST[2], NOTHING_LOST[8], AT_LIMIT[2], AT_LIMIT[9]], ids=lambda w: w.name)
def test_false_alarms(world: World) -> None:
    """Not more than 1 % of runs, as far as 60 tell."""
    assert clopper_pearson(Counts(words(world, 60)["regressed"], 60))[0] <= run.FALSE_ALARM


def test_power_is_what_is_found() -> None:
    """As said before measuring, as far as 150 runs tell."""
    power = power_of(parse_rule(RULE), Size(True, 40, 40, 1))
    assert power is not None
    said = power.of(0.9, 0.5)
    low, high = clopper_pearson(Counts(words(World("", independent(0.9, 0.5), 40), 150)["regressed"], 150))
    assert low <= said <= high
    assert 0.5 < said < 0.99


def test_a_sorted_file_is_no_regression() -> None:
    """Rows that became wrong stand first, as many that became right last: nobody decides before all were asked."""
    assert set(words(SORTED, 5)) == {"undecided"}
    unaware = World("", SORTED.draw, SORTED.prompts)
    assert words(unaware, 5)["regressed"] == 5  # why it must be known


@pytest.mark.parametrize("same_prompts", [True, False])
def test_stored_runs(same_prompts: bool) -> None:
    """The worlds of runs in turns, against a stored one."""
    chance, lost = np.random.default_rng(8), World("", independent(0.9, 0.3), 60)
    assert {each.verdict for each in stored(lost, chance, same_prompts=same_prompts)} == {"regressed"}
    found = [stored(NOTHING_LOST[1], chance, same_prompts=same_prompts)[0].verdict for _ in range(20)]
    assert "regressed" not in found


def test_bounds() -> None:
    """An interval that lies beyond a bound is out, one that reaches over it isn't; what was added up is exact."""
    assert not Rate("", "", Counts(30, 1_000), most=0.01).is_kept
    assert Rate("", "", Counts(13, 1_000), most=0.01).is_kept
    assert not Rate("", "", Counts(900, 1_000), least=0.95).is_kept
    assert Rate("", "", Counts(0, 1), most=0.05, exactly=0.05).is_kept
    assert not Rate("", "", Counts(0, 1), most=0.05, exactly=0.051).is_kept
    assert str(Rate("", "", Counts(5, 100))) == "5.00 (1.64–11.28)"


@pytest.mark.parametrize("section", list(run.SECTIONS))
def test_tables(section: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them: rows as wide as its head; named ones alone where asked."""
    named = {"stored": "50 % right, 50", "no-loss": "50 % right, 50", "limit": "88 %, 20", "power": "70 %, ",
             "budgets": "4 checks, 90 % passed, 20", "coverage": "4 checks, 90 % passed, 10"}  # fmt: skip
    assert run.main(["--only", section, "--runs", "3", "--tries", "5", "--named", named.get(section, "")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) >= 3
    assert len({line.count("|") for line in lines}) == 1


def test_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate out of its bound is told, and fails where that was asked."""

    def out(asked: Asked):  # type: ignore[no-untyped-def]  # noqa: ANN202
        del asked
        yield ("truth",), [Rate("a truth", "false alarms", Counts(50, 100), most=0.01)]

    monkeypatch.setitem(run.SECTIONS, "power", ("What is found", out))
    assert run.main(["--only", "power"]) == 0
    assert run.main(["--only", "power", "--check"]) == 1
    assert "OUT OF BOUND: a truth: false alarms 50.00 (39.83–60.17) %, bound 0 to 1 %" in capsys.readouterr().err


@pytest.mark.slow
def test_whole_runs() -> None:
    """Pytest against two servers: twenty of two hundred lost is found, equal sides aren't told apart."""
    lost = comparison_of(KINDS[0], 3)
    assert (lost["verdict"], lost["pairs"], lost["candidate"]) == ("regressed", 200, 0.9)
    assert comparison_of(KINDS[2], 3)["verdict"] != "regressed"


@pytest.mark.slow
@pytest.mark.parametrize("section", ["power", "judges", "budgets"])
def test_rates(section: str) -> None:
    """Within their bounds, with a tenth of the runs."""
    assert run.main(["--only", section, "--runs", "100", "--tries", "200", "--check"]) == 0
