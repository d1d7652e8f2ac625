"""A load process for the tests of a module, and a certificate."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule


@pytest.fixture(scope="module")
def session() -> Iterator[LoadSession]:
    """A load process that every test of the module plays with: what one leaves behind, the next would meet."""
    with LoadSession() as session:
        yield session
        assert session.alive


@pytest.fixture(scope="module")
def reference() -> Iterator[ReferenceServer]:
    """A reference server in a process of its own; each request says what it wants."""
    config = ReferenceConfig(schedule=Schedule(ttft_ms=20.0, itl_ms=2.0, tokens=8))
    with ReferenceServer(config) as server:
        yield server
        assert server.troubles == ()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl here to make a certificate with")
    return cert, key
