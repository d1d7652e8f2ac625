"""Rows of data sets: the prompt, and the plain columns."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.quality.tools.definitions import tools_problem
from pytest_flperf.quality.tools.matchers import FormError
from pytest_flperf.quality.tools.played import PlayedResults
from pytest_flperf.suite.errors import SuiteError, shown
from pytest_flperf.suite.messages import Message, Scalar
from pytest_flperf.suite.setting_limits import LIMITS

__all__ = ["NoColumnError", "Row", "RowScoring", "row_of"]

_FORMS: Final = ("prompt", "messages", "conversations", "conversation")
"""Columns that hold the prompt; the first of them counts."""
_OTHER_NAMES: Final = ("question", "instruction", "text", "input")
"""Columns that may hold the prompt: used where exactly one of them has a text."""
_LENGTHS: Final = ("max_tokens", "output_tokens", "output_length")
_ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {"user": "user", "human": "user", "system": "system", "developer": "developer"}
    | dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model"), "answer")
    | dict.fromkeys(("tool", "function", "function_call", "function_response", "observation"), "answer")
)
"""Roles in OpenAI's and in ShareGPT's words.  Those of answers (and of tools) aren't sent."""


class NoColumnError(SuiteError):
    """A row lacks the named column."""


NO_SCORE: Final = ScoredRow()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data set."""

    messages: tuple[Message, ...]
    """The prompt: the conversation's system message if any, and the user's first message.  An assistant's messages
    before it are left out, since many chat templates refuse them."""
    turns: tuple[str, ...]
    """The user's messages of the whole conversation, in order; one for a plain prompt."""
    max_tokens: int | None
    """From the column ``max_tokens``, ``output_tokens`` or ``output_length``."""
    fields: Mapping[str, Scalar]
    """The plain columns, for templates.  ``prompt`` is always there: where no column has that name, the first turn."""
    scored: ScoredRow = field(default=NO_SCORE, repr=False)
    """What its answer shall be, its id and its category."""
    tools: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Tools of its own, from the column ``tools``."""
    tool_results: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Played results of its own, from the column ``tool_results``."""


class RowScoring(Protocol):
    """Reads from the rows of a file what their answers shall be."""

    def of(self, columns: object, place: str) -> ScoredRow:
        """Read one row; raises SuiteError, whose text doesn't say where."""

    def problems(self) -> list[tuple[str, str]]:
        """Place and words of each problem of all rows together."""


def row_of(value: object, column: str | None = None) -> Row:
    """Parse a row from *value*.

    Args:
        value: a text, or the mapping of a row's columns.
        column: name of the column with the prompt or the messages; None: the usual names.

    Raises:
        NoColumnError: it lacks the column.
        SuiteError: it is no valid row; the text doesn't say where.

    """
    if isinstance(value, str):
        value = {"prompt": value}
    elif not isinstance(value, dict):
        raise SuiteError(f"found {shown(value)}, expected a string or an object")
    if column is None:
        column = _asked_column(value)
    elif column not in value:
        raise NoColumnError(f"found no column {shown(column)}")
    asked = value[column]
    if isinstance(asked, list):
        instructions, turns = _conversation(asked, column)
    else:
        instructions, turns = (), (_text(asked, column),)
    fields = {key: item for key, item in value.items() if item is None or isinstance(item, (str, int, float))}
    fields.setdefault("prompt", turns[0])
    messages = (*instructions, Message("user", turns[0]))
    return Row(
        messages,
        turns,
        _max_tokens(value),
        fields,
        tools=_tools(value.get("tools")),
        tool_results=_tool_results(value.get("tool_results")),
    )


def _objects(value: object) -> tuple[Mapping[str, Any], ...]:
    """Return the objects of a column; none where it holds something else.

    Tables write them as JSON.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, list) or not any(isinstance(each, dict) for each in value):
        return ()
    return tuple(value)


def _tool_results(written: object) -> tuple[Mapping[str, Any], ...]:
    """Return the played results of a row, checked."""
    found = _objects(written)
    try:
        PlayedResults(found, ())
    except FormError as error:
        raise SuiteError(f"tool_results{error}") from None
    return found


def _tools(written: object) -> tuple[Mapping[str, Any], ...]:
    """Return the tools of a row, checked."""
    value = list(_objects(written))
    if not value:
        return ()
    problem = tools_problem(value)
    if problem:
        raise SuiteError(f"tools{problem}")
    return tuple(value)


def _asked_column(columns: Mapping[str, object]) -> str:
    for name in _FORMS:
        if name in columns:
            return name
    there = [name for name in _OTHER_NAMES if name in columns]
    with_text = [name for name in there if isinstance(text := columns[name], str) and text.strip()]
    if len(with_text) > 1:
        raise SuiteError(
            f"found {' and '.join(map(repr, with_text))}, expected the suite to name one of them as column"
        )
    if there:
        return (with_text or there)[0]
    found = f"the columns {', '.join(shown(name) for name in list(columns)[:5])}" if columns else "no columns"
    raise SuiteError(f"found {found}, expected one of {', '.join((*_FORMS, *_OTHER_NAMES))}, or a column that is named")


def _text(value: object, column: str) -> str:
    if not isinstance(value, str):
        raise SuiteError(f"found {shown(value)} in {shown(column)}, expected a string or a list of messages")
    if not value.strip():
        raise SuiteError(f"found a blank text in {shown(column)}, expected a prompt")
    return value


def _conversation(items: list[object], column: str) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Return the instructions before the user's first message, and the user's messages."""
    instructions: list[Message] = []
    turns: list[str] = []
    for index, item in enumerate(items):
        where = f"{column}[{index}]" if column.isidentifier() else f"{shown(column)}[{index}]"
        if not isinstance(item, dict):
            raise SuiteError(f"found {shown(item)} as {where}, expected an object with role and content")
        written = item["role"] if "role" in item else item.get("from")
        role = _ROLES.get(written) if isinstance(written, str) else None
        if role is None:
            raise SuiteError(
                f"found {shown(written)} as role of {where}, expected user or human, assistant or gpt, system"
            )
        if role == "answer":
            continue
        content = item["content"] if "content" in item else item.get("value")
        if not isinstance(content, str):
            raise SuiteError(f"found {shown(content)} as content of {where}, expected a string")
        if role == "user":
            if not content.strip():
                raise SuiteError(f"found a blank text as content of {where}, expected a prompt")
            turns.append(content)
        elif content.strip() and not turns:
            instructions.append(Message(role, content))
    if not turns:
        raise SuiteError(f"found no user message in {shown(column)}, expected one or more")
    return tuple(instructions), tuple(turns)


def _max_tokens(columns: Mapping[str, object]) -> int | None:
    """Return the maximum length of the answer, if any.

    Tables write it as text, and as 128.0 where a cell of the column is empty.
    """
    name = next((name for name in _LENGTHS if name in columns), None)
    written = columns[name] if name else None
    if name is None or written is None or written == "":
        return None
    number: object = written
    if isinstance(written, str) and written.isascii() and len(written) < 20:
        number = int(whole) if (whole := written.strip().removesuffix(".0")).isdigit() else None
    elif isinstance(written, float) and written.is_integer():
        number = int(written)
    if not isinstance(number, int) or not LIMITS["max_tokens"].accepts(number):
        raise SuiteError(f"found {shown(written)} in {name!r}, expected {LIMITS['max_tokens']}")
    return number
