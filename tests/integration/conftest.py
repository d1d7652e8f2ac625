"""Folders to run pytest in, and the reference server.

What runs import late is imported here once: pytester forgets modules that a run in this process imported.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import jinja2
import numpy as np
import psutil
import pydantic
import pynvml
import pytest
import scipy.special
import tabulate
import tiny_runs
import wcwidth
import yaml

import pytest_flperf.backends.foundry.backend
import pytest_flperf.backends.openai
import pytest_flperf.integration.fixture
import pytest_flperf.integration.item_phases
import pytest_flperf.integration.items
import pytest_flperf.integration.listing
import pytest_flperf.integration.ordering
import pytest_flperf.integration.terminal
import pytest_flperf.integration.xdist
import pytest_flperf.report.csv
import pytest_flperf.report.html.pages
import pytest_flperf.report.markdown
import pytest_flperf.report.samples
import pytest_flperf.session.budget_checks
import pytest_flperf.session.stored_case
import pytest_flperf.stats.inference.paired
import pytest_flperf.suite.files
import pytest_flperf.suite.loader
import pytest_flperf.suite.prompts.templates
from pytest_flperf.history import environment
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

with contextlib.suppress(ImportError):  # its compiled half keeps the errors of the first import for good
    import psycopg

    assert psycopg

assert jinja2
assert np
assert psutil
assert pydantic
assert pynvml
assert scipy
assert tabulate
assert wcwidth
assert yaml
assert pytest_flperf


@pytest.fixture(scope="session")
def reference() -> Iterator[ReferenceServer]:
    """A reference server that answers quickly; a busy machine reads its tokens one by one all the same."""
    quick = Schedule(ttft_ms=1, itl_ms=5, tokens=4)
    with ReferenceServer(ReferenceConfig(quick), in_thread=True) as server:
        yield server


@pytest.fixture
def tiny(pytester: pytest.Pytester, reference: ReferenceServer, monkeypatch: pytest.MonkeyPatch) -> tiny_runs.Tiny:
    """A folder to run tiny suites in."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tiny_runs.Tiny(pytester, reference.base_url)


@pytest.fixture
def stored(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test are stored, as people's are; pytester comes first, because it sets what this changes."""
    del pytester
    options = os.environ["PYTEST_ADDOPTS"]
    assert "-o flperf_store=none" in options
    monkeypatch.setenv("PYTEST_ADDOPTS", options.replace("-o flperf_store=none", ""))


@pytest.fixture
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the CI that runs these tests says is not theirs."""
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)
