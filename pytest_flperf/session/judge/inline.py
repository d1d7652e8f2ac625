"""Judge of a run: asked after the measurement, as its suite says."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.backends.base import BackendError, OnProgress
from pytest_flperf.backends.resolver import Placing, PlacingError
from pytest_flperf.backends.router import Place
from pytest_flperf.errors import FlperfError
from pytest_flperf.measurement.judge_client import WAS_INTERRUPTED, JudgeReply, JudgeSettings, ask_judge
from pytest_flperf.results.judged import Judged, ModelScore, Pairwise, Rubric
from pytest_flperf.results.records import BudgetVerdict, Run
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_metrics import JUDGE_METRIC
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.judge.answers import AnswersError, read_answers
from pytest_flperf.session.judge.judging import JudgedFolder, judge_of, read_rubric
from pytest_flperf.session.judge.labels import Label, matched, read_labels
from pytest_flperf.session.judge.rubric import LEAST_LABELS
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.judges import JudgeSpec
from pytest_flperf.suite.model import Case, Scenario

__all__ = ["InlineJudge", "InlineJudgement", "judge_of_cases", "judge_run", "not_judged"]

_SHOWN: Final = 500
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class InlineJudge:
    """Judge of a run's cases, all files read."""

    spec: JudgeSpec
    rubric: str
    labels: tuple[Label, ...]
    nodeids: frozenset[str]
    """Of the cases that it judges."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Cases whose answers it can't be shown, by node id: the scenario, and why."""


@dataclass(frozen=True, slots=True)
class InlineJudgement:
    """What came of the judge of a run."""

    judged: Judged | None
    """None: it gave no verdict at all."""
    verdicts: tuple[BudgetVerdict, ...] = ()
    """Of its gate; empty: it has none."""
    notes: tuple[str, ...] = ()
    was_interrupted: bool = False


def judge_of_cases(cases: Iterable[Case], placing: Placing) -> InlineJudge | None:
    """The judge that suites name for these cases, checked; None: they name none.

    Raises:
        OptionsError: It can't be used, or there are several different ones.

    """
    judged = [case for case in cases if case.scenario.judge is not None]
    if not judged:
        return None
    spec, where = judged[0].scenario.judge, judged[0].suite_ref
    assert spec is not None
    for case in judged:
        if case.scenario.judge != spec:
            raise OptionsError(
                f"{printable(case.suite_ref, 200)}: found two different judges, of {printable(where, 200)} and of the "
                f"scenario {printable(case.scenario.name, 80)}; expected one judge in a run"
            )
    try:
        placing.check([spec.target], f"{where}: judge")
        placing.place(spec.target)
    except (PlacingError, BackendError) as error:
        raise OptionsError(str(error)) from error
    if spec.mode == "pairwise":
        _check_models(judged, where)
    try:
        rubric = read_rubric(spec.rubric)
        labels = () if spec.labels is None else read_labels(spec.labels)
    except SuiteError as error:
        raise OptionsError(f"{where}: judge: {error}") from error
    if spec.fail_under is not None and (why := _too_few(*_counts(labels))):
        raise OptionsError(f"{where}: judge.fail_under: {why}")
    unseen = {
        case.nodeid: f"{printable(case.scenario.name, 80)} ({why})"
        for case in judged
        if (why := _why_unseen(case.scenario))
    }
    if spec.fail_under is not None and unseen:
        raise OptionsError(
            f"{where}: judge.fail_under: found scenarios whose answers no judge can be shown: "
            f"{_listed(unseen.values())}; expected judge: null in each of them"
        )
    return InlineJudge(spec, rubric, labels, frozenset(case.nodeid for case in judged), unseen)


def _why_unseen(scenario: Scenario) -> str:
    """Why the answers of a scenario are shown to no judge; empty: they are."""
    source = scenario.source
    if scenario.settings.load.kind == "session":
        return "chats"
    if scenario.plays_tools:
        return "conversations with tool_results"
    if source is not None and (source.input_tokens is not None or any(not each.messages for each in source.trace)):
        return "prompts of filler"
    return ""


def _listed(texts: Iterable[str]) -> str:
    distinct = tuple(dict.fromkeys(texts))
    return ", ".join(distinct[:_NAMED]) + f" and {len(distinct) - _NAMED} more" * (len(distinct) > _NAMED)


def _check_models(cases: Sequence[Case], where: str) -> None:
    models: dict[tuple[str, str, tuple[object, ...]], set[str]] = {}
    for case in cases:
        models.setdefault((case.suite_ref, case.scenario.name, case.parameters), set()).add(case.model)
    if all(len(found) < 2 for found in models.values()):
        raise OptionsError(
            f"{where}: judge.mode: found pairwise in a run of one model, expected two or more, which it compares; "
            "flperf judge RUN --against RUN2 compares two runs"
        )


def _counts(labels: Sequence[Label]) -> tuple[int, int]:
    passes = sum(label.passed for label in labels)
    return passes, len(labels) - passes


def _too_few(passes: int, fails: int, whose: str = "") -> str:
    """Why there are too few labels for a gate; empty: there are enough."""
    if min(passes, fails) >= LEAST_LABELS:
        return ""
    return (
        f"found labels of {passes} good and {fails} bad answers{whose}, expected {LEAST_LABELS} of each at least: with "
        "fewer, how often the judge is wrong is a guess"
    )


