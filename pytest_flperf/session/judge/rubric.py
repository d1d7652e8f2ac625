"""Rubric judgement: scores of a run's answers, per model and prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Final

from pytest_flperf.measurement.judge_client import AskJudge
from pytest_flperf.quality.judge_prompts import Fence, rubric_prompt
from pytest_flperf.quality.judge_verdicts import HIGHEST, LOWEST, JudgeError, Scored, parse_score
from pytest_flperf.results.judged import Calibrated, Judge, ModelScore, PromptGap, Rubric, WeakAnswer
from pytest_flperf.session.judge.answers import CaseAnswers, StoredAnswer
from pytest_flperf.session.judge.asking import asked, bounded, errors_of
from pytest_flperf.session.judge.groups import PromptMean, group_gaps, group_scores
from pytest_flperf.session.judge.labels import Labels
from pytest_flperf.stats.inference.agreement import (
    LabelCounts,
    corrected_rate,
    kappa,
    kappa_interval,
    mean_interval,
)

__all__ = ["LEAST_LABELS", "judge_by_rubric"]

LEAST_LABELS: Final = 10
"""Of each kind, passed and failed by people, that a gate needs."""
_WEAKEST: Final = 5
_GAPS: Final = 5
_LEAST_GAP: Final = 1.0
"""Difference of two scores that is worth a look."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """An answer with what the judge said."""

    case: CaseAnswers
    answer: StoredAnswer
    verdict: Scored | JudgeError | None
    """None: there was no answer to judge."""
    is_earlier: bool = False
    """Whether it is no answer of the run, but one that a label of an earlier run holds."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Suite, scenario and prompt."""
        return (*self.case.place, self.answer.prompt)

    def to_record(self) -> dict[str, Any]:
        """Line of ``judgements.jsonl``."""
        verdict = self.verdict
        said = (
            {"score": verdict.score, "grade": verdict.grade, "reason": verdict.reason}
            if isinstance(verdict, Scored)
            else {"error": "" if verdict is None else verdict.reason, "no_answer": verdict is None}
        )
        where = {"nodeid": self.answer.nodeid, "index": self.answer.index, "prompt": self.answer.prompt}
        if self.is_earlier:
            return {"kind": "rubric", "label": True, "prompt": self.answer.prompt, "answer": self.answer.text, **said}
        row = {"row": self.answer.row} if self.answer.row else {}
        return {"kind": "rubric", **where, **row, "model": self.case.case.model, **said}


def judge_by_rubric(
    cases: Sequence[CaseAnswers],
    judge: Judge,
    rubric: str,
    ask: AskJudge,
    *,
    labels: Labels | None,
    answers: int,
    most: int,
) -> tuple[Rubric, list[dict[str, Any]]]:
    """Judge answers by a rubric; the summary and a record for each answer.

    Args:
        cases: Whose answers are judged.
        judge: Who judges.
        rubric: What is good, in words.
        ask: Asks the judge.
        labels: What people said of some answers; these are judged in any case.
        answers: How many answers to each prompt of a case are judged: the first ones.
        most: Requests to the judge at most.

    Raises:
        TooManyError: There are more to judge.

    """
    chosen = [(case, each) for case in cases for some in case.by_prompt(answers).values() for each in some]
    known = {answer.id for _, answer in chosen}
    labelled = {each.id for each in labels.answers} if labels is not None else set()
    more = [(case, each) for case in cases for each in case.answers if each.id in labelled and each.id not in known]
    earlier = labels.earlier if labels is not None else ()
    to_judge = [(case, answer) for case, answer in (*chosen, *more, *earlier) if answer.text]
    fence = Fence.new(text for case, each in to_judge for text in (case.questions[each.prompt], each.text))
    prompts = [rubric_prompt(case.questions[answer.prompt], answer.text, rubric, fence) for case, answer in to_judge]
    verdicts = asked(prompts, ask, parse_score, most)
    by_id = {answer.id: verdict for (_, answer), verdict in zip(to_judge, verdicts, strict=True)}
    judged = [_Judged(case, answer, by_id.get(answer.id)) for case, answer in chosen]
    means = _prompt_means(judged)
    found = Rubric(
        judge,
        _scores(judged),
        _weakest(judged),
        _gaps(judged),
        errors_of(verdicts),
        notes=_notes(cases, judge),
        cases=tuple(_of_case(case, [each for each in judged if each.case is case]) for case in cases),
        groups=group_scores(means),
        group_gaps=group_gaps(means),
    )
    if labels is not None:
        counts, calibrated = _calibrated(labels, by_id)
        rows, by_case = (tuple(_corrected(each, counts) for each in some) for some in (found.scores, found.cases))
        found = replace(found, calibrated=calibrated, scores=rows, cases=by_case)
    extra = [_Judged(case, answer, by_id.get(answer.id)) for case, answer in more]
    extra += [_Judged(case, answer, by_id.get(answer.id), is_earlier=True) for case, answer in earlier]
    return found, [each.to_record() for each in (*judged, *extra)]


