"""Problems of a suite file, each with its line and key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from pytest_flperf.suite.errors import SuiteError, key_path, shown, suggestion
from pytest_flperf.suite.parser import KeyPath, Source
from pytest_flperf.suite.schema.document import SuiteForm, expectation, known_keys

__all__ = ["MAX_PROBLEMS", "Problems", "as_written", "described", "validated"]

MAX_PROBLEMS: Final = 10
"""Problems shown at once."""


@dataclass(slots=True)
class Problems:
    """Problems of one file, in the order of the file's keys."""

    where: str
    source: Source
    texts: list[str] = field(default_factory=list)
    untold: int = 0
    """Number of further problems, not described."""

    def add(self, path: KeyPath, text: str) -> None:
        """Note what is wrong with the value at a path."""
        line = self.source.line_of(path) if len(self.texts) < MAX_PROBLEMS else None
        place = self.where if line is None else f"{self.where}:{line}"
        self.texts.append(f"{place}: {key_path(path)}: {text}" if path else f"{place}: {text}")

    def error(self) -> SuiteError:
        """Return the error that tells the first ones."""
        more = len(self.texts) + self.untold - MAX_PROBLEMS
        tail = [f"{self.where}: and {more} more"] if more > 0 else []
        return SuiteError("\n".join(self.texts[:MAX_PROBLEMS] + tail))

    def error_of_a_test(self) -> SuiteError:
        """Return the error for settings of a test.

        These know no file and no other scenario.
        """
        return SuiteError(str(self.error()).replace("scenarios[0].", "").replace("settings: ", ""))


def validated(data: object, problems: Problems) -> SuiteForm | None:
    """Return the validated form, or None with the problems noted."""
    if not isinstance(data, dict):
        problems.add((), f"found {shown(data)}, expected {expectation(())}")
        return None
    try:
        form = SuiteForm.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details[:MAX_PROBLEMS]:  # describing takes time, and a file can hold 100,000 problems
            path = as_written(detail["loc"], data)
            problems.add(path, described(detail["type"], path, detail["input"], detail["msg"]))
        problems.untold += max(len(details) - MAX_PROBLEMS, 0)
        return None
    return None if problems.texts else form


def as_written(path: KeyPath, data: object) -> KeyPath:
    """Return *path* without the index of a single value.

    Single values are allowed in place of a list.
    """
    found: list[str | int] = []
    for part in path:
        if isinstance(part, int) and not isinstance(data, list):
            continue
        found.append(part)
        try:
            data = data[part]  # type: ignore[index]
        except (LookupError, TypeError):
            data = None
    return tuple(found)


def described(kind: str, path: KeyPath, found: object, message: str) -> str:
    """Return one problem of pydantic in the words of this package."""
    if kind.startswith("flperf_"):
        return message
    if kind == "extra_forbidden":
        return f"unknown key; {suggestion(str(path[-1]), known_keys(path[:-1]))}"
    if kind == "missing":
        return f"missing, expected {expectation(path)}"
    if kind == "string_unicode":
        return f"found {shown(found)} with half a surrogate pair, which can't be sent, expected {expectation(path)}"
    return f"found {shown(found)}, expected {expectation(path)}"
