"""Size of large pages: bytes and elements, which decide how quickly a browser opens them."""

from __future__ import annotations

import random
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from comparison_doubles import IMPROVED, UNCHANGED, UNDECIDED, against, comparison
from report_doubles import case, measured, run

from pytest_flperf.history.earlier_runs import EarlierRun
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.samples import CaseSamples
from pytest_flperf.report.spans import Reading, Span
from pytest_flperf.results.records import CaseResult, Failure, Requests
from pytest_flperf.results.sides import Sides

METRICS = (
    "ttft_ms", "ttfat_ms", "tpot_ms", "gen_tps", "tps", "prompt_tps", "e2e_ms", "itl_ms", "output_tokens",
    "prompt_tokens",
)  # fmt: skip

SPANS = tuple(
    Span(number % 16, number * 10**8, number * 10**8 + 3 * 10**7, number * 10**8 + 9 * 10**7, number % 9 > 0)
    for number in range(400)
)
GAPS = tuple([1.0 + number % 7] * 400 for number in range(12))
READINGS = {
    name: [Reading(number * 10**8, 10.0 + number % 80) for number in range(400)]
    for name in ("server_cpu_pct", "server_rss_mb", "gpu_util_pct", "gpu_power_w")
}


class Counter(HTMLParser):
    """Counts elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count it."""
        del tag, attrs
        self.elements += 1


def grid(models: int, scenarios: int, *, failed: bool = False) -> tuple[list[CaseResult], dict[str, CaseSamples]]:
    """Cases of 130 requests each, with ten metrics and single values."""
    chance = random.Random(1)
    cases, samples = [], {}
    for scenario in range(scenarios):
        for model in range(models):
            values = sorted(10 * (model + 1) * chance.lognormvariate(0, 0.3) for _ in range(130))
            it = case(
                f"scenario-{scenario}", f"model-{model}", metrics={name: measured(values) for name in METRICS},
                outcome="failed" if failed else "passed", message="failed: 3 of 11 requests" if failed else "",
                failures=(Failure("http_5xx", 3, 500, "HTTP 500", "overloaded"),) if failed else (),
                requests=Requests(11, 8, 3, by_outcome={"ok": 8, "http_5xx": 3}) if failed else Requests(11, 11),
            )  # fmt: skip
            cases.append(it)
            known = {name: tuple(values) for name in ("ttft_ms", "tpot_ms", "e2e_ms")}
            samples[it.nodeid] = CaseSamples(known, "An answer " * 20, True, SPANS, GAPS, READINGS)
    return cases, samples


def earlier(cases: list[CaseResult]) -> dict[str, tuple[EarlierRun, ...]]:
    """Nineteen earlier runs of each case."""
    runs = [f"2026-11-{day:02d}T10:00:00.000+00:00" for day in range(1, 20)]
    return {it.nodeid: tuple(EarlierRun(run_at, "passed", 10.0 + len(it.model)) for run_at in runs) for it in cases}


def test_ten_models_and_twenty_scenarios() -> None:
    """Below 1 MB and 8,000 elements; each case has its link and its numbers."""
    cases, samples = grid(10, 20)
    html = Pages().run(run(*cases), samples, earlier(cases))
    assert "History<" in html
    assert "In time<" in html
    assert len(html.encode()) < 1_000_000
    assert Counter(html).elements < 8_000
    assert html.count('href="#case-') == html.count(' id="case-') == 200


@pytest.mark.parametrize(("models", "scenarios", "each"), [(10, 20, 1), (10, 5, 4), (1, 20, 10), (1, 1, 200)])
def test_two_hundred_comparisons(models: int, scenarios: int, each: int) -> None:
    """In the same bounds; those that fail are among those in the table, and what is left out is said."""
    cases, samples = grid(models, scenarios)
    values = tuple(sorted(samples[cases[0].nodeid].values["ttft_ms"]))
    sides = {"ttft_ms": Sides(values, values)}
    verdicts = [IMPROVED, UNCHANGED, UNDECIDED] * each
    for index, it in enumerate(cases):
        fails = index == len(cases) - 1
        mine = (*verdicts[: each - fails], *[comparison()] * fails)
        cases[index] = replace(it, against=(against(*mine, sides=sides, metrics={"ttft_ms": it.metrics["ttft_ms"]}),))
    html = Pages().run(run(*cases, status="failed"), samples, earlier(cases))
    table = html.partition('id="compared"')[2].partition("</section>")[0]
    rows, drawn = (30, 20) if len(cases) > 100 else (100, 60)
    assert f"{rows} of 200 comparisons are here, the most serious" in table
    assert f"{drawn} of 200 comparisons are drawn" in table
    assert table.count(">REGRESSED</td>") == 1
    assert len(html.encode()) < 1_000_000
    assert Counter(html).elements < 8_000


@pytest.mark.parametrize("models", [1, 2])
def test_five_hundred_cases(models: int) -> None:
    """Below 2 MB and 20,000 elements, with a section for each."""
    cases, samples = grid(models, 500 // models)
    html = Pages().run(run(*cases), samples)
    assert len(html.encode()) < 2_000_000
    assert Counter(html).elements < 20_000
    assert html.count(' id="case-') == 500


def test_all_failed() -> None:
    """Two hundred failed cases: each is listed once, with its evidence, and the page stays in its bounds."""
    cases, samples = grid(10, 20, failed=True)
    html = Pages().run(run(*cases, status="failed"), samples)
    assert html.count('class="failure"') == 200
    assert html.count("overloaded") == 200
    assert len(html.encode()) < 1_000_000
    assert Counter(html).elements < 8_000


def test_plain_sections_say_the_same() -> None:
    """Of many cases, each is one text: its numbers, budgets, facts, notes and command."""
    cases, samples = grid(1, 25)
    noted = [case("noted", notes=("a <b> note", "warning: late"), settings={"seed": 7}), *cases]
    html = Pages().run(run(*noted), samples)
    text = html.partition('id="case-1"')[2].partition("</pre>")[0]
    for part in (
        "ttft_ms: TTFT, ms",
        "11.0 to 19.0",
        "error_rate &lt;= 0",
        "Asked for: seed=7",
        "Note: a &lt;b&gt; note\nWarning: late\n",
    ):
        assert part in text, part
    assert "Run it again:\n  pytest" in text
