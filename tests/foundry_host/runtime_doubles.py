"""Stand-ins on loopback for the services on the internet that a download goes to.

The runtime asks ``https://REGION.api.azureml.ms`` where a model's files lie, lists them there as Azure blobs, and reads
them in ranges.  Only the first address is fixed, and HTTPS: a proxy of our own, with a certificate of our own, is that
host.  Everything after it may be plain HTTP on loopback.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pytest_flperf.foundry_host.client import HostConfig

REGISTRY_HOST = "*.api.azureml.ms"
MakeConfig = Callable[..., HostConfig]
"""Of the fixture ``make_config``: a configuration whose folders are the test's own."""


def make_certificate(folder: Path) -> Path:
    """A certificate with its key in one file, for the registry's name, good for a day."""
    target = folder / "registry.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=flperf test", "-addext", f"subjectAltName=DNS:{REGISTRY_HOST}"]
    subprocess.run(
        [*command, "-keyout", str(target), "-out", str(folder / "cert.pem")], check=True, capture_output=True
    )
    target.write_bytes(target.read_bytes() + (folder / "cert.pem").read_bytes())
    return target


class _Server(http.server.ThreadingHTTPServer):
    # A connection that its client keeps alive would hold up the end of a test for as long as the client likes.
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what some tests are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class DownloadDouble:
    """Serves the files of one folder as the download of every model."""

    def __init__(self, files: Path | None, certificate: Path, *, delay_s: float = 0.0) -> None:
        """``files`` None: the registry knows no model.  ``delay_s`` passes before each range of a file."""
        self.files = files
        self.delay_s = delay_s
        self.seen: list[str] = []
        """Requests so far: method and path."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._connections: list[socket.socket] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The proxy's address, and the blob service's."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def _listing(self) -> bytes:
        assert self.files is not None
        blobs = "".join(
            f"<Blob><Name>{path.name}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>"
            f"<Etag>0x1</Etag><Content-Length>{path.stat().st_size}</Content-Length><BlobType>BlockBlob</BlobType>"
            "</Properties></Blob>"
            for path in sorted(self.files.iterdir())
        )
        results = f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>"
        return f'<?xml version="1.0"?>{results}'.encode()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                double._connections.append(self.connection)

            def finish(self) -> None:
                super().finish()
                self.connection.close()

            def do_CONNECT(self) -> None:
                double.seen.append(f"CONNECT {self.path}")
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                self.rfile.close()
                self.wfile.close()
                # The handshake apart: a client that is gone by then would leave a socket that nobody can close.
                self.connection = double._context.wrap_socket(
                    self.connection, server_side=True, do_handshake_on_connect=False
                )
                double._connections.append(self.connection)
                try:
                    self.connection.do_handshake()
                except OSError:
                    self.close_connection = True
                    return
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]
                self.close_connection = False

            def do_HEAD(self) -> None:
                self._blob(body=False)

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                double.seen.append(f"GET {parts.path}")
                if double.files is None:
                    self._send(404, b'{"error": {"message": "no such asset"}}', {})
                elif parts.path.startswith("/modelregistry/"):
                    self._send(200, json.dumps({"blobSasUri": f"{double.url}/files?sig=x"}).encode(), {})
                elif parse_qs(parts.query).get("comp") == ["list"]:
                    self._send(200, double._listing(), {"Content-Type": "application/xml"})
                else:
                    self._blob(body=True)

            def _blob(self, *, body: bool) -> None:
                assert double.files is not None
                path = double.files / unquote(urlsplit(self.path).path).rpartition("/")[2]
                data = path.read_bytes()
                headers = {
                    "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
                    "ETag": '"0x1"',
                    "x-ms-blob-type": "BlockBlob",
                }
                headers |= {"x-ms-creation-time": "Thu, 01 Jan 2026 00:00:00 GMT", "x-ms-server-encrypted": "true"}
                wanted = self.headers.get("x-ms-range") or self.headers.get("Range")
                if not body:
                    self._send(200, data, headers, body=False)
                    return
                time.sleep(double.delay_s)
                if wanted is None:
                    self._send(200, data, headers)
                    return
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                part = data[int(first) : int(last) + 1 if last else None]
                headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
                self._send(206, part, headers)

            def _send(self, status: int, data: bytes, headers: dict[str, Any], *, body: bool = True) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": len(data), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Be quiet."""

        return Handler
