"""Shares of right answers in the answer's sentence, where models are not ranked by quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.report.rivals import scenario_of
from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.records import CaseResult

__all__ = ["quality_shares"]

_MOST: Final = 3
"""Cases that are told."""
_NAME: Final = 60
_MANY: Final = 1_000
"""From so many prompts on, a tenth of a percent says something."""


def quality_shares(cases: Sequence[CaseResult], names: Mapping[str, str]) -> list[str]:
    """Share of right answers of each case with its 95 % interval, the lowest first.

    Such as ``60 % of 20 prompts right [36, 81]``; ``mean score 80 % over 10 prompts`` where scores lie between.

    Args:
        cases: Of a run; those without scored answers are passed over.
        names: Shown names by model.

    """
    scored = [(case, case.answer_quality) for case in cases if case.answer_quality is not None]
    scored.sort(key=lambda each: each[1].mean)
    several_models = len({case.model for case in cases}) > 1
    several = len({(case.suite, scenario_of(case)) for case in cases}) > 1
    told = []
    for case, quality in scored[:_MOST]:
        model = f"{printable(names.get(case.model, case.model), _NAME)}: " if several_models else ""
        where = f" in {printable(scenario_of(case), _NAME)}" if several else ""
        told.append(f"{model}{_share(quality)}{where}")
    return [*told, *([f"{len(scored) - _MOST} more of quality"] if len(scored) > _MOST else [])]


def _share(quality: AnswerQuality) -> str:
    count, unit = (quality.prompts, "prompt") if quality.prompts else (quality.requests, "request")
    over = f"{count} {unit}{'' if count == 1 else 's'}"
    decimals = 1 if count >= _MANY else 0
    mean = _percent(quality.mean, decimals)
    right = quality.perfect if quality.prompts else quality.right
    right_or_wrong = right is not None and math.isclose(right, quality.mean * count, rel_tol=1e-9, abs_tol=1e-9)
    said = f"{mean} % of {over} right" if right_or_wrong else f"mean score {mean} % over {over}"
    if quality.ci95 is None:
        return said
    return f"{said} [{', '.join(_percent(each, decimals) for each in quality.ci95)}]"


def _percent(share: float, decimals: int) -> str:
    """A share in percent; 0 only where none is right, and 100 only where all are."""
    text, step = f"{100 * share:.{decimals}f}", 10**-decimals
    if share > 0 and float(text) == 0:
        return f"<{step:g}"
    return f">{100 - step:g}" if share < 1 and float(text) == 100 else text
