"""Scenarios of a suite document: the prompt, its settings, expected answers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from pytest_flperf.suite.schema import types
from pytest_flperf.suite.schema.base import Form
from pytest_flperf.suite.schema.expect import ExpectForm
from pytest_flperf.suite.schema.judge import JudgeForm
from pytest_flperf.suite.schema.settings import SettingsForm

__all__ = ["PROMPT_KEYS", "MessageForm", "ScenarioForm"]

PROMPT_KEYS: Final = ("prompt", "prompt_file", "messages", "template", "dataset", "input_tokens", "turns", "trace")
_TOGETHER: Final = (["template", "dataset"], ["template", "dataset", "trace"])
"""Keys that go together; a trace goes with any other prompt."""
_ASKED_BY: Final = [{"required": [key]} for key in PROMPT_KEYS if key not in {"template", "dataset", "trace"}]
_MADE_OF: Final[dict[str, Any]] = {"anyOf": [{"required": ["template"]}, {"required": ["dataset"]}]}
_ONE_PROMPT: Final[list[Any]] = [
    *_ASKED_BY,
    _MADE_OF,
    {"required": ["trace"], "not": {"anyOf": [*_ASKED_BY, _MADE_OF]}},
]


class MessageForm(Form):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="Role of the message.")
    content: str = Field(description="Text of the message.")


class ScenarioForm(SettingsForm):
    """One kind of request: what is asked, and how often."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _ONE_PROMPT})

    name: types.Text = Field(description="Name of the scenario, unique in the suite.")
    description: str = Field("", description="What it is for.")
    system: types.Text | None = Field(
        None, description="System message before the prompt; null: none, not even the default one."
    )
    prompt: types.Text = Field("", description="The user's message.")
    prompt_file: types.Text = Field(
        "", description="Path of a text file with the prompt, in or below the suite file's folder."
    )
    messages: list[MessageForm] = Field([], min_length=1, description="A whole conversation, instead of a prompt.")
    template: types.Text = Field(
        "",
        description="Prompt as a Jinja template, filled from the variables and the dataset's columns; alone or with a "
        "dataset.",
    )
    variables: dict[types.Text, types.Scalar | Annotated[list[types.Scalar], Field(min_length=1)]] = Field(
        {}, description="Values of the template's variables; from a list, the seed picks one for each request."
    )
    dataset: types.Text = Field(
        "",
        description="Path of a file with prompts (.jsonl, .json, .csv, .tsv, .txt), in or below the suite file's "
        "folder.",
    )
    dataset_column: types.Text | None = Field(None, description="Column of the dataset that holds the prompts.")
    dataset_order: Literal["sequential", "shuffled"] = Field("sequential", description="Order of the dataset's rows.")
    expect_column: types.Text | None = Field(
        "expect",
        description="Column of the dataset that holds the expected answer of each row: a text (equals), a number, a "
        "list of texts (one of them), or what expect is. null: none does.",
    )
    input_tokens: types.Length | None = Field(
        None, description="Length of synthetic prompts in tokens: a number, or a uniform or normal distribution."
    )
    turns: list[types.Text] = Field([], min_length=1, description="The user's messages of a session, in order.")
    trace: types.Text = Field(
        "", description="Path of a JSON Lines file with due times, prompts or lengths, for load: trace."
    )
    expect: ExpectForm | None = Field(
        None,
        description="Expected answer, for rows without one of their own. Its score, from 0 to 1, is the metric "
        "quality.",
    )

    tool_results: types.ToolResults = Field(
        [],
        description="Results that are played for calls of the tools, each with name, args (as in expect: calls; any "
        "without) and result. The conversation goes on until the model answers. Rows of a dataset may have their own.",
    )
    tool_turns: types.ToolTurns = Field(
        8, description="Most turns of a conversation with played tool results: requests of one prompt."
    )
    judge: JudgeForm | None = Field(
        None,
        description="Another model that scores or compares the answers after the measurement, instead of the suite's; "
        "null: none does.",
    )

    @model_validator(mode="after")
    def _one_prompt(self) -> ScenarioForm:
        found = [key for key in PROMPT_KEYS if key in self.model_fields_set]
        if len(found) != 1 and found not in _TOGETHER and (len(found) != 2 or found[1] != "trace"):
            text = f"found {' and '.join(found) or 'no prompt'}, expected exactly one of {', '.join(PROMPT_KEYS)}"
            raise PydanticCustomError("flperf_prompt", "{text}", {"text": text})
        if self.system is not None and self.messages:
            text = "found system and messages, expected the system message as the first of the messages"
            raise PydanticCustomError("flperf_prompt", "{text}", {"text": text})
        return self
