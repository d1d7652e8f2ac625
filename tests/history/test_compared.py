"""In what two runs differ beside their numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from history_doubles import HOST, case, run

from pytest_flperf.history.run_differences import differences
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, HostInfo
from pytest_flperf.results.serving import Adjustment, Target

TARGET = Target("foundry", None, "m-cpu:1", "cpu", "CPU", "CPUExecutionProvider", 4096, 100)


def told(one: CaseResult, other: CaseResult) -> tuple[str, ...]:
    """The differences between two cases of runs that are alike."""
    return differences(run(), run(1), one, other)


def test_other_prompts() -> None:
    """That they are others is said, where both results know it."""
    one, other, old = (replace(case(0), prompts_digest=digest) for digest in ("aa", "bb", ""))
    assert told(one, other) == ("prompts: aa → bb",)
    assert told(one, one) == told(one, old) == told(old, other) == ()


def test_none() -> None:
    """Other ids, times, numbers and names of the machine are no difference."""
    elsewhere = run(1, host=replace(HOST, name="other", os="Debian 12, kernel 6.9", gpus=("GPU A", "GPU B")))
    assert differences(run(), elsewhere, case(0), case(1, host="other")) == ()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"cpu": "another"}, "processor: a processor → another"),
        ({"cores": 16}, "logical cores: 8 → 16"),
        ({"ram_mb": 65_536}, "memory (GB): 31 → 64"),
        ({"os": "Debian 13, kernel 6.1.0-18"}, "system: Debian 12 → Debian 13"),
        ({"machine": "aarch64"}, "architecture: x86_64 → aarch64"),
        ({"gpus": ()}, "accelerators: GPU A, GPU B → none"),
        ({"usable_cores": 4}, "usable cores: not known → 4"),
    ],
)
def test_machine(changes: dict[str, object], line: str) -> None:
    """A line for each part of the fingerprint."""
    assert differences(run(), run(1, host=replace(HOST, **changes)), case(), case()) == (line,)


@pytest.mark.parametrize(("one", "other"), [(HOST, None), (None, HOST)])
def test_machine_that_is_not_known(one: HostInfo | None, other: HostInfo | None) -> None:
    """Of one run: said so; of both: nothing to say."""
    (line,) = differences(run(host=one), run(1, host=other), case(), case())
    assert line.startswith("machine: ")
    assert "not known" in line
    assert differences(run(host=None), run(1, host=None), case(), case()) == ()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"device": "GPU"}, "device: CPU → GPU"),
        ({"execution_provider": None}, "execution provider: CPUExecutionProvider → not known"),
        ({"model_id": "m-cpu:2"}, "model: m-cpu:1 → m-cpu:2"),
        ({"variant": "int4"}, "model variant: cpu → int4"),
        ({"size_mb": 50}, "model size (MB): 100 → 50"),
        ({"context_length": 8192}, "context length: 4096 → 8192"),
        ({"transport": "native"}, "transport: http → native"),
        ({"backend": "ollama"}, "backend: foundry → ollama"),
    ],
)
def test_target(changes: dict[str, object], line: str) -> None:
    """What served the model; its address is no difference."""
    other = replace(TARGET, base_url="http://127.0.0.1:9/v1", **changes)
    assert told(case(target=TARGET), case(target=other)) == (line,)


def test_versions() -> None:
    """Those of the runtime where it served, and of the client; not those of what measures nothing."""
    known = {"python": "3.11.7", "foundry_local_core": "1.1", "pytest_flperf": "0.1", "pytest": "9.0"}
    one, other = run(versions=known), run(1, versions={**known, "foundry_local_core": "1.2", "pytest": "9.1"})
    assert differences(one, other, case(target=TARGET), case(target=TARGET)) == ("foundry-local-core: 1.1 → 1.2",)
    assert differences(one, other, case(), case()) == (), "a server elsewhere has another runtime"
    newer = run(1, versions={**known, "pytest_flperf": "0.2"})
    assert differences(one, newer, case(), case()) == ("pytest-flperf: 0.1 → 0.2",)


def test_what_was_asked() -> None:
    """Load, settings, parameters and what the server did not take; warm-up is no difference."""
    load = Load(iterations=11, warmup=1)
    one = case(load=load, settings={"max_tokens": 64, "temperature": 0.0}, parameters={"size": 1})
    assert told(one, replace(one, load=replace(load, warmup=3))) == ()
    assert told(one, replace(one, load=replace(load, concurrency=4))) == ("load concurrency: 1 → 4",)
    assert told(one, replace(one, settings={"max_tokens": 32})) == (
        "setting max_tokens: 64 → 32",
        "setting temperature: 0.0 → not known",
    )
    assert told(one, replace(one, parameters={"size": 2})) == ("parameter size: 1 → 2",)
    left_out = replace(one, adjusted=(Adjustment("seed", "7", None, "not taken"),))
    assert told(one, left_out) == ("sent seed: as asked → left out",)


def test_long_values_are_cut() -> None:
    """A line stays a line."""
    (line,) = told(case(settings={"stop": ["a"]}), case(settings={"stop": ["x" * 5_000]}))
    assert len(line) < 120
    assert line.endswith("…")
