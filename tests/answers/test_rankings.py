"""Rankings: who wins, by how much, and that no winner is named by chance."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import exp
from random import Random

import pytest
from answer_doubles import case, cases_of, scored
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.answers.front import front_of
from pytest_flperf.answers.goals import goals_of
from pytest_flperf.answers.rankings import rankings_of
from pytest_flperf.answers.scenarios import in_turns, scenarios_of
from pytest_flperf.answers.scores import lead_in_scores, mean_score
from pytest_flperf.results.answer import CHANCE, Ranking
from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.load import Load
from pytest_flperf.results.measured import ResourceUse
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.inference.lead import Pair, lead_between, lead_in_turns
from pytest_flperf.stats.inference.score_lead import score_lead


def by_goal(cases: list[CaseResult]) -> dict[str, Ranking]:
    """The rankings of a run by goal."""
    return {each.goal: each for each in rankings_of(cases)}


def test_a_winner_in_turns() -> None:
    """Twice as fast in eleven scenarios: beyond doubt, by about two, in all of them."""
    found = by_goal(cases_of({"slow": 10.0, "fast": 5.0}, 11, noise=0.05))
    assert found.keys() == {"first_token", "whole_answer", "throughput"}
    for ranking in found.values():
        assert ranking.winner == "fast"
        assert ranking.lead == pytest.approx(2, rel=0.1)
        assert [each.model for each in ranking.standings] == ["fast", "slow"]
        first, second = ranking.standings
        assert (ranking.compared, first.best_in, second.best_in) == (11, 11, 0)
        assert (first.behind, first.behind_ci) == (1, None)
        assert second.behind_ci is not None
        assert 1 < second.behind_ci[0] < 2 < second.behind_ci[1]
    assert found["first_token"].standings[0].value == pytest.approx(5 * 39_916_800 ** (1 / 11), rel=0.05)


@pytest.mark.parametrize(("times", "winner"), [(2.5, ""), (6.0, "fast")])
def test_one_after_the_other(times: float, winner: str) -> None:
    """Without turns only a large lead is beyond what the machine may have done meanwhile; the reason says so."""
    ranking = by_goal(cases_of({"fast": 5.0, "slow": 5.0 * times}, 11, turns=False, noise=0.05))["first_token"]
    assert ranking.winner == winner
    assert ("one after the other" in ranking.reason) == (not winner)


def test_few_scenarios() -> None:
    """Turns in five scenarios tell no more than one after the other."""
    assert by_goal(cases_of({"fast": 5.0, "slow": 10.0}, 5))["first_token"].winner == ""
    assert by_goal(cases_of({"fast": 5.0, "slow": 10.0}, 6))["first_token"].winner == "fast"


@pytest.mark.parametrize("turns", [True, False])
def test_why_none_wins(turns: bool) -> None:
    """The lead that these scenarios could have told is above the one that was seen, however they differ."""
    cases = cases_of({"fast": 5.0, "slow": 50.0}, 3, turns=turns, noise=0.4)
    ranking = by_goal(cases)["first_token"]
    assert ranking.winner == ""
    least = re.search(r"([\d.]+) times", ranking.reason)
    assert least is not None
    assert float(least[1]) > ranking.standings[1].behind


def test_three_models() -> None:
    """The winner leads over each other one; without that, there is none."""
    cases = cases_of({"a": 10.0, "b": 5.0, "c": 20.0}, 9, noise=0.05)
    assert in_turns(scenarios_of(cases))
    ranking = by_goal(cases)["first_token"]
    assert ranking.winner == "b"
    assert [each.model for each in ranking.standings] == ["b", "a", "c"]
    assert ranking.lead == pytest.approx(2, rel=0.1)
    tied = by_goal(cases_of({"a": 5.0, "b": 5.0, "c": 20.0}, 9, noise=0.05))["first_token"]
    assert tied.winner == ""
    assert tied.reason


def test_what_is_not_compared() -> None:
    """Failed requests, partial cases, other prompts, and what only one model has."""
    whole = cases_of({"a": 5.0, "b": 50.0}, 8)
    failed = [
        replace(each, requests=Requests(total=11, ok=10, failed=1)) if each.model == "a" else each for each in whole
    ]
    assert rankings_of(failed) == ()
    one = [replace(each, partial=True) if each.nodeid == whole[0].nodeid else each for each in whole]
    assert {each.compared for each in rankings_of(one)} == {7}
    others = [replace(each, prompts_digest=each.model) for each in whole]
    assert rankings_of(others) == ()
    assert rankings_of([each for each in whole if each.model == "a"]) == ()
    assert rankings_of([]) == ()


def test_offered_rates_are_no_throughput() -> None:
    """In an open loop, and with pauses, tokens/s are what was asked for."""
    whole = cases_of({"a": 5.0, "b": 50.0}, 8)
    for load in (Load(shape="poisson", rate=5.0), Load(think_time_s=1.0)):
        assert "throughput" not in by_goal([replace(each, load=load) for each in whole])


def test_memory_of_servers_apart() -> None:
    """A process of its own says what its model takes; one without an address, shared by models, doesn't."""

    def used(model: str, mb: float, url: str | None) -> list[CaseResult]:
        use = {"server_rss_mb": ResourceUse(3, mb, mb, mb)}
        target = Target("llamacpp", url, model)
        return [replace(each, resources=use, target=target) for each in cases_of({model: 5.0}, 3)]

    apart = [*used("large", 8_000.0, "http://127.0.0.1:1/v1"), *used("small", 500.0, "http://127.0.0.1:2/v1")]
    assert by_goal(apart)["memory"].winner == "small"
    together = [*used("large", 8_000.0, "http://127.0.0.1:1/v1"), *used("small", 500.0, "http://127.0.0.1:1/v1")]
    assert "memory" not in by_goal(together)


