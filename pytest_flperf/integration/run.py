"""The measuring of one pytest session: what is measured with, what has been measured, and where it is written."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf.experiment.bench import Bench, CaseRun, Prepared
from pytest_flperf.experiment.recording import Recorder
from pytest_flperf.gates.budgets import parse_budget
from pytest_flperf.gates.text import printable
from pytest_flperf.gates.verdict import judge, verdict_text
from pytest_flperf.integration.asked import FlperfOptions
from pytest_flperf.integration.keys import ITEM_RESULTS, RUN, SELECTION
from pytest_flperf.integration.progress import Progress
from pytest_flperf.integration.publishing import Publisher
from pytest_flperf.integration.selection import check_options, default_models
from pytest_flperf.integration.workers import is_controller, is_worker, neighbours, run_begun
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.host import host_info, versions
from pytest_flperf.results.records import CaseResult, HostInfo, Run
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.run_log import RunLog
from pytest_flperf.stats.clock_quality import merge_clocks
from pytest_flperf.suite.model import Case
from pytest_flperf.telemetry.sampler import Sampler

if TYPE_CHECKING:
    from pytest_flperf.backends.base import Backend
    from pytest_flperf.backends.foundry import FoundryConfig

__all__ = ["MeasuringRun", "add_item_result", "attach_results", "measuring_run"]

_SAVE_EVERY_S: Final = 1.0
_SAVING_SHARE: Final = 0.01
"""Of the time, at most, goes into results that will be written again: they grow with every case."""
_MESSAGE_CHARACTERS: Final = 8_000
_TRIED: Final = "an earlier try: "


def measuring_run(config: pytest.Config) -> MeasuringRun:
    """The run of this session, begun at its first use."""
    run = config.stash.get(RUN, None)
    if run is None:
        run = config.stash[RUN] = MeasuringRun(config)
    return run


def add_item_result(item: pytest.Item, result: CaseResult) -> None:
    """Give a result to the item's report, as exact builtins: xdist's channel takes nothing else."""
    item.stash.setdefault(ITEM_RESULTS, []).append(result.to_dict())


def attach_results(report: pytest.TestReport, results: list[dict[str, Any]]) -> None:
    """Let a report carry results; where the test failed by itself, or was skipped (xfail is), they share its end."""
    for result in results:
        if report.failed and result["outcome"] == "passed":
            result["outcome"] = "failed"
            result["message"] = printable(_failure(report), 500) or "the test failed"
        elif report.skipped:
            result["outcome"] = "skipped"
            result["message"] = result["message"] or "the test was skipped after the measurement"
    vars(report)["flperf"] = results


def _failure(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash is not None else report.longreprtext.strip()


class MeasuringRun:
    """One session's measuring."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._options = FlperfOptions.from_pytest_config(config)
        check_options(self._options)
        self._started_at, self._token = run_begun(config)
        self._bench: Bench | None = None
        self._folder: RunFolder | None = None
        self._folder_tried = False
        self._log: RunLog | None = None
        self._results: dict[tuple[str, str], CaseResult] = {}
        self._notes: list[str] = []
        self._gpus: tuple[str, ...] = ()
        self._publisher = Publisher(self._options, config.invocation_params.dir)
        self._save_after = 0.0
        self._finished = False
        self._status = "interrupted"
        self._former_sigterm: Any = None
        self._progress = Progress(config)
        key = os.environ.get(self._options.api_key_env) if self._options.api_key_env else None
        self._api_key = key
        self._redactor = Redactor([key])

    @property
    def default_model(self) -> str:
        """What a test of the user's measures where nobody says what; raises UsageError for a URL without a model."""
        return (self._options.models or default_models(self._options, None))[0]

    @property
    def options(self) -> FlperfOptions:
        """What was asked for."""
        return self._options

    # ---- measuring

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start runtime and load process, and import while they start."""
        self._working_bench().prepare(models)
        threading.Thread(target=self._import_ahead, name="flperf-import", daemon=True).start()
        self._log_begin()

    def _import_ahead(self) -> None:
        _import_ahead()
        if not is_worker(self._config):
            self._publisher.warm_up()

    def ready(self, case: Case, nodeid: str) -> Prepared:
        """Make a case's model ready; raises NotReadyError."""
        self._log_begin()
        with self._progress.of(nodeid) as progress:
            return self._working_bench().ready(case, on_progress=progress.stage, nodeid=nodeid)

    def measure(self, prepared: Prepared, budgets: tuple[str, ...]) -> CaseResult:
        """Measure and judge a case."""
        bench = self._working_bench()
        with self._progress.of(prepared.recording.nodeid) as progress:
            done = bench.play(prepared, on_request=progress.requests, on_partial=self._interrupted)
        self._gpus = bench.gpus
        return self._judge(done, budgets)

    def not_ready(self, case: Case, nodeid: str, reason: str) -> CaseResult:
        """The result of a case whose model could not be made ready."""
        return CaseResult(
            nodeid=nodeid,
            suite=case.suite,
            scenario=case.scenario.name,
            model=case.model,
            parameters=dict(case.parameters),
            host=self._host_name(),
            outcome="error",
            message=_lines(f"the model is not ready: {self._redactor.text(reason)}"),
            description=case.scenario.description,
            expected_output_length=case.scenario.expected_output_length,
            tags=case.scenario.tags,
        )

    def release(self, model: str) -> None:
        """Unload a model."""
        if self._bench is not None:
            self._bench.release(model)

    def _judge(self, done: CaseRun, budgets: tuple[str, ...]) -> CaseResult:
        given = self._options.budgets
        result = judge(
            done.result, [parse_budget(text, "--flperf-budget" if text in given else "") for text in budgets]
        )
        others = neighbours(self._config)
        if others:
            result = replace(result, notes=(*result.notes, f"measured beside {others} more workers: use -n 1"))
        if done.trouble:
            result = replace(result, notes=(done.trouble, *result.notes), outcome="failed")
            result = replace(result, message=verdict_text(result))
        return result

    def _interrupted(self, partial: CaseResult) -> None:
        planned = partial.load.iterations if partial.load else None
        message = f"INTERRUPTED after {partial.requests.total} of {planned} requests"
        self.collect([replace(partial, outcome="error", message=message).to_dict()])

    def _working_bench(self) -> Bench:
        if self._bench is None:
            self._open_folder()
            self._catch_sigterm()
            # The interpreter's last collections go through all that openai and pydantic made: 0.2 to 0.3 s for nothing.
            atexit.register(gc.freeze)
            series = self._folder.journal("resources.jsonl") if self._folder else None
            self._bench = Bench(self._backend(), Recorder(self._folder, self._redactor), sampler=Sampler(series))
        return self._bench

    def _backend(self) -> Backend:
        options = self._options
        if options.base_url is not None:
            from pytest_flperf.backends.url import UrlBackend

            return UrlBackend(options.base_url, self._api_key)
        from pytest_flperf.backends.foundry import FoundryBackend

        return FoundryBackend(foundry_config(options, self._folder.path / "logs" if self._folder else None))

    def _catch_sigterm(self) -> None:
        """Let SIGTERM end the session in order: by default it would kill pytest without finalisers or results."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._former_sigterm = signal.signal(signal.SIGTERM, _exit_on_sigterm)

    # ---- results

    def collect(self, results: list[dict[str, Any]]) -> None:
        """Take results in, in the process that writes them."""
        for record in results:
            result = CaseResult.from_dict(record)
            key = (result.nodeid, result.host)
            self._results[key] = _after(self._results[key], result) if key in self._results else result
            self._log_begin().result(self._results[key])
        if is_worker(self._config):
            return
        self._publisher.follow(self._folder)
        if time.monotonic() > self._save_after:
            self._save()

    def finish(self, exitstatus: int) -> None:
        """End the processes and write the final results."""
        if self._finished:
            return
        self._finished = True
        self.close()
        self._add_unfinished()
        if self._log is not None:
            self._log.close()
        self._status = _status(int(exitstatus), self._results.values())
        if (self._results or self._folder is not None) and not is_worker(self._config):
            run = self._save()
            if self._folder is not None:
                self._folder.update_latest()
            self._publisher.publish(run, self._folder)

    def _add_unfinished(self) -> None:
        """Take in what a worker of xdist was measuring when it was ended: its controller has heard nothing of it."""
        if self._folder is None or not is_controller(self._config):
            return
        from pytest_flperf.experiment.recovery import unfinished_cases

        for case in unfinished_cases(self._folder.path):
            self._results.setdefault((case.nodeid, case.host), case)

    def _log_begin(self) -> RunLog:
        """The log, which says what run this is; only the process that writes the results writes it."""
        self._open_folder()
        if self._log is None:
            self._log = RunLog(None if is_worker(self._config) else self._folder)
            self._log.run(self._run())
        return self._log

    def close(self) -> None:
        """End the processes; safe to call twice."""
        if self._bench is not None:
            bench, self._bench = self._bench, None
            bench.close()
        if self._former_sigterm is not None:
            signal.signal(signal.SIGTERM, self._former_sigterm)
            self._former_sigterm = None

    def summarise(self, reporter: pytest.TerminalReporter) -> None:
        """Print the table and where the files are."""
        if not self._results:
            return
        from pytest_flperf.integration.terminal import print_summary

        problems = (*(self._folder.problems if self._folder else ()), *self._publisher.problems)
        print_summary(reporter, self._run(), self._folder.path if self._folder else None, (*self._notes, *problems))

    def _run(self) -> Run:
        cases = tuple(self._results.values())
        selection = self._config.stash.get(SELECTION, None)
        finished_at = datetime.now(UTC) if self._finished else None
        return Run(
            id=self._folder.id if self._folder else "not-written",
            started_at=self._started_at.isoformat(timespec="milliseconds"),
            finished_at=finished_at.isoformat(timespec="milliseconds") if finished_at else None,
            status=self._status,  # type: ignore[arg-type]
            suites=tuple(loaded.suite.ref for loaded in selection.loaded.values()) if selection else (),
            command=tuple(self._redactor.text(word) for word in ["pytest", *self._config.invocation_params.args]),
            host=replace(self._host, gpus=self._gpus or self._host.gpus),
            versions=self._versions,
            clock=merge_clocks(case.clock for case in cases),
            notes=(*self._notes, *absent_lines(cases)),
            cases=cases,
        )

    @cached_property
    def _host(self) -> HostInfo:
        return host_info()

    @cached_property
    def _versions(self) -> dict[str, str]:
        return versions()

    def _save(self) -> Run:
        begun = time.monotonic()
        run = self._run()
        if self._folder is not None:
            self._folder.write_json("results.json", run.to_dict())
        saved_at = time.monotonic()
        self._save_after = saved_at + max(_SAVE_EVERY_S, (saved_at - begun) / _SAVING_SHARE)
        return run

    def _open_folder(self) -> None:
        if self._folder_tried:
            return
        self._folder_tried = True
        base = Path(self._options.report_dir)
        base = base if base.is_absolute() else self._config.invocation_params.dir / base
        selection = self._config.stash.get(SELECTION, None)
        names = [loaded.suite.name for loaded in selection.loaded.values()] if selection else ["tests"]
        try:
            self._folder = RunFolder.create(base, self._started_at, names, token=self._token)
        except OSError as error:
            self._notes.append(f"nothing is written: {base} can't be used: {error.strerror or error}")

    def _host_name(self) -> str:
        import platform

        return platform.node()


def foundry_config(options: FlperfOptions, logs: Path | None) -> FoundryConfig:
    """How the Foundry Local runtime is to be run."""
    from pytest_flperf.backends.foundry import FoundryConfig

    return FoundryConfig(
        logs_dir=logs,
        catalog_url=options.catalog_url,
        model_cache_dir=Path(options.model_cache).expanduser().absolute() if options.model_cache else None,
    )


def _after(former: CaseResult, result: CaseResult) -> CaseResult:
    """The result of a case that another plugin ran again; what came of it before stays to be seen."""
    headline = former.message.partition("\n")[0]
    tries = [note for note in former.notes if note.startswith(_TRIED)]
    return replace(result, notes=(*result.notes, *tries, f"{_TRIED}{former.outcome}. {headline}".strip()))


def _status(exitstatus: int, results: Any) -> str:
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        return "interrupted"
    outcomes = {result.outcome for result in results}
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return "error"
    if "error" in outcomes:
        return "error"
    return "failed" if "failed" in outcomes else "passed"


def _exit_on_sigterm(number: int, frame: FrameType | None) -> None:
    del number, frame
    pytest.exit("SIGTERM", returncode=pytest.ExitCode.INTERRUPTED)


def _import_ahead() -> None:
    """Import beside the start of the runtime what the first case needs, and then what the end of the run needs.

    openai takes 0.3 to 0.6 s; the table's modules (wcwidth above all) 50 to 90 ms, by which the end would be longer.
    """
    for name in ("openai", "pytest_flperf.integration.terminal", "wcwidth", "tabulate"):
        importlib.import_module(name)


def _lines(text: str) -> str:
    return "\n".join(printable(line, 500) for line in text[:_MESSAGE_CHARACTERS].splitlines())
