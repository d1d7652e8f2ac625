"""Cost, energy and reasoning in words, tables and on the page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from report_doubles import case, measured, quality_of, run

from pytest_flperf.report.efficiency_words import cost_cell, cost_heading, efficiency_facts, money, run_cost_words
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.junit import properties
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.results_table import table_lines
from pytest_flperf.report.terminal.summary import case_lines
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.comparison import Against
from pytest_flperf.results.cost import Cost, Energy, Price
from pytest_flperf.results.records import CaseResult

PRICE = Price(0.15, 0.6, source="our contract", date="2026-11-01")
COST = Cost("USD", 0.00042, 0.42, 0.0006, 0.0005)


def priced(model: str = "m", **changes: Any) -> CaseResult:
    """A case with a price and a cost."""
    return case(model=model, **{"price": PRICE, "cost": COST, **changes})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 USD"), (1.28e-5, "0.0000128 USD"), (0.42, "0.42 USD"), (0.0131234, "0.0131 USD"), (12.34, "12.3 USD"),
     (1e-12, "1e-12 USD"), (0.9999, "1 USD"), (1_234.5, "1234 USD")],
)  # fmt: skip
def test_money(value: float, text: str) -> None:
    """Prices are read without an exponent."""
    assert money(value, "USD") == text
    assert money(value, "USD", at_most=True) == f"at most {text}"


def test_facts() -> None:
    """What there is, and nothing of what there isn't."""
    assert efficiency_facts(case()) == []
    reasoning = {"reasoning_tokens": measured([400.0, 500.0]), "answer_tokens": measured([10.0, 20.0])}
    facts = dict(
        efficiency_facts(
            priced(
                metrics=reasoning, reasoning_tokens_source="chunks", energy=Energy(20.0, 40.0),
                answer_quality=quality_of("maths"),
            )
        )
    )  # fmt: skip
    assert facts["Cost"] == (
        "0.42 USD per 1,000 answers; 0.0006 USD per right answer; 0.00042 USD for the measured requests; "
        "0.0005 USD for all requests"
    )
    assert facts["Price"] == "0.15 in, 0.6 out per million tokens, in USD (our contract, 2026-11-01)"
    assert facts["Reasoning"].startswith(
        "450 reasoning tokens in an answer; 15.0 other tokens; estimated from the share"
    )
    assert facts["Energy"] == "20.0 J per answer; 40.0 J per right answer"
    silent = dict(efficiency_facts(priced(cost=Cost("USD", reason="nobody counted"), energy=Energy(reason="far away"))))
    assert (silent["Cost"], silent["Energy"]) == ("not measured: nobody counted", "not measured: far away")
    failed = efficiency_facts(priced(cost=replace(COST, failed_unknown=3)))[0][1]
    assert failed.endswith("without 3 failed requests of which the server did not say what they used")


def test_columns() -> None:
    """Of one currency in the heading, of several in each cell; upper bounds are marked; none without a price."""
    bound, other = priced("a", cost=replace(COST, at_most=True)), priced("b", cost=Cost("EUR", 1.0, 3.0))
    assert (cost_heading([case()]), cost_heading([bound]), cost_heading([bound, other])) == ("", "USD/1k", "cost/1k")
    assert cost_cell(bound, with_currency=False) == "≤ 0.42"
    assert cost_cell(case(), with_currency=False) == "–"
    for shown in (
        "\n".join(table_lines([bound, other], 140)),
        markdown(run(bound, other)),
        Pages().run(run(bound, other), {}),
    ):
        assert "≤ 0.42 USD" in shown
        assert "3.00 EUR" in shown
    page = Pages().run(run(bound, priced("b")), {})
    assert "cost USD/1k" in page
    assert "Cost of 1,000 answers" in page
    assert "Cost of 1,000 answers" not in Pages().run(run(bound, other), {}), "two currencies have no best"
    assert "1k" not in "\n".join(table_lines([case()], 140))


def test_the_run() -> None:
    """The sum, or why there is none: a sum without a part would be too low."""
    assert run_cost_words([case()]) == ""
    assert run_cost_words([priced(), priced("b")]) == "cost of the run: 0.001 USD, warm-up and retries included"
    for cases, words in (
        ([priced(), case()], "some models have no price"),
        ([priced(), priced(cost=Cost("EUR", 1.0, 3.0, spent=1.0))], "prices are in EUR and USD"),
        ([priced(cost=Cost("USD", reason="nobody counted"))], "did not say what each request used"),
        ([priced(search=Search("concurrency", 4.0, True))], "of a search"),
        ([priced(against=(Against("pairs", "same"),))], "other side"),
    ):
        assert words in run_cost_words(cases)


def test_junit_and_details() -> None:
    """All numbers with the price; -vv has the words."""
    found = dict(properties(priced(cost=replace(COST, at_most=True), energy=Energy(20.0))))
    assert (found["cost_per_1k"], found["cost.currency"], found["cost.at_most"]) == ("0.42", "USD", "true")
    assert (found["energy_per_answer_j"], found["cost.spent"]) == ("20", "0.0005")
    assert "  cost: 0.42 USD per 1,000 answers" in "\n".join(case_lines(priced()))
