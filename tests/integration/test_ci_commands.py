"""Foreign text gives no commands to a CI system, whose log reader takes them from what a job prints."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf import cli

COMMANDS = (
    "::error::pwned",
    "##[error]pwned",
    "##vso[task.complete result=Succeeded]pwned",
    "##teamcity[buildStatus text='pwned']",
    "section_start:1560896352:pwned\r\x1b[0K",
    "%%[pwned]",
)
HOSTILE = "\n".join(["::stop-commands::pwned", *COMMANDS, "  ::add-mask::pwned", "\u202e\x1b[2Jpwned"])
AT_START = re.compile(r"(?:\s|\x1b\[[0-9;]*m)*(?:::[A-Za-z]|%%)")
ANYWHERE = re.compile(r"##\w*\[|section_(?:start|end):\d")
OUR_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def check(text: str) -> None:
    """No line is a command, and none holds a character that a terminal obeys."""
    assert "pwned" in text, "nothing hostile came through: this shows nothing"
    for line in text.splitlines():
        assert AT_START.match(line) is None, line
        assert ANYWHERE.search(line) is None, line
        assert OUR_COLOURS.sub("", line).isprintable(), line


@contextmanager
def hostile_server(*, fails: bool) -> Iterator[tuple[str, str]]:
    """Options to measure a server whose models are called like commands, and which answers with one, or fails so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200, json.dumps({"object": "list", "data": [{"id": each} for each in (*COMMANDS, "m")]}))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            if fails:
                self._answer(400, json.dumps({"error": {"message": HOSTILE, "code": HOSTILE}}))
            else:
                choice = {"index": 0, "delta": {"content": HOSTILE}, "finish_reason": None}
                end = {"index": 0, "delta": {}, "finish_reason": "stop"}
                events = [
                    f"data: {json.dumps({'id': 'x', 'model': COMMANDS[0], 'choices': [c]})}" for c in (choice, end)
                ]
                self._answer(200, "\n\n".join([*events, "data: [DONE]", ""]), "text/event-stream")

        def _answer(self, status: int, text: str, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"--flperf-base-url=http://127.0.0.1:{server.server_address[1]}/v1", f"--flperf-model={COMMANDS[0]}"
    finally:
        server.shutdown()
        server.server_close()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints."""
    with suppress(SystemExit):
        cli.main(list(arguments))
    out, err = capsys.readouterr()
    return out + err


def hostile_suite(tiny: Tiny, **scenario: Any) -> None:
    """A suite, its scenarios and its description are called like commands."""
    tiny.suite(
        *({"name": f"{each[:40]} {n}", "tags": ["x"], **scenario} for n, each in enumerate(COMMANDS)),
        description=HOSTILE,
    )
    path = tiny.folder / "tiny.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"tiny"', json.dumps("::error::pwned")), encoding="utf-8")


@pytest.mark.parametrize("options", [("-v",), ("-q",), ("-vv", "-rA"), ("--tb=long",)], ids=" ".join)
@pytest.mark.parametrize("fails", [True, False], ids=["fails", "answers"])
def test_a_run(tiny: Tiny, options: tuple[str, ...], fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Table, failures, summary and JUnit file of a server, a model, a suite and scenarios that are called so."""
    monkeypatch.setenv("GITHUB_REF_NAME", "::error::pwned")
    hostile_suite(tiny, budgets=["ttft_ms.p50 <= 0"])
    with hostile_server(fails=fails) as at:
        done = tiny.run("--flperf-suite=tiny.json", *at, "--junitxml=junit.xml", *options)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    check(done.text if "pwned" in done.text else done.text + "pwned")
    check((tiny.folder / "junit.xml").read_text(encoding="utf-8").replace("&#10;", "\n"))


def test_annotations_are_ours_alone(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """In GitHub Actions the only commands are our own annotations, a line each."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    hostile_suite(tiny)
    with hostile_server(fails=True) as at:
        done = tiny.run("--flperf-suite=tiny.json", *at)
    ours = [line for line in done.lines if line.startswith("::")]
    assert len(ours) == len(COMMANDS)
    assert all(line.startswith("::error title=") for line in ours)
    check("\n".join(line for line in done.lines if line not in ours))


@pytest.fixture
def stored_run(tiny: Tiny, stored: None, monkeypatch: pytest.MonkeyPatch) -> Done:
    """A run of which every name is a command, in the store."""
    del stored
    monkeypatch.chdir(tiny.folder)
    for name in ("GITHUB_ACTIONS", "CI", "GITLAB_CI"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("GITHUB_REF_NAME", "::error::pwned")
    monkeypatch.setenv("GITHUB_REF", "refs/heads/::error::pwned")
    hostile_suite(tiny)
    with hostile_server(fails=True) as at:
        return tiny.run("--flperf-suite=tiny.json", *at)


def test_every_command(stored_run: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """What a command prints of such a run gives none, and its JSON says the same in other letters."""
    latest = str(stored_run.report)
    for command in (
        ("show", "-vv", latest),
        ("show", "-vv", "latest"),
        ("history",),
        ("compare", "-vv", latest, latest),
        ("export", latest),
        ("export", latest, "--format=csv"),
        ("budgets", "suggest", latest),
        ("suites",),
        ("show", "::error::pwned"),
        ("baseline", "set", "::error::pwned", "##[error]pwned"),
        ("report", latest, "-o", "::error::pwned"),
        ("import", "##[error]pwned"),
        ("##[error]pwned",),
        ("serve-reference", "--fault", "::error::pwned"),
    ):
        text = said(capsys, *command)
        check(text + "pwned")
    exported = json.loads(said(capsys, "export", latest).partition("\ntaken: ")[0].partition("}taken")[0])
    assert exported["cases"][0]["model"] == COMMANDS[0]
    assert COMMANDS[1][:40] in exported["cases"][1]["scenario"]


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "answers"])
@pytest.mark.parametrize("command", ["models", "doctor"])
def test_commands_that_ask_a_server(command: str, fails: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What a server lists and answers is shown escaped."""
    with hostile_server(fails=fails) as (url, _):
        for more in ((), ("--json",), *(((f"--model={COMMANDS[0]}",),) if command == "doctor" else ())):
            text = said(capsys, command, "--base-url", url.partition("=")[2], *more)
            check(text + ("" if command == "models" or fails else "pwned"))


def test_a_log_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """The error of a server that answers with a command in place of HTTP."""
    text = said(capsys, "models", "--base-url", "http://127.0.0.1:9/::error::pwned/##[error]pwned")
    check(text + "pwned")


def test_refusals_of_a_suite(tiny: Tiny) -> None:
    """Several faults in a suite, a line each, of which none begins with a command."""
    (tiny.folder / "::error::pwned").mkdir()
    path = tiny.folder / "::error::pwned" / "##[error]pwned.json"
    path.write_text(
        json.dumps({"::error::pwned": 1, "name": HOSTILE, "scenarios": [{"name": "##[error]pwned", "%%": 2}]}),
        encoding="utf-8",
    )
    done = tiny.run(f"--flperf-suite={path}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    check(done.text)


def test_tests_of_the_users(tiny: Tiny) -> None:
    """What the fixture says and shows of a hostile server."""
    tiny.pytester.makepyfile(
        test_mine="""
        def test_fails(flperf):
            flperf.run(prompt="x", iterations=2, max_tokens=2)
        def test_asserts(flperf):
            result = flperf.run(prompt="x", iterations=2, max_tokens=2, check=False)
            assert result.passed, result
        def test_reads(flperf):
            assert flperf.run(prompt="x", iterations=2, max_tokens=2, check=False).ttft_ms.p50 < 1
        def test_settings(flperf):
            flperf.run(prompt="x", **{"::error::pwned": 1, "##[error]pwned": 2})
        """
    )
    with hostile_server(fails=True) as at:
        done = tiny.run(*at, "-p", "no:cacheprovider", "--tb=line", "-rA")
    check(done.text)


@pytest.mark.parametrize("name", ["::error::pwned", "%%pwned"])
def test_a_suite_file_that_is_called_so(tiny: Tiny, name: str) -> None:
    """Its name begins the lines of ``-v``."""
    tiny.suite(file=f"suites/{name}.json")
    done = tiny.run(f"--flperf-suite={name}", *tiny.at, "-v")
    check(done.text)
