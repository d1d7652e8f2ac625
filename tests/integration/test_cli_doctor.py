"""``flperf doctor``, on the real runtime, the reference server, and servers that don't do."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import RecordingServer

from pytest_flperf import cli
from pytest_flperf.backends import registry
from pytest_flperf.backends.foundry import service as foundry_service
from pytest_flperf.foundry_host.catalog import CatalogServer
from pytest_flperf.reference_server import ReferenceServer
from pytest_flperf.results.host import host_info

KEY = "planted-0123456789abcdef"
posix = pytest.mark.skipif(sys.platform == "win32", reason="the double of the command is a shell script")


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What else may be installed or run here is not the test's business; a terminal of 80 columns."""
    kinds = {name: kind for name, kind in registry.BUILT_IN.items() if name not in ("ollama", "lmstudio")}
    monkeypatch.setattr(registry, "BUILT_IN", kinds)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(foundry_service, "_REACH_S", 0.2)


@pytest.fixture
def no_catalog() -> Iterator[str]:
    """A catalog that answers and lists nothing."""
    with CatalogServer(()) as catalog:
        yield f"--catalog-url={catalog.url}"


@pytest.fixture
def nobody() -> str:
    """The root of a server that isn't there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Exit status and lines, none of them too long, none of them of a traceback, nothing beside them."""
    status = cli.main(["doctor", *arguments])
    said = capsys.readouterr()
    assert said.err == ""
    assert "Traceback" not in said.out
    lines = said.out.splitlines()
    assert all(len(line) <= 80 for line in lines), said.out
    return status, lines


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and the only finding, as JSON."""
    status = cli.main(["doctor", "--json", *arguments])
    (finding,) = json.loads(capsys.readouterr().out)
    return status, finding


def row(lines: list[str], kind: str) -> list[str]:
    """The words of a kind's row."""
    return next(line.split() for line in lines if line.startswith(f"{kind} "))


def test_all_kinds(no_catalog: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Foundry Local works here, so all is well; what the others lack is said in a sentence each."""
    status, lines = told(capsys, no_catalog)
    assert status == 0
    assert lines[0].split() == ["backend", "state", "runtime", "address", "models", "one", "token"]
    assert row(lines, "foundry")[1:4] == ["works", "Foundry", "Local"]
    assert row(lines, "foundry")[-1] == "ms"
    assert [row(lines, kind)[1] for kind in ("foundry-service", "litellm", "llamacpp")] == ["no"] * 3
    text = " ".join(" ".join(lines).split())
    assert "foundry-service: no base_url was given, and there is no `foundry` command on PATH" in text
    assert "llamacpp: no llama-server on PATH." in text
    assert "litellm: found no program on PATH named 'litellm'" in text
    assert "openai" not in [line.partition(" ")[0] for line in lines]
    assert lines[-1] == "clock: kernel stamps"


def test_options_reach_the_others(no_catalog: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``--backend``, too: each kind has its own."""
    _, lines = told(capsys, no_catalog, "--backend-option=llamacpp.server=no-such-server")
    assert "no-such-server" in " ".join(lines)


def test_one_kind(reference: ReferenceServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Named by its URL: it alone, with what it is, its models, one token of the model that was named."""
    status, lines = told(capsys, f"--base-url={reference.base_url}", "--model=reference")
    assert status == 0
    words = row(lines, "openai")
    assert words[1] == "works"
    assert reference.base_url.removeprefix("http://").removesuffix("/v1") in words
    status, finding = found(capsys, f"--base-url={reference.base_url}", "--model=reference")
    assert status == 0
    assert finding["works"]
    assert finding["model"] == "reference"
    assert finding["ttft_ms"] > 0
    assert [(step["name"], step["ok"]) for step in finding["steps"]] == [
        ("runtime", True),
        ("models", True),
        ("one token", True),
    ]
    assert finding["clock_source"]


def test_a_model_of_its_own_choice(
    reference: ReferenceServer, no_catalog: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a server that says nothing of states the first that it lists; of Foundry Local an embedded one."""
    assert found(capsys, f"--base-url={reference.base_url}")[1]["model"]
    status, finding = found(capsys, "--backend=foundry", no_catalog)
    assert status == 0
    assert finding["model"].startswith("flperf-")
    assert finding["about"]["runtime"] == "Foundry Local"


@pytest.mark.parametrize("kind", ["openai", "foundry-service", "llamacpp"])
def test_nobody_there(kind: str, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The chosen one can't work: exit 1, one sentence, no further step."""
    status, lines = told(capsys, f"--backend={kind}", f"--base-url={nobody}/v1")
    assert status == 1
    assert row(lines, kind)[1] == "no"
    assert "efused" in " ".join(lines)
    nothing = "unknown, nothing was measured"
    assert lines[-2:] == [f"GPU: {', '.join(host_info().gpus) or nothing}", f"clock: {nothing}"]
    status, finding = found(capsys, f"--backend={kind}", f"--base-url={nobody}/v1")
    assert status == 1
    assert [(step["name"], step["ok"]) for step in finding["steps"]] == [("runtime", False)]
    assert finding["problem"]


def test_a_model_that_is_not_there(reference: ReferenceServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything answers but the model: exit 1, and which step it was."""
    status, finding = found(capsys, f"--base-url={reference.base_url}", "--model=nonsense")
    assert status == 1
    assert [step["ok"] for step in finding["steps"]] == [True, True, False]
    assert "nonsense" in finding["problem"]


def test_a_server_without_models(capsys: pytest.CaptureFixture[str]) -> None:
    """It refuses to list them: exit 1, and the key that it repeats is shown nowhere."""
    with RecordingServer(refuse=str) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_KEY", KEY)
        at = (server.at[0].replace("--flperf-", "--"), "--api-key-env=MY_KEY")
        status, lines = told(capsys, *at)
        assert status == 1
        assert KEY not in " ".join(lines)
        assert "401" in " ".join(lines)
        status, finding = found(capsys, *at)
        assert status == 1
        assert KEY not in json.dumps(finding)


def said_to_be_at(folder: Path, url: str) -> None:
    """Leave a ``foundry`` on the PATH that names this service, as its documentation shows it."""
    script = folder / "foundry"
    script.write_text(f"#!/bin/sh\necho 'Model management service is running on {url}/openai/status'\n")
    script.chmod(0o755)


@posix
def test_a_service_that_is_only_said_to_be_up(tmp_path: Path, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says that it runs, and nothing accepts a connection, as on Windows on ARM64."""
    said_to_be_at(tmp_path, nobody)
    status, lines = told(capsys, "--backend=foundry-service")
    assert status == 1
    assert row(lines, "foundry-service")[1] == "no"
    text = " ".join(" ".join(lines).split())
    assert nobody in text
    assert "refused" in text


def test_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A catalog that is no URL, a kind that there isn't, an option of none: exit 4 before anything is asked."""
    for arguments, fault in (
        (["--catalog-url=nonsense"], "--catalog-url: 'nonsense' begins with neither"),
        (["--backend=olama"], "--backend: found 'olama', expected one of foundry"),
        (["--backend=foundry", "--base-url=http://127.0.0.1:9/v1"], "--base-url: the backend foundry does not use"),
        (["--backend-option=foundry.x=1"], "found 'x', expected an option of foundry; it has none"),
        (["--backend-option=x"], "--backend-option: found 'x', expected KIND.KEY=VALUE"),
        (["--nonsense"], "--nonsense"),
    ):
        with pytest.raises(SystemExit) as ending:
            cli.main(["doctor", *arguments])
        assert ending.value.code == pytest.ExitCode.USAGE_ERROR
        assert fault in capsys.readouterr().err
