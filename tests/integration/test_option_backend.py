"""``--flperf-backend`` and ``--flperf-backend-option``."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from tiny_runs import PLAIN, Tiny


def written(tiny: Tiny, *targets: dict[str, Any]) -> None:
    """A suite with targets."""
    suite = {"name": "tiny", "scenarios": [PLAIN], "targets": list(targets)}
    (tiny.folder / "tiny.json").write_text(json.dumps(suite), encoding="utf-8")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_server_of_a_kind(tiny: Tiny) -> None:
    """The kind with the URL of the run; node ids are those of the models."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-backend=openai", *tiny.at)
    assert done.ret == 0, done.text
    assert (done.case["target"]["backend"], done.case["nodeid"]) == ("openai", "tiny.json::one[reference]")


def test_foundry_by_its_name(tiny: Tiny) -> None:
    """As without it: the embedded models where nobody names one."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-backend=foundry")
    assert done.ret == 0, done.text
    assert {case["target"]["backend"] for case in done.cases} == {"foundry"}
    assert len(done.cases) == 2


@pytest.mark.parametrize("kind", ["ollama", "lmstudio", "foundry-service", "llamacpp", "openai", "litellm"])
def test_nobody_there(tiny: Tiny, kind: str) -> None:
    """Where no such server answers, the case is an error with one sentence, and nothing hangs."""
    tiny.suite()
    url = f"--flperf-base-url=http://127.0.0.1:{free_port()}/v1"
    done = tiny.run("--flperf-suite=tiny.json", f"--flperf-backend={kind}", url, "--flperf-model=m")
    assert done.ret == 1
    assert done.case["outcome"] == "error"
    assert done.case["message"].startswith("the model is not ready: ")
    assert "onnection refused" in done.case["message"]


def test_targets_of_that_kind(tiny: Tiny) -> None:
    """Of a suite's targets those of the kind, and those that leave it to the run."""
    written(
        tiny,
        {"model": "reference", "backend": "openai", "base_url": tiny.base_url},
        {"model": "reference", "name": "any", "base_url": tiny.base_url},
        {"model": "y", "backend": "ollama"},
    )
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-backend=openai")
    assert done.ret == 0, done.text
    assert [case["model"] for case in done.cases] == ["openai:reference", "any"]


def test_no_target_of_that_kind(tiny: Tiny) -> None:
    """Said, with the kinds that there are: nothing else is measured in its place."""
    written(tiny, {"model": "y", "backend": "ollama"})
    message = tiny.refused("--flperf-suite=tiny.json", "--flperf-backend=lmstudio")
    assert "--flperf-backend: found 'lmstudio', but the targets of tiny.json are elsewhere (ollama)" in message


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--flperf-backend=olama", "--flperf-model=x"], "found 'olama', expected one of foundry, openai, "),
        (["--flperf-backend=ollama"], "--flperf-backend needs a model and tiny.json names none: add --flperf-model"),
        (["--flperf-backend=foundry", "--flperf-base-url=http://127.0.0.1:1/v1", "--flperf-model=x"], "--flperf-base-"),
        (["--flperf-backend-option=ollama.pul=true"], "found 'pul', expected an option of ollama; did you mean 'pull'"),
        (["--flperf-backend-option=olama.pull=true"], "--flperf-backend-option: found 'olama', expected one of"),
        (["--flperf-backend-option=pull=true"], "found 'pull=true', expected KIND.KEY=VALUE"),
    ],
)
def test_refused(tiny: Tiny, arguments: list[str], fault: str) -> None:
    """One message, exit 4, nothing measured."""
    tiny.suite()
    assert fault in tiny.refused("--flperf-suite=tiny.json", *arguments)


def test_an_option_reaches_its_backend(tiny: Tiny) -> None:
    """A value that the kind refuses is an error of the case that names option and value."""
    tiny.suite()
    url = f"--flperf-base-url=http://127.0.0.1:{free_port()}"
    option = "--flperf-backend-option=ollama.load_timeout_s=soon"
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-backend=ollama", url, "--flperf-model=m", option)
    assert done.ret == 1
    assert "load_timeout_s" in done.case["message"]
    assert "'soon'" in done.case["message"]


def test_listed_by_a_kind(tiny: Tiny) -> None:
    """``--flperf-list-models`` asks the kind that was named."""
    done = tiny.run("--flperf-list-models", "--flperf-backend=openai", tiny.at[0])
    assert done.ret == 0
    assert any(line.startswith("reference ") for line in done.lines)
    nobody = f"--flperf-base-url=http://127.0.0.1:{free_port()}"
    done = tiny.run("--flperf-list-models", "--flperf-backend=ollama", nobody)
    assert done.ret == 1
    assert "refused" in done.text
