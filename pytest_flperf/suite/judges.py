"""Judge of a suite: which model, how it is asked, and its gate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pytest_flperf.suite.targets import TargetSpec

__all__ = ["JudgeMode", "JudgeSpec", "share_of"]

JudgeMode: TypeAlias = Literal["rubric", "pairwise"]


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """Judge that answers are shown to after the measurement."""

    target: TargetSpec
    mode: JudgeMode = "rubric"
    """Scores of single answers, or comparisons of every two models of the run."""
    rubric: Path | None = None
    """File; None: the default rubric."""
    labels: Path | None = None
    """File; None: nobody has tried the judge."""
    fail_under: float | None = None
    """Share that the lower end of every model's corrected pass rate must reach; None: no gate."""
    answers: int = 1
    """Answers to each prompt that are scored."""
    max_requests: int = 1_000
    max_tokens: int = 512
    """Of a reply."""
    concurrency: int = 1
    timeout_s: float = 120.0
    """Of a reply."""
    max_time_s: float = 1_800.0
    """Of all of them; none is asked after that."""


def share_of(text: str) -> float | None:
    """Share of a text such as ``90%``; None where it is none above 0 %."""
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = math.nan
    return share if text.strip().endswith("%") and 0 < share <= 1 else None