def test_quality() -> None:
    """By prompts in common; alike answers and few prompts name no winner."""
    better = [scored("a", [1.0] * 18 + [0.0] * 2), scored("b", [0.0] * 18 + [0.0] * 2)]
    ranking = by_goal(better)["quality"]
    assert ranking.winner == "a"
    assert ranking.lead == pytest.approx(0.9)
    assert (ranking.compared, ranking.standings[0].best_in, ranking.standings[1].best_in) == (20, 20, 2)
    assert by_goal([scored("a", [1.0] * 5), scored("b", [0.0] * 5)])["quality"].winner == ""
    assert by_goal([scored("a", [1.0, 0.0] * 20), scored("b", [1.0, 0.0] * 20)])["quality"].winner == ""
    assert ranking.right_or_wrong
    assert ranking.standings[1].behind_ci is not None
    low, high = ranking.standings[1].behind_ci
    assert 0 < low < 0.9 < high <= 1


def test_quality_that_is_not_compared() -> None:
    """Other prompts, answers that could not be scored, chats: no ranks, and why."""
    pair = [scored("a", [1.0] * 20), scored("b", [0.0] * 20)]
    other = tuple(replace(each, prompt=f"{each.prompt}?") for each in pair[1].prompt_scores)
    whys = {
        "the models were not asked the same prompts": [
            [pair[0], replace(pair[1], prompts_digest="other rows")],
            [pair[0], replace(pair[1], prompt_scores=other)],
        ],
        "some answers could not be scored": [[pair[0], replace(pair[1], not_scored={"took longer than 2 s": 1})]],
        "some cases ended early": [[pair[0], replace(pair[1], partial=True)]],
        "prompts of chats, and of cases with more than 2,000 of them, are not told apart": [
            [replace(each, prompt_scores=(), answer_quality=AnswerQuality(20, 0, 0.5, 0.5)) for each in pair]
        ],
    }
    for why, runs in whys.items():
        for cases in runs:
            ranking = by_goal(cases)["quality"]
            assert (ranking.standings, ranking.winner, ranking.reason) == ((), "", why)
            assert front_of(cases) == ()
    assert "quality" not in by_goal([pair[0], replace(pair[1], prompt_scores=())])


def test_a_prompt_at_several_loads_counts_once() -> None:
    """Ten prompts at four loads are ten pieces of evidence, and their scores are averaged."""
    loads = [{"concurrency": streams} for streams in (1, 2, 4, 8)]
    cases = [replace(scored(m, [v] * 7), parameters=at) for at in loads for m, v in (("a", 1.0), ("b", 0.0))]
    ranking = by_goal(cases)["quality"]
    assert (ranking.compared, ranking.winner) == (7, "")
    half = [replace(scored("a", [1.0 * (at["concurrency"] < 4)] * 20), parameters=at) for at in loads]
    ranking = by_goal([*half, *(replace(scored("b", [0.0] * 20), parameters=at) for at in loads)])["quality"]
    assert (ranking.winner, ranking.lead, ranking.right_or_wrong) == ("a", 0.5, False)


def test_in_turns_by_the_order() -> None:
    """Scenario by scenario, each model first in a third at least."""
    assert in_turns(scenarios_of(cases_of({"a": 1.0, "b": 1.0}, 6)))
    assert not in_turns(scenarios_of(cases_of({"a": 1.0, "b": 1.0}, 6, turns=False)))
    always = [case(model, f"s{number}", [1.0] * 11) for number in range(6) for model in ("a", "b")]
    assert not in_turns(scenarios_of(always))


Machine = Callable[[Random, int], list[float]]


def _steady(rng: Random, count: int) -> list[float]:
    return [rng.gauss(0, 0.05) for _ in range(count)]


def _drifting(rng: Random, count: int) -> list[float]:
    slope = rng.uniform(-0.05, 0.05)
    return [slope * number + rng.gauss(0, 0.03) for number in range(count)]


