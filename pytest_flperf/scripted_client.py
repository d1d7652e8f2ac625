"""Scripted client: a backend without a server, whose answers have exact times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_flperf.backends.base import About, BackendError, Capabilities, ListedModel, NativeAnswer, OnProgress, Served
from pytest_flperf.backends.registry import BackendType
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["ScriptedAnswer", "ScriptedClient"]

_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000
_NOWHERE: Final = Endpoint.parse("http://127.0.0.1:9/v1")
"""No request goes there: a target needs an address."""


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """Scripted answer: its tokens, and the time of each."""

    tokens: Sequence[str]
    """Text of each token; each arrives alone."""
    ttft_ms: float = 1.0
    itl_ms: float = 0.1
    """Gap before every further token."""
    prompt_tokens: int = 1
    """As ``usage`` says."""
    finish_reason: str = "stop"
    error: str = ""
    """An error of the server, behind the tokens."""

    def __post_init__(self) -> None:
        if not (0 <= self.ttft_ms < float("inf") and 0 <= self.itl_ms < float("inf")):
            raise ValueError(f"ttft_ms is {self.ttft_ms} and itl_ms {self.itl_ms}, expected 0 or more")
        if isinstance(self.tokens, str):
            raise TypeError("tokens is one string, expected a sequence of strings: one for each token")

    def arrivals(self, sent_ns: int) -> Iterator[tuple[int, str]]:
        """When each token arrives, and its text."""
        first_ns = sent_ns + round(self.ttft_ms * _NS_PER_MS)
        for number, text in enumerate(self.tokens):
            yield first_ns + round(number * self.itl_ms * _NS_PER_MS), text


class ScriptedClient:
    """Scripted client: a backend that answers from a script, without server, sockets and load process.

    For tests of what a run makes of measurements: budgets, rules, reports, hooks.  Requests take the time that their
    script says, and the stamps are exact: on a busy machine, too, ``ttft_ms`` of each request is the script's.

    A conftest file brings it in::

        from pytest_flperf.testing import ScriptedAnswer, ScriptedClient

        client = ScriptedClient(lambda request: ScriptedAnswer(["Hello", " world"], ttft_ms=5))

        def pytest_flperf_backends():
            return [client.backend_type]

    Then ``--flperf-backend=scripted`` measures it, and a script passes ``backend=client.backend_type`` to ``measure``.
    """

    name = "scripted"

    def __init__(
        self, script: Callable[[Mapping[str, Any]], ScriptedAnswer], models: Sequence[str] = ("scripted",)
    ) -> None:
        """Create a client; nothing is started.

        Args:
            script: Called with the JSON of each request, from the thread of its stream; what it raises is the
                request's error.
            models: Names of the models that it has.

        """
        self._script = script
        self._models = tuple(models)
        self._requests: list[Mapping[str, Any]] = []
        self._lock = threading.Lock()

    @property
    def backend_type(self) -> BackendType:
        """The kind of backend whose only instance this client is."""
        return BackendType(self.name, lambda config: self, "answers from a script, for tests")

    @property
    def requests(self) -> tuple[Mapping[str, Any], ...]:
        """The JSON of every request so far, in the order in which they began."""
        with self._lock:
            return tuple(self._requests)

    def chat(self, body: Mapping[str, Any], deadline_s: float) -> NativeAnswer:
        """Answer one request; returns when its time is over."""
        with self._lock:
            self._requests.append(body)
        answer = self._script(body)
        sent_ns = time.monotonic_ns()
        deadline_ns = sent_ns + round(deadline_s * _NS_PER_S)
        chunks = [(at_ns, _chunk({"content": text})) for at_ns, text in answer.arrivals(sent_ns)]
        ended_ns = chunks[-1][0] if chunks else sent_ns + round(answer.ttft_ms * _NS_PER_MS)
        late = ended_ns > deadline_ns
        if late:
            ended_ns = deadline_ns
            chunks = [each for each in chunks if each[0] <= deadline_ns]
        elif not answer.error:
            chunks += [(ended_ns, _chunk({}, answer.finish_reason)), (ended_ns, _usage(answer))]
        _sleep_until(ended_ns)
        error = f"no end within {deadline_s:g} s" if late else answer.error
        return NativeAnswer(sent_ns, tuple(chunks), ended_ns, error, late)

    def prepare(self, models: tuple[str, ...]) -> None:
        """Do nothing."""

    def about(self) -> About:
        """Name of the runtime."""
        return About("scripted client")

    def discover(self) -> tuple[ListedModel, ...]:
        """The models of the script."""
        return tuple(ListedModel(each, each, "server") for each in self._models)

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Find a model; raises BackendError if the script has none of that name."""
        del on_progress
        if model not in self._models:
            raise BackendError(f"{model}: the scripted client has {', '.join(self._models)}")
        return Served(self.name, model, model, _NOWHERE, native=self)

    def endpoint(self, model: str) -> Endpoint:
        """An address that nothing is sent to."""
        del model
        return _NOWHERE

    def capabilities(self, model: str) -> Capabilities:
        """All parameters are taken, and tokens are counted."""
        del model
        return Capabilities(usage=True)

    def health(self) -> str:
        """Nothing can be wrong."""
        return ""

    def processes(self, model: str) -> ServerProcesses:
        """There are none."""
        del model
        return ServerProcesses((), "a scripted client has no server")

    def release(self, model: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: it can be used again."""


def _chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> Mapping[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "scripted", "object": "chat.completion.chunk", "choices": [choice]}


def _usage(answer: ScriptedAnswer) -> Mapping[str, Any]:
    counts = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": len(answer.tokens)}
    usage = {**counts, "total_tokens": sum(counts.values())}
    return {"id": "scripted", "object": "chat.completion.chunk", "choices": [], "usage": usage}


def _sleep_until(at_ns: int) -> None:
    while (left_ns := at_ns - time.monotonic_ns()) > 0:
        time.sleep(left_ns / _NS_PER_S)
