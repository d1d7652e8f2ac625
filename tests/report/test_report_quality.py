"""Quality over prompts on every surface."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import replace

import pytest
from report_doubles import case, measured, quality_of, run

from pytest_flperf.report.csv import csv_text
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.junit import properties
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.quality_words import quality_lines, quality_words, share, share_and_interval
from pytest_flperf.report.terminal.summary import case_lines
from pytest_flperf.results.records import CaseResult

QUALITY = quality_of("maths")
SCORED = case(metrics={"quality": measured([1.0, 0.6])}, answer_quality=QUALITY)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1, "100 %"),
        (0.9996, ">99.9 %"),
        (0.99, "99 %"),
        (0.123456, "12.3 %"),
        (1e-4, "0.01 %"),
        (2.5e-5, "<0.01 %"),
        (0, "0 %"),
    ],
)
def test_share(value: float, words: str) -> None:
    """100 % is said only where nothing is wrong."""
    assert share(value) == words


@pytest.mark.parametrize(
    ("value", "interval", "words"),
    [
        (0.6, (0.361, 0.809), ("60.0 %", "[36.1 %, 80.9 %]")),
        (5 / 7, (0.29, 0.963), ("71.4 %", "[29.0 %, 96.3 %]")),
        (0.8, (0.55, 0.93), ("80 %", "[55 %, 93 %]")),
        (0.123456, None, ("12.3 %", "")),
        (0.9996, (0.5, 1.0), (">99.9 %", "[50.0 %, 100 %]")),
        (0.0, (0.0, 2e-4), ("0 %", "[0 %, 0.02 %]")),
    ],
)
def test_decimals_agree(value: float, interval: tuple[float, float] | None, words: tuple[str, str]) -> None:
    """Of a share and its interval; none is rounded to 0 or 100 %."""
    assert share_and_interval(value, interval) == words


def test_words() -> None:
    """The mean with its interval, both views of failures, pass rates; of chats what there is."""
    assert quality_words(QUALITY) == (
        "80 % [55 %, 93 %] over 10 prompts; 7 of them right each time; at least 60 % with 95 % confidence; 2 failed "
        "requests score 0, the answered ones 85.7 %; pass@3 90 %, pass^3 70 %"
    )
    chat = replace(QUALITY, prompts=0, ci95=None, lower95=None, pass_at=(), pass_all=(), failed=0)
    assert quality_words(chat) == "80 % over 30 requests"
    assert quality_lines(QUALITY)[1:] == [
        "  maths: 70 % [40 %, 90 %] over 6 prompts",
        "  (no category): 100 % [40 %, 100 %] over 4 prompts",
        "  … and 3 more categories",
        "  by check: maths 90 %, json 70 %",
        "  answers that did not score 1, some of them:",
        "    maths: 25 %: maths",
        "      expected maths",
    ]


def test_surfaces() -> None:
    """-vv, Markdown, JUnit, CSV and the page."""
    assert "  quality: 80 % [55 %, 93 %] over 10 prompts" in "\n".join(case_lines(SCORED))
    assert "| quality |" in markdown(run(SCORED, case("other")))
    assert "| 80 % [55 %, 93 %] |" in html.unescape(markdown(run(SCORED)))
    assert "quality" not in markdown(run(case()))
    found = dict(properties(SCORED))
    assert found["quality.lower95"] == "0.6"
    assert found["quality of maths"] == "0.7"
    ((row),) = csv.DictReader(io.StringIO(csv_text([run(SCORED)])))
    names = ("quality.prompts", "quality.ci95_low", "quality.ci95_high", "quality.lower95", "quality.answered")
    assert [float(row[name]) for name in names] == [10, 0.55, 0.93, 0.6, 0.857]
    page = Pages().run(run(SCORED), {})
    for words in ("Quality by category", "Quality by check", "Answers that did not score 1", "3 more categories"):
        assert words in page
    assert "Quality by category" not in Pages().run(run(case()), {})


def test_records_come_back() -> None:
    """From results.json, and those of older versions without it."""
    assert CaseResult.from_dict(SCORED.to_dict()) == SCORED
    older = {name: value for name, value in SCORED.to_dict().items() if name != "answer_quality"}
    assert CaseResult.from_dict(older).answer_quality is None
