"""What is said of models by a judge whose mistakes are known: how often intervals and tests are right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean

import pytest
from judge_double import KnownJudge
from scipy.stats import binomtest

from pytest_flperf.quality.judge_prompts import DEFAULT_RUBRIC
from pytest_flperf.reference_server import JudgeBias
from pytest_flperf.results.judged import PairScore, Rubric
from pytest_flperf.results.records import CaseResult
from pytest_flperf.session.judge.answers import CaseAnswers, StoredAnswer
from pytest_flperf.session.judge.judging import judge_of
from pytest_flperf.session.judge.labels import Label, matched
from pytest_flperf.session.judge.pairwise import judge_pairwise, sides_of_run
from pytest_flperf.session.judge.rubric import judge_by_rubric

JUDGE = judge_of("judge", "openai", DEFAULT_RUBRIC)


def least(hits: int, tries: int) -> float:
    """Lower end of the exact 95 % interval of a rate."""
    return float(binomtest(hits, tries).proportion_ci(0.95, "exact").low)


def case(model: str, texts: Sequence[str], categories: Sequence[str] = ()) -> CaseAnswers:
    """The answers of one model, a prompt each."""
    nodeid = f"s.json::qa[{model}]"
    answers = tuple(
        StoredAnswer(nodeid, n, f"p{n}", text, f"r{n}", categories[n] if categories else "")
        for n, text in enumerate(texts)
    )
    questions = {f"p{n}": f"Question {n}?" for n in range(len(texts))}
    return CaseAnswers(CaseResult(nodeid, "s", "qa", model), answers, questions)


def scored(cases: Sequence[CaseAnswers], bias: JudgeBias, labels: Sequence[Label] = ()) -> Rubric:
    """Scores by the judge."""
    known = matched(labels, cases) if labels else None
    found, _ = judge_by_rubric(cases, JUDGE, DEFAULT_RUBRIC, KnownJudge(bias), labels=known, answers=1, most=100_000)
    return found


def compared(cases: Sequence[CaseAnswers], bias: JudgeBias) -> PairScore:
    """The comparison of two models."""
    found, _ = judge_pairwise(sides_of_run(cases), JUDGE, DEFAULT_RUBRIC, KnownJudge(bias), most=100_000)
    return found.scores[0]


def earlier_labels(chance: random.Random, count: int, good: float, prompts: int) -> list[Label]:
    """What people said of answers of an earlier run to the same rows."""
    found = []
    for n in range(count):
        passed = n < count // 4 or (n < count - count // 4 and chance.random() < good)
        text = f"[{5 if passed else 1}] earlier {n}"
        found.append(Label(passed, f"l.jsonl:{n + 1}", row=f"r{n % prompts}", answer=text))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("good", "q1", "q0"), [(0.7, 0.9, 0.8), (0.5, 0.8, 0.9), (0.9, 0.95, 0.75)])
def test_the_corrected_rate_covers(good: float, q1: float, q0: float) -> None:
    """400 runs, with labels of another run's answers: the interval misses the true rate in 5 %, from below in half."""
    tries, prompts, chance = 400, 120, random.Random(20261121)
    missed = above = 0
    found = []
    for seed in range(tries):
        texts = [f"[{5 if chance.random() < good else 1}] {n}" for n in range(prompts)]
        bias = JudgeBias(q1=q1, q0=q0, seed=seed)
        (row,) = scored([case("nano", texts)], bias, earlier_labels(chance, 80, good, prompts)).scores
        assert row.corrected_pass_rate_ci95 is not None
        assert row.corrected_pass_rate is not None
        low, high = row.corrected_pass_rate_ci95
        missed += not low <= good <= high
        above += low > good
        found.append(row.corrected_pass_rate)
    assert least(missed, tries) <= 0.05, f"missed in {missed} of {tries}"
    assert least(above, tries) <= 0.025, f"above the truth in {above} of {tries}"
    assert missed < 0.08 * tries
    assert abs(fmean(found) - good) < 0.02


def test_position_bias_becomes_ties() -> None:
    """Of 400 pairs 30 % go to where an answer stands: they are ties and flips, and nobody's win."""
    bias = JudgeBias(position_bias=0.3, seed=9)
    right, wrong = [f"[5] {n}" for n in range(400)], [f"[1] {n}" for n in range(400)]
    row = compared([case("nano", right), case("pico", wrong)], bias)
    assert row.flips == row.ties
    assert (row.losses, row.judge_errors, row.wins + row.ties) == (0, 0, 400)
    assert abs((row.flip_rate or 0) - 0.3) < 0.08
    other_way = compared([case("pico", wrong), case("nano", right)], bias)
    assert (other_way.wins, other_way.losses) == (0, row.wins)
    alike = compared([case("nano", [f"[3] a{n}" for n in range(400)]), case("pico", [f"[3] b{n}" for n in range(400)])],
                     bias)  # fmt: skip
    assert (alike.wins, alike.losses, alike.ties) == (0, 0, 400)
    assert alike.first_position > 0
    assert alike.second_position == 0


