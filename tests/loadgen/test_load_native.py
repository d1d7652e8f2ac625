"""Plans played without HTTP, on a model that is a Python object: a double of a server's process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_flperf.backends.base import BackendError, NativeAnswer
from pytest_flperf.loadgen.native import NativeClient
from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, LoadSchedule, PlanStats, RequestPlan
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.sample import Outcome, Sample

_NS_PER_S = 1_000_000_000
_MS = 1_000_000


@dataclass
class Model:
    """Answers with two chunks of its own stamps; keeps what it was asked, and how many at a time."""

    takes_s: float = 0.0
    error: str = ""
    timed_out: bool = False
    dies: bool = False
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def chat(self, body: Mapping[str, Any], deadline_s: float) -> NativeAnswer:
        """As NativeChat says."""
        with self.lock:
            self.asked.append(body)
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        assert deadline_s == 9
        sent_ns = time.monotonic_ns()
        time.sleep(self.takes_s)
        with self.lock:
            self.now -= 1
        if self.dies:
            raise BackendError("the host has died")
        chunks = [(sent_ns + 5 * _MS, _chunk("a")), (sent_ns + 8 * _MS, _chunk("b", "stop"))]
        return NativeAnswer(sent_ns, tuple(chunks), sent_ns + 9 * _MS, self.error, self.timed_out)


def _chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def entry(index: int, due_ns: int | None = None) -> Entry:
    """A request as the wire would have it."""
    request = b"POST /v1 HTTP/1.1\r\nHost: x\r\n\r\n" + json.dumps({"n": index}).encode()
    return Entry(index, Phase.MEASURED, 0, stream=True, request=request, due_ns=due_ns)


def plan(entries: list[Entry], concurrency: int = 1, **more: Any) -> RequestPlan:
    """Nine seconds for each request."""
    deadlines = Deadlines(_NS_PER_S, _NS_PER_S, _NS_PER_S, _NS_PER_S, 9 * _NS_PER_S)
    return RequestPlan((Destination(()),), deadlines, concurrency, len(entries), entries, **more)


def played(model: Model, asked: RequestPlan) -> tuple[PlanStats, list[Sample], list[Exchange]]:
    """What comes of it, decoded."""
    exchanges: list[Exchange] = []
    stats = NativeClient(model).play(asked, exchanges.append)
    return stats, [decode(each) for each in exchanges], exchanges


def test_an_answer() -> None:
    """Stamps are the model's own; the bytes decode like those of a server; the journal keeps them."""
    model = Model()
    stats, samples, exchanges = played(model, plan([entry(0), entry(1)]))
    assert [body["n"] for body in model.asked] == [0, 1]
    assert (stats.finished, stats.gave_up, stats.stopped) == (2, False, False)
    for sample in samples:
        assert sample.ok, sample.evidence
        assert sample.sent_ns is not None
        assert [stamp - sample.sent_ns for stamp in sample.chunk_ns] == [5 * _MS, 8 * _MS]
        assert sample.output_text == "ab"
        assert sample.finish_reason == "stop"
        assert sample.model_echoed == "m"
    assert Exchange.from_record(json.loads(json.dumps(exchanges[0].to_record()))) == exchanges[0]


def test_an_answer_beyond_the_bound() -> None:
    """It has the outcome of one over HTTP, with the times of its tokens."""
    _, (sample,), (exchange,) = played(Model(), plan([entry(0)], answer_bytes=100))
    assert sample.outcome is Outcome.ANSWER_TOO_LARGE
    assert sample.first_token_ns is not None
    assert exchange.left_out_bytes == 0


def test_streams_side_by_side() -> None:
    """As many at a time as there are streams, and no more."""
    model = Model(takes_s=0.05)
    stats, samples, _ = played(model, plan([entry(n) for n in range(9)], concurrency=3))
    assert stats.finished == 9
    assert model.most_at_once == 3
    assert {sample.slot for sample in samples} == {0, 1, 2}


