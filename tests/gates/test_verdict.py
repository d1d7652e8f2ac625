"""From budgets to a verdict and its text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf._text import amount, printable
from pytest_flperf.gates.budgets import parse_budgets
from pytest_flperf.gates.verdict import case_outcome, judge, verdict_text
from pytest_flperf.results.records import CaseResult, Distribution, Failure, Requests

TTFT = Distribution(19, 100.0, 5.0, 90, 91, 100, 110, 612.5, 715, 720, p95_ci95=(500.0, 700.0), unsure=("p95", "p99"))
GOOD = CaseResult(
    "n",
    "s",
    "short-chat",
    "nano",
    requests=Requests(19, 19, 0, 0, {"ok": 19}),
    error_rate=0.0,
    metrics={"ttft_ms": TTFT},
)
BAD = replace(
    GOOD,
    requests=Requests(21, 19, 2, 1, {"ok": 19, "http_5xx": 1, "stall_timeout": 1}, late_reads=3, clock_steps=1),
    error_rate=2 / 21,
    failures=(
        Failure("http_5xx", 1, 503, "busy", '{"error": "no\nslot"}'),
        Failure("stall_timeout", 1, None, "no text"),
    ),
    notes=("model echoed as 'x'",),
)


def test_pass() -> None:
    """All budgets met: passed, and nothing to say."""
    judged = judge(GOOD, parse_budgets(["ttft_ms.p95 <= 1s"]))
    assert (judged.outcome, judged.message) == ("passed", "")
    assert [verdict.met for verdict in judged.budgets] == [True, True]


def test_the_whole_text() -> None:
    """Every budget with limit, value and n; doubt with its interval; failures with evidence; late reads."""
    judged = judge(BAD, parse_budgets(["ttft_ms.p95 <= 500", "tps.p50 >= 20", "error_rate <= 10%"], "suite"))
    assert judged.outcome == "failed"
    assert judged.message.splitlines() == [
        "short-chat on nano: missed ttft_ms.p95 <= 500 (612.5 ms) and 1 more",
        "  MISSED  ttft_ms.p95 <= 500  limit 500 ms       value 612.5 ms  n 19  "
        "~ unsure: p95 needs 130 requests; 95 % interval 500 ms to 700 ms  (suite)",
        "  MISSED  tps.p50 >= 20       limit 20 tokens/s  not measured    n 0  "
        "the server did not say how many tokens the answers had  (suite)",
        "  met     error_rate <= 10%   limit 10 %         value 9.524 %   n 21  (suite)",
        "  requests: 21 measured, 19 ok, 2 failed (19 × ok, 1 × http_5xx, 1 × stall_timeout)",
        "  1 × http_5xx, HTTP 503: busy",
        '      body: {"error": "no\\nslot"}',
        "      the server's own log says more",
        "  1 × stall_timeout: no text",
        "      if the model pauses that long, raise stall_timeout_s in the suite",
        "  late reads: 3 of 19 requests with a TTFT that is an upper bound only; they are in no TTFT above",
        "  clock steps: 1 request left out of timing; the machine's clock moved",
        "  note: model echoed as 'x'",
    ]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (CaseResult("n", "s", "c", "m"), "not one request was measured"),
        (
            replace(BAD, requests=Requests(2, 0, 2, 0, {"http_5xx": 2}), error_rate=1.0),
            "all 2 requests failed: http_5xx (busy)",
        ),
    ],
)
def test_nothing_measured_is_never_a_pass(case: CaseResult, words: str) -> None:
    """Even with budgets that all hold, a case without one good request fails."""
    judged = judge(case, parse_budgets(["error_rate <= 100%", "ttft_ms.n >= 0"]))
    assert judged.outcome == "failed"
    assert words in judged.message


def test_unjudged_is_never_a_pass() -> None:
    """A case whose budgets nobody judged fails."""
    outcome, message = case_outcome(GOOD)
    assert outcome == "failed"
    assert "no budget was judged" in message


@given(st.text(), st.text(max_size=3000), st.text(max_size=3000))
def test_hostile_text_is_harmless_and_bounded(name: str, detail: str, body: str) -> None:
    """Whatever names and servers say, the text has only its own line ends, no control characters, and an end."""
    failures = tuple(Failure("http_4xx", 1, 400, detail, body) for _ in range(5))
    case = replace(BAD, scenario=name, model=name, failures=failures, notes=(body,) * 50)
    text = verdict_text(judge(case, []))
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.split("\n")) < 40
    assert len(text) < 60_000
    text.encode()


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "ms", "none"),
        (500.0, "ms", "500 ms"),
        (0.123456, "ms", "0.1235 ms"),
        (12345.678, "ms", "12346 ms"),
        (0.01, "fraction", "1 %"),
        (3.0, "count", "3"),
        (1.5, "tokens/chunk", "1.5"),
        (0.0, "tokens/s", "0 tokens/s"),
    ],
)
def test_amounts(value: float | None, unit: str, shown: str) -> None:
    """Numbers a person can read, with their unit."""
    assert amount(value, unit) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b\u00fc😀", "a b\u00fc😀"),
        ("\x1b[31m\r\n\t", "\\x1b[31m\\r\\n\\t"),
        ("\u202e\u2028\udc80\x00\x85", "\\u202e\\u2028\\udc80\\x00\\x85"),
        ("x" * 11, "x" * 10 + "…"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """Escapes, direction marks, line ends and half characters are written out."""
    assert printable(text, 10) == shown


def test_a_resource_that_is_absent() -> None:
    """The text of the item says why there is nothing to compare with, in the headline as well."""
    case = replace(GOOD, resources_absent={"gpu_power_w": "no NVIDIA\x1b driver"})
    judged = judge(case, parse_budgets(["gpu_power_w.max <= 300"], "suite"))
    assert judged.outcome == "failed"
    headline, missed, *_ = judged.message.splitlines()
    assert headline.endswith("missed gpu_power_w.max <= 300 (not measured: no NVIDIA\\x1b driver)")
    assert missed == (
        "  MISSED  gpu_power_w.max <= 300  limit 300 W  not measured  n 0  no NVIDIA\\x1b driver  (suite)"
    )