def _wandering(rng: Random, count: int) -> list[float]:
    level, found = 0.0, []
    for _ in range(count):
        level += rng.gauss(0, 0.1)
        found.append(level)
    return found


def _of_two_speeds(rng: Random, count: int) -> list[float]:
    return [0.5 * (rng.random() < 0.5) + rng.gauss(0, 0.02) for _ in range(count)]


def _with_outliers(rng: Random, count: int) -> list[float]:
    return [rng.gauss(0, 0.03) + (1.5 if rng.random() < 0.1 else 0.0) for _ in range(count)]


@pytest.mark.parametrize("machine", [_steady, _drifting, _wandering, _of_two_speeds, _with_outliers])
@pytest.mark.parametrize("scenarios", [6, 11])
def test_no_winner_by_chance_in_turns(machine: Machine, scenarios: int) -> None:
    """The same model under two names, 4,000 runs: a false lead no more often than its level allows."""
    rng, level, false = Random(f"{machine.__name__}/{scenarios}"), CHANCE / 2, 0
    runs = 4_000
    for _ in range(runs):
        slow = machine(rng, 2 * scenarios)
        pairs = []
        for number in range(scenarios):
            one, other = slow[2 * number], slow[2 * number + 1]
            pairs.append(Pair(exp(one), exp(other)) if number % 2 else Pair(exp(other), exp(one)))
        lead = lead_in_turns(pairs, level)
        assert lead is not None
        false += lead.low > 1 or lead.high < 1
    assert false <= 65, "the 99.9 % bound of a binomial with 1 % of 4,000"


def test_no_winner_by_chance_one_after_the_other() -> None:
    """Runs that differ by 18 % as a whole, the most that was seen of one model: a lead in 1 % of runs at most."""
    rng, false, runs = Random(1), 0, 2_000
    level = CHANCE / 8  # four goals, two models
    for _ in range(runs):
        shift = rng.gauss(0, 0.18) - rng.gauss(0, 0.18)
        pairs = [Pair(exp(rng.gauss(0, 0.05)), exp(shift + rng.gauss(0, 0.05))) for _ in range(11)]
        lead = lead_between(pairs, level)
        assert lead is not None
        false += lead.low > 1 or lead.high < 1
    assert false <= 0.01 * runs


def test_each_claim_on_quality_has_its_share() -> None:
    """Of k models there are k × (k - 1) claims, with the Pareto front as well; all goals together spend 1 %."""
    cases = [
        replace(each, prompt_scores=scored("a", [1.0] * 20).prompt_scores)
        for each in cases_of(dict.fromkeys("abc", 5.0), 6)
    ]
    goals = goals_of(cases)
    assert goals.both == ("a", "b", "c")
    assert goals.chance * (len(goals.compared) + 1) == pytest.approx(CHANCE)
    assert 6 * goals.level_of_pairs == pytest.approx(goals.chance)


def test_nobody_is_behind_by_chance() -> None:
    """Six models that are alike: any is behind the one that came out best in no more runs than all claims may spend."""
    rng, chance, false, runs = Random(3), 0.2, 0, 400
    for _ in range(runs):
        scores = {model: {f"p{n}": float(rng.random() < 0.7) for n in range(40)} for model in "abcdef"}
        best = max(scores, key=lambda model: mean_score(scores[model]))
        leads = [lead_in_scores(scores, best, model, chance / 30) for model in scores if model != best]
        false += any(lead is not None and lead.low > 0 for lead in leads)
    assert false <= chance * runs


def test_no_winner_by_chance_in_quality() -> None:
    """Equally good models: the exact test keeps its level."""
    rng, false, runs = Random(2), 0, 1_500
    for _ in range(runs):
        scores = [(float(rng.random() < 0.7), float(rng.random() < 0.7)) for _ in range(40)]
        leads = [score_lead(each, CHANCE / 2) for each in (scores, [(b, a) for a, b in scores])]
        false += any(lead is not None and lead.decided for lead in leads)
    assert false <= 28


@given(
    st.lists(st.tuples(st.floats(1e-6, 1e9), st.floats(1e-6, 1e9)), min_size=6, max_size=12),
    st.floats(1e-4, 0.02),
)
def test_leads_are_symmetric(values: list[tuple[float, float]], level: float) -> None:
    """The lead of one is the other's turned round, and its interval holds it."""
    pairs = [Pair(*each) for each in values]
    turned = [Pair(other, one) for one, other in values]
    for method in (lead_in_turns, lead_between):
        lead, back = method(pairs, level), method(turned, level)
        assert lead is not None
        assert back is not None
        assert lead.value == pytest.approx(1 / back.value, rel=1e-6)
        assert lead.low <= lead.value * (1 + 1e-9)
        assert lead.high >= lead.value * (1 - 1e-9) or lead.high == pytest.approx(exp(30))
