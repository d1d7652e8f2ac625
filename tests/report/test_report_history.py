"""The last runs of each scenario, on the page."""

from __future__ import annotations

import re

from report_doubles import case, measured, run

from pytest_flperf.history.earlier_runs import EarlierRun
from pytest_flperf.report.html.content import Panel
from pytest_flperf.report.html.history_view import history_panels
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.results.records import BudgetVerdict, CaseResult


def before(*values: float, failed: int = -1) -> tuple[EarlierRun, ...]:
    """Earlier runs with these medians, a day apart."""
    return tuple(
        EarlierRun(f"2026-11-{1 + day:02d}T10:00:00.000+00:00", "failed" if day == failed else "passed", value)
        for day, value in enumerate(values)
    )


def panel(earlier: dict[str, tuple[EarlierRun, ...]], *cases: CaseResult) -> Panel:
    """The chart of these cases of one scenario."""
    found = history_panels({"short": {it.model: it for it in cases}}, earlier, [it.model for it in cases])
    assert found is not None
    (only,) = found.groups[0].panels
    return only


def test_this_run_is_the_last() -> None:
    """A line through the earlier runs to this one, whose mark is larger; dates at the ends, numbers in words."""
    found = panel({case().nodeid: before(12, 14, 13)}, case())
    assert (found.caption, found.more) == ("short", "4 runs")
    svg = str(found.drawing)
    assert svg.count("a2.2 2.2") == 2 * 3
    assert svg.count("a5 5") == 2
    assert "2026-11-01" in svg
    assert ">this run<" in svg
    assert "m: 15.0 ms in this run, from 12.0 to 14.0 in 3 earlier runs" in svg
    path = re.search(r'class="s0"[^>]* d="M([^a]*)M', svg)
    assert path is not None
    places = [float(pair.split()[0]) for pair in path[1].partition("M")[0].split("L")]
    assert places == sorted(places)
    assert len(places) == 4


def test_models_share_the_runs() -> None:
    """Two models in one chart; a run that one of them lacks leaves a gap in its line only."""
    a, b = case(model="a"), case(model="b")
    whole = before(12, 14, 13)
    svg = str(panel({a.nodeid: whole, b.nodeid: (whole[0], whole[2])}, a, b).drawing)
    assert svg.count('class="s0"') == svg.count('class="s1"') == 1
    assert "in 2 earlier runs" in svg


def test_at_most_twenty_runs() -> None:
    """However many days two models were measured on."""
    a, b = case(model="a"), case(model="b")
    days = before(*range(10, 40))
    found = panel({a.nodeid: days[:19], b.nodeid: days[11:]}, a, b)
    assert found.more == "20 runs"


def test_failed_runs_and_budgets() -> None:
    """A cross on a run that failed; the budget of the median is a line, that of another number is not."""
    budgets = tuple(
        BudgetVerdict("b", limit, 1.0, 11, True, "", "ttft_ms", statistic)
        for limit, statistic in ((20.0, "p50"), (21.0, "p95"))
    )
    svg = str(panel({case().nodeid: before(12, 14, failed=1)}, case(budgets=budgets)).drawing)
    assert svg.count("l8 8") == 1
    assert "p50 ≤ 20 ms" in svg
    assert "21 ms" not in svg
    assert "l8 8" not in str(panel({case().nodeid: before(12, 14)}, case()).drawing)


def test_the_axis_says_where_it_begins() -> None:
    """At zero where the numbers lie apart, else elsewhere, which is said."""
    assert "TTFT p50, ms, axis begins at" in str(panel({case().nodeid: before(14, 14.5)}, case()).drawing)
    assert "TTFT p50, ms<" in str(panel({case().nodeid: before(1, 2)}, case()).drawing)


def test_no_earlier_runs() -> None:
    """No section without a store, at the first run, or for a case without the metric."""
    assert history_panels({"short": {"m": case()}}, {}, ["m"]) is None
    odd = case(metrics={"tps": measured([1.0])})
    assert history_panels({"short": {"m": odd}}, {odd.nodeid: before(1)}, ["m"]) is None
    assert "#history" not in Pages().run(run(), {})
    html = Pages().run(run(), {}, {case().nodeid: before(12)})
    assert '<a href="#history">History</a>' in html
