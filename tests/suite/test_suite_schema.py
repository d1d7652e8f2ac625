"""The JSON Schema for editors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pytest_flperf.suite.discovery import packaged_folder
from pytest_flperf.suite.model import Settings
from pytest_flperf.suite.schema import document as schema_module
from pytest_flperf.suite.schema.document import SuiteForm, json_schema, known_keys
from pytest_flperf.suite.schema.matrix import MatrixForm
from pytest_flperf.suite.schema.settings import DefaultsForm, SettingsForm
from pytest_flperf.suite.setting_limits import LIMITS, NULLABLE, expected
from pytest_flperf.suite.settings import MATRIX_KEYS, SETTING_KEYS, with_values

STORED = Path(schema_module.__file__).with_name("suite.schema.json")


def described(node: Any, path: str = "") -> dict[str, str]:
    """Return the description of each property in a schema."""
    found: dict[str, str] = {}
    for name, inner in node.items() if isinstance(node, dict) else ():
        if name == "properties":
            found |= {f"{path}.{key}": value.get("description", "") for key, value in inner.items()}
        found |= described(inner, f"{path}.{name}")
    return found


def test_stored_schema_is_current() -> None:
    """The copy in the package is what the models say; `python -m pytest_flperf.suite.schema.document` renews it."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    # the rest of the schema changes its wording with versions of pydantic; keys and meanings are ours
    assert described(stored) == described(json_schema())


def test_every_key_is_described() -> None:
    """An editor shows a meaning for each key."""
    descriptions = described(json_schema())
    assert len(descriptions) > 60
    assert [key for key, text in descriptions.items() if not text] == []
    assert "$schema" in json_schema()["properties"]


@pytest.mark.parametrize("path", sorted(packaged_folder().glob("*.yaml")), ids=lambda path: path.stem)
def test_packaged_suites_follow_the_schema(path: Path) -> None:
    """What ships is valid for the loader and for editors."""
    jsonschema.Draft202012Validator(json_schema()).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_examples_in_the_readme_are_valid() -> None:
    """What the suites' README shows can be copied."""
    text = (packaged_folder() / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        assert SuiteForm.model_validate(yaml.safe_load(example)).scenarios


@pytest.mark.parametrize(
    ("suite", "valid"),
    [
        ({"scenarios": [{"name": "a", "prompt": "x"}]}, True),
        ({"$schema": "x", "version": 1, "scenarios": [{"name": "a", "prompt": "x", "stop": "y"}]}, True),
        ({"scenarios": [{"name": "a", "prompt": "x", "stop": ["y"], "max_tokens": None}]}, True),
        ({"default_config": {"timeout": 30000}, "scenarios": [{"name": "a", "prompt": "x"}]}, True),
        ({"matrix": {"concurrency": [1, 2]}, "scenarios": [{"name": "a", "prompt_file": "x"}]}, True),
        ({"scenarios": [{"name": "a", "prompt": "x", "stream_options": None, "stream": None}]}, True),
        ({"scenarios": [{"name": "a", "prompt": "x", "stream_options": {"include_usage": False}}]}, True),
        ({"scenarios": [{"name": "a", "prompt": "x", "max_tokens_key": "max_completion_tokens"}]}, True),
        ({"scenarios": [{"name": "a", "prompt": "x", "stream_options": []}]}, False),
        ({"scenarios": [{"name": "a", "prompt": "x", "max_tokens_key": "max_new_tokens"}]}, False),
        ({"matrix": {"stream_options": [None, {"a": 1}]}, "scenarios": [{"name": "a", "prompt": "x"}]}, True),
        ({"scenarios": []}, False),
        ({"scenarios": [{"name": "a"}]}, False),
        ({"scenarios": [{"name": "a", "prompt": "x", "prompt_file": "y"}]}, False),
        ({"scenarios": [{"name": "a", "prompt": "x", "max_tokens": 0}]}, False),
        ({"scenarios": [{"name": "a", "prompt": "x", "max_tokns": 1}]}, False),
        ({"matrix": {"concurrency": []}, "scenarios": [{"name": "a", "prompt": "x"}]}, False),
    ],
)
def test_schema_and_loader_agree(suite: dict[str, Any], valid: bool) -> None:
    """An editor calls wrong what the loader refuses, and nothing else."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(suite) is valid
    try:
        SuiteForm.model_validate(suite)
    except ValueError:
        assert not valid
    else:
        assert valid


def test_tables_agree() -> None:
    """Schema, matrix, settings and the words of messages know the same keys."""
    assert tuple(MatrixForm.model_fields) == MATRIX_KEYS
    assert set(SETTING_KEYS) < set(SettingsForm.model_fields)
    assert set(LIMITS) - {"shared_prefix_tokens", "tool_turns"} < set(MATRIX_KEYS)
    for form in (SuiteForm, DefaultsForm):
        for name, field in form.model_fields.items():
            assert expected(field.alias or name) != "something else"
    for key in NULLABLE:
        assert "null" in expected(key)
        assert any(part.get("type") == "null" for part in SettingsForm.model_json_schema()["properties"][key]["anyOf"])
    assert known_keys(("scenarios", 3, "messages", 0)) == ("role", "content")
    assert known_keys(("scenarios", 3, "extra")) == ()


def test_defaults_of_the_schema_are_those_of_the_settings() -> None:
    """What an editor shows as default is what is played."""
    form = SettingsForm.model_validate({})
    values = {key: getattr(form, key) for key in SETTING_KEYS if key != "extra"}
    (values["concurrency"],) = values["concurrency"]
    assert with_values(Settings(), values) == Settings()
