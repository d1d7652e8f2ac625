"""Runs of pytest with a tiny suite, in this process, and a server that remembers what it was asked."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from few_plugins import run_in_process
from kept_load_process import KeptLoadProcess

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_COUNTS = re.compile(r" in \d+\.\d+s(?: \(\S+\))?(?: =+)?$")
_KEPT = KeptLoadProcess()
PLAIN: dict[str, Any] = {"name": "one", "prompt": "Hello", "max_tokens": 2, "iterations": 1, "warmup": 0}


class Done:
    """A finished run."""

    def __init__(self, ret: int, text: str, folder: Path) -> None:
        self.ret = ret
        self.text = _ESCAPES.sub("", text)
        self._folder = folder

    @property
    def lines(self) -> list[str]:
        """What was printed."""
        return self.text.splitlines()

    @property
    def counts(self) -> str:
        """The line of pytest with how many tests passed, failed and so on; a busy run prints others after it."""
        return [line for line in self.lines if _COUNTS.search(line)][-1]

    @property
    def warnings(self) -> list[str]:
        """The lines that warn, but for those of short answers, and of a machine too busy to read in time."""
        found = [line for line in self.lines if line.startswith("warning: ")]
        busy = ("this client may be the bottleneck", "arrived at once")
        return [line for line in found if not any(words in line for words in busy)]

    @property
    def ids(self) -> list[str]:
        """Node ids that ``--co -q`` printed."""
        return [line for line in self.lines if "::" in line and " " not in line]

    @property
    def report(self) -> Path:
        """The newest run's folder."""
        return (self._folder / "reports" / "latest").resolve()

    @property
    def results(self) -> dict[str, Any]:
        """``results.json``."""
        found: dict[str, Any] = json.loads((self.report / "results.json").read_text(encoding="utf-8"))
        return found

    @property
    def cases(self) -> list[dict[str, Any]]:
        """The cases of ``results.json``."""
        found: list[dict[str, Any]] = self.results["cases"]
        return found

    @property
    def case(self) -> dict[str, Any]:
        """The only case of ``results.json``."""
        (found,) = self.cases
        return found

    def journal(self, name: str = "journal.jsonl") -> list[dict[str, Any]]:
        """The lines of a journal."""
        return [json.loads(line) for line in (self.report / name).read_text(encoding="utf-8").splitlines()]


class Tiny:
    """A folder in which pytest runs on small suites."""

    def __init__(self, pytester: pytest.Pytester, base_url: str) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        self.base_url = base_url
        self.at = (f"--flperf-base-url={base_url}", "--flperf-model=reference")
        """Measure the reference server."""

    def suite(self, *scenarios: dict[str, Any], file: str = "tiny.json", **settings: Any) -> Path:
        """Write a suite; each scenario has what ``PLAIN`` has unless it says otherwise."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        written = [{**PLAIN, **scenario} for scenario in scenarios or ({},)]
        path.write_text(
            json.dumps({"name": "tiny", **settings, "scenarios": written}, ensure_ascii=True), encoding="utf-8"
        )
        return path

    def run(self, *arguments: str) -> Done:
        """Run pytest in this process; a traceback of ours is a failure whatever the test wants."""
        with _KEPT.lent():
            return self._done(run_in_process(self.pytester, *arguments))

    def run_apart(self, *arguments: str) -> Done:
        """Run pytest as a process of its own."""
        return self._done(self.pytester.runpytest_subprocess(*arguments, timeout=300))

    def command(self, *arguments: str) -> pytest.RunResult:
        """Run ``flperf …`` as a process of its own, which needs no PATH."""
        return self.pytester.run(sys.executable, "-m", "pytest_flperf", *arguments, timeout=300)

    def measure(self, *arguments: str) -> Done:
        """Run ``tiny.json`` on the reference server."""
        if not (self.folder / "tiny.json").exists():
            self.suite()
        return self.run("--flperf-suite=tiny.json", *self.at, *arguments)

    def refused(self, *arguments: str) -> str:
        """Run pytest, which must refuse it with exit 4; the message."""
        done = self.run(*arguments)
        assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
        assert not (self.folder / "reports").exists()
        (message,) = [line for line in done.lines if line.startswith("ERROR: ")]
        return message

    def _done(self, result: pytest.RunResult) -> Done:
        text = "\n".join([*result.outlines, *result.errlines])
        assert "Traceback" not in text, text
        assert "INTERNALERROR" not in text, text
        return Done(int(result.ret), text, self.folder)


class RecordingServer:
    """Answers every chat with two tokens, or as told, and keeps what it was asked."""

    def __init__(
        self,
        refuse: Callable[[dict[str, str]], str] | None = None,
        after: int = 0,
        count: Callable[[dict[str, Any]], int] | None = None,
    ) -> None:
        """``refuse`` makes the body of an error out of a request's headers, from the request after ``after`` on.

        ``count`` says how many tokens a request's prompt has, for the answer's usage; without it there is none.
        """
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(401, "text/plain", refuse(dict(self.headers.items())) if refuse is not None else "no")

            def do_POST(self) -> None:
                headers = dict(self.headers.items())
                body = json.loads(self.rfile.read(int(headers.get("content-length", headers.get("Content-Length", 0)))))
                outer.headers.append(headers)
                outer.bodies.append(body)
                if refuse is not None and len(outer.bodies) > after:
                    self._answer(401, "application/json", refuse(headers))
                elif body.get("stream"):
                    usage = "" if count is None else _usage(count(body))
                    self._answer(200, "text/event-stream", _STREAM.replace("data: [DONE]", f"{usage}data: [DONE]"))
                else:
                    self._answer(200, "application/json", _WHOLE)

            def _answer(self, status: int, kind: str, text: str) -> None:
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes in the middle of an answer is nothing to write home about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def at(self) -> tuple[str, str]:
        """Options to measure it."""
        return f"--flperf-base-url=http://127.0.0.1:{self._server.server_address[1]}/v1", "--flperf-model=m"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _event(delta: dict[str, Any], finish: str | None = None) -> str:
    return "data: " + json.dumps({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _usage(prompt_tokens: int) -> str:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 2, "total_tokens": prompt_tokens + 2}
    return "data: " + json.dumps({"id": "x", "choices": [], "usage": usage}) + "\n\n"


_STREAM = "\n\n".join([_event({"content": "a"}), _event({"content": "b"}), _event({}, "stop"), "data: [DONE]", ""])
_WHOLE = json.dumps(
    {
        "id": "x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
)
