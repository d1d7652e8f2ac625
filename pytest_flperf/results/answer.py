"""Answer of a run: who wins, what load each holds, what changed, why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeAlias

from pytest_flperf.results.serialize import Interval, Reader, Record, interval_of, many

__all__ = ["CHANCE", "Cause", "Changes", "FrontPoint", "GoalName", "HeldLoad", "Ranking", "RunAnswer", "Standing"]

GoalName: TypeAlias = Literal["first_token", "whole_answer", "throughput", "steadiness", "memory", "quality"]
CHANCE: Final = 0.01
"""Largest chance that a run names a false winner, over all its goals."""


@dataclass(frozen=True, slots=True)
class Standing(Record):
    """One model's place in a goal."""

    model: str
    value: float
    """Of quality the mean over prompts; of all others the geometric mean over the scenarios, in the metric's unit."""
    behind: float
    """How many times worse than the best model's; of quality how much lower, as a fraction.  Of the best 1, or 0."""
    behind_ci: Interval | None = None
    """Interval of ``behind``; of quality all intervals hold at once, and one above 0 says that this model is decidedly
    worse than the best.  None for the best, or where nothing says it."""
    best_in: int = 0
    """Scenarios (of quality: prompts) in which no other model is better."""

    _readers: ClassVar[Mapping[str, Reader]] = {"behind_ci": interval_of}


@dataclass(frozen=True, slots=True)
class Ranking(Record):
    """Ranking of the models by one goal, and the winner if there is one."""

    goal: GoalName
    metric: str
    statistic: str
    """``p50``; ``p99/p50`` for the ratio of two; empty for a metric that is one number for a case."""
    winner: str = ""
    """The model whose lead over every other one is beyond doubt; empty: no clear winner."""
    lead: float | None = None
    """How many times better than the next one it is; of quality by how much, as a fraction."""
    compared: int = 0
    """Scenarios (of quality: prompts) in which all these models have a value."""
    standings: tuple[Standing, ...] = ()
    """The models, best first; those without any value are absent."""
    reason: str = ""
    """Why there is no winner; of quality without standings: why it is not compared."""
    right_or_wrong: bool = False
    """Of quality: whether each prompt scored 0 or 1."""

    _readers: ClassVar[Mapping[str, Reader]] = {"standings": many(Standing.from_dict)}


@dataclass(frozen=True, slots=True)
class FrontPoint(Record):
    """Quality and latency of one model, and whether another is better at both."""

    model: str
    quality: float
    """Mean score over the prompts that all models were asked."""
    e2e_ms: float
    """Geometric mean of the medians of whole answers, over the scenarios that all models answered."""
    quality_ci: Interval | None = None
    """95 % interval, over prompts, of this model alone."""
    e2e_ms_ci: Interval | None = None
    """95 % interval, by the requests, of this model alone."""
    dominated_by: tuple[str, ...] = ()
    """Models that are faster and more often right, both beyond doubt; empty: it is on the Pareto front."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "quality_ci": interval_of,
        "e2e_ms_ci": interval_of,
        "dominated_by": tuple,
    }


@dataclass(frozen=True, slots=True)
class HeldLoad(Record):
    """Highest load that a model held within its budgets."""

    model: str
    scenario: str
    over: str
    """``concurrency`` (streams) or ``rate`` (requests/s)."""
    highest: float | None
    """None: not even the lowest load that was tried."""
    bounded: bool
    """Whether a higher load missed a budget; otherwise it is only the highest that was tried."""
    limits: tuple[str, ...] = ()
    """The budgets."""

    _readers: ClassVar[Mapping[str, Reader]] = {"limits": tuple}


@dataclass(frozen=True, slots=True)
class Changes(Record):
    """Number of comparisons with one baseline, by verdict."""

    label: str
    """Of the baseline."""
    regressed: int = 0
    improved: int = 0
    unchanged: int = 0
    undecided: int = 0
    worst: str = ""
    """The worst regression: what, where, by how much."""
    ahead: str = ""
    """The greatest improvement that its 95 % interval shows beyond the limit and that is called ``unchanged``, since
    the run's error rate asks for more: what, where, by how much."""
    told: tuple[str, ...] = ()
    """Each comparison of the only case with its interval, where one of them is of quality; else empty."""

    _readers: ClassVar[Mapping[str, Reader]] = {"told": tuple}


@dataclass(frozen=True, slots=True)
class Cause(Record):
    """One cause of failure, and its cases."""

    words: str
    """Such as ``ttft_ms.p95 <= 100ms missed``, ``http_error 500``."""
    cases: int
    worst: str
    """Node id of the case that it hit hardest."""
    detail: str = ""
    """The value that missed the budget, and where; else what that case says."""


@dataclass(frozen=True, slots=True)
class RunAnswer(Record):
    """Answer of a run to the questions that it was made for; nothing in it is measured anew."""

    rankings: tuple[Ranking, ...] = ()
    """Empty with a single model."""
    loads: tuple[HeldLoad, ...] = ()
    changes: tuple[Changes, ...] = ()
    causes: tuple[Cause, ...] = ()
    """Worst first."""
    front: tuple[FrontPoint, ...] = ()
    """Quality and latency of the models, most often right first; empty where not both are compared."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "rankings": many(Ranking.from_dict),
        "loads": many(HeldLoad.from_dict),
        "changes": many(Changes.from_dict),
        "causes": many(Cause.from_dict),
        "front": many(FrontPoint.from_dict),
    }
