"""Servers that say that they are not ready: which are waited for, and how long."""

from __future__ import annotations

import pytest

from pytest_flperf.backends import warming_up
from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.warming_up import Patience, Readiness, readiness


@pytest.mark.parametrize(
    ("status", "words", "asked_s", "found"),
    [
        (503, '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', None, Readiness.LOADING),
        (503, '{"error":"Model x/y is currently loading","estimated_time":20.0}', None, Readiness.LOADING),
        (503, "The model is still warming up", None, Readiness.LOADING),
        (503, "Service is live, but not ready", None, Readiness.LOADING),
        (503, "no healthy upstream", None, Readiness.LOADING),
        (503, "", 5.0, Readiness.LOADING),
        (503, "<html>503 Service Temporarily Unavailable</html>", None, Readiness.UNCLEAR),
        (503, "", None, Readiness.UNCLEAR),
        (503, "failed to load model: out of memory", None, Readiness.NO_USE),
        (503, "engine is dead", 5.0, Readiness.NO_USE),
        (500, "error loading model", None, Readiness.NO_USE),
        (500, "the model is loading", None, Readiness.LOADING),
        (502, "Bad Gateway", None, Readiness.NO_USE),
        (429, "the model is still being loaded", None, Readiness.LOADING),
        (429, "Too many requests", 2.0, Readiness.LIMITED),
        (429, "Too many requests", None, Readiness.NO_USE),
        (400, "This Model is Cold / Not Ready for Inference", None, Readiness.LOADING),
        (400, "the model is not loaded", None, Readiness.NO_USE),
        (404, "model m is loading", None, Readiness.NO_USE),
        (401, "loading", 1.0, Readiness.NO_USE),
        (200, "loading", 1.0, Readiness.NO_USE),
        (None, "loading", None, Readiness.NO_USE),
    ],
)
def test_what_an_answer_says(status: int | None, words: str, asked_s: float | None, found: Readiness) -> None:
    """In the words of llama.cpp, TGI, Hugging Face, OpenAI, load balancers and others."""
    assert readiness(status, words, asked_s) is found


class Clock:
    """Time that passes only in sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(warming_up.time, "sleep", self.sleep)

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.now += max(seconds, 0.001)


def patience(clock: Clock, limit_s: float, said: list[str] | None = None) -> Patience:
    """Of a model called m."""
    told = [] if said is None else said
    return Patience("m", limit_s, lambda what, percent: told.append(what), clock)


def test_a_load_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the limit, at first often and then every five seconds, with progress all the time."""
    clock, said = Clock(monkeypatch), list[str]()
    waiting = patience(clock, 600, said)
    asked = 0
    while waiting.wait(503, "Loading model", None):
        asked += 1
    assert clock.now == pytest.approx(600, abs=1)
    assert 120 < asked < 140
    assert len(said) > 5_000
    assert said[0] == "waiting for m (HTTP 503: Loading model), 0 s"
    assert said[-1].startswith("waiting for m (HTTP 503: Loading model), 600 s")
    assert waiting.gave_up == "it was waited for 600 s"


def test_a_503_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute, not ten: it may be for good."""
    clock = Clock(monkeypatch)
    waiting = patience(clock, 600)
    while waiting.wait(503, "", None):
        pass
    assert clock.now == pytest.approx(60, abs=1)


def test_retry_after_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked before the time; one that is too long, or hostile, is not waited for at all."""
    clock = Clock(monkeypatch)
    waiting = patience(clock, 100)
    assert waiting.wait(503, "", 30.0)
    assert clock.now == pytest.approx(30, abs=1)
    assert not waiting.wait(503, "", 1e9)
    assert clock.now == pytest.approx(30, abs=1)
    assert "asks to wait 1,000,000,000 s" in waiting.gave_up
    assert not patience(clock, 0).wait(503, "Loading model", None)


def test_a_limited_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 is waited for twice: who refuses for ever would cost ten minutes."""
    clock = Clock(monkeypatch)
    waiting = patience(clock, 600)
    assert [waiting.wait(429, "slow down", 3.0) for _ in range(3)] == [True, True, False]
    assert clock.now == pytest.approx(6, abs=1)


def test_what_is_said_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that was waited for; of others nothing."""
    clock = Clock(monkeypatch)
    waiting = patience(clock, 600)
    assert waiting.note == ""
    assert not waiting.wait(401, "no", None)
    assert waiting.note == ""
    assert waiting.wait(503, "Loading\x1b[31m model\nmore", 2.0)
    assert waiting.note == "the server was not ready (HTTP 503: Loading [31m model) and was waited for: 2.0 s"


def test_the_wait_is_ended_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told of it may have enough."""

    def enough(what: str, percent: float | None) -> None:
        raise BackendError(what)

    with pytest.raises(BackendError, match="waiting for m"):
        Patience("m", 600, enough, Clock(monkeypatch)).wait(503, "Loading model", None)
