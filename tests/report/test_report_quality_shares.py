"""How many answers were right, in the answer's sentence."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest
from report_doubles import HOSTILE, case, measured, quality_of, run
from test_report_answer import missed, two_models

from pytest_flperf.report.answer_sentence import answer_sentence
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.results.answer_quality import AnswerQuality, ScoredAnswer
from pytest_flperf.results.records import CaseResult


def right(share: float, asked: int, interval: tuple[float, float] | None, **changes: object) -> AnswerQuality:
    """Quality of prompts that were right or wrong, each asked once."""
    count = round(share * asked)
    whole = AnswerQuality(asked, 0, share, share, asked, count, interval, right=count)
    return replace(whole, **changes)  # type: ignore[arg-type]


def scored(quality: AnswerQuality, scenario: str = "questions", model: str = "m") -> CaseResult:
    """A case with this quality."""
    return replace(case(scenario, model), answer_quality=quality)


SIXTY = right(0.6, 20, (0.361, 0.809))


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (SIXTY, "60 % of 20 prompts right [36, 81]"),
        (right(1.0, 20, (0.83, 1.0)), "100 % of 20 prompts right [83, 100]"),
        (right(0.999, 1000, (0.9944, 0.99997)), "99.9 % of 1000 prompts right [99.4, >99.9]"),
        (right(1 / 300, 300, (0.0001, 0.018)), "<1 % of 300 prompts right [<1, 2]"),
        (right(0.0, 1, None), "0 % of 1 prompt right"),
        (right(0.6, 20, None, prompts=0, perfect=0, right=12), "60 % of 20 requests right"),
        (right(0.6, 20, None, prompts=0, perfect=0, right=None), "mean score 60 % over 20 requests"),
        (quality_of("maths"), "mean score 80 % over 10 prompts [55, 93]"),
    ],
)
def test_the_share_that_was_right(quality: AnswerQuality, said: str) -> None:
    """With its interval, rounded to 0 or 100 only where nothing or all was right; then the time, as without it."""
    assert answer_sentence(run(scored(quality))) == f"{said}; first token after 15.0 ms (p50)"


def test_failures_come_first() -> None:
    """Why cases failed stands before the share that was right, and the time is left out then."""
    failed = replace(scored(SIXTY), outcome="failed", budgets=missed("5 ms", 9.0))
    assert answer_sentence(run(failed)).startswith("1 of 1 case failed: ttft_ms.p50 <= 5 ms missed")
    assert answer_sentence(run(failed)).endswith("; 60 % of 20 prompts right [36, 81]")


def test_every_surface_says_it() -> None:
    """Terminal, page and Markdown, which is the job summary as well; not with -q."""
    made = run(scored(SIXTY))
    said = answer_sentence(made)
    assert f"flperf: {said}" in [line.text for line in summary_lines(made, 140, 0)]
    assert said in html.unescape(Pages().run(made, {})).replace("<wbr>", "")
    assert said in html.unescape(markdown(made)).replace("\\", "")
    assert not any("prompts right" in line.text for line in summary_lines(made, 140, -1))


def test_several_cases_are_told_apart() -> None:
    """The lowest first, others counted; a model is named where there are several, and no ranking."""
    shares = [scored(right(each / 10, 10, None), f"s{each}") for each in (9, 5, 7, 8)]
    assert answer_sentence(run(*shares)).startswith(
        "50 % of 10 prompts right in s5; 70 % of 10 prompts right in s7; 80 % of 10 prompts right in s8; "
        "1 more of quality; first token after "
    )
    one_of_two = run(scored(SIXTY, "one", "/models/nano.gguf"), case("one", "/models/micro.gguf"))
    assert answer_sentence(one_of_two).endswith("; nano: 60 % of 20 prompts right [36, 81]")
    assert "right" not in answer_sentence(two_models(2.0))


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_are_hostile(kind: str) -> None:
    """Whatever scenarios and models are called, the sentence is one line of bounded length."""
    said = answer_sentence(run(scored(SIXTY, HOSTILE[kind], HOSTILE[kind]), case("other")))
    assert said.isprintable()
    assert len(said) < 400


def test_details_list_answers_that_did_not_score_1() -> None:
    """A few with -vv, on one line each beside what was expected, bounded and harmless."""
    wrong = [
        ScoredAnswer(0.0, f"::error::\nno\x1b[31m {number}" + "x" * 9_000, '{"equals": "yes"}', f"q{number}", reason="")
        for number in range(9)
    ]
    made = run(replace(scored(replace(SIXTY, answers=tuple(wrong))), metrics={"quality": measured([1.0, 0.0])}))
    lines = [line.text for line in summary_lines(made, 80, 2)]
    told = [line for line in lines if line.startswith("      q")]
    assert len(told) == 5
    assert told[0].startswith(r"      q0: 0 %: \x3a:error:: no\x1b[31m 0xxx")
    assert told[0].endswith("…")
    assert len(told[0]) < 200
    assert lines[lines.index(told[0]) + 1] == '        expected {"equals": "yes"}'
    assert not any(line.startswith("      q") for line in (each.text for each in summary_lines(made, 80, 1)))
