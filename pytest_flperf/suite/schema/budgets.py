"""Budgets in a suite: one, a list, or overrides per model.

They become texts for the gates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from pytest_flperf.suite.errors import suggestion
from pytest_flperf.suite.parser import KeyPath

__all__ = ["BudgetFormError", "budget_texts", "for_model"]

_Found: TypeAlias = tuple[KeyPath, str]


class BudgetFormError(ValueError):
    """A value that is no budget.

    It has what was found and expected, and the path below ``budgets``.
    """

    def __init__(self, path: KeyPath, found: object, expected: str) -> None:
        """Describe what was found at *path*."""
        super().__init__(expected)
        self.path = path
        self.found = found
        self.expected = expected


def for_model(model: str, budget: str) -> str:
    """Return a budget limited to one model or pattern.

    The text is ``scenario@model: metric <= 1``.
    """
    scenarios, colon, rest = budget.rpartition(":")
    return f"{scenarios.strip()}@{model}: {rest.strip()}" if colon else f"@{model}: {budget.strip()}"


def budget_texts(value: object) -> list[_Found]:
    """Return the texts of all budgets, with their paths below ``budgets``.

    Raises:
        BudgetFormError: *value* is no budget, no list of them, and no mapping with ``default`` and ``models``.

    """
    if not isinstance(value, dict):
        return list(_several(value, ()))
    found: list[_Found] = []
    for key, each in value.items():
        if key == "default":
            found += _several(each, ("default",))
        elif key == "models":
            found += _of_models(each)
        else:
            raise BudgetFormError((str(key),), None, f"unknown key; {suggestion(str(key), ('default', 'models'))}")
    return found


def _of_models(value: object) -> Iterator[_Found]:
    if not isinstance(value, dict):
        raise BudgetFormError(("models",), value, "a mapping of models (or patterns) to budgets")
    for model, budgets in value.items():
        if not isinstance(model, str) or not model.strip():
            raise BudgetFormError(("models",), model, "the name of a model or a pattern of names")
        for path, text in _several(budgets, ("models", model)):
            if "@" in text.rpartition(":")[0]:
                raise BudgetFormError(path, text, "a budget without @: its key names the model")
            yield path, for_model(model, text)


def _several(value: Any, path: KeyPath) -> Iterator[_Found]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        raise BudgetFormError(path, value, "one budget or a list of them, such as 'ttft_ms.p95 <= 500'")
    for index, text in enumerate(listed):
        at = path if listed is not value else (*path, index)
        if not isinstance(text, str) or not text:
            raise BudgetFormError(at, text, "a non-empty string")
        yield at, text
