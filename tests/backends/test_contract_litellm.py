"""The contract on LiteLLM's own proxy with its mock answers: one that we start, and one that runs already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

import litellm_doubles
import pytest

from pytest_flperf.backend_contract import BackendContract, _ignore
from pytest_flperf.backends.base import Backend, BackendConfig
from pytest_flperf.backends.litellm.backend import LiteLlmBackend

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(litellm_doubles.COMMAND is None, reason=litellm_doubles.MISSING),
]


def _config() -> BackendConfig:
    return BackendConfig(options={"server": litellm_doubles.COMMAND, "models": litellm_doubles.MOCKS})


@pytest.fixture(autouse=True, scope="module")
def _one_for_all() -> Iterator[None]:
    """A start takes seconds: most tests of the contract share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANTED_KEY", "planted-0123456789abcdef")
        backend = LiteLlmBackend(_config())
        try:
            served = backend.ensure("openai/tiny", _ignore)
            TestStarted.shared = backend
            TestRunning.url, TestRunning.key = served.endpoint.base_url, served.api_key
            yield
        finally:
            backend.close()


class TestStarted(BackendContract):
    """A proxy of our own; it loads nothing itself."""

    model = "openai/tiny"
    second_model = "anthropic/mock"
    loads = False
    shared: ClassVar[LiteLlmBackend]

    def make(self) -> Backend:
        """A backend with a proxy of its own."""
        return LiteLlmBackend(_config())

    @contextlib.contextmanager
    def backend(self) -> Iterator[Backend]:
        """The shared one, with nothing ready."""
        for model in (self.model, self.second_model):
            self.shared.release(model)
        yield self.shared


class TestRunning(BackendContract):
    """Somebody's proxy, by its URL and key."""

    model = "openai/tiny"
    second_model = "anthropic/mock"
    loads = False
    url: ClassVar[str]
    key: ClassVar[str | None]

    def make(self) -> Backend:
        """A backend on the one proxy."""
        return LiteLlmBackend(BackendConfig(base_url=self.url, api_key=self.key))
