"""Hosts on the real Foundry Local runtime, and stand-ins for what it must not reach or can't be made to do."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runtime_doubles import MakeConfig

from pytest_flperf.foundry_host.client import HostConfig, RuntimeHost


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """Build a configuration whose folders are the test's own."""

    def make(**values: Any) -> HostConfig:
        temp_dir = tmp_path / "temp"
        temp_dir.mkdir(exist_ok=True)
        return HostConfig(**{"logs_dir": tmp_path / "logs", "temp_dir": temp_dir} | values)

    return make


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeHost]:
    """One embedded host for all tests of a module that leave it as they found it."""
    with RuntimeHost.start(HostConfig(logs_dir=tmp_path_factory.mktemp("logs"))) as host:
        yield host


@pytest.fixture
def host(make_config: MakeConfig) -> Iterator[RuntimeHost]:
    """An embedded host of the test's own."""
    with RuntimeHost.start(make_config()) as started:
        yield started


@pytest.fixture
def fake_sdk(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """An environment in which ``foundry_local_sdk`` misbehaves as the given code says.

    The real runtime can't be told to lie, crash or hang; everything on our side of it stays real.  ``code`` runs in the
    manager's ``initialize``, ``load`` and ``providers`` where a model is loaded and where execution providers are got.
    """

    def build(
        code: str = "",
        *,
        on_import: str = "",
        load: str = "",
        providers: str = "",
        url: str = "http://127.0.0.1:9",
        version: str = "2.2.1",
    ) -> dict[str, str]:
        package = tmp_path / "fake" / "foundry_local_sdk"
        package.mkdir(parents=True)
        body = textwrap.indent(textwrap.dedent(code) or "pass", " " * 8)
        load = textwrap.indent(textwrap.dedent(load) or "pass", " " * 8)
        providers = textwrap.indent(textwrap.dedent(providers) or "pass", " " * 8)
        (package / "__init__.py").write_text(
            f"""import os, sys, time
{textwrap.dedent(on_import)}

class Configuration:
    def __init__(self, **values): pass
    class WebService:
        def __init__(self, urls): pass

class _Model:
    id = alias = "fake:1"
    is_cached, is_loaded = True, False
    class info:
        id = alias = "fake:1"
        runtime = task = license = file_size_mb = context_length = max_output_tokens = None
    @property
    def variants(self): return [self]
    def load(self):
{load}

class _Catalog:
    def list_models(self): return [_Model()]
    def get_loaded_models(self): return []

class FoundryLocalManager:
    urls = [{url!r}]
    catalog = _Catalog()
    def start_web_service(self): pass
    eps = []
    def discover_eps(self): return self.eps
    def download_and_register_eps(self, names, progress_callback):
{providers}
    @staticmethod
    def initialize(configuration):
{body}
        FoundryLocalManager.instance = FoundryLocalManager()
""",
            encoding="utf-8",
        )
        (package / "logging_helper.py").write_text("from enum import Enum\nclass LogLevel(Enum): INFORMATION = 2\n")
        (package / "version.py").write_text(f"__version__ = {version!r}\n")
        path = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        return {**os.environ, "PYTHONPATH": path}

    return build
