"""Listing options that print and exit: suites, models, dry run."""

from __future__ import annotations

import contextlib
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_flperf.commands.streams import drained
from pytest_flperf.integration.collection import SELECTION
from pytest_flperf.integration.config import options_of
from pytest_flperf.integration.item_state import case_of
from pytest_flperf.options import ONLY_COLLECTS
from pytest_flperf.report.figures import counted
from pytest_flperf.report.terminal.listings import NO_CATALOG, fitted_table, models_table, say, suites_table
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.planning import check_asked
from pytest_flperf.suite.discovery import list_suites
from pytest_flperf.suite.load_shapes import expected_requests

if TYPE_CHECKING:
    from pytest_flperf.session.options import RunOptions
    from pytest_flperf.suite.model import Case

__all__ = ["answer_listing"]

_FORESEEN: Final = 50
"""Most lines on comparisons that can't be decided."""


def answer_listing(config: pytest.Config, options: RunOptions) -> int:
    """Print the listing; returns the exit status.

    Raises OptionsError, also if standard output is full or closed.
    """
    check_asked(options)
    try:
        status = _answer(config, options)
    except OSError as error:
        lost = str(error)
    else:
        lost = ""
    problem = drained(sys.stdout) if sys.stdout is not None else ""
    lost = lost or (f"standard output can't be written: {problem}" if problem else "")
    if lost:
        raise OptionsError(lost)
    return status


def _answer(config: pytest.Config, options: RunOptions) -> int:
    if options.list_suites:
        return _print_suites(config)
    if options.list_models:
        return _print_models(config, options)
    return _print_plan(config)


def _print_suites(config: pytest.Config) -> int:
    _say_all(suites_table(list_suites(config.rootpath)))
    return pytest.ExitCode.OK


def _print_models(config: pytest.Config, options: RunOptions) -> int:
    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.discovery import discover_models
    from pytest_flperf.backends.resolver import PlacingError, secrets_of
    from pytest_flperf.integration.backends import known_backends
    from pytest_flperf.session.placing import placing_of
    from pytest_flperf.suite.targets import TargetSpec

    masked = Redactor(secrets_of(options.api_key_env, (), options.base_url)).text
    placing = placing_of(options, known_backends(config))
    anywhere = TargetSpec("any")
    try:
        placing.check([anywhere])
        place = placing.place(anywhere)
        models = discover_models(place.kind, place.config)
    except PlacingError as error:
        raise OptionsError(str(error)) from error
    except BackendError as error:
        say(f"ERROR: {masked(str(error))}", sys.stderr)
        return pytest.ExitCode.TESTS_FAILED
    _say_all(models_table(models, masked))
    if place.kind.name == "foundry" and not any(each.source == "catalog" for each in models):
        say(NO_CATALOG)
    return pytest.ExitCode.OK


def _say_all(lines: Sequence[str]) -> None:
    """Print without pytest's terminal writer.

    The writer exists only after every plugin has been configured.
    """
    for line in lines:
        say(line)


class _Collected:
    """Plugin that keeps what a run has collected and selected."""

    cases: tuple[Case, ...] = ()
    other_tests: int = 0

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> None:
        """Say that this session answers no option that lists."""
        early_config.stash[ONLY_COLLECTS] = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Keep a JUnit file of an earlier run: this one measures nothing."""
        self.config = config
        if hasattr(config.option, "xmlpath"):
            config.option.xmlpath = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the cases, in the order of the run."""
        cases = [case_of(item) for item in session.items]
        self.cases = tuple(case for case in cases if case is not None)
        self.other_tests = len(cases) - len(self.cases)


def _collected(config: pytest.Config) -> tuple[_Collected, int]:
    """Collect as ``--collect-only`` does, so that ``-k``, ``-m``, ``--deselect`` and plugins select; the exit status.

    Pytest's own words are printed only if it fails.
    """
    collected, said = _Collected(config), io.StringIO()
    given = config.invocation_params
    with contextlib.redirect_stdout(said):
        status = pytest.main(["--collect-only", *given.args], plugins=[*(given.plugins or ()), collected])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.stdout.write(said.getvalue())
    return collected, status


