"""Costs: each token once at the price of its kind, by the server's own counts; upper bounds and gaps are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.gates.budgets import parse_budget
from pytest_flperf.gates.fail_closed import fail_closed
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.cost import Cost, Price
from pytest_flperf.results.records import Distribution, Measured, Requests, ResourceUse
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.costs import CostTally, request_cost
from pytest_flperf.stats.descriptive.energy import energy_of
from pytest_flperf.stats.descriptive.request_metrics import request_metrics
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

Make = Callable[..., Sample]
PLAIN = Price(2.0, 8.0)
SPLIT = Price(2.0, 8.0, cached_input_per_1m=0.5, reasoning_per_1m=12.0)
_PRICES = st.floats(0, 1e6)
_COUNTS = st.integers(0, 10**7)


@st.composite
def _used(draw: st.DrawFn) -> dict[str, Any]:
    """What a server said of a request: cached tokens among the prompt's, reasoning among the output."""
    prompt, output = draw(_COUNTS), draw(_COUNTS)
    return {
        "prompt_tokens": prompt,
        "cached_tokens": draw(st.integers(0, prompt)),
        "output_tokens": output,
        "reasoning_tokens": draw(st.integers(0, output)),
        "reasoning_tokens_source": "usage",
    }


@given(_used(), _PRICES, _PRICES, st.none() | _PRICES, st.none() | _PRICES)
def test_each_token_once(
    make_sample: Make,
    used: dict[str, Any],
    paid_in: float,
    paid_out: float,
    cached: float | None,
    thought: float | None,
) -> None:
    """The sum over the four kinds, as exact arithmetic has it."""
    found = request_cost(make_sample(**used), Price(paid_in, paid_out, cached, thought))
    kinds = [
        (used["prompt_tokens"] - used["cached_tokens"], paid_in),
        (used["cached_tokens"], paid_in if cached is None else cached),
        (used["output_tokens"] - used["reasoning_tokens"], paid_out),
        (used["reasoning_tokens"], paid_out if thought is None else thought),
    ]
    exact = sum((count * Decimal(price) for count, price in kinds), Decimal(0)) / 10**6
    assert found.amount == pytest.approx(float(exact), rel=1e-9, abs=1e-300)
    assert (found.at_most, found.reason) == (False, "")


@given(_used(), _PRICES, _PRICES, _PRICES, _PRICES)
def test_an_upper_bound(
    make_sample: Make, used: dict[str, Any], paid_in: float, paid_out: float, cached: float, thought: float
) -> None:
    """Without the split the cost is never less than with it, and says that it is a bound wherever it is more."""
    price = Price(paid_in, paid_out, cached, thought)
    known = request_cost(make_sample(**used), price)
    hidden = {"cached_tokens": None, "reasoning_tokens": None, "reasoning_tokens_source": None}
    bound = request_cost(make_sample(**used | hidden), price)
    assert known.amount is not None
    assert bound.amount is not None
    assert bound.amount >= known.amount * (1 - 1e-12)
    assert bound.at_most or bound.amount == pytest.approx(known.amount, rel=1e-9)
    guessed = request_cost(make_sample(**used | {"reasoning_tokens_source": "chunks"}), price)
    assert guessed.amount is not None
    assert guessed.amount >= known.amount * (1 - 1e-12), "an estimate makes nothing cheaper"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"tokens_source": "chunks"}, "counted as chunks"),
        ({"output_tokens": None, "tokens_source": None}, "how many tokens the answers had"),
        ({"prompt_tokens": None, "prompt_tokens_source": None}, "how many tokens the prompts had"),
    ],
)
def test_estimates_cost_nothing_certain(make_sample: Make, said: dict[str, Any], words: str) -> None:
    """There is no cost, and why; unless these tokens are free."""
    found = request_cost(make_sample(**said), PLAIN)
    assert found.amount is None
    assert words in found.reason
    assert request_cost(make_sample(**said), Price(0, 0)).amount == 0


