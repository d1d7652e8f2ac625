"""Folders to run pytest in, and the reference server.

What runs import late is imported here once: pytester forgets modules that a run in this process imported.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Iterator

import jinja2
import numpy as np
import openai.lib.streaming.chat
import openai.pagination
import openai.resources.chat.completions
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
import pytest_flperf.integration.budget_checks
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
assert openai
assert psutil
assert pydantic
assert pynvml
assert scipy
assert tabulate
assert wcwidth
assert yaml
assert pytest_flperf


_COVERED_TO_THE_LAST_PROCESS = frozenset({"test_items", "test_faults_kills", "test_workers", "test_fixture_reference"})
_COVERED = pytest.StashKey[set[str]]()
"""Names of the test functions of which one set of parameters was measured for coverage."""


@pytest.fixture(autouse=True)
def _coverage_of_few_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load processes and hosts are measured by their own tests: measuring them in each run here takes half the time."""
    if request.node.path.stem not in _COVERED_TO_THE_LAST_PROCESS:
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            monkeypatch.delenv(name, raising=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage with one set of a test's parameters: the others mostly take the same paths."""
    covered = item.config.stash.setdefault(_COVERED, set())
    function = item.nodeid.partition("[")[0]
    coverage = sys.modules.get("coverage")
    measuring = coverage.Coverage.current() if coverage is not None and function in covered else None
    covered.add(function)
    if measuring is None:
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()


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
