"""Suite document: pydantic schema of suite files, JSON Schema for editors.

One schema for JSON, YAML and TOML.  Pydantic's models are in this folder (the types of their fields in ``types``) and
nowhere else in the package: import it only when a suite is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pytest_flperf.suite.schema import types
from pytest_flperf.suite.schema.base import Form, PriceForm, TargetForm, TlsForm
from pytest_flperf.suite.schema.expect import CheckForm, ExpectForm, LengthForm
from pytest_flperf.suite.schema.judge import JudgeForm
from pytest_flperf.suite.schema.matrix import MatrixForm
from pytest_flperf.suite.schema.scenario import MessageForm, ScenarioForm
from pytest_flperf.suite.schema.settings import DefaultsForm, LegacyDefaultsForm
from pytest_flperf.suite.setting_limits import LIMITS, expected

__all__ = ["SuiteForm", "expectation", "json_schema", "known_keys"]


class SuiteForm(Form):
    """A suite of benchmark scenarios for pytest-flperf."""

    schema_: str = Field("", alias="$schema", description="URL or path of this schema, for editors.")
    name: types.Text = Field("", description="Name of the suite; default: that of its file.")
    description: str = Field("", description="What the suite is for.")
    version: Annotated[
        str, BeforeValidator(types.version_text), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})
    ] = Field("", description="Version of the suite, for readers.")
    defaults: DefaultsForm | None = Field(None, description="Default settings of all scenarios.")
    default_config: LegacyDefaultsForm | None = Field(None, description="Older form of defaults.")
    models: Annotated[types.Texts, Field(min_length=1)] = Field(
        [], description="Models to measure if the command line names none."
    )
    targets: list[TargetForm] = Field([], min_length=1, description="Models with their servers, instead of models.")
    prices: dict[types.Text, PriceForm] = Field(
        {}, description="Prices of tokens by model, target or pattern of these; the first pattern that fits holds."
    )
    matrix: MatrixForm | None = Field(
        None, description="Settings and their values: each combination makes its own case."
    )
    budgets: types.Budgets = Field(
        [], description="Limits that every case must meet, in addition to those of its scenario."
    )
    fail_on: types.Texts = Field(
        [], description="Comparison rules for every case, in addition to those of its scenario."
    )
    judge: JudgeForm | None = Field(
        None,
        description="Another model that scores or compares the answers of all scenarios after the measurement.",
    )
    scenarios: list[ScenarioForm] = Field(min_length=1, description="The scenarios: what is asked of the models.")

    _different = field_validator("models")(types.refuse_repeated)

    @model_validator(mode="after")
    def _one_form_of_each(self) -> SuiteForm:
        if self.defaults is not None and self.default_config is not None:
            text = "found defaults and default_config (the older form), expected one of them"
            raise PydanticCustomError("flperf_defaults", "{text}", {"text": text})
        if self.models and self.targets:
            text = "found models and targets, expected one of them"
            raise PydanticCustomError("flperf_targets", "{text}", {"text": text})
        return self


def known_keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the allowed keys of the mapping at *path*.

    ``()`` where any key is allowed.
    """
    forms: dict[tuple[str, ...], type[Form]] = {
        (): SuiteForm,
        ("defaults",): DefaultsForm,
        ("default_config",): LegacyDefaultsForm,
        ("matrix",): MatrixForm,
        ("targets",): TargetForm,
        ("targets", "tls"): TlsForm,
        ("targets", "price"): PriceForm,
        ("scenarios",): ScenarioForm,
        ("judge",): JudgeForm,
        ("judge", "target"): TargetForm,
        ("judge", "target", "tls"): TlsForm,
        ("scenarios", "judge"): JudgeForm,
        ("scenarios", "judge", "target"): TargetForm,
        ("scenarios", "judge", "target", "tls"): TlsForm,
        ("scenarios", "messages"): MessageForm,
        ("scenarios", "expect"): ExpectForm,
        ("scenarios", "expect", "checks"): CheckForm,
        ("scenarios", "expect", "length"): LengthForm,
        ("scenarios", "expect", "checks", "length"): LengthForm,
    }
    names = tuple(part for part in path if isinstance(part, str))
    form = PriceForm if names[:1] == ("prices",) and len(names) == 2 else forms.get(names)
    return () if form is None else tuple(field.alias or name for name, field in form.model_fields.items())


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a suite file (draft 2020-12), for editors.

    Some checks only the loader can do: unique names, existing prompt files, different values in the matrix.
    """
    schema = SuiteForm.model_json_schema(by_alias=True)
    _tidy(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pytest-flperf suite", **schema}


def _tidy(schema: Any) -> None:
    """Remove titles and empty defaults.

    An editor would show titles in place of the keys.
    """
    if isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        if "default" in schema and schema["default"] in (None, "", [], {}):
            del schema["default"]
        for inner in schema.values():
            _tidy(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _tidy(inner)


def expectation(path: tuple[str | int, ...]) -> str:
    """Return the allowed value at *path* of a suite, in words."""
    names = [part for part in path if isinstance(part, str)]
    key = names[-1] if names else ""
    in_list = bool(path) and isinstance(path[-1], int)
    if not names:
        return "a mapping with the key 'scenarios'"
    if names[0] == "prices" and len(names) == 2:
        return expected("price")
    if names[0] == "matrix" and len(names) == 2:
        item = expected(key) if key != "stop" else "a non-empty string"
        return item if in_list else f"a list of one or more values, each {item}"
    if in_list:
        items = {"scenarios": "a mapping with a name and a prompt", "messages": "a mapping with role and content"}
        items["targets"] = "a mapping with a model, and a backend or base_url"
        return expected(key) if key in LIMITS else items.get(key, "a non-empty string")
    return expected(key)


if __name__ == "__main__":  # renew the copy that editors read
    Path(__file__).with_name("suite.schema.json").write_text(
        json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
