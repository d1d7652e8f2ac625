"""Client limits: exhausted resources of this machine, and error texts."""

from __future__ import annotations

import errno
import socket
import ssl
import sys
from typing import Any, Final, TypeAlias

from pytest_flperf.wire.exchange import Ending

__all__ = ["Ended", "client_limit", "error_words", "has_source_address", "is_shortage"]

Ended: TypeAlias = tuple[Ending, str]
"""How a request ended, and why."""

_DESCRIPTORS: Final = "too few file descriptors" + ("" if sys.platform == "win32" else "; ulimit -n raises the limit")
_MEMORY: Final = "too little memory for sockets"
_PORTS: Final = "no local port left; those of closed connections are free again after a minute or two"
_BY_NAME: Final = {
    "EMFILE": _DESCRIPTORS,
    "ENFILE": _DESCRIPTORS,
    "ENOSPC": _DESCRIPTORS,  # epoll, where fs.epoll.max_user_watches is reached
    "ENOBUFS": _MEMORY,
    "ENOMEM": _MEMORY,
    "EADDRINUSE": _PORTS,
    "EADDRNOTAVAIL": _PORTS,
}
# Windows has numbers of its own for sockets.
_WORDS: Final = {
    number: words
    for name, words in _BY_NAME.items()
    for prefix in ("", "WSA")
    if (number := getattr(errno, prefix + name, None)) is not None
}


def is_shortage(error: OSError) -> bool:
    """Whether an error means that this machine ran out of a resource.

    Such an error says nothing about the server.
    """
    return error.errno in _WORDS and not isinstance(error, ssl.SSLError)  # whose numbers are OpenSSL's


def has_source_address(family: int, address: Any) -> bool:
    """Whether this machine has a source address for a destination.

    Without one (IPv6 is switched off) connecting fails with the same error as without a free port.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def client_limit(error: OSError, what: str = "") -> Ended:
    """Ending of a request that hit a limit of this machine.

    ``what`` was being done.
    """
    words = _WORDS.get(error.errno or 0, _DESCRIPTORS)
    return Ending.CLIENT_LIMIT, f"{what}{error_words(error)}: this machine has {words}"


def error_words(error: OSError) -> str:
    """Text of an OS error, with its symbolic name."""
    if isinstance(error, ssl.SSLError):  # its number is one of OpenSSL's
        parts = (error.reason or str(error), getattr(error, "verify_message", ""))
        return ": ".join(str(part).replace("_", " ").lower() for part in parts if part)
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{error.strerror or error} ({name})"
