"""Model catalog on loopback, in the Foundry Local runtime's format.

The runtime serves over HTTP only models that a catalog lists.  With this catalog alone it lists, loads and serves the
packaged models, and never waits for the public catalog.  Tests use it in place of the public one.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

__all__ = ["CATALOG_PATH", "CatalogEntry", "CatalogServer", "answer"]

CATALOG_PATH: Final = "/asset-gallery/v1.0/models"
"""The runtime refuses catalog URLs that do not end in this."""
_DEPLOYMENT: Final = "Foundry Local on Devices"
_MAX_BODY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One variant of a model, as a catalog lists it."""

    name: str
    alias: str
    version: int = 1
    device: str = "cpu"
    execution_provider: str = "CPUExecutionProvider"
    size_bytes: int = 0
    context_length: int | None = None
    """In tokens."""
    max_output_tokens: int | None = None
    task: str = "chat-completion"
    license: str = "MIT"
    publisher: str = "flperf"

    @property
    def id(self) -> str:
        """Model id: ``name:version``."""
        return f"{self.name}:{self.version}"

    def as_json(self) -> dict[str, Any]:
        """Catalog entry in the runtime's JSON format.

        2.2 takes the limits from ``systemCatalogData``, others from the tags.
        """
        asset = f"azureml://registries/azureml/models/{self.name}/versions/{self.version}"
        data: dict[str, Any] = {
            "publisher": self.publisher,
            "displayName": self.alias,
            "alias": self.alias,
            "license": self.license,
            "inferenceTasks": [self.task],
            "deploymentOptions": [_DEPLOYMENT],
            "inputModalities": ["text"],
            "outputModalities": ["text"],
        }
        tags = {"alias": self.alias, "foundryLocal": "", "task": self.task, "license": self.license}
        if self.context_length is not None:
            data["textContextWindow"] = self.context_length
        if self.max_output_tokens is not None:
            data["maxOutputTokens"] = self.max_output_tokens
            tags["maxOutputTokens"] = str(self.max_output_tokens)
        return {
            "assetId": asset,
            "entityId": asset,
            "id": self.id,
            "annotations": {"tags": tags, "systemCatalogData": data},
            "properties": {
                "id": self.id,
                "name": self.name,
                "version": self.version,
                "creationContext": {"createdTime": "2026-01-01T00:00:00Z"},
                "variantInfo": {
                    "parents": [{"assetId": f"azureml://registries/azureml/models/{self.alias}/versions/1"}],
                    "variantMetadata": {
                        "modelType": "ONNX",
                        "device": self.device,
                        "executionProvider": self.execution_provider,
                        "fileSizeBytes": self.size_bytes,
                    },
                },
            },
        }

    def matches(self, filters: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the entry matches these filters.

        A filter on an unknown field excludes nothing.
        """
        known = {
            "device": self.device,
            "executionProvider": self.execution_provider,
            "alias": self.alias,
            "name": self.name,
            "id": self.id,
        }
        for each in filters:
            mine = known.get(str(each.get("field", "")).rpartition("/")[2])
            values = each.get("values")
            if mine is None or not isinstance(values, list):
                continue
            found = mine.lower() in {str(value).lower() for value in values}
            if found == str(each.get("operator", "eq")).lower().startswith("not"):
                return False
        return True


def answer(entries: Sequence[CatalogEntry], request: Mapping[str, Any]) -> dict[str, Any]:
    """Page of entries for a catalog request."""
    asked = request.get("indexEntitiesRequest", request)
    filters = asked.get("filters") or []
    latest = any(each.get("field") == "labels" for each in filters)
    newest = {entry.name: max(e.version for e in entries if e.name == entry.name) for entry in entries}
    found = [e for e in entries if e.matches(filters) and (not latest or e.version == newest[e.name])]
    token = str(asked.get("continuationToken") or "0")
    first = int(token) if token.isdigit() else 0
    last = first + max(1, int(asked.get("pageSize") or 50))
    page: dict[str, Any] = {
        "totalCount": len(found),
        "value": [entry.as_json() for entry in found[first:last]],
        "continuationToken": str(last) if last < len(found) else None,
    }
    return {"indexEntitiesResponse": page, **page}


class CatalogServer:
    """Catalog server on a free port of ``127.0.0.1``, until closed."""

    def __init__(self, entries: Sequence[CatalogEntry], *, status: int = 200) -> None:
        """Serve ``entries``; a ``status`` other than 200 simulates a broken catalog."""
        self.entries = tuple(entries)
        self.requests: list[dict[str, Any]] = []
        """Bodies of the requests so far."""
        self._status = status
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="flperf-catalog", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """URL for the runtime's ``catalog_urls``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{CATALOG_PATH}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        catalog = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
                    self._reply(411, {"error": "Content-Length of at most 1 MB is needed"})
                    return
                try:
                    request = json.loads(self.rfile.read(int(length)))
                    body = answer(catalog.entries, request)
                except (ValueError, TypeError, AttributeError) as error:
                    self._reply(400, {"error": f"not a catalog request: {error}"})
                    return
                catalog.requests.append(request)
                self._reply(catalog._status, body)

            def _reply(self, status: int, body: Mapping[str, Any]) -> None:
                payload = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: object) -> None:
                """Do nothing: the log belongs to the runtime."""

        return Handler
