"""Ollama's API as its documentation has it (https://docs.ollama.com/api), and how it goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from server_doubles import Answer, Asked, Double, streamed

GIB = 1 << 30


def tag(name: str, size: int = 400 << 20, **more: Any) -> dict[str, Any]:
    """A model as ``/api/tags`` lists it."""
    details = {"format": "gguf", "family": "qwen2", "parameter_size": "494.03M", "quantization_level": "Q4_K_M"}
    return {"name": name, "model": name, "size": size, "digest": "ab" * 32, "details": details, **more}


class OllamaDouble(Double):
    """Loads at once; what a test sets makes it do otherwise."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.tags = [tag(name) for name in names]
        self.running: dict[str, dict[str, Any]] = {}
        self.in_gpu = 1.0
        self.context: int | None = 4096
        self.load = ""
        """``fails``, ``hangs``, ``lies``; empty: works."""
        self.pull: list[dict[str, Any]] = []
        self.pull_hangs = False

    def evict(self, name: str) -> None:
        """As after five idle minutes."""
        del self.running[name]

    def answer(self, asked: Asked) -> Answer:
        """As documented."""
        path = asked.path.removeprefix("/behind/a/proxy")
        if path.startswith("/v1/"):
            return self._openai(path, asked)
        body = asked.body or {}
        routes = {
            "/api/version": lambda: Answer({"version": "0.12.6"}),
            "/api/tags": lambda: Answer({"models": self.tags}),
            "/api/ps": lambda: Answer({"models": list(self.running.values())}),
            "/api/show": lambda: self._show(body["model"]),
            "/api/generate": lambda: self._generate(body),
            "/api/pull": lambda: Answer(lines=self._pulled(body)),
        }
        return routes[path]() if path in routes else Answer("404 page not found", 404)

    def _openai(self, path: str, asked: Asked) -> Answer:
        if path != "/v1/chat/completions":
            return Answer("404 page not found", 404)
        name = asked.body["model"]
        if name not in self.names:
            return Answer({"error": {"message": f"model {name!r} not found", "type": "not_found_error"}}, 404)
        return streamed(model=name)

    @property
    def names(self) -> list[str]:
        """What is pulled."""
        return [each["name"] for each in self.tags]

    def _generate(self, body: dict[str, Any]) -> Answer:
        name = body["model"]
        assert "prompt" not in body
        if name not in self.names:
            return Answer({"error": f"model '{name}' not found"}, 404)
        if body.get("keep_alive") == 0:
            self.running.pop(name, None)
            return Answer({"model": name, "response": "", "done": True, "done_reason": "unload"})
        assert body["keep_alive"] == -1
        if self.load == "hangs":
            self.released.wait(30)
        if self.load == "fails":
            return Answer({"error": "model requires more system memory (21.5 GiB) than is available (3.1 GiB)"}, 500)
        if self.load != "lies":
            more = {} if self.context is None else {"context_length": self.context}
            loaded = tag(name, GIB, size_vram=int(GIB * self.in_gpu), expires_at="2318-01-01T00:00:00Z", **more)
            self.running[name] = loaded
        return Answer({"model": name, "response": "", "done": True, "done_reason": "load", "load_duration": 1234000000})

    def _show(self, name: str) -> Answer:
        details = {"family": "qwen2", "parameter_size": "494.03M", "quantization_level": "Q4_K_M"}
        info = {"general.architecture": "qwen2", "qwen2.context_length": 32768}
        return Answer(
            {"parameters": 'stop "<|x|>"\nnum_ctx                 2048', "details": details, "model_info": info}
        )

    def _pulled(self, body: dict[str, Any]) -> Iterator[str]:
        for line in self.pull:
            yield json.dumps(line) + "\n"
        if self.pull_hangs:
            for _ in range(3000):  # until nobody listens any more: writing fails
                if self.released.is_set():
                    return
                yield json.dumps({"status": "pulling ab", "digest": "ab", "total": 100, "completed": 50}) + "\n"
                time.sleep(0.01)
        if self.pull and self.pull[-1].get("status") == "success":
            self.tags.append(tag(body["model"]))
