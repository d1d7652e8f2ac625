"""Expectations, ids and categories in the rows of a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pytest_flperf._text import encodable
from pytest_flperf.quality.expectations import with_expected
from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.suite.errors import SuiteError, shown
from pytest_flperf.suite.expectations import as_written, check_rows, row_expectation

__all__ = ["EXPECT_COLUMN", "RowExpectations"]

EXPECT_COLUMN: Final = "expect"
"""Column of expectations, where a suite names no other."""
_LONGEST: Final = 200
_MOST_PROBLEMS: Final = 10


class RowExpectations:
    """Reads what the rows of one file say of their answers."""

    def __init__(self, column: str | None, *, for_all: bool, scored_by: Mapping[str, Any] | None = None) -> None:
        """Read nothing yet.

        Args:
            column: Name of the column with the expectations, which must be there; None: ``expect``, if it is there.
            for_all: Whether the scenario has an expectation for rows without one.
            scored_by: The scenario's expectation where it has scorers of a person's own: these are given what the
                rows expect, whatever it is.  None: rows have checks.

        """
        self._scored_by = scored_by
        self._named = column
        self._column = column or EXPECT_COLUMN
        self._for_all = for_all
        self._ids: dict[str, str] = {}
        self._patterns: list[tuple[str, Mapping[str, object]]] = []
        self._later: list[tuple[str, str]] = []
        """Problems that matter only where answers are scored."""
        self._without = ""
        """Place of the first row without an expectation."""
        self._found = False

    def of(self, columns: object, place: str) -> ScoredRow:
        """Read one row; raises SuiteError, whose text doesn't say where."""
        columns = columns if isinstance(columns, dict) else {}
        written = columns.get(self._column)
        expect = None
        if written is None or written == "":
            self._without = self._without or place
        else:
            try:
                expect = self._expectation(written)
            except SuiteError as error:
                raise SuiteError(f"{self._column}: {error}") from None
            self._found = True
            self._patterns.append((place, expect))
        return ScoredRow(expect, self._id(columns.get("id"), place), self._category(columns.get("category"), place))

    def _expectation(self, written: object) -> dict[str, Any]:
        if self._scored_by is None:
            return row_expectation(written)
        value = as_written(written)
        try:
            json.dumps(value, allow_nan=False, default=str)
        except (ValueError, RecursionError):
            raise SuiteError(f"found {shown(value)}, expected what JSON can hold") from None
        return with_expected(self._scored_by, value)

    def problems(self) -> list[tuple[str, str]]:
        """Place and words of each problem of all rows together."""
        if not self._found and self._named is not None:
            return [(self._without, f"found no column {shown(self._named)} with an expectation in any row")]
        if not self._found and not self._for_all:
            return []  # nothing is scored: ids and categories may be anything
        found = list(self._later)
        if self._without and not self._for_all:
            words = f"found no {shown(self._column)}, expected one in each row, or the scenario's for those without"
            found.append((self._without, words))
        return [*found, *check_rows(self._patterns)][:_MOST_PROBLEMS]

    def _id(self, written: object, place: str) -> str:
        """Id of a row as text; a number is one, too."""
        if written is None or written == "":
            return ""
        if not isinstance(written, (str, int, float)) or isinstance(written, bool) or len(str(written)) > _LONGEST:
            self._note(place, f"found {shown(written)} in 'id', expected a string or a number")
            return ""
        text = encodable(str(written))
        first = self._ids.setdefault(text, place)
        if first != place:
            self._note(place, f"found the id {shown(written)} again, as in {first.lstrip(': ')}, expected each once")
        return text

    def _category(self, written: object, place: str) -> str:
        if written is None or written == "":
            return ""
        if not isinstance(written, str) or len(written) > _LONGEST:
            limit = f"a string of {_LONGEST} characters at most"
            self._note(place, f"found {shown(written)} in 'category', expected {limit}")
            return ""
        return encodable(written)

    def _note(self, place: str, words: str) -> None:
        if len(self._later) < _MOST_PROBLEMS:
            self._later.append((place, words))
