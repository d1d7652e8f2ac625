"""Metrics of one request against the definitions of measuring.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_flperf.results.metrics import RATIOS, REQUEST_METRICS
from pytest_flperf.stats.descriptive.request_metrics import arrival_gaps_ns, is_late_read, request_metrics
from pytest_flperf.wire.sample import Sample

MS = 1_000_000
START = 10**15
Make = Callable[..., Sample]


def test_a_plain_stream(make_sample: Make) -> None:
    """Every metric of a request of ten tokens is what its definition says."""
    found = request_metrics(make_sample(connect_ns=2 * MS, first_answer_token_ns=START + 60 * MS))
    assert found == {
        "ttft_ms": 50.0,
        "ttfat_ms": 60.0,
        "tpot_ms": 5.0,
        "gen_tps": 200.0,
        "tps": pytest.approx(10 / 0.095),
        "prompt_tps": pytest.approx(20 / 0.050),
        "server_prompt_tps": None,
        "server_prompt_ms": None,
        "server_tpot_ms": None,
        "e2e_ms": 95.0,
        "output_tokens": 10,
        "prompt_tokens": 20,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "answer_tokens": 10,
        "request_cost": None,
        "connect_ms": 2.0,
        "dispatch_delay_ms": None,
        "ttft_sent_ms": None,
        "e2e_sent_ms": None,
    }
    assert {*found, *RATIOS.values(), "itl_ms", "quality"} == set(REQUEST_METRICS), "ratios are of pairs"


def test_without_streaming_nothing_is_guessed(make_sample: Make) -> None:
    """An answer in one piece has no TTFT, gap or TPOT, and ends with its body."""
    found = request_metrics(
        make_sample(stream=False, chunk_ns=(), end_ns=START + 200 * MS, output_tokens=10, tokens_source="usage")
    )
    assert found["e2e_ms"] == 200.0
    assert found["tps"] == pytest.approx(50.0)
    assert {name for name, value in found.items() if value is None} == {
        "ttft_ms",
        "ttfat_ms",
        "tpot_ms",
        "gen_tps",
        "prompt_tps",
        "server_prompt_tps",
        "server_prompt_ms",
        "server_tpot_ms",
        "cached_tokens",
        "reasoning_tokens",
        "request_cost",
        "connect_ms",
        "dispatch_delay_ms",
        "ttft_sent_ms",
        "e2e_sent_ms",
    }


def test_an_open_loop_counts_from_when_a_request_was_due(make_sample: Make) -> None:
    """What the client was late by is in the latency, and stands beside it; the server's own speed counts from sent."""
    closed = request_metrics(make_sample(first_answer_token_ns=START + 60 * MS))
    found = request_metrics(make_sample(due_ns=START - 7 * MS, first_answer_token_ns=START + 60 * MS))
    assert (found["ttft_ms"], found["ttfat_ms"], found["e2e_ms"]) == (57.0, 67.0, 102.0)
    assert (found["dispatch_delay_ms"], found["ttft_sent_ms"], found["e2e_sent_ms"]) == (7.0, 50.0, 95.0)
    for name in ("tps", "prompt_tps", "tpot_ms", "gen_tps"):
        assert found[name] == closed[name]


@pytest.mark.parametrize("tokens", [None, 0, 1])
def test_tpot_needs_two_tokens(make_sample: Make, tokens: int | None) -> None:
    """With fewer than two tokens there is no time per token."""
    found = request_metrics(make_sample(chunk_ns=(START + 50 * MS,), output_tokens=tokens))
    assert found["tpot_ms"] is None
    assert found["gen_tps"] is None
    assert found["ttft_ms"] == 50.0


def test_an_answer_that_came_at_once_has_no_rate(make_sample: Make) -> None:
    """All text in one read, as through a proxy that buffers: no time between tokens was seen, and zero is none."""
    found = request_metrics(make_sample(chunk_ns=(START + 50 * MS,) * 10))
    assert found["tpot_ms"] is None
    assert found["gen_tps"] is None


def test_clock_step_takes_all_times_out(make_sample: Make) -> None:
    """When realtime moved, only counts remain."""
    found = request_metrics(make_sample(clock_step=True, connect_ns=MS))
    assert {name for name, value in found.items() if value is not None} == {
        "output_tokens",
        "prompt_tokens",
        "answer_tokens",
    }


@pytest.mark.parametrize(
    ("surplus", "late"),
    [
        (0.0, False),
        (0.2, False),  # 0.2 × 5 ms = 1 ms: not over 1 ms
        (0.25, True),  # 1.25 ms, and over 1 % of 50 ms
        (3.0, True),
    ],
)
def test_late_read_by_doubt(make_sample: Make, surplus: float, late: bool) -> None:
    """The doubt is surplus × TPOT and counts over 1 ms."""
    sample = make_sample(first_read_surplus=surplus)
    assert is_late_read(sample) is late
    found = request_metrics(sample)
    for name in ("ttft_ms", "ttfat_ms", "prompt_tps"):
        assert (found[name] is None) is late
    assert found["tpot_ms"] == 5.0
    assert found["e2e_ms"] == 95.0