def _scores(judged: Sequence[_Judged]) -> tuple[ModelScore, ...]:
    """A row per model, and one per scenario and model where there are several scenarios."""
    models = dict.fromkeys(each.case.case.model for each in judged)
    scenarios = dict.fromkeys(each.case.scenario for each in judged)
    rows = [_score(model, "", [each for each in judged if each.case.case.model == model]) for model in models]
    if len(scenarios) > 1:
        for scenario in scenarios:
            for model in models:
                some = [each for each in judged if (each.case.case.model, each.case.scenario) == (model, scenario)]
                rows += [_score(model, scenario, some)] if some else []
    return tuple(rows)


def _of_case(case: CaseAnswers, judged: Sequence[_Judged]) -> ModelScore:
    return replace(_score(case.case.model, case.scenario, judged), nodeid=case.case.nodeid)


def _prompt_means(judged: Sequence[_Judged]) -> list[PromptMean]:
    """Mean score of each model on each prompt, as far as it has one."""
    by_model: dict[tuple[str, tuple[str, str, str]], list[_Judged]] = {}
    for each in judged:
        if isinstance(each.verdict, Scored):
            by_model.setdefault((each.case.case.model, each.key), []).append(each)
    found = []
    for (model, key), some in by_model.items():
        scores = _scored(some)
        category, passed = some[0].answer.category, fmean(each.grade == "pass" for each in scores)
        mean = fmean(each.score for each in scores)
        found.append(PromptMean(model, key, some[0].case.scenario, category, mean, passed))
    return found


def _score(model: str, scenario: str, judged: Sequence[_Judged]) -> ModelScore:
    scored = [each.verdict for each in judged if isinstance(each.verdict, Scored)]
    by_prompt = [_scored(some) for some in _by_prompt(judged).values()]
    means = [fmean(each.score for each in some) for some in by_prompt if some]
    passed = [fmean(each.grade == "pass" for each in some) for some in by_prompt if some]
    return ModelScore(
        model,
        scenario,
        prompts=len(means),
        mean_score=fmean(means) if means else None,
        mean_score_ci95=mean_interval(means, LOWEST, HIGHEST),
        passed=sum(each.grade == "pass" for each in scored),
        marginal=sum(each.grade == "marginal" for each in scored),
        failed=sum(each.grade == "fail" for each in scored),
        no_answer=sum(each.verdict is None for each in judged),
        judge_errors=sum(isinstance(each.verdict, JudgeError) for each in judged),
        pass_rate=fmean(passed) if passed else None,
    )


def _corrected(row: ModelScore, counts: LabelCounts) -> ModelScore:
    """The row with its pass rate corrected; what was not judged counts as failed in the lower end."""
    corrected = None if row.pass_rate is None else corrected_rate(row.pass_rate, row.prompts, counts)
    if corrected is None:
        return row
    scored = row.passed + row.marginal + row.failed
    share = scored / (scored + row.no_answer + row.judge_errors)
    return replace(
        row,
        corrected_pass_rate=corrected.rate,
        corrected_pass_rate_ci95=corrected.ci95,
        pass_rate_lower=corrected.ci95[0] * share,
    )


