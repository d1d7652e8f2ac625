"""Reasons of budgets on metrics that were not measured: every metric that a budget can name has one, and a true one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pytest_flperf.gates.budgets import OF_SEARCHES, parse_budget
from pytest_flperf.gates.not_measured import why_not_measured
from pytest_flperf.gates.verdict import judge
from pytest_flperf.results.comparison import ReferenceLoad
from pytest_flperf.results.load import Load
from pytest_flperf.results.metric_statistics import statistics_of
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult, Distribution, Requests
from pytest_flperf.results.serving import Target

ONE = Distribution(1, 1.0, None, 1, 1, 1, 1, 1, 1, 1)
NOTHING = CaseResult("n", "s", "short", "m")
ANSWERED = replace(NOTHING, error_rate=0.0, requests=Requests(total=9, ok=9), load=Load())
FAILED = replace(NOTHING, error_rate=1.0, requests=Requests(total=9, failed=9, by_outcome={"http_5xx": 9}), load=Load())
SITUATIONS = {
    "nothing": NOTHING,
    "answered": ANSWERED,
    "failed": FAILED,
    "one failed": replace(FAILED, requests=Requests(total=1, failed=1)),
    "not streamed": replace(ANSWERED, load=Load(stream=False)),
    "open loop": replace(ANSWERED, load=Load("poisson")),
    "loaded": replace(ANSWERED, load_s=1.0),
    "late": replace(ANSWERED, requests=Requests(total=9, ok=9, late_reads=5, clock_steps=4)),
    "clock": replace(ANSWERED, requests=Requests(total=9, ok=9, clock_steps=9)),
    "one token": replace(ANSWERED, metrics={"output_tokens": ONE, "ttft_ms": ONE}, tokens_source="chunks"),
    "not scored": replace(ANSWERED, settings={"expect": {"json": True}}, not_scored={"took longer than 3 s": 2}),
    "without a load": replace(ANSWERED, load=None),
    "native": replace(ANSWERED, target=Target("foundry", transport="native")),
    "reference": replace(ANSWERED, reference=ReferenceLoad()),
}


def budgets() -> Iterator[str]:
    """Every subject that a budget can have."""
    for name, metric in METRICS.items():
        statistics = statistics_of(metric)
        yield from [f"{name}.{each}" for each in statistics]
        if metric.per == "case":
            yield name


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_budget_without_a_reason(situation: str) -> None:
    """Of a number that is not there: the verdict, the headline and the text of the test say why."""
    case = SITUATIONS[situation]
    for subject in budgets():
        budget = parse_budget(f"{subject} >= 0.5")
        verdict = budget.judge(case)
        if verdict.value is None:
            assert verdict.reason.strip(), subject
            assert not verdict.met, subject
            if case.requests.ok:
                (headline, *_) = judge(case, [budget]).message.splitlines()
                assert f"missed {subject} >= 0.5 (not measured: {verdict.reason[:50]}" in headline


@pytest.mark.parametrize(
    ("situation", "metric", "reason"),
    [
        ("nothing", "ttft_ms", "not one request was measured"),
        ("nothing", "error_rate", "not one request was measured"),
        ("nothing", "load_s", "the run did not load the model: it was loaded before, or its server loads it by itself"),
        ("failed", "ttft_ms", "all 9 requests failed"),
        ("failed", "cached_tokens", "all 9 requests failed"),
        ("one failed", "e2e_ms", "the only request failed"),
        ("answered", "load_s", "the run did not load the model"),
        ("answered", "download_s", "the run did not load the model"),
        ("answered", "cold_ttft_ms", "the run did not load the model"),
        ("answered", "model_rss_mb", "the run did not load the model"),
        ("loaded", "cold_ttft_ms", "the first request after the load has no reliable time to first token"),
        ("loaded", "model_rss_mb", "the memory of the server's processes could not be read"),
        ("answered", "cached_tokens", "the server did not say how many tokens of the prompts were cached"),
        ("answered", "reasoning_tokens", "the server did not say how many tokens were reasoning"),
        ("answered", "output_tokens", "the server did not say how many tokens the answers had"),
        ("answered", "server_tpot_ms", "the server reported no timings"),
        ("answered", "quality", "the scenario expects nothing of its answers (expect)"),
        ("not scored", "quality", "2 of 9 answers not scored: took longer than 3 s"),
        ("answered", "ttft_ratio", "it needs a reference load (--flperf-reference)"),
        ("reference", "ttft_ratio", "the reference load has no ttft_ms"),
        ("answered", "dispatch_delay_ms", "only open loops have it"),
        ("answered", "offered_rate", "only open loops have it"),
        ("open loop", "sent_rate", "all requests were due at the same time"),
        ("not streamed", "ttft_ms", "answers were not streamed (stream: false)"),
        ("not streamed", "itl_ms", "answers were not streamed (stream: false)"),
        ("not streamed", "coalesced_pct", "answers were not streamed (stream: false)"),
        ("late", "ttft_ms", "every first token was read too late"),
        ("clock", "e2e_ms", "the machine's clock was set during every request"),
        ("one token", "tpot_ms", "no answer had two tokens or more"),
        ("one token", "itl_ms", "no answer came in two reads or more"),
        ("one token", "tokens_per_chunk", "tokens were counted as chunks"),
        ("one token", "ttfat_ms", "no answer had any text besides its reasoning"),
        ("answered", "connect_ms", "every request used a connection that was already open"),
        ("native", "connect_ms", "the model answers without a connection (transport: native)"),
        ("answered", "goodput", "it counts requests that meet the case's latency budgets, and the case has none"),
        ("answered", "server_rss_mb", "it was not read while requests were measured"),
        ("nothing", "server_rss_mb", "not one request was measured"),
    ],
)
def test_the_reason_is_true(situation: str, metric: str, reason: str) -> None:
    """By what the results say."""
    assert why_not_measured(SITUATIONS[situation], metric).startswith(reason)


@pytest.mark.parametrize("text", ["quality.mean >= 0", "quality.mean <= 1", "quality.n >= 1", "quality.cv <= 9"])
def test_answers_without_a_score_miss_every_budget_on_quality(text: str) -> None:
    """Whatever those with one say; no number is shown for it."""
    metrics = {"quality": replace(ONE, n=7)}
    case = replace(SITUATIONS["not scored"], metrics=metrics)
    verdict = parse_budget(text).judge(case)
    assert (verdict.met, verdict.value) == (False, None)
    assert verdict.reason == "2 of 9 answers not scored: took longer than 3 s"
    assert parse_budget(text.replace("quality.cv <= 9", "quality.n >= 1")).judge(replace(case, not_scored={})).met


def test_other_budgets_do_not_mind() -> None:
    """Answers without a score take nothing from latencies."""
    case = replace(SITUATIONS["not scored"], metrics={"e2e_ms": ONE})
    assert parse_budget("e2e_ms.p50 <= 1").judge(case).met
    assert parse_budget("e2e_ms.cv <= 1").judge(case).reason == "cv needs two values and a mean over 0"


def test_searches() -> None:
    """Name what finds them."""
    for name, over in OF_SEARCHES.items():
        assert parse_budget(f"{name} >= 1").judge(ANSWERED).reason.endswith(f"search_over: {over}")
