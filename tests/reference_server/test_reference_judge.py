"""A reference server that judges, with a bias whose size is known."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter

import pytest

from pytest_flperf.quality.judge_prompts import Fence, pairwise_prompt, rubric_prompt
from pytest_flperf.quality.judge_verdicts import JudgeError, Preference, Scored, parse_preference, parse_score
from pytest_flperf.reference_server import JudgeBias, OptionError, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.judge import played_verdict
from pytest_flperf.reference_server.truth import KnownAnswer

TRIES = 2_000


def score(bias: JudgeBias, answer: str, question: str = "Q?", known: dict[str, KnownAnswer] | None = None) -> int:
    """Score of an answer."""
    fence = Fence.new([answer])
    said = played_verdict(bias, rubric_prompt(question, answer, "any", fence), known or {}, 3)
    found = parse_score(said or "")
    assert isinstance(found, Scored)
    return found.score


def better(bias: JudgeBias, first: str, second: str) -> str:
    """The better answer."""
    prompt = pairwise_prompt("Q?", first, second, "any", Fence.new([first, second]))
    found = parse_preference(played_verdict(bias, prompt, {}, 3) or "")
    assert isinstance(found, Preference)
    return found.better


def test_the_truth() -> None:
    """Points, else the known answer to the question, else the right text of all."""
    fair, known = JudgeBias(right="yes"), {"Capital?": KnownAnswer("Capital?", "Paris")}
    assert [score(fair, f"[{n}] answer") for n in (1, 3, 5)] == [1, 3, 5]
    assert (score(fair, "It is Paris.", "Capital?", known), score(fair, "Rome", "Capital?", known)) == (5, 1)
    assert score(fair, "Paris", "[system]\nBe brief.\n\n[user]\nCapital?", known) == 5
    assert (score(fair, "yes, yes"), score(fair, "Paris"), score(JudgeBias(), "yes")) == (5, 1, 1)
    assert [better(fair, *pair) for pair in (("[4]", "[2]"), ("[2]", "[4]"), ("[2]", "[2] b"))] == ["A", "B", "tie"]
    assert played_verdict(fair, "Say hello.", {}, 3) is None


def test_sensitivity_and_specificity() -> None:
    """Good answers fail with 1 − q1, bad ones pass with 1 − q0; the same answer is judged alike each time."""
    bias = JudgeBias(q1=0.9, q0=0.7, seed=5)
    good = [score(bias, f"[5] {n}") for n in range(TRIES)]
    bad = [score(bias, f"[2] {n}") for n in range(TRIES)]
    assert abs(good.count(5) / TRIES - 0.9) < 0.03
    assert abs(bad.count(2) / TRIES - 0.7) < 0.04
    assert Counter(good) + Counter(bad) == Counter({5: good.count(5) + bad.count(5), 1: good.count(1), 2: bad.count(2)})
    assert [score(bias, f"[5] {n}") for n in range(50)] == good[:50]
    assert [score(JudgeBias(q1=0.9, seed=6), f"[5] {n}") for n in range(TRIES)] != good


def test_position_bias() -> None:
    """A share of the pairs goes to whichever stands first, in both orders; the others to the better one."""
    bias = JudgeBias(position_bias=0.3, seed=5)
    both = [(better(bias, f"[5] {n}", "[1]"), better(bias, "[1]", f"[5] {n}")) for n in range(TRIES)]
    assert set(both) == {("A", "A"), ("A", "B")}
    assert abs(both.count(("A", "A")) / TRIES - 0.3) < 0.04


def test_preference_and_flips() -> None:
    """What it likes wins from either place; flips are each order's own."""
    likes = JudgeBias(preference=0.4, preferred="I ", seed=5)
    both = [(better(likes, f"I [1] {n}", "[5]"), better(likes, "[5]", f"I [1] {n}")) for n in range(TRIES)]
    assert set(both) == {("A", "B"), ("B", "A")}
    assert abs(both.count(("A", "B")) / TRIES - 0.4) < 0.04
    assert better(likes, "[5]", "[1]") == "A"
    flips = JudgeBias(flip_rate=0.2, seed=5)
    both = [(better(flips, f"[5] {n}", "[1]"), better(flips, "[1]", f"[5] {n}")) for n in range(TRIES)]
    disagree = both.count(("A", "A")) + both.count(("B", "B"))
    assert abs(disagree / TRIES - 2 * 0.2 * 0.8) < 0.04


def test_errors_and_nonsense() -> None:
    """Neither is a verdict."""
    bias = JudgeBias(error_rate=0.2, nonsense_rate=0.25, seed=5)
    fence = Fence("==0123456789abcdef==")
    said = [played_verdict(bias, rubric_prompt("Q?", f"[5] {n}", "any", fence), {}, 3) for n in range(TRIES)]
    assert abs(said.count("") / TRIES - 0.2) < 0.03
    nonsense = [text for text in said if text and isinstance(parse_score(text), JudgeError)]
    assert abs(len(nonsense) / TRIES - 0.8 * 0.25) < 0.03


def ask(server: ReferenceServer, prompt: str) -> str:
    """The text of an answer."""
    body = json.dumps({"model": "reference", "messages": [{"role": "user", "content": prompt}]}).encode()
    with urllib.request.urlopen(f"{server.base_url}/chat/completions", body) as response:  # noqa: S310 - loopback
        text: str = json.load(response)["choices"][0]["message"]["content"]
        return text


def test_over_http() -> None:
    """Verdicts to judges' prompts, the schedule's text to others, an error where it is told to fail."""
    prompt = rubric_prompt("Capital?", "Paris", "any", Fence.new(["Paris"]))
    answers = (KnownAnswer("Capital?", "Paris"),)
    quick = Schedule(ttft_ms=0, itl_ms=0, text="hello ", tokens=64)
    config = ReferenceConfig(quick, answers=answers, judge=JudgeBias())
    with ReferenceServer(config, in_thread=True) as server:
        assert parse_score(ask(server, prompt)) == Scored(5, "worth 5")
        assert ask(server, "Hi").startswith("hello hello")
        server.reconfigure(ReferenceConfig(quick, answers=answers, judge=JudgeBias(error_rate=1)))
        with pytest.raises(urllib.error.HTTPError, match="500"):
            ask(server, prompt)
        assert ask(server, "Hi").startswith("hello")
        assert server.troubles == ()
    assert ReferenceConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("given", "problem"),
    [({"q0": 1.5}, r"judge\.q0: expected a number"), ({"bias": 1}, "unknown key 'bias'"), (7, "expected an object")],
)
def test_what_can_not_be(given: object, problem: str) -> None:
    """Each says what was expected."""
    with pytest.raises(OptionError, match=problem):
        ReferenceConfig.from_json({"judge": given})
