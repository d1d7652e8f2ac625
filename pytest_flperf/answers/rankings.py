"""Rankings of models by goal, and who wins beyond doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, fsum, inf, isfinite, log
from typing import Final, TypeAlias

from pytest_flperf.answers.scenarios import ScenarioCases, in_turns, scenarios_of
from pytest_flperf.results.answer import CHANCE, GoalName, Ranking, Standing
from pytest_flperf.results.metrics import REQUESTS_NEEDED
from pytest_flperf.results.records import CaseResult
from pytest_flperf.stats.inference.lead import FEWEST_SCENARIOS, Lead, Pair, lead_between, lead_in_turns, points_lead

__all__ = ["rankings_of"]

_NORMAL_95: Final = 1.96
_HOPELESS: Final = 999.0
"""Lead that nobody sees."""
_CELL: TypeAlias = Callable[[CaseResult], "_Value | None"]


@dataclass(frozen=True, slots=True)
class _Value:
    """A model's value in one scenario."""

    value: float
    error_log: float = 0.0
    """Standard error of its logarithm; 0: unknown."""


@dataclass(frozen=True, slots=True)
class _Criterion:
    """How one goal is measured."""

    goal: GoalName
    metric: str
    statistic: str
    value: _CELL
    higher_is_better: bool = False
    of_process: bool = False
    """Whether it is of the server's process: it says nothing of one of several models in it, and does not vary from
    scenario to scenario as the machine does."""


def rankings_of(cases: Sequence[CaseResult]) -> tuple[Ranking, ...]:
    """Rank the models of a run by each goal.

    Only scenarios in which all ranked models answered every request count.  The chance to name any false winner is at
    most 1 %, over all goals and models: each model is tested against each other at 1 % / (goals × models), so that
    naming one that is not best takes an error in one of its tests against the best (Bonferroni).

    Empty with fewer than two models.
    """
    scenarios = scenarios_of(cases)
    if len({model for each in scenarios for model in each.by_model}) < 2:
        return ()
    found = [each for criterion in _CRITERIA if (each := _compared(criterion, scenarios)) is not None]
    quality = _quality_of(scenarios)
    goals = len(found) + (quality is not None)
    rankings = [_ranking(each, CHANCE / (goals * len(each.models))) for each in found]
    if quality is not None:
        rankings.append(_quality_ranking(quality, CHANCE / (goals * len(quality))))
    return tuple(rankings)


@dataclass(frozen=True, slots=True)
class _Compared:
    """What is compared for one goal."""

    criterion: _Criterion
    models: Mapping[str, tuple[_Value, ...]]
    """By model, a value for each scenario."""
    took_turns: bool

    @property
    def scenarios(self) -> int:
        """How many scenarios are compared."""
        return len(next(iter(self.models.values())))

    @property
    def by_turns(self) -> bool:
        """Whether turns show how much the machine changed."""
        return self.took_turns and self.scenarios >= FEWEST_SCENARIOS


def _compared(criterion: _Criterion, scenarios: Sequence[ScenarioCases]) -> _Compared | None:
    """The values of a goal; None where fewer than two models have one in common."""
    if criterion.of_process:
        scenarios = [each for each in scenarios if not _share_a_server(each.by_model.values())]
    table = [
        {model: value for model, case in each.by_model.items() if (value := criterion.value(case)) is not None}
        for each in scenarios
    ]
    models = list(dict.fromkeys(model for row in table for model in row))
    common = [(each, row) for each, row in zip(scenarios, table, strict=True) if row.keys() == set(models)]
    if len(models) < 2 or not common:
        return None
    turns = not criterion.of_process and in_turns([each for each, _ in common])
    return _Compared(criterion, {model: tuple(row[model] for _, row in common) for model in models}, turns)


def _ranking(compared: _Compared, level: float) -> Ranking:
    criterion = compared.criterion
    means = {model: _geometric_mean(values) for model, values in compared.models.items()}
    order = sorted(means, key=means.__getitem__, reverse=criterion.higher_is_better)
    best = order[0]
    leads = {model: _lead(compared, best, model, level) for model in order[1:]}
    standings = tuple(
        Standing(
            model,
            means[model],
            behind=max(means[best], means[model]) / min(means[best], means[model]),
            behind_ci=_interval(leads.get(model)),
            best_in=_best_in(compared, model),
        )
        for model in order
    )
    ranking = Ranking(
        criterion.goal,
        criterion.metric,
        criterion.statistic,
        compared=compared.scenarios,
        standings=standings,
    )
    if all(lead is not None and lead.low > 1 for lead in leads.values()):
        return replace(ranking, winner=best, lead=standings[1].behind)
    return replace(ranking, reason=_why_none(compared, leads.values()))


def _lead(compared: _Compared, ours: str, theirs: str, level: float) -> Lead | None:
    mine, others = compared.models[ours], compared.models[theirs]
    if compared.criterion.higher_is_better:
        mine, others = others, mine
    pairs = [
        Pair(one.value, other.value, (one.error_log**2 + other.error_log**2) ** 0.5)
        for one, other in zip(mine, others, strict=True)
    ]
    return lead_in_turns(pairs, level) if compared.by_turns else lead_between(pairs, level)


def _interval(lead: Lead | None) -> tuple[float, float] | None:
    return None if lead is None else (lead.low, lead.high)


def _best_in(compared: _Compared, model: str) -> int:
    better = max if compared.criterion.higher_is_better else min
    rows = zip(*compared.models.values(), strict=True)
    return sum(
        mine.value == better(each.value for each in row) for mine, row in zip(compared.models[model], rows, strict=True)
    )


