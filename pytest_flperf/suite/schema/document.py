"""Suite document: pydantic schema of suite files, JSON Schema for editors.

One schema for JSON, YAML and TOML.  Pydantic's models are here (the types of their fields in ``types``) and nowhere
else in the package: import this module only when a suite is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pytest_flperf.suite.schema import types
from pytest_flperf.suite.schema.base import Form, PriceForm, TargetForm, TlsForm
from pytest_flperf.suite.schema.expect import CheckForm, ExpectForm, LengthForm
from pytest_flperf.suite.schema.judge import JudgeForm
from pytest_flperf.suite.setting_limits import LIMITS, expected

__all__ = ["PROMPT_KEYS", "ScenarioForm", "SuiteForm", "expectation", "json_schema", "known_keys"]

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


class SettingsForm(Form):
    """Settings that a suite's defaults and each of its scenarios may have."""

    iterations: types.Iterations = Field(
        5,
        description="Number of measured requests, over all streams together. Where repeat is set, or rows of a dataset "
        "have expectations, the default asks each prompt, as often as repeat says.",
    )
    repeat: types.Repeat = Field(
        1, description="How often each prompt is asked; one pass over all prompts follows the other."
    )
    warmup: types.Warmup | None = Field(
        None, description="Warm-up requests before the measured ones; default: one per stream, at most four."
    )
    concurrency: types.Concurrencies = Field(
        [1],
        json_schema_extra={"default": 1},
        description="Number of requests in flight at the same time (streams). Each value of a list makes its own case.",
    )
    load: types.Load = Field(
        "closed",
        description="When requests are sent. Closed loops: closed (a stream sends its next request when the last one "
        "has ended), session (the same, with chats that keep their history). Open loops, which send requests when "
        "they are due: constant, poisson, gamma, burst, ramp, trace. search looks for the highest load that meets "
        "the budgets.",
    )
    rate: types.Rates | None = Field(
        None,
        description="Requests per second of an open loop; of a ramp, at its start. Each value of a list makes its own "
        "case.",
    )
    rate_to: types.Rate | None = Field(None, description="Requests per second at the end of a ramp.")
    burstiness: types.Burstiness | None = Field(
        None, description="Burstiness of gamma arrivals: 1 is Poisson, less is burstier, more is more even."
    )
    burst_size: types.BurstSize | None = Field(
        None, description="Number of requests that are due at the same time, in a burst."
    )
    max_in_flight: types.MaxInFlight = Field(
        1_000, description="Highest number of requests in flight in an open loop; further ones wait."
    )
    think_time_s: types.Pause = Field(
        0.0, description="Think time: pause of a stream after each request of a closed loop, in seconds."
    )
    search_over: types.SearchOver = Field(
        "concurrency", description="Load that a search varies: concurrency (closed loop) or rate (Poisson arrivals)."
    )
    search_from: types.Rate = Field(1.0, description="Lowest load of a search.")
    search_to: types.Rate | None = Field(None, description="Highest load of a search.")
    duration_s: types.Seconds | None = Field(
        None, description="How long requests are sent, in seconds; instead of iterations or with them."
    )
    ramp_up_s: types.Pause = Field(0.0, description="Ramp-up in seconds: streams or rate rise; in no statistic.")
    cool_down_s: types.Pause = Field(0.0, description="Cool-down in seconds, at the end; in no statistic.")
    timeout_s: types.Seconds = Field(120.0, description="Timeout of a whole request, in seconds.")
    connect_timeout_s: types.Seconds = Field(5.0, description="Timeout of the connection, in seconds.")
    headers_timeout_s: types.Seconds | None = Field(
        60.0,
        description="Timeout of the response head, in seconds; null: none. Requests without streaming have none "
        "unless it is set.",
    )
    first_token_timeout_s: types.Seconds | None = Field(
        60.0, description="Timeout of the first text, in seconds; null: none."
    )
    stall_timeout_s: types.Seconds | None = Field(
        30.0, description="Longest pause between two pieces of text, in seconds; null: no limit."
    )
    max_answer_mb: types.AnswerSize = Field(
        64.0, description="Largest answer in MiB, headers included; a larger one ends there as answer_too_large."
    )
    reasoning_tags: bool = Field(
        True,
        description="Whether <think>…</think> and similar tags mark reasoning, which is no part of the answer.",
    )
    retries: types.Retries = Field(
        0,
        description="Retries of a request after a temporary failure (no connection, a timeout, 429, 502 to 504). The "
        "first attempt counts in the error rate.",
    )
    retry_backoff_s: types.Backoff = Field(
        0.5,
        description="Pause before the first retry, in seconds. It doubles with each retry, and is at least as long as "
        "the server asks for (Retry-After).",
    )
    failures: types.Failures = Field(
        "apart",
        description="apart: failed requests are in no latency statistic; as_inf: percentiles count them as infinitely "
        "slow.",
    )
    max_tokens: types.MaxTokens | None = Field(
        150, description="Maximum length of an answer, in tokens; null: not sent, the server decides."
    )
    max_tokens_key: types.MaxTokensKey | None = Field(
        None,
        description="Name of max_tokens in requests: max_tokens or max_completion_tokens; null: the one that the "
        "server accepts.",
    )
    temperature: types.Temperature | None = Field(
        0.0,
        description="Sampling temperature. 0 (the default) makes runs comparable; null: not sent, the server decides.",
    )
    top_p: types.TopP | None = Field(None, description="Nucleus sampling; null: not sent.")
    top_k: types.TopK | None = Field(None, description="Sampling from the k most likely tokens; null: not sent.")
    presence_penalty: types.Penalty | None = Field(
        None, description="Penalty for tokens that have occurred before; null: not sent."
    )
    frequency_penalty: types.Penalty | None = Field(
        None, description="Penalty for tokens that grows with each occurrence; null: not sent."
    )
    reasoning_effort: types.Effort | None = Field(
        None, description="Reasoning effort of a reasoning model; null: not sent."
    )
    seed: types.Seed | None = Field(None, description="Sampling seed; null: not sent.")
    stop: types.Stops = Field([], description="Stop sequences: one text or several that end the answer.")
    stream: bool | None = Field(
        True,
        description="Whether answers are streamed. Without streaming there are no token times. null: not sent, and "
        "whole answers are expected.",
    )
    stream_options: types.StreamOptions | None = Field(
        {"include_usage": True},
        validate_default=True,
        description="Options of streamed requests; the default asks for the server's token counts. null: not sent.",
    )
    tools: types.Tools | None = Field(
        None,
        description="Tools that the model may call, in OpenAI's form, sent as they are; null: none. Rows of a dataset "
        "may have their own.",
    )
    tool_choice: types.ToolChoice | None = Field(
        None,
        description="auto, none, required, or the function that the model must call; null: not sent. A list such as "
        "[required, auto]: servers that don't take the first are asked with auto, and the results say so.",
    )
    tags: types.Texts = Field([], description="Labels to select scenarios by.")
    budgets: types.Budgets = Field(
        [], description="Limits that a case must meet, such as 'ttft_ms.p95 <= 500' or 'error_rate <= 1%'."
    )
    fail_on: types.Texts = Field(
        [],
        description="Comparison rules: a compared case fails if it got worse by more than this, such as 'ttft_ms.p50 "
        "> +10%'.",
    )
    against: str = Field(
        "",
        max_length=1_000,
        description="Measure each case in turns with another side of it, such as 'concurrency=1' or 'temperature=0.7': "
        "what differs there, among settings of the requests and concurrency.",
    )
    extra: dict[str, Any] = Field({}, description="Further keys of the request's JSON, sent as they are.")
    prompt_cache: types.PromptCache = Field(
        "avoid",
        description="avoid: a short unique prefix keeps the server from using its prompt cache; reuse: prompts are "
        "sent unchanged.",
    )
    context_tokens: types.Contexts | None = Field(
        None,
        description="Prompt length in tokens, reached with filler text; 0: no filler. Each value of a list makes its "
        "own case.",
    )
    output_tokens: types.Length | None = Field(
        None, description="max_tokens of each request: a number, or a uniform or normal distribution."
    )
    shared_prefix_tokens: types.SharedPrefix | None = Field(
        None,
        description="Length in tokens of a text at the start of all prompts of a case, to measure prompt caches on "
        "purpose.",
    )
    filler: Literal["prose", "code", "json"] = Field("prose", description="Kind of filler text.")
    tokenizer: types.Text | None = Field(
        None,
        description="Path of a tokenizer.json that counts tokens; without it, the server's usage shows how it counts.",
    )
    expected_output_length: types.OutputLength | None = Field(
        None, description="Shown with the results; sets max_tokens to 50, 150 or 400 if that is missing."
    )

    _extra_is_json = field_validator("extra")(types.json_only)


