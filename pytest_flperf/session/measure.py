"""Measuring a suite from a script or a notebook, without pytest."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.backends.registry import BackendType, installed, registry
from pytest_flperf.measurement.parallel_targets import Asked
from pytest_flperf.measurement.runner import NotPossibleError, NotReadyError
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.session.baselines import find_baseline_of
from pytest_flperf.session.context import RunContext, Stopper
from pytest_flperf.session.default_model import DefaultModels
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.judge.inline import InlineJudge
from pytest_flperf.session.model_order import ordered, take_turns
from pytest_flperf.session.options import options_from
from pytest_flperf.session.planned_cases import PlannedTest
from pytest_flperf.session.planning import judge_in, plan_suites, targets_in
from pytest_flperf.session.progress import Progress, SilentProgress
from pytest_flperf.session.run import MeasuringRun
from pytest_flperf.session.time_limit import OutOfTimeError
from pytest_flperf.suite.digest import suite_digest
from pytest_flperf.suite.discovery import find_suite
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.model import Case, Suite

__all__ = ["load_suite", "measure"]

_COMPLETE: Final = 0
_INTERRUPTED: Final = 2
"""Exit codes of pytest; whether a complete run passed follows from its cases and budgets."""
_ONE_AT_A_TIME: Final = threading.RLock()
"""Threads of a script take turns: the machine's lock is one of processes, and two runs would disturb each other."""


def load_suite(suite: str | PathLike[str]) -> Suite:
    """Load a suite.

    Args:
        suite: Name of a suite (of the folder ``suites`` or of the package), or path of its file.

    Raises:
        FlperfError: There is no such suite, or it is wrong.

    """
    from pytest_flperf.suite.loader import load_suite as load

    here = Path.cwd()
    return load(*find_suite(str(suite), here, here))


def measure(  # noqa: PLR0913 - each is an option of its own, typed, with the name that it has for pytest
    suite: str | PathLike[str] | Suite,
    *,
    model: str | Iterable[str] = (),
    base_url: str | None = None,
    api_key_env: str | None = None,
    backend: str | BackendType | None = None,
    target: str | Iterable[str] = (),
    iterations: int | None = None,
    warmup: int | None = None,
    concurrency: int | None = None,
    load: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    timeout_s: float | None = None,
    seed: str | int | None = None,
    budget: str | Iterable[str] = (),
    against: str | None = None,
    baseline: str | None = None,
    fail_on: str | Iterable[str] = (),
    reference: bool = False,
    max_time: float | str | None = None,
    lock_timeout: float | str | None = None,
    report_dir: str | PathLike[str] = "reports",
    store: str | None = None,
    on_case: Callable[[CaseResult], None] | None = None,
) -> Run:
    """Measure and judge the cases of a suite, as ``pytest --flperf-suite`` does.

    Requests go to disk as they finish, the page and ``results.json`` are written, the run is stored, and another run
    on this machine is waited for; runs in several threads take turns.  Arguments mean what the options of pytest mean
    that have their names (``max_time``: ``--flperf-max-time``).

    Args:
        suite: Name or path of a suite, or a loaded one.
        model: Model or models to measure; none: those of the suite, else the default.
        base_url: OpenAI-compatible server to measure.
        api_key_env: Environment variable that holds the server's key.
        backend: Kind of server: its name, or a kind that is not installed.
        target: Servers to measure, as with ``--flperf-target``.
        iterations: Measured requests of each case.
        warmup: Requests before them.
        concurrency: Streams at a time.
        load: Shape of the load, such as ``poisson,rate=8,duration_s=30``.
        max_tokens: Longest answer in tokens.
        temperature: Temperature of the sampling.
        timeout_s: Longest time of a request in seconds.
        seed: Seed of prompts and due times.
        budget: Budgets of each case and of the run, such as ``ttft_ms.p95 <= 200ms``.
        against: Other side that every case is interleaved with.
        baseline: Stored run that every case is compared with.
        fail_on: Rules of these comparisons, such as ``ttft_ms.p50 > +10%``.
        reference: Whether to interleave the reference load.
        max_time: Time after which no case begins: seconds, or a text such as ``15m``.
        lock_timeout: How long to wait for another run on this machine, likewise; ``none``: measure beside it.
        report_dir: Folder of the runs.
        store: Store of runs; ``none``: the run is not stored.
        on_case: Called with the result of each case.

    Returns:
        The run: ``status``, and ``cases`` with their metrics, budgets and comparisons.  A missed budget, a failed
        request or a model that can't be loaded is no exception but an outcome.

    Raises:
        FlperfError: An argument or the suite is wrong; nothing was measured.
        KeyboardInterrupt: As usual; what was measured is in the folder of the run.

    """
    brought = (backend,) if isinstance(backend, BackendType) else ()
    options = options_from({
        "model": _texts("model", model), "base_url": _text("base_url", base_url),
        "api_key_env": _text("api_key_env", api_key_env), "backend": _text("backend", _name(backend)),
        "target": _texts("target", target), "iterations": iterations, "warmup": warmup, "concurrency": concurrency,
        "load": _text("load", load), "max_tokens": max_tokens, "temperature": temperature, "timeout": timeout_s,
        "seed": None if seed is None else str(seed), "budget": _texts("budget", budget),
        "against": _text("against", against), "baseline": _text("baseline", baseline),
        "fail_on": _texts("fail_on", fail_on), "reference": reference, "max_time": _time(max_time),
        "lock_timeout": _time(lock_timeout), "report_dir": str(report_dir), "store": _text("store", store),
    })  # fmt: skip
    here = Path.cwd()
    path, ref = _place_of(suite, here)
    known, listener = _known_backends(brought), _Listener(on_case)
    default = DefaultModels(known, listener.progress)
    plans = plan_suites({path: ref}, options, known, default)
    judge = judge_in(plans.values(), options, known)
    context = RunContext(
        options=options,
        here=here,
        command=tuple(sys.argv),
        backends=known,
        started_at=datetime.now(UTC),
        begun_s=time.monotonic(),
        suites=(ref,),
        suite_digests={plan.suite.ref: suite_digest(plan.suite) for plan in plans.values()},
        suite_cases=tuple(case.nodeid for plan in plans.values() for case in plan.cases),
        names=tuple(plan.suite.name for plan in plans.values()),
        targets=targets_in(plans.values()),
    )
    baseline_run = find_baseline_of(options, here, (ref,))
    with _ONE_AT_A_TIME:
        run = MeasuringRun(context, listener, baseline_run, default)
        cases = [case for plan in plans.values() for case in plan.cases]
        return _measured(run, ordered(cases, lambda case: case, turns=take_turns(options, cases)), judge)


