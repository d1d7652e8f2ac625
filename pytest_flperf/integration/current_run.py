"""Current run: what a session knows of its run, at first use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf._text import printable
from pytest_flperf.integration.backends import known_backends
from pytest_flperf.integration.config import options_of
from pytest_flperf.integration.item_state import case_of, takes_fixture
from pytest_flperf.integration.progress import TerminalProgress
from pytest_flperf.integration.signals import stopper_of
from pytest_flperf.integration.xdist import is_controller, is_worker, neighbours, run_begun, run_token
from pytest_flperf.options import FLEET, STARTED, SUITE_NAMES, SUITE_REFS
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.session.default_model import DefaultModels
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.planned_cases import PlannedTest

if TYPE_CHECKING:
    from pytest_flperf.backends.registry import BackendType
    from pytest_flperf.quality.scorers.answers import AnswerToScore
    from pytest_flperf.quality.scorers.hook_calls import Hook
    from pytest_flperf.session.baselines import Baseline
    from pytest_flperf.session.context import RunContext, Stopper
    from pytest_flperf.session.options import RunOptions
    from pytest_flperf.session.progress import Progress
    from pytest_flperf.session.run import MeasuringRun
    from pytest_flperf.suite.targets import TargetSpec

__all__ = [
    "RUN",
    "SUITE_CASES",
    "SUITE_DIGESTS",
    "TARGETS",
    "MeasuringTests",
    "baseline_of",
    "default_models_of",
    "measuring_run",
]

RUN: Final[pytest.StashKey[MeasuringRun]] = pytest.StashKey()
"""On the config: the measuring run, from its first use on."""
TARGETS: Final[pytest.StashKey[tuple[TargetSpec, ...]]] = pytest.StashKey()
"""On the config: targets of the suites, as soon as these are loaded."""
SUITE_DIGESTS: Final[pytest.StashKey[Mapping[str, str]]] = pytest.StashKey()
"""On the config: digests of the suites by reference, likewise."""
SUITE_CASES: Final[pytest.StashKey[tuple[str, ...]]] = pytest.StashKey()
"""On the config: node ids of all cases of the suites, likewise."""
_BASELINE: Final[pytest.StashKey[Baseline | None]] = pytest.StashKey()
_ENDS: Final = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)
_DEFAULT_MODELS: Final[pytest.StashKey[DefaultModels]] = pytest.StashKey()


def measuring_run(config: pytest.Config) -> MeasuringRun:
    """Measuring run of this session, created at first use; raises UsageError."""
    run = config.stash.get(RUN, None)
    if run is None:
        from pytest_flperf.session.run import MeasuringRun  # late: it imports all that measures

        try:
            options = options_of(config)
            context = _context_of(config, options)
            models = default_models_of(config, context.backends)
            run = MeasuringRun(context, _Listener(config), baseline_of(config, options), models)
        except OptionsError as error:
            raise pytest.UsageError(str(error)) from error
        config.stash[RUN] = run
    return run


def baseline_of(config: pytest.Config, options: RunOptions) -> Baseline | None:
    """Baseline of the session, or None; raises OptionsError.

    It is looked up once.  None: the options name no baseline.
    """
    if options.baseline is None:
        return None
    if _BASELINE not in config.stash:
        from pytest_flperf.session.baselines import find_baseline_of

        suites = config.stash.get(SUITE_REFS, ())
        config.stash[_BASELINE] = find_baseline_of(options, config.invocation_params.dir, suites)
    return config.stash[_BASELINE]


def default_models_of(config: pytest.Config, known: Mapping[str, BackendType]) -> DefaultModels:
    """Default models of the session, created at first use.

    ``known``: kinds of backends by name.
    """
    found = config.stash.get(_DEFAULT_MODELS, None)
    if found is None:
        found = config.stash[_DEFAULT_MODELS] = DefaultModels(known, TerminalProgress(config))
    return found


class MeasuringTests:
    """Tests of a session that measure, including those of other workers; counted each time they are asked for."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def __iter__(self) -> Iterator[PlannedTest]:
        """One by one, in the session's order."""
        return (PlannedTest(item.name, case_of(item)) for item in self._session.items if takes_fixture(item))


def _context_of(config: pytest.Config, options: RunOptions) -> RunContext:
    from pytest_flperf.session.context import RunContext

    suites = config.stash.get(SUITE_REFS, ())
    started_at, token = run_begun(config)
    beside = neighbours(config)
    machines = tuple(config.stash.get(FLEET, {}).values())
    return RunContext(
        options=options,
        here=config.invocation_params.dir,
        command=("pytest", *config.invocation_params.args),
        backends=known_backends(config),
        started_at=started_at,
        begun_s=config.stash.get(STARTED, time.monotonic()),
        suites=suites,
        hosts=tuple(machine.host for machine in machines),
        versions=machines[0].versions if machines else {},
        suite_digests=config.stash.get(SUITE_DIGESTS, {}),
        suite_cases=config.stash.get(SUITE_CASES, ()),
        names=config.stash.get(SUITE_NAMES, ("tests",)),
        targets=config.stash.get(TARGETS, ()),
        token=token,
        lock_token=run_token(config),
        neighbours=beside,
        takes_turns=beside > 0 and not suites,
        writes=not is_worker(config),
        gathers=is_controller(config),
        junit=config.getoption("xmlpath", default=None),
        score=_score_of(config),
        interrupts=_ENDS,
    )


def _score_of(config: pytest.Config) -> Hook | None:
    """Hook that scores answers; None: no one implements it."""
    from pytest_flperf.quality.scorers.hook_calls import Hook

    hook = getattr(config.hook, "pytest_flperf_score", None)
    if hook is None or not hook.get_hookimpls():
        return None

    def score(answer: AnswerToScore) -> object:
        try:
            return hook(config=config, answer=answer)
        except (pytest.fail.Exception, pytest.skip.Exception) as error:  # no Exception of Python's
            raise AssertionError(str(error)) from error

    return Hook(score, _ENDS)


class _Listener:
    """Listener that calls our hooks, and shows progress on pytest's terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.progress: Progress = TerminalProgress(config)
        self.stopper: Stopper = stopper_of(config)

    def case_measured(self, result: CaseResult, *, ending: bool) -> str:
        return self._call("pytest_flperf_case_measured", ending=ending, result=result)

    def run_finished(self, run: Run, folder: Path | None) -> str:
        return self._call("pytest_flperf_run_finished", ending=True, run=run, folder=folder)

    def _call(self, name: str, *, ending: bool, **arguments: Any) -> str:
        """Call one of our hooks.

        An exception of an implementation becomes a note, so that no measurement is lost.
        """
        hook = getattr(self._config.hook, name, None)
        if hook is None:
            return ""  # nobody implements it
        try:
            hook(config=self._config, **arguments)
        except pytest.exit.Exception:
            if ending:  # the session ends already, and its table is still to come
                return ""
            raise
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - somebody else's code
            return f"{name}: {type(error).__name__}: {printable(str(error), 300)}"
        return ""
