"""Rows of data sets as scoring sees them: expectation, id, category."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["ExpectedOf", "ScoredRow"]


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """What a row says of the answer to its prompt."""

    expect: Mapping[str, Any] | None = None
    """Its expectation; None: that of the scenario."""
    id: str = ""
    category: str = ""
    refused: str = ""
    """Why its answer can't be scored; empty: it can."""

    def to_record(self) -> dict[str, Any]:
        """As builtins, without what is empty."""
        found = {"expect": self.expect, "id": self.id, "category": self.category, "refused": self.refused}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_record(cls, record: object) -> ScoredRow:
        """Read the output of :meth:`to_record`; what is damaged refuses a score."""
        if not isinstance(record, Mapping):
            return cls(refused="its row in the journal is damaged")
        expect, texts = record.get("expect"), [record.get(name, "") for name in ("id", "category", "refused")]
        if not (expect is None or isinstance(expect, Mapping)) or not all(isinstance(each, str) for each in texts):
            return cls(refused="its row in the journal is damaged")
        return cls(expect, *texts)


ExpectedOf: TypeAlias = Callable[[int], ScoredRow]
"""From the index of a request to its row."""
