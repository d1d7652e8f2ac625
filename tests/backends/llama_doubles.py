"""A llama-server that answers as a real one did: every status and body is from ``llama_answers.json``.

They were recorded by ``record_llama.py`` from the build that the file names; what stands here is when which one is
given: a model that is asked for is loading for some looks, then loaded, or failed if its name begins with ``broken``.
Also a program with llama-server's arguments, for what starts one.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("llama_answers.json").read_text(encoding="utf-8"))
ANSWERS: dict[str, Any] = RECORDED["answers"]
BUILD: str = RECORDED["build"]
_MODEL = "alpha"
"""As it was called when the answers were recorded; the file was ``/models/alpha.gguf``."""


class ReplayedLlama:
    """A router where ``alone`` is empty, else a server with that one model."""

    def __init__(self, models: Iterable[str] = ("alpha", "beta"), *, alone: str = "", models_max: int = 1) -> None:
        self.states = dict.fromkeys(models, "unloaded")
        self.ports = dict.fromkeys(self.states, 0)
        self.alone = alone
        self.models_max = models_max
        self.looks = 2
        """How often a model that is asked for is seen loading."""
        self.stuck = False
        """Whether what is loading stays so."""
        self.busy = False
        """Whether others are served: models are not given up."""
        self.dead: set[str] = set()
        """Models whose process has died unnoticed."""
        self.starting = 0
        """How many requests are still answered that the model loads."""
        self.key = ""
        self.asked: list[tuple[str, str, Any]] = []
        self._left: dict[str, int] = {}
        self._used: list[str] = []
        self._loads = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.listen("127.0.0.1", 0)
        return self

    def listen(self, host: str, port: int) -> None:
        """Serve in a thread."""
        handler = type("Handler", (_Handler,), {"llama": self})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        """As a configuration names it."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def posts(self, path: str) -> list[Any]:
        """The bodies that were posted to a path."""
        return [body for method, at, body in self.asked if method == "POST" and at == path]

    def evict(self, model: str) -> None:
        """As if somebody else had asked for another model."""
        self.states[model] = "unloaded"

    def load(self, model: str) -> None:
        """As if somebody else had asked for it, some time ago."""
        self._loads += 1
        self.states[model], self.ports[model] = "loaded", 40000 + self._loads

    def answer(self, method: str, target: str, body: Any, key: str) -> dict[str, Any]:
        """The recorded answer to a request, for the state of things."""
        parts = urlsplit(target.removeprefix("/v1"))  # the real one has these paths with and without it
        query = parse_qs(parts.query)
        with self._lock:
            self.asked.append((method, parts.path, body))
            if parts.path == "/health":
                self.starting -= 1
                return ANSWERS["health while loading" if self.starting >= 0 else "health"]
            if self.key and key != f"Bearer {self.key}":
                return ANSWERS["without the key"]
            if method == "GET":
                return self._get(parts.path, query.get("model", [""])[0], query.get("autoload") != ["false"])
            return self._post(parts.path, str(body.get("model", "")), query.get("autoload") != ["false"])

    def _get(self, path: str, model: str, autoload: bool) -> dict[str, Any]:
        if path == "/models":
            if self.alone:
                return _renamed(ANSWERS["one models"], self.alone)
            return {"status": 200, "type": "application/json", "body": json.dumps({"data": self._entries()})}
        if path == "/props" and (self.alone or not model):
            return _renamed(ANSWERS["one props"], self.alone) if self.alone else ANSWERS["router props"]
        if model and autoload:
            self._load(model)
        if model and self.states[model] not in ("loaded", "sleeping"):
            return ANSWERS["model props of one not loaded"]
        if model in self.dead:
            return ANSWERS["model props of a dead one"]
        if path == "/metrics":
            return ANSWERS["metrics while busy" if self.busy else "metrics"]
        return _renamed(ANSWERS["model props"], model)

    def _post(self, path: str, model: str, autoload: bool) -> dict[str, Any]:
        if path in ("/chat/completions", "/tokenize"):
            if not self.alone and model not in self.states:
                return ANSWERS["chat of an unknown one"]
            if not self.alone and autoload:
                self._load(model)
            if self.states.get(model) == "sleeping":
                self.states[model] = "loaded"
            return ANSWERS["tokenize"] if path == "/tokenize" else _renamed(ANSWERS["chat"], model or self.alone)
        if model not in self.states:
            return ANSWERS["load of an unknown one"]
        running = self.states[model] != "unloaded"
        if path == "/models/unload":
            self.states[model] = "unloaded"
            return ANSWERS["unload" if running else "unload of one that doesn't run"]
        if running:
            return ANSWERS["load of one that runs"]
        if not self._make_room():
            return ANSWERS["load without room"]
        self.load(model)
        self.states[model], self._left[model] = "loading", self.looks
        self._used.append(model)
        return ANSWERS["load"]

    def _load(self, model: str) -> None:
        if self.states[model] == "unloaded":
            self._make_room()
            self.load(model)
            self._used.append(model)

    def _make_room(self) -> bool:
        running = [model for model, state in self.states.items() if state in ("loading", "loaded", "sleeping")]
        if len(running) < self.models_max:
            return True
        if not self.busy:
            self.evict(min(running, key=lambda model: self._used[::-1].index(model) if model in self._used else -1))
        return not self.busy

    def _entries(self) -> list[dict[str, Any]]:
        for model, state in self.states.items():
            if state == "loading" and not self.stuck:
                self._left[model] -= 1
                if self._left[model] < 0:
                    self.states[model] = "failed" if model.startswith("broken") else "loaded"
        found = []
        for model, state in self.states.items():
            entry = _renamed_entry(ANSWERS[f"entry {state}"], model)
            args = entry["status"]["args"]
            args[args.index("--port") + 1] = str(self.ports[model])
            found.append(entry)
        for model, state in self.states.items():
            if state == "failed":
                self.states[model] = "unloaded"
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    llama: ReplayedLlama

    def do_GET(self) -> None:
        self._answer("GET", {})

    def do_POST(self) -> None:
        self._answer("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, method: str, body: Any) -> None:
        found = self.llama.answer(method, self.path, body, self.headers.get("Authorization", ""))
        raw = found["body"].encode()
        self.send_response(found["status"])
        self.send_header("Content-Type", found["type"])
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _renamed(answer: dict[str, Any], model: str) -> dict[str, Any]:
    return {**answer, "body": answer["body"].replace(_MODEL, model)}


def _renamed_entry(entry: dict[str, Any], model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(entry).replace(_MODEL, model).replace('"broken"', f'"{model}"'))
    return found


def main(arguments: list[str]) -> int:
    """Be a llama-server, as far as it has been recorded."""
    parser = argparse.ArgumentParser()
    for name in ("--host", "--model", "--alias", "--models-dir"):
        parser.add_argument(name, default="")
    for name in ("--port", "--models-max"):
        parser.add_argument(name, type=int, default=0)
    for name in ("--version", "--list-devices"):
        parser.add_argument(name, action="store_true")
    asked, _ = parser.parse_known_args(arguments)
    if asked.version:
        sys.stderr.write(f"version: replay of {BUILD}\n")
        return 0
    if asked.list_devices:
        sys.stdout.write(RECORDED["devices"])
        return 0
    if Path(asked.model).name.startswith("broken"):
        sys.stderr.write("\n".join(RECORDED["log of a broken model"]) + "\n")
        return 1
    names = sorted(path.stem for path in Path(asked.models_dir or "/nowhere").glob("*.gguf"))
    llama = ReplayedLlama(names, alone=asked.alias, models_max=asked.models_max)
    llama.starting = 2 if asked.alias else 0
    llama.listen(asked.host, asked.port)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
