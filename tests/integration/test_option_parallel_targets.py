"""``--flperf-parallel-targets``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from tiny_runs import Tiny

from pytest_flperf.backends.base import BackendConfig
from pytest_flperf.backends.registry import BUILT_IN
from pytest_flperf.backends.router import Place
from pytest_flperf.measurement.parallel_targets import THIS_MACHINE, SideBySide, provider_of
from pytest_flperf.measurement.runner import CaseRun
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.session import other_providers

_SLOW = Schedule(ttft_ms=300, itl_ms=1, tokens=2)


@pytest.fixture
def slow_urls() -> Iterator[list[str]]:
    """Three servers that take 300 ms for an answer."""
    with (
        ReferenceServer(ReferenceConfig(_SLOW), in_thread=True) as one,
        ReferenceServer(ReferenceConfig(_SLOW), in_thread=True) as two,
        ReferenceServer(ReferenceConfig(_SLOW), in_thread=True) as three,
    ):
        yield [one.base_url, two.base_url, three.base_url]


@pytest.fixture
def _each_port_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback servers stand for servers elsewhere, which can't be had here."""
    monkeypatch.setattr(other_providers, "provider_of", lambda place: place.config.base_url)


def targets(urls: list[str]) -> list[str]:
    """One for each server."""
    return [f"--flperf-target=base_url={url},model=reference,name=t{n}" for n, url in enumerate(urls)]


@pytest.mark.usefixtures("_each_port_a_provider")
def test_at_the_same_time(tiny: Tiny, slow_urls: list[str]) -> None:
    """Requests to different providers overlap; each case has its own figures, verdict and requests."""
    tiny.suite({"iterations": 3}, {"name": "two", "iterations": 3, "budgets": ["ttft_ms.max <= 1"]})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-parallel-targets", *targets(slow_urls))
    assert done.ret == 1, done.text
    assert [(case["model"], case["scenario"], case["outcome"]) for case in done.cases] == [
        (f"t{n}", name, outcome) for n in range(3) for name, outcome in (("one", "passed"), ("two", "failed"))
    ]
    assert all(case["requests"]["ok"] == 3 for case in done.cases)
    journal = [line for line in done.journal() if line["phase"] == "measured"]
    lines = [[line for line in journal if line["nodeid"].endswith(f"[t{n}]")] for n in range(3)]
    assert all(len(requests) == 6 for requests in lines)
    # A busy machine may start one of them a second late: some two overlap, which they never do one after the other.
    spans = sorted(
        (min(line["started_ns"] for line in each), max(line["finished_ns"] for line in each)) for each in lines
    )
    assert any(later[0] < earlier[1] for earlier, later in pairwise(spans)), "one after the other"


@pytest.mark.usefixtures("_each_port_a_provider")
def test_one_that_is_not_there(tiny: Tiny, slow_urls: list[str]) -> None:
    """An error of its own cases; the others are measured."""
    tiny.suite()
    urls = [slow_urls[0], "http://127.0.0.1:9/v1", slow_urls[1]]
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-parallel-targets", *targets(urls))
    assert done.ret == 1
    assert [case["outcome"] for case in done.cases] == ["passed", "error", "passed"]
    assert "127.0.0.1:9" in done.cases[1]["message"]


@pytest.mark.usefixtures("_each_port_a_provider")
def test_what_nobody_asked_for_is_kept(tiny: Tiny, slow_urls: list[str]) -> None:
    """``-x`` ends the session after the first failure; what had been measured beside it is in the results."""
    tiny.suite({"budgets": ["ttft_ms.max <= 1"]})
    done = tiny.run("--flperf-suite=tiny.json", "-x", "--flperf-parallel-targets", *targets(slow_urls))
    assert done.ret == 1
    kept = {case["model"]: case for case in done.cases}
    assert kept["t0"]["outcome"] == "failed"
    assert all(case["requests"]["total"] <= 1 for case in kept.values())