def test_due_times() -> None:
    """An open loop sends when requests are due, whether others have ended or not."""
    model = Model(takes_s=0.2)
    _, samples, _ = played(model, plan([entry(n, n * 20 * _MS) for n in range(4)], concurrency=4))
    assert model.most_at_once == 4
    assert all(sample.sent_ns >= sample.due_ns for sample in samples if sample.sent_ns and sample.due_ns)


def test_a_duration_and_its_ramp_up() -> None:
    """After the duration nothing begins; what begins in the ramp-up is outside."""
    schedule = LoadSchedule(duration_ns=300 * _MS, steady_from_ns=100 * _MS)
    stats, samples, _ = played(Model(takes_s=0.02), plan([entry(n) for n in range(10_000)], schedule=schedule))
    assert stats.finished < 10_000
    assert {sample.phase for sample in samples} == {Phase.OUTSIDE, Phase.MEASURED}


def test_what_follows() -> None:
    """A request that another brings about is sent after its pause."""
    begun = time.monotonic()

    def follow(exchange: Exchange) -> Entry | None:
        wait_ns = 50 * _MS
        return Entry(9, Phase.RETRY, 0, True, entry(9).request, None, wait_ns) if exchange.index == 0 else None

    stats, samples, _ = played(Model(), plan([entry(0), entry(1)], follow=follow))
    assert [sample.phase for sample in samples] == [Phase.MEASURED, Phase.MEASURED, Phase.RETRY]
    assert time.monotonic() - begun >= 0.05
    assert stats.finished == 3


@pytest.mark.parametrize(
    ("model", "outcome", "detail"),
    [
        (Model(error="out of memory"), Outcome.ERROR_IN_STREAM, "out of memory"),
        (Model(error="no end", timed_out=True), Outcome.TOTAL_TIMEOUT, "no end"),
        (Model(dies=True), Outcome.CONNECTION_LOST, "the host has died"),
    ],
)
def test_failures(model: Model, outcome: Outcome, detail: str) -> None:
    """One outcome for each, with what was said."""
    _, (sample,), _ = played(model, plan([entry(0)]))
    assert sample.outcome is outcome
    assert sample.evidence is not None
    assert detail in sample.evidence.detail


def test_giving_up() -> None:
    """After so many without an answer the rest is left out; a time that is over leaves it out, too."""
    stats, samples, _ = played(Model(dies=True), plan([entry(n) for n in range(20)], give_up_after=3))
    assert (len(samples), stats.gave_up) == (3, True)
    stats = NativeClient(Model()).play(plan([entry(0)]), lambda _: None, stop_at=time.monotonic() - 1)
    assert (stats.finished, stats.stopped) == (0, True)


def test_what_nobody_expected() -> None:
    """A backend of others that raises what it mustn't: the request failed with that, and the rest goes on."""

    class Broken(Model):
        def chat(self, body: Mapping[str, Any], deadline_s: float) -> NativeAnswer:
            if body["n"] == 0:
                raise KeyError("choices")
            return super().chat(body, deadline_s)

    _, (first, second), _ = played(Broken(), plan([entry(0), entry(1)]))
    assert first.outcome is Outcome.CONNECTION_LOST
    assert first.evidence is not None
    assert first.evidence.detail == "KeyError: 'choices'"
    assert second.ok


def test_chunks_that_are_no_json() -> None:
    """As above, where an answer holds what can't be written down."""

    class Strange(Model):
        def chat(self, body: Mapping[str, Any], deadline_s: float) -> NativeAnswer:
            answer = super().chat(body, deadline_s)
            return NativeAnswer(answer.sent_ns, ((answer.sent_ns, {"x": object()}),), answer.ended_ns)

    _, (sample,), _ = played(Strange(), plan([entry(0)]))
    assert not sample.ok
    assert sample.evidence is not None
    assert "TypeError" in sample.evidence.detail
