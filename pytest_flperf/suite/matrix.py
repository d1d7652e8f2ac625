"""Matrix expansion: scenarios × models × points, with command-line overrides."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from pytest_flperf.suite.errors import SuiteError, shown
from pytest_flperf.suite.load_shapes import shape_problem
from pytest_flperf.suite.messages import Scalar
from pytest_flperf.suite.model import Case, Scenario, Settings, Suite, Timeouts
from pytest_flperf.suite.prompts.sources import PromptSource, TracedRequest
from pytest_flperf.suite.setting_limits import MAX_CASES, check_setting
from pytest_flperf.suite.settings import with_values
from pytest_flperf.suite.slugs import unique_slugs, without_clashes
from pytest_flperf.suite.targets import TargetSpec, distinct

__all__ = ["Overrides", "expand", "joined"]

_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "iterations": "--flperf-iterations",
        "warmup": "--flperf-warmup",
        "concurrency": "--flperf-concurrency",
        "timeout_s": "--flperf-timeout",
        "max_answer_mb": "--flperf-max-answer-mb",
        "max_tokens": "--flperf-max-tokens",
        "temperature": "--flperf-temperature",
        "stream": "--flperf-no-stream",
    }
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Overrides of every case from the command line; None: not given.

    Raises:
        SuiteError: a value that no suite could have either; the text names the option.

    """

    iterations: int | None = None
    warmup: int | None = None
    concurrency: int | None = None
    load: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the load, by their keys in a suite; a tuple of values is a sweep over them."""
    trace: tuple[TracedRequest, ...] = ()
    """For ``load: trace``, in place of a scenario's own; a request without a prompt sends the scenario's."""
    timeout_s: float | None = None
    """Deadline of a whole request, in seconds."""
    max_answer_mb: float | None = None
    """Longest answer, in MiB."""
    max_tokens: int | None = None
    temperature: float | None = None
    left_out: frozenset[str] = frozenset()
    """Settings that are null, by their keys in a suite."""
    stream: bool | None = None
    budgets: tuple[str, ...] = ()
    """Joined to those of suite and scenario."""

    def __post_init__(self) -> None:
        swept = [(key, value) for key, values in self.sweep() for value in values]
        for key, value in [*self.settings().items(), *swept]:
            check_setting(key, value, _OPTIONS.get(key, f"--flperf-load: {key}"))

    def settings(self) -> dict[str, Any]:
        """Return the settings with one value, by their suite keys."""
        values = {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in ("budgets", "left_out", "load", "trace")
        }
        given = {key: value for key, value in values.items() if value is not None} | dict.fromkeys(self.left_out)
        return given | {key: value for key, value in self.load.items() if not isinstance(value, tuple)}

    def sweep(self) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
        """Return the settings with a list of values.

        Each value is a case of its own.
        """
        return tuple((key, value) for key, value in self.load.items() if isinstance(value, tuple))


def expand(suite: Suite, models: Iterable[str | TargetSpec], overrides: Overrides | None = None) -> tuple[Case, ...]:
    """Return the cases of *suite*: model, then scenario, then matrix point.

    The model is outermost, so that each loads once.

    For settings the command line wins over the matrix, and the matrix over scenario and defaults.  A matrix key that
    the command line sets is dropped: its values would all make the same case.

    Args:
        suite: as loaded.
        models: models or targets to measure; each once, in this order.  None at all: the suite's own.
        overrides: of the command line.

    Raises:
        SuiteError: The load of a case lacks a setting, or has one that its shape does not use; or two different
            targets have the same label.

    """
    wishes = overrides or Overrides()
    forced = wishes.settings()
    asked = tuple(models) or suite.targets or suite.models
    targets = distinct((TargetSpec(each) if isinstance(each, str) else each for each in asked), suite.ref)
    labels = tuple(target.label for target in targets)
    swept = wishes.sweep()
    scenario_ids = unique_slugs(scenario.name for scenario in suite.scenarios)
    points: list[_Point] = []  # one for all models
    ids: list[dict[tuple[str, int], str]] = []
    for number, scenario in enumerate(suite.scenarios):
        matrix = tuple(
            (key, values) for key, values in joined(suite.matrix, scenario.sweep, swept) if key not in forced
        )
        if len(points) + math.prod(len(values) for _, values in matrix) > MAX_CASES:
            raise SuiteError(f"{suite.ref}: found more than {MAX_CASES:,} cases, expected {MAX_CASES:,} at most")
        found = tuple(_points(matrix))
        ids.append(_parameters_ids(labels, matrix, found))
        for index, point in enumerate(found):
            played = _played(scenario, point, wishes, forced)
            problem = shape_problem(played)
            if problem:
                raise SuiteError(f"{suite.ref}: scenario {shown(scenario.name)}: {problem}")
            points.append(_Point(number, index, point, played))
    return tuple(
        Case(
            suite=suite.name,
            suite_ref=suite.ref,
            scenario=each.played,
            model=target.label,
            parameters=each.values,
            scenario_id=scenario_ids[each.played.name],
            parameters_id=ids[each.scenario][target.label, each.index],
            target=target,
            prices=suite.prices,
        )
        for target in targets
        for each in points
    )


@dataclass(frozen=True, slots=True)
class _Point:
    """A scenario at one point of the matrix."""

    scenario: int
    """Its number in the suite."""
    index: int
    """Index of the point among the scenario's."""
    values: tuple[tuple[str, Scalar], ...]
    played: Scenario


