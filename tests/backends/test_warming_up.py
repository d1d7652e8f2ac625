"""Servers that say that they are not ready: which are waited for, and how long."""

from __future__ import annotations

import pytest

from pytest_flperf.backends import readiness as warming_up
from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.readiness import Patience, Readiness, Watched, readiness, words_of

ENVOY = "upstream connect error or disconnect/reset before headers. reset reason: connection failure"


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
        (503, ENVOY, None, Readiness.UNCLEAR),
        (503, ENVOY, 5.0, Readiness.LOADING),
        (503, "failed to connect to all addresses", None, Readiness.UNCLEAR),
        (503, "upstream request failed", None, Readiness.UNCLEAR),
        (503, "Connection refused", 2.0, Readiness.LOADING),
        (503, "Health check failed, starting", None, Readiness.LOADING),
        (503, "The model failed its readiness probe", None, Readiness.UNCLEAR),
        (503, "Model m failed to load", 5.0, Readiness.NO_USE),
        (503, "model loading failed", 5.0, Readiness.NO_USE),
        (503, "The worker has crashed", 5.0, Readiness.NO_USE),
        (503, "Error while loading weights", None, Readiness.NO_USE),
        (503, "Exception during initialization of the engine", None, Readiness.NO_USE),
        (500, "Exception while loading adapter foo: no adapter_config.json", None, Readiness.NO_USE),
        (500, "Exception while loading model foo", None, Readiness.NO_USE),
        (500, "Error initializing the tokenizer", None, Readiness.NO_USE),
        (500, "CUDA error while initializing", None, Readiness.NO_USE),
        (500, "Model x/y-1.5 is currently loading", None, Readiness.LOADING),
        (500, "Model m is still warming up", None, Readiness.LOADING),
        (500, "model m not yet loaded", None, Readiness.LOADING),
        (500, "Loading model", None, Readiness.LOADING),
        (500, "starting", 5.0, Readiness.NO_USE),
        (400, "uninitialized memory", None, Readiness.NO_USE),
        (400, 'Invalid JSON: loading "x"', None, Readiness.NO_USE),
        (400, "invalid message: 'Why is my model still loading?'", None, Readiness.NO_USE),
        (400, 'invalid message: "the model is loading"', None, Readiness.NO_USE),
        (400, "loading", None, Readiness.NO_USE),
        (429, "quota: initialization of billing", None, Readiness.NO_USE),
        (429, "quota: initialization of billing", 2.0, Readiness.LIMITED),
        (409, "the model is loading", None, Readiness.LOADING),
        (424, "warming up", None, Readiness.LOADING),
        (425, "starting up", None, Readiness.LOADING),
        (502, "the model is loading", None, Readiness.NO_USE),
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
    assert waiting.gave_up == "the run waited 600 s for it"


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
    never = patience(clock, 0)
    assert not never.wait(503, "Loading model", None)
    assert never.gave_up == "the run does not wait for it again"


def test_a_limited_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 is waited for twice: who refuses for ever would cost ten minutes."""
    clock = Clock(monkeypatch)
    waiting = patience(clock, 600)
    assert [waiting.wait(429, "slow down", 3.0) for _ in range(3)] == [True, True, False]
    assert clock.now == pytest.approx(6, abs=1)
    assert waiting.note.endswith(" s for the server, which asked to be left alone for a while (HTTP 429: slow down)")


def test_what_is_said_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that was waited for; of others nothing."""
    clock = Clock(monkeypatch)
    waiting = patience(clock, 600)
    assert waiting.note == ""
    assert not waiting.wait(401, "no", None)
    assert waiting.note == ""
    assert waiting.wait(503, "Loading\x1b[31m model\nmore", 2.0)
    assert waiting.note == "waited 2.0 s for the server, which was not ready (HTTP 503: Loading [31m model)"


def test_the_wait_is_ended_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told of it may have enough."""

    def enough(what: str, percent: float | None) -> None:
        raise BackendError(what)

    with pytest.raises(BackendError, match="waiting for m"):
        Patience("m", 600, enough, Clock(monkeypatch)).wait(503, "Loading model", None)


def test_a_wait_is_ended_by_its_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is said of it; and by that of whoever is told in place of another."""
    told, checked = list[str](), list[str]()

    def check(what: str) -> None:
        checked.append(what)
        if len(checked) > 2:
            raise BackendError("enough")

    watched = Watched.like(Watched(lambda what, percent: None, check), lambda what, percent: told.append(what))
    with pytest.raises(BackendError, match="enough"):
        Patience("m", 600, watched, Clock(monkeypatch)).wait(503, "Loading model", 5.0)
    assert told == checked
    assert len(told) == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error":{"message":"Loading model","code":503}}', "Loading model"),
        ('{"error":"Loading model"}', "Loading model"),
        ('{"detail":"Loading model"}', "Loading model"),
        ("Loading model", "Loading model"),
        ('{"error":{"message":5}}', '{"error":{"message":5}}'),
        ('{"error":null}', '{"error":null}'),
        ("[1]", "[1]"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
    ],
)
def test_the_words_of_a_body(body: str, words: str) -> None:
    """Its message, else all of it."""
    assert words_of(body) == words
