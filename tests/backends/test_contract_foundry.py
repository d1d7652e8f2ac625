"""The contract on the real Foundry Local runtime."""

from __future__ import annotations

from pytest_flperf.backends.base import Backend, BackendConfig
from pytest_flperf.backends.contract import BackendContract
from pytest_flperf.backends.foundry import FoundryBackend


class TestFoundry(BackendContract):
    """The embedded models, one host for both."""

    model = "flperf-nano"
    second_model = "flperf-micro"

    def make(self) -> Backend:
        """A backend with a host of its own."""
        return FoundryBackend(BackendConfig())
