"""Pairwise judgement: two answers to one prompt, in both orders."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pytest_flperf.measurement.judge_client import AskJudge
from pytest_flperf.quality.judge_prompts import Fence, pairwise_prompt
from pytest_flperf.quality.judge_verdicts import Better, JudgeError, Preference, parse_preference
from pytest_flperf.results.judged import Judge, PairFinding, PairScore, Pairwise
from pytest_flperf.session.judge.answers import CaseAnswers, StoredAnswer
from pytest_flperf.session.judge.asking import asked, bounded, errors_of
from pytest_flperf.session.judge.groups import Group, Tally, pair_gaps
from pytest_flperf.stats.inference.agreement import sign_test

__all__ = ["Sides", "judge_pairwise", "sides_of_run", "sides_of_runs"]

_FINDINGS: Final = 5
"""Won prompts that are told of each side."""
Outcome: TypeAlias = Literal["win", "tie", "loss", "no answer", "error"]
_FLIPPED: Final[dict[Better, Better]] = {"A": "B", "B": "A", "tie": "tie"}
_OUTCOMES: Final[dict[Better, Outcome]] = {"A": "win", "B": "loss", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class Sides:
    """Two cases that were asked the same."""

    first: CaseAnswers
    second: CaseAnswers
    names: tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Pair:
    """First answers of both sides to one prompt."""

    sides: Sides
    first: StoredAnswer
    second: StoredAnswer

    @property
    def question(self) -> str:
        return self.sides.first.questions[self.first.prompt]

    @property
    def is_asked(self) -> bool:
        """Whether there are two answers that differ."""
        return bool(self.first.text and self.second.text and self.first.text != self.second.text)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A pair with the verdicts of both orders."""

    pair: _Pair
    forth: Preference | JudgeError | None
    """With the first side's answer as A; None: not asked."""
    back: Preference | JudgeError | None
    """With the second side's answer as A."""

    @property
    def outcome(self) -> Outcome:
        """What it is for the first side; orders that disagree are a tie, errors are none."""
        forth, back = self.forth, self.back
        if not self.pair.is_asked:
            return "tie" if self.pair.first.text and self.pair.second.text else "no answer"
        if not isinstance(forth, Preference) or not isinstance(back, Preference):
            return "error"
        return "tie" if self.flipped else _OUTCOMES[forth.better]

    @property
    def flipped(self) -> bool:
        """Whether the two orders disagree."""
        forth, back = self.forth, self.back
        both = isinstance(forth, Preference) and isinstance(back, Preference)
        return both and forth.better != _FLIPPED[back.better]  # type: ignore[union-attr]

    def to_record(self) -> dict[str, Any]:
        """Line of ``judgements.jsonl``."""
        pair = self.pair
        return {
            "kind": "pairwise",
            "first": {"nodeid": pair.first.nodeid, "index": pair.first.index, "name": pair.sides.names[0]},
            "second": {"nodeid": pair.second.nodeid, "index": pair.second.index, "name": pair.sides.names[1]},
            "prompt": pair.first.prompt,
            "outcome": self.outcome,
            "flipped": self.flipped,
            "orders": [_said(self.forth), _said(self.back)],
        }


def sides_of_run(cases: Sequence[CaseAnswers]) -> list[Sides]:
    """Every two models of a run, scenario by scenario."""
    found = []
    for place in dict.fromkeys(case.place for case in cases):
        same = [case for case in cases if case.place == place]
        found += [Sides(a, b, (a.case.model, b.case.model)) for a, b in itertools.combinations(same, 2)]
    return found


def sides_of_runs(cases: Sequence[CaseAnswers], others: Sequence[CaseAnswers], names: tuple[str, str]) -> list[Sides]:
    """The cases of two runs with the same node id."""
    by_nodeid = {each.case.nodeid: each for each in others}
    found = []
    for case in cases:
        other, model = by_nodeid.get(case.case.nodeid), case.case.model
        if other is not None:
            found.append(Sides(case, other, (f"{model} in {names[0]}", f"{model} in {names[1]}")))
    return found


