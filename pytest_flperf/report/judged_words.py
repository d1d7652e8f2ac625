"""Words of judged runs, the same in the terminal and on the page."""

from __future__ import annotations

from typing import Final

from pytest_flperf.results.judged import Calibrated, Judge, ModelScore, PairScore, Pairwise, Rubric
from pytest_flperf.results.notes import labelled

__all__ = [
    "calibration_words",
    "corrected_words",
    "error_words",
    "first_position",
    "interval",
    "judge_words",
    "pairwise_words",
    "percent",
    "score",
]

_NONE: Final = "–"
_ERRORS: Final = 3
_MANY_FLIPS: Final = 0.2
_LEAST: Final = 1e-4


def judge_words(how: str, judge: Judge) -> str:
    """How it was judged (``one by one``, ``in pairs``), by whom and when."""
    rubric = "the default rubric" if judge.rubric_is_default else "a rubric of its own"
    return f"Judged {how} by {judge.model[:80]} ({judge.backend[:40]}) with {rubric}, {judge.judged_at[:40]}."


def calibration_words(found: Calibrated | None) -> str:
    """How the judge does on labels."""
    if found is None:
        return "No labels: nobody has tried this judge, so no build may fail on its scores."
    kappa = _NONE if found.kappa is None else f"{found.kappa:.2f} {interval(found.kappa_ci95)}"
    words = (
        f"Against {found.passes + found.fails} labels: κ {kappa}; it passes {found.passes_agreed} of {found.passes} "
        f"good answers ({percent(found.sensitivity)}) and fails {found.fails_agreed} of {found.fails} bad ones "
        f"({percent(found.specificity)})."
    )
    if found.earlier:
        words += f" Labels of answers of earlier runs, which the judge was asked, too: {found.earlier}."
    if found.unmatched:
        words += f" Labels of no question of this run: {found.unmatched}."
    if found.judge_errors:
        words += f" Judge errors on labelled answers: {found.judge_errors}."
    return words


def corrected_words(row: ModelScore) -> str:
    """The corrected pass rate of a model; empty where nothing was scored."""
    if row.pass_rate is None:
        return ""
    name = f"{row.model}, {row.scenario}" if row.scenario else row.model
    ends = row.corrected_pass_rate_ci95
    if ends is None:
        return f"{name}: by these labels the pass rate ({percent(row.pass_rate)}) can't be corrected"
    between = f"{percent(ends[0])} to {percent(ends[1])}"
    words = f"{percent(row.corrected_pass_rate)} pass, corrected for the judge's mistakes (95 % interval: {between})"
    return f"{name}: {words}; {percent(row.pass_rate)} by the judge alone"


def pairwise_words(pairwise: Pairwise) -> list[str]:
    """How to read the pairs, and a warning where the order decided."""
    lines = ["Wins and losses are of the first side, in both orders; orders that disagree (flips) are ties."]
    if any((row.flip_rate or 0) > _MANY_FLIPS for row in pairwise.scores):
        lines.append(
            "warning: on more than a fifth of the prompts the order of the answers decided: this judge can hardly tell "
            "them apart"
        )
    return lines


def error_words(found: Rubric | Pairwise) -> list[str]:
    """Notes, and the judge's errors by reason."""
    lines = [labelled(note) for note in found.notes]
    errors = list(found.errors.items())
    lines += [f"judge error ({count}): {reason}" for reason, count in errors[:_ERRORS]]
    left = sum(count for _, count in errors[_ERRORS:])
    return [*lines, f"judge errors of other kinds: {left}"] if left else lines


def first_position(row: PairScore) -> float | None:
    """Share of the verdicts for one answer that chose the one shown first."""
    chosen = row.first_position + row.second_position
    return row.first_position / chosen if chosen else None


def score(value: float | None) -> str:
    """A mean score."""
    return _NONE if value is None else f"{value:.2f}"


def percent(share: float | None) -> str:
    """A share in percent."""
    if share is None:
        return _NONE
    return "<0.01 %" if 0 < share < _LEAST else f"{100 * share:.3g} %"


def interval(ends: tuple[float, float] | None) -> str:
    """An interval with two decimals."""
    return _NONE if ends is None else f"[{ends[0]:.2f}, {ends[1]:.2f}]"