def test_flips_are_rarely_a_win() -> None:
    """A judge that errs at random in each order names a winner among equals as rarely as the test says."""
    named = 0
    for seed in range(200):
        texts = [[f"[{3 + (n + side) % 2}] {side}{n}" for n in range(40)] for side in (0, 1)]
        row = compared([case("a", texts[0]), case("b", texts[1])], JudgeBias(flip_rate=0.3, seed=seed))
        named += row.p_value <= 0.05
    assert least(named, 200) <= 0.05


def test_errors_of_the_judge_are_apart() -> None:
    """Neither HTTP errors nor nonsense are scores, ties or losses."""
    bias = JudgeBias(error_rate=0.2, nonsense_rate=0.2, seed=9)
    texts = [f"[5] {n}" for n in range(200)]
    found = scored([case("nano", texts)], bias)
    (row,) = found.scores
    assert (row.mean_score, row.prompts + row.judge_errors, row.failed, row.marginal) == (5, 200, 0, 0)
    assert 40 < row.judge_errors < 110
    assert set(found.errors) == {
        "http_5xx", "found 'What a lovely answer! Five stars.', expected one JSON object and nothing else",
    }  # fmt: skip
    pairs = compared([case("nano", texts), case("pico", [f"[1] {n}" for n in range(200)])], bias)
    assert pairs.ties == pairs.losses == pairs.flips == 0
    assert pairs.wins + pairs.judge_errors == 200


CATEGORIES = [("maths", "law", "prose")[n % 3] for n in range(90)]


def test_strengths_and_weaknesses() -> None:
    """A model that fails at law is weak there; one that is alike everywhere is neither; where they differ is told."""
    nano = case("nano", [f"[{1 if of == 'law' else 5}] {n}" for n, of in enumerate(CATEGORIES)], CATEGORIES)
    pico = case("pico", ["[4] x"] * 90, CATEGORIES)
    found = scored([nano, pico], JudgeBias())
    words = {(each.model, each.name): each.word for each in found.groups}
    assert words["nano", "law"] == "weakness"
    assert words["nano", "maths"] == words["nano", "prose"] == "strength"
    assert {words["pico", name] for name in ("law", "maths", "prose")} == {""}
    assert {each.kind for each in found.groups} == {"category"}
    law = next(each for each in found.groups if (each.model, each.name) == ("nano", "law"))
    assert (law.prompts, law.mean_score, law.pass_rate, law.difference) == (30, 1, 0, -4)
    first = found.group_gaps[0]
    assert (first.name, first.best, first.best_score, first.worst, first.decided) == ("law", "pico", 4, "nano", True)
    assert {gap.name for gap in found.group_gaps} == {"law", "maths", "prose"}


def test_few_prompts_decide_nothing() -> None:
    """Two prompts of a category are no strength, and no gap between models."""
    categories = ["rare", "rare", *["usual"] * 10]
    nano = case("nano", ["[5]", "[5] b", *(f"[{1 + n % 5}] {n}" for n in range(10))], categories)
    pico = case("pico", ["[1]", "[1] b", *(f"[{1 + n % 5}] {n}" for n in range(10))], categories)
    found = scored([nano, pico], JudgeBias())
    assert {each.word for each in found.groups} == {""}
    (gap,) = found.group_gaps
    assert (gap.name, gap.best, gap.prompts, gap.p_value, gap.decided) == ("rare", "nano", 2, 1, False)


def test_no_false_strengths() -> None:
    """Categories drawn at random: any strength or weakness in 5 % of the models at most."""
    false = 0
    for seed in range(60):
        chance = random.Random(seed)
        texts = [f"[{chance.randint(1, 5)}] {n}" for n in range(60)]
        found = scored([case("nano", texts, [chance.choice("abcd") for _ in range(60)])], JudgeBias())
        false += any(each.word for each in found.groups)
    assert least(false, 60) <= 0.05, f"{false} of 60"


def test_pairs_by_category() -> None:
    """What one side wins in one category only, with Holm's p."""
    nano = case("nano", [f"[{5 if of == 'maths' else 3}] {n}" for n, of in enumerate(CATEGORIES)], CATEGORIES)
    pico = case("pico", [f"[3] b{n}" for n in range(90)], CATEGORIES)
    found, _ = judge_pairwise(sides_of_run([nano, pico]), JUDGE, DEFAULT_RUBRIC, KnownJudge(), most=1_000)
    (gap,) = found.gaps
    assert (gap.kind, gap.name, gap.winner, gap.wins, gap.ties, gap.losses, gap.decided) == (
        "category", "maths", "nano", 30, 0, 0, True,
    )  # fmt: skip
