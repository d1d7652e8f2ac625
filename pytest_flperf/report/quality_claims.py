"""Quality claims of the answer: who is right more often, and who is decidedly behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.report.figures import counted
from pytest_flperf.results.answer import Ranking, Standing

__all__ = ["named", "quality_claims"]

_NAME: Final = 60
_SMALL: Final = 5e-4
"""Difference of shares that one decimal would show as none."""


def named(model: str, names: Mapping[str, str]) -> str:
    """A model's name as it is shown, bounded."""
    return printable(names.get(model, model), _NAME)


def quality_claims(ranking: Ranking, names: Mapping[str, str], fastest: str) -> list[str]:
    """Quality claims in words, such as ``micro is right 12 points more often than nano [5, 19] (90 prompts)``.

    Without a winner, who is decidedly behind the best is told first: the fastest model, else the one farthest behind;
    others are counted.

    Args:
        ranking: Of the goal quality.
        names: Shown names by model.
        fastest: The model whose whole answers are fastest beyond doubt; empty without one.

    """
    if not ranking.standings:
        return [f"quality is not compared: {ranking.reason}"]
    best, *others = ranking.standings
    over = f" ({counted(ranking.compared, 'prompt')})"
    if ranking.winner:
        return [_won(ranking, best, others, names, fastest) + over]
    behind = [each for each in others if _is_behind(each)]
    alike = [each for each in others if not _is_behind(each)]
    claims = [_behind(ranking, best, behind, names, fastest)] if behind else []
    claims += [_no_difference(best, alike, names)] if alike else []
    return [*claims[:-1], claims[-1] + over]


def _is_behind(standing: Standing) -> bool:
    """Whether it is worse than the best beyond doubt: an interval that the test does not support is drawn to 0."""
    return standing.behind_ci is not None and standing.behind_ci[0] > 0


def _won(ranking: Ranking, best: Standing, others: Sequence[Standing], names: Mapping[str, str], fastest: str) -> str:
    first, (second, *rest) = named(best.model, names), others
    by, other, sure = _by(second), named(second.model, names), _interval(second)
    if not rest:
        claim = f"is right {by} more often" if ranking.right_or_wrong else f"scores {by} higher"
        return f"{first} {claim} than {other}{sure}"
    claim = "is right most often" if ranking.right_or_wrong else "scores highest"
    told = [f"{by} above {other}{sure}"]
    told += [
        f"{_points(each.behind)} above {named(each.model, names)}, the fastest{_interval(each)}"
        for each in rest
        if each.model == fastest
    ]
    return f"{first} {claim}: {', '.join(told)}"


def _behind(
    ranking: Ranking, best: Standing, behind: Sequence[Standing], names: Mapping[str, str], fastest: str
) -> str:
    worst = next((each for each in behind if each.model == fastest), behind[-1])
    who = named(worst.model, names) + ", the fastest," * (worst.model == fastest)
    by, first = _by(worst), named(best.model, names)
    claim = f"is right {by} less often" if ranking.right_or_wrong else f"scores {by} lower"
    more = len(behind) - 1
    others = f" and {more} other{'s are' if more > 1 else ' is'} behind it, too" if more else ""
    return f"{who} {claim} than {first}{_interval(worst)}{',' * bool(others)}{others}"


def _no_difference(best: Standing, alike: Sequence[Standing], names: Mapping[str, str]) -> str:
    first, second, sure = named(best.model, names), named(alike[0].model, names), _interval(alike[0])
    among = f" among {len(alike) + 1} models" if len(alike) > 1 else ""
    ahead = f"{first} {_by(alike[0])} above" if alike[0].behind else f"{first} and"
    return f"no clear difference in quality{among}: {ahead} {second}{'' if alike[0].behind else ' alike'}{sure}"


def _interval(standing: Standing) -> str:
    """The interval of its distance from the best, in percentage points; empty without one."""
    if standing.behind_ci is None:
        return ""
    low, high = standing.behind_ci
    least = _points(low)
    return f" [{'>0' if low > 0 and least == '0' else least}, {_points(high)}]"


def _by(standing: Standing) -> str:
    """How far it is behind the best."""
    return "less than 0.1 points" if 0 < standing.behind < _SMALL else f"{_points(standing.behind)} points"


def _points(share: float) -> str:
    """A difference of shares in percentage points, with one decimal at most."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
