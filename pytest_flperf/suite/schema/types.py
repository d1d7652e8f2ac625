"""Types of the suite schema: allowed values of each key."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from pytest_flperf.quality.tools.definitions import AUTO, CHOICES, tools_problem
from pytest_flperf.quality.tools.matchers import FormError
from pytest_flperf.quality.tools.played import MOST_RESULTS, PlayedResults
from pytest_flperf.suite.errors import SuiteError, key_path, shown
from pytest_flperf.suite.prices import currency_problem, date_problem
from pytest_flperf.suite.prompts.lengths import Lengths, lengths_of
from pytest_flperf.suite.schema.budgets import BudgetFormError, budget_texts
from pytest_flperf.suite.setting_limits import LIMITS

OWN_KEYS: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "reasoning_effort",
        "seed",
        "stop",
        "tools",
        "tool_choice",
    }
)
"""Keys of a request with a setting of their own (or that we fill in), not allowed in ``extra``."""


def listed(value: object) -> object:
    """Return a single text as a list of one."""
    return [value] if isinstance(value, str) else value


def budgets(value: object) -> object:
    """Return budgets of any form as a list of texts.

    Refuses anything else.
    """
    if not isinstance(value, dict):
        return listed(value)
    try:
        return [text for _, text in budget_texts(value)]
    except BudgetFormError as error:
        place = key_path(error.path)
        found = "" if error.expected.startswith("unknown key") else f"found {shown(error.found)}, expected "
        raise PydanticCustomError("flperf_budgets", "{text}", {"text": f"{place}: {found}{error.expected}"}) from None


def number_listed(value: object) -> object:
    """Return a single value as a list of one; null stays."""
    return value if value is None or isinstance(value, list) else [value]


def version_text(value: object) -> object:
    """Return a number or a date as text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    return value.isoformat() if hasattr(value, "isoformat") else value  # YAML and TOML read 2026-01-31 as a date


def refuse_repeated(values: list[Any]) -> list[Any]:
    """Refuse a list with repeated values."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise PydanticCustomError("flperf_repeated", "{text}", {"text": f"found {shown(value)} more than once"})
        seen.add(value)
    return values


def json_only(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse values that don't fit into a request's JSON.

    The depth is bounded by the loader.
    """
    todo: list[tuple[tuple[str | int, ...], object]] = [((), value)]
    while todo:
        path, item = todo.pop()
        if isinstance(item, dict):
            todo.extend(((*path, str(key)), inner) for key, inner in item.items())
        elif isinstance(item, list):
            todo.extend(((*path, index), inner) for index, inner in enumerate(item))
        elif not (item is None or isinstance(item, (str, bool, int)) or _is_finite(item)):
            text = f"{key_path(path)}: found {shown(item)}, expected something that JSON can hold"
            raise PydanticCustomError("flperf_extra", "{text}", {"text": text})
    for key in sorted(OWN_KEYS & set(value)):
        text = f"found {key!r} in extra, expected it as a separate setting or not at all"
        raise PydanticCustomError("flperf_extra", "{text}", {"text": text})
    return value


def json_text(value: dict[str, Any]) -> str:
    """Return a mapping as JSON text, which a matrix can hold.

    Refuses what JSON can't hold.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        text = f"found {shown(value)}, expected something that JSON can hold"
        raise PydanticCustomError("flperf_json", "{text}", {"text": text}) from None


def tools(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refuse what is no list of tools in OpenAI's form, or no JSON."""
    problem = tools_problem(value)
    if problem:
        raise PydanticCustomError("flperf_tools", "{text}", {"text": problem})
    for tool in value:
        json_text(tool)
    return value


