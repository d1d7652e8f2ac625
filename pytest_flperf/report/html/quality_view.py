"""HTML tables of a case's quality: categories, checks, answers."""

from __future__ import annotations

from pytest_flperf.report.figures import NOTHING, number
from pytest_flperf.report.html.content import Cell, Table
from pytest_flperf.report.quality_words import share, share_and_interval
from pytest_flperf.results.answer_quality import AnswerQuality

__all__ = ["quality_tables"]


def quality_tables(quality: AnswerQuality | None) -> list[Table]:
    """Tables of a case's quality; those without rows are left out."""
    if quality is None:
        return []
    return [table for table in (_categories(quality), _checks(quality), _answers(quality)) if table.rows]


def _categories(quality: AnswerQuality) -> Table:
    rows = tuple(
        (
            Cell(each.category or "(no category)"),
            Cell(str(each.prompts)),
            Cell(mean),
            Cell(interval or NOTHING, tight=True),
        )
        for each in quality.categories
        for mean, interval in (share_and_interval(each.mean, each.ci95),)
    )
    note = f"{quality.categories_left_out} more categories are left out." if quality.categories_left_out else ""
    return Table("Quality by category", ("category", "prompts", "mean", "95 % interval"), rows, note=note)


def _checks(quality: AnswerQuality) -> Table:
    rows = tuple((Cell(each.check), Cell(str(each.answers)), Cell(share(each.mean))) for each in quality.checks)
    return Table("Quality by check", ("check", "answers", "mean"), rows)


def _answers(quality: AnswerQuality) -> Table:
    has_reasons = any(each.reason for each in quality.answers)
    rows = tuple(
        (
            Cell(each.id),
            Cell(number(each.score)),
            Cell(each.expected or NOTHING, wide=True),
            Cell(each.answer or "(empty)", wide=True),
            Cell(", ".join(f"{name} {number(score)}" for name, score in (each.checks or {}).items()) or NOTHING),
            *([Cell(each.reason or NOTHING, wide=True)] if has_reasons else []),
        )
        for each in quality.answers
    )
    head = ("prompt", "score", "expected", "answer", "checks", *(["reason"] if has_reasons else []))
    return Table("Answers that did not score 1, the worst first", head, rows, words=True, folded=True)
