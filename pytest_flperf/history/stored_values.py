"""Validation of stored values: SQLite accepts any type in a column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["checked_run_row", "checked_text"]

_TEXTS: Final = ("id", "started_at", "status", "fingerprint")
_OPTIONAL: Final = ("finished_at", "git_commit", "git_branch", "ci_system", "ci_job", "ci_url", "folder")
_COUNTS: Final = ("cases", "cases_passed")
_SHOWN: Final = 40


def checked_run_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The checked values of a run's row; raises ValueError where damaged."""
    values: dict[str, Any] = {name: checked_text(row[name], name) for name in _TEXTS}
    values |= {name: None if row[name] is None else checked_text(row[name], name) for name in _OPTIONAL}
    values |= {name: _count(row[name], name) for name in _COUNTS}
    return {**values, "suites": _texts(row["suites"], "suites"), "partial": bool(row["partial"])}


def checked_text(value: Any, column: str) -> str:
    """A text from the store; raises ValueError for any other type."""
    if not isinstance(value, str):
        raise ValueError(f"it is damaged: {column} is {type(value).__name__}, expected a string")  # noqa: TRY004
    return value


def _count(value: Any, column: str) -> int:
    """A count from the store; raises ValueError for anything else."""
    if type(value) is not int or value < 0:
        raise ValueError(f"it is damaged: {column} is {str(value)[:_SHOWN]!r}, expected a whole number, 0 or more")
    return value


def _texts(value: Any, column: str) -> tuple[str, ...]:
    """A JSON list of texts from the store; raises ValueError where damaged."""
    try:
        found = json.loads(checked_text(value, column))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is damaged: {column} is not JSON") from error
    if not isinstance(found, list):
        raise ValueError(f"it is damaged: {column} is not a list")  # noqa: TRY004
    return tuple(checked_text(each, column) for each in found)
