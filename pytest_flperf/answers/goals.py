"""Goals that models compete for, and their values, scenario by scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, log, sqrt
from typing import Final, TypeAlias

from pytest_flperf.answers.scenarios import ScenarioCases, in_turns, scenarios_of
from pytest_flperf.answers.scores import Scores, scores_of
from pytest_flperf.results.answer import CHANCE, GoalName
from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.serialize import Interval
from pytest_flperf.stats.inference.lead import FEWEST_SCENARIOS, Lead, Pair, lead_between, lead_in_turns

__all__ = ["Compared", "Criterion", "Goals", "Value", "goals_of"]

_NORMAL_95: Final = 1.96
_CELL: TypeAlias = "Callable[[CaseResult], Value | None]"


@dataclass(frozen=True, slots=True)
class Value:
    """A model's value in one scenario."""

    value: float
    error_log: float = 0.0
    """Standard error of its logarithm; 0: unknown."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """How one goal is measured."""

    goal: GoalName
    metric: str
    statistic: str
    value: _CELL
    higher_is_better: bool = False
    of_process: bool = False
    """Whether it is of the server's process: it says nothing of one of several models in it, and does not vary from
    scenario to scenario as the machine does."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared for one goal."""

    criterion: Criterion
    models: Mapping[str, tuple[Value, ...]]
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

    def mean(self, model: str) -> float:
        """Geometric mean of a model's values."""
        return exp(self._log_mean(model))

    def interval(self, model: str) -> Interval | None:
        """95 % interval of a model's mean, by the errors within its scenarios alone; None where one is unknown."""
        errors = [each.error_log for each in self.models[model]]
        if not all(errors):
            return None
        mean, reach = self._log_mean(model), _NORMAL_95 * sqrt(fsum(each**2 for each in errors)) / len(errors)
        return exp(mean - reach), exp(mean + reach)

    def lead(self, ours: str, theirs: str, level: float) -> Lead | None:
        """How many times better one model is than another; each limit is wrong as often as ``level``."""
        mine, others = self.models[ours], self.models[theirs]
        if self.criterion.higher_is_better:
            mine, others = others, mine
        pairs = [
            Pair(one.value, other.value, (one.error_log**2 + other.error_log**2) ** 0.5)
            for one, other in zip(mine, others, strict=True)
        ]
        return lead_in_turns(pairs, level) if self.by_turns else lead_between(pairs, level)

    def _log_mean(self, model: str) -> float:
        values = self.models[model]
        return fsum(log(each.value) for each in values) / len(values)


@dataclass(frozen=True, slots=True)
class Goals:
    """What the models of a run compete for."""

    compared: tuple[Compared, ...]
    """All goals but quality."""
    scores: Scores | None
    """Of quality; None: it is not compared."""

    @property
    def both(self) -> tuple[str, ...]:
        """Models whose whole answers and whose quality are compared; empty with fewer than two."""
        found = self.speed
        if found is None or self.scores is None:
            return ()
        models = tuple(model for model in found.models if model in self.scores)
        return models if len(models) > 1 else ()

    @property
    def speed(self) -> Compared | None:
        """What whole answers take."""
        return next((each for each in self.compared if each.criterion.goal == "whole_answer"), None)

    @property
    def chance(self) -> float:
        """Chance of a false claim that one goal may spend: equal parts; quality and the Pareto front share one."""
        return CHANCE / max(len(self.compared) + (self.scores is not None), 1)

    @property
    def level_of_pairs(self) -> float:
        """Chance of a false claim on the quality of one model over another, for each of the k × (k - 1) such claims.

        The Pareto front claims of the same pairs that speed is better as well, at the same level.  Of each pair one of
        the two is wrong to claim, if any, so that both together spend it once.
        """
        count = len(self.scores or ())
        return self.chance / max(count * (count - 1), 1)


def goals_of(cases: Sequence[CaseResult]) -> Goals:
    """Goals that can be compared, of the scenarios that several models were measured with."""
    scenarios = scenarios_of(cases)
    if len({model for each in scenarios for model in each.by_model}) < 2:
        return Goals((), None)
    found = [each for criterion in _CRITERIA if (each := _compared(criterion, scenarios)) is not None]
    return Goals(tuple(found), scores_of(scenarios))


def _compared(criterion: Criterion, scenarios: Sequence[ScenarioCases]) -> Compared | None:
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
    return Compared(criterion, {model: tuple(row[model] for _, row in common) for model in models}, turns)


# ---- values of a case


def _percentile(metric: str) -> _CELL:
    """The median of a metric, with the error that its interval says."""

    def value(case: CaseResult) -> Value | None:
        found = case.metrics.get(metric)
        if not _is_whole(case) or found is None or not 0 < found.p50 < inf:
            return None
        bounds = found.p50_ci95
        error = log(bounds[1] / bounds[0]) / (2 * _NORMAL_95) if bounds and 0 < bounds[0] <= bounds[1] < inf else 0.0
        return Value(found.p50, error)

    return value


def _throughput(case: CaseResult) -> Value | None:
    """Tokens per second of a closed loop: in an open loop they are what was offered."""
    load, rate = case.load, case.tps_total
    if not _is_whole(case) or load is None or load.rate is not None or load.think_time_s:
        return None
    return Value(rate) if rate is not None and 0 < rate < inf else None


def _steadiness(case: CaseResult) -> Value | None:
    found = case.metrics.get("itl_ms")
    if not _is_whole(case) or found is None or found.n < REQUESTS_NEEDED["p99"] or not 0 < found.p50 <= found.p99 < inf:
        return None
    return Value(found.p99 / found.p50)


def _memory(case: CaseResult) -> Value | None:
    """Memory of the server's processes."""
    found = case.resources.get("server_rss_mb")
    if case.target is None or case.target.base_url is None or found is None or not 0 < found.max < inf:
        return None
    return Value(found.max)


def _share_a_server(cases: Iterable[CaseResult]) -> bool:
    urls = [case.target and case.target.base_url for case in cases]
    return len(set(urls)) < len(urls)


def _is_whole(case: CaseResult) -> bool:
    """Whether all requests of a fixed load were answered.

    Where some failed, the others may have been quicker for it; a search and two sides in turn have loads of their own.
    """
    return bool(case.requests.ok) and not (case.requests.failed or case.partial or case.search is not None)


_CRITERIA: Final = (
    Criterion("first_token", "ttft_ms", "p50", _percentile("ttft_ms")),
    Criterion("whole_answer", "e2e_ms", "p50", _percentile("e2e_ms")),
    Criterion("throughput", "tps_total", "", _throughput, higher_is_better=True),
    Criterion("steadiness", "itl_ms", "p99/p50", _steadiness),
    Criterion("memory", "server_rss_mb", "max", _memory, of_process=True),
)
