"""Schema of expectations: checks of answers, with options and weights."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pytest_flperf.quality.expectations import CHECKS
from pytest_flperf.quality.options import Tolerance
from pytest_flperf.quality.tools.expected import MOST_EXPECTED, MOST_TURNS, calls_problem
from pytest_flperf.suite.errors import shown
from pytest_flperf.suite.schema import types
from pytest_flperf.suite.schema.base import Form

__all__ = ["CheckForm", "ExpectForm", "LengthForm"]

_NUMERIC: Final = frozenset({"equals", "number", "json_path"})
_OF_TEXTS: Final = frozenset({"contains", "not_contains", "contains_any", "equals", "one_of", "regex", "json_path"})
_STRIPPED: Final = frozenset({"equals", "one_of", "json_path"})
_OF_CALLS: Final = frozenset({"calls"})
_NEEDS: Final = {
    "ignore_case": _OF_TEXTS,
    "strip": _STRIPPED,
    "tolerance": _NUMERIC,
    "order": _OF_CALLS,
    "score": _OF_CALLS,
    "match": _OF_CALLS,
    "expected": frozenset({"scorer"}),
    "turns": _OF_CALLS,
}
_Texts = Annotated[types.Texts, Field(min_length=1)]
_Count = Annotated[int, Field(ge=0)]
_MOST_NUMBER: Final = 1e300
_NAMED: Final = r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*"
_LONGEST_NAME: Final = 200


def _number(value: Any) -> Any:
    """A number that a float can hold; refuses anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST_NUMBER:
        return value
    raise PydanticCustomError("flperf_number", "{text}", {"text": f"found {shown(value)}, expected a number"})


def _text_or_number(value: Any) -> Any:
    if isinstance(value, str):
        if value.strip():
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST_NUMBER:
        return value
    text = f"found {shown(value)}, expected a non-empty string or a number"
    raise PydanticCustomError("flperf_equals", "{text}", {"text": text})


def _tolerance(value: Any) -> Any:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            Tolerance.of(value)
        except (ValueError, OverflowError):
            pass
        else:
            return value
    text = f"found {shown(value)}, expected a number from 0 on, or a percentage such as '1%'"
    raise PydanticCustomError("flperf_tolerance", "{text}", {"text": text})


def _calls(value: Any) -> Any:
    problem = calls_problem({"calls": value})
    if problem:
        text = problem.removeprefix("calls: ").removeprefix("calls")
        raise PydanticCustomError("flperf_calls", "{text}", {"text": text})
    types.json_text({"calls": value})
    return value


_CALL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "Name of the tool."},
        "args": {
            "type": "object",
            "description": "Allowed values by argument: a value, a list of which any will do ('': it may be absent), "
            "or a mapping with any, contains, regex, near, fuzzy, object, items or either. Without args, any will do.",
        },
    },
    "required": ["name"],
    "additionalProperties": False,
}
_Calls = Annotated[
    Any,
    BeforeValidator(_calls),
    WithJsonSchema({"type": "array", "items": _CALL, "maxItems": MOST_EXPECTED}),
]


def _json(value: Any) -> Any:
    types.json_text({"expected": value})
    return value


def _scorer(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= _LONGEST_NAME and re.fullmatch(_NAMED, value):
        return value
    text = f"found {shown(value)}, expected module:function, such as my_scorers:polite"
    raise PydanticCustomError("flperf_scorer", "{text}", {"text": text})


_Scorer = Annotated[Any, BeforeValidator(_scorer), WithJsonSchema({"type": "string", "pattern": f"^{_NAMED}$"})]
_Json = Annotated[Any, BeforeValidator(_json), WithJsonSchema({})]
_Number = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
_TextOrNumber = Annotated[
    Any,
    BeforeValidator(_text_or_number),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}),
]
_Tolerance = Annotated[
    Any,
    BeforeValidator(_tolerance),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "%$"}]}),
]


class LengthForm(Form):
    """Limits on the length of an answer."""

    min: _Count = Field(0, description="Fewest.")
    max: _Count | None = Field(None, description="Most.")
    unit: Literal["characters", "words", "lines"] = Field("characters", description="What is counted.")

    @model_validator(mode="after")
    def _some(self) -> LengthForm:
        if not {"min", "max"} & self.model_fields_set:
            text = "found neither min nor max, expected one of them"
            raise PydanticCustomError("flperf_expect", "{text}", {"text": text})
        if self.max is not None and self.max < self.min:
            text = f"found max {self.max} below min {self.min}, expected it above"
            raise PydanticCustomError("flperf_expect", "{text}", {"text": text})
        return self


