"""Setting limits: allowed values for suites, matrix, options and Python callers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pytest_flperf.suite.errors import SuiteError, shown

__all__ = [
    "LIMITS",
    "LOADS",
    "MAX_CASES",
    "MAX_SUITE_BYTES",
    "MAX_TOKENS_KEYS",
    "NULLABLE",
    "OUTPUT_LENGTHS",
    "Range",
    "check_setting",
    "expected",
]

MAX_SUITE_BYTES: Final = 10_000_000
"""Largest suite file, and largest prompt file, in bytes."""
MAX_CASES: Final = 10_000
"""Most scenarios × matrix points of one suite."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number from *low* to *high*, both included."""

    low: float
    high: float
    whole: bool = True

    def accepts(self, value: object) -> bool:
        """Tell whether *value* is a number in the range.

        True and false are not, and NaN and infinity are not.
        """
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        # an integer is finite, and math.isfinite fails on too large a one
        return (isinstance(value, int) or math.isfinite(value)) and self.low <= value <= self.high

    def __str__(self) -> str:
        """Return the words for an error message."""
        if self.high >= 2**53:
            return "a whole number of 64 bits"
        return f"a {'whole ' if self.whole else ''}number from {self.low:,} to {self.high:,}"


_SECONDS: Final = Range(0.001, 86_400, whole=False)

_RATE: Final = Range(0.001, 100_000, whole=False)

LIMITS: Final[Mapping[str, Range]] = MappingProxyType(
    {
        "iterations": Range(1, 1_000_000),
        "repeat": Range(1, 1_000),
        "warmup": Range(0, 100_000),
        "concurrency": Range(1, 1_000),
        "rate": _RATE,
        "rate_to": _RATE,
        "burstiness": Range(0.01, 1_000, whole=False),
        "burst_size": Range(1, 100_000),
        "max_in_flight": Range(1, 1_000),
        "think_time_s": Range(0, 86_400, whole=False),
        "search_from": _RATE,
        "search_to": _RATE,
        "duration_s": _SECONDS,
        "ramp_up_s": Range(0, 86_400, whole=False),
        "cool_down_s": Range(0, 86_400, whole=False),
        "timeout_s": _SECONDS,
        "connect_timeout_s": _SECONDS,
        "headers_timeout_s": _SECONDS,
        "first_token_timeout_s": _SECONDS,
        "stall_timeout_s": _SECONDS,
        "max_answer_mb": Range(0.001, 1_024, whole=False),
        "retries": Range(0, 10),
        "retry_backoff_s": Range(0, 600, whole=False),
        "tool_turns": Range(2, 100),
        "max_tokens": Range(1, 1_000_000),
        "temperature": Range(0, 2, whole=False),
        "context_tokens": Range(0, 1_000_000),
        "shared_prefix_tokens": Range(1, 1_000_000),
        "top_p": Range(0, 1, whole=False),
        "top_k": Range(0, 1_000_000),
        "presence_penalty": Range(-2, 2, whole=False),
        "frequency_penalty": Range(-2, 2, whole=False),
        "seed": Range(-(2**63), 2**63 - 1),
    }
)
"""Bounds of every numeric setting."""

NULLABLE: Final = frozenset(
    {
        "warmup",
        "rate",
        "rate_to",
        "burstiness",
        "burst_size",
        "search_to",
        "duration_s",
        "context_tokens",
        "headers_timeout_s",
        "first_token_timeout_s",
        "stall_timeout_s",
        "max_tokens",
        "max_tokens_key",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "reasoning_effort",
        "seed",
        "tools",
        "tool_choice",
    }
)
"""Settings that may be null: not sent, no deadline of its own, absent, or (warm-up) computed."""

LOADS: Final = ("closed", "session", "constant", "poisson", "gamma", "burst", "ramp", "trace", "search")
"""Shapes of load."""

OUTPUT_LENGTHS: Final[Mapping[str, int]] = MappingProxyType({"short": 50, "medium": 150, "long": 400})
"""``max_tokens`` by ``expected_output_length``, where a suite sets no ``max_tokens``."""

MAX_TOKENS_KEYS: Final = ("max_tokens", "max_completion_tokens")
"""Servers' names for the token limit of a chat completion."""

