"""``flperf …``: what a person does without running a test."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

if TYPE_CHECKING:
    from pytest_flperf.experiment.probes import Probe
    from pytest_flperf.results.records import Run

__all__ = ["main"]

_FAILED: Final = 1
_BAD_USAGE: Final = 4
_MOST_PROCESSES: Final = 64
_STREAMS: Final = (1, 16, 64)
"""Of the closed loops that are calibrated where none is asked for."""
_FORMS: Final = (".html", ".htm", ".md", ".csv")
_Parsed: TypeAlias = argparse.Namespace
_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_BAD_USAGE, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0, 1 where something could not be done, 4 for bad usage as with pytest."""
    parser = _Parser(
        prog="flperf", description="Tools of pytest-flperf; benchmarks run with: pytest --flperf-suite=default"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_suites(commands)
    _add_models(commands)
    _add_show(commands)
    _add_report(commands)
    _add_schema(commands)
    _add_reference(commands)
    _add_calibrate(commands)
    parsed = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # flperf show | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return _FAILED
    return status


def _add_json(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"Print {what} as JSON")


def _add_report_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report-dir", metavar="DIR", default="reports", help="Folder of the runs; default: reports")


def _add_suites(commands: _Commands) -> None:
    parser = commands.add_parser(
        "suites",
        help="List the suites that can be asked for",
        description="Suites for --flperf-suite: those of your project and those that ship with flperf.",
    )
    parser.add_argument(
        "--rootdir", metavar="DIR", default=".", help="Folder whose suites/ is looked in; default: the current one"
    )
    _add_json(parser, "them")
    parser.set_defaults(run=_suites)


def _add_models(commands: _Commands) -> None:
    parser = commands.add_parser(
        "models",
        help="List catalog, cached and loaded models",
        description="Models for --flperf-model: Foundry Local's, or those of a server.",
    )
    parser.add_argument("--base-url", metavar="URL", help="Ask the OpenAI-compatible server at this URL")
    parser.add_argument("--api-key-env", metavar="NAME", help="Environment variable that holds the key for --base-url")
    parser.add_argument("--catalog-url", metavar="URL", help="Model catalog in place of Foundry Local's public one")
    parser.add_argument(
        "--model-cache", metavar="DIR", help="Folder of downloaded models; default: Foundry Local's own"
    )
    _add_json(parser, "them")
    parser.set_defaults(run=_models, usage=parser)


def _add_show(commands: _Commands) -> None:
    parser = commands.add_parser(
        "show",
        help="Print the results of a run",
        description="The table of a run, as pytest printed it. The exit status says nothing of the run's verdict.",
    )
    parser.add_argument(
        "name", metavar="RUN", nargs="?", default="latest",
        help="Folder or results.json of a run, its id or the beginning of it, or latest (the default)",
    )  # fmt: skip
    _add_report_dir(parser)
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="A block per case; twice: all percentiles with intervals"
    )
    _add_json(parser, "the run as in results.json")
    parser.set_defaults(run=_show, usage=parser)


def _add_report(commands: _Commands) -> None:
    parser = commands.add_parser(
        "report",
        help="Write the report of a run again, or of several side by side",
        description="One run: its report, from results.json, and samples.jsonl where it is still there. "
        "Several: their numbers side by side, a row per case.",
    )
    parser.add_argument(
        "names", metavar="RUN", nargs="+",
        help="Folder or results.json of a run, its id or the beginning of it, or latest",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="File to write; its ending says what: .html, .md or .csv; default: report.html in the run's folder, "
        "flperf-runs.html in the current one for several",
    )  # fmt: skip
    parser.add_argument(
        "--recover", action="store_true",
        help="First make results.json of a run that was killed, from its journal; one that ended is left as it is",
    )  # fmt: skip
    _add_report_dir(parser)
    _add_json(parser, "which file was written, of which runs,")
    parser.set_defaults(run=_report, usage=parser)


def _add_schema(commands: _Commands) -> None:
    parser = commands.add_parser(
        "schema", help="Print a JSON Schema", description="JSON Schemas, for editors and for readers of results."
    )
    parser.add_argument("which", choices=("suite", "results"), help="Of suite files, or of results.json")
    parser.add_argument("--json", action="store_true", help="Print JSON, which it does anyway")
    parser.set_defaults(run=_print_schema)


def _add_reference(commands: _Commands) -> None:
    from pytest_flperf.reference.command import add_arguments
    from pytest_flperf.reference.command import run as serve_reference

    parser = commands.add_parser(
        "serve-reference",
        help="Serve an OpenAI-compatible API that streams on a known schedule and logs the truth",
        description="A server whose true times are known, to check a client or a set-up against.",
    )
    add_arguments(parser)
    parser.set_defaults(run=serve_reference)


