"""Under which limits a search looks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_flperf.gates.budgets import parse_budget, parse_budgets
from pytest_flperf.gates.capacity import problem_of_search, search_goals
from pytest_flperf.results.records import CaseResult, Distribution, Requests
from pytest_flperf.suite.model import LoadShape

TTFT = Distribution(9, 400.0, 5.0, 400, 400, 400, 400, 400, 400, 400)
CASE = CaseResult("n", "s", "x", "m", requests=Requests(total=9, ok=9), error_rate=0.0, metrics={"ttft_ms": TTFT})


def goals(*texts: str) -> list[tuple[tuple[str, ...], bool]]:
    """The conditions of each goal, and whether a case with a TTFT of 400 ms is good enough for it."""
    return [(goal.conditions, not goal.missed(CASE)) for goal in search_goals("x", parse_budgets(texts), "m")]


def test_the_own_limits() -> None:
    """Without conditions there is one goal: all budgets but those of searches and of throughput."""
    assert goals() == [((), True)]
    assert goals("ttft_ms.p95 <= 500", "max_concurrency >= 8") == [((), True)]
    assert goals("ttft_ms.p95 <= 300", "max_concurrency >= 8") == [((), False)]
    assert goals("goodput >= 5/s", "tps_total > 5", "request_rate >= 9") == [((), True)], "a low load can't give it"
    assert goals("tps_total <= 5") == [((), False)], "an upper limit is one"
    assert goals("@other: ttft_ms.p95 <= 300", "@m: ttft_ms.p95 <= 500") == [((), True)]


def test_conditions_are_limits() -> None:
    """Beside the case's own; then no other search is needed, unless somebody asks for it."""
    under = "max_concurrency(ttft_ms.p95 <= 500) >= 8"
    assert goals(under) == [(("ttft_ms.p95 <= 500",), True)]
    assert goals(under, "ttft_ms.p50 <= 300") == [(("ttft_ms.p95 <= 500",), False)]
    assert goals(under, "max_concurrency >= 3") == [((), True), (("ttft_ms.p95 <= 500",), True)]
    assert goals("max_concurrency(ttft_ms.p95 <= 300) >= 1", under) == [
        (("ttft_ms.p95 <= 300",), False),
        (("ttft_ms.p95 <= 500",), True),
    ]


def test_conditions_in_the_place_of_the_own_limits() -> None:
    """On the same number; the case's figures are then of a load under its own."""
    assert goals("max_concurrency(ttft_ms.p95 <= 500) >= 8", "ttft_ms.p95 <= 300") == [
        ((), False),
        (("ttft_ms.p95 <= 500",), True),
    ]


def test_failures_are_never_overlooked() -> None:
    """A load at which requests fail keeps no limits, unless a condition or a budget lets them."""
    bad = replace(CASE, requests=Requests(total=10, ok=9, failed=1), error_rate=0.1)
    for texts, missed in (
        (["max_concurrency(ttft_ms.p95 <= 500) >= 8"], True),
        (["max_concurrency(ttft_ms.p95 <= 500) >= 8", "error_rate <= 20%"], False),
        (["max_concurrency(error_rate <= 20%) >= 8"], False),
    ):
        (goal,) = search_goals("x", parse_budgets(texts), "m")
        assert bool(goal.missed(bad)) is missed, texts


@pytest.mark.parametrize(
    ("text", "load", "words"),
    [
        ("max_concurrency(ttft_ms.p95 <= 5) >= 8", LoadShape(), "expected load: search, search_over: concurrency"),
        ("max_rate >= 8", LoadShape(kind="poisson", rate=3), "its load is poisson"),
        ("max_rate >= 8", LoadShape(kind="search", search_to=9), "it has search_over: concurrency"),
        ("max_concurrency >= 8", LoadShape(kind="search", search_to=9), ""),
        ("max_rate >= 8", LoadShape(kind="search", search_to=9, search_over="rate"), ""),
        ("tps.p50 >= 8", LoadShape(), ""),
    ],
)
def test_what_it_takes(text: str, load: LoadShape, words: str) -> None:
    """A budget of what a search finds needs a search, over the right thing."""
    problem = problem_of_search(load, parse_budget(text))
    assert words in problem
    assert bool(problem) is bool(words)
