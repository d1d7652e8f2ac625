"""Which requests count for goodput: the limits, and what a metric without a value means for them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.gates.budgets import parse_budgets
from pytest_flperf.gates.goodput import request_limits
from pytest_flperf.results.metrics import METRICS, REQUEST_METRICS
from pytest_flperf.stats.descriptive.request_bounds import lacks_by_nature, worst_of
from pytest_flperf.stats.descriptive.request_metrics import request_metrics
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

MS = 1_000_000
START = 10**15


def answer(**changes: Any) -> Sample:
    """Ten tokens, the first after 50 ms, then one each 5 ms; the load process was done with it after 100 ms."""
    sent = changes.pop("sent_ns", START)
    stamps = changes.pop("chunk_ns", tuple(sent + (50 + 5 * number) * MS for number in range(10)))
    first, last = (stamps[0], stamps[-1]) if stamps else (None, None)
    fields: dict[str, Any] = {
        "index": 0, "phase": Phase.MEASURED, "target": 0, "stream": True, "slot": 0, "outcome": Outcome.OK,
        "evidence": None, "status": 200, "due_ns": None, "connect_ns": None, "started_ns": sent, "sent_ns": sent,
        "headers_ns": sent + MS, "first_token_ns": first, "first_answer_token_ns": first, "last_token_ns": last,
        "end_ns": sent + 95 * MS, "finished_ns": sent + 100 * MS, "chunk_ns": stamps, "coalesced_chunks": 0,
        "first_read_surplus": 0.0,
        "first_arrival_share": stamps.count(first) / len(stamps) if stamps.count(first) > 1 else 0.0,
        "first_read_window_ns": None, "output_text": "x", "reasoning_text": "",
        "finish_reason": "stop", "output_tokens": len(stamps), "prompt_tokens": 20, "cached_tokens": None,
        "reasoning_tokens": None, "tokens_source": "usage", "server_timings": None, "model_echoed": "m",
        "clock_source": "kernel", "clock_step": False, "lag_ns": (), "prompt_tokens_source": "usage",
        "visible_tokens": changes.get("output_tokens", len(stamps)), "tool_calls": (), "tagged": False,
        "unknown_fields": (),
    }  # fmt: skip
    return Sample(**{**fields, **changes})


def kept(sample: Sample, *budgets: str) -> bool:
    """Whether a request keeps these."""
    limits = request_limits("x", parse_budgets(budgets))
    assert limits is not None
    return limits(sample, request_metrics(sample))


ONE_TOKEN = answer(chunk_ns=(START + 50 * MS,))
WHOLE = answer(stream=False, chunk_ns=(), output_tokens=10)
TOOL_CALL = answer(first_answer_token_ns=None, output_text="")
LATE = answer(first_read_surplus=5.0)
STEPPED = answer(clock_step=True, connect_ns=3 * MS)


@pytest.mark.parametrize(
    ("sample", "budgets", "good"),
    [
        (answer(), ("ttft_ms.p95 <= 50", "e2e_ms.max <= 95", "tpot_ms.p50 <= 5", "tps.p5 >= 100"), True),
        (answer(), ("ttft_ms.p95 <= 49",), False),
        (answer(), ("ttft_ms.p95 <= 50", "e2e_ms.max <= 94"), False),
        # by nature
        (answer(), ("connect_ms.p95 <= 0.001",), True),
        (answer(connect_ns=3 * MS), ("connect_ms.p95 <= 2",), False),
        (answer(connect_ns=3 * MS), ("connect_ms.p95 <= 3",), True),
        (ONE_TOKEN, ("tpot_ms.p95 <= 0.001", "gen_tps.p5 >= 1e9"), True),
        (ONE_TOKEN, ("tpot_ms.p95 <= 0.001", "ttft_ms.p95 <= 49"), False),
        # all at once: by the worst that can have been, three tokens in the millisecond before
        (answer(chunk_ns=(START + MS,) * 3), ("gen_tps.p5 >= 2000", "tpot_ms.p95 <= 0.5"), True),
        (answer(chunk_ns=(START + MS,) * 3), ("gen_tps.p5 >= 2001",), False),
        (answer(visible_tokens=None), ("tpot_ms.p95 <= 1e6",), False),
        (WHOLE, ("ttft_ms.p95 <= 1", "tpot_ms.p95 <= 1", "e2e_ms.p95 <= 95"), True),
        (WHOLE, ("ttft_ms.p95 <= 1", "e2e_ms.p95 <= 94"), False),
        (TOOL_CALL, ("ttfat_ms.p95 <= 1",), True),
        (answer(), ("ttft_sent_ms.p95 <= 1", "e2e_sent_ms.p95 <= 1"), True),
        (answer(), ("server_prompt_ms.p95 <= 1", "server_tpot_ms.p95 <= 1", "server_prompt_tps.p5 >= 1e9"), True),
        # late reads and clock steps: by the worst that can have been
        (LATE, ("ttft_ms.p95 <= 50", "ttfat_ms.p95 <= 50", "prompt_tps.p5 >= 400"), True),
        (LATE, ("ttft_ms.p95 <= 49",), False),
        (LATE, ("prompt_tps.p5 >= 401",), False),
        # its time per token is from a first token that came too late: 5 ms are said, 95 / 9 are the worst
        (LATE, ("tpot_ms.p95 <= 5",), False),
        (LATE, ("tpot_ms.p95 <= 10.6", "gen_tps.p5 >= 94"), True),
        (LATE, ("gen_tps.p5 >= 199",), False),
        (answer(first_read_surplus=5.0, due_ns=START - 10 * MS), ("ttft_ms.p95 <= 59",), False),
        (answer(first_read_surplus=5.0, due_ns=START - 10 * MS), ("ttft_ms.p95 <= 60", "ttft_sent_ms.p95 <= 50"), True),
        (STEPPED, ("ttft_ms.p95 <= 100", "e2e_ms.p95 <= 100", "connect_ms.p95 <= 3", "tps.p5 >= 100"), True),
        (STEPPED, ("tpot_ms.p95 <= 11.2", "gen_tps.p5 >= 90"), True),
        (STEPPED, ("ttft_ms.p95 <= 99",), False),
        (STEPPED, ("e2e_ms.p95 <= 99",), False),
        (STEPPED, ("connect_ms.p95 <= 2",), False),
        (STEPPED, ("ttft_ms.p50 >= 1",), False),
        # not measured at all
        (answer(first_answer_token_ns=None, reasoning_text="hm", output_text=""), ("ttfat_ms.p95 <= 1e6",), False),
        (answer(output_tokens=None, tokens_source=None), ("tps.p5 >= 0.001",), False),
        (answer(output_tokens=None, tokens_source=None), ("tpot_ms.p5 <= 1e6",), False),
        (answer(prompt_tokens=None), ("prompt_tps.p5 >= 0.001",), False),
    ],
)
def test_limits(sample: Sample, budgets: tuple[str, ...], good: bool) -> None:
    """Null by nature keeps, a time that could not be told keeps by its bound, all else must be measured."""
    assert kept(sample, *budgets) is good


@pytest.mark.parametrize(
    "text", ["itl_ms.p99 <= 5", "dispatch_delay_ms.p99 <= 5", "ttft_ms.n >= 5", "quality.p50 >= 1"]
)
def test_what_is_no_limit_on_a_request(text: str) -> None:
    """Pooled gaps, our own lateness, counts and what is no latency; alone they make no goodput."""
    assert request_limits("x", parse_budgets([text])) is None
    assert kept(answer(due_ns=START - 40 * MS), text, "ttft_ms.p95 <= 90")


def test_the_limits_of_the_model() -> None:
    """A budget for a model stands in the place of those for all."""
    limits = request_limits("x", parse_budgets(["@a: ttft_ms.p95 <= 50", "ttft_ms.p95 <= 90"]), "a")
    assert limits is not None
    assert [limits(answer(), {"ttft_ms": value}) for value in (50, 51)] == [True, False]


SAMPLES = st.builds(
    lambda stream, late, step, tokens, connect, due: answer(
        stream=stream,
        chunk_ns=tuple(START + (50 + 5 * number) * MS for number in range(tokens)) if stream else (),
        output_tokens=tokens,
        first_read_surplus=late,
        clock_step=step,
        connect_ns=connect,
        due_ns=due,
    ),
    st.booleans(),
    st.sampled_from([0.0, 5.0]),
    st.booleans(),
    st.integers(1, 10),
    st.none() | st.just(MS),
    st.none() | st.just(START - MS),
)
TIMED = [name for name in REQUEST_METRICS if METRICS[name].unit in {"ms", "tokens/s"} and name != "itl_ms"]


@given(SAMPLES)
def test_every_metric_has_a_value_a_bound_or_a_reason(sample: Sample) -> None:
    """Of an answer whose tokens are counted nothing is left that nobody can say."""
    metrics = request_metrics(sample)
    for name in TIMED:
        if metrics[name] is None and name != "dispatch_delay_ms":
            assert lacks_by_nature(sample, name) or worst_of(sample, name) is not None, name


@given(SAMPLES)
def test_a_bound_is_no_better_than_the_value(sample: Sample) -> None:
    """Where there is a value, the worst that it can be is not better than it."""
    metrics = request_metrics(sample)
    for name in TIMED:
        value, worst = metrics[name], worst_of(sample, name)
        if value is not None and worst is not None:
            assert worst >= value * (1 - 1e-9) if METRICS[name].unit == "ms" else worst <= value * (1 + 1e-9)
