"""Strengths and weaknesses of judged models: tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.results.judged import GroupKind, GroupScore, Pairwise, Rubric

__all__ = ["GroupTable", "gap_words", "group_tables", "pair_gap_words", "strength_words"]

_NAME: Final = 60
_GROUPS: Final = 40
"""Rows of a table."""
_NAMED: Final = 3
"""Groups of a model that a sentence names."""
_GAPS: Final = 3
_KINDS: Final[tuple[GroupKind, ...]] = ("category", "scenario")
_MARKS: Final = {"strength": " ▲", "weakness": " ▼", "": ""}


@dataclass(frozen=True, slots=True)
class GroupTable:
    """Mean scores of each model by category or scenario."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


def group_tables(rubric: Rubric) -> tuple[GroupTable, ...]:
    """A table per kind of group that there are several of."""
    return tuple(_table(kind, some) for kind in _KINDS if (some := [g for g in rubric.groups if g.kind == kind]))


def _table(kind: GroupKind, groups: Sequence[GroupScore]) -> GroupTable:
    models = tuple(dict.fromkeys(each.model for each in groups))
    names = tuple(dict.fromkeys(each.name for each in groups))
    cells = {(each.name, each.model): each for each in groups}
    rows = []
    for name in names[:_GROUPS]:
        of_name = [cells.get((name, model)) for model in models]
        prompts = max((each.prompts for each in of_name if each is not None), default=0)
        scores = ("–" if each is None else f"{each.mean_score:.2f}{_MARKS[each.word]}" for each in of_name)
        rows.append((_named(name), str(prompts), *scores))
    head = (kind, "prompts", *(_shown(model) for model in models))
    return GroupTable(head, tuple(rows), max(len(names) - _GROUPS, 0))


def strength_words(rubric: Rubric) -> list[str]:
    """What each model is strong and weak in, as far as the tests tell."""
    if not rubric.groups:
        return []
    if not any(each.word for each in rubric.groups):
        return ["No category or scenario stands out: none is a strength or a weakness of a model beyond chance."]
    lines = []
    for model in dict.fromkeys(each.model for each in rubric.groups):
        mine = [each for each in rubric.groups if each.model == model]
        parts = [words for word in ("strength", "weakness") if (words := _parts(mine, word))]
        lines.append(f"{_shown(model)} is {'; '.join(parts) or 'nowhere clearly strong or weak'}")
    return [*lines, "Strong (▲) and weak (▼): against the model's other prompts, with a 5 % chance of any false one."]


def _parts(groups: Sequence[GroupScore], word: str) -> str:
    """The groups of one word, the clearest first."""
    found = [(each, each.difference) for each in groups if each.word == word and each.difference is not None]
    found.sort(key=lambda pair: -abs(pair[1]))
    told = ", ".join(
        f"{_group(each.kind, each.name)} ({each.mean_score:.2f}, {difference:+.2f})"
        for each, difference in found[:_NAMED]
    )
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{'strong' if word == 'strength' else 'weak'} in {told}{more}" if found else ""


def gap_words(rubric: Rubric) -> list[str]:
    """Where two models differ most, and whether that is decided."""
    lines = []
    for gap in rubric.group_gaps[:_GAPS]:
        scores = f"{_shown(gap.best)} {gap.best_score:.2f}, {_shown(gap.worst)} {gap.worst_score:.2f}"
        sure = f"{'' if gap.decided else 'undecided, '}p {gap.p_value:.2g}"
        lines.append(f"{_group(gap.kind, gap.name)}: {scores} over {gap.prompts} prompts; {sure}")
    return lines


def pair_gap_words(pairwise: Pairwise) -> list[str]:
    """Where one side wins most clearly, and whether that is decided."""
    return [
        f"{_group(gap.kind, gap.name)}: {_shown(gap.winner)} wins {gap.wins}, loses {gap.losses}, ties {gap.ties} "
        f"against {_shown(gap.loser)}; {'' if gap.decided else 'undecided, '}p {gap.p_value:.2g}"
        for gap in pairwise.gaps[:_GAPS]
    ]


def _group(kind: GroupKind, name: str) -> str:
    return f"{kind} {_named(name)}"


def _named(name: str) -> str:
    return _shown(name) or "(none)"


def _shown(name: str) -> str:
    """A foreign name, bounded and without control characters."""
    return printable(name, _NAME)
