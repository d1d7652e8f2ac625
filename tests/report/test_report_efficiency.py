"""Cost, energy and reasoning in words, tables and on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

import pytest
from report_doubles import case, measured, quality_of, run

from pytest_flperf._text import amount
from pytest_flperf.gates.budgets import parse_budget
from pytest_flperf.gates.run_budgets import parse_run_budget
from pytest_flperf.gates.verdict import verdict_text
from pytest_flperf.report.efficiency_words import cost_cell, cost_heading, efficiency_facts, money, run_cost_words
from pytest_flperf.report.figures import number
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.junit import properties
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.results_table import table_lines
from pytest_flperf.report.terminal.summary import case_lines, summary_lines
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.comparison import Against
from pytest_flperf.results.cost import Cost, Energy, Price
from pytest_flperf.results.records import CaseResult, Requests

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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.3e-5, "0.000013"),
        (9e-5, "0.00009"),
        (-2.5e-8, "-0.000000025"),
        (0.05, "0.05"),
        (0.0, "0"),
        (1e-12, "1e-12"),
    ],
)
def test_small_amounts(value: float, text: str) -> None:
    """They are written without an exponent, with the unit as well."""
    assert number(value) == text
    assert amount(value, "currency") == text


def test_small_costs_of_requests() -> None:
    """``-vv`` has no exponent, nor has the page."""
    found = priced(metrics={"request_cost": measured([1.3e-5, 1.4e-5])})
    lines = "\n".join(case_lines(found))
    assert "max 0.000014" in lines
    assert not re.search(r"\de-\d", lines)
    assert not re.search(r"\de-\d", Pages().run(run(found), {}).partition("<main>")[2])


def test_what_is_shown_is_defined() -> None:
    """The page defines the metrics that the run has, and not those that it has not."""
    reasoning = {"reasoning_tokens": measured([400.0, 500.0])}
    found = priced(metrics=reasoning, energy=Energy(20.0, 40.0), answer_quality=quality_of("maths"))
    defined = Pages().run(run(found), {}).replace("<wbr>", "").partition('id="definitions"')[2]
    for name in ("reasoning_tokens", "cost_per_1k", "energy_per_answer_j", "ttft_ms", "late_reads"):
        assert f"({name})</dt>" in defined, name
    assert "from usage" in defined
    plain = Pages().run(run(case()), {}).partition('id="definitions"')[2]
    assert "(ttft_ms)</dt>" in plain
    assert "(cost_per_1k)" not in plain


def test_quality_and_cost_come_before_times() -> None:
    """A wide table scrolls; what decides stands at its left."""
    table = Pages().run(run(priced(metrics={"quality": measured([1.0])})), {}).partition('id="results"')[2]
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', table.partition("</thead>")[0])
    assert heads[2:6] == ["verdict", "n", "quality", "cost USD/1k"]
    assert len(heads) == len(re.findall(r"<t[hd]\b", table.partition("<tbody>")[2].partition("</tr>")[0]))


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


def test_the_run_costs_the_same_on_every_surface() -> None:
    """Terminal, page and Markdown end in one sentence."""
    cost = replace(COST, spent=1.28e-5)
    found = run(priced(cost=cost), status="passed")
    said = "0.0000128 USD, warm-up and retries included"
    assert run_cost_words(found.cases) == f"cost of the run: {said}"
    assert said in markdown(found)
    assert said in Pages().run(found, {})
    assert any(said in line.text for line in summary_lines(found, 140, 2, ()))


def test_small_amounts_of_a_case() -> None:
    """The budget's line, the terminal and the page read a small cost without an exponent."""
    small = Cost("USD", 1.28e-8, 1.28e-5, 3.2e-9, 1.28e-8)
    verdict = parse_budget("cost_per_1k <= 0.00001", "suite").judge(priced(cost=small))
    bad = priced(
        cost=small, outcome="failed", budgets=(verdict,), metrics={"request_cost": measured([3.2e-6, 3.4e-6])}
    )  # fmt: skip
    told = (verdict_text(bad), "\n".join(case_lines(bad)), Pages().run(run(bad), {}), markdown(run(bad)))
    for text in told:
        assert "0.0000128" in text
        assert not re.search(r"\de-0\d", text)


@pytest.mark.parametrize(("operator", "met"), [("<=", True), (">=", False)])
def test_upper_bounds_of_a_run(operator: Literal["<=", ">="], met: bool) -> None:
    """What a run cost at most shows no lower limit to be met."""
    cases = [priced(cost=replace(COST, at_most=True))]
    verdict = parse_run_budget(f"run.cost {operator} {'1' if met else '0.0001'}").judge(cases, 1.0)
    assert verdict.met is met
    assert ("upper bound" in verdict.reason) is not met
    assert (verdict.value is None) is not met


def test_a_missed_limit_of_an_upper_bound() -> None:
    """It is said that the true cost may be lower."""
    bound = priced(cost=replace(COST, at_most=True))
    missed = parse_budget("cost_per_1k <= 0.1", "suite").judge(bound)
    assert not missed.met
    assert "upper bound" in missed.reason
    of_run = parse_run_budget("run.cost <= 0.0001").judge([bound], 1.0)
    assert not of_run.met
    assert "upper bound" in of_run.reason


def test_a_foreign_currency() -> None:
    """A file from elsewhere may hold any text in its place: no tag, no row of a table."""
    found = run(priced(cost=Cost("<b>|x|", 1.0, 3.0, spent=1.0)))
    for text in (markdown(found), Pages().run(found, {})):
        assert "<b>" not in text
    rows = [line for line in markdown(found).splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1


def test_each_map_has_a_switch() -> None:
    """Of ten maps of scenarios, only the chosen one is shown."""
    metrics = {name: measured([1.0, 2.0]) for name in ("ttft_ms", "e2e_ms", "tpot_ms", "tps", "quality")}
    cases = [
        priced(
            model, metrics=metrics, energy=Energy(5.0), answer_quality=quality_of("maths"),
            requests=Requests(total=11, ok=10, failed=1),
        )
        for model in ("a", "b")
    ]  # fmt: skip
    page = Pages().run(run(*cases), {})
    maps = set(re.findall(r'<div class="heat (m\d+)">', page))
    assert maps == {f"m{number}" for number in range(1, 11)}
    for each in maps:
        assert f".heats:has(input.{each}:checked) .heat:not(.{each})" in page
