"""The entry point: options, markers, fixtures.  Everything else is imported when a suite or the fixture is used."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_flperf.options import BEGUN, ONLY_COLLECTS, OPTIONS, STARTED, SUITE_REFS, add_options

if TYPE_CHECKING:
    # pytest looks at every name of a plugin: those that only annotations need stay out of its sight
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from pytest_flperf.integration.fixture import Flperf
    from pytest_flperf.reference_server import ReferenceServer

_MARKER = (
    "flperf(model=None, suite=None, scenario=None): which model the flperf fixture measures, and the scenario whose "
    "prompt and settings flperf.run() starts from; suite items carry it as well"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Find suites, and ids of their cases, for pytest to collect; offer our hooks to whoever implements one.

    pytest refuses unknown hooks after this; and specifications that nobody needs would cost every run of it 0.5 ms.
    """
    with _harmless_refusals():
        _select(early_config, parser, args)
    result = yield
    if any(name.startswith("pytest_flperf_") for name in vars(early_config.hook)):
        from pytest_flperf import hookspecs

        early_config.pluginmanager.add_hookspecs(hookspecs)
    return result


def _select(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    known = early_config.known_args_namespace
    positional: list[str] = list(getattr(known, "file_or_dir", None) or ())
    if getattr(known, "flperf_suite", None) or any(_may_be_a_case(argument) for argument in positional):
        from pytest_flperf.integration.collection import select_suites

        select_suites(early_config, parser, list(known.flperf_suite or ()), positional, args)


def _may_be_a_case(argument: str) -> bool:
    path = argument.partition("::")[0]
    return path.startswith("flperf:") or path.lower().endswith((".yaml", ".yml", ".json", ".toml"))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer the options that list something and exit."""
    listing = any(config.getoption(name) for name in ("flperf_list_suites", "flperf_list_models", "flperf_dry_run"))
    if listing and ONLY_COLLECTS not in config.stash:
        from pytest_flperf.integration.config import options_of
        from pytest_flperf.integration.listing import answer_listing

        with _harmless_refusals():
            return answer_listing(config, options_of(config))
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; read the suites that were asked for, so that their faults end the run before it begins."""
    config.addinivalue_line("markers", _MARKER)
    with _harmless_refusals():
        _configure(config)


@contextmanager
def _harmless_refusals() -> Iterator[None]:
    """Make a refusal pytest's own, and harmless: pytest prints what it quotes of suites and files as it is."""
    try:
        yield
    except (ValueError, pytest.UsageError) as error:
        from pytest_flperf._text import harmless_lines
        from pytest_flperf.session.errors import OptionsError

        if not isinstance(error, OptionsError | pytest.UsageError):
            raise
        raise pytest.UsageError(*(harmless_lines(str(each)) for each in error.args)) from error


def _configure(config: pytest.Config) -> None:
    if SUITE_REFS in config.stash:
        from pytest_flperf.integration.collection import SELECTION
        from pytest_flperf.integration.session_hooks import register

        config.stash[SELECTION].load(config)
        register(config)
        if config.getoption("dist", default="no") == "each":
            from pytest_flperf.integration.fleet import no_restarts

            no_restarts(config)
    elif config.getoption("flperf_suite"):
        raise pytest.UsageError("--flperf-suite came too late: load the plugin with -p pytest_flperf.plugin")
    elif any(config.getoption(option.dest) is not None for option in OPTIONS):
        from pytest_flperf.integration.config import options_of
        from pytest_flperf.integration.session_hooks import expects_a_run, register
        from pytest_flperf.session.planning import check_asked

        options = options_of(config)
        check_asked(options)
        if options.baseline is not None:
            from pytest_flperf.integration.current_run import baseline_of

            baseline_of(config, options)
        if expects_a_run(config):
            register(config)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One worker where suites run, with ``-n auto``."""
    from pytest_flperf.integration.xdist import auto_workers

    return auto_workers(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Refuse to measure with two workers on one machine; hear what they measure."""
    from pytest_flperf.integration.session_hooks import register

    register(config)
    if SUITE_REFS in config.stash:
        from pytest_flperf.integration.fleet import check_arguments
        from pytest_flperf.integration.xdist import refuse_neighbours

        refuse_neighbours(specs)
        check_arguments(config, specs)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let the workers of xdist file their journals under the id of this run."""
    begun = node.config.stash.setdefault(BEGUN, (time.time(), node.workerinput["testrunuid"][:4]))
    node.workerinput["flperf_begun"] = begun
    specs = node.nodemanager.specs
    if SUITE_REFS in node.config.stash and (len(specs) > 1 or not specs[0].popen):
        from pytest_flperf.integration.fleet import add_machine

        # machines may share a folder, and not a run's files
        node.workerinput["flperf_begun"] = (begun[0], f"{begun[1]}-{node.gateway.id}")
        add_machine(node)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """The time of the run counts from here."""
    session.config.stash[STARTED] = time.monotonic()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """One load for each model, or turns, in whatever order other plugins put the items; no suite is passed over."""
    suites = SUITE_REFS in config.stash
    if suites and not session.testsfailed:  # what failed to be collected is an error already
        from pytest_flperf.integration.collection import SELECTION

        with _harmless_refusals():
            config.stash[SELECTION].check_collected()
    if suites or any(map(_measures, items)):
        from pytest_flperf.integration.config import options_of
        from pytest_flperf.integration.ordering import in_order
        from pytest_flperf.integration.session_hooks import register

        register(config)
        items[:] = in_order(items, options_of(config) if suites else None)


def _measures(item: pytest.Item) -> bool:
    return "flperf" in getattr(item, "fixturenames", ()) or item.get_closest_marker("flperf") is not None


@pytest.fixture(scope="session")
def flperf_model(request: pytest.FixtureRequest) -> Iterator[str]:
    """The model of a suite's case; unloaded when the last of its cases is done."""
    from pytest_flperf.integration.current_run import measuring_run

    model: str = request.param
    yield model
    measuring_run(request.config).release_unless_shared(model)


@pytest.fixture
def flperf_case(request: pytest.FixtureRequest, flperf_model: str) -> Callable[[], None]:
    """The case of a suite's item with its model ready; calling it measures and judges."""
    from pytest_flperf.integration.items import ready_case

    del flperf_model  # taken so that pytest groups the items by model
    return ready_case(request)


@pytest.fixture
def flperf(request: pytest.FixtureRequest) -> Iterator[Flperf]:
    """Measure from a test of one's own: ``result = flperf.run(prompt="…", iterations=10)``."""
    from pytest_flperf.integration.fixture import Flperf
    from pytest_flperf.integration.session_hooks import register

    register(request.config)  # a fixture that a running test requests by name was not seen at collection
    with Flperf.from_request(request).until_the_end() as flperf:
        yield flperf


@pytest.fixture
def flperf_reference() -> Iterator[ReferenceServer]:
    """A server whose true times are known, to check a client or a set-up against (``flperf serve-reference``).

    It runs in a process of its own; ``reconfigure`` changes its schedule and its fault, ``log`` tells the truth.
    """
    from pytest_flperf.reference_server import ReferenceServer

    with ReferenceServer() as server:
        yield server
