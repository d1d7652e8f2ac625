"""Judged runs: ``judged.json`` beside ``results.json``, what a judge said of a run's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pytest_flperf.errors import FlperfError
from pytest_flperf.results.document import DocumentError, Fault, decoded, faults_of, parsed, shown

__all__ = [
    "SCHEMA",
    "Calibrated",
    "GroupGap",
    "GroupKind",
    "GroupScore",
    "Judge",
    "Judged",
    "JudgedError",
    "ModelScore",
    "PairFinding",
    "PairGap",
    "PairScore",
    "Pairwise",
    "PromptGap",
    "Rubric",
    "WeakAnswer",
    "read_judged",
]

SCHEMA: Final = "flperf.judged/1"
_LARGEST: Final = 64 << 20
_LEVEL: Final = 0.05
GroupKind: TypeAlias = Literal["category", "scenario"]


class JudgedError(FlperfError):
    """Unreadable ``judged.json``."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judge: which model, asked how."""

    model: str
    backend: str
    rubric: str
    """Its text, cut where it is long."""
    rubric_is_default: bool
    judged_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class ModelScore:
    """Scores of one model, over all scenarios or in one of them."""

    model: str
    scenario: str
    """Empty: all of them."""
    prompts: int
    """Prompts with a score."""
    mean_score: float | None
    """Mean over prompts, 1 to 5; None where nothing was scored."""
    mean_score_ci95: tuple[float, float] | None
    passed: int
    """Answers with 4 or 5."""
    marginal: int
    """Answers with 3."""
    failed: int
    """Answers with 1 or 2."""
    no_answer: int
    """Requests that failed or brought no text: nothing to judge."""
    judge_errors: int
    """Answers of which the judge gave no verdict."""
    pass_rate: float | None
    """Share of answers that passed, by prompt."""
    corrected_pass_rate: float | None = None
    """The same without the judge's own mistakes, as far as labels tell them."""
    corrected_pass_rate_ci95: tuple[float, float] | None = None
    pass_rate_lower: float | None = None
    """Lower end of that interval, times the share of answers that were judged at all: what gates see."""
    nodeid: str = ""
    """Of the case, where it is the row of one."""


@dataclass(frozen=True, slots=True)
class WeakAnswer:
    """Answer with a low score."""

    model: str
    scenario: str
    prompt: str
    """Id of the prompt."""
    question: str
    answer: str
    score: float
    reason: str
    """In the judge's words."""


@dataclass(frozen=True, slots=True)
class PromptGap:
    """Prompt on which two models of a run differ."""

    scenario: str
    prompt: str
    question: str
    best: str
    best_score: float
    worst: str
    worst_score: float
    reason: str
    """Why the worse one got its score, in the judge's words."""


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Scores of one model in one category or scenario, against its other prompts."""

    model: str
    kind: GroupKind
    name: str
    """Empty: prompts without a category."""
    prompts: int
    """With a score."""
    mean_score: float
    mean_score_ci95: tuple[float, float] | None
    pass_rate: float
    difference: float | None = None
    """Its mean score minus that of the model's other prompts; None: there are no others."""
    p_value: float | None = None
    """Permutation test of that difference, two-sided; Holm's over all groups of the model."""
    word: Literal["strength", "weakness", ""] = ""
    """Empty: the test doesn't tell it from the others."""


@dataclass(frozen=True, slots=True)
class GroupGap:
    """Category or scenario in which two models differ."""

    kind: GroupKind
    name: str
    prompts: int
    """With a score of both."""
    best: str
    best_score: float
    worst: str
    worst_score: float
    p_value: float
    """Sign flips of the differences by prompt, two-sided; Bonferroni's over all groups and every two models."""

    @property
    def decided(self) -> bool:
        """Whether the test leaves out that both are alike."""
        return self.p_value <= _LEVEL


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Calibration: the judge against human labels."""

    labels: int
    """Labels with a verdict in the file."""
    unmatched: int
    """Of them, those of no answer of the run."""
    judge_errors: int
    """Of the others, those of which the judge gave no verdict."""
    passes: int
    passes_agreed: int
    fails: int
    fails_agreed: int
    kappa: float | None
    kappa_ci95: tuple[float, float] | None
    sensitivity: float | None
    specificity: float | None
    earlier: int = 0
    """Labels of answers that are not the run's own: earlier ones to its questions, which the judge was asked, too."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """Rubric judgement of a run."""

    judge: Judge
    scores: tuple[ModelScore, ...]
    weakest: tuple[WeakAnswer, ...] = ()
    gaps: tuple[PromptGap, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict)
    """Errors of the judge, by reason."""
    calibrated: Calibrated | None = None
    """None: there were no labels."""
    notes: tuple[str, ...] = ()
    cases: tuple[ModelScore, ...] = ()
    """A row per case."""
    groups: tuple[GroupScore, ...] = ()
    """Categories, and scenarios where there are several, by model."""
    group_gaps: tuple[GroupGap, ...] = ()
    """The groups in which two models differ most, largest difference first."""


