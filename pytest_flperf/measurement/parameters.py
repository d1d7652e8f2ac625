"""Request parameters: fitted to what a server takes.

Everything that is left out or changed is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from pytest_flperf.backends.base import Capabilities
from pytest_flperf.quality.tools.definitions import AUTO
from pytest_flperf.results.serving import Adjustment
from pytest_flperf.suite.errors import shown
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.request_body import MAX_COMPLETION_TOKENS, MAX_TOKENS, extra_body, request_body
from pytest_flperf.suite.setting_limits import MAX_TOKENS_KEYS

__all__ = [
    "AS_USUAL",
    "Dialect",
    "Fitted",
    "adjustment_words",
    "fitted",
    "known_ahead",
    "limit_key",
    "silent_cut",
    "spoken",
]

_ALWAYS: Final = frozenset({"model", "messages", "stream", "stream_options"})
"""What a request is made of; no capabilities name it."""


TOOL_CHOICE: Final = "tool_choice"
_NEUTRAL: Final[Mapping[str, float | str]] = MappingProxyType(
    {"presence_penalty": 0, "frequency_penalty": 0, "top_p": 1, "n": 1, "min_p": 0, TOOL_CHOICE: AUTO}
)
"""Values that change nothing."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Dialect: how a server wants its requests.

    It holds what this server was found to refuse although others take it.
    """

    max_tokens_key: str | None = None
    """The name that it has for the longest answer; None: nothing was found out."""
    refuses: frozenset[str] = frozenset()
    """Parameters that it does not take as we send them where a suite says nothing of them."""

    def corrected(self, known: Capabilities) -> Capabilities:
        """Capabilities of its kind, with this server's name for ``max_tokens``."""
        if self.max_tokens_key is None or known.parameters is None:
            return known
        return replace(known, parameters=known.parameters - {*MAX_TOKENS_KEYS} | {self.max_tokens_key})


AS_USUAL: Final = Dialect()


@dataclass(frozen=True, slots=True)
class Fitted:
    """The request as it will be sent."""

    body: Mapping[str, Any]
    """Parameters of OpenAI's API."""
    extra: Mapping[str, Any]
    """What goes into the JSON beside them."""
    longest_answer: int | None = None
    """Most ``max_tokens`` of any request; None: no limit is known."""
    adjustments: tuple[Adjustment, ...] = field(default=())


def our_defaults(case: Case, of_backend: Mapping[str, Any]) -> frozenset[str]:
    """Parameters in a case's requests that only our defaults set, or that the suite lets fall.

    Args:
        case: What is asked.
        of_backend: What the backend adds to each request.

    """
    source = case.scenario.source
    asked = case.scenario.given | (case.scenario.settings.extra or {}).keys()
    own = {"temperature", "stream_options", *of_backend, *MAX_TOKENS_KEYS}
    if {*MAX_TOKENS_KEYS} & asked or (source is not None and source.has_lengths):
        own -= {*MAX_TOKENS_KEYS}
    wished = {TOOL_CHOICE} if case.scenario.settings.tool_choice_or_auto else set()
    return frozenset(own - asked | wished)


def limits_answers(case: Case, known: Capabilities, left_out: frozenset[str]) -> bool:
    """Whether each request may have its own answer limit.

    A suite that takes ``max_tokens`` out of its requests takes it out of all of them, except where a scenario has
    ``output_tokens``, or the limit by another name.

    Args:
        case: What is asked.
        known: What is known of the server.
        left_out: Defaults of ours that are not sent to it.

    """
    settings, source = case.scenario.settings, case.scenario.source
    otherwise = MAX_COMPLETION_TOKENS in (settings.extra or {})
    otherwise |= source is not None and source.own_lengths and source.output_tokens is not None
    if settings.max_tokens is None and MAX_TOKENS in case.scenario.given and not otherwise:
        return False
    if not left_out.isdisjoint(MAX_TOKENS_KEYS):
        return False
    return known.parameters is None or not known.parameters.isdisjoint(MAX_TOKENS_KEYS)


def spoken(
    body: Mapping[str, Any], extra: Mapping[str, Any], dialect: Dialect, ours: frozenset[str]
) -> tuple[dict[str, Any], dict[str, Any], tuple[Adjustment, ...]]:
    """Put a request into a server's dialect.

    Also returns what was changed in it.

    Args:
        body: Of the request.
        extra: What goes into its JSON beside that.
        dialect: What was found out.
        ours: Parameters that stand in the request because of our defaults alone; no others are left out.

    """
    adjustments: list[Adjustment] = []
    parts = (dict(body), dict(extra))
    for part in parts:
        for key in sorted(dialect.refuses & ours & part.keys()):
            value = part.pop(key)
            if key == TOOL_CHOICE:
                adjustments.append(Adjustment(key, shown(value), AUTO, "the server refuses it"))
            else:
                adjustments.append(Adjustment(key, shown(value), None, "our default, which the server refuses"))
    if dialect.max_tokens_key is not None:
        adjustments += _renamed(parts, dialect.max_tokens_key, "the server refuses")
    return *parts, tuple(adjustments)


