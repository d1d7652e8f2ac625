"""What the foundry backend does beyond the contract, on the real runtime."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_flperf.backend_contract import answer_of
from pytest_flperf.backends.admin_api import Control
from pytest_flperf.backends.base import BackendConfig, BackendError, Served
from pytest_flperf.backends.foundry import backend as foundry
from pytest_flperf.backends.foundry.backend import FoundryBackend
from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer
from pytest_flperf.foundry_host.embedded import embedded_models

NANO, MICRO = "flperf-nano", "flperf-micro"
Make = Callable[..., FoundryBackend]
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class OfAnyMachine(CatalogEntry):
    """Listed whatever the runtime asks for, as on a machine that has everything."""

    def matches(self, filters: Sequence[Mapping[str, Any]]) -> bool:
        """Whether it is asked for: always."""
        del filters
        return True


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Backends that end with the test and leave the user's folders alone."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    backends: list[FoundryBackend] = []

    def build(**values: Any) -> FoundryBackend:
        backends.append(FoundryBackend(BackendConfig(logs_dir=tmp_path / "logs", **values)))
        return backends[-1]

    yield build
    for backend in backends:
        backend.close()


def ignore(what: str, percent: float | None) -> None:
    """For where progress is not what the test is about."""
    del what, percent


def body(**more: Any) -> dict[str, Any]:
    """A request that greedy models answer in the same way each time."""
    messages = [{"role": "user", "content": "Say hello."}]
    return {"messages": messages, "temperature": 0, "max_tokens": 8, "stream": False, **more}


def ask(served: Served, **more: Any) -> Any:
    """The web service's answer; raises ControlError where it refuses."""
    return Control(served.endpoint).post("chat/completions", {"model": served.model_id, **body(**more)})


def text_of(answer: Any) -> str:
    """The text of a whole answer."""
    return str(answer["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"device": "tpu"}, "device is 'tpu', expected one of auto, cpu, gpu, npu"),
        ({"isolation": "thread"}, "isolation is 'thread', expected one of shared, process"),
        ({"transport": "pigeon"}, "transport is 'pigeon', expected one of http, native"),
    ],
)
def test_what_there_is_not(make: Make, values: dict[str, str], words: str) -> None:
    """A device, isolation or transport that there isn't is refused with those that there are."""
    with pytest.raises(BackendError, match=words):
        make(**values)


def test_shared(make: Make) -> None:
    """One process for both models, which outlives the release of one of them."""
    backend = make()
    backend.prepare((NANO, MICRO))
    first, second = backend.ensure(NANO, ignore), backend.ensure(MICRO, ignore)
    assert backend.processes(NANO) == backend.processes(MICRO)
    assert first.endpoint == second.endpoint
    backend.release(NANO)
    assert backend.processes(NANO).absent
    assert answer_of(second)


def test_two_names_of_one_model(make: Make) -> None:
    """Released under one name, it stays for the other."""
    backend = make()
    backend.ensure(NANO, ignore)
    by_id = backend.ensure(f"{NANO}:1", ignore)
    backend.release(NANO)
    assert answer_of(by_id)
    assert not backend.ensure(f"{NANO}:1", ignore).reloaded


def test_process_for_each_model(make: Make) -> None:
    """Each model has a process of its own, which ends with its release."""
    backend = make(isolation="process")
    backend.prepare((NANO, MICRO))
    first, second = backend.ensure(NANO, ignore), backend.ensure(MICRO, ignore)
    (one,), (other,) = backend.processes(NANO).pids, backend.processes(MICRO).pids
    assert one != other
    assert first.endpoint != second.endpoint
    backend.release(NANO)
    assert not psutil.pid_exists(one)
    assert backend.processes(NANO).absent
    assert answer_of(second)
    assert backend.health() == ""


def test_prepare_starts_one_process_only(make: Make) -> None:
    """The processes of models that come later don't start before they are asked for."""
    backend = make(isolation="process")
    before = set(psutil.Process().children())
    backend.prepare((NANO, MICRO))
    assert len(set(psutil.Process().children()) - before) == 1


def test_looking_around_leaves_no_process(make: Make) -> None:
    """With a process for each model, one that was started to list models is ended."""
    backend = make(isolation="process")
    before = set(psutil.Process().children())
    assert backend.about().version
    assert set(psutil.Process().children()) == before