class DefaultsForm(SettingsForm):
    """Default settings of all scenarios."""

    system: types.Text | None = Field(None, description="System message of scenarios with a prompt or a prompt_file.")


class LegacyDefaultsForm(Form):
    """Older form of the defaults.  New suites have `defaults`."""

    iterations: types.Iterations = Field(5, description="Number of measured requests, over all streams together.")
    concurrency: types.Concurrency = Field(1, description="Requests in flight at the same time (streams).")
    timeout: Annotated[float, Field(ge=1, le=86_400_000, allow_inf_nan=False)] = Field(
        30_000, description="Deadline of a whole request, in milliseconds (timeout_s in seconds in `defaults`)."
    )
    temperature: types.Temperature | None = Field(0.0, description="Sampling temperature; null: not sent.")
    streaming: bool = Field(True, description="Whether answers are streamed (stream in `defaults`).")


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


class MatrixForm(Form):
    """Settings and their values: each combination makes its own case."""

    iterations: list[types.Iterations] = Field([], min_length=1, description="Values of iterations.")
    repeat: list[types.Repeat] = Field([], min_length=1, description="Values of repeat.")
    warmup: list[types.Warmup | None] = Field([], min_length=1, description="Values of warmup.")
    concurrency: list[types.Concurrency] = Field([], min_length=1, description="Values of concurrency.")
    load: list[types.Load] = Field([], min_length=1, description="Values of load.")
    rate: list[types.Rate | None] = Field([], min_length=1, description="Values of rate.")
    rate_to: list[types.Rate | None] = Field([], min_length=1, description="Values of rate_to.")
    burstiness: list[types.Burstiness | None] = Field([], min_length=1, description="Values of burstiness.")
    burst_size: list[types.BurstSize | None] = Field([], min_length=1, description="Values of burst_size.")
    max_in_flight: list[types.MaxInFlight] = Field([], min_length=1, description="Values of max_in_flight.")
    think_time_s: list[types.Pause] = Field([], min_length=1, description="Values of think_time_s.")
    search_over: list[types.SearchOver] = Field([], min_length=1, description="Values of search_over.")
    search_from: list[types.Rate] = Field([], min_length=1, description="Values of search_from.")
    search_to: list[types.Rate | None] = Field([], min_length=1, description="Values of search_to.")
    duration_s: list[types.Seconds | None] = Field([], min_length=1, description="Values of duration_s.")
    ramp_up_s: list[types.Pause] = Field([], min_length=1, description="Values of ramp_up_s.")
    cool_down_s: list[types.Pause] = Field([], min_length=1, description="Values of cool_down_s.")
    timeout_s: list[types.Seconds] = Field([], min_length=1, description="Values of timeout_s.")
    connect_timeout_s: list[types.Seconds] = Field([], min_length=1, description="Values of connect_timeout_s.")
    headers_timeout_s: list[types.Seconds | None] = Field([], min_length=1, description="Values of headers_timeout_s.")
    first_token_timeout_s: list[types.Seconds | None] = Field(
        [], min_length=1, description="Values of first_token_timeout_s."
    )
    stall_timeout_s: list[types.Seconds | None] = Field([], min_length=1, description="Values of stall_timeout_s.")
    max_answer_mb: list[types.AnswerSize] = Field([], min_length=1, description="Values of max_answer_mb.")
    reasoning_tags: list[bool] = Field([], min_length=1, description="Values of reasoning_tags.")
    retries: list[types.Retries] = Field([], min_length=1, description="Values of retries.")
    retry_backoff_s: list[types.Backoff] = Field([], min_length=1, description="Values of retry_backoff_s.")
    failures: list[types.Failures] = Field([], min_length=1, description="Values of failures.")
    max_tokens: list[types.MaxTokens | None] = Field([], min_length=1, description="Values of max_tokens.")
    max_tokens_key: list[types.MaxTokensKey | None] = Field([], min_length=1, description="Values of max_tokens_key.")
    temperature: list[types.Temperature | None] = Field([], min_length=1, description="Values of temperature.")
    top_p: list[types.TopP | None] = Field([], min_length=1, description="Values of top_p.")
    top_k: list[types.TopK | None] = Field([], min_length=1, description="Values of top_k.")
    presence_penalty: list[types.Penalty | None] = Field([], min_length=1, description="Values of presence_penalty.")
    frequency_penalty: list[types.Penalty | None] = Field([], min_length=1, description="Values of frequency_penalty.")
    reasoning_effort: list[types.Effort | None] = Field([], min_length=1, description="Values of reasoning_effort.")
    seed: list[types.Seed | None] = Field([], min_length=1, description="Values of seed.")
    stop: list[types.StopText] = Field([], min_length=1, description="Values of stop, one text each.")
    stream: list[bool | None] = Field([], min_length=1, description="Values of stream.")
    stream_options: list[types.StreamOptions | None] = Field([], min_length=1, description="Values of stream_options.")
    context_tokens: list[types.Context | None] = Field([], min_length=1, description="Values of context_tokens.")
    prompt_cache: list[types.PromptCache] = Field([], min_length=1, description="Values of prompt_cache.")

    _different = field_validator("*")(types.refuse_repeated)


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
