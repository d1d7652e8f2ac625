"""Requests that are tried again, and percentiles that count failed ones."""

from __future__ import annotations

import json
import socket

import jsonschema
import pytest
from fault_doubles import RawServer, answer, read_request
from tiny_runs import Done, Tiny

from pytest_flperf.results.records import load_schema

BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy"
WRONG = b"HTTP/1.1 400 Wrong\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwrong"


def measured(tiny: Tiny, failing: set[int], answered: bytes = BUSY, **settings: object) -> Done:
    """Ten requests, one at a time, to a server on which connections of these numbers fail; 1 is the verifying one.

    Negative numbers: these, and whatever asks the same again.
    """
    refused: set[bytes] = set()
    seen: set[bytes] = set()

    def behave(connection: socket.socket, _: int) -> None:
        asked = read_request(connection)
        # by requests and no connections: when a further try comes depends on how busy the machine is
        number = 0 if asked in seen else len(seen) + 1
        seen.add(asked)
        if -number in failing:
            refused.add(asked)
        if number in failing or asked in refused:
            connection.sendall(answered)
            connection.close()
        else:
            answer(connection)

    tiny.suite({"iterations": 10, "retry_backoff_s": 0.01, **settings})
    with RawServer(behave) as server:
        options = (f"--flperf-base-url={server.base_url}", "--flperf-model=m", "-v", "--flperf-csv=out.csv")
        done = tiny.run("--flperf-suite=tiny.json", *options, "--junitxml=junit.xml")
    jsonschema.validate(done.results, load_schema())
    return done


def test_without_retries(tiny: Tiny) -> None:
    """Off by default: a failed request is not sent again."""
    done = measured(tiny, {3})
    assert done.case["requests"]["failed"] == 1
    assert done.case["requests"]["retries"] == 0
    assert len([line for line in done.journal() if line["phase"] == "measured"]) == 10
    assert "retry" not in {line["phase"] for line in done.journal()}


def test_a_retry_never_hides_the_first_try(tiny: Tiny) -> None:
    """What failed stays in the error rate; that a further try went well stands beside it."""
    done = measured(tiny, {3, 6}, retries=2, budgets=["error_rate <= 20%", "recovered >= 2"])
    assert done.ret == 0, done.text
    case = done.case
    assert case["requests"]["total"] == 10
    assert (case["requests"]["failed"], case["requests"]["retries"], case["requests"]["recovered"]) == (2, 2, 2)
    assert case["error_rate"] == pytest.approx(0.2)
    assert case["metrics"]["ttft_ms"]["n"] == 8
    assert "2 retries, 2 recovered" in done.text
    retries = [line for line in done.journal() if line["phase"] == "retry"]
    failed = {line["index"] for line in done.journal() if line["phase"] == "measured" and "503" in line["raw"][:12]}
    assert {line["index"] for line in retries} == failed
    assert len(failed) == 2


def test_what_can_not_pass_is_not_tried_again(tiny: Tiny) -> None:
    """A refusal is for good: trying again would only hide how often it happens."""
    done = measured(tiny, {3, 6}, WRONG, retries=2)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["requests"]["retries"] == 0
    assert done.case["requests"]["failed"] == 2


def test_a_request_that_fails_every_time(tiny: Tiny) -> None:
    """It is tried as often as allowed, and the failure says how many recovered."""
    done = measured(tiny, {-3}, retries=2)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert (done.case["requests"]["retries"], done.case["requests"]["recovered"]) == (2, 0)
    assert "1 failed (9 × ok, 1 × http_5xx); 0 recovered by a retry" in done.case["message"]


def test_failures_as_infinitely_slow(tiny: Tiny) -> None:
    """A percentile that failed requests reach is infinite, misses every budget, and says why wherever it is shown."""
    done = measured(tiny, {3, 6}, WRONG, failures="as_inf", budgets=["error_rate <= 50%", "ttft_ms.p90 <= 60000"])
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    ttft = done.case["metrics"]["ttft_ms"]
    assert (ttft["n"], ttft["as_inf"], ttft["p90"], ttft["p99"]) == (10, 2, None, None)
    assert 0 < ttft["p50"] < 60_000
    assert done.case["metrics"]["tps"]["min"] == 0
    assert "missed ttft_ms.p90 <= 60000 (∞ ms)" in done.text
    assert "2 of 10 requests failed and count as infinitely slow" in done.text
    assert "∞ failed requests count as infinitely slow" in done.text
    shown = tiny.command("show", "-v", str(done.report))
    assert "MISSED (∞ ms, n=10)" in shown.stdout.str(), shown.stderr.str()
    page = (done.report / "report.html").read_text(encoding="utf-8")
    assert "∞" in page
    assert "NaN" not in page
    assert ",inf," in (tiny.folder / "out.csv").read_text(encoding="utf-8")
    json.loads((done.report / "results.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert 'name="ttft_ms.p99" value="inf"' in (tiny.folder / "junit.xml").read_text(encoding="utf-8")
