"""The plugin, installed and unused, costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "openai",
    "foundry_local_sdk",
    "onnxruntime",
    "numpy",
    "scipy",
    "matplotlib",
    "jinja2",
    "sqlalchemy",
    "pydantic",
    "psutil",
    "pynvml",
    "pytest_flperf.telemetry",
    "yaml",
    "tabulate",
    "wcwidth",
    "httpx",
    "pytest_flperf.session.run",
    "pytest_flperf.integration.config",
    "pytest_flperf.suite",
]


def test_light_import() -> None:
    """Importing the plugin imports nothing heavy."""
    code = f"import sys, pytest_flperf.plugin; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_light_session(pytester: pytest.Pytester) -> None:
    """Neither does a session that measures nothing."""
    pytester.makepyfile(
        test_mine=f"""
        import sys
        def test_me():
            assert [name for name in {HEAVY!r} if name in sys.modules] == []
        """
    )
    others = ("benchmark", "anyio", "hypothesispytest", "xdist", "timeout")
    options = [word for name in others for word in ("-p", f"no:{name}")]
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)
