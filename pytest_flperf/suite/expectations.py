"""Expectations of scenarios and rows: read, and checked before any request."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from pytest_flperf.suite.errors import SuiteError, key_path, shown, suggestion
from pytest_flperf.suite.model import Scenario
from pytest_flperf.suite.parser import KeyPath
from pytest_flperf.suite.schema.document import expectation, known_keys
from pytest_flperf.suite.schema.expect import ExpectForm

__all__ = ["as_written", "check_expectations", "check_rows", "expectation_of", "row_expectation"]

_FILLED: Final = re.compile(r"\{\{-?\s*[A-Za-z_][^{}]{0,200}\}\}|\{%")
"""What a template would fill in."""
_CHECKED: Final = frozenset({"regex", "json_schema", "json_path", "calls"})
"""Checks whose value may be wrong in a way that only trying shows."""
_IN_SUITES: Final = ("scenarios", "expect")
_SHOWN_ROWS: Final = 10


def expectation_of(form: ExpectForm) -> dict[str, Any]:
    """Return an expectation as plain builtins, with what was written alone."""
    return dict(form.model_dump(by_alias=True, exclude_unset=True))


def row_expectation(value: object) -> dict[str, Any]:
    """Read the expectation of a row.

    A text means ``equals``, as in other tools' data sets, a number ``number``, a list of texts ``one_of``, a list of
    mappings ``checks``; a mapping is what a suite's ``expect`` is.  A text that begins with ``{`` or ``[`` is read as
    JSON, since tables have only texts.

    Raises SuiteError for anything else; the text doesn't say where.
    """
    value = as_written(value)
    if isinstance(value, str):
        value = {"equals": value}
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        value = {"number": value}
    elif isinstance(value, list) and value:
        value = {"checks" if all(isinstance(each, dict) for each in value) else "one_of": value}
    elif not isinstance(value, dict):
        expected = "a string, a number, a list of strings, or a mapping with checks"
        raise SuiteError(f"found {shown(value)}, expected {expected}")
    try:
        return expectation_of(ExpectForm.model_validate(value))
    except ValidationError as error:
        raise SuiteError(_described(error.errors(include_url=False)[0])) from None
    except RecursionError:
        raise SuiteError("found an expectation that is nested too deep") from None


def as_written(value: object) -> object:
    """What a row expects: a text that begins with ``{`` or ``[`` is JSON, since tables have only texts."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):  # a text that begins so
            return json.loads(value)
    return value


def _described(detail: Any) -> str:
    """First problem of a row's expectation, in words."""
    kind, place = detail["type"], tuple(detail["loc"])
    where = f"{key_path(place)}: " if place else ""
    if kind.startswith("flperf_"):
        return f"{where}{detail['msg']}"
    if kind == "extra_forbidden":
        return f"{where}unknown key; {suggestion(str(place[-1]), known_keys((*_IN_SUITES, *place[:-1])))}"
    return f"{where}found {shown(detail['input'])}, expected {expectation((*_IN_SUITES, *place))}"


def check_expectations(scenarios: Iterable[Scenario], add: Callable[[KeyPath, str], None]) -> None:
    """Note patterns and schemas that are invalid, or unbounded to check, and templates in what is expected."""
    found: list[tuple[KeyPath, str, Any]] = []
    for index, scenario in enumerate(scenarios):
        for path, group in _groups(scenario.expect or {}):
            for name, value in group.items():
                place = ("scenarios", index, "expect", *path, name)
                if scenario.source is not None and name != "json_schema":
                    _refuse_templates(value, place, add)
                if name in _CHECKED:
                    found.append((place, name, value))
    if found:
        from pytest_flperf.quality.scoring import problems_of

        problems = problems_of([{name: value} for _, name, value in found])
        for (place, _, value), problem in zip(found, problems, strict=True):
            if problem:
                add(place, f"found {shown(value)}, which {problem}")


def check_rows(expectations: Iterable[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """Problems of rows' patterns and schemas, by place; ten at most.

    Equal ones are tried once.
    """
    found: dict[str, tuple[str, str, Any]] = {}
    for place, expected in expectations:
        for _, group in _groups(expected):
            for name in _CHECKED & group.keys():
                text = json.dumps({name: group[name]}, default=str)
                found.setdefault(text, (place, name, group[name]))
    if not found:
        return []
    from pytest_flperf.quality.scoring import problems_of

    problems: list[tuple[str, str]] = []
    for (place, name, value), problem in zip(
        found.values(), problems_of([{name: value} for _, name, value in found.values()]), strict=True
    ):
        if problem and len(problems) < _SHOWN_ROWS:
            problems.append((place, f"{name}: found {shown(value)}, which {problem}"))
    return problems


def _groups(expect: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Yield each mapping of checks, with its path in the expectation."""
    if "checks" not in expect:
        yield (), expect
    for number, each in enumerate(expect.get("checks", ())):
        yield ("checks", number), each


def _refuse_templates(value: Any, place: KeyPath, add: Callable[[KeyPath, str], None]) -> None:
    for text in _texts(value):
        if _FILLED.search(text):
            add(
                place,
                f"found {shown(text)}, which would be compared as it is written, because only prompts are filled in; "
                "expected the text itself, in the 'expect' of each row of a dataset",
            )


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts of a value, however deep."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
