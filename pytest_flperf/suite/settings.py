"""Conversion of flat keys, as in suites and options, to :class:`Settings`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from pytest_flperf.suite.model import Settings

__all__ = ["LOAD_KEYS", "MATRIX_KEYS", "REQUEST_KEYS", "SETTING_KEYS", "SWEEP_KEYS", "TIMEOUT_KEYS", "with_values"]

TIMEOUT_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "timeout_s": "total_s",
        "connect_timeout_s": "connect_s",
        "headers_timeout_s": "headers_s",
        "first_token_timeout_s": "first_token_s",
        "stall_timeout_s": "stall_s",
    }
)
"""Keys of a suite and the fields of :class:`~pytest_flperf.suite.model.Timeouts` that they set."""

LOAD_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "load": "kind",
        "rate": "rate",
        "rate_to": "rate_to",
        "burstiness": "burstiness",
        "burst_size": "burst_size",
        "max_in_flight": "max_in_flight",
        "think_time_s": "think_time_s",
        "search_over": "search_over",
        "search_from": "search_from",
        "search_to": "search_to",
        "duration_s": "duration_s",
        "ramp_up_s": "ramp_up_s",
        "cool_down_s": "cool_down_s",
    }
)
"""Keys of a suite and the fields of :class:`~pytest_flperf.suite.model.LoadShape` that they set."""

REQUEST_KEYS: Final = (
    "max_tokens",
    "max_tokens_key",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "context_tokens",
    "prompt_cache",
)
"""Settings of a request's body, besides ``extra``; the others say how and when requests are sent."""

MATRIX_KEYS: Final = (
    "iterations",
    "repeat",
    "warmup",
    "concurrency",
    *LOAD_KEYS,
    *TIMEOUT_KEYS,
    "max_answer_mb",
    "reasoning_tags",
    "retries",
    "retry_backoff_s",
    "failures",
    *REQUEST_KEYS,
)
"""Settings with one plain value, which are allowed in a matrix."""

SWEEP_KEYS: Final = ("concurrency", "rate", "context_tokens")
"""Settings that may have a list of values anywhere: each value is a case of its own."""

SETTING_KEYS: Final = (*MATRIX_KEYS, "tools", "tool_choice", "extra")
"""Every setting."""


def _of_request(key: str, value: Any, settings: Settings) -> dict[str, Any]:
    """Return the fields that a setting of requests sets."""
    if key in {"stop", "tools"}:
        return {key: (value,) if isinstance(value, str) else tuple(value or ())}
    if key == "stream_options" and isinstance(value, Mapping):
        return {key: json.dumps(dict(value), separators=(",", ":"))}
    if key == "tool_choice":
        or_auto = isinstance(value, list)
        return {key: value[0] if or_auto else value, "tool_choice_or_auto": or_auto}
    return {key: {**(settings.extra or {}), **value} if key == "extra" else value}


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return *settings* updated with *values*.

    Keys are flat and already checked; unknown keys are ignored.

    ``extra`` is merged key by key; everything else is replaced.  One ``stop`` text is a list of one, and
    ``stream_options`` may be a mapping or its JSON.
    A duration replaces a count, and a count replaces a duration, unless *values* has both.
    """
    changes: dict[str, Any] = {}
    timeouts: dict[str, Any] = {}
    load: dict[str, Any] = {}
    for key in SETTING_KEYS:
        if key not in values:
            continue
        value = values[key]
        if key in TIMEOUT_KEYS:
            timeouts[TIMEOUT_KEYS[key]] = value
        elif key in LOAD_KEYS:
            load[LOAD_KEYS[key]] = value
        else:
            changes |= _of_request(key, value, settings)
    if load.get("duration_s") is not None and "iterations" not in values:
        changes["iterations"] = None
    elif "iterations" in values and "duration_s" not in values:
        load["duration_s"] = None
    if load:
        changes["load"] = replace(settings.load, **load)
    if timeouts:
        changes["timeouts"] = replace(settings.timeouts, **timeouts)
    return replace(settings, **changes)
