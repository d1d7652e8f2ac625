"""Judged runs as plain tables: scores, pairs, categories, scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pytest_flperf.report.judged_groups import gap_words, group_tables, pair_gap_words, strength_words
from pytest_flperf.report.judged_words import (
    calibration_words,
    corrected_words,
    error_words,
    first_position,
    interval,
    judge_words,
    pairwise_words,
    percent,
    score,
)
from pytest_flperf.results.judged import Judged, Pairwise, Rubric

__all__ = ["PlainPart", "judged_tables"]

_Table: TypeAlias = tuple[tuple[str, ...], tuple[tuple[str, ...], ...], int, int]
"""Heads, rows, how many columns at the left hold names, and how many further rows there are."""


@dataclass(frozen=True, slots=True)
class PlainPart:
    """What was judged in one way: sentences, then tables."""

    lines: tuple[str, ...]
    tables: tuple[_Table, ...]


def judged_tables(judged: Judged) -> tuple[PlainPart, ...]:
    """Scores by a rubric, then pairs, as far as the judge was asked."""
    parts = []
    if judged.rubric is not None:
        parts.append(_rubric(judged.rubric))
    if judged.pairwise is not None:
        parts.append(_pairwise(judged.pairwise))
    return tuple(parts)


def _rubric(rubric: Rubric) -> PlainPart:
    head = ("model", "scenario", "score", "95 % interval", "prompts", "pass", "marginal", "fail", "no answer",
            "judge errors")  # fmt: skip
    rows = tuple(
        (row.model, row.scenario or "all", score(row.mean_score), interval(row.mean_score_ci95), str(row.prompts),
         str(row.passed), str(row.marginal), str(row.failed), str(row.no_answer), str(row.judge_errors))
        for row in rubric.scores
    )  # fmt: skip
    corrected = [line for row in rubric.scores if (line := corrected_words(row))] if rubric.calibrated else []
    lines = (
        judge_words("one by one", rubric.judge),
        calibration_words(rubric.calibrated),
        *corrected,
        *strength_words(rubric),
        *(f"The models differ most: {words}" for words in gap_words(rubric)),
        *error_words(rubric),
    )
    return PlainPart(
        lines, ((head, rows, 2, 0), *((each.head, each.rows, 1, each.left_out) for each in group_tables(rubric)))
    )


def _pairwise(pairwise: Pairwise) -> PlainPart:
    head = ("first", "second", "scenario", "wins", "ties", "losses", "p", "flips", "A chosen", "no answer",
            "judge errors")  # fmt: skip
    rows = tuple(
        (row.first, row.second, row.scenario or "all", str(row.wins), str(row.ties), str(row.losses),
         f"{row.p_value:.2g}", percent(row.flip_rate), percent(first_position(row)), str(row.no_answer),
         str(row.judge_errors))
        for row in pairwise.scores
    )  # fmt: skip
    gaps = (f"Won most clearly: {words}" for words in pair_gap_words(pairwise))
    lines = (judge_words("in pairs", pairwise.judge), *pairwise_words(pairwise), *gaps, *error_words(pairwise))
    return PlainPart(lines, ((head, rows, 3, 0),))
