"""Backend contract tests, for packages that bring their own backend.

Write a class whose name begins with ``Test`` and say how a backend is made and which model it has::

    from pytest_flperf.testing import BackendContract

    class TestMine(BackendContract):
        model = "tiny"

        def make(self):
            return MyBackend(BackendConfig(base_url="http://127.0.0.1:8080/v1"))

Each test creates and closes a backend.  Requests are for one real token, over HTTP, with the standard library alone.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any, ClassVar

from pytest_flperf.backends.base import Backend, BackendError, Served
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["BackendContract"]

_PATIENCE_S = 60.0
_TEXTS = ("content", "reasoning_content", "reasoning")


def _ignore(what: str, percent: float | None) -> None:
    del what, percent


class BackendContract:
    """Contract tests: set the attributes below and override :meth:`make`."""

    model: str
    """A model that the backend has."""
    second_model: ClassVar[str] = ""
    """Another one, if there is one."""
    loads: ClassVar[bool] = True
    """Whether it loads and unloads models, or only finds those that are there."""
    refuses_unknown: ClassVar[bool] = True
    """Whether ``ensure`` refuses a model that isn't there."""
    streams: ClassVar[bool] = True

    def make(self) -> Backend:
        """Create a new backend for one test."""
        raise NotImplementedError("say how a backend is made")

    @contextlib.contextmanager
    def backend(self) -> Iterator[Backend]:
        """Fixture: a backend that is closed after the test."""
        backend = self.make()
        try:
            yield backend
        finally:
            backend.close()

    def test_it_says_what_runs(self) -> None:
        """``about`` names the runtime."""
        with self.backend() as backend:
            assert backend.name
            assert backend.about().runtime

    def test_its_models_are_listed(self) -> None:
        """``discover`` lists the model, with a name that requests can use."""
        with self.backend() as backend:
            listed = backend.discover()
            assert all(each.model_id and each.alias and each.source for each in listed)
            assert self.model in {name for each in listed for name in (each.alias, each.model_id)}

    def test_a_model_answers_when_it_is_ready(self) -> None:
        """After ``ensure``, the endpoint returns text for the returned id."""
        with self.backend() as backend:
            backend.prepare((self.model,))
            served = backend.ensure(self.model, _ignore)
            assert served.model == self.model
            assert served.backend == backend.name
            assert backend.endpoint(self.model) == served.endpoint
            assert answer_of(served)
            assert backend.health() == ""

    def test_a_ready_model_is_not_loaded_again(self) -> None:
        """A second ``ensure`` doesn't load the model again."""
        with self.backend() as backend:
            first = backend.ensure(self.model, _ignore)
            again = backend.ensure(self.model, _ignore)
            assert (again.model_id, again.generation) == (first.model_id, first.generation)
            assert not again.reloaded

    def test_progress_is_told(self) -> None:
        """A load reports progress in words; percentages are 0 to 100."""
        told: list[tuple[str, float | None]] = []
        with self.backend() as backend:
            served = backend.ensure(self.model, lambda what, percent: told.append((what, percent)))
        assert all(what and (percent is None or 0 <= percent <= 100) for what, percent in told)
        assert told or served.load_s is None

    def test_release_lets_go(self) -> None:
        """A released model has no endpoint.

        Releasing twice, or a model that was never ready, is no error.
        """
        with self.backend() as backend:
            first = backend.ensure(self.model, _ignore)
            backend.release(self.model)
            backend.release(self.model)
            backend.release("never-was-ready")
            assert _problem_of(backend.endpoint, self.model)
            again = backend.ensure(self.model, _ignore)
            assert answer_of(again)
            if self.loads and first.load_s is not None:
                assert again.generation > first.generation
                assert again.load_s is not None

    def test_two_models_side_by_side(self) -> None:
        """Two models have different ids, and both answer in turn."""
        if not self.second_model:
            return
        with self.backend() as backend:
            for model in (self.model, self.second_model, self.model):
                assert answer_of(backend.ensure(model, _ignore))

    def test_an_unknown_model(self) -> None:
        """An unknown model raises an error that names it.

        The message is a sentence for users, and the backend goes on working.
        """
        with self.backend() as backend:
            if self.refuses_unknown:
                assert "no-such-model" in _problem_of(lambda name: backend.ensure(name, _ignore), "no-such-model")
            assert _problem_of(backend.endpoint, "another-unknown")
            assert answer_of(backend.ensure(self.model, _ignore))

    def test_processes_never_raise(self) -> None:
        """``processes`` returns live process ids or a reason.

        For an unknown model it returns a reason.
        """
        with self.backend() as backend:
            assert backend.processes("never-was-ready") is not None
            backend.ensure(self.model, _ignore)
            found = backend.processes(self.model)
            assert found.pids or found.absent

    def test_capabilities_never_raise(self) -> None:
        """``capabilities`` works before any model is ready."""
        with self.backend() as backend:
            known = backend.capabilities(self.model)
            assert known.streaming is self.streams
            assert all(low <= high for low, high in known.ranges.values())

    def test_close_twice(self) -> None:
        """``close`` is safe at any time, also twice."""
        backend = self.make()
        backend.close()
        backend = self.make()
        backend.ensure(self.model, _ignore)
        backend.close()
        backend.close()


def _problem_of(call: Any, name: str) -> str:
    """Message of a call that must fail; empty if it succeeded.

    Asserts that the message has no control characters.
    """
    try:
        call(name)
    except BackendError as error:
        text = str(error)
        assert text
        assert all(character.isprintable() or character == "\n" for character in text), text
        return text
    return ""


def answer_of(served: Served) -> str:
    """Text or reasoning of one short streamed answer.

    Reads it as a simple client would, and no more.
    """
    if served.native is not None:
        chunks = served.native.chat(_body(served), _PATIENCE_S).chunks
        return "".join(_text_of(chunk) for _, chunk in chunks)
    endpoint = served.endpoint
    if endpoint.tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            endpoint.host, endpoint.port, timeout=_PATIENCE_S, context=served.tls.context()
        )
    else:
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_PATIENCE_S)
    headers = {"Content-Type": "application/json", **served.headers}
    if served.api_key:
        headers["Authorization"] = f"Bearer {served.api_key}"
    try:
        connection.request("POST", _path(endpoint), json.dumps(_body(served)), headers)
        answer = connection.getresponse()
        raw = answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
    assert answer.status == 200, raw[:500]
    events = [line[5:] for line in raw.splitlines() if line.startswith("data:") and "{" in line]
    return "".join(_text_of(json.loads(event)) for event in events)


def _path(endpoint: Endpoint) -> str:
    return "/" + endpoint.base_url.split("://", 1)[1].partition("/")[2] + "/chat/completions"


def _body(served: Served) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Say hello."}]
    return {"model": served.model_id, "messages": messages, "stream": True, "max_tokens": 8, "temperature": 0}


def _text_of(chunk: Any) -> str:
    assert "error" not in chunk, chunk
    deltas = [each.get("delta") or {} for each in chunk.get("choices") or ()]
    return "".join(str(delta.get(key) or "") for delta in deltas for key in _TEXTS)
