"""What a case asks for, fitted to what its server takes: everything that is left out or changed is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from pytest_flperf.backends.base import Capabilities
from pytest_flperf.results.serving import Adjustment
from pytest_flperf.suite.errors import shown
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.prompts import extra_body, request_body

__all__ = ["Fitted", "adjustment_words", "fitted", "known_ahead", "silent_cut"]

_ALWAYS: Final = frozenset({"model", "messages", "stream", "stream_options"})
"""What a request is made of; no capabilities name it."""


_NEUTRAL: Final[Mapping[str, float]] = MappingProxyType(
    {"presence_penalty": 0, "frequency_penalty": 0, "top_p": 1, "n": 1, "min_p": 0}
)
"""Values that change nothing."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The request as it will be sent."""

    body: Mapping[str, Any]
    """Arguments of the openai client."""
    extra: Mapping[str, Any]
    """What goes into the JSON beside them."""
    longest_answer: int | None = None
    """Most ``max_tokens`` of any request; None: no limit is known."""
    adjustments: tuple[Adjustment, ...] = field(default=())


def fitted(
    body: Mapping[str, Any], extra: Mapping[str, Any], known: Capabilities, backend: str, longest: int | None = None
) -> Fitted:
    """Fit a request to a server.

    What a server is known not to take would be refused by one and silently dropped by another: it is left out, and
    said.  Values beyond what it takes are brought to the nearest one that it does.

    Args:
        body: Of the request.
        extra: What the suite passes through.
        known: What is known of the server.
        backend: Its kind, for the reasons.
        longest: The model's longest answer in tokens, where that is known.

    """
    ranges = dict(known.ranges)
    if longest is not None:
        low, high = ranges.get("max_tokens", (1, longest))
        ranges["max_tokens"] = (low, min(high, longest))
    adjustments: list[Adjustment] = []
    sent = [_kept(values, ranges, known, backend, adjustments) for values in (body, extra)]
    if known.usage is False:
        sent[0].pop("stream_options", None)
    _, top = ranges.get("max_tokens", (1, math.inf))
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
            adjustments.append(Adjustment(key, shown(value), None, f"{backend} does not take it"))
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
    """In one line what will not be sent as asked, as far as that is known before any model is ready.

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
    """In words that answers may be cut although nobody asked for it; empty where they aren't."""
    limits = {"max_tokens", "max_completion_tokens"}
    if known.default_max_tokens is None or limits & {*body, *extra}:
        return ""
    return f"max_tokens is not sent: the server cuts answers at {known.default_max_tokens:,} tokens of its own accord"


def adjustment_words(adjustments: tuple[Adjustment, ...]) -> str:
    """In one line what was changed; empty where nothing was."""
    changed = [f"{each.parameter} {each.asked} → {each.sent} ({each.reason})" for each in adjustments if each.sent]
    left = [f"{each.parameter} ({each.reason})" for each in adjustments if each.sent is None]
    words = [f"left out: {', '.join(left)}"] * bool(left) + [f"changed: {', '.join(changed)}"] * bool(changed)
    return "; ".join(words)
