"""Traces: arrival times, prompts and lengths of real requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError, shown
from pytest_flperf.suite.prompts.rows import row_of
from pytest_flperf.suite.prompts.sources import TracedRequest
from pytest_flperf.suite.setting_limits import LIMITS

__all__ = ["MAX_TRACE_BYTES", "read_trace"]

MAX_TRACE_BYTES: Final = 200_000_000
_MAX_LINES: Final = 1_000_000
_SHOWN_PROBLEMS: Final = 10
_LONGEST_S: Final = 30 * 86_400.0
_WHAT: Final = "trace in JSON Lines"
_ASKS: Final = ("prompt", "messages", "conversations", "conversation")
_INPUTS: Final = ("input_tokens", "input_length")
_OUTPUTS: Final = ("max_tokens", "output_tokens", "output_length")
_FORM: Final = '{"due_s": 0.5, "prompt": "…", "max_tokens": 64}'


def read_trace(path: Path) -> tuple[TracedRequest, ...]:
    """Read a trace: one JSON object per line, ordered by time.

    ``due_s`` in seconds or ``timestamp`` in milliseconds (as in Mooncake's traces), from any origin: the first
    request is due at 0.  Optional: ``prompt`` or ``messages``; ``input_length`` (or ``input_tokens``) for a synthetic
    prompt of that length; ``output_length`` (or ``output_tokens``, ``max_tokens``).  Other keys are ignored.

    Raises:
        SuiteError: the file can't be read, is empty, or lines are wrong; a line for each of the first ten.

    """
    where = display_path(path)
    text = decoded(read_bytes(path, _WHAT, MAX_TRACE_BYTES), where, _WHAT)
    found: list[TracedRequest] = []
    problems: list[str] = []
    first_s = last_s = 0.0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            request = _request(line, last_s)
        except SuiteError as error:
            problems.append(f"{where}:{number}: {error}")
            continue
        last_s = request.due_s
        if not found:
            first_s = last_s
        found.append(TracedRequest(request.due_s - first_s, request.messages, request.input_tokens, request.max_tokens))
        if found[-1].due_s > _LONGEST_S:
            problems.append(f"{where}:{number}: found {found[-1].due_s:.10g} s, expected {_LONGEST_S:,.0f} at most")
        if len(found) > _MAX_LINES:
            raise SuiteError(f"{where}: found more than {_MAX_LINES:,} requests, expected a shorter trace")
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        raise SuiteError("\n".join([*problems[:_SHOWN_PROBLEMS], *([f"{where}: and {more:,} more"] * (more > 0))]))
    if not found:
        raise SuiteError(f"{where}: found no request, expected lines like {_FORM}")
    return tuple(found)


def _request(line: str, after_s: float) -> TracedRequest:
    """Parse one line, with ``due_s`` as written.

    ``due_s`` can't be before ``after_s``.  Raises SuiteError without the place.
    """
    try:
        value: Any = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        said = getattr(error, "msg", "nested too deep" if isinstance(error, RecursionError) else "a number too long")
        raise SuiteError(f"not JSON ({said}), expected an object like {_FORM}") from None
    if not isinstance(value, dict):
        raise SuiteError(f"found {shown(value)}, expected an object like {_FORM}")
    due_s = _due_s(value)
    if due_s < after_s:
        raise SuiteError(f"found {due_s:.10g} s after {after_s:.10g} s, expected times that don't go back")
    asked = next((key for key in _ASKS if key in value), None)
    return TracedRequest(
        due_s,
        row_of(value, asked).messages if asked else None,
        _tokens(value, _INPUTS),
        _tokens(value, _OUTPUTS),
    )


def _due_s(value: dict[str, Any]) -> float:
    key = "due_s" if "due_s" in value else "timestamp"
    if key not in value:
        raise SuiteError("found no time, expected due_s in seconds or timestamp in milliseconds")
    number = value[key]
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e15:
        unit = "seconds" if key == "due_s" else "milliseconds"
        raise SuiteError(f"found {shown(number)} in {key!r}, expected {unit} from 0")
    return float(number) if key == "due_s" else number / 1000


def _tokens(value: dict[str, Any], names: tuple[str, ...]) -> int | None:
    name = next((name for name in names if value.get(name) is not None), None)
    if name is None:
        return None
    if not LIMITS["max_tokens"].accepts(value[name]):
        raise SuiteError(f"found {shown(value[name])} in {name!r}, expected {LIMITS['max_tokens']}")
    number: int = value[name]
    return number


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
