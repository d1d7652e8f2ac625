"""Template sandbox: plain data alone, filters with bounded work and results.

Imports jinja2, so import it late.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from jinja2 import StrictUndefined, Undefined, pass_context
from jinja2.filters import do_title
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pytest_flperf.suite.errors import SuiteError, shown

__all__ = [
    "BUDGET",
    "CONCAT",
    "FILTERS",
    "LOOP",
    "LOOP_ATTRIBUTES",
    "MAX_CHARACTERS",
    "MAX_NUMBER",
    "SLICE",
    "TESTS",
    "WEIGH",
    "Budget",
    "Sandbox",
    "check_data",
]

MAX_CHARACTERS: Final = 1_000_000
"""Longest text, final or intermediate."""
MAX_NUMBER: Final = 10**15
"""Largest operand and result of operators: below it floats are exact."""
LOOP_ATTRIBUTES: Final = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem"}
)
BUDGET: Final = "_budget"
"""The budget's name in a template's context; templates can't use names that begin with an underscore."""
# Names of filters that only we insert into templates: the space makes them impossible to write.
CONCAT, LOOP, SLICE, WEIGH = " concat", " loop", " slice", " weigh"

_MAX_STEPS: Final = 500_000
_MAX_WORK: Final = 10_000_000
_VALUE_WORK: Final = 20
"""Cost of looking at a value of a list, in characters."""
_MAX_VALUES: Final = 1_000_000


class Budget:
    """Work budget of one rendering.

    All of it takes less than about a second.
    """

    def __init__(self) -> None:
        self._steps = _MAX_STEPS
        self._work = _MAX_WORK

    def step(self, count: int) -> None:
        """Charge *count* evaluated pieces of the template."""
        self._steps -= count
        if self._steps < 0:
            raise SuiteError(f"found loops of more than {_MAX_STEPS:,} steps in all, expected less")

    def work(self, value: object) -> None:
        """Charge the cost of looking at all of *value*."""
        self._work -= len(value) + _VALUE_WORK if isinstance(value, str) else self._size(value)
        if self._work < 0:
            raise SuiteError(
                f"found work on more than {_MAX_WORK:,} characters in all ({_VALUE_WORK} for a value), expected less"
            )

    def _size(self, value: object) -> int:
        size = 0
        todo = [value]
        while todo and size <= self._work:
            item = todo.pop()
            size += len(item) + _VALUE_WORK if isinstance(item, str) else _VALUE_WORK
            if isinstance(item, Mapping):
                todo.extend(item.keys())
                todo.extend(item.values())
            elif isinstance(item, (list, tuple)):
                todo.extend(item)
        return size