def test_cached_tokens_beside_the_prompt(make_sample: Make) -> None:
    """llama.cpp's timings count only what was read anew; so does usage with more cached tokens than prompt tokens."""
    for source, cached in (("timings", 5), ("usage", 500)):
        sample = make_sample(prompt_tokens=20, cached_tokens=cached, prompt_tokens_source=source, output_tokens=0)
        assert request_cost(sample, SPLIT).amount == pytest.approx((20 * 2.0 + cached * 0.5) / 1e6)


def test_long_prompts_of_a_price_with_steps(make_sample: Make) -> None:
    """Beyond the step the price is another one, which is not guessed."""
    price = replace(PLAIN, prompt_limit=20)
    assert request_cost(make_sample(prompt_tokens=20), price).amount is not None
    found = request_cost(make_sample(prompt_tokens=21), price)
    assert (found.amount, found.reason) == (
        None,
        "prompts of more than 20 tokens have another price, which is not known",
    )


def test_a_case(make_sample: Make) -> None:
    """Failed requests cost what the server said; what it did not say is counted; only measured ones make the total."""
    tally = CostTally(Price(10.0, 100.0))
    ok = make_sample(prompt_tokens=100, output_tokens=20)  # 0.003
    tally.add(ok)
    tally.add(ok)
    tally.add(make_sample(outcome=Outcome.TRUNCATED, prompt_tokens=100, output_tokens=10))  # 0.002
    silent = {"prompt_tokens": None, "output_tokens": None, "tokens_source": None, "prompt_tokens_source": None}
    tally.add(make_sample(outcome=Outcome.HTTP_5XX, **silent))
    tally.add(make_sample(outcome=Outcome.CONNECT_REFUSED, sent_ns=None, **silent))
    tally.add(make_sample(phase=Phase.WARMUP, prompt_tokens=100, output_tokens=20))
    tally.add(make_sample(phase=Phase.RETRY, prompt_tokens=100, output_tokens=20))
    cost = tally.result(right=1)
    assert cost is not None
    assert (cost.total, cost.per_1k, cost.per_right) == pytest.approx((0.008, 4.0, 0.008))
    assert cost.spent == pytest.approx(0.014)
    assert (cost.failed_unknown, cost.at_most, cost.reason) == (1, False, "")


def test_one_answer_without_counts(make_sample: Make) -> None:
    """Leaves no number: a mean over the others would be another one."""
    tally = CostTally(PLAIN)
    tally.add(make_sample())
    tally.add(make_sample(tokens_source="chunks"))
    cost = tally.result(right=None)
    assert cost is not None
    assert (cost.total, cost.per_1k, cost.per_right, cost.spent) == (None, None, None, None)
    assert cost.reason.startswith("1 of 2 answers: output tokens were counted as chunks")


def test_without_price_or_answers(make_sample: Make) -> None:
    """No price, no cost; no answer, no cost of one."""
    assert CostTally(None).result(right=3) is None
    tally = CostTally(PLAIN)
    tally.add(make_sample(outcome=Outcome.TRUNCATED))
    cost = tally.result(right=0)
    assert cost is not None
    assert (cost.per_1k, cost.per_right) == (None, None)
    assert cost.total


def test_request_metrics(make_sample: Make) -> None:
    """The cost of each request, and answer tokens apart from reasoning; of unknown reasoning nothing is said."""
    found = request_metrics(make_sample(reasoning_tokens=4, reasoning_tokens_source="usage"), SPLIT)
    assert (found["answer_tokens"], found["request_cost"]) == (6, pytest.approx((40 + 6 * 8 + 4 * 12) / 1e6))
    assert request_metrics(make_sample(reasoning_text="hm"))["answer_tokens"] is None
    assert request_metrics(make_sample())["answer_tokens"] == 10


