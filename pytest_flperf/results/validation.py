"""Validation of results: types, ranges, and counts that agree.

The types are read from the records.  Pydantic takes 0.25 s to import and to build the model of a case, the time of 340
cases here; a command that shows a run reads a few dozen.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import Any, Final, Literal, cast

from pytest_flperf.results.answer import Standing
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.contradictions import contradictions, contradictions_of_case
from pytest_flperf.results.document import DocumentError, Fault, Path, faults_of, shown
from pytest_flperf.results.measured import Distribution, Failure, LagMs, ResourceUse, ToolCallCounts
from pytest_flperf.results.records import SCHEMA, BudgetVerdict, CaseResult, PlannedCase, Run
from pytest_flperf.results.serialize import Interval, Record

__all__ = ["LARGEST", "checked_case", "checked_planned", "checked_run"]

LARGEST: Final = 1e15
"""Nothing measured comes near it: milliseconds of 30,000 years."""
_LARGEST_WRITTEN: Final = 1e100
"""Bound of numbers that a person wrote, such as a seed or a limit."""
_ENDS: Final = 2


@dataclass(frozen=True, slots=True)
class _Range:
    """Valid range of a number, both ends included."""

    low: float = 0.0
    high: float = LARGEST

    def __str__(self) -> str:
        if self.high >= LARGEST:
            return f"{self.low:g} or more" if self.low > -LARGEST else ""
        return f"from {self.low:g} to {self.high:g}"


_COUNTED: Final = _Range()
_SIGNED: Final = _Range(-LARGEST, LARGEST)
_WRITTEN: Final = _Range(-_LARGEST_WRITTEN, _LARGEST_WRITTEN)
_SHARE: Final = _Range(0, 1)
_CHANGE: Final = _Range(-1e200, 1e200)
"""A ratio of two numbers has no bound of its own."""
_RANGES: Final[Mapping[type[Record], Mapping[str, _Range]]] = {
    # whether a metric may be negative depends on its name (see contradictions)
    Distribution: dict.fromkeys(
        ("mean", "min", "p5", "p50", "p90", "p95", "p99", "max", "p50_ci95", "p95_ci95"), _SIGNED
    ),
    ResourceUse: dict.fromkeys(("mean", "min", "max"), _SIGNED),
    BudgetVerdict: {"limit": _WRITTEN, "value": _SIGNED},
    PlannedCase: {"model_rss_mb": _SIGNED},
    CaseResult: {"error_rate": _SHARE, "coalesced_pct": _Range(0, 100), "model_rss_mb": _SIGNED},
    Failure: {"status": _Range(0, 999)},
    Against: {"error_rate": _SHARE},
    Comparison: {
        **dict.fromkeys(("baseline", "candidate"), _SIGNED),
        **dict.fromkeys(("change_pct", "change_ci95_pct", "raw_change_pct", "raw_change_ci95_pct"), _CHANGE),
        **dict.fromkeys(("threshold_pct", "threshold_floor"), _WRITTEN),
        **dict.fromkeys(("p_value", "probability"), _SHARE),
    },
    ToolCallCounts: {"tool_right": _SHARE, "argument_right": _SHARE},
    Standing: {"behind_ci": _SIGNED},  # of quality it is a difference, and may hold none
    LagMs: dict.fromkeys(("p50", "p99", "max"), _Range(-1)),  # two clocks are compared
    Calibration: dict.fromkeys(("ttft_p50_error_ms", "ttft_p99_error_ms", "gap_p99_error_ms"), _SIGNED),
}
"""Ranges of numbers that aren't simply 0 or more."""
_OPEN_ENDED: Final[Mapping[type[Record], frozenset[str]]] = {
    Comparison: frozenset({"change_ci95_pct", "raw_change_ci95_pct"})
}
"""Intervals whose upper end is null where it is infinite."""
_PERCENTILES: Final = ("p5", "p50", "p90", "p95", "p99")


def checked_run(document: Any) -> Run:
    """Validate a document and read its run; raises DocumentError.

    The error holds a fault for each value that no run can have written.
    """
    if not isinstance(document, dict):
        raise DocumentError([Fault((), shown(document), "an object with 'schema', 'run' and 'cases'")])
    if document.get("schema") != SCHEMA:
        raise DocumentError([Fault(("schema",), shown(document.get("schema")), f"a results file of schema {SCHEMA!r}")])
    run, cases = document.get("run"), document.get("cases", [])
    if not isinstance(run, dict):
        raise DocumentError([Fault(("run",), shown(run), "an object")])
    if not isinstance(cases, list):
        raise DocumentError([Fault(("cases",), shown(cases), "a list")])
    faults = faults_of(document) or [_in_document(each) for each in _record(Run, {**run, "cases": cases}, ())]
    if not faults:
        found = Run.from_dict(document)
        faults = [_in_document(each) for each in contradictions(found)]
    if faults:
        raise DocumentError(faults)
    return found