def limit_key(*parts: Mapping[str, Any]) -> str | None:
    """Name of a request's answer limit.

    None where it has none, or where both names are set.
    """
    found = [key for part in parts for key in MAX_TOKENS_KEYS if key in part]
    return found[0] if len(found) == 1 else None


def _renamed(parts: tuple[dict[str, Any], ...], wanted: str, who_refuses: str) -> list[Adjustment]:
    """Rename the answer limit, where it has the other name."""
    key = limit_key(*parts)
    if key is None or key == wanted:
        return []
    part = next(part for part in parts if key in part)
    part[wanted] = part.pop(key)
    return [Adjustment("max_tokens_key", key, wanted, f"{who_refuses} {key}")]


def fitted(
    body: Mapping[str, Any], extra: Mapping[str, Any], known: Capabilities, backend: str, longest: int | None = None
) -> Fitted:
    """Fit a request to a server.

    Parameters that a server is known not to take are left out and reported: one server would refuse them, another
    would drop them silently.  Values out of its range are moved to the nearest one in it.

    Args:
        body: Of the request.
        extra: What the suite passes through.
        known: What is known of the server.
        backend: Its kind, for the reasons.
        longest: The model's longest answer in tokens, where that is known.

    """
    ranges = dict(known.ranges)
    if longest is not None:
        low, high = ranges.get(MAX_TOKENS, (1, longest))
        ranges[MAX_TOKENS] = (low, min(high, longest))
    if MAX_TOKENS in ranges:
        ranges.setdefault(MAX_COMPLETION_TOKENS, ranges[MAX_TOKENS])
    parts = (dict(body), dict(extra))
    key = limit_key(*parts)
    adjustments: list[Adjustment] = []
    if key is not None and known.parameters is not None and key not in known.parameters:
        taken = [name for name in MAX_TOKENS_KEYS if name in known.parameters]
        adjustments += _renamed(parts, taken[0], f"{backend} does not take") if taken else []
    sent = [_kept(values, ranges, known, backend, adjustments) for values in parts]
    if known.usage is False:
        sent[0].pop("stream_options", None)
    _, top = ranges.get(MAX_TOKENS, (1, math.inf))
    return Fitted(sent[0], sent[1], int(top) if math.isfinite(top) else None, tuple(adjustments))


def _kept(
    values: Mapping[str, Any],
    ranges: Mapping[str, tuple[float, float]],
    known: Capabilities,
    backend: str,
    adjustments: list[Adjustment],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in _ALWAYS:
            found[key] = value
        elif known.parameters is not None and key not in known.parameters:
            if _NEUTRAL.get(key) == value:
                continue  # what it asks for is what happens without it
            # nobody measures a choice that isn't taken unless the suite says so: auto is what happens without it
            sent = AUTO if key == TOOL_CHOICE else None
            adjustments.append(Adjustment(key, shown(value), sent, f"{backend} does not take it"))
        else:
            found[key] = _clamped(key, value, ranges.get(key), adjustments)
    return found


def _clamped(key: str, value: Any, bounds: tuple[float, float] | None, adjustments: list[Adjustment]) -> Any:
    if bounds is None or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    low, high = bounds
    near = min(max(value, low), high)
    if near == value:
        return value
    near = int(near) if isinstance(value, int) and int(near) == near else near
    adjustments.append(Adjustment(key, shown(value), shown(near), f"it takes {low:g} to {high:g}"))
    return near


def known_ahead(cases: Iterable[Case], known: Callable[[str], Capabilities], backend_of: Callable[[str], str]) -> str:
    """Parameter changes known before any model is ready, in one line.

    Args:
        cases: What is going to be measured.
        known: Capabilities by the name of a model.
        backend_of: The kind of its backend.

    """
    words: dict[str, dict[str, None]] = {}
    for case in cases:
        body, extra = request_body(case, case.model), extra_body(case)
        for each in fitted(body, extra, known(case.model), backend_of(case.model)).adjustments:
            words.setdefault(adjustment_words((each,)), {})[case.model] = None
    return "; ".join(f"{text} on {', '.join(models)}" for text, models in words.items())


def silent_cut(body: Mapping[str, Any], extra: Mapping[str, Any], known: Capabilities) -> str:
    """Warning that the server cuts answers by its own default.

    Empty where it doesn't, or where a limit is sent.
    """
    if known.default_max_tokens is None or {*MAX_TOKENS_KEYS} & {*body, *extra}:
        return ""
    return f"max_tokens is not sent: the server cuts answers at {known.default_max_tokens:,} tokens by default"


def adjustment_words(adjustments: tuple[Adjustment, ...]) -> str:
    """Changed parameters in one line; empty where nothing was changed."""
    changed = [f"{each.parameter} {each.asked} → {each.sent} ({each.reason})" for each in adjustments if each.sent]
    left = [f"{each.parameter} ({each.reason})" for each in adjustments if each.sent is None]
    words = [f"left out: {', '.join(left)}"] * bool(left) + [f"changed: {', '.join(changed)}"] * bool(changed)
    return "; ".join(words)