def _calibrated(labels: Labels, verdicts: Mapping[str, Scored | JudgeError]) -> tuple[LabelCounts, Calibrated]:
    """The judge's verdicts on labelled answers against the labels."""
    said = [(passed, verdicts.get(id_)) for id_, passed in labels.passed.items()]
    tried = [(passed, each.grade == "pass") for passed, each in said if isinstance(each, Scored)]
    counts = LabelCounts(
        passes=sum(passed for passed, _ in tried),
        passes_agreed=sum(passed and by_judge for passed, by_judge in tried),
        fails=sum(not passed for passed, _ in tried),
        fails_agreed=sum(not passed and not by_judge for passed, by_judge in tried),
    )
    return counts, Calibrated(
        labels=labels.total,
        unmatched=labels.total - len(labels.passed),
        judge_errors=len(said) - len(tried),
        earlier=len(labels.earlier),
        **asdict(counts),
        kappa=kappa(counts),
        kappa_ci95=kappa_interval(counts),
        sensitivity=counts.sensitivity,
        specificity=counts.specificity,
    )


def _weakest(judged: Sequence[_Judged]) -> tuple[WeakAnswer, ...]:
    """The answers with the lowest scores of each model, one per prompt, where they don't pass."""
    found: list[WeakAnswer] = []
    for model in dict.fromkeys(each.case.case.model for each in judged):
        of_model = [each for each in judged if each.case.case.model == model]
        lowest = [_lowest(some) for some in _by_prompt(of_model).values() if _scored(some)]
        weak = [(each, verdict) for each, verdict in lowest if verdict.grade != "pass"]
        for each, verdict in sorted(weak, key=lambda pair: pair[1].score)[:_WEAKEST]:
            found.append(
                WeakAnswer(
                    model,
                    each.case.scenario,
                    each.answer.prompt,
                    bounded(each.case.questions[each.answer.prompt]),
                    bounded(each.answer.text),
                    verdict.score,
                    bounded(verdict.reason),
                )
            )
    return tuple(found)


def _gaps(judged: Sequence[_Judged]) -> tuple[PromptGap, ...]:
    """The prompts on which the models differ most."""
    found = []
    for some in _by_prompt(judged).values():
        by_model: dict[str, list[_Judged]] = {}
        for each in some:
            if isinstance(each.verdict, Scored):
                by_model.setdefault(each.case.case.model, []).append(each)
        means = {model: fmean(each.score for each in _scored(of_model)) for model, of_model in by_model.items()}
        if len(means) < 2:
            continue
        best, worst = max(means, key=lambda name: means[name]), min(means, key=lambda name: means[name])
        if means[best] - means[worst] < _LEAST_GAP:
            continue
        at, verdict = _lowest(by_model[worst])
        question = bounded(at.case.questions[at.answer.prompt])
        reason = bounded(verdict.reason)
        found.append(
            PromptGap(at.case.scenario, at.answer.prompt, question, best, means[best], worst, means[worst], reason)
        )
    return tuple(sorted(found, key=lambda gap: gap.worst_score - gap.best_score)[:_GAPS])


def _by_prompt(judged: Iterable[_Judged]) -> dict[tuple[str, str, str], list[_Judged]]:
    found: dict[tuple[str, str, str], list[_Judged]] = {}
    for each in judged:
        found.setdefault(each.key, []).append(each)
    return found


def _scored(judged: Iterable[_Judged]) -> list[Scored]:
    return [each.verdict for each in judged if isinstance(each.verdict, Scored)]


def _lowest(judged: Iterable[_Judged]) -> tuple[_Judged, Scored]:
    """The answer with the lowest score, of some that have one."""
    scored = [(each, each.verdict) for each in judged if isinstance(each.verdict, Scored)]
    return min(scored, key=lambda pair: pair[1].score)


def _notes(cases: Sequence[CaseAnswers], judge: Judge) -> tuple[str, ...]:
    """What a reader must know: a judge prefers its own answers."""
    own = sorted({case.case.model for case in cases if judge.model == case.case.model})
    return tuple(f"{model} judges its own answers, and judges tend to prefer their own" for model in own)
