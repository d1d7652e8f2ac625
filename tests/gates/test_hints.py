"""What a person can do about a failure."""

from __future__ import annotations

import pytest

from pytest_flperf.gates.hints import hint
from pytest_flperf.results.records import CaseResult, Failure
from pytest_flperf.results.serving import Target
from pytest_flperf.wire.sample import Outcome

CASE = CaseResult("n", "s", "c", "m", target=Target("openai", base_url="http://127.0.0.1:9/v1"))


@pytest.mark.parametrize("outcome", [each for each in Outcome if each not in (Outcome.OK, Outcome.CANCELLED)])
def test_every_outcome_has_one(outcome: Outcome) -> None:
    """Whatever goes wrong, there is something to try; where nothing general can be said the evidence stands alone."""
    found = hint(Failure(outcome.value, 1), CASE)
    assert bool(found) is (outcome is not Outcome.HTTP_4XX)
    assert "{" not in found


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Failure("http_4xx", 1, 401, "HTTP 401"), "--flperf-api-key-env"),
        (Failure("http_4xx", 1, 403, "HTTP 403"), "--flperf-api-key-env"),
        (Failure("connect_refused", 1, None, "TLS handshake: self-signed certificate"), "SSL_CERT_FILE"),
        (Failure("connect_refused", 1, None, "Connection refused"), "http://127.0.0.1:9/v1"),
        (Failure("http_4xx", 1, 418, "HTTP 418"), ""),
        (Failure("of a later version", 1), ""),
    ],
)
def test_the_one_that_helps(failure: Failure, words: str) -> None:
    """A key, a certificate, a server that isn't there."""
    found = hint(failure, CASE)
    assert words in found
    assert bool(found) is bool(words)


def test_without_a_target() -> None:
    """A results file that doesn't say where requests went."""
    assert "running at its address?" in hint(Failure("connect_refused", 1), CaseResult("n", "s", "c", "m"))
