"""Answer of a run in one sentence, the same on every surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.answers.answer import answer
from pytest_flperf.report.figures import counted, number
from pytest_flperf.report.quality_claims import named, quality_claims
from pytest_flperf.report.quality_shares import quality_shares
from pytest_flperf.report.rivals import scenario_of, shown_models
from pytest_flperf.results.answer import Cause, Changes, GoalName, HeldLoad, Ranking, RunAnswer, Standing
from pytest_flperf.results.capacity import load_unit
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.stats.inference.sample_sizes import LEAST_EVIDENCE

__all__ = ["answer_of", "answer_sentence", "goal_words"]

_MOST: Final = 3
"""Causes, loads and baselines that are told."""
_NAME: Final = 60
_TEXT: Final = 160
_GOALS: Final[Mapping[GoalName, str]] = {
    "first_token": "first token",
    "whole_answer": "whole answer",
    "throughput": "tokens/s",
    "steadiness": "steadiness",
    "memory": "memory",
    "quality": "quality",
}
_LEADS: Final[Mapping[GoalName, str]] = {
    "first_token": "first token {}× sooner",
    "whole_answer": "whole answer {}× sooner",
    "throughput": "{}× the tokens/s",
    "steadiness": "{}× steadier",
    "memory": "{}× less memory",
}
_MISSED: Final = " missed"
_SPEED: Final = frozenset({"first_token", "whole_answer", "throughput"})


def answer_of(run: Run) -> RunAnswer:
    """The answer of a run; computed for files of older versions, which hold none, or none of quality with intervals."""
    return answer(run) if run.answer is None or _is_older(run.answer) else run.answer


def _is_older(found: RunAnswer) -> bool:
    """Whether an answer ranks quality without intervals, as versions did that drew no Pareto front."""
    ranked = [each for each in found.rankings if each.goal == "quality" and each.compared >= LEAST_EVIDENCE]
    return any(standing.behind_ci is None for each in ranked for standing in each.standings[1:])


def goal_words(goal: GoalName) -> str:
    """A goal in words: ``first token``."""
    return _GOALS[goal]


def answer_sentence(run: Run) -> str:
    """What the run says, failures first; empty where it measured nothing.

    Such as ``nano is faster than micro everywhere: first token 4.6× sooner [4.1, 5.1] (best in 11 of
    11 scenarios)``; in brackets what the lead may be.
    """
    found = answer_of(run)
    names = shown_models(case.model for case in run.cases)
    ranked = any(each.goal == "quality" and each.standings for each in found.rankings)
    shares = [] if ranked else quality_shares(run.cases, names)
    parts = [
        *_causes(found.causes, run),
        *_changes(found.changes),
        *_winners([each for each in found.rankings if each.goal != "quality"], names, found.rankings),
        *(
            claim
            for each in found.rankings
            if each.goal == "quality"
            for claim in quality_claims(each, names, _fastest(found.rankings))
        ),
        *shares,
        *_loads(found.loads, names),
    ]
    if parts == shares:
        parts += filter(None, [_range(run.cases)])
    return "; ".join(parts)


def _causes(causes: Sequence[Cause], run: Run) -> list[str]:
    if not causes:
        return []
    failed = sum(each.cases for each in causes)
    told = [printable(each.words, _TEXT) + _of_cause(each) for each in causes[:_MOST]]
    more = [f"{len(causes) - _MOST} more causes"] if len(causes) > _MOST else []
    return [f"{failed} of {counted(len(run.cases), 'case')} failed: {', '.join([*told, *more])}"]


def _of_cause(each: Cause) -> str:
    several = f"{each.cases} cases" if each.cases > 1 else ""
    worst = printable(each.detail, _TEXT) if each.words.endswith(_MISSED) else ""
    if several and worst:
        return f" ({several}, worst {worst})"
    return f" ({several or worst})" if several or worst else ""


def _changes(changes: Sequence[Changes]) -> list[str]:
    return [_change(each) for each in changes[:_MOST]]


def _change(each: Changes) -> str:
    label = printable(each.label, _NAME)
    others = [f"{count} {word}" for word in ("improved", "unchanged", "undecided") if (count := getattr(each, word))]
    if each.told:
        return f"against {label}: {', '.join(printable(words, _TEXT) for words in each.told)}"
    if each.regressed:
        worst = f" (worst: {printable(each.worst, _TEXT)})" if each.worst else ""
        return ", ".join([f"{each.regressed} regressed against {label}{worst}", *others])
    if not others:
        return f"nothing compared with {label}"
    claim = "against" if each.undecided else "nothing regressed against"  # what is undecided may have regressed
    ahead = f" (better by its 95 % interval: {printable(each.ahead, _TEXT)})" if each.ahead else ""
    return f"{claim} {label}: {', '.join(others)}{ahead}"


def _winners(rankings: Sequence[Ranking], names: Mapping[str, str], with_quality: Sequence[Ranking]) -> list[str]:
    if not rankings:
        return []
    won = [each for each in rankings if each.winner]
    if not won:
        of_speed = " in speed" if len(with_quality) > len(rankings) else ""
        return [f"no clear winner{of_speed}: {rankings[0].reason}"]
    winners = list(dict.fromkeys(each.winner for each in won))
    parts = [_won_by(model, [each for each in won if each.winner == model], rankings, names) for model in winners]
    open_goals = [_GOALS[each.goal] for each in rankings if not each.winner and each.goal in _SPEED]
    return [*parts, *([f"no clear winner for {' and '.join(open_goals)}"] if open_goals else [])]


def _fastest(rankings: Sequence[Ranking]) -> str:
    """The model that wins what users wait for: whole answers; empty without one."""
    return next((each.winner for each in rankings if each.goal == "whole_answer"), "")


def _won_by(model: str, won: Sequence[Ranking], rankings: Sequence[Ranking], names: Mapping[str, str]) -> str:
    speed = [each for each in rankings if each.goal in _SPEED]
    fastest = bool(speed) and all(each.winner == model for each in speed)
    everywhere = fastest and all(each.standings[0].best_in == each.compared for each in speed)
    others = {standing.model for each in won for standing in each.standings} - {model}
    rival = named(others.pop(), names) if len(others) == 1 else "all others"
    ahead = f"faster than {rival}" if fastest else f"ahead of {rival}"
    leads = ", ".join(map(_lead, won))
    return f"{named(model, names)} is {ahead}{' everywhere' * everywhere}: {leads}{_where(won)}"


def _lead(ranking: Ranking) -> str:
    """A winner's lead over the next model, with its interval: ``first token 4.56× sooner [4.1, 5.06]``."""
    return _LEADS[ranking.goal].format(number(ranking.lead or 0.0)) + _interval(ranking.standings[1])


