"""Matrix of a suite document: settings and the values of each."""

from __future__ import annotations

from pydantic import Field, field_validator

from pytest_flperf.suite.schema import types
from pytest_flperf.suite.schema.base import Form

__all__ = ["MatrixForm"]


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
