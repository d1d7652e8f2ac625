"""Distributions on the page: an ECDF per scenario, models overlaid."""

from __future__ import annotations

import re
from dataclasses import replace

from report_doubles import case, measured, run

from pytest_flperf.report.html.content import Panels
from pytest_flperf.report.html.distributions_view import distributions
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.samples import CaseSamples
from pytest_flperf.results.records import BudgetVerdict, CaseResult


def section(*cases: CaseResult, samples: dict[str, CaseSamples] | None = None) -> Panels:
    """The section of these cases, which are of other scenarios or models."""
    groups: dict[str, dict[str, CaseResult]] = {}
    for it in cases:
        groups.setdefault(it.scenario, {})[it.model] = it
    found = distributions(groups, samples or {}, list(dict.fromkeys(it.model for it in cases)))
    assert found is not None
    return found


def budget(limit: float, statistic: str = "p95") -> BudgetVerdict:
    """A budget of the TTFT."""
    return BudgetVerdict(f"ttft_ms.{statistic} <= {limit}", limit, 1.0, 11, True, "suite", "ttft_ms", statistic)


def ticks(svg: str) -> list[str]:
    """The labels of the horizontal axis."""
    return re.findall(r'y="141" text-anchor="(?:middle|end)">([0-9.]+)<', svg)


def test_models_of_a_scenario_are_overlaid() -> None:
    """A chart per scenario and metric, a curve per model in its colour, a key for each."""
    found = section(case("a", "m"), case("a", "n"), case("b", "m"), case("b", "n"))
    assert [group.title for group in found.groups] == ["TTFT, ms", "TPOT, ms", "End to end, ms"]
    assert [(panel.caption, panel.more) for panel in found.groups[0].panels] == [
        ("a", "11 requests each"), ("b", "11 requests each"),
    ]  # fmt: skip
    for panel in found.groups[0].panels:
        assert [str(panel.drawing).count(f'class="s{series}"') for series in (0, 1, 2)] == [1, 1, 0]
    assert [key.name for key in found.legend] == ["m", "n"]
    assert section(case()).legend == ()


def test_scenarios_share_one_axis() -> None:
    """A quick scenario and a slow one have the same ticks, which have room for both."""
    slow = case("slow", metrics={"ttft_ms": measured([900.0 + index for index in range(11)])})
    first, second = (str(panel.drawing) for panel in section(case("quick"), slow).groups[0].panels)
    assert ticks(first) == ticks(second)
    assert {"10", "1000"} <= set(ticks(first))
    assert "TTFT, ms, log scale" in first


def test_budgets_are_lines() -> None:
    """Of this metric, with a statistic that is a share of the requests; the strictest two."""
    it = case(budgets=(budget(30), budget(50, "p99"), budget(99, "max"), budget(12, "mean")))
    svg = str(section(it).groups[0].panels[0].drawing)
    assert "p95 ≤ 30 ms" in svg
    assert "p99 ≤ 50 ms" in svg
    assert "99 ms" not in svg
    assert "12 ms" not in svg
    assert "≤" not in str(section(it).groups[2].panels[0].drawing)


def test_a_far_budget_does_not_squash_the_curves() -> None:
    """A limit far beyond the values is said at the edge."""
    svg = str(section(case(budgets=(budget(60_000),))).groups[0].panels[0].drawing)
    assert "p95 ≤ 60000 ms →" in svg
    assert "50000" not in ticks(svg)


def test_what_is_left_out_is_said() -> None:
    """Scenarios beyond forty, requests beyond ten thousand, single requests that are not at hand."""
    values = tuple(10.0 + index for index in range(11))
    whole = CaseSamples({"ttft_ms": values}, "", True)
    assert "Dotted" in section(case()).note
    assert "Dotted" not in section(case(), samples={case().nodeid: whole}).note
    assert "first 10,000" in section(case(), samples={case().nodeid: replace(whole, complete=False)}).note
    many = [case(f"s{index}", outcome="failed" if index == 60 else "passed") for index in range(61)]
    found = section(*many)
    assert "40 of 61 scenarios are drawn" in found.note
    assert found.groups[0].panels[-1].caption == "s60"


def test_nothing_measured() -> None:
    """No section, no heading, no link to it."""
    html = Pages().run(run(case(metrics={})), {})
    assert "distributions" not in html


def test_nothing_is_drawn_twice() -> None:
    """The distribution of a case is on the page once for each metric."""
    html = Pages().run(run(), {})
    assert html.count("TTFT, ms, axis begins at 10<") == 1
