"""Judged runs in the terminal: scores, pairs, calibration, where models differ."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Final

from pytest_flperf._text import printable
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


def judged_lines(judged: Judged, width: int) -> list[str]:
    """All that was judged of a run."""
    lines = [] if judged.rubric is None else rubric_lines(judged.rubric, width)
    if judged.pairwise is not None:
        lines += ["", *pairwise_lines(judged.pairwise, width)] if lines else pairwise_lines(judged.pairwise, width)
    return lines


def rubric_lines(rubric: Rubric, width: int) -> list[str]:
    """Scores by a rubric, calibration, the weakest answers, where models differ most."""
    rows = rubric.scores
    several = any(row.scenario for row in rows)
    columns: list[Column[ModelScore]] = [
        Column("model", lambda row: row.model, name=True),
        *([Column[ModelScore]("scenario", lambda row: row.scenario or "all", name=True)] if several else []),
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
    if rubric.gaps:
        lines += ["", "where the models differ most"]
        for gap in rubric.gaps:
            scores = f"{gap.best} {gap.best_score:.3g}, {gap.worst} {gap.worst_score:.3g}"
            lines += _item(width, f"{gap.scenario}: {_quoted(gap.question)}", f"{scores}: {gap.reason}")
    if rubric.weakest:
        lines += ["", "lowest scores"]
        for weak in rubric.weakest:
            where = f"{weak.model}, {weak.scenario}: {_quoted(weak.question)}"
            lines += _item(width, where, f"{weak.score:g} for {_quoted(weak.answer)}: {weak.reason}")
    return lines


def pairwise_lines(pairwise: Pairwise, width: int) -> list[str]:
    """Wins, ties and losses of both sides, how often the order decided, and what was won."""
    rows = pairwise.scores
    several = any(row.scenario for row in rows)
    columns: list[Column[PairScore]] = [
        Column("first", lambda row: row.first, name=True),
        Column("second", lambda row: row.second, name=True),
        *([Column[PairScore]("scenario", lambda row: row.scenario or "all", name=True)] if several else []),
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
    if pairwise.findings:
        lines += ["", "won in both orders (A is the winner's answer)"]
        for each in pairwise.findings:
            lines += _item(width, f"{each.winner}, {each.scenario}: {_quoted(each.question)}", each.reason)
    return lines


def _sentences(texts: Iterable[str], width: int) -> list[str]:
    return [line for text in texts if text for line in wrapped(printable(text), width)]


def _item(width: int, where: str, text: str) -> list[str]:
    """Foreign texts, wrapped even where they have no blanks."""
    wide = max(width, _NARROWEST)
    lines = textwrap.wrap(printable(where, 2 * _TEXT), wide, initial_indent="- ", subsequent_indent="  ")
    return [*lines, *textwrap.wrap(printable(text, 3 * _TEXT), wide, initial_indent="  ", subsequent_indent="  ")]


def _quoted(text: str) -> str:
    """A foreign text on one line, in quotes."""
    one_line = " ".join(text.split())
    return f"“{one_line if len(one_line) <= _TEXT else one_line[:_TEXT] + '…'}”"