def checked_case(record: Any) -> CaseResult:
    """Validate a record and read its case; raises DocumentError."""
    faults = faults_of(record) or list(_record(CaseResult, record, ()))
    if not faults:
        found = CaseResult.from_dict(record)
        faults = list(contradictions_of_case(found, ()))
    if faults:
        raise DocumentError(faults)
    return found


def checked_planned(record: Any) -> PlannedCase:
    """Validate a record and read its planned case; raises DocumentError.

    Logs of older versions hold a whole result.
    """
    faults = faults_of(record) or list(_record(PlannedCase, record, ()))
    if faults:
        raise DocumentError(faults)
    return PlannedCase.from_dict(record)


def _in_document(fault: Fault) -> Fault:
    """The fault with its path from the top of the document.

    There, ``cases`` and ``run`` are next to each other.
    """
    top = () if fault.path[:1] == ("cases",) else ("run",)
    return Fault((*top, *fault.path), fault.found, fault.expected)


@cache
def _fields(kind: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((each, hints[each.name]) for each in fields(kind))


def _record(kind: type[Record], value: Any, path: Path) -> Iterator[Fault]:
    """Faults of a record, by the types of its class.

    Keys of later versions are ignored.
    """
    if not isinstance(value, dict):
        yield Fault(path, shown(value), "an object")
        return
    ranges, open_ended = _RANGES.get(kind, {}), _OPEN_ENDED.get(kind, frozenset())
    for each, hint in _fields(cast(Any, kind)):
        name, here = each.name, (*path, each.name)
        item = value.get(name)
        if item is None:
            if not _may_be_absent(kind, each, hint, value):
                yield Fault(here, "null" if name in value else "nothing", _words(hint))
        elif name in open_ended and isinstance(item, list) and item[1:] == [None]:
            yield from _value(float, item[0], (*here, 0), ranges[name])
        else:
            yield from _value(hint, item, here, ranges.get(name, _COUNTED))


def _may_be_absent(kind: type[Record], each: Field[Any], hint: Any, value: Mapping[str, Any]) -> bool:
    """Whether a field may be null or missing.

    Null stands for a default, and for an infinite percentile.
    """
    if each.default is not MISSING or each.default_factory is not MISSING:
        return True
    if kind is Distribution and each.name in _PERCENTILES and value.get("as_inf"):
        return each.name in value
    return type(None) in typing.get_args(hint) and each.name in value


def _value(hint: Any, value: Any, path: Path, within: _Range) -> Iterator[Fault]:
    """Faults of a value, by its type and range."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        kinds = [each for each in arguments if each is not type(None)]
        if len(kinds) == 1:
            yield from _value(kinds[0], value, path, within)
        elif type(value) in kinds:
            yield from _any(value, path)
        else:
            yield Fault(path, shown(value), "a string, a number, true or false")
    elif origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            yield Fault(path, shown(value), f"one of {', '.join(arguments)}")
    elif origin is tuple:
        yield from _list(hint, value, path, within)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _mapping(arguments[1], value, path)
    elif hint is Any:
        yield from _any(value, path)
    elif hint in (int, float):
        yield from _number(hint, value, path, within)
    elif issubclass(hint, Record):
        yield from _record(hint, value, path)
    elif type(value) is not hint:
        yield Fault(path, shown(value), _words(hint))


def _list(hint: Any, value: Any, path: Path, within: _Range) -> Iterator[Fault]:
    if not isinstance(value, list) or (hint == Interval and len(value) != _ENDS):
        yield Fault(path, shown(value), _words(hint))
        return
    for index, item in enumerate(value):
        yield from _value(typing.get_args(hint)[0], item, (*path, index), within)


def _mapping(hint: Any, value: Any, path: Path) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(path, shown(value), "an object")
        return
    for key, item in value.items():
        if item is not None or not (hint is Any or type(None) in typing.get_args(hint)):
            yield from _value(hint, item, (*path, key), _COUNTED)


def _number(hint: Any, value: Any, path: Path, within: _Range) -> Iterator[Fault]:
    kinds = (int,) if hint is int else (int, float)
    if type(value) not in kinds or not within.low <= value <= within.high:
        expected = " ".join(filter(None, (_words(hint), str(within))))
        yield Fault(path, shown(value), expected)


def _any(value: Any, path: Path) -> Iterator[Fault]:
    """Faults of values that a person wrote (settings, parameters).

    Any JSON is valid whose numbers a person can have written.
    """
    if type(value) in (int, float) and not _WRITTEN.low <= value <= _WRITTEN.high:
        yield Fault(path, shown(value), f"a number up to {_LARGEST_WRITTEN:g}")
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _any(item, (*path, key))


def _words(hint: Any) -> str:
    """A type in words for people."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("null" if each is type(None) else _words(each) for each in arguments)
    if hint == Interval:
        return "a list of two numbers"
    plain = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    return plain.get(hint, "a list" if origin is tuple else "an object")