def judge_run(
    inline: InlineJudge,
    run: Run,
    folder: Path,
    place: Place,
    redactor: Redactor,
    on_progress: OnProgress,
    ends_at: float | None,
) -> InlineJudgement:
    """Judge the answers of a measured run, and write the verdicts into its folder.

    Whatever goes wrong is a note, and misses the gate: what was measured stays as it is.

    Args:
        inline: The judge.
        run: What was measured.
        folder: The run's.
        place: Where the judge is.
        redactor: Masks keys.
        on_progress: Told of loads and replies, without keys.
        ends_at: From when on the judge is asked no more (monotonic, in seconds); None: by its own limit alone.

    """
    judged, problem = None, ""

    def told(what: str, percent: float | None) -> None:
        on_progress(redactor.text(what), percent)

    try:
        judged = _judged(inline, run, folder, place, redactor, told, ends_at)
    except (FlperfError, OSError) as error:
        problem = redactor.text(str(error), _SHOWN)
    now = None if judged is None else judged.rubric if inline.spec.mode == "rubric" else judged.pairwise
    notes = [f"the judge gave no verdict: {printable(problem, _SHOWN)}"] if problem else []
    unseen = [inline.unseen[case.nodeid] for case in run.cases if case.nodeid in inline.unseen]
    if unseen:
        notes.append(f"the judge was not shown the answers of {_listed(unseen)}")
    if now is not None and not _verdicts(now):
        notes.append("the judge gave no verdict that can be used: all of its replies are errors of its own")
    limit = inline.spec.fail_under
    stopped = now is not None and any(WAS_INTERRUPTED in reason for reason in now.errors)
    verdicts = () if limit is None or stopped else _gate(inline, limit, run, judged, problem)
    return InlineJudgement(judged, verdicts, tuple(notes), stopped)


def not_judged(inline: InlineJudge, run: Run, problem: str) -> InlineJudgement:
    """What comes of a judge that can't be asked: a note, and a gate that is missed."""
    verdicts = () if inline.spec.fail_under is None else _gate(inline, inline.spec.fail_under, run, None, problem)
    return InlineJudgement(None, verdicts, (f"the judge gave no verdict: {printable(problem, _SHOWN)}",))


def _verdicts(now: Rubric | Pairwise) -> int:
    if isinstance(now, Rubric):
        return sum(row.prompts for row in now.scores)
    return sum(row.wins + row.ties + row.losses for row in now.scores)


def _judged(
    inline: InlineJudge,
    run: Run,
    folder: Path,
    place: Place,
    redactor: Redactor,
    on_progress: OnProgress,
    ends_at: float | None,
) -> Judged:
    spec = inline.spec
    stop_at = time.monotonic() + spec.max_time_s
    settings = JudgeSettings(
        spec.max_tokens, spec.concurrency, spec.timeout_s, stop_at=stop_at if ends_at is None else min(stop_at, ends_at)
    )

    def count(done: int, total: int) -> None:
        on_progress(f"judge: {done} of {total} replies", None)

    def ask(prompts: Sequence[str]) -> Sequence[JudgeReply]:
        return ask_judge(place, prompts, settings, redactor, on_progress, count)

    cases = tuple(each for each in read_answers(folder, run) if each.case.nodeid in inline.nodeids)
    if not cases:
        raise AnswersError("the scenarios that it judges have no answers whose prompts are known, such as chats")
    of_judge = JudgedFolder(folder, run, cases)
    judge = judge_of(redactor.text(place.model), place.kind.name, inline.rubric)
    if spec.mode == "pairwise":
        return of_judge.pairwise(judge, inline.rubric, ask, against=None, most=spec.max_requests)
    labels = matched(inline.labels, cases) if inline.labels else None
    return of_judge.by_rubric(judge, inline.rubric, ask, labels=labels, answers=spec.answers, most=spec.max_requests)


def _gate(
    inline: InlineJudge, limit: float, run: Run, judged: Judged | None, problem: str
) -> tuple[BudgetVerdict, ...]:
    """A verdict for each model that was measured; what was not judged misses the limit."""
    measured = [case for case in run.cases if case.nodeid in inline.nodeids and case.requests.total > 0]
    rubric = None if judged is None else judged.rubric
    seen = set() if rubric is None else {row.nodeid for row in rubric.cases}
    unseen = {
        case.model: f"no answer of {printable(case.nodeid, 200)} was judged"
        for case in measured
        if rubric is not None and case.nodeid not in seen
    }
    rows = {} if rubric is None else {row.model: row for row in rubric.scores if not row.scenario}
    few = ""
    if rubric is not None and rubric.calibrated is not None:
        few = _too_few(rubric.calibrated.passes, rubric.calibrated.fails, " with a verdict of the judge")
    return tuple(
        _verdict(model, limit, rows.get(model), few or problem or unseen.get(model, ""))
        for model in dict.fromkeys(case.model for case in measured)
    )


def _verdict(model: str, limit: float, row: ModelScore | None, problem: str) -> BudgetVerdict:
    value = row.pass_rate_lower if row is not None and not problem else None
    reason = ""
    if value is None:
        reason = problem or (
            "the judge gave no verdict on any answer"
            if row is None or not row.prompts
            else "by the labels this judge can't tell good answers from bad ones, so no pass rate can be corrected"
        )
    return BudgetVerdict(
        expression=f"@{printable(model, 80)}:{JUDGE_METRIC} >= {100 * limit:.6g}%",
        limit=limit,
        value=value,
        n=0 if row is None else row.prompts,
        met=value is not None and value >= limit,
        scope="judge",
        metric=JUDGE_METRIC,
        reason=printable(reason, _SHOWN),
    )
