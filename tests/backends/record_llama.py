"""Asks a real llama-server all that the double must know, and writes it down: ``python record_llama.py SERVER``.

Of each answer the status, the content type and the body; paths of this machine become ``/opt`` and ``/models``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from tiny_gguf import write_tiny_gguf

ANSWERS = Path(__file__).with_name("llama_answers.json")
_CHAT = {"messages": [{"role": "user", "content": "Say hello."}], "stream": True, "max_tokens": 8, "temperature": 0}


class Recorder:
    """Starts servers, asks, and keeps what they answer by a name."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary = binary
        self.folder = folder
        self.answers: dict[str, Any] = {}

    @contextlib.contextmanager
    def server(self, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        """A server, as soon as its port is open."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(self.binary), *arguments, "--host", "127.0.0.1", "--port", str(port), "--threads", "1"]
        log = (self.folder / "log").open("wb")
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
            yield port, process
        finally:
            process.terminate()
            process.wait()
            log.close()

    def wait(self, port: int) -> None:
        """Until all is well."""
        while self.ask(port, "GET", "/health")["status"] != 200:
            time.sleep(0.01)

    def ask(self, port: int, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """One answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        found = {"status": answer.status, "type": answer.getheader("Content-Type"), "body": self.clean(answer.read())}
        connection.close()
        return found

    def clean(self, raw: bytes) -> str:
        """The text without what belongs to this machine."""
        text = raw.decode("utf-8", "replace")
        return text.replace(str(self.binary), "/opt/llama-server").replace(str(self.folder), "/models")

    def keep(self, name: str, port: int, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Ask and keep."""
        self.answers[name] = self.ask(port, method, path, body, **headers)

    def entry(self, port: int, model: str) -> dict[str, Any]:
        """A model's entry in a router's list."""
        listed = json.loads(self.ask(port, "GET", "/models")["body"])["data"]
        found: dict[str, Any] = next(each for each in listed if each["id"] == model)
        return found

    def keep_entry(self, name: str, port: int, model: str, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Keep a model's entry as soon as its status is as wanted."""
        while not wanted((entry := self.entry(port, model))["status"]):
            pass
        self.answers[name] = entry


def _is(state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: bool(status["value"] == state)


def _router(to: Recorder, port: int) -> None:
    to.keep("health", port, "GET", "/health")
    to.keep("router props", port, "GET", "/props")
    to.keep("model props of one not loaded", port, "GET", "/props?model=alpha&autoload=false")
    to.keep_entry("entry unloaded", port, "alpha", _is("unloaded"))
    to.keep("load", port, "POST", "/models/load", {"model": "alpha"})
    to.keep_entry("entry loading", port, "alpha", _is("loading"))
    to.keep_entry("entry loaded", port, "alpha", _is("loaded"))
    to.keep("load of one that runs", port, "POST", "/models/load", {"model": "alpha"})
    to.keep("load of an unknown one", port, "POST", "/models/load", {"model": "no-such-model"})
    to.keep("chat of an unknown one", port, "POST", "/v1/chat/completions", {**_CHAT, "model": "no-such-model"})
    to.keep("model props", port, "GET", "/props?model=alpha&autoload=false")
    to.keep("metrics", port, "GET", "/metrics?model=alpha&autoload=false")
    to.keep("chat", port, "POST", "/v1/chat/completions", {**_CHAT, "model": "alpha"})
    to.keep("tokenize", port, "POST", "/tokenize?autoload=false", {"model": "alpha", "content": ""})
    long = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    long.request("POST", "/v1/chat/completions", json.dumps({**_CHAT, "model": "alpha", "max_tokens": 3000}))
    answer = long.getresponse()
    answer.read(10)
    to.keep("load without room", port, "POST", "/models/load", {"model": "beta"})
    to.keep("metrics while busy", port, "GET", "/metrics?model=alpha&autoload=false")
    _kill_child(port, "alpha")
    rest = to.clean(answer.read())
    to.answers["chat of a dead one"] = {"status": answer.status, "type": "text/event-stream", "body": rest[-200:]}
    _keep_props_of_a_dead_one(to, port)
    to.ask(port, "POST", "/models/load", {"model": "broken"})
    to.keep_entry("entry failed", port, "broken", lambda status: bool(status.get("failed")))
    to.keep("unload of one that doesn't run", port, "POST", "/models/unload", {"model": "alpha"})
    to.ask(port, "POST", "/models/load", {"model": "beta"})
    to.keep("unload", port, "POST", "/models/unload", {"model": "beta"})


def _keep_props_of_a_dead_one(to: Recorder, port: int) -> None:
    """The router notices within milliseconds, and often sooner than it is asked."""
    for _ in range(50):
        to.keep("model props of a dead one", port, "GET", "/props?model=alpha&autoload=false")
        if to.answers["model props of a dead one"]["status"] == 500:
            break
        to.ask(port, "POST", "/models/load", {"model": "alpha"})
        to.keep_entry("entry loaded", port, "alpha", _is("loaded"))
        _kill_child(port, "alpha")
    to.keep_entry("entry dead", port, "alpha", _is("unloaded"))


def _kill_child(port: int, model: str) -> None:
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if model in line and "--alias" in line and process.parent() in _listeners(port):
            os.kill(process.pid, signal.SIGKILL)


def _listeners(port: int) -> list[psutil.Process]:
    found = psutil.net_connections("tcp")
    return [psutil.Process(each.pid) for each in found if each.pid and each.laddr.port == port and not each.raddr]


def _alone(to: Recorder, port: int) -> None:
    while (answer := to.ask(port, "GET", "/health"))["status"] != 200:
        to.answers["health while loading"] = answer
    to.keep("one props", port, "GET", "/props")
    to.keep("one models", port, "GET", "/models")
    to.keep("metrics not there", port, "GET", "/metrics")


def record(binary: Path, folder: Path) -> dict[str, Any]:
    """All answers of a server by name."""
    for seed, name in enumerate(("alpha", "beta")):
        write_tiny_gguf(folder / f"{name}.gguf", seed)
    (folder / "broken.gguf").write_bytes((folder / "alpha.gguf").read_bytes()[:3000])
    to = Recorder(binary, folder)
    arguments = ["--models-dir", str(folder), "--models-max", "1", "--ctx-size", "4096", "--metrics"]
    with to.server(*arguments) as (port, _):
        to.wait(port)
        _router(to, port)
    with to.server(*arguments, "--sleep-idle-seconds", "1") as (port, _):
        to.wait(port)
        to.ask(port, "POST", "/models/load", {"model": "alpha"})
        to.keep_entry("entry sleeping", port, "alpha", _is("sleeping"))
    for _ in range(50):  # it loads in some milliseconds
        with to.server("--model", str(folder / "alpha.gguf"), "--alias", "alpha") as (port, _):
            _alone(to, port)
        if "health while loading" in to.answers:
            break
    with to.server("--model", str(folder / "alpha.gguf"), "--api-key", "secret") as (port, _):
        to.wait(port)
        to.keep("without the key", port, "GET", "/props")
    with to.server("--model", str(folder / "broken.gguf")) as (_, process):
        process.wait()
        log = to.clean((folder / "log").read_bytes()).splitlines()
    devices = subprocess.run([str(binary), "--list-devices"], capture_output=True, text=True, check=True).stdout
    build = json.loads(to.answers["one props"]["body"])["build_info"]
    return {"build": build, "devices": devices, "answers": to.answers, "log of a broken model": log}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = record(Path(sys.argv[1]).absolute(), Path(scratch))
    ANSWERS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
