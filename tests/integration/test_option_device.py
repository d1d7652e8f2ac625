"""``--flperf-device``, on the real runtime."""

from __future__ import annotations

import json

from tiny_runs import PLAIN, Tiny


def test_a_device_that_there_is(tiny: Tiny) -> None:
    """The variant for it is measured, and the results say which."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "--flperf-device=cpu")
    assert done.ret == 0, done.text
    assert done.case["target"]["device"] == "CPU"
    assert done.case["target"]["execution_provider"] == "CPUExecutionProvider"


def test_a_device_that_there_is_not(tiny: Tiny) -> None:
    """The case is an error that says which there are; another device is not measured in its place."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "--flperf-device=gpu")
    assert done.ret == 1
    assert done.case["outcome"] == "error"
    assert "runs on 'gpu' here; there are variants for: cpu" in done.case["message"]


def test_a_target_knows_better(tiny: Tiny) -> None:
    """What a target says wins over the command line."""
    suite = {"name": "tiny", "scenarios": [PLAIN], "targets": [{"model": "flperf-nano", "device": "cpu"}]}
    (tiny.folder / "tiny.json").write_text(json.dumps(suite))
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-device=npu")
    assert done.ret == 0, done.text
    assert done.case["target"]["device"] == "CPU"


def test_refused(tiny: Tiny) -> None:
    """Another word, and a backend that does not use it."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", "--flperf-device=tpu")
    assert "--flperf-device: found 'tpu', expected auto, cpu, gpu or npu" in message
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-device=cpu")
    assert "--flperf-device: the backend openai does not use it" in message