def _interval(standing: Standing) -> str:
    if standing.behind_ci is None:
        return ""
    low, high = standing.behind_ci
    least = number(low)
    return f" [{'>1' if least == '1.00' else least}, {number(high)}]"


def _where(won: Sequence[Ranking]) -> str:
    first = won[0]
    return f" (best in {first.standings[0].best_in} of {counted(first.compared, 'scenario')})"


def _loads(loads: Sequence[HeldLoad], names: Mapping[str, str]) -> list[str]:
    """Loads held, those of one scenario and its limits together."""
    groups: dict[tuple[str, tuple[str, ...]], list[HeldLoad]] = {}
    for each in loads:
        groups.setdefault((each.scenario, each.limits), []).append(each)
    told = [_held_in(scenario, limits, group, names) for (scenario, limits), group in list(groups.items())[:_MOST]]
    return [*told, *([f"{len(groups) - _MOST} more loads"] if len(groups) > _MOST else [])]


def _held_in(scenario: str, limits: Sequence[str], group: Sequence[HeldLoad], names: Mapping[str, str]) -> str:
    held = [f"{named(each.model, names)} {_load(each)}" for each in group[:_MOST]]
    more = [f"{len(group) - _MOST} more"] if len(group) > _MOST else []
    within = f" within {printable(' and '.join(limits), _TEXT)}" if limits else ""
    return f"load held in {printable(scenario, _NAME)}{within}: {', '.join([*held, *more])}"


def _load(each: HeldLoad) -> str:
    if each.highest is None:
        return "none"
    return f"{each.highest:.4g} {load_unit(each.over)}" + ("" if each.bounded else " or more")


def _range(cases: Sequence[CaseResult]) -> str:
    """The medians of the first token of the only model, from the least to the greatest."""
    found = sorted(((case.metrics["ttft_ms"].p50, scenario_of(case))) for case in cases if "ttft_ms" in case.metrics)
    if not found:
        return ""
    (least, first), (most, last) = found[0], found[-1]
    if len(found) == 1:
        return f"first token after {number(least)} ms (p50)"
    return (
        f"first token after {number(least)} ms ({printable(first, _NAME)}) to {number(most)} ms "
        f"({printable(last, _NAME)}), p50"
    )