@posix
def test_a_crash_is_a_models_own(make: Make) -> None:
    """When one model's process dies, the other answers on; the first is started anew and says so, once."""
    backend = make(isolation="process")
    first, second = backend.ensure(NANO, ignore), backend.ensure(MICRO, ignore)
    os.kill(backend.processes(NANO).pids[0], signal.SIGKILL)
    again = backend.ensure(NANO, ignore)
    assert again.reloaded
    assert again.generation > second.generation
    assert any("was restarted" in note for note in again.notes)
    assert answer_of(second)
    assert answer_of(again)
    assert not backend.ensure(NANO, ignore).reloaded
    assert first.model_id == again.model_id


@posix
@pytest.mark.parametrize(("number", "words"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSTOP, "no sign of life")])
def test_health_of_a_host(make: Make, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, words: str) -> None:
    """One that has died or hangs is said to, once, and ended; the model is loaded again when it is asked for."""
    monkeypatch.setattr(foundry, "_HEALTH_S", 0.5)
    backend = make()
    backend.ensure(NANO, ignore)
    (pid,) = backend.processes(NANO).pids
    os.kill(pid, number)
    assert words in backend.health()
    assert backend.health() == ""
    assert backend.processes(NANO).absent
    assert backend.ensure(NANO, ignore).reloaded
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_unloaded_behind_our_back(make: Make) -> None:
    """As when its time to live is over: loaded again, with a new generation and a note, once."""
    backend = make()
    first = backend.ensure(NANO, ignore)
    status, _ = Control(first.endpoint).raw("GET", f"/models/unload/{NANO}")
    assert status == 200
    again = backend.ensure(NANO, ignore)
    assert again.reloaded
    assert again.generation > first.generation
    assert any("unloaded" in note for note in again.notes)
    assert answer_of(again)
    third = backend.ensure(NANO, ignore)
    assert (third.generation, third.reloaded, third.notes) == (again.generation, False, ())


def test_embedded_models_run_on_the_cpu(make: Make) -> None:
    """They are found for it, and for another device the error says which there is."""
    assert make(device="cpu").ensure(NANO, ignore).device == "CPU"
    with pytest.raises(
        BackendError, match="No variant of 'flperf-nano' runs on 'gpu' here; there are variants for: cpu"
    ):
        make(device="gpu").ensure(NANO, ignore)


def put_in_cache(cache: Path, name: str) -> None:
    """Leave a model in a cache as a download would."""
    target = cache / "flperf" / f"{name}-1"
    target.mkdir(parents=True)
    for file in embedded_models()[0].folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    (target / "inference_model.json").write_text(json.dumps({"Name": f"{name}:1", "PromptTemplate": None}))


def test_a_device_among_variants(make: Make, tmp_path: Path) -> None:
    """Of an alias the variant for the device; where there is none, the devices that there are."""
    everywhere = OfAnyMachine("noise-npu", "noise", device="npu", execution_provider="QNNExecutionProvider")
    on_cpu = replace(everywhere, name="noise-cpu", device="cpu", execution_provider="CPUExecutionProvider")
    put_in_cache(tmp_path / "cache", "noise-cpu")
    put_in_cache(tmp_path / "cache", "noise-npu")
    with CatalogServer([everywhere, on_cpu]) as catalog:
        values = {"catalog_url": catalog.url, "model_cache_dir": tmp_path / "cache"}
        served = make(device="cpu", **values).ensure("noise", ignore)
        assert (served.model_id, served.device) == ("noise-cpu:1", "CPU")
        assert served.execution_provider == "CPUExecutionProvider"
        assert answer_of(served)
        with pytest.raises(BackendError, match="'noise' runs on 'gpu' here; there are variants for: cpu, npu"):
            make(device="gpu", **values).ensure("noise", ignore)
        with pytest.raises(BackendError, match="'noise-cpu:1' runs on 'npu' here; there are variants for: cpu"):
            make(device="npu", **values).ensure("noise-cpu:1", ignore)


def test_capabilities_are_as_the_web_service_is(make: Make) -> None:
    """What is said to be taken changes answers, what is not is ignored or refused, and ranges are the runtime's."""
    backend = make()
    served = backend.ensure(MICRO, ignore)
    known = backend.capabilities(MICRO)
    assert known.parameters is not None
    assert known.usage is True
    greedy = text_of(ask(served))
    assert ask(served)["usage"]["completion_tokens"] == 8
    assert ask(served, max_completion_tokens=3)["usage"]["completion_tokens"] == 3
    assert text_of(ask(served, stop="s")) == greedy[: greedy.index("s")]
    assert text_of(ask(served, response_format={"type": "json_object"})) != greedy
    sampled = {"temperature": 1, "seed": 7}
    first = text_of(ask(served, **sampled))
    assert first != greedy
    assert text_of(ask(served, **sampled)) == first
    assert text_of(ask(served, **sampled, top_p=0.0001)) == greedy
    ignored = {"top_k": 1, "min_p": 0.9, "repetition_penalty": 5, "n": 2, "logit_bias": {"5": 100}}
    assert text_of(ask(served, **sampled, **ignored)) == first
    assert not known.parameters & ignored.keys()
    for name in ("presence_penalty", "frequency_penalty"):
        assert name not in known.parameters
        with pytest.raises(BackendError, match="not supported"):
            ask(served, **{name: 1})
    for name, (low, high) in known.ranges.items():
        assert ask(served, **{name: low})
        assert ask(served, **{name: high})
        with pytest.raises(BackendError, match="range"):
            ask(served, **{name: high + 0.1})


