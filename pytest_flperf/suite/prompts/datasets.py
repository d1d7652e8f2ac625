"""Data sets: prompts from JSON Lines, JSON, CSV, TSV or text.

No row is left out silently: a row that is no prompt is an error with its line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn

from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError, printable, shown, suggestion
from pytest_flperf.suite.prompts.rows import NoColumnError, Row, RowScoring, row_of

__all__ = ["ENDINGS", "MAX_DATASET_BYTES", "MAX_ROWS", "Row", "read_dataset"]

MAX_DATASET_BYTES: Final = 200_000_000
"""Largest data set, in bytes."""
MAX_ROWS: Final = 1_000_000
"""Most rows of a data set."""
ENDINGS: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
"""Supported file endings, each with its format."""

_SHOWN_PROBLEMS: Final = 10
_MAX_PROBLEMS: Final = 10_000
"""Most problems, after which reading stops."""
_MAX_NAMES: Final = 20
_MAX_NAME_LENGTH: Final = 40
"""Bounds of the columns that hints are taken from: a file can have a million, or one as long as the file."""
_WHAT: Final = "data set"


def read_dataset(path: Path, column: str | None = None, scoring: RowScoring | None = None) -> tuple[Row, ...]:
    """Read the prompts in the file *path*, by its ending.

    A row is a text, or an object with ``prompt``, ``messages`` (role, content), ``conversations`` or ``conversation``
    (from, value), or else the one text among ``question``, ``instruction``, ``text`` and ``input``.

    Args:
        path: JSON Lines (``.jsonl``, ``.ndjson``), a list in JSON (``.json``), a table with a header line (``.csv``,
            ``.tsv``), or a prompt per line (``.txt``).  Empty lines are left out.
        column: name of the column with the prompt or the messages; None: the names above.
        scoring: reads what answers shall be; None: nothing is said of that.

    Raises:
        SuiteError: the file can't be read, has no rows or too many, or a row is no prompt; a line for each of the
            first ten problems.

    """
    where, form = display_path(path), path.suffix.lower()
    if form not in ENDINGS:
        found = f"the ending {shown(path.suffix)}" if path.suffix else "no ending"
        raise SuiteError(f"{where}: found {found}, expected a {_WHAT}: {', '.join(ENDINGS)}")
    text = decoded(read_bytes(path, _WHAT, MAX_DATASET_BYTES), where, _WHAT)
    rows = _Rows(where, column, scoring)
    if form == ".json":
        _add_json(rows, text)
    elif form in {".csv", ".tsv"}:
        _add_table(rows, text, "," if form == ".csv" else "\t")
    else:
        _add_lines(rows, text, plain=form == ".txt")
    return rows.all()


class _Rows:
    """Rows of one file, and its problems."""

    def __init__(self, where: str, column: str | None, scoring: RowScoring | None) -> None:
        self.where = where
        self.column = column
        self._scoring = scoring
        self._rows: list[Row] = []
        self._problems: list[tuple[str, str, str]] = []
        """Place, words and hint of the first problems."""
        self._problem_count = 0
        self._all_the_same = True

    def add(self, value: object, place: str) -> None:
        """Add a row found at *place*.

        The place follows the file's name in messages.
        """
        try:
            row = row_of(value, self.column)
            if self._scoring is not None:
                row = replace(row, scored=self._scoring.of(value, place))
            self._rows.append(row)
        except NoColumnError as error:
            first = not self._problem_count  # looking for names that are alike takes time
            self.refuse(place, str(error), _like(self.column, value) if first else "")
        except SuiteError as error:
            self.refuse(place, str(error))
        if len(self._rows) + self._problem_count > MAX_ROWS:
            raise SuiteError(f"{self.where}: found more than {MAX_ROWS:,} rows, expected a smaller {_WHAT}")

    def refuse(self, place: str, words: str, hint: str = "") -> None:
        """Note an invalid row."""
        self._problem_count += 1
        if len(self._problems) < _SHOWN_PROBLEMS:
            self._problems.append((place, words, hint))
        self._all_the_same = self._all_the_same and words == self._problems[0][1]
        if self._problem_count == _MAX_PROBLEMS:
            raise self._error("or more")

    def all(self) -> tuple[Row, ...]:
        """Return the rows, or raise the problems."""
        if self._scoring is not None and not self._problems:
            for place, words in self._scoring.problems():
                self.refuse(place, words)
        if self._problems:
            raise self._error()
        if not self._rows:
            raise SuiteError(f"{self.where}: found no rows, expected one prompt or more")
        return tuple(self._rows)

    def _error(self, or_more: str = "") -> SuiteError:
        count = f"{self._problem_count:,} {or_more}".strip()
        if self._problem_count > 1 and self._all_the_same and not self._rows:
            _, words, hint = self._problems[0]
            return SuiteError(f"{self.where}: in each of {count} rows: {words}{hint}")
        lines = [f"{self.where}{place}: {words}{hint}" for place, words, hint in self._problems]
        more = self._problem_count - len(lines)
        return SuiteError("\n".join(lines + ([f"{self.where}: and {more:,} {or_more or 'more'}"] if more else [])))


def _like(column: str | None, row: object) -> str:
    """Return ``; did you mean 'x'?`` for a missing column.

    The names are those of *row*, or of a header line.
    """
    names = ["prompt"] if isinstance(row, str) else islice(row, _MAX_NAMES) if isinstance(row, (dict, list)) else []
    known = [name for name in names if isinstance(name, str) and name.isprintable() and len(name) < _MAX_NAME_LENGTH]
    words = suggestion(column or "", known)
    return f"; {words}" if words else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, with their numbers.

    Lines end as in JSON Lines.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            yield number, line


def _add_lines(rows: _Rows, text: str, *, plain: bool) -> None:
    if plain and rows.column not in {None, "prompt"}:
        raise SuiteError(f"{rows.where}: found no column {shown(rows.column)}: a plain text file has no columns")
    decode = json.JSONDecoder(parse_constant=_no_constant).decode
    for number, line in _lines(text):
        place = f":{number}"
        if plain:
            rows.add(line.removesuffix("\r"), place)
            continue
        try:
            value = decode(line)
        except (ValueError, RecursionError) as error:
            rows.refuse(place, _not_json(error))
            continue
        _add_sendable(rows, value, place, escapes="\\u" in line)


def _add_json(rows: _Rows, text: str) -> None:
    if not text.strip():
        raise SuiteError(f"{rows.where}: found an empty file, expected a list of rows")
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SuiteError(f"{rows.where}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{rows.where}: {_not_json(error)}") from None
    if not isinstance(data, list):
        raise SuiteError(f"{rows.where}: found {shown(data)}, expected a list of rows")
    escapes = "\\u" in text
    for number, value in enumerate(data, 1):
        _add_sendable(rows, value, f": row {number}", escapes=escapes)


def _add_sendable(rows: _Rows, value: object, place: str, *, escapes: bool) -> None:
    """Add a row unless it has half a surrogate pair.

    Only an escape in JSON can be one.
    """
    if escapes and not _is_sendable(value):
        rows.refuse(place, f"found {shown(value)} with half a surrogate pair, which can't be sent, expected text")
    else:
        rows.add(value, place)


def _is_sendable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    except RecursionError:  # deep enough that only loading worked: the row's reader reports it
        return True
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"found {name}, expected a number that JSON can hold")


def _not_json(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep, expected a row with its columns"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} (column {error.colno})"
    return f"can't be read as JSON: {printable(str(error))[:200]}"  # an integer of thousands of digits


def _add_table(rows: _Rows, text: str, delimiter: str) -> None:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    # The module's own limit is 131,072 characters of a cell; it can't be set for one reader.
    limit = csv.field_size_limit(MAX_DATASET_BYTES)
    line = 1
    try:
        header: list[str] | None = None
        for cells in reader:
            place, line = f":{line}", reader.line_num + 1
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            if header is None:
                header = _header(rows, cells, place)
            elif len(cells) != len(header):
                rows.refuse(place, f"found {_cells(len(cells))}, expected {len(header)} as in the header line")
            else:
                rows.add(dict(zip(header, cells, strict=True)), place)
    except csv.Error as error:
        raise SuiteError(f"{rows.where}:{line}: can't be read as a table: {error}") from None
    finally:
        csv.field_size_limit(limit)


def _header(rows: _Rows, cells: list[str], place: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SuiteError(f"{rows.where}{place}: found the column {shown(name)} twice, expected it once")
        seen.add(name)
    if rows.column is not None and rows.column not in seen:
        hint = _like(rows.column, names)
        raise SuiteError(f"{rows.where}{place}: found no column {shown(rows.column)}{hint}")
    return names


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
