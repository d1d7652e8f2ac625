"""The contract on the real Foundry Local runtime; in place of the public catalog an empty one on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.backend_contract import BackendContract
from pytest_flperf.backends.base import Backend, BackendConfig
from pytest_flperf.backends.foundry.backend import FoundryBackend
from pytest_flperf.foundry_host.catalog import CatalogServer


class _OfFoundry(BackendContract):
    model = "flperf-nano"
    second_model = "flperf-micro"
    catalog_url: str
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed

    @pytest.fixture(autouse=True)
    def _nothing_of_the_users(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("HOME", str(tmp_path))
        with CatalogServer([]) as catalog:
            self.catalog_url = catalog.url
            yield

    def make(self) -> Backend:
        """A backend with hosts of its own."""
        return FoundryBackend(BackendConfig(catalog_url=self.catalog_url, **self.options))


class TestShared(_OfFoundry):
    """The embedded models, one host for both."""


class TestProcess(_OfFoundry):
    """A host for each model."""

    options = {"isolation": "process"}  # noqa: RUF012


class TestNative(_OfFoundry):
    """Without HTTP."""

    options = {"transport": "native"}  # noqa: RUF012
