"""Judged runs in the terminal: scores, pairs, calibration, where models differ."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.report.judged_groups import (
    GroupTable,
    gap_words,
    group_tables,
    pair_gap_words,
    strength_words,
)
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
from pytest_flperf.report.terminal.tables import Column, fitted, wrapped
from pytest_flperf.results.judged import Judged, ModelScore, PairScore, Pairwise, Rubric

__all__ = ["judged_lines", "pairwise_lines", "rubric_lines"]

_TEXT: Final = 160
_NARROWEST: Final = 20


def judged_lines(judged: Judged, width: int, *, examples: bool = True) -> list[str]:
    """All that was judged of a run; without ``examples``, no single answers."""
    lines = [] if judged.rubric is None else rubric_lines(judged.rubric, width, examples=examples)
    if judged.pairwise is not None:
        pairs = pairwise_lines(judged.pairwise, width, examples=examples)
        lines += ["", *pairs] if lines else pairs
    return lines


def rubric_lines(rubric: Rubric, width: int, *, examples: bool = True) -> list[str]:
    """Scores by a rubric, calibration, strengths, the weakest answers, where models differ most."""
    rows = rubric.scores
    several = any(row.scenario for row in rows)
    of_scenario: Column[ModelScore] = Column("scenario", lambda row: row.scenario or "all", name=True)
    columns: list[Column[ModelScore]] = [
        Column("model", lambda row: row.model, name=True),
        *([of_scenario] if several else []),
        Column("score", lambda row: score(row.mean_score)),
        Column("95 % interval", lambda row: interval(row.mean_score_ci95)),
        Column("prompts", lambda row: str(row.prompts), 4),
        Column("pass", lambda row: str(row.passed)),
        Column("marginal", lambda row: str(row.marginal)),
        Column("fail", lambda row: str(row.failed)),
        Column("no answer", lambda row: str(row.no_answer), 3),
        Column("judge errors", lambda row: str(row.judge_errors)),
    ]
    corrected = map(corrected_words, rows) if rubric.calibrated is not None else ()
    lines = _sentences([judge_words("one by one", rubric.judge)], width)
    lines += fitted(rows, columns, width)
    lines += _sentences([calibration_words(rubric.calibrated), *corrected, *error_words(rubric)], width)
    for table in group_tables(rubric):
        lines += ["", *_group_lines(table, width)]
    lines += _sentences(strength_words(rubric), width)
    if gaps := gap_words(rubric):
        lines += ["", "where the models differ most, by category and scenario", *_bullets(gaps, width)]
    if not examples:
        return lines
    if rubric.gaps:
        lines += ["", "single prompts on which the models differ most"]
        for gap in rubric.gaps:
            scores = f"{gap.best} {gap.best_score:.3g}, {gap.worst} {gap.worst_score:.3g}"
            lines += _item(width, f"{gap.scenario}: {_quoted(gap.question)}", f"{scores}: {gap.reason}")
    if rubric.weakest:
        lines += ["", "lowest scores"]
        for weak in rubric.weakest:
            where = f"{weak.model}, {weak.scenario}: {_quoted(weak.question)}"
            lines += _item(width, where, f"{weak.score:g} for {_quoted(weak.answer)}: {weak.reason}")
    return lines


def _group_lines(table: GroupTable, width: int) -> list[str]:
    columns = [Column(table.head[0], _cell(0), name=True)]
    columns += [Column(head, _cell(at)) for at, head in enumerate(table.head[1:], 1)]
    lines = fitted(table.rows, columns, width)
    return [*lines, f"… and {table.left_out} more"] if table.left_out else lines


def _cell(at: int) -> Callable[[tuple[str, ...]], str]:
    return lambda row: row[at]


def pairwise_lines(pairwise: Pairwise, width: int, *, examples: bool = True) -> list[str]:
    """Wins, ties and losses of both sides, how often the order decided, and what was won."""
    rows = pairwise.scores
    several = any(row.scenario for row in rows)
    of_scenario: Column[PairScore] = Column("scenario", lambda row: row.scenario or "all", name=True)
    columns: list[Column[PairScore]] = [
        Column("first", lambda row: row.first, name=True),
        Column("second", lambda row: row.second, name=True),
        *([of_scenario] if several else []),
        Column("wins", lambda row: str(row.wins)),
        Column("ties", lambda row: str(row.ties)),
        Column("losses", lambda row: str(row.losses)),
        Column("p", lambda row: f"{row.p_value:.2g}"),
        Column("flips", lambda row: percent(row.flip_rate)),
        Column("A chosen", lambda row: percent(first_position(row)), 3),
        Column("same", lambda row: str(row.same), 2),
        Column("no answer", lambda row: str(row.no_answer), 4),
        Column("judge errors", lambda row: str(row.judge_errors)),
    ]
    lines = _sentences([judge_words("in pairs", pairwise.judge)], width)
    lines += fitted(rows, columns, width)
    lines += _sentences([*pairwise_words(pairwise), *error_words(pairwise)], width)
    if gaps := pair_gap_words(pairwise):
        lines += ["", "what was won most clearly, by category and scenario", *_bullets(gaps, width)]
    if pairwise.findings and examples:
        lines += ["", "won in both orders (A is the winner's answer)"]
        for each in pairwise.findings:
            lines += _item(width, f"{each.winner}, {each.scenario}: {_quoted(each.question)}", each.reason)
    return lines


def _sentences(texts: Iterable[str], width: int) -> list[str]:
    return [line for text in texts if text for line in wrapped(printable(text), width)]


def _bullets(texts: Iterable[str], width: int) -> list[str]:
    wide = max(width, _NARROWEST)
    return [
        line
        for text in texts
        for line in textwrap.wrap(printable(text, 3 * _TEXT), wide, initial_indent="- ", subsequent_indent="  ")
    ]


def _item(width: int, where: str, text: str) -> list[str]:
    """Foreign texts, wrapped even where they have no blanks."""
    wide = max(width, _NARROWEST)
    lines = textwrap.wrap(printable(where, 2 * _TEXT), wide, initial_indent="- ", subsequent_indent="  ")
    return [*lines, *textwrap.wrap(printable(text, 3 * _TEXT), wide, initial_indent="  ", subsequent_indent="  ")]


def _quoted(text: str) -> str:
    """A foreign text on one line, in quotes."""
    one_line = " ".join(text.split())
    return f"“{one_line if len(one_line) <= _TEXT else one_line[:_TEXT] + '…'}”"
