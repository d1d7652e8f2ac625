"""Execution providers: none on the real runtime here, some in a double of the SDK, written from its own source."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from runtime_doubles import MakeConfig

from pytest_flperf.backends.base import BackendConfig
from pytest_flperf.backends.foundry.hosts import Hosts
from pytest_flperf.foundry_host.client import Mode, RuntimeHost
from pytest_flperf.foundry_host.reports import Providers

FakeSdk = Callable[..., dict[str, str]]
EPS = """
class Ep:
    def __init__(self, name, is_registered): self.name, self.is_registered = name, is_registered
"""
SOME = 'FoundryLocalManager.eps = [Ep("Here", True), Ep("Comes", False), Ep("NeverComes", False)]'
GET = """
assert names == ["Comes", "NeverComes"], names
for percent in (0.0, 0.2, 50.0, 100.0, 250.0): progress_callback("Comes", percent)
self.eps[1].is_registered = True
"""


def test_none_here(shared_host: RuntimeHost) -> None:
    """The real runtime has none to offer for a machine with a CPU alone, and says so at once."""
    told: list[str] = []
    assert shared_host.register_providers(lambda name, _percent: told.append(name)) == Providers()
    assert told == []


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double of the SDK serves nothing: let its host be believed."""
    monkeypatch.setattr("pytest_flperf.foundry_host.client.check_answers", lambda *_: None)


@pytest.mark.usefixtures("reachable")
def test_got_and_registered(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """Those that are missing are got, with progress from 0 to 100 by name; what could not be had is told."""
    environment = fake_sdk(SOME, on_import=EPS, providers=GET)
    told: list[tuple[str, float]] = []
    with RuntimeHost.start(make_config(mode=Mode.PUBLIC, environment=environment)) as host:
        found = host.register_providers(lambda name, percent: told.append((name, percent)))
    assert found == Providers(registered=("Here", "Comes"), failed=("NeverComes",))
    assert told == [("Comes", 0.0), ("Comes", 50.0), ("Comes", 100.0)]


@pytest.mark.usefixtures("reachable")
def test_once_for_each_host(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A second model of a host waits for nothing; what is going on is said in words."""
    environment = fake_sdk(SOME, on_import=EPS, providers=GET)
    told: list[tuple[str, float | None]] = []
    hosts = Hosts(BackendConfig())
    with RuntimeHost.start(make_config(mode=Mode.PUBLIC, environment=environment)) as host:
        first = hosts.providers(host, lambda what, percent: told.append((what, percent)))
        before = len(told)
        assert hosts.providers(host, lambda what, percent: told.append((what, percent))) == first
    assert len(told) == before
    assert told[0] == ("getting the execution provider Comes", 0.0)
