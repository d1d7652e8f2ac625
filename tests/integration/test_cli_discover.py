"""``flperf discover``, on servers at ports of the test's own."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import RecordingServer

from pytest_flperf import cli
from pytest_flperf.backends import local_servers, registry
from pytest_flperf.reference_server import ReferenceServer

KEY = "planted-0123456789abcdef"
posix = pytest.mark.skipif(sys.platform == "win32", reason="the double of the command is a shell script")


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What else may run here is not the test's business; a terminal of 80 columns."""
    monkeypatch.setattr(local_servers, "_WELL_KNOWN", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    usual(monkeypatch)


def usual(monkeypatch: pytest.MonkeyPatch, *roots: str) -> None:
    """Make these the addresses where servers are usually found."""
    kinds = {name: replace(kind, local_urls=()) for name, kind in registry.BUILT_IN.items()}
    kinds["openai"] = replace(kinds["openai"], local_urls=roots)
    monkeypatch.setattr(registry, "BUILT_IN", kinds)


@pytest.fixture
def silent() -> Iterator[str]:
    """The root of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    """The root of a server that isn't there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command says: to people, no line too long, nothing beside it."""
    assert cli.main(["discover"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert all(len(line) <= 80 for line in lines), said.out
    return lines


def words(lines: list[str]) -> str:
    """The lines as one."""
    return " ".join(" ".join(lines).split())


def found(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What the command says: to programs."""
    assert cli.main(["discover", "--json"]) == 0
    answer: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return answer


def test_nobody_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence that says what to do, and an empty list; that is no failure."""
    assert "'flperf doctor' says what you could start" in words(lines_of(capsys))
    assert found(capsys) == []


def test_servers(
    reference: ReferenceServer, silent: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One with models, one that is silent: a row each, with the URL to measure it by; the same as JSON."""
    monkeypatch.setattr(local_servers, "_ASK_S", 0.3)
    usual(monkeypatch, reference.base_url, silent)
    lines = lines_of(capsys)
    assert lines[0].split() == ["backend", "runtime", "version", "models", "base", "URL"]
    assert any(line.startswith("openai ") and reference.base_url in line for line in lines)
    assert f"{silent}/v1: GET {silent}/api/extra/version failed: no answer within 0.3 s" in words(lines)
    one, other = found(capsys)
    assert (one["kind"], one["url"], one["problem"]) == ("openai", reference.base_url, "")
    assert "reference" in [model["model_id"] for model in one["models"]]
    assert (other["kind"], other["models"]) == ("", [])
    assert "no answer within 0.3 s" in other["problem"]


def test_many_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The first twenty, and how many more; JSON has them all."""
    names = [f"model-{number}" for number in range(33)]
    with ReferenceServer(in_thread=True) as server:
        url = server.base_url
        usual(monkeypatch, url)
        listed = tuple(local_servers.ListedModel(name, name, "server") for name in names)
        monkeypatch.setattr("pytest_flperf.backends.openai.OpenAiBackend.discover", lambda self: listed)
        assert words(lines_of(capsys)).endswith(f"{url}: {', '.join(names[:20])}, and 13 more")
        (server_found,) = found(capsys)
        assert len(server_found["models"]) == 33


def test_a_port_of_ones_own(reference: ReferenceServer, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A server at no usual address is found by its port; a port without one is said, and is a failure."""
    port, empty = (url.removesuffix("/v1").rpartition(":")[2] for url in (reference.base_url, nobody))
    assert cli.main(["discover", f"--port={port}", "--json"]) == 0
    (server,) = json.loads(capsys.readouterr().out)
    assert (server["kind"], server["url"], server["problem"]) == ("openai", reference.base_url, "")
    assert cli.main(["discover", f"--port={port}", f"--port={empty}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{nobody}/v1: nothing listens there" in words(lines)
    assert reference.base_url in words(lines)
    with pytest.raises(SystemExit) as refused:
        cli.main(["discover", "--port=70000"])
    assert refused.value.code == 4
    assert "found 70000, expected a port from 1 to 65535" in capsys.readouterr().err


@posix
def test_a_service_that_is_only_said_to_be_up(tmp_path: Path, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The ``foundry`` command names an address that accepts no connection: told, and what to do."""
    script = tmp_path / "foundry"
    script.write_text(f"#!/bin/sh\necho 'Model management service is running on {nobody}/openai/status'\n")
    script.chmod(0o755)
    (server,) = found(capsys)
    assert (server["kind"], server["url"], server["models"]) == ("foundry-service", f"{nobody}/v1", [])
    assert "nothing accepts a connection there: restart the service" in server["problem"]
    lines = lines_of(capsys)
    assert any(line.startswith("foundry-service ") for line in lines)
    assert server["problem"] in words(lines)


def test_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that repeats a key that stands in the environment finds it masked."""
    monkeypatch.setenv("SOME_API_KEY", KEY)
    with RecordingServer(refuse=lambda _: f"your key is {KEY}") as server:
        usual(monkeypatch, server.at[0].partition("=")[2])
        assert KEY not in "\n".join(lines_of(capsys))
        assert KEY not in json.dumps(found(capsys))


def test_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to name: exit 4."""
    with pytest.raises(SystemExit) as ending:
        cli.main(["discover", "there"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert "there" in capsys.readouterr().err


def test_no_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what to do: name a port, or start one."""
    monkeypatch.setattr("pytest_flperf.backends.local_servers.find_servers", lambda *_: ())
    assert cli.main(["discover"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "name the port of yours with --port=N" in said
    assert "'flperf doctor'" in said