REASONING_EFFORTS: Final = ("none", "minimal", "low", "medium", "high")
"""Reasoning efforts of a model."""

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "prompt_cache": ("avoid", "reuse"),
        "failures": ("apart", "as_inf"),
        "reasoning_effort": REASONING_EFFORTS,
        "max_tokens_key": MAX_TOKENS_KEYS,
        "search_over": ("concurrency", "rate"),
    }
)

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "load": ", ".join(map(repr, LOADS[:-1])) + f" or {LOADS[-1]!r}",
        "stream": "true or false",
        "stream_options": "a mapping such as {'include_usage': true}",
        "max_tokens_key": "'max_tokens' or 'max_completion_tokens'",
        "streaming": "true or false",
        "reasoning_tags": "true or false",
        "prompt_cache": "'avoid' or 'reuse'",
        "failures": "'apart' or 'as_inf'",
        "reasoning_effort": "'none', 'minimal', 'low', 'medium' or 'high'",
        "search_over": "'concurrency' or 'rate'",
        "timeout": "a number of milliseconds from 1 to 86,400,000",
        "stop": "a non-empty string or a list of 1 to 32 of them",
        "tools": "a list of tools, each with type: function, and function with name and parameters",
        "tool_results": "a list of results, each with name, args and result",
        "tool_choice": "'auto', 'none', 'required', {'type': 'function', 'function': {'name': …}}, or [one, 'auto']",
        "tags": "a non-empty string or a list of them",
        "targets": "a list of one or more targets, each a mapping with a model",
        "model": "the name of a model",
        "backend": "the name of a kind of backend",
        "base_url": "a URL such as http://127.0.0.1:8080/v1",
        "api_key_env": "the name of an environment variable",
        "headers": "a mapping of names to strings",
        "headers_env": "a mapping of names to environment variables",
        "tls": "a mapping with ca_file, verify or client_cert",
        "ca_file": "the path of a file with certificates (PEM)",
        "verify": "true or false",
        "client_cert": "the path of a file with a certificate and its key (PEM)",
        "device": "'auto', 'cpu', 'gpu' or 'npu'",
        "isolation": "'shared' or 'process'",
        "transport": "'http' or 'native'",
        "prices": "a mapping of models to prices, each with input_per_1m and output_per_1m",
        "price": "a mapping with input_per_1m and output_per_1m, or genai_prices",
        **dict.fromkeys(
            ("input_per_1m", "output_per_1m", "cached_input_per_1m", "reasoning_per_1m"),
            "a price of a million tokens, from 0 to 1,000,000,000",
        ),
        "currency": "the code of a currency (ISO 4217), such as USD or EUR",
        "source": "a non-empty string of 200 characters at most",
        "date": "a date such as 2026-11-30",
        "genai_prices": "a model's name in genai-prices, such as openai/gpt-4o",
        "model_cache": "the path of a folder",
        "catalog_url": "a URL",
        "options": "a mapping that JSON can hold",
        "models": "one model name or a list of different ones",
        "budgets": "one budget or a list of them, such as 'ttft_ms.p95 <= 500', or a mapping with default and models",
        "against": "what differs on the other side, such as 'concurrency=1'",
        "fail_on": "one rule or a list of them, such as 'ttft_ms.p50 > +10%'",
        "extra": "a mapping that JSON can hold",
        "name": "a non-empty string",
        "description": "a string",
        "version": "a string or a number",
        "prompt": "a non-empty string",
        "system": "a non-empty string",
        "template": "a non-empty string",
        "dataset": "the path of a file in the suite's folder or below",
        "dataset_column": "the name of a column",
        "dataset_order": "'sequential' or 'shuffled'",
        "expect_column": "the name of a column, or null",
        "variables": "a mapping of names to values or lists of values",
        "trace": "the path of a JSON Lines file in the suite's folder or below",
        "turns": "a list of one or more strings",
        "tokenizer": "the path of a tokenizer.json",
        "filler": "'prose', 'code' or 'json'",
        "input_tokens": "a number of tokens, {'uniform': [100, 200]} or {'normal': {'mean': 512, 'stdev': 64}}",
        "output_tokens": "a number of tokens, {'uniform': [100, 200]} or {'normal': {'mean': 512, 'stdev': 64}}",
        "prompt_file": "the path of a text file in the suite's folder or below",
        "messages": "a list of one or more messages, each with role and content",
        "role": "'system', 'developer', 'user' or 'assistant'",
        "content": "a string",
        "expected_output_length": "'short', 'medium' or 'long'",
        "expect": "a mapping with checks, such as contains, equals or regex",
        "checks": "a list of one or more mappings, each with checks such as contains, equals or regex",
        "contains": "a non-empty string or a list of them",
        "not_contains": "a non-empty string or a list of them",
        "contains_any": "a non-empty string or a list of them",
        "one_of": "a non-empty string or a list of them",
        "regex": "a non-empty string",
        "equals": "a non-empty string or a number",
        "number": "a number",
        "length": "a mapping with min or max, and unit",
        "min": "a whole number from 0 on",
        "max": "a whole number from 0 on",
        "unit": "'characters', 'words' or 'lines'",
        "json_path": "a mapping of paths such as $.items[0].name to values",
        "ignore_case": "true or false",
        "strip": "true or false",
        "calls": "a list of calls, each with name and args",
        "order": "'any', 'exact' or 'subsequence'",
        "score": "'strict' or 'weighted'",
        "match": "'exact' or 'normalised'",
        "weight": "a number over 0, at most 1,000,000",
        "json": "true",
        "json_schema": "a mapping",
        "judge": "a mapping with target, and rubric, labels or mode",
        "target": "a mapping with a model, and a backend or base_url",
        "mode": "'rubric' or 'pairwise'",
        "rubric": "the path of a text file in the suite's folder or below",
        "labels": "the path of a JSON Lines file in the suite's folder or below",
        "fail_under": "a share above 0 %, such as '90%'",
        "answers": "a whole number from 1 to 1,000",
        "max_requests": "a whole number from 1 to 10,000,000",
        "max_time_s": str(_SECONDS),
        "scenarios": "a list of one or more scenarios",
        "defaults": "a mapping of settings",
        "default_config": "a mapping of settings",
        "matrix": "a mapping of settings to lists of values",
        "$schema": "a string",
    }
)


def expected(key: str) -> str:
    """Return the allowed values of a suite's key, in words."""
    words = str(LIMITS[key]) if key in LIMITS else _WORDS.get(key, "something else")
    return f"{words}, or null" if key in NULLABLE else words


def check_setting(key: str, value: object, where: str) -> None:
    """Check one setting that did not come from a suite file.

    Suite files are checked as a whole.

    Raises:
        SuiteError: *key* can't have this *value*; the text begins with *where*.

    """
    if value is None and key in NULLABLE:
        return
    if key in LIMITS:
        good = LIMITS[key].accepts(value)
    elif key == "load":
        good = value in LOADS
    elif key in ("stream", "reasoning_tags"):
        good = isinstance(value, bool)
    elif key == "stream_options":
        good = isinstance(value, Mapping)
    elif key in _CHOICES:
        good = value in _CHOICES[key]
    else:
        good = True
    if not good:
        raise SuiteError(f"{where}: found {shown(value)}, expected {expected(key)}")
