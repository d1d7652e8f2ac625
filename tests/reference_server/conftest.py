"""Servers to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

FAST = {"ttft_ms": 5.0, "itl_ms": 1.0, "tokens": 8}


@pytest.fixture
def serve() -> Iterator[Callable[..., ReferenceServer]]:
    """Start servers in threads, quick ones unless asked otherwise; each must have had no trouble at the end."""
    with ExitStack() as stack:
        started: list[ReferenceServer] = []

        def start(config: ReferenceConfig | None = None, *, in_thread: bool = True, **schedule: Any) -> ReferenceServer:
            config = ReferenceConfig(schedule=Schedule(**(FAST | schedule))) if config is None else config
            server = stack.enter_context(ReferenceServer(config, in_thread=in_thread))
            started.append(server)
            return server

        yield start
        for server in started:
            assert server.troubles == ()
