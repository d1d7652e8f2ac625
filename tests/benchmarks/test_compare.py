"""What the comparison reads in the clients' files and in the server's log; excerpts recorded from real runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.fidelity.compare_clients import (
    aiperf_said,
    benchy_said,
    clients,
    flperf_said,
    guidellm_said,
    inference_perf_said,
)
from benchmarks.fidelity.compare_truth import Said, measured, truth
from pytest_flperf.reference_server import LogEntry

MS = 1_000_000


def entry(number: int, *sends: tuple[str, float], **changed: Any) -> LogEntry:
    """A log entry of a request that arrived at 0 ms: what was sent, and when in ms."""
    fields: dict[str, Any] = {
        "id": f"ref-{number:08}",
        "number": number,
        "connection": 1,
        "request_id": None,
        "prompt_head": "",
        "prompt_hash": "",
        "model": "reference",
        "stream": True,
        "status": 200,
        "fault": None,
        "clock": "kernel",
        "first_byte_ns": 0,
        "last_byte_ns": 0,
        "read_ns": 0,
        "sent_ns": tuple(round(ms * MS) for _, ms in sends),
        "due_ns": tuple(round(ms * MS) for _, ms in sends),
        "bytes": (1,) * len(sends),
        "kinds": tuple(kind for kind, _ in sends),
        "chunks": tuple(int(kind in ("text", "reasoning")) for kind, _ in sends),
        "partial": (),
        "sends": len(sends),
        "ended": "complete",
        "ended_ns": 0,
    }
    return LogEntry(**(fields | changed))


def said(n: int, *ids: str) -> Said:
    """A client that says of how many requests it speaks."""
    return Said(n=n, failed=0, ttft_p50=None, ttft_p99=None, itl_p99=None, tpot_p50=None, ids=frozenset(ids))


def test_truth_of_an_answer_with_reasoning() -> None:
    """The first token is one of the reasoning; the answer's own first is a figure of its own."""
    sends = [("head+role", 0), ("reasoning", 50), ("reasoning", 60), ("text", 270), ("text", 280), ("finish+end", 290)]
    found = truth([entry(1, *sends)], tokens_per_chunk=1)
    assert found is not None
    assert (found.ttft_p50, found.ttfat_p50, found.tokens) == (50, 270, 4)
    assert found.tpot_p50 == pytest.approx(230 / 3)
    assert found.itl_p99 == pytest.approx(206)
    assert (found.start_ns, found.end_ns) == (0, 280 * MS)


def test_truth_counts_tokens_not_chunks() -> None:
    """Gaps are between chunks, TPOT is per token."""
    found = truth([entry(1, ("text", 50), ("text", 90), ("text", 130))], tokens_per_chunk=4)
    assert found is not None
    assert (found.tokens, found.itl_p99) == (12, 40)
    assert found.tpot_p50 == pytest.approx(80 / 11)


def test_no_request_no_truth() -> None:
    """Nothing was measured."""
    assert truth([], 1) is None


def test_measured_are_the_last_or_those_named() -> None:
    """Whole streams only: warm-ups come first, and some clients name their requests."""
    log = [
        entry(1, ("text", 50)),
        entry(2, ("text", 50), stream=False),
        entry(3, ("text", 50), request_id="abc"),
        entry(4, ("text", 50), ended="client_closed"),
        entry(5, ("text", 50)),
    ]
    assert [each.number for each in measured(log, said(2))] == [3, 5]
    assert [each.number for each in measured(log, said(9))] == [1, 3, 5]
    assert [each.number for each in measured(log, said(2, "abc", "ref-00000001"))] == [1, 3]
    assert measured(log, said(0)) == []


def test_flperf() -> None:
    """Ours: late reads are counted, where nothing was coalesced is 0."""
    metrics = {
        "ttft_ms": {"p50": 50.1, "p99": 52.5},
        "ttfat_ms": {"p50": 290.1, "p99": 291.0},
        "itl_ms": {"p50": 5.0, "p99": 8.6},
        "tpot_ms": {"p50": 5.0, "p99": 5.1},
    }
    requests = {"total": 40, "ok": 39, "failed": 1, "late_reads": 2}
    found = flperf_said({"cases": [{"requests": requests, "metrics": metrics, "coalesced_pct": None}]})
    assert (found.n, found.failed, found.late_reads, found.coalesced_pct) == (39, 1, 2, 0.0)
    assert (found.ttft_p50, found.ttft_p99, found.itl_p99, found.tpot_p50) == (50.1, 52.5, 8.6, 5.0)
    assert found.ttfat_p50 == 290.1


