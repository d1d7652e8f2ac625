"""Rivals: the models of a run, their names as shown, and their cases next to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PureWindowsPath
from typing import Final, TypeAlias

from pytest_flperf.report.figures import point
from pytest_flperf.results.records import CaseResult

__all__ = ["ScenarioKey", "rivals_together", "scenario_key", "scenario_of", "shown_models"]

ScenarioKey: TypeAlias = tuple[str, str, str]
"""Suite, scenario and point of the matrix."""
_FILES: Final = (".gguf", ".onnx", ".safetensors", ".bin")


def scenario_key(case: CaseResult) -> ScenarioKey:
    """What cases of rivals have in common."""
    return case.suite, case.scenario, point(case.parameters)


def scenario_of(case: CaseResult) -> str:
    """Scenario and point of the matrix: ``chat concurrency=4``."""
    return f"{case.scenario} {point(case.parameters)}".strip()


def rivals_together(cases: Iterable[CaseResult]) -> list[CaseResult]:
    """The cases with the models of a scenario next to each other, scenarios and models as they came first."""
    groups: dict[ScenarioKey, list[CaseResult]] = {}
    models: dict[str, int] = {}
    for case in cases:
        groups.setdefault(scenario_key(case), []).append(case)
        models.setdefault(case.model, len(models))
    return [case for group in groups.values() for case in sorted(group, key=lambda case: models[case.model])]


def shown_models(models: Iterable[str]) -> Mapping[str, str]:
    """Names to show, by model: a path by its file's stem, where that tells the models apart."""
    names = dict.fromkeys(models)
    stems = {model: PureWindowsPath(model).stem if _is_path(model) else model for model in names}
    twice = {stem for stem in stems.values() if list(stems.values()).count(stem) > 1}
    return {model: model if stem in twice else stem for model, stem in stems.items()}


def _is_path(model: str) -> bool:
    """Whether a model is named by a file, not by an id such as ``org/model``."""
    return ("/" in model or "\\" in model) and model.lower().endswith(_FILES)
