"""Template worker: renders templates in Jinja's own sandbox, in a bounded process.

A suite may come from anywhere.  What its templates reach is Jinja's to refuse; what time and memory they take is
limited by the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, Template, meta
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pytest_flperf.bounded.worker import ImpossibleError, Work

__all__ = ["MAX_CHARACTERS", "prepare"]

MAX_CHARACTERS: Final = 1_000_000
"""Longest template, and longest text of one."""
_BY_CHANCE: Final = ("lipsum", "random")
"""A global and a filter that would give another prompt each time, whatever the seed."""
_FILE: Final = "<template>"
_SHOWN: Final = 140


def prepare(text: str) -> Work:
    """Compile a template.

    Returns a function that renders it with the variables of a mapping.  For None it returns as JSON the names that the
    template uses and doesn't define, in two lists: variables, and names that Jinja has as well.
    """
    environment = _environment()
    try:
        names = _undefined_names(environment, text)
        code = environment.compile(text, filename=_FILE)
    except TemplateSyntaxError as error:
        what = (error.message or "no template")[:_SHOWN].rstrip(".")
        raise ImpossibleError(f"line {error.lineno} of the template: not a template: {what}") from None
    template = Template.from_code(environment, code, environment.make_globals(None))

    def work(values: Mapping[str, Any] | None) -> str:
        if values is None:
            known = environment.globals.keys()
            return json.dumps([sorted(names - known), sorted(names & known)])
        return _rendered(template, values)

    return work


def _undefined_names(environment: Environment, text: str) -> set[str]:
    bare = environment.overlay()
    bare.globals = {}  # Jinja leaves out names that it has itself
    return meta.find_undeclared_variables(bare.parse(text))


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja's sandbox, set up as for chat templates: lines with nothing but a tag leave no line."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=_written, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    for name in _BY_CHANCE:
        environment.globals.pop(name, None)
        environment.filters.pop(name, None)
    environment.filters["tojson"] = _json  # Jinja's own escapes what HTML can't hold
    return environment


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _written(value: object) -> object:
    return "" if value is None else value


def _rendered(template: Template, values: Mapping[str, Any]) -> str:
    parts: list[str] = []
    length = 0
    for part in _parts(template, values):
        length += len(part)
        if length > MAX_CHARACTERS:
            raise ImpossibleError(f"template: more than {MAX_CHARACTERS:,} characters, expected less")
        parts.append(part)
    return "".join(parts)


def _parts(template: Template, values: Mapping[str, Any]) -> Iterator[str]:
    """Pieces of the text; errors have their line."""
    try:
        yield from template.generate(values)
    except (MemoryError, RecursionError):
        raise
    except TemplateError as error:
        raise ImpossibleError(_place(error.__traceback__) + (error.message or "an error")[:_SHOWN]) from None
    except Exception as error:  # noqa: BLE001 - whatever a filter or an operator raises for a value that doesn't fit
        reason = str(error)[:_SHOWN] or type(error).__name__
        raise ImpossibleError(f"{_place(error.__traceback__)}can't be rendered: {reason}") from None


def _place(trace: TracebackType | None) -> str:
    """Return ``line 3 of the template:`` for an error raised there; Jinja has put its own lines into the trace."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"line {line} of the template: " if line else "template: "
