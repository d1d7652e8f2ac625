"""Reachability check: whether an HTTP server answers at an address.

A runtime that says "started" is not believed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

__all__ = ["check_answers"]


def check_answers(url: str, within_s: float, still_there: Callable[[], bool] = lambda: True) -> str | None:
    """Check that an HTTP server answers at ``url``; None if so.

    Otherwise, after ``within_s`` seconds, the text says what happens there instead.  ``still_there``: whether the
    server still runs, so that waiting makes sense.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError as error:
        return f"that is not an address ({error})"
    deadline = time.monotonic() + within_s
    problem = "accepted no connection"
    while (left := deadline - time.monotonic()) > 0 and still_there():
        try:
            # A plain socket: never through a proxy.
            with socket.create_connection((host, port), timeout=min(left, 5.0)) as connection:
                connection.sendall(f"GET /status HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                problem = "accepted a connection there but never answered"
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                answer = connection.recv(16)
        except TimeoutError:
            continue
        except OSError as error:
            problem = f"accepted no connection ({error.strerror or error})"
            time.sleep(min(0.05, max(0.0, deadline - time.monotonic())))
            continue
        if answer.startswith(b"HTTP/"):
            return None
        problem = f"answered there with {answer!r} and not with HTTP"
        time.sleep(min(0.05, max(0.0, deadline - time.monotonic())))
    return problem