def _add_calibrate(commands: _Commands) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="Measure what this client adds to latencies on this machine",
        description="Plays loads against the reference server, whose true times are known, and shows what this client "
        "says and what is true.  Run it on an idle machine.",
    )
    parser.add_argument(
        "suite", metavar="SUITE", nargs="?", help="Take the loads of this suite's cases: a name or the path of a file"
    )
    parser.add_argument("--concurrency", metavar="N", type=int, nargs="+", default=[], help="Streams of closed loops")
    parser.add_argument("--rate", metavar="R", type=float, nargs="+", default=[], help="Requests/s of open loops")
    parser.add_argument("--processes", metavar="N", type=int, default=1, help="Load processes; default: 1")
    _add_json(parser, "the figures")
    parser.set_defaults(run=_calibrate, usage=parser)


def _calibrate(parsed: _Parsed) -> int:
    from pytest_flperf.experiment.calibration import CalibrationError, calibrate_once
    from pytest_flperf.report.listings import calibrations_table, say

    if not 1 <= parsed.processes <= _MOST_PROCESSES:
        _refuse(parsed, f"--processes: found {parsed.processes}, expected a whole number from 1 to {_MOST_PROCESSES}")
    probes = _probes(parsed)
    try:
        found = [calibrate_once(probe) for probe in probes]
    except CalibrationError as error:
        say(f"{parsed.usage.prog}: error: {error}", sys.stderr)
        return _FAILED
    if parsed.json:
        return _print_json([each.to_dict() for each in found])
    for line in calibrations_table(found):
        say(line)
    return 0


def _probes(parsed: _Parsed) -> list[Probe]:
    """The loads to play; ends the command where one is none."""
    from pytest_flperf.experiment.probes import closed_probe, poisson_probe, probe_of
    from pytest_flperf.suite.cases import expand
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.finding import find_suite
    from pytest_flperf.suite.limits import check_setting
    from pytest_flperf.suite.loading import load_suite

    count: int = parsed.processes
    probes: list[Probe] = []
    try:
        for key in ("concurrency", "rate"):
            for value in getattr(parsed, key):
                check_setting(key, value, f"--{key}")
        probes += [closed_probe(streams, count, short=False) for streams in parsed.concurrency]
        probes += [poisson_probe(rate, count, short=False) for rate in parsed.rate]
        if parsed.suite is not None:
            here = Path.cwd()
            cases = expand(load_suite(*find_suite(parsed.suite, here, here)), ["reference"])
            probes += [probe_of(case, count, short=False) for case in cases]
    except SuiteError as error:
        _refuse(parsed, str(error))
    return list(dict.fromkeys(probes)) or [closed_probe(streams, count, short=False) for streams in _STREAMS]


def _suites(parsed: _Parsed) -> int:
    from pytest_flperf.report.listings import say, suites_table
    from pytest_flperf.suite.finding import list_suites

    found = list_suites(Path(parsed.rootdir))
    if parsed.json:
        return _print_json(
            [
                {
                    "name": each.name,
                    "ref": each.ref,
                    "path": str(each.path),
                    "description": each.description,
                    "scenarios": None if each.error else each.scenarios,
                    "error": each.error,
                }
                for each in found
            ]
        )
    for line in suites_table(found):
        say(line)
    return 0


def _models(parsed: _Parsed) -> int:
    from dataclasses import asdict

    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.discovery import discover_models
    from pytest_flperf.report.listings import NO_CATALOG, models_table, say
    from pytest_flperf.results.redaction import Redactor

    key = _api_key(parsed)
    masked = Redactor([key])
    try:
        models = discover_models(parsed.base_url, key, parsed.catalog_url, parsed.model_cache)
    except BackendError as error:
        say(f"{parsed.usage.prog}: error: {masked.text(str(error))}", sys.stderr)
        return _FAILED
    if parsed.json:
        return _print_json(masked.value([asdict(each) for each in models]))
    for line in models_table(models, masked.text):
        say(line)
    if parsed.base_url is None and not any(each.source == "catalog" for each in models):
        say(NO_CATALOG)
    return 0


def _refuse(parsed: _Parsed, problem: str) -> NoReturn:
    """End the command for bad usage."""
    usage: _Parser = parsed.usage
    usage.error(problem)


