"""Prompt templates in Jinja's language, sandboxed.

They have variables, filters, conditions and loops, and nothing harmful.  A suite may come from anywhere: the syntax of
a template is checked when it is created, its work is counted while it renders, and it sees plain data alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.suite.errors import SuiteError, printable, suggestion

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.runtime import Context

__all__ = ["PromptTemplate"]

_MAX_TEMPLATE: Final = 1_000_000
_MAX_TOKENS: Final = 5_000
"""Most words and marks within the tags of a template."""
_MAX_NAMES: Final = 20
_MAX_NAME_LENGTH: Final = 40
_TEMPLATE_FILE: Final = "<template>"


class PromptTemplate:
    """A template, checked and compiled."""

    def __init__(self, text: str) -> None:
        """Check and compile *text*.

        Lines with nothing but a tag leave no empty line.

        Raises:
            SuiteError: it is no template, or has forbidden syntax, with the line; or it is too long.

        """
        self.text: Final = text
        self._template, self._variables = _compiled(text)

    @property
    def variables(self) -> frozenset[str]:
        """Names that the template uses and doesn't define."""
        return self._variables

    def render(self, values: Mapping[str, Any]) -> str:
        """Render the template.

        Args:
            values: texts, numbers, true, false, None (written as nothing), and lists and mappings of them.

        Raises:
            SuiteError: a variable or an item is missing, a value doesn't fit a filter or an operator, the text has more
                than 1,000,000 characters or half a surrogate pair, or rendering takes too much work.

        """
        from jinja2.exceptions import UndefinedError

        from pytest_flperf.suite.prompts.template_sandbox import BUDGET, Budget, check_data

        used = {name: values[name] for name in self._variables if name in values}
        for name, value in used.items():
            if type(value) is not str:
                try:
                    check_data(value)
                except SuiteError as error:
                    raise SuiteError(f"variable {name!r}: {error}") from None
        context = self._template.new_context({**used, BUDGET: Budget()}, shared=True)
        try:
            text = self._rendered(context)
        except UndefinedError as error:
            found = error.message or "found an unknown variable"
            hint = _known_names(found, self._variables - used.keys(), values)
            raise SuiteError(f"{self._place(error.__traceback__)}{found}{hint}") from None
        except SuiteError as error:
            raise SuiteError(f"{self._place(error.__traceback__)}{error}") from None
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
            # comparing a text with a number, two names for a list of three, lists within themselves
            reason = printable(str(error))[:200] or type(error).__name__
            raise SuiteError(f"{self._place(error.__traceback__)}can't be rendered: {reason}") from None
        return text

    def _rendered(self, context: Context) -> str:
        from pytest_flperf.suite.prompts.template_sandbox import MAX_CHARACTERS

        parts: list[str] = []
        length = 0
        for part in self._template.root_render_func(context):
            length += len(part)
            if length > MAX_CHARACTERS:
                raise SuiteError(f"found a text of more than {MAX_CHARACTERS:,} characters, expected less")
            parts.append(part)
        text = "".join(parts)
        if not text.isascii():
            _check_sendable(text)
        return text

    def _place(self, trace: TracebackType | None) -> str:
        """Return ``line 3 of the template:`` for an error raised there."""
        line = None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == _TEMPLATE_FILE:
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return f"line {line} of the template: " if line else "template: "


def _compiled(text: str) -> tuple[Template, frozenset[str]]:
    from jinja2 import Template
    from jinja2.exceptions import TemplateSyntaxError

    from pytest_flperf.suite.prompts.template_rules import bounded, checked_variables
    from pytest_flperf.suite.prompts.template_sandbox import Sandbox

    if len(text) > _MAX_TEMPLATE:
        raise SuiteError(f"template: found {len(text):,} characters, expected {_MAX_TEMPLATE:,} at most")
    _check_sendable(text)
    sandbox = Sandbox()
    try:
        words = (token for _, token, _ in sandbox.lex(text) if token != "whitespace")
        if len(list(islice(words, _MAX_TOKENS + 1))) > _MAX_TOKENS:
            raise SuiteError(f"template: found more than {_MAX_TOKENS:,} words and marks in tags, expected less")
        tree = sandbox.parse(text)
        variables = checked_variables(tree)
        code = sandbox.compile(bounded(tree), filename=_TEMPLATE_FILE)
        return Template.from_code(sandbox, code, {}), variables
    except TemplateSyntaxError as error:
        message = printable(error.message or "no template")[:200].rstrip(".")
        raise SuiteError(f"line {error.lineno} of the template: not a template: {message}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        # a number of thousands of digits, brackets within brackets
        reason = printable(str(error))[:200] or "nested too deep"
        raise SuiteError(f"template: not a template that can be read: {reason}") from None


def _check_sendable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise SuiteError("template: found half a surrogate pair, expected a text that can be sent") from None


def _known_names(found: str, missing: frozenset[str], values: Mapping[str, Any]) -> str:
    name = next((name for name in missing if found == f"found the unknown variable {name!r}"), None)
    if name is None:
        return ""
    known = [key for key in islice(values, _MAX_NAMES) if key.isprintable() and len(key) < _MAX_NAME_LENGTH]
    words = suggestion(name, known)
    return f", {words}" if words else ""
