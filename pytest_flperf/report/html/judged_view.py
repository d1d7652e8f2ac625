"""Judged runs on the page: scores, pairs, and the prompts that tell most."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_flperf.report.html.content import Cell, Table
from pytest_flperf.report.judged_groups import group_tables
from pytest_flperf.report.judged_tables import judged_tables
from pytest_flperf.report.judged_words import first_position, interval, percent, score
from pytest_flperf.results.judged import Judged, Pairwise, Rubric

__all__ = ["JudgedPart", "judged_parts"]


@dataclass(frozen=True, slots=True)
class JudgedPart:
    """Part of a page: sentences, then tables."""

    lines: tuple[str, ...]
    tables: tuple[Table, ...]


def judged_parts(judged: Judged) -> tuple[JudgedPart, ...]:
    """What a judge said: scores, then pairs, as far as it was asked."""
    tables = [
        *([_rubric_tables(judged.rubric)] if judged.rubric is not None else []),
        *([_pairwise_tables(judged.pairwise)] if judged.pairwise is not None else []),
    ]
    plain = judged_tables(judged)
    return tuple(JudgedPart(part.lines, tuple(some)) for part, some in zip(plain, tables, strict=True))


def _rubric_tables(rubric: Rubric) -> list[Table]:
    head = ("model", "scenario", "score", "95 % interval", "prompts", "pass", "marginal", "fail", "no answer",
            "judge errors")  # fmt: skip
    rows = tuple(
        (
            Cell(row.model),
            Cell(row.scenario or "all"),
            Cell(score(row.mean_score)),
            Cell(interval(row.mean_score_ci95), tight=True),
            Cell(str(row.prompts)),
            Cell(str(row.passed)),
            Cell(str(row.marginal)),
            Cell(str(row.failed)),
            Cell(str(row.no_answer), "bad" if row.no_answer else ""),
            Cell(str(row.judge_errors), "doubt" if row.judge_errors else ""),
        )
        for row in rubric.scores
    )
    note = "Mean over prompts of scores from 1 to 5; 4 and 5 pass, 3 is marginal."
    tables = [Table("Scores by a rubric", head, rows, 2, note=note)]
    for table in group_tables(rubric):
        of_groups = tuple(tuple(map(Cell, row)) for row in table.rows)
        note = f"and {table.left_out} more" if table.left_out else ""
        tables.append(Table(f"Scores by {table.head[0]}", table.head, of_groups, 1, note=note))
    gaps = tuple(
        (
            Cell(gap.question),
            Cell(gap.scenario),
            Cell(f"{gap.best} {gap.best_score:.3g}, {gap.worst} {gap.worst_score:.3g}"),
            Cell(gap.reason),
        )
        for gap in rubric.gaps
    )
    weakest = tuple(
        (Cell(each.question), Cell(f"{each.model}, {each.scenario}"), Cell(f"{each.score:g}"), Cell(each.answer),
         Cell(each.reason))
        for each in rubric.weakest
    )  # fmt: skip
    if gaps:
        of_gaps = ("question", "scenario", "scores", "why the lower one")
        tables.append(Table("Prompts on which the models differ most", of_gaps, gaps, words=True))
    if weakest:
        of_weakest = ("question", "model", "score", "answer", "why")
        tables.append(Table("Lowest scores", of_weakest, weakest, words=True))
    return tables


def _pairwise_tables(pairwise: Pairwise) -> list[Table]:
    head = ("first", "second", "scenario", "wins", "ties", "losses", "p", "flips", "A chosen", "same", "no answer",
            "judge errors")  # fmt: skip
    rows = tuple(
        (
            Cell(row.first),
            Cell(row.second),
            Cell(row.scenario or "all"),
            *(Cell(str(count)) for count in (row.wins, row.ties, row.losses)),
            Cell(f"{row.p_value:.2g}"),
            Cell(percent(row.flip_rate)),
            Cell(percent(first_position(row))),
            Cell(str(row.same)),
            Cell(str(row.no_answer), "bad" if row.no_answer else ""),
            Cell(str(row.judge_errors), "doubt" if row.judge_errors else ""),
        )
        for row in pairwise.scores
    )
    tables = [Table("Two answers beside each other", head, rows, 3)]
    won = tuple((Cell(each.question), Cell(each.scenario), Cell(each.winner), Cell(each.reason))
                for each in pairwise.findings)  # fmt: skip
    if won:
        names = ("question", "scenario", "winner", "why (A is the winner's answer)")
        tables.append(Table("Won in both orders", names, won, words=True))
    return tables