class CheckForm(Form):
    """Checks of an answer, and the options that hold for them."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [name]} for name in CHECKS]})

    contains: _Texts = Field([], description="One text or several that the answer must contain.")
    not_contains: _Texts = Field([], description="One text or several of which the answer must contain none.")
    contains_any: _Texts = Field([], description="Texts of which the answer must contain one or more.")
    equals: _TextOrNumber = Field(
        "", description="The whole answer, apart from surrounding white space; a number is compared as a number."
    )
    one_of: _Texts = Field([], description="Texts of which one must be the whole answer.")
    regex: types.Text = Field("", description="A regular expression that must match somewhere in the answer.")
    number: _Number = Field(0, description="The last number in the answer, within the tolerance.")
    length: LengthForm | None = Field(None, description="Limits on the answer's length.")
    json_: Literal[True] = Field(True, alias="json", description="true: the answer must be JSON.")
    json_schema: dict[str, Any] = Field({}, description="The answer must be JSON that satisfies this JSON Schema.")
    json_path: Annotated[dict[types.Text, Any], Field(min_length=1)] = Field(
        {}, description="Paths such as $.items[0].name, and the values that the answer, which must be JSON, has there."
    )
    calls: _Calls = Field(
        [],
        description="Expected tool calls, each with a name and args: allowed values by argument. []: the answer must "
        "hold no call.",
    )
    scorer: _Scorer = Field(
        "",
        description="A function of your own that scores the answer, as module:function. The module is looked for "
        "beside the suite, then where Python finds modules; it runs in a process of its own.",
    )
    expected: _Json = Field(None, description="What the scorer is given as expected; rows may have their own.")
    order: Literal["any", "exact", "subsequence"] = Field(
        "any",
        description="Order of the expected calls: any, exact, or subsequence, which allows others between them.",
    )
    score: Literal["strict", "weighted"] = Field(
        "strict",
        description="strict: 1 where all calls are right, else 0; weighted: 0.6 for the tools and 0.4 for the "
        "arguments.",
    )
    turns: Annotated[int, Field(ge=1, le=MOST_TURNS)] = Field(
        1,
        description="Turns of the shortest right conversation, where tool results are played; default: one for each "
        "expected call, and one for the answer.",
    )
    match: Literal["exact", "normalised"] = Field(
        "exact",
        description="How texts of arguments are compared: exact, or normalised: without case, spaces and `,./-_*^`.",
    )
    ignore_case: bool = Field(False, description="Whether upper and lower case are the same to these checks.")
    strip: bool = Field(True, description="false: white space around the whole answer counts.")
    tolerance: _Tolerance = Field(
        0.0, description="How far a number may be off: an amount, or a share of what is expected, such as '1%'."
    )
    weight: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = Field(
        1.0, description="Weight of each of these checks in the score."
    )

    @field_validator("json_path")
    @classmethod
    def _values(cls, value: dict[str, Any]) -> dict[str, Any]:
        types.json_text(value)
        return value

    @model_validator(mode="after")
    def _some(self) -> CheckForm:
        given = {name.rstrip("_") for name in self.model_fields_set}
        used = given.intersection(CHECKS)
        if not used and "checks" not in given:
            text = f"found {', '.join(sorted(given)) or 'nothing'}, expected one or more of {', '.join(CHECKS)}"
            raise PydanticCustomError("flperf_expect", "{text}", {"text": text})
        for option, needed in _NEEDS.items():
            if option in given and not used & needed:
                text = f"found {option} without a check that it is for, expected one of {', '.join(sorted(needed))}"
                raise PydanticCustomError("flperf_expect", "{text}", {"text": text})
        return self


class ExpectForm(CheckForm):
    """Expected answer; each request gets a score from 0 to 1."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [name]} for name in (*CHECKS, "checks")]},
    )

    checks: Annotated[list[CheckForm], Field(min_length=1)] = Field(
        [], description="Several checks, each with options and a weight of its own, in place of those beside it."
    )

    @model_validator(mode="after")
    def _alone(self) -> ExpectForm:
        if sum("calls" in each.model_fields_set for each in self.checks) > 1:
            text = "found calls in several of the checks, expected them in one"
            raise PydanticCustomError("flperf_expect", "{text}", {"text": text})
        if "checks" in self.model_fields_set and len(self.model_fields_set) > 1:
            others = ", ".join(sorted(name.rstrip("_") for name in self.model_fields_set - {"checks"}))
            text = f"found {others} beside checks, expected them as one of the checks"
            raise PydanticCustomError("flperf_expect", "{text}", {"text": text})
        return self