def judge_pairwise(
    sides: Sequence[Sides], judge: Judge, rubric: str, ask: AskJudge, *, most: int, against: str = ""
) -> tuple[Pairwise, list[dict[str, Any]]]:
    """Compare the first answers to each prompt in both orders; the summary and a record for each pair.

    Args:
        sides: What is compared.
        judge: Who judges.
        rubric: What is good, in words.
        ask: Asks the judge.
        most: Requests to the judge at most.
        against: Id of the other run, if any.

    Raises:
        TooManyError: There are more to judge.

    """
    pairs = [pair for each in sides for pair in _pairs(each)]
    to_ask = [pair for pair in pairs if pair.is_asked]
    fence = Fence.new(text for pair in to_ask for text in (pair.question, pair.first.text, pair.second.text))
    forth = [pairwise_prompt(pair.question, pair.first.text, pair.second.text, rubric, fence) for pair in to_ask]
    back = [pairwise_prompt(pair.question, pair.second.text, pair.first.text, rubric, fence) for pair in to_ask]
    verdicts = asked([*forth, *back], ask, parse_preference, most)
    said = dict(zip(map(id, to_ask), zip(verdicts[: len(to_ask)], verdicts[len(to_ask) :], strict=True), strict=True))
    judged = [_Judged(pair, *said.get(id(pair), (None, None))) for pair in pairs]
    found = Pairwise(
        judge, _scores(judged), _findings(judged), errors_of(verdicts), against, gaps=pair_gaps(_tallies(judged))
    )
    return found, [each.to_record() for each in judged]


def _pairs(sides: Sides) -> Iterable[_Pair]:
    theirs = sides.second.by_prompt(1)
    for prompt, (answer, *_) in sides.first.by_prompt(1).items():
        if prompt in theirs:
            yield _Pair(sides, answer, theirs[prompt][0])


def _scores(judged: Sequence[_Judged]) -> tuple[PairScore, ...]:
    """A row per two sides, and one per scenario where there are several."""
    names = dict.fromkeys(each.pair.sides.names for each in judged)
    scenarios = dict.fromkeys(each.pair.sides.first.scenario for each in judged)
    rows = [_score(both, "", [each for each in judged if each.pair.sides.names == both]) for both in names]
    for scenario in scenarios if len(scenarios) > 1 else ():
        for both in names:
            some = [e for e in judged if (e.pair.sides.names, e.pair.sides.first.scenario) == (both, scenario)]
            rows += [_score(both, scenario, some)] if some else []
    return tuple(rows)


def _tallies(judged: Sequence[_Judged]) -> list[Tally]:
    """Wins, ties and losses of each two sides by category and scenario."""
    found: dict[tuple[Group, tuple[str, str]], Counter[Outcome]] = {}
    for each in judged:
        pair = each.pair
        groups: tuple[Group, Group] = ("category", pair.first.category), ("scenario", pair.sides.first.scenario)
        for group in groups:
            found.setdefault((group, pair.sides.names), Counter())[each.outcome] += 1
    return [
        Tally(group, names, counts["win"], counts["tie"], counts["loss"]) for (group, names), counts in found.items()
    ]


def _score(names: tuple[str, str], scenario: str, judged: Sequence[_Judged]) -> PairScore:
    counts = Counter(each.outcome for each in judged)
    asked_of = [each for each in judged if each.pair.is_asked and each.outcome != "error"]
    positions = Counter(
        verdict.better for each in asked_of for verdict in (each.forth, each.back) if isinstance(verdict, Preference)
    )
    return PairScore(
        *names,
        scenario,
        wins=counts["win"],
        ties=counts["tie"],
        losses=counts["loss"],
        same=sum(each.outcome == "tie" and not each.pair.is_asked for each in judged),
        no_answer=counts["no answer"],
        judge_errors=counts["error"],
        asked=len(asked_of),
        flips=sum(each.flipped for each in asked_of),
        first_position=positions["A"],
        second_position=positions["B"],
        p_value=sign_test(counts["win"], counts["loss"]),
    )


def _findings(judged: Sequence[_Judged]) -> tuple[PairFinding, ...]:
    """The first prompts that each side won, with the judge's reason where the winner's answer was A."""
    told: Counter[tuple[tuple[str, str], str]] = Counter()
    found = []
    for each in judged:
        said = each.forth if each.outcome == "win" else each.back
        if each.outcome not in ("win", "loss") or not isinstance(said, Preference):
            continue
        names = each.pair.sides.names
        winner, loser = names if each.outcome == "win" else names[::-1]
        told[names, winner] += 1
        if told[names, winner] <= _FINDINGS:
            where = (each.pair.sides.first.scenario, each.pair.first.prompt, bounded(each.pair.question))
            found.append(PairFinding(*where, winner, loser, bounded(said.reason)))
    return tuple(found)


def _said(verdict: Preference | JudgeError | None) -> dict[str, str] | None:
    if isinstance(verdict, Preference):
        return {"better": verdict.better, "reason": verdict.reason}
    return None if verdict is None else {"error": verdict.reason}
