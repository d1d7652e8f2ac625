"""Prompt templates in Jinja's language, rendered in a bounded process."""

from __future__ import annotations

import json
import re
import threading
import weakref
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.process import BoundedProcess, NoResult, Result
from pytest_flperf.suite.errors import SuiteError, printable, suggestion

__all__ = ["PromptTemplate", "TemplateRenderer"]

_MODULE: Final = "pytest_flperf.suite.prompts.template_worker"
_LIMITS: Final = Limits(time_s=2.0, memory_mb=512)
"""Of one text."""
_MAX_CHARACTERS: Final = 1_000_000
_MAX_NAMES: Final = 20
_MAX_NAME_LENGTH: Final = 40
_UNKNOWN: Final = re.compile(r"'(\w{1,100})' is undefined")


class TemplateRenderer:
    """Renders the templates of a suite, in one process that starts with the first of them.

    The process ends with this object, at the latest with ours.
    """

    def __init__(self) -> None:
        self._process = BoundedProcess(_MODULE, _LIMITS)
        self._lock = threading.Lock()
        weakref.finalize(self, self._process.close)

    def run(self, text: str, items: Sequence[Mapping[str, Any] | None]) -> list[Result]:
        """Render a template with each item, as :func:`~pytest_flperf.suite.prompts.template_worker.prepare` says."""
        with self._lock:
            return self._process.run(text, items, lambda: "")


class PromptTemplate:
    """A template that was read without an error."""

    def __init__(self, text: str, renderer: TemplateRenderer | None = None) -> None:
        """Read *text*; lines with nothing but a tag leave no empty line.

        Args:
            text: the template.
            renderer: shared by the templates of a suite; None: one of its own.

        Raises:
            SuiteError: it is no template, with the line; or it is too long.

        """
        if len(text) > _MAX_CHARACTERS:
            raise SuiteError(f"template: found {len(text):,} characters, expected {_MAX_CHARACTERS:,} at most")
        _check_sendable(text)
        self.text: Final = text
        self._renderer = renderer or TemplateRenderer()
        variables, others = json.loads(_text(self._renderer.run(text, [None])[0]))
        self.variables: Final = frozenset(variables)
        """Names that the template uses and doesn't define."""
        self._names = self.variables | set(others)

    def render(self, values: Mapping[str, Any]) -> str:
        """Render the template; see :meth:`render_all`."""
        return self.render_all([values])[0]

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Render the template once for each row.

        Args:
            rows: variables: texts, numbers, true, false, and None (written as nothing).

        Raises:
            SuiteError: a variable or an item is missing, a value doesn't fit a filter or an operator, the text has more
                than 1,000,000 characters or half a surrogate pair, or rendering takes too much time or memory.

        """
        items = [{name: values[name] for name in self._names if name in values} for values in rows]
        return [
            self._sendable(result, values)
            for result, values in zip(self._renderer.run(self.text, items), rows, strict=True)
        ]

    def _sendable(self, result: Result, values: Mapping[str, Any]) -> str:
        try:
            text = _text(result)
        except SuiteError as error:
            raise SuiteError(f"{error}{self._known_names(str(error), values)}") from None
        _check_sendable(text)
        return text

    def _known_names(self, message: str, values: Mapping[str, Any]) -> str:
        found = _UNKNOWN.search(message)
        if found is None or found[1] not in self.variables or found[1] in values:
            return ""
        known = [key for key in islice(values, _MAX_NAMES) if key.isprintable() and len(key) < _MAX_NAME_LENGTH]
        words = suggestion(found[1], known)
        return f", {words}" if words else ""


def _text(result: Result) -> str:
    if isinstance(result, NoResult):
        reason = printable(result.reason)
        raise SuiteError(reason if reason.startswith(("line ", "template: ")) else f"template: {reason}")
    return str(result)


def _check_sendable(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise SuiteError("template: found half a surrogate pair, expected text that can be sent") from None