def joined(*varied: tuple[tuple[str, tuple[Scalar, ...]], ...]) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    """Return the joined matrix: suite matrix, scenario sweeps, command-line sweeps.

    The matrix wins over a scenario's sweep of the same key, and the command line over both.
    """
    matrix, *sweeps = varied
    found = dict(matrix)
    for number, sweep in enumerate(sweeps):
        for key, values in sweep:
            if number or key not in found:
                found[key] = values
    return tuple(found.items())


def _points(matrix: tuple[tuple[str, tuple[Scalar, ...]], ...]) -> Iterable[tuple[tuple[str, Scalar], ...]]:
    keys = [key for key, _ in matrix]
    for values in itertools.product(*(values for _, values in matrix)):
        yield tuple(zip(keys, values, strict=True))


def _played(
    scenario: Scenario, point: tuple[tuple[str, Scalar], ...], wishes: Overrides, forced: Mapping[str, Any]
) -> Scenario:
    """Return *scenario* with all settings of *point* applied."""
    settings = with_values(with_values(scenario.settings, dict(point)), forced)
    given = scenario.given | {key for key, _ in point} | forced.keys()
    if settings.load.kind == "trace" and "iterations" not in given:
        settings = replace(settings, iterations=None)  # all of it
    elif "iterations" not in given and settings.load.duration_s is None and _asks_all(scenario, given):
        rows = len(scenario.source.rows) if scenario.source is not None else 0
        settings = replace(settings, iterations=max(rows, 1) * settings.repeat)
    source = scenario.source
    if wishes.trace:
        source = replace(source or PromptSource(), trace=wishes.trace)
    if source is not None and "max_tokens" in forced:
        source = replace(source, own_lengths=False)
    return replace(
        scenario,
        source=source,
        settings=_as_patient_as_asked(_without_early_head(settings, given), given),
        budgets=tuple(dict.fromkeys([*scenario.budgets, *wishes.budgets])),
        given=given,
    )


def _asks_all(scenario: Scenario, given: frozenset[str]) -> bool:
    """Whether each prompt is asked, where the number of requests is not said."""
    return "repeat" in given or (scenario.source is not None and scenario.source.expects)


def _without_early_head(settings: Settings, given: frozenset[str]) -> Settings:
    """Return *settings* without our head deadline, if answers don't stream.

    The head then comes only after the whole answer was made.
    """
    if settings.stream or "headers_timeout_s" in given:
        return settings
    return replace(settings, timeouts=replace(settings.timeouts, headers_s=None))


def _as_patient_as_asked(settings: Settings, given: frozenset[str]) -> Settings:
    """Return *settings* with early deadlines raised to a longer total.

    Only our own early deadlines change, and only for a total longer than ours.
    """
    ours, asked = Timeouts(), settings.timeouts
    if "timeout_s" not in given or asked.total_s <= ours.total_s:
        return settings
    early = {"headers_timeout_s": "headers_s", "first_token_timeout_s": "first_token_s"}
    longer = {
        field: asked.total_s for key, field in early.items() if key not in given and getattr(asked, field) is not None
    }
    return replace(settings, timeouts=replace(asked, **longer))


def _parameters_ids(
    models: tuple[str, ...],
    matrix: tuple[tuple[str, tuple[Scalar, ...]], ...],
    points: tuple[tuple[tuple[str, Scalar], ...], ...],
) -> dict[tuple[str, int], str]:
    """Return a unique ``model-key=value…`` for each model and point index."""
    model_ids = unique_slugs(models, ascii_only=True)
    value_ids = {(key, repr(value)): text for key, values in matrix for value, text in _value_ids(values)}
    wanted: dict[str, str] = {}
    for model, point in itertools.product(models, points):
        parts = [f"-{key}={value_ids[key, repr(value)]}" for key, value in point]
        wanted[repr((model, point))] = model_ids[model] + "".join(parts)
    # still needed: a model or a text may hold what looks like the next key
    ids = without_clashes(wanted)
    return {(model, index): ids[repr((model, point))] for model in models for index, point in enumerate(points)}


def _value_ids(values: tuple[Scalar, ...]) -> Iterable[tuple[Scalar, str]]:
    """Return each value with its id: texts as slugs, others as JSON."""
    texts = unique_slugs((value for value in values if isinstance(value, str)), ascii_only=True)
    return [(value, texts[value] if isinstance(value, str) else json.dumps(value)) for value in values]
