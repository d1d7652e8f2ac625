"""``flperf show`` and ``flperf report``: runs that have been written."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stores import add_places, add_report_dir, found_run

if TYPE_CHECKING:
    from pytest_flperf.results.records import Run

__all__ = ["add_report", "add_show"]

_FORMS: Final = (".html", ".htm", ".md", ".csv")


def add_show(commands: Commands) -> None:
    """The command ``show``."""
    parser = commands.add_parser(
        "show",
        help="Print the results of a run",
        description="The table of a run, as pytest printed it. The exit status says nothing of the run's verdict.",
    )
    parser.add_argument(
        "name", metavar="RUN", nargs="?", default="latest",
        help="Folder or results.json of a run, its id or the beginning of it, or latest (the default); one whose files "
        "are gone is shown from the store",
    )  # fmt: skip
    add_places(parser)
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="A block per case; twice: all percentiles with intervals"
    )
    add_json(parser, "the run as in results.json")
    parser.set_defaults(run=_show, usage=parser)


def add_report(commands: Commands) -> None:
    """The command ``report``."""
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
    add_report_dir(parser)
    add_json(parser, "which file was written, of which runs,")
    parser.set_defaults(run=_report, usage=parser)


def _read(parsed: Parsed, name: str) -> tuple[Path, Run]:
    """A run and its file; ends the command where there is none."""
    from pytest_flperf.results.stored import RunError, find_run, read_run

    try:
        path = find_run(name, Path(parsed.report_dir))
        return path, read_run(path)
    except RunError as error:
        refuse(parsed, str(error))


def _show(parsed: Parsed) -> int:
    from pytest_flperf.gates.text import printable
    from pytest_flperf.report.listings import say
    from pytest_flperf.report.rerun import command_line
    from pytest_flperf.report.summary import summary_lines
    from pytest_flperf.report.words import duration, when

    run, where = found_run(parsed, parsed.name)
    if parsed.json:
        return print_json(run.to_dict())
    say(printable(f"run {run.id}, {when(run.started_at)}, {duration(run) or 'not finished'}"))
    say(printable(command_line(run) or "command unknown", 2_000))
    if run.host is not None:
        say(printable(f"on {run.host.name}: {run.host.cpu}, {run.host.cores} cores, {run.host.os}"))
    say("")
    for line in summary_lines(run, shutil.get_terminal_size().columns, parsed.verbose, run.notes):
        say(line.text)
    say(f"results: {where}")
    return 0


def _report(parsed: Parsed) -> int:
    from pytest_flperf.report.listings import say
    from pytest_flperf.results.files import write_file

    if parsed.recover:
        parsed.names = [_recovered(parsed, name) for name in parsed.names]
    found = [_read(parsed, name) for name in parsed.names]
    default = found[0][0].with_name("report.html") if len(found) == 1 else Path("flperf-runs.html")
    output = Path(parsed.output) if parsed.output else default
    if output.suffix.lower() not in _FORMS:
        refuse(parsed, f"-o: found {parsed.output!r}, expected a file that ends with .html, .md or .csv")
    problem = write_file(output, _rendered(output.suffix.lower(), found).encode("utf-8", "backslashreplace"))
    if problem:
        say(f"{parsed.usage.prog}: error: {output} is not written: {problem}", sys.stderr)
        return FAILED
    if parsed.json:
        return print_json({"written": str(output), "runs": [run.id for _, run in found]})
    say(f"written: {output}")
    return 0


def _recovered(parsed: Parsed, name: str) -> str:
    """The results file of a run that was killed, made where it is not there; ends the command where it can't be."""
    from pytest_flperf.experiment.recovery import RecoveryError, recover
    from pytest_flperf.results.run_folder import RunFolder
    from pytest_flperf.results.run_log import RUN_LOG
    from pytest_flperf.results.stored import RESULTS, RunError, find_run

    try:
        folder = find_run(name, Path(parsed.report_dir), RUN_LOG).parent
        run = recover(folder)
    except (RunError, RecoveryError) as error:
        refuse(parsed, str(error))
    writer = RunFolder(folder)
    if run.status == "interrupted" and not writer.write_json(RESULTS, run.to_dict()):
        parsed.usage.exit(FAILED, f"{parsed.usage.prog}: error: {folder}: {writer.problems[0]}\n")
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
