"""The contract on the reference server, by its URL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_flperf.backend_contract import BackendContract
from pytest_flperf.backends.base import Backend
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.reference_server import ReferenceServer


@pytest.fixture(autouse=True, scope="module")
def _server() -> Iterator[None]:
    with ReferenceServer() as server:
        TestReference.url = server.base_url
        yield


class TestReference(BackendContract):
    """Nothing is loaded there, and any model is served."""

    model = "reference"
    loads = False
    refuses_unknown = False
    url: str

    def make(self) -> Backend:
        """A backend on the one server."""
        return OpenAiBackend.at(self.url)