@dataclass(frozen=True, slots=True)
class PairScore:
    """Pairwise comparison of two sides, over all scenarios or in one."""

    first: str
    second: str
    scenario: str
    """Empty: all of them."""
    wins: int
    """Prompts on which the first side is better in both orders."""
    ties: int
    losses: int
    same: int
    """Of the ties, those whose answers were the same, letter for letter: the judge was not asked."""
    no_answer: int
    """Prompts on which a side had no answer."""
    judge_errors: int
    """Prompts of which the judge gave no verdict in one order or both; they are in no other count but ``no_answer``."""
    asked: int
    """Prompts with a verdict in both orders."""
    flips: int
    """Of them, those on which the two orders disagree; each is a tie."""
    first_position: int
    """Verdicts for the answer that stood first."""
    second_position: int
    """Verdicts for the answer that stood second."""
    p_value: float
    """Exact two-sided sign test of wins and losses."""

    @property
    def flip_rate(self) -> float | None:
        """Share of prompts on which the two orders disagree."""
        return self.flips / self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class PairFinding:
    """Prompt that one side won in both orders."""

    scenario: str
    prompt: str
    question: str
    winner: str
    loser: str
    reason: str
    """In the judge's words, for whom the winner's answer was A."""


@dataclass(frozen=True, slots=True)
class PairGap:
    """Category or scenario in which one side won more often."""

    kind: GroupKind
    name: str
    winner: str
    loser: str
    wins: int
    """Of the winner."""
    ties: int
    losses: int
    p_value: float
    """Exact two-sided sign test; Holm's over all groups of all two sides."""

    @property
    def decided(self) -> bool:
        """Whether the test leaves out that both win equally often."""
        return self.p_value <= _LEVEL


@dataclass(frozen=True, slots=True)
class Pairwise:
    """Pairwise judgement of a run."""

    judge: Judge
    scores: tuple[PairScore, ...]
    findings: tuple[PairFinding, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict)
    against: str = ""
    """Id of the run that it was compared with; empty: models of the run with each other."""
    notes: tuple[str, ...] = ()
    gaps: tuple[PairGap, ...] = ()
    """The groups that one side won most clearly, the clearest first."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Contents of ``judged.json``."""

    run: str
    """Id of the run."""
    rubric: Rubric | None = None
    pairwise: Pairwise | None = None
    schema: str = SCHEMA

    def case_score(self, nodeid: str) -> ModelScore | None:
        """Score of a case; None: it was not judged by a rubric."""
        cases = () if self.rubric is None else self.rubric.cases
        return next((each for each in cases if each.nodeid == nodeid), None)

    def to_dict(self) -> dict[str, Any]:
        """The file's JSON."""
        return asdict(self)


def read_judged(path: Path) -> Judged | None:
    """Read ``judged.json``; None where there is none.

    Raises JudgedError where it can't be read or was changed.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise JudgedError(f"{path} can't be read: {error.strerror or error}") from error
    if len(content) > _LARGEST:
        raise JudgedError(f"{path} is not read: it has more than {_LARGEST >> 20} MB")
    try:
        return _checked(parsed(decoded(content)))
    except DocumentError as error:
        why = f"{path} is not a file of flperf judge, or was changed: {error}"
        raise JudgedError(f"{why}; judge the run again") from error


def _checked(value: Any) -> Judged:
    """The contents of the file; raises DocumentError where they are no such contents."""
    from pydantic import TypeAdapter, ValidationError

    if faults := faults_of(value):
        raise DocumentError(faults)
    try:
        return TypeAdapter(Judged).validate_python(value)
    except ValidationError as error:
        raise DocumentError(
            [Fault(each["loc"], shown(each["input"]), each["msg"].lower()) for each in error.errors()]
        ) from error