def tool_results(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refuse what is no table of tool results; which tools there are, a scenario knows."""
    try:
        PlayedResults(value, ())
    except FormError as error:
        raise PydanticCustomError("flperf_tools", "{text}", {"text": str(error).removeprefix(": ")}) from None
    return value


def tool_choice(value: object) -> object:
    """Refuse what is no choice, and no list of one and auto; which tools there are, a scenario knows."""
    first = value[0] if isinstance(value, list) and len(value) == 2 and value[1] == AUTO else value
    if isinstance(first, dict) or (isinstance(first, str) and first in CHOICES and not (first == AUTO != value)):
        return value
    words = ", ".join(map(repr, CHOICES))
    text = (
        f"found {shown(value)}, expected {words}, a mapping that names a function, or one of them and 'auto' in a list"
    )
    raise PydanticCustomError("flperf_tools", "{text}", {"text": text})


def currency(value: str) -> str:
    """Refuse what is no code of a currency."""
    return _refused(value, currency_problem(value))


def iso_date(value: str) -> str:
    """Refuse what is no date."""
    return _refused(value, date_problem(value))


def _refused(value: str, expected: str) -> str:
    if expected:
        text = f"found {shown(value)}, expected {expected}"
        raise PydanticCustomError("flperf_price", "{text}", {"text": text})
    return value


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def number(key: str) -> Any:
    """Return the bounds of a numeric setting."""
    limits = LIMITS[key]
    return Field(ge=limits.low, le=limits.high, allow_inf_nan=None if limits.whole else False)


def one_or_list(key: str) -> WithJsonSchema:
    """Return the JSON Schema of a number or a list of numbers.

    The numbers of a list differ.
    """
    limits = LIMITS[key]
    one = {"type": "integer" if limits.whole else "number", "minimum": limits.low, "maximum": limits.high}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}]})


def length(value: object) -> Lengths:
    """Return the lengths that *value* describes, or refuse it."""
    try:
        return lengths_of(value, "-")
    except SuiteError as error:
        raise PydanticCustomError("flperf_length", "{text}", {"text": str(error).removeprefix("-: ")}) from None


LENGTH_SCHEMA: Final = WithJsonSchema(
    {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {
                "type": "object",
                "properties": {
                    "uniform": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
                },
                "required": ["uniform"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "normal": {
                        "type": "object",
                        "properties": {key: {"type": "number"} for key in ("mean", "stdev", "min", "max")},
                        "required": ["mean", "stdev"],
                        "additionalProperties": False,
                    }
                },
                "required": ["normal"],
                "additionalProperties": False,
            },
        ]
    }
)
Length = Annotated[Any, BeforeValidator(length), LENGTH_SCHEMA]
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
TEXTS: Final = WithJsonSchema(
    {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}}]}
)
Texts = Annotated[list[Text], BeforeValidator(listed), TEXTS]
_BUDGETS: Final[dict[str, Any]] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}}]
}
Budgets = Annotated[
    list[Text],
    BeforeValidator(budgets),
    WithJsonSchema(
        {
            "anyOf": [
                *_BUDGETS["anyOf"],
                {
                    "type": "object",
                    "properties": {
                        "default": {**_BUDGETS, "description": "Limits for all models."},
                        "models": {
                            "type": "object",
                            "additionalProperties": _BUDGETS,
                            "description": "Limits for single models, by name or pattern. They replace the limit for "
                            "all models on the same metric, and add to the others.",
                        },
                    },
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
Stops = Annotated[list[StopText], Field(min_length=1, max_length=32), BeforeValidator(listed), TEXTS]

ONE_OR_MORE: Final = (Field(min_length=1), BeforeValidator(number_listed), AfterValidator(refuse_repeated))
"""Validators of a list that may be a single value instead."""
Iterations = Annotated[int, number("iterations")]
Repeat = Annotated[int, number("repeat")]
Warmup = Annotated[int, number("warmup")]
Concurrency = Annotated[int, number("concurrency")]
Concurrencies = Annotated[list[Concurrency], *ONE_OR_MORE, one_or_list("concurrency")]
Load = Literal["closed", "session", "constant", "poisson", "gamma", "burst", "ramp", "trace", "search"]
SearchOver = Literal["concurrency", "rate"]
Rate = Annotated[float, number("rate")]
Rates = Annotated[list[Rate], *ONE_OR_MORE, one_or_list("rate")]
Burstiness = Annotated[float, number("burstiness")]
BurstSize = Annotated[int, number("burst_size")]
MaxInFlight = Annotated[int, number("max_in_flight")]
Pause = Annotated[float, number("think_time_s")]
Seconds = Annotated[float, number("timeout_s")]
Retries = Annotated[int, number("retries")]
Backoff = Annotated[float, number("retry_backoff_s")]
AnswerSize = Annotated[float, number("max_answer_mb")]
Failures = Literal["apart", "as_inf"]
MaxTokens = Annotated[int, number("max_tokens")]
MaxTokensKey = Literal["max_tokens", "max_completion_tokens"]
StreamOptions = Annotated[dict[str, Any], AfterValidator(json_text)]
Temperature = Annotated[float, number("temperature")]
TopK = Annotated[int, number("top_k")]
Penalty = Annotated[float, number("presence_penalty")]
Effort = Literal["none", "minimal", "low", "medium", "high"]
TopP = Annotated[float, number("top_p")]
Seed = Annotated[int, number("seed")]
Context = Annotated[int, number("context_tokens")]
Contexts = Annotated[list[Context], *ONE_OR_MORE, one_or_list("context_tokens")]
SharedPrefix = Annotated[int, number("shared_prefix_tokens")]
Device = Literal["auto", "cpu", "gpu", "npu"]
Isolation = Literal["shared", "process"]
Transport = Literal["http", "native"]
Scalar = str | int | float | bool | None
Tools = Annotated[
    list[dict[str, Any]],
    AfterValidator(tools),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "type": {"const": "function", "description": "Always function."},
                    "function": {
                        "type": "object",
                        "description": "The function that the model may call.",
                        "properties": {
                            "name": {
                                "type": "string",
                                "pattern": r"^\S+$",
                                "maxLength": 256,
                                "description": "Name of the function.",
                            },
                            "description": {"type": "string", "description": "What it is for."},
                            "parameters": {"type": "object", "description": "JSON Schema of its arguments."},
                        },
                        "required": ["name"],
                    },
                },
                "required": ["type", "function"],
            },
        }
    ),
]
ToolResults = Annotated[
    list[dict[str, Any]],
    AfterValidator(tool_results),
    WithJsonSchema(
        {
            "type": "array",
            "maxItems": MOST_RESULTS,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "minLength": 1, "description": "Name of the tool."},
                    "args": {
                        "type": "object",
                        "description": "Arguments that it is the result for, as in expect: calls, without regex and "
                        "fuzzy; any without args.",
                    },
                    "result": {"description": "What the tool answers: a text, or JSON, which is sent as its text."},
                },
                "required": ["name", "result"],
                "additionalProperties": False,
            },
        }
    ),
]
ToolTurns = Annotated[int, number("tool_turns")]
ToolChoice = Annotated[
    Any,
    BeforeValidator(tool_choice),
    WithJsonSchema(
        {
            "anyOf": [
                *(choices := [{"enum": list(CHOICES)}, {"type": "object", "required": ["type", "function"]}]),
                {
                    "type": "array",
                    "prefixItems": [{"anyOf": choices}, {"const": AUTO}],
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        }
    ),
]
PromptCache = Literal["avoid", "reuse"]
OutputLength = Literal["short", "medium", "long"]
