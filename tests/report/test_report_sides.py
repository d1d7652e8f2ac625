"""Distributions of both sides of a comparison, on the page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparison_doubles import IMPROVED, UNCHANGED, against, compared, comparison
from report_doubles import HOSTILE, case, measured, run

from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.html.sides_view import sides_panels
from pytest_flperf.report.terminal.comparisons import rows_of
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.sides import Sides

SLOW = Sides(tuple(10.0 + index for index in range(11)), tuple(20.0 + index for index in range(11)))


def with_sides(scenario: str, *comparisons: Comparison, model: str = "m") -> CaseResult:
    """A compared case whose single values are known on both sides."""
    metrics = {name: measured(list(SLOW.baseline)) for name in ("ttft_ms", "tpot_ms")}
    side = replace(against(*comparisons), sides={"ttft_ms": SLOW, "tpot_ms": SLOW}, metrics=metrics)
    return replace(compared(scenario, *comparisons, model=model), against=(side,))


def test_both_sides() -> None:
    """A chart per compared metric that has values: the baseline dashed, this run coloured, what came of it."""
    panels = sides_panels(rows_of([with_sides("chat", comparison(), UNCHANGED, IMPROVED)]), ["m"])
    assert panels is not None
    (first, second) = panels.groups[0].panels
    assert (first.caption, first.more, first.tone) == ("chat: TTFT", "ttft_ms.p50 +12.3 % REGRESSED", "bad")
    assert second.caption == "chat: TPOT"
    svg = str(first.drawing)
    assert svg.count("stroke-dasharray") == 1
    assert svg.count('class="s0"') == 1
    assert "this run: n 11, from 10.0 to 20.0 ms" in svg
    assert "baseline: n 11" in svg
    assert "axis begins at 10" in svg


def test_a_metric_has_one_chart() -> None:
    """Two rules on one metric: one chart, which says the worse verdict."""
    later = comparison(rule="ttft_ms.p95 > +10%", statistic="p95", verdict="unchanged", fails=False)
    panels = sides_panels(rows_of([with_sides("chat", later, comparison())]), ["m"])
    assert panels is not None
    assert [panel.more for panel in panels.groups[0].panels] == ["ttft_ms.p50 +12.3 % REGRESSED"]


def test_what_fails_comes_first_and_the_rest_is_said() -> None:
    """Thirty cases: twenty-four charts, the failing one first; models by name where there are several."""
    cases = [with_sides(f"s{index}", replace(UNCHANGED, metric="ttft_ms"), model="m") for index in range(30)]
    panels = sides_panels(rows_of([*cases, with_sides("bad", comparison(), model="n")]), ["m", "n"])
    assert panels is not None
    assert panels.groups[0].panels[0].caption == "bad on n: TTFT"
    assert len(panels.groups[0].panels) == 24
    assert "24 of 31 are drawn" in panels.note


def test_files_without_single_values() -> None:
    """No chart, and the page as it was."""
    assert sides_panels(rows_of([compared("chat", comparison())]), ["flperf-nano"]) is None
    html = Pages().run(run(compared("chat", comparison()), status="failed"), {})
    assert "sides-0" not in html
    assert "sides-0" in Pages().run(run(with_sides("chat", comparison()), status="failed"), {})


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_sides(text: str) -> None:
    """A metric and a model of any name break nothing."""
    odd = replace(comparison(), metric=text)
    side = replace(against(odd), sides={text: SLOW}, metrics={text: measured([1.0, 2.0])})
    it = case(text, text, against=(side,), metrics={text: measured([1.0, 2.0])})
    assert "<script" not in Pages().run(run(it), {})
