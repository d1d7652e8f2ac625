"""Server admin API: JSON requests to list, load and inspect models.

Never used for measured requests.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.wrong_address import what_it_is
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.results.redaction import Redactor, url_secrets
from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.headers import check_headers, check_key, joined
from pytest_flperf.wire.tls import TlsOptions

__all__ = ["Control", "ControlError"]

_PATIENCE_S: Final = 10.0
_GRACE_S: Final = 0.25
"""Added to the total deadline, so that the socket's own timeout fires first where a server is silent."""
_MOST_BYTES: Final = 4 << 20
_LONGEST_LINE: Final = 1 << 16
_SHOWN: Final = 300
_LETS_IN: Final = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)


class ControlError(BackendError):
    """Control request failed: no answer, an error status, or invalid JSON."""

    def __init__(
        self,
        message: str,
        status: int | None = None,
        body: str = "",
        *,
        too_late: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep ``status``, ``body`` and ``headers`` of the answer, if there was one.

        ``too_late``: the request timed out.  Header names are in lower case.
        """
        super().__init__(message)
        self.status = status
        self.body = body
        self.too_late = too_late
        self.headers: Mapping[str, str] = headers or {}


class Control:
    """Control client: no proxy, no redirects, limited time and size."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        tls: TlsOptions | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Prepare control requests to a server.

        ``endpoint`` may be any URL of the server.  A path with a leading slash starts at the server's root, one without
        at the endpoint's path.

        Raises ValueError for a key or headers that can't be sent in a header.
        """
        check_key(api_key)
        check_headers(headers or {})
        self._endpoint = endpoint
        self._tls = tls or TlsOptions()
        self._patience_s = patience_s
        default = {"Accept": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._redactor = Redactor([api_key, *_secrets_in(headers or {}), *url_secrets(f"?{endpoint.query}")])
        self._headers = joined(default, headers or {})

    def get(self, path: str, patience_s: float | None = None, *, as_sent: bool = False) -> Any:
        """Get the JSON at a path.

        Args:
            path: ``/from/the/root``, or ``relative`` to the base URL's own path.
            patience_s: Timeout; None: this client's default.
            as_sent: Don't mask keys in the answer, for names that are compared and sent back.  Callers mask what
                they show or keep.

        Raises:
            ControlError: No answer, an error status, or no JSON.

        """
        return self.call("GET", path, None, patience_s, as_sent=as_sent)

    def post(self, path: str, body: Mapping[str, Any], patience_s: float | None = None) -> Any:
        """Like :meth:`get`, but POST with a JSON body."""
        return self.call("POST", path, body, patience_s)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        patience_s: float | None = None,
        *,
        as_sent: bool = False,
    ) -> Any:
        """Like :meth:`get`, with any HTTP method; None for an empty answer."""
        status, sent, headers = self._exchange(method, path, body, patience_s)
        text = self._redactor.exact(sent)
        where = self._where(method, path)
        if not 200 <= status < 300:
            said = self._redactor.text(what_it_is(status, headers, text)) or self._shown(text)
            raise ControlError(f"{where} answered {status}: {said}", status, text, headers=headers)
        if not text.strip():
            return None
        try:
            return json.loads(sent if as_sent else text)
        except (ValueError, RecursionError):
            found = self._redactor.text(what_it_is(status, headers, text))
            said = f"answered with {found}" if found else f"did not answer with JSON: {self._shown(text)}"
            raise ControlError(f"{where} {said}", status, text, headers=headers) from None

    def raw(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, patience_s: float | None = None
    ) -> tuple[int, str]:
        """Status and text of any answer; raises ControlError without an answer."""
        status, text, _ = self.exchange(method, path, body, patience_s)
        return status, text

    def exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, patience_s: float | None = None
    ) -> tuple[int, str, Mapping[str, str]]:
        """Like :meth:`raw`, with the answer's headers, their names in lower case."""
        status, text, found = self._exchange(method, path, body, patience_s)
        return status, self._redactor.exact(text), found

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, patience_s: float | None
    ) -> tuple[int, str, Mapping[str, str]]:
        """Like :meth:`exchange`; the text may still contain our key."""
        where = self._where(method, path)
        payload = None if body is None else json.dumps(body).encode()
        headers = self._headers if payload is None else joined({"Content-Type": "application/json"}, self._headers)
        patience_s = patience_s or self._patience_s
        deadline = _Deadline(patience_s)
        try:
            connection = self._connection(patience_s)
            try:
                connection.connect()
                deadline.begin(connection.sock)
                connection.request(method, self._path(path), payload, headers)
                answer = connection.getresponse()
                body_bytes = answer.read(_MOST_BYTES + 1)
            finally:
                deadline.end()
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            too_late = bool(deadline.words) or isinstance(error, TimeoutError)
            why = deadline.words or _why(error, patience_s)
            raise ControlError(f"{where} failed: {why}", too_late=too_late) from None
        if deadline.words:  # an answer without Content-Length looks complete wherever it is cut
            raise ControlError(f"{where} failed: {deadline.words}", too_late=True)
        if len(body_bytes) > _MOST_BYTES:
            raise ControlError(f"{where} answered with more than {_MOST_BYTES >> 20} MiB", answer.status)
        text = body_bytes.decode("utf-8", "replace")
        # A server may repeat our key in an error or a model name; it must not get into notes and messages.
        masked = self._redactor.exact
        return answer.status, text, {name.lower(): masked(value) for name, value in answer.getheaders()}

    def masked(self, text: str) -> str:
        """Mask keys in a text that came from an ``as_sent`` answer."""
        return self._redactor.text(text)

    def _shown(self, text: str) -> str:
        return clean(self._redactor.text(text, 4 * _SHOWN), _SHOWN)

    def lines(self, path: str, body: Mapping[str, Any], patience_s: float | None = None) -> Generator[Any, None, None]:
        """POST, and yield each line of the answer as JSON.

        Closing the generator closes the connection.  ``patience_s``: how long the server may be silent.  Raises
        ControlError as :meth:`get` does, also between lines.
        """
        where = self._where("POST", path)
        patience_s = patience_s or self._patience_s
        connection = self._connection(patience_s)
        headers = joined({"Content-Type": "application/json"}, self._headers)
        try:
            connection.request("POST", self._path(path), json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                text = self._redactor.exact(answer.read(_MOST_BYTES).decode("utf-8", "replace"))
                raise ControlError(f"{where} answered {answer.status}: {self._shown(text)}", answer.status, text)
            while line := answer.readline(_LONGEST_LINE):
                if line.strip():
                    yield json.loads(self._redactor.exact(line.decode("utf-8", "replace")))
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            too_late = isinstance(error, TimeoutError)
            raise ControlError(f"{where} failed: {_why(error, patience_s)}", too_late=too_late) from None
        finally:
            connection.close()

    def _connection(self, patience_s: float) -> http.client.HTTPConnection:
        host, port = self._endpoint.host, self._endpoint.port
        if self._endpoint.tls:
            return http.client.HTTPSConnection(host, port, timeout=patience_s, context=self._tls.context())
        return http.client.HTTPConnection(host, port, timeout=patience_s)

    def _path(self, path: str) -> str:
        if not path.startswith("/"):
            path = f"{urlsplit(self._endpoint.base_url).path.rstrip('/')}/{path}"
        return self._endpoint.with_query(path)

    def _where(self, method: str, path: str) -> str:
        parts = urlsplit(self._endpoint.base_url)
        return f"{method} {parts.scheme}://{parts.netloc}{self._path(path).partition('?')[0]}"


class _Deadline:
    """Total deadline of an answer: closes the connection when it has passed.

    A socket's own timeout starts again with every byte.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._timer: threading.Timer | None = None
        self.words = ""
        """Why the answer was cut; empty where it wasn't."""

    def begin(self, connected: socket.socket) -> None:
        """Start the timer."""
        self._timer = threading.Timer(self._patience_s + _GRACE_S, self._cut, (connected,))
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Stop the timer: the answer is complete, or has failed."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut(self, connected: socket.socket) -> None:
        self.words = f"no whole answer within {self._patience_s:g} s"
        with contextlib.suppress(OSError):  # closed just now
            connected.shutdown(socket.SHUT_RDWR)


def _why(error: Exception, patience_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {patience_s:g} s"
    return clean(str(error), _SHOWN) or type(error).__name__


def _secrets_in(headers: Mapping[str, str]) -> Iterator[str]:
    """Values of headers with credentials, with and without ``Bearer``."""
    for name, value in headers.items():
        if _LETS_IN.search(name):
            yield value
            yield value.split(" ")[-1]
