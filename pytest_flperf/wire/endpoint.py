"""Endpoints: parsing of a base URL, and address resolution."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pytest_flperf.results.redaction import masked_query

__all__ = ["Endpoint", "EndpointError", "resolve"]

_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_.])?")  # another script's names: as xn--…
_FORM: Final = "expected a form like http://127.0.0.1:8080/v1"
_CHAT: Final = "/chat/completions"
_VERSION: Final = re.compile(r"/v[0-9][a-z0-9.]{0,15}\Z", re.IGNORECASE)
_OTHER_PATHS: Final = (
    "/models", "/completions", "/responses", "/embeddings", "/messages",
    "/api/chat", "/api/generate", "/api/tags", "/api", "/chat", "/docs", "/health",
)  # fmt: skip
"""What people copy from a server's documentation in place of the base URL."""
_MAY_HOLD_A_KEY: Final = re.compile(r"[?#;]")
"""Where the part of a URL begins that no message repeats."""
_IN_A_QUERY: Final = "!$&'()*+,;=:@/?-._~%[]"


class EndpointError(ValueError):
    """Invalid base URL, or a host without an address."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Endpoint of an OpenAI-compatible server.

    Requests go to ``base_url`` + ``/chat/completions``, with the ``query``.
    """

    base_url: str
    """Exactly as given, but for the query, and for a ``/chat/completions`` at its end."""
    host: str
    port: int
    tls: bool
    query: str = field(default="", repr=False)
    """Sent with every request, ``api-version=2024-10-21``; may hold a key, so never shown."""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Parse a base URL; raises EndpointError with what is wrong."""
        url = url.strip()
        if "@" in url:
            # first of all, so that no message below can show a password
            raise EndpointError(
                "the URL holds a user or password; keys come from the environment (an api-key-env), and write an @ "
                "in a path or query as %40"
            )
        shown = repr(_without_keys(url)[:200])
        if not url.isprintable() or any(character.isspace() or character in '<>"\\^`{|}' for character in url):
            raise EndpointError(f"{shown} has a character that a URL can't have; {_FORM}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise EndpointError(f"{shown} is not a URL ({_without_keys(str(error))}); {_FORM}") from None
        if parts.scheme not in ("http", "https"):
            raise EndpointError(f"{shown} begins with neither http:// nor https://; {_FORM}")
        if not parts.hostname:
            raise EndpointError(f"{shown} names no host; {_FORM}")
        if not _is_host(parts.hostname, bracketed="[" in parts.netloc):
            raise EndpointError(
                f"{shown} names a host that is neither an address nor a name of letters, digits, dots and dashes; "
                f"{_FORM}"
            )
        if port == 0:
            raise EndpointError(f"{shown} names port 0, on which nothing can listen; {_FORM}")
        if "#" in url:
            raise EndpointError(f"{shown} has a fragment, which a base URL can't have; {_FORM}")
        address, _, query = url.partition("?")
        if ";" in address:
            raise EndpointError(f"{shown} has a ; in its path, which a base URL can't have; {_FORM}")
        tls = parts.scheme == "https"
        base_url = _without(address.rstrip("/"), _CHAT).rstrip("/")
        host = parts.hostname.replace("%25", "%")
        return cls(base_url, host, port or (443 if tls else 80), tls, quote(query, safe=_IN_A_QUERY))

    @property
    def shown(self) -> str:
        """URL for results and people, with possible keys masked.

        The query is included; whatever in it may be a key is masked.
        """
        return f"{self.base_url}?{masked_query(self.query)}" if self.query else self.base_url

    def with_query(self, path: str) -> str:
        """Request target of a path, with the endpoint's query appended.

        It follows the query that the path may already have.
        """
        return f"{path}{'&' if '?' in path else '?'}{self.query}" if self.query else path

    @property
    def alternatives(self) -> tuple[Endpoint, ...]:
        """Other base URLs to try, the nearest first.

        The API may be there if there is none at the URL as given.
        """
        version = _VERSION.search(self.base_url)
        if version is not None:
            found = [self.base_url[: version.start()] + version[0].lower(), self.base_url[: version.start()]]
        else:
            found = [f"{self.base_url}/v1"]
        path = next((each for each in _OTHER_PATHS if self.base_url.lower().endswith(each)), None)
        if path is not None:
            parent = _without(self.base_url, path)
            found.append(parent if _VERSION.search(parent) else f"{parent}/v1")
        return tuple(replace(self, base_url=each) for each in found if each != self.base_url)

    def is_version_of(self, other: Endpoint) -> bool:
        """Whether it is the other endpoint plus a version path."""
        version = _VERSION.search(self.base_url)
        return version is not None and self.base_url[: version.start()] == other.base_url

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine by its name or address."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return False


def _without_keys(text: str) -> str:
    return _MAY_HOLD_A_KEY.split(text, maxsplit=1)[0]


def _without(url: str, path: str) -> str:
    """URL without that path at its end, however it is spelled."""
    return url[: -len(path)] if url.lower().endswith(path) else url


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        return (ipaddress.ip_address(host).version == 6) is bracketed
    except ValueError:
        # What ends in a number is meant as an address.
        return not bracketed and _NAME.fullmatch(host) is not None and not host.rpartition(".")[2].isdigit()


def resolve(endpoint: Endpoint) -> tuple[tuple[int, Any], ...]:
    """Resolve an endpoint to ``(family, socket address)`` pairs.

    In the system's order; raises EndpointError.
    """
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EndpointError(f"no address for host {endpoint.host!r}: {error}") from None
    return tuple((int(family), address) for family, _kind, _protocol, _name, address in found)
