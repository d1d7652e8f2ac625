"""The command that serves."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from raw_client import QUESTION, ask

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer
from pytest_flperf.reference_server.command import add_arguments, run

COMMAND = [sys.executable, "-m", "pytest_flperf.reference_server"]


def parse(*arguments: str) -> argparse.Namespace:
    """Arguments, parsed."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "eighty"], "--port: expected a number, found 'eighty'"),
        (["--port", "70000"], "config.port: expected a whole number from 0 to 65535, found 70000"),
        (["--ttft-ms", "-1"], "schedule.ttft_ms: expected a number from 0"),
        (["--ttft-ms", "nan"], "schedule.ttft_ms: expected a number"),
        (["--tokens", "1.5"], "schedule.tokens: expected a whole number"),
        (["--tokens", "9" * 5000], "schedule.tokens"),
        (["--role-chunk", "late"], "schedule.role_chunk: expected one of early"),
        (["--host", "0.0.0.0"], "config.host: expected one of 127.0.0.1, ::1"),  # noqa: S104
        (["--fault", "earthquake"], "fault: expected one of refuse"),
        (["--calls", "weather"], "--calls: expected JSON"),
        (["--calls", '[{"name": 1}]'], "call.name: expected a string"),
        (["--wrong-calls", "name,worse"], "schedule.wrong_calls: expected some of name, arguments, broken"),
        (["--answers", "missing.json"], "missing.json"),
        (["--answers", "bad.json"], "bad.json:1: expected JSON"),
        (["--answers", "typo.json"], "typo.json:1: answer: unknown key 'shedule'; expected prompt, text, calls"),
        (["--config", "missing.json"], "missing.json"),
        (["--config", "."], "."),
        (["--config", "bad.json"], "bad.json: expected JSON"),
        (["--config", "binary.json"], "binary.json: expected text in UTF-8"),
        (["--config", "list.json"], "list.json: expected a JSON object"),
        (["--config", "typo.json"], "unknown key 'shedule'; did you mean 'schedule'?"),
    ],
)
def test_wrong_settings(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what was expected and what was found; exit 4."""
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text("{")
    Path("binary.json").write_bytes(b"\xff\x00")
    Path("list.json").write_text("[]")
    Path("typo.json").write_text('{"shedule": {}}')
    assert run(parse(*arguments)) == 4
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_helps_are_in_style() -> None:
    """Help texts start with a capital and, as single phrases, have no full stop."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for action in parser._actions:
        assert action.help
        if "--help" not in action.option_strings:
            assert action.help[0].isupper()
            assert not action.help.endswith(".")


def test_a_missing_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be served says why; exit 1."""
    assert run(parse("--cert-file", "nowhere.pem")) == 1
    assert "can't serve" in capsys.readouterr().err


def test_it_serves_until_its_input_ends(tmp_path: Path) -> None:
    """With --json it prints one line, takes commands, and ends with its input."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"schedule": {"tokens": 3, "ttft_ms": 1}, "models": ["mine"]}))
    with subprocess.Popen(
        [*COMMAND, "--json", "--config", str(config), "--itl-ms", "0.5", "--tokens", "2", "--any-model"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        said = json.loads(child.stdout.readline())
        assert said["base_url"] == f"http://127.0.0.1:{said['port']}/v1"
        assert said["pid"] == child.pid
        assert ask(said["port"], QUESTION).text == "000 001 "
        for command, answer in (
            (b"dance", b'{"error"'),
            (b"config {", b'{"error"'),
            (b"clear", b"null"),
            (b"log", b"[]"),
        ):
            child.stdin.write(command + b"\n")
            child.stdin.flush()
            assert child.stdout.readline().startswith(answer)
        child.stdin.close()
        assert child.wait(120) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_interrupted(number: signal.Signals) -> None:
    """For a person it says where it listens, needs no input, and Ctrl-C ends it without a traceback."""
    with subprocess.Popen(
        COMMAND, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("Reference server on http://127.0.0.1:")
        child.send_signal(number)
        _, error = child.communicate(timeout=120)
        assert child.returncode == 0
        assert error == ""


@pytest.mark.usefixtures("talkative_python")
def test_what_starts_python_may_print() -> None:
    """The server is found, and answers its commands, all the same."""
    with ReferenceServer(ReferenceConfig()) as server:
        assert server.port > 0
        assert not server.log