@pytest.mark.usefixtures("_each_port_a_provider")
def test_an_interrupt_in_the_middle(tiny: Tiny, slow_urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was under way beside each other is kept as far as it came, and marked."""
    tiny.suite({"iterations": 1000})

    def interrupt(self: SideBySide, nodeid: str, on_wait: Callable[[], None]) -> CaseRun:
        del self, nodeid, on_wait
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = [
                line
                for path in tiny.folder.glob("reports/*/journal.jsonl")
                for line in path.read_text("utf-8").splitlines()
            ]
            if all(sum(f"[{name}]" in line and '"measured"' in line for line in lines) >= 2 for name in ("t0", "t1")):
                break
            time.sleep(0.05)
        pytest.exit("enough", returncode=2)

    monkeypatch.setattr(SideBySide, "played", interrupt)
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-parallel-targets", *targets(slow_urls[:2]))
    assert done.ret == 2, done.text
    assert [case["model"] for case in done.cases] == ["t0", "t1"]
    assert all(case["requests"]["ok"] >= 2 and case["outcome"] == "error" for case in done.cases)
    assert "INTERRUPTED" in done.text


@pytest.mark.parametrize("beside", [False, True])
def test_models_that_cannot_be_unloaded(
    tiny: Tiny, slow_urls: list[str], monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    """A note of the run, whichever way they were measured; the cases after it are measured, nothing is blamed on them.

    The backend is a double: an OpenAI-compatible server that can't unload.
    """
    tiny.suite()
    tiny.pytester.makeconftest(_CANNOT_UNLOAD)
    if beside:
        monkeypatch.setattr(other_providers, "provider_of", lambda place: place.config.base_url)
    places = ((slow_urls[0], "a"), (slow_urls[0], "b"), (slow_urls[1], "c"))
    asked = [f"--flperf-target=backend=stuck,base_url={url},model=reference,name={name}" for url, name in places]
    more = ["--flperf-parallel-targets"] if beside else []
    done = tiny.run("--flperf-suite=tiny.json", *more, *asked)
    assert done.ret == 0, done.text
    assert [case["outcome"] for case in done.cases] == ["passed"] * 3
    for name in "abc":
        assert done.text.count(f"{name} could not be unloaded: the server is stuck") == 1


_CANNOT_UNLOAD = """
from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.backends.registry import BackendType

class Stuck(OpenAiBackend):
    def release(self, model):
        raise BackendError("the server is stuck")

def pytest_flperf_backends():
    return [BackendType("stuck", Stuck, "a server that can't unload", takes=frozenset({"base_url"}))]
"""


def test_one_machine_is_one_provider(tiny: Tiny, slow_urls: list[str]) -> None:
    """Servers of this machine are measured one after the other all the same, and that is said."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-parallel-targets", *targets(slow_urls))
    assert done.ret == 0, done.text
    assert "nothing is measured at the same time: all targets are of one provider" in done.text
    journal = [line for line in done.journal() if line["phase"] == "measured"]
    assert all(before["finished_ns"] <= after["started_ns"] for before, after in pairwise(journal))


@pytest.mark.parametrize(
    ("kind", "url", "model", "provider"),
    [
        ("foundry", None, "m", THIS_MACHINE),
        ("llamacpp", None, "m", THIS_MACHINE),
        ("ollama", "http://localhost:11434", "m", THIS_MACHINE),
        ("openai", "http://127.0.0.1:8080/v1", "m", THIS_MACHINE),
        ("openai", "https://gpu.example:8443/v1", "m", "gpu.example:8443"),
        ("litellm", None, "anthropic/m", "litellm: anthropic"),
        ("litellm", "https://proxy.example/v1", "anthropic/m", "proxy.example:443"),
    ],
)
def test_providers(kind: str, url: str | None, model: str, provider: str) -> None:
    """Whoever computes."""
    assert provider_of(Place(BUILT_IN[kind], BackendConfig(base_url=url), model)) == provider


@pytest.mark.parametrize(
    ("model", "options", "provider"),
    [
        ("ollama_chat/m", {}, THIS_MACHINE),
        (
            "ollama_chat/m",
            {"params": {"api_base": "http://gpu.example:11434"}},
            "litellm: ollama_chat",
        ),
        ("openai/m", {"params": {"api_base": "http://127.0.0.1:8080/v1"}}, THIS_MACHINE),
        ("openai/m", {"models": '{"openai/m": {"api_base": "http://localhost:8080/v1"}}'}, THIS_MACHINE),
        ("openai/m", {"models": {"openai/other": {"api_base": "http://127.0.0.1:8080/v1"}}}, "litellm: openai"),
        ("openai/m", {"params": "no mapping"}, "litellm: openai"),
    ],
)
def test_a_proxy_to_this_machine(model: str, options: dict[str, Any], provider: str) -> None:
    """What LiteLLM's proxy asks of a server on this machine is computed here, and is never measured beside others."""
    assert provider_of(Place(BUILT_IN["litellm"], BackendConfig(options=options), model)) == provider