def test_aiperf_leaves_out_its_warm_up() -> None:
    """Its records hold the warm-up and the failed ones as well; without errors it has no count of them."""
    summary = {
        "request_count": {"unit": "requests", "avg": 40.0},
        "time_to_first_token": {"unit": "ms", "p50": 50.3, "p99": 51.6},
        "time_to_first_output_token": {"unit": "ms", "p50": 290.4, "p99": 291.0},
        "inter_token_latency": {"unit": "ms", "p50": 16.35, "p99": 16.39},
        "inter_chunk_latency": {"unit": "ms", "p50": 10.0, "p99": 210.06},
    }
    records = [
        {"metadata": {"x_request_id": "a", "benchmark_phase": "warmup"}, "error": None},
        {"metadata": {"x_request_id": "b", "benchmark_phase": "profiling"}, "error": None},
        {"metadata": {"x_request_id": "c", "benchmark_phase": "profiling"}, "error": {"code": 500}},
    ]
    found = aiperf_said(summary, records)
    assert (found.n, found.failed, found.ids) == (40, 0, {"b"})
    assert (found.itl_p99, found.gap_p99, found.tpot_p50, found.ttfat_p50) == (16.39, 210.06, 16.35, 290.4)
    assert aiperf_said(summary | {"error_request_count": {"avg": 3.0}}, records).failed == 3


def test_guidellm_leaves_out_its_warm_up() -> None:
    """Its TTFT is of the requests whose first token came in the measured part."""

    def summary(p50: float, p99: float) -> dict[str, Any]:
        return {"successful": {"count": 36, "percentiles": {"p50": p50, "p99": p99}}}

    metrics = {
        "request_totals": {"successful": 39, "errored": 2},
        "time_to_first_token_ms": summary(50.6, 51.3),
        "time_to_first_output_token_ms": summary(290.4, 291.0),
        "inter_token_latency_ms": summary(5.0, 5.1),
        "time_per_output_token_ms": summary(5.71, 5.75),
    }
    good = [
        {"response_id": f"ref-{number}", "info": {"timings": {"first_token_iteration": first_s}}}
        for number, first_s in enumerate((99.9, None, 100.0, 100.4))
    ]
    benchmark = {"metrics": metrics, "requests": {"successful": good}, "start_time": 100.0}
    found = guidellm_said({"benchmarks": [benchmark]})
    assert (found.n, found.failed, found.ids) == (36, 2, {"ref-2", "ref-3"})
    assert (found.ttft_p50, found.ttft_p99, found.itl_p99, found.tpot_p50) == (50.6, 51.3, 5.1, 5.71)


def test_inference_perf_speaks_of_seconds() -> None:
    """Seconds become milliseconds."""
    latency = {
        "time_to_first_token": {"median": 0.0503, "p99": 0.0508},
        "inter_token_latency": {"median": 0.005, "p99": 0.0078},
        "time_per_output_token": {"median": 0.005, "p99": 0.0051},
    }
    found = inference_perf_said({"successes": {"count": 40, "latency": latency}, "failures": {"count": 1}})
    assert (found.n, found.failed) == (40, 1)
    assert found.ttft_p50 == pytest.approx(50.3)
    assert found.itl_p99 == pytest.approx(7.8)
    assert found.tpot_p50 == pytest.approx(5.0)


def test_benchy_has_rates() -> None:
    """It has each request's TTFT and rate; what lacks has failed."""
    run = {"e2e_ttft": {"values": [50.0, 60.0, 70.0]}, "tg_req_throughput": {"values": [200.0, 100.0, 200.0]}}
    found = benchy_said({"benchmarks": [run]}, requests=4)
    assert (found.n, found.failed, found.ttft_p50, found.itl_p99) == (3, 1, 60.0, None)
    assert found.tpot_p50 == pytest.approx(5.0)


def test_what_lacks_in_a_file_is_no_figure() -> None:
    """A file without the figures is an error that the comparison knows."""
    with pytest.raises((LookupError, TypeError)):
        guidellm_said({"benchmarks": []})
    assert [client.name for client in clients()] == [
        "pytest-flperf",
        "aiperf",
        "guidellm",
        "inference-perf",
        "llama-benchy",
    ]