def test_late_read_is_relative_too(make_sample: Make) -> None:
    """A doubt of 1.25 ms on a TTFT of 200 ms is under 1 %: no late read."""
    chunks = tuple(START + (200 + 5 * i) * MS for i in range(10))
    assert not is_late_read(make_sample(chunk_ns=chunks, first_read_surplus=0.25))


def test_without_tpot_no_late_read(make_sample: Make) -> None:
    """Where the time per token is unknown there is no doubt to compute."""
    assert not is_late_read(make_sample(first_read_surplus=5.0, output_tokens=None))
    assert not is_late_read(make_sample(stream=False, first_read_surplus=5.0))


def test_gaps_are_between_arrivals(make_sample: Make) -> None:
    """Chunks that shared a read share an arrival: no gap of zero between them, and none below."""
    sample = make_sample(chunk_ns=tuple(START + at * MS for at in (50, 50, 50, 90, 90, 130)))
    assert arrival_gaps_ns(sample) == [40 * MS, 40 * MS]
    assert arrival_gaps_ns(make_sample(chunk_ns=(START,))) == []
    assert arrival_gaps_ns(replace(sample, stream=False)) == []
    assert arrival_gaps_ns(make_sample(chunk_ns=(START, START - 1, START + 4))) == [5]


def test_server_figure_stands_beside(make_sample: Make) -> None:
    """The server's own times are kept apart from ours, and are its own even where our clock moved."""
    timings = {"prompt_n": 100.0, "prompt_ms": 50.0, "predicted_n": 11.0, "predicted_ms": 60.0}
    for clock_step in (False, True):
        found = request_metrics(make_sample(server_timings=timings, clock_step=clock_step))
        assert (found["server_prompt_tps"], found["server_prompt_ms"]) == (2000.0, 50.0)
        assert found["server_tpot_ms"] == 6.0
    assert found["tpot_ms"] is None


@pytest.mark.parametrize(
    "timings",
    [{}, {"prompt_n": 1.0, "prompt_ms": 0.0}, {"predicted_n": 1.0, "predicted_ms": 5.0}, {"predicted_n": 9.0}],
)
def test_what_the_server_does_not_know_is_not_guessed(make_sample: Make, timings: dict[str, float]) -> None:
    """A time of nothing, one token, or half of a pair: no figure of the server's own."""
    found = request_metrics(make_sample(server_timings=timings))
    assert [found[f"server_{name}"] for name in ("prompt_tps", "prompt_ms", "tpot_ms")] == [None] * 3


def test_never_sent(make_sample: Make) -> None:
    """A request that was never sent has no time at all."""
    found = request_metrics(make_sample(sent_ns=None, prompt_tokens=None))
    assert all(value is None for value in found.values())


def test_a_burst_after_an_empty_socket_is_no_late_read(make_sample: Make) -> None:
    """The doubt is never more than the time since the socket was last seen empty: servers send bursts, too."""
    assert is_late_read(make_sample(first_read_surplus=5.0))
    assert is_late_read(make_sample(first_read_surplus=5.0, first_read_window_ns=50_000_000))
    assert not is_late_read(make_sample(first_read_surplus=5.0, first_read_window_ns=60_000))


def test_tokens_and_time_are_of_the_same_tokens(make_sample: Make) -> None:
    """64 hidden tokens and ten seen ones, 10 ms apart: 10 ms per token, whatever was counted beside them."""
    stamps = tuple(START + (300 + 10 * number) * MS for number in range(10))
    found = request_metrics(make_sample(chunk_ns=stamps, output_tokens=74, visible_tokens=10, reasoning_tokens=64))
    assert (found["tpot_ms"], found["gen_tps"], found["output_tokens"]) == (10.0, 100.0, 74)
    assert found["tps"] == 74 * 1000 / 390
    unknown = request_metrics(make_sample(chunk_ns=stamps, output_tokens=74, visible_tokens=None))
    assert (unknown["tpot_ms"], unknown["gen_tps"]) == (None, None)


def test_what_came_half_at_once_has_no_time_per_token(make_sample: Make) -> None:
    """Two bursts of five tokens, half a second apart: neither 500 ms nor 56 is the time of a token."""
    stamps = (START + 500 * MS,) * 5 + (START + 1_000 * MS,) * 5
    found = request_metrics(make_sample(chunk_ns=stamps))
    assert (found["tpot_ms"], found["gen_tps"]) == (None, None)
    most_of_it = (START + 500 * MS,) * 2 + tuple(START + (500 + 10 * number) * MS for number in range(1, 9))
    assert request_metrics(make_sample(chunk_ns=most_of_it))["tpot_ms"] is not None


def test_a_late_read_of_most_of_an_answer_is_one(make_sample: Make) -> None:
    """The client slept over six of eight tokens: no time per token can be trusted, and no time to the first either."""
    stamps = (START + 80 * MS,) * 6 + (START + 85 * MS, START + 90 * MS)
    late = make_sample(chunk_ns=stamps, first_read_surplus=5.0)
    assert is_late_read(late)
    found = request_metrics(late)
    assert (found["ttft_ms"], found["tpot_ms"]) == (None, None)
    assert is_late_read(make_sample(chunk_ns=stamps, first_read_surplus=5.0, visible_tokens=None))