def _why_none(compared: _Compared, leads: Iterable[Lead | None]) -> str:
    """Why no model wins, and what would tell more."""
    if compared.by_turns:
        return "the intervals overlap; measure more scenarios or more requests"
    scenarios = f"{compared.scenarios} scenario{'' if compared.scenarios == 1 else 's'}"
    missed = [each.value / each.low for each in leads if each is not None and each.low <= 1]
    if not missed or max(missed) > _HOPELESS:  # none: of one scenario whose own error is unknown
        return f"{scenarios} can't tell; measure {FEWEST_SCENARIOS} or more"
    least = f"{max(missed):.{2 if max(missed) < 100 else 3}g}"
    if compared.took_turns:
        return f"from {scenarios} only a lead above {least} times can be told; measure {FEWEST_SCENARIOS} or more"
    return (
        f"models that were measured one after the other must lead by more than {least} times, as the machine may "
        f"have changed; measure {FEWEST_SCENARIOS} scenarios or more with --flperf-order=scenario"
    )


def _geometric_mean(values: Sequence[_Value]) -> float:
    return exp(fsum(log(each.value) for each in values) / len(values))


# ---- values of a case


def _percentile(metric: str) -> _CELL:
    """The median of a metric, with the error that its interval says."""

    def value(case: CaseResult) -> _Value | None:
        found = case.metrics.get(metric)
        if not _is_whole(case) or found is None or not 0 < found.p50 < inf:
            return None
        bounds = found.p50_ci95
        error = log(bounds[1] / bounds[0]) / (2 * _NORMAL_95) if bounds and 0 < bounds[0] <= bounds[1] < inf else 0.0
        return _Value(found.p50, error)

    return value


def _throughput(case: CaseResult) -> _Value | None:
    """Tokens per second of a closed loop: in an open loop they are what was offered."""
    load, rate = case.load, case.tps_total
    if not _is_whole(case) or load is None or load.rate is not None or load.think_time_s:
        return None
    return _Value(rate) if rate is not None and 0 < rate < inf else None


def _steadiness(case: CaseResult) -> _Value | None:
    found = case.metrics.get("itl_ms")
    if not _is_whole(case) or found is None or found.n < REQUESTS_NEEDED["p99"] or not 0 < found.p50 <= found.p99 < inf:
        return None
    return _Value(found.p99 / found.p50)


def _memory(case: CaseResult) -> _Value | None:
    """Memory of the server's processes."""
    found = case.resources.get("server_rss_mb")
    if case.target is None or case.target.base_url is None or found is None or not 0 < found.max < inf:
        return None
    return _Value(found.max)


def _share_a_server(cases: Iterable[CaseResult]) -> bool:
    urls = [case.target and case.target.base_url for case in cases]
    return len(set(urls)) < len(urls)


def _is_whole(case: CaseResult) -> bool:
    """Whether all requests of a fixed load were answered.

    Where some failed, the others may have been quicker for it; a search and two sides in turn have loads of their own.
    """
    return bool(case.requests.ok) and not (case.requests.failed or case.partial or case.search is not None)


_CRITERIA: Final = (
    _Criterion("first_token", "ttft_ms", "p50", _percentile("ttft_ms")),
    _Criterion("whole_answer", "e2e_ms", "p50", _percentile("e2e_ms")),
    _Criterion("throughput", "tps_total", "", _throughput, higher_is_better=True),
    _Criterion("steadiness", "itl_ms", "p99/p50", _steadiness),
    _Criterion("memory", "server_rss_mb", "max", _memory, of_process=True),
)


# ---- quality

_Scores: TypeAlias = Mapping[str, Mapping[tuple[int, str], float]]
"""By model, the score of each prompt that all models have."""


def _quality_of(scenarios: Sequence[ScenarioCases]) -> _Scores | None:
    found: dict[str, dict[tuple[int, str], float]] = {}
    for number, each in enumerate(scenarios):
        for model, case in each.by_model.items():
            if not case.not_scored and not case.partial:
                found.setdefault(model, {}).update({(number, one.prompt): one.score for one in case.prompt_scores})
    scored = {model: scores for model, scores in found.items() if scores}
    common = set.intersection(*map(set, scored.values())) if scored else set()
    if len(scored) < 2 or not common:
        return None
    return {model: {key: scores[key] for key in sorted(common)} for model, scores in scored.items()}


def _quality_ranking(scores: _Scores, level: float) -> Ranking:
    means = {model: fsum(each.values()) / len(each) for model, each in scores.items()}
    order = sorted(means, key=means.__getitem__, reverse=True)
    best = order[0]
    top = [max(row) for row in zip(*(each.values() for each in scores.values()), strict=True)]
    standings = tuple(
        Standing(
            model,
            means[model],
            behind=means[best] - means[model],
            best_in=sum(score == most for score, most in zip(scores[model].values(), top, strict=True)),
        )
        for model in order
    )
    ranking = Ranking("quality", "quality", "mean", compared=len(top), standings=standings)
    if all(points_lead(_differences(scores[best], scores[model]), level) for model in order[1:]):
        return replace(ranking, winner=best, lead=standings[1].behind)
    return replace(ranking, reason=f"{len(top)} prompts in common can't tell them apart")


def _differences(ours: Mapping[tuple[int, str], float], theirs: Mapping[tuple[int, str], float]) -> list[float]:
    return [found for key, score in ours.items() if isfinite(found := score - theirs[key])]