def test_sides_whose_costs_can_not_be_compared() -> None:
    """Another currency, or an upper bound: undecided, with that reason; else numbers decide."""
    rule = parse_rule("request_cost.mean > +5%")
    one = Distribution(9, 0.5, 0.1, 0.4, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6)
    ours = Measured(
        "n", "s", "a", "m", requests=Requests(total=9, ok=9), metrics={"request_cost": one}, price=PLAIN,
        cost=Cost("USD", 4.5),
    )  # fmt: skip
    assert fail_closed(ours, ours, rule) is None
    abroad = replace(ours, price=replace(PLAIN, currency="EUR"))
    bound = replace(ours, cost=Cost("USD", 4.5, at_most=True))
    for case, other, words in ((ours, abroad, "in USD, the baseline's in EUR"), (bound, ours, "an upper bound")):
        found = fail_closed(case, other, rule)
        assert found is not None
        assert found.word == "undecided"
        assert words in found.reason
    dearer = fail_closed(replace(ours, metrics={}, price=None, cost=None), ours, rule)
    assert dearer is not None
    assert dearer.word == "regressed", "what is not known is not cheaper"


def test_an_upper_bound_proves_no_least_cost() -> None:
    """A budget from below is missed; one from above holds."""
    case = Measured(
        "n", "s", "a", "m", requests=Requests(total=9, ok=9), price=SPLIT, cost=Cost("USD", 4.5, 500.0, at_most=True)
    )
    assert parse_budget("cost_per_1k <= 500").judge(case).met
    missed = parse_budget("cost_per_1k >= 500").judge(case)
    assert (missed.met, missed.value) == (False, None)
    assert "upper bound" in missed.reason


POWER = ResourceUse(5, 80.0, 70.0, 90.0)
HERE = Measured(
    "n", "s", "a", "m",
    target=Target("openai", "http://127.0.0.1:8080/v1"),
    requests=Requests(total=10, ok=8, failed=2),
    request_rate=4.0,
    resources={"gpu_power_w": POWER},
    answer_quality=AnswerQuality(10, 2, 0.4, 0.5, right=4),
)  # fmt: skip


def test_energy() -> None:
    """Power over answers per second; failed requests and wrong answers make each right one dearer."""
    found = energy_of(HERE, in_turns=False)
    assert found is not None
    assert (found.per_answer_j, found.per_right_j, found.reason) == (20.0, 40.0, "")


@pytest.mark.parametrize(
    ("changes", "in_turns", "words"),
    [
        ({}, True, "two sides"),
        ({"target": Target("openai", "https://api.example.com/v1")}, False, "another one"),
        ({"request_rate": 0.0}, False, "no request ended ok"),
    ],
)
def test_energy_of_something_else(changes: dict[str, Any], in_turns: bool, words: str) -> None:
    """Power that isn't the answers' alone makes no figure, and says why."""
    found = energy_of(replace(HERE, **changes), in_turns=in_turns)
    assert found is not None
    assert (found.per_answer_j, found.per_right_j) == (None, None)
    assert words in found.reason


def test_no_meter_no_energy() -> None:
    """Nothing at all; and none per right answer where none was right, or where answers have no score."""
    assert energy_of(replace(HERE, resources={}), in_turns=False) is None
    for changes in ({"answer_quality": None}, {"not_scored": {"why": 1}},
                    {"answer_quality": AnswerQuality(10, 2, 0.4, 0.5, right=0)}):  # fmt: skip
        found = energy_of(replace(HERE, **changes), in_turns=False)
        assert found is not None
        assert (found.per_answer_j, found.per_right_j) == (20.0, None)


def test_an_other_machine_whose_processes_are_known() -> None:
    """A server whose processes were found runs here, whatever its address."""
    known = replace(
        HERE, target=Target("openai", "http://10.0.0.7:1/v1"), resources={"gpu_power_w": POWER, "server_rss_mb": POWER}
    )
    found = energy_of(known, in_turns=False)
    assert found is not None
    assert found.per_answer_j == 20.0