def test_without_max_tokens(make: Make) -> None:
    """The runtime's own limit cuts at 2,048 tokens, and says so."""
    answer = ask(make().ensure(NANO, ignore), max_tokens=None)
    assert answer["usage"]["completion_tokens"] == 2048
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.fixture
def native(make: Make) -> Served:
    """A model that is asked without HTTP."""
    return make(transport="native").ensure(MICRO, ignore)


def test_native_answers_as_the_web_service_does(native: Served) -> None:
    """The same chunks, stamped in order, and at the end the same counts."""
    assert native.native is not None
    answer = native.native.chat(body(stream=True), 30)
    wanted = ask(native)
    assert not answer.error
    chunks = [chunk for _, chunk in answer.chunks]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {native.model_id}
    texts = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == text_of(wanted)
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"] == wanted["usage"]
    stamps = [answer.sent_ns, *(stamp for stamp, _ in answer.chunks), answer.ended_ns]
    assert stamps == sorted(stamps)
    assert len(set(stamps[1:-1])) > 3


def test_native_without_a_stream(native: Served) -> None:
    """The whole answer in one piece, with its counts."""
    assert native.native is not None
    ((_, whole),) = native.native.chat(body(), 30).chunks
    assert text_of(whole) == text_of(ask(native))
    assert whole["usage"]["completion_tokens"] == 8


def test_native_options(native: Served) -> None:
    """Options of a request are the web service's."""
    assert native.native is not None
    (_, whole), *_ = native.native.chat(body(stop="s", seed=7, temperature=1), 30).chunks
    assert text_of(whole) == text_of(ask(native, stop="s", seed=7, temperature=1))
    assert "range" in native.native.chat(body(temperature=5), 30).error


def test_native_several_at_a_time(native: Served) -> None:
    """Each gets its own answer, and they overlap."""
    assert native.native is not None
    chat = native.native.chat
    answers = {}
    together = threading.Barrier(4)

    def play(index: int) -> None:
        together.wait()
        answers[index] = chat(body(stream=True, max_tokens=300 + index), 60)

    threads = [threading.Thread(target=play, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        assert answers[index].chunks[-1][1]["usage"]["completion_tokens"] == 300 + index
    # a busy machine may let one of them begin when others have ended
    in_order = sorted(answers.values(), key=lambda answer: answer.sent_ns)
    assert any(later.sent_ns < earlier.ended_ns for earlier, later in pairwise(in_order))


def test_native_deadline(native: Served) -> None:
    """After it the answer is cancelled: what had come is there, with an error, and the model answers on."""
    assert native.native is not None
    late = native.native.chat(body(stream=True, max_tokens=4000), 0.05)
    assert late.timed_out
    assert "no end within 0.05 s" in late.error
    assert all("usage" not in chunk for _, chunk in late.chunks)
    assert native.native.chat(body(), 30).error == ""


def test_native_refusals(native: Served) -> None:
    """A prompt that is too long is an error in the answer, and no exception."""
    assert native.native is not None
    answer = native.native.chat(body(stream=True, messages=[{"role": "user", "content": "a " * 9000}]), 30)
    assert "maximum context length" in answer.error
    assert answer.chunks == ()
    assert not answer.timed_out


@posix
def test_native_when_the_process_dies(make: Make) -> None:
    """A BackendError for a person, for each of those who wait."""
    backend = make(transport="native")
    served = backend.ensure(MICRO, ignore)
    assert served.native is not None
    (pid,) = backend.processes(MICRO).pids
    threading.Timer(0.1, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(BackendError, match="SIGKILL"):
        served.native.chat(body(stream=True, max_tokens=4000), 60)
    with pytest.raises(BackendError, match=r"stopped|SIGKILL"):
        served.native.chat(body(), 60)
