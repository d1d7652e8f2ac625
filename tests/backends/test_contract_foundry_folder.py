"""The contract on a folder with a model, served by the real Foundry Local runtime."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_flperf.backend_contract import BackendContract
from pytest_flperf.backends.base import Backend, BackendConfig, ListedModel
from pytest_flperf.backends.foundry.backend import FoundryBackend
from pytest_flperf.foundry_host.catalog import CatalogServer
from pytest_flperf.foundry_host.embedded import embedded_models


def _ignore(what: str, percent: float | None) -> None:
    del what, percent


class TestFolder(BackendContract):
    """Two folders, one host for both."""

    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        first, second = embedded_models()
        shutil.copytree(first.folder, tmp_path / "mine")
        shutil.copytree(second.folder, tmp_path / "deep" / "mine")
        self.model = "./mine"
        monkeypatch.setattr(TestFolder, "second_model", str(tmp_path / "deep" / "mine"))
        with CatalogServer([]) as catalog:
            self.catalog_url = catalog.url
            yield

    def make(self) -> Backend:
        """A backend that has met the folder: there is no catalog of folders."""
        return _Knowing(BackendConfig(catalog_url=self.catalog_url), self.model)


class _Knowing(FoundryBackend):
    def __init__(self, config: BackendConfig, model: str) -> None:
        super().__init__(config)
        self._known = model

    def discover(self) -> tuple[ListedModel, ...]:
        self.ensure(self._known, _ignore)
        return super().discover()
