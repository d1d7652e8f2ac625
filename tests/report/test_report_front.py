"""Quality and speed on the page: the Pareto front as chart and table."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_doubles import HOSTILE, case, measured, run

from pytest_flperf.answers.answer import answer
from pytest_flperf.report.answer_sentence import answer_sentence
from pytest_flperf.report.html.label_places import Box, placed
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.results.load import Load
from pytest_flperf.results.measured import PromptScore
from pytest_flperf.results.records import CaseResult, Requests, Run
from pytest_flperf.results.validation import checked_run


def models_of(speeds: dict[str, float], right: dict[str, float], *, scores: tuple[float, float] = (0.0, 1.0)) -> Run:
    """Models with these TTFTs in ms in nine scenarios in turns, right in such a share of 200 prompts of the first."""
    rng, names, cases = Random(1), list(speeds), []
    for number in range(9):
        for model in names[number % len(names) :] + names[: number % len(names)]:
            count = 11 if number else 200
            times = [speeds[model] * (1 + number / 4) * rng.lognormvariate(0, 0.05) for _ in range(count)]
            found: dict[str, object] = {}
            metrics = {"ttft_ms": measured(times), "e2e_ms": measured([3 * each for each in times])}
            if not number:
                prompts = [scores[rng.random() < right[model]] for _ in range(200)]
                found["prompt_scores"] = tuple(PromptScore(f"p{n}", 1, score) for n, score in enumerate(prompts))
                metrics["quality"] = measured(prompts)
            made = replace(case(f"s{number}", model), load=Load(iterations=count), tps_total=1000 / speeds[model])
            found["requests"] = Requests(total=count, ok=count, by_outcome={"ok": count})
            cases.append(replace(made, metrics=metrics, **found))  # type: ignore[arg-type]
    return run(*cases)


THREE = models_of({"quick": 5.0, "good": 20.0, "poor": 40.0}, {"quick": 0.6, "good": 0.95, "poor": 0.6})


def section(page: str) -> str:
    """The part of a page on quality and speed."""
    return page.partition('<section aria-labelledby="front">')[2].partition("</section>")[0]


def test_the_front_is_drawn() -> None:
    """Full points are on it, a hollow one is not; the description and a table say the same."""
    found = section(Pages().run(THREE, {}))
    assert len(re.findall(r'class="s\d met"', found)) == 2
    assert len(re.findall(r'class="s\d hollow"', found)) == 1
    told = re.search(r'<desc id="front-d">(.*?)</desc>', found)
    assert told is not None
    assert re.search(
        r"good 9\d(\.\d)? %, [\d.]+ ms, on the front; poor .*, off the front; quick .*, on the front", told[1]
    )
    assert "good is better at both</td>" in found
    assert found.count(">on it</td>") == 2
    assert ">quick</text>" in found


def test_the_sentence_has_both() -> None:
    """Speed and quality with its interval, the same on every surface."""
    made = models_of({"nano": 5.0, "micro": 20.0}, {"nano": 0.75, "micro": 0.95})
    said = answer_sentence(made)
    assert re.fullmatch(
        r"nano is faster than micro everywhere: .*; "
        r"micro is right [\d.]+ points more often than nano \[[\d.]+, [\d.]+\] \(200 prompts\)",
        said,
    )
    assert f"· {said}</span>" in Pages().run(made, {})
    assert f"**{said}.**" in markdown(made).replace("&#91;", "[").replace("&#93;", "]")
    assert any(line.text == f"flperf: {said}" for line in summary_lines(made, 400, 0))


def test_no_clear_difference() -> None:
    """Nobody is called better; the interval holds 0."""
    said = answer_sentence(models_of({"a": 5.0, "b": 20.0}, {"a": 0.85, "b": 0.85}))
    assert re.search(
        r"no clear difference in quality: \w [\d.]+ points above \w \[-?[\d.]+, [\d.]+\] \(200 prompts\)", said
    )


def test_graded_scores() -> None:
    """Answers that are partly right score higher; they are not right more often."""
    said = answer_sentence(models_of({"a": 5.0, "b": 20.0}, {"a": 0.3, "b": 0.9}, scores=(0.5, 0.9)))
    assert re.search(r"b scores [\d.]+ points higher than a \[[\d.]+, [\d.]+\] \(200 prompts\)", said)


NINE = {f"m{number}": 20.0 for number in range(1, 10)}


@pytest.mark.parametrize(
    ("speeds", "right", "said"),
    [
        (
            {"a": 20.0, "b": 20.0, "c": 20.0},
            {"a": 0.8, "b": 0.8, "c": 0.4},
            r"c is right # points less often than [ab] \[#, #\]; "
            r"no clear difference in quality: [ab] # points above [ab] \[-#, #\] \(200 prompts\)",
        ),
        (
            {"a": 20.0, "b": 5.0, "c": 20.0},
            {"a": 0.9, "b": 0.5, "c": 0.9},
            r"b, the fastest, is right # points less often than [ac] \[#, #\]; no clear difference in quality: .*",
        ),
        (
            {"a": 20.0, "b": 5.0, "c": 20.0},
            {"a": 0.95, "b": 0.45, "c": 0.7},
            r"a is right most often: # points above c \[#, #\], # above b, the fastest \[#, #\] \(200 prompts\)",
        ),
        (
            {"a": 20.0, "b": 20.0, "c": 5.0},
            {"a": 0.95, "b": 0.45, "c": 0.7},
            r"a is right most often: # points above c \[#, #\] \(200 prompts\)",
        ),
        (
            {"m0": 0.5, **NINE},
            {"m0": 0.4, "m1": 0.9, "m2": 0.9, **dict.fromkeys(list(NINE)[2:], 0.3)},
            r"m0, the fastest, is right # points less often than m[12] \[#, #\], and 7 others are behind it, too; "
            r"no clear difference in quality: m[12] # points above m[12] \[-#, #\] \(200 prompts\)",
        ),
        (
            {"m0": 20.0, **NINE},
            {"m0": 0.4, **dict.fromkeys(NINE, 0.8)},
            r"m0 is right # points less often than m\d \[#, #\]; "
            r"no clear difference in quality among 9 models: m\d # points above m\d \[-#, #\] \(200 prompts\)",
        ),
    ],
    ids=["one behind", "the fastest behind", "the fastest third", "the fastest second", "ten models", "nine alike"],
)
def test_who_is_decidedly_behind(speeds: dict[str, float], right: dict[str, float], said: str) -> None:
    """Whoever wins: the fastest model first, else the one farthest behind; others are counted, and it stays short."""
    *_, rest = re.split(
        r"; (?=[^;]*(?:right|no clear difference))", answer_sentence(models_of(speeds, right)), maxsplit=1
    )
    assert re.fullmatch(said.replace("#", r"[\d.]+"), rest), rest
    assert len(rest) < 200


def test_an_interval_that_is_barely_above_zero() -> None:
    """Who is decidedly behind never reads as if the interval held 0."""
    found = answer(THREE)
    (ranking,) = [each for each in found.rankings if each.goal == "quality"]
    best, *others = ranking.standings
    barely = replace(ranking, winner="", standings=(best, *(replace(each, behind_ci=(1e-4, 0.5)) for each in others)))
    said = answer_sentence(replace(THREE, answer=replace(found, rankings=(barely,))))
    assert "[>0, 50], and 1 other is behind it, too (200 prompts)" in said


def test_other_prompts() -> None:
    """Nothing is compared, and why is said; there is no chart."""
    made = models_of({"a": 5.0, "b": 20.0}, {"a": 0.3, "b": 0.9})
    cases = tuple(
        replace(each, prompts_digest="other") if each.model == "a" and each.prompt_scores else each
        for each in made.cases
    )
    found = replace(made, cases=cases)
    assert "quality is not compared: the models were not asked the same prompts" in answer_sentence(found)
    assert 'id="front"' not in Pages().run(found, {})


def test_stored_and_computed_again() -> None:
    """The front reads back from a file; from one of an older version it is computed."""
    stored = replace(THREE, answer=answer(THREE))
    assert checked_run(stored.to_dict()).answer == stored.answer
    old = stored.to_dict()
    del old["run"]["answer"]["front"]
    for ranking in old["run"]["answer"]["rankings"]:
        for standing in ranking["standings"] if ranking["goal"] == "quality" else ():
            standing.pop("behind_ci", None)
    assert checked_run(old).answer != stored.answer
    assert section(Pages().run(checked_run(old), {})) == section(Pages().run(stored, {}))
    del old["run"]["answer"]
    assert section(Pages().run(checked_run(old), {})) == section(Pages().run(stored, {}))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names(text: str) -> None:
    """Names are escaped and bounded, in the chart, its description and the table."""
    other = "2" + text
    page = Pages().run(models_of({text: 5.0, other: 20.0}, {text: 0.6, other: 0.95}), {})
    found = section(page)
    assert "<svg" in found
    assert not re.search(r"<(script|img)", found)
    assert len(found) < 200_000


POINT = st.tuples(st.floats(40, 340), st.floats(30, 240))


@given(st.lists(st.tuples(POINT, st.floats(10, 150)), max_size=25))
def test_labels_never_overlap(points: list[tuple[tuple[float, float], float]]) -> None:
    """Neither each other nor what is drawn; all inside the frame."""
    places, frame = [place for place, _ in points], Box(40, 20, 360, 250)
    marks = [Box(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    boxes = placed(places, [(width, 13.0) for _, width in points], marks, frame)
    found = [each for each in boxes if each is not None]
    assert len(boxes) == len(points)
    for number, box in enumerate(found):
        assert box.inside(frame)
        assert not any(box.meets(other) for other in [*marks, *found[:number]])
    if len(points) == 1:
        assert found


def test_answers_are_folded() -> None:
    """Answers beside what was expected open by a click, also where there is one case alone."""
    from report_doubles import quality_of

    scored: CaseResult = case(metrics={"quality": measured([1.0, 0.6])}, answer_quality=quality_of("maths"))
    page = Pages().run(run(scored), {})
    assert '<details class="folded"><summary>Answers that did not score 1, the worst first</summary>' in page
    assert "80 % [55 %, 93 %]" in page.partition('<section aria-labelledby="results">')[2].partition("</section>")[0]