def _name(backend: str | BackendType | None) -> str | None:
    return backend.name if isinstance(backend, BackendType) else backend


def _known_backends(brought: Iterable[BackendType]) -> Mapping[str, BackendType]:
    try:
        return registry([*installed(), *brought])
    except ValueError as error:
        raise OptionsError(f"backend: {error}") from error


def _text(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    # An empty text is most likely an unset variable: without the argument, something else would be measured.
    raise OptionsError(f"{name}: found {printable(repr(value), 60)}, expected a string")


def _texts(name: str, value: object) -> list[str]:
    values = value if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    return [text for each in values if (text := _text(name, each)) is not None]


def _time(value: float | str | None) -> str | None:
    """A number is one of seconds, as it is on the command line."""
    return None if value is None else str(value)


def _place_of(suite: str | PathLike[str] | Suite, here: Path) -> tuple[Path, str]:
    if isinstance(suite, Suite):
        return suite.path, suite.ref
    try:
        return find_suite(str(suite), here, here)
    except SuiteError as error:
        raise OptionsError(str(error)) from error


def _measured(run: MeasuringRun, cases: Sequence[Case], judge: InlineJudge | None) -> Run:
    """Measure case by case, then judge; the run is written whatever ends it."""
    exit_code = _INTERRUPTED
    last = {case.model: number for number, case in enumerate(cases)}
    try:
        run.prepare([Asked(case.nodeid, case) for case in cases])
        for number, case in enumerate(cases):
            run.record.collect([_case_measured(run, case, cases).to_dict()])
            if number == last[case.model]:
                run.release(case.model)
        run.record.judge_run()
        if judge is not None:
            run.judge_answers(judge)
        exit_code = _COMPLETE
    except BaseException:
        run.record.interrupted = True
        raise
    finally:
        run.finish(exit_code, (), [case.nodeid for case in cases])
    done = run.record.run()
    for problem in run.record.said:
        if problem not in done.notes:  # a file that could not be written, a store that is locked
            warnings.warn(problem, stacklevel=3)
    return done


def _case_measured(run: MeasuringRun, case: Case, cases: Sequence[Case]) -> CaseResult:
    tests = [PlannedTest(each.scenario.name, each) for each in cases]

    def keep(cut_off: CaseResult) -> None:
        run.record.collect([cut_off.to_dict()])

    try:
        return run.measure(run.ready(case, case.nodeid), case.scenario.budgets, tests, keep)
    except (NotReadyError, NotPossibleError, OutOfTimeError) as error:
        return run.not_ready(case, case.nodeid, error)


class _Listener:
    """Listener of a script: quiet, and without signals of its own."""

    def __init__(self, on_case: Callable[[CaseResult], None] | None) -> None:
        self.progress: Progress = SilentProgress()
        self.stopper: Stopper = _NoSignals()
        self._on_case = on_case

    def case_measured(self, result: CaseResult, *, ending: bool) -> str:
        if self._on_case is not None and not ending:
            self._on_case(result)
        return ""

    def run_finished(self, run: Run, folder: Path | None) -> str:
        del run, folder
        return ""


class _NoSignals:
    """Stopper that leaves signals to the script."""

    on_signal: Callable[[], None] | None = None

    def install(self) -> None:
        """Install nothing."""

    def check(self) -> None:
        """Know of no signal."""