def _print_plan(config: pytest.Config) -> int:
    if SELECTION not in config.stash:
        raise OptionsError("--flperf-dry-run needs a suite: add --flperf-suite=NAME (--flperf-list-suites)")
    collected, status = _collected(config)
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return status
    _say_plan(collected, options_of(collected.config))
    return status


def _say_plan(collected: _Collected, options: RunOptions) -> None:
    config, cases = collected.config, collected.cases
    from pytest_flperf.session.duration_estimate import estimated_seconds, known_seconds

    known = known_seconds(Path(config.invocation_params.dir) / options.report_dir)
    rows = []
    total = 0.0
    guessed = False
    for case in cases:
        seconds, from_run = estimated_seconds(case, known)
        guessed |= not from_run
        total += seconds
        rows.append((case.nodeid, *_requests(case), _duration(seconds) + ("" if from_run else " ?")))
    _say_all(fitted_table(("case", "requests", "warm-up", "streams", "time"), rows, names=1, whole=True))
    scenarios = [case.scenario for case in cases]
    requests = sum((expected_requests(each) or 0) + each.settings.warmup_requests for each in scenarios)
    more = " and what the time has room for" if any(expected_requests(each) is None for each in scenarios) else ""
    more += " and the further turns of conversations" if any(each.plays_tools for each in scenarios) else ""
    what = f"{counted(len(rows), 'case')}, {counted(requests, 'request')}{more}"
    say(f"{what}, about {_duration(total)}, loads and downloads not counted")
    in_turns = [case for case in cases if options.against is not None or case.scenario.against]
    if in_turns:
        from pytest_flperf.session.paired import requests_words

        of = "--flperf-against" if len(in_turns) == len(cases) else f"{len(in_turns)} cases that have 'against'"
        say(f"{of}: {requests_words(options, in_turns)} in place of these, until a case is decided")
    if in_turns or options.baseline is not None:
        from pytest_flperf.session.feasibility import foreseen_lines, power_lines
        from pytest_flperf.session.stored_counts import StoredCounts

        with StoredCounts(options, config.invocation_params.dir) as stored:
            counts = stored.of if options.baseline is not None else None
            _say_all(foreseen_lines(options, cases, _FORESEEN, counts))
        _say_all(power_lines(options, cases, _FORESEEN))
    ahead = _parameters_ahead(config, options, cases)
    if ahead:
        say(f"parameters: {ahead}")
    if guessed:
        say("? a guess from max_tokens; cases that an earlier run measured are estimated from it")
    if collected.other_tests:
        others = "1 test" if collected.other_tests == 1 else f"{collected.other_tests} tests"
        say(f"{others} of yours would run as well, not estimated")


def _parameters_ahead(config: pytest.Config, options: RunOptions, cases: Sequence[Case]) -> str:
    """Request parameters that servers will not receive as given.

    As far as their kinds tell: no server is started or queried.
    """
    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.router import SeveralBackends
    from pytest_flperf.integration.backends import known_backends
    from pytest_flperf.measurement.parameters import known_ahead
    from pytest_flperf.session.placing import placing_of

    backends, placing = SeveralBackends(), placing_of(options, known_backends(config))
    for case in cases:
        with contextlib.suppress(BackendError):  # a missing key does not matter here
            backends.add(case.model, placing.place(case.target_spec))
    try:
        return known_ahead(cases, backends.capabilities, backends.kind_of)
    finally:
        backends.close()


def _requests(case: Case) -> tuple[str, str, str]:
    settings = case.scenario.settings
    count = expected_requests(case.scenario)
    load = settings.load
    streams = f"{load.kind} {load.rate:g}/s" if load.rate is not None else str(settings.concurrency)
    if load.kind == "trace":
        streams = load.kind
    if load.kind == "search":
        streams = f"{load.search_over} {load.search_from:g} to {load.search_to:g}"
    further = "+" if case.scenario.plays_tools else ""
    return "?" if count is None else f"{count}{further}", str(settings.warmup_requests), streams


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min"