def check_data(value: object) -> None:
    """Refuse anything other than plain data.

    Raises:
        SuiteError: it is something else, or has over a million values, as lists that contain themselves have.

    """
    todo = [value]
    count = 0
    while todo:
        item = todo.pop()
        count += 1
        if count > _MAX_VALUES:
            raise SuiteError(f"found more than {_MAX_VALUES:,} values, expected less")
        if isinstance(item, Mapping):
            todo.extend(item.keys())
            todo.extend(item.values())
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
        elif item is not None and not isinstance(item, (str, int, float)):
            raise SuiteError(f"found {shown(item)}, expected texts, numbers, lists and mappings")


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return shown(value)
    kinds: tuple[tuple[Any, str], ...] = (
        (str, "a text"),
        ((int, float), "a number"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "something else")


def _known(value: object) -> None:
    """Raise the error of an undefined value."""
    if isinstance(value, Undefined):
        str(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    _known(value)
    if isinstance(value, (bool, int, float)):
        return str(value)
    raise SuiteError(f"found {_kind(value)}, expected a text or a number (join and tojson make texts of lists)")


def _number(value: object) -> int | float:
    _known(value)
    if not isinstance(value, (int, float)):
        raise SuiteError(f"found {_kind(value)}, expected a number")
    if not -MAX_NUMBER <= value <= MAX_NUMBER:  # NaN isn't, either
        raise SuiteError(f"found {shown(value)}, expected a number of {MAX_NUMBER:.0e} at most")
    return value


def _items(value: object) -> Sequence[object]:
    _known(value)
    if isinstance(value, Mapping):
        return list(value)
    if not isinstance(value, (list, tuple)):
        raise SuiteError(f"found {_kind(value)}, expected a list")
    return value


def _fitting(length: int) -> None:
    if length > MAX_CHARACTERS:
        raise SuiteError(f"found a text of {length:,} characters, expected {MAX_CHARACTERS:,} at most")


def _default(value: object, default: object = "", boolean: object = False) -> object:
    return default if isinstance(value, Undefined) or (boolean and not value) else value


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else len(_items(value))


def _item(value: object, at: int) -> object:
    items = value if isinstance(value, str) else _items(value)
    if not items:
        raise SuiteError(f"found {_kind(value)} without items, expected one or more")
    return items[at]


def _first(value: object) -> object:
    return _item(value, 0)


def _join(value: object, separator: object = "") -> str:
    items, between = _items(value), _text(separator)
    _fitting(max(len(items) - 1, 0) * len(between) + sum(len(_text(item)) for item in items))
    return between.join(_text(item) for item in items)


def _replace(value: object, old: object, new: object) -> str:
    text, before, after = _text(value), _text(old), _text(new)
    _fitting(len(text) + text.count(before) * (len(after) - len(before)))
    return text.replace(before, after)


def _truncate(
    value: object, length: object = 255, killwords: object = False, end: object = "...", leeway: object = 5
) -> str:
    text, ending, most = _text(value), _text(end), int(_number(length))
    if most < len(ending):
        raise SuiteError(f"found truncate to {most}, expected as many characters as {shown(ending)} has")
    if len(text) <= most + _number(leeway):
        return text
    cut = text[: most - len(ending)]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + ending


def _round(value: object, precision: object = 0) -> float:
    digits = _number(precision)
    if digits not in range(16):
        raise SuiteError(f"found round to {shown(digits)} digits, expected 0 to 15")
    return float(round(_number(value), int(digits)))


def _converted(kind: Callable[[Any], int | float]) -> Callable[[object, object], object]:
    def convert(value: object, default: object = kind(0)) -> object:
        try:
            number = kind(value) if isinstance(value, (int, float)) else kind(_text(value)[:40].strip())
            return number if math.isfinite(number) else default
        except (ValueError, OverflowError):
            return default

    return convert


def _concat(value: object) -> str:
    parts = [_text(part) for part in _items(value)]
    _fitting(sum(map(len, parts)))
    return "".join(parts)


def _slice(value: object, start: object, stop: object, step: object) -> object:
    _known(value)
    bounds = [None if bound is None else _number(bound) for bound in (start, stop, step)]
    if not isinstance(value, (str, list, tuple)) or not all(bound is None or bound == int(bound) for bound in bounds):
        raise SuiteError(f"found {_kind(value)} cut at {shown((start, stop, step))}, expected a text or a list")
    return value[slice(*(None if bound is None else int(bound) for bound in bounds))]


def _same(value: object) -> object:
    _known(value)
    return value


FILTERS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        "abs": lambda value: abs(_number(value)),
        "capitalize": lambda value: _text(value).capitalize(),
        "count": _length,
        "d": _default,
        "default": _default,
        "first": _first,
        "float": _converted(float),
        "int": _converted(int),
        "join": _join,
        "last": lambda value: _item(value, -1),
        "length": _length,
        "lower": lambda value: _text(value).lower(),
        "replace": _replace,
        "round": _round,
        "string": _text,
        "title": lambda value: do_title(_text(value)),
        "tojson": lambda value: json.dumps(value, ensure_ascii=False, allow_nan=False),
        "trim": lambda value: _text(value).strip(),
        "truncate": _truncate,
        "upper": lambda value: _text(value).upper(),
        "wordcount": lambda value: len(_text(value).split()),
    }
)
"""Filters, after ``|``: the result of each is at most a few times as long as its input."""
_OURS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType({CONCAT: _concat, SLICE: _slice, WEIGH: _same})
_LIGHT: Final = frozenset({"d", "default", "count", "length", "first", "last"})
"""Filters that don't look at all of their input."""