def _api_key(parsed: _Parsed) -> str | None:
    """The key; ends the command where what was given can't be."""
    from pytest_flperf.wire.endpoint import Endpoint, EndpointError

    for option, url in (("--base-url", parsed.base_url), ("--catalog-url", parsed.catalog_url)):
        if url is not None:
            try:
                Endpoint.parse(url)
            except EndpointError as error:
                _refuse(parsed, f"{option}: {error}")
    if parsed.api_key_env is None:
        return None
    if parsed.base_url is None:
        _refuse(parsed, "--api-key-env is for --base-url, which is missing")
    key = os.environ.get(parsed.api_key_env)
    if not key:
        name = parsed.api_key_env
        _refuse(parsed, f"--api-key-env: the environment variable {name!r} is not set; expected it to hold the API key")
    return key


def _read(parsed: _Parsed, name: str) -> tuple[Path, Run]:
    """A run and its file; ends the command where there is none."""
    from pytest_flperf.results.stored import RunError, find_run, read_run

    try:
        path = find_run(name, Path(parsed.report_dir))
        return path, read_run(path)
    except RunError as error:
        _refuse(parsed, str(error))


def _show(parsed: _Parsed) -> int:
    from pytest_flperf.gates.text import printable
    from pytest_flperf.report.listings import say
    from pytest_flperf.report.summary import summary_lines
    from pytest_flperf.report.words import duration, when

    path, run = _read(parsed, parsed.name)
    if parsed.json:
        return _print_json(run.to_dict())
    say(printable(f"run {run.id}, {when(run.started_at)}, {duration(run) or 'not finished'}"))
    say(printable(" ".join(run.command) or "command unknown", 2_000))
    if run.host is not None:
        say(printable(f"on {run.host.name}: {run.host.cpu}, {run.host.cores} cores, {run.host.os}"))
    say("")
    for line in summary_lines(run, shutil.get_terminal_size().columns, parsed.verbose, run.notes):
        say(line.text)
    say(f"results: {path.parent}")
    return 0


def _report(parsed: _Parsed) -> int:
    from pytest_flperf.report.listings import say
    from pytest_flperf.results.files import write_file

    if parsed.recover:
        parsed.names = [_recovered(parsed, name) for name in parsed.names]
    found = [_read(parsed, name) for name in parsed.names]
    default = found[0][0].with_name("report.html") if len(found) == 1 else Path("flperf-runs.html")
    output = Path(parsed.output) if parsed.output else default
    if output.suffix.lower() not in _FORMS:
        _refuse(parsed, f"-o: found {parsed.output!r}, expected a file that ends with .html, .md or .csv")
    problem = write_file(output, _rendered(output.suffix.lower(), found).encode("utf-8", "backslashreplace"))
    if problem:
        say(f"{parsed.usage.prog}: error: {output} is not written: {problem}", sys.stderr)
        return _FAILED
    if parsed.json:
        return _print_json({"written": str(output), "runs": [run.id for _, run in found]})
    say(f"written: {output}")
    return 0


def _recovered(parsed: _Parsed, name: str) -> str:
    """The results file of a run that was killed, made where it is not there; ends the command where it can't be."""
    from pytest_flperf.experiment.recovery import RecoveryError, recover
    from pytest_flperf.results.run_folder import RunFolder
    from pytest_flperf.results.run_log import RUN_LOG
    from pytest_flperf.results.stored import RESULTS, RunError, find_run

    try:
        folder = find_run(name, Path(parsed.report_dir), RUN_LOG).parent
        run = recover(folder)
    except (RunError, RecoveryError) as error:
        _refuse(parsed, str(error))
    writer = RunFolder(folder)
    if run.status == "interrupted" and not writer.write_json(RESULTS, run.to_dict()):
        parsed.usage.exit(_FAILED, f"{parsed.usage.prog}: error: {folder}: {writer.problems[0]}\n")
    return str(folder / RESULTS)


def _rendered(ending: str, found: Sequence[tuple[Path, Run]]) -> str:
    runs = [run for _, run in found]
    if ending == ".csv":
        from pytest_flperf.report.spreadsheet import csv_text

        return csv_text(runs)
    if ending == ".md":
        from pytest_flperf.report.markdown import markdown

        return "\n".join(map(markdown, runs))
    from pytest_flperf.report.pages import Pages
    from pytest_flperf.report.samples import SamplesReader

    if len(runs) > 1:
        return Pages().runs(runs)
    samples = SamplesReader(found[0][0].with_name("samples.jsonl"))
    samples.read()
    return Pages().run(runs[0], samples.of(runs[0].cases))


def _print_json(value: Any) -> int:
    from pytest_flperf.report.listings import say

    say(json.dumps(value, ensure_ascii=True, indent=2))
    return 0


def _print_schema(parsed: _Parsed) -> int:
    if parsed.which == "suite":
        from pytest_flperf.suite.schema import json_schema

        return _print_json(json_schema())
    from pytest_flperf.results.records import load_schema

    return _print_json(load_schema())


if __name__ == "__main__":
    sys.exit(main())
