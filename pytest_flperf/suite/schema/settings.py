"""Settings of a suite document: those of scenarios and of defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from pytest_flperf.suite.schema import types
from pytest_flperf.suite.schema.base import Form

__all__ = ["DefaultsForm", "LegacyDefaultsForm", "SettingsForm"]


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