TESTS: Final[Mapping[str, Callable[[object], bool]]] = MappingProxyType(
    {
        "boolean": lambda value: isinstance(_same(value), bool),
        "defined": lambda value: not isinstance(value, Undefined),
        "even": lambda value: _number(value) % 2 == 0,
        "false": lambda value: _same(value) is False,
        "float": lambda value: isinstance(_same(value), float),
        "integer": lambda value: isinstance(_same(value), int) and not isinstance(value, bool),
        "mapping": lambda value: isinstance(_same(value), Mapping),
        "none": lambda value: _same(value) is None,
        "number": lambda value: isinstance(_same(value), (int, float)) and not isinstance(value, bool),
        "odd": lambda value: _number(value) % 2 == 1,
        "sequence": lambda value: isinstance(_same(value), (list, tuple)),
        "string": lambda value: isinstance(_same(value), str),
        "true": lambda value: _same(value) is True,
        "undefined": lambda value: isinstance(value, Undefined),
    }
)
"""Tests, after ``is``."""


def _bounded(name: str, function: Callable[..., object]) -> Callable[..., object]:
    """Return a filter that charges its work to the budget."""

    @pass_context
    def call(context: Context, value: object, *args: object, **named: object) -> object:
        if name in _LIGHT:
            return function(value, *args, **named)
        budget: Budget = context.parent[BUDGET]
        for each in (value, *args, *named.values()):
            _known(each)
            budget.work(each)
        return function(value, *args, **named)

    return call


@pass_context
def _loop(context: Context, value: object, cost: int) -> Sequence[object]:
    """Return the items of a loop, and charge all rounds."""
    items = _items(value)
    budget: Budget = context.parent[BUDGET]
    budget.step(len(items) * cost)
    return items


class _Unknown(StrictUndefined):
    """An undefined value; using it raises."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name = shown(self._undefined_name)
        if self._undefined_hint:
            return self._undefined_hint
        if isinstance(self._undefined_obj, (Mapping, list, tuple, str, int, float, type(None))):
            return f"found {_kind(self._undefined_obj)} without {name}"
        return f"found the unknown variable {name}"


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja environment for plain data, without access to Python attributes."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(self) -> None:
        """Set up as in chat templates: tag lines leave no line."""
        super().__init__(
            undefined=_Unknown, finalize=_text, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
        )
        self.globals = {}
        self.filters = {name: _bounded(name, function) for name, function in (*FILTERS.items(), *_OURS.items())}
        self.filters[LOOP] = _loop
        self.tests = dict(TESTS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a mapping's item or a loop attribute.

        Never an attribute of Python's.
        """
        if isinstance(obj, LoopContext) and attribute in LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item of a mapping, a list or a text."""
        _known(obj)
        _known(argument)
        if isinstance(argument, str) and argument.startswith("_"):
            raise SuiteError(f"found the item {shown(argument)}, expected a name without an underscore in front")
        try:
            if isinstance(obj, (list, tuple, str)) and isinstance(argument, int):
                return obj[argument]
            if isinstance(obj, Mapping) and isinstance(argument, (str, int)):
                return obj[argument]
        except LookupError:
            pass
        return self.undefined(obj=obj, name=argument)

    def call(self, *_args: Any, **_named: Any) -> Any:
        """Refuse a call; the checks let none through."""
        raise SuiteError("found a call, expected none")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator to two numbers, or ``+`` to two texts."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            budget: Budget = context.parent[BUDGET]
            budget.work(left)
            budget.work(right)
            return _concat([left, right])
        try:
            result = self.binop_table[operator](_number(left), _number(right))
        except ZeroDivisionError:
            raise SuiteError("found a division by zero, expected another number") from None
        return _number(result)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Apply a sign to a number."""
        del context
        return self.unop_table[operator](_number(arg))
