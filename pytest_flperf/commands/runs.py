"""``flperf show`` and ``flperf report``: print runs and write reports."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stored_runs import RUN_HELP, add_places, failed, judged_beside, run_names, tell_taken

if TYPE_CHECKING:
    from pytest_flperf.history.earlier_runs import EarlierRuns
    from pytest_flperf.history.run_names import RunRef
    from pytest_flperf.history.store import Store
    from pytest_flperf.results.records import Run

__all__ = ["add_report", "add_show", "rendered"]

_FORMS: Final = (".html", ".htm", ".md", ".csv")


def add_show(commands: Commands) -> None:
    """Add the ``show`` command."""
    parser = commands.add_parser(
        "show",
        help="Print the results of a run",
        description="The table of a run, as pytest printed it, and what flperf judge found. The exit status says "
        "nothing about the run's verdict.",
    )
    parser.add_argument(
        "name", metavar="RUN", nargs="?", default="latest",
        help=f"{RUN_HELP}; default: latest",
    )  # fmt: skip
    add_places(parser)
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="Print a block per case; twice: all percentiles with intervals",
    )
    add_json(parser, "the run as in results.json")
    parser.set_defaults(run=_show, usage=parser)


def add_report(commands: Commands) -> None:
    """Add the ``report`` command."""
    parser = commands.add_parser(
        "report",
        help="Write the report of a run again, or of several side by side",
        description="One run: its report, from results.json, and samples.jsonl if it is still there. "
        "Several: their numbers side by side, a row per case.",
    )
    parser.add_argument(
        "names", metavar="RUN", nargs="+",
        help=RUN_HELP,
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="File to write; its ending sets the format: .html, .md or .csv; default: report.html in the run's folder, "
        "flperf-runs.html in the current one for several",
    )  # fmt: skip
    parser.add_argument(
        "--recover", action="store_true",
        help="First make results.json of a killed run from its journal; a run that ended is left as it is",
    )  # fmt: skip
    add_places(parser)
    add_json(parser, "which file was written, of which runs,")
    parser.set_defaults(run=_report, usage=parser)


def _show(parsed: Parsed) -> int:
    from pytest_flperf._text import printable
    from pytest_flperf.report.rerun import command_line
    from pytest_flperf.report.sentences import duration, failures, when
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.report.terminal.summary import summary_lines

    with run_names(parsed, [parsed.name]) as names:
        ref = names.find(parsed.name)
        run, where = names.read(ref), names.where(ref)
    if parsed.json:
        tell_taken(where)
        return print_json(run.to_dict())
    say(printable(f"run {run.id}, {when(run.started_at)}, {duration(run) or 'not finished'}"))
    say(printable(command_line(run) or "command unknown", 2_000))
    if run.host is not None:
        say(printable(f"on {run.host.name}: {run.host.cpu}, {run.host.cores} cores, {run.host.os}"))
    say("")
    width = shutil.get_terminal_size().columns
    for line in summary_lines(run, width, parsed.verbose, run.notes, failures(run.cases)):
        say(line.text)
    for text in _judged(ref.path, width):
        say(text)
    place = where.partition(" in ")[2]
    if ref.stored:
        place = f"only in {place}" if ref.path is None else f"{place}, files in {ref.path.parent}"
    say(printable(f"results: {place}", 1_000))
    return 0


def _judged(results: Path | None, width: int) -> list[str]:
    """What ``flperf judge`` found, as lines."""
    from pytest_flperf.report.terminal.judged import judged_lines

    found = judged_beside(results)
    return [] if found is None else ["", *judged_lines(found, width), ""]


def _report(parsed: Parsed) -> int:
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.results.atomic_write import write_file

    with run_names(parsed, parsed.names) as names:
        refs = [names.find(name, killed=parsed.recover) for name in parsed.names]
        if parsed.recover:
            refs = [_recovered(parsed, ref) for ref in refs]
        found = [(ref.path, names.read(ref)) for ref in refs]
        earlier = _earlier(names.store, found[0][1]) if len(found) == 1 else {}
        taken = [names.where(ref, run.id) for ref, (_, run) in zip(refs, found, strict=True)]
    output = Path(parsed.output) if parsed.output else _beside(parsed, [path for path, _ in found])
    if output.suffix.lower() not in _FORMS:
        refuse(parsed, f"-o: found {parsed.output!r}, expected a file that ends with .html, .md or .csv")
    problem = write_file(output, rendered(output.suffix.lower(), found, earlier).encode("utf-8", "backslashreplace"))
    if problem:
        return failed(parsed, f"{output} was not written: {problem}")
    for where in taken:
        tell_taken(where)
    if parsed.json:
        return print_json({"written": str(output), "runs": [run.id for _, run in found]})
    say(f"written: {output}")
    return 0


def _beside(parsed: Parsed, paths: Sequence[Path | None]) -> Path:
    """Default path of a report."""
    if len(paths) > 1:
        return Path("flperf-runs.html")
    if paths[0] is None:
        refuse(parsed, "-o: the run's folder is gone, and the run is only in the store; expected -o FILE")
    return paths[0].with_name("report.html")


def _recovered(parsed: Parsed, ref: RunRef) -> RunRef:
    """Write a killed run's results file; exits if that fails."""
    from pytest_flperf.results.run_folder import RESULTS, RunFolder
    from pytest_flperf.session.recovery import RecoveryError, recover

    folder = ref.folder or (ref.path.parent if ref.path is not None else None)
    if folder is None:
        refuse(parsed, f"--recover: run {ref.id} is only in the store, expected its folder with its journal")
    try:
        run = recover(folder)
    except RecoveryError as error:
        refuse(parsed, str(error))
    writer = RunFolder(folder)
    if run.status == "interrupted" and not writer.write_json(RESULTS, run.to_dict()):
        raise SystemExit(failed(parsed, f"{folder}: {writer.problems[0]}"))
    return replace(ref, stored=False, path=folder / RESULTS)


def _earlier(store: Store | None, run: Run) -> EarlierRuns:
    return {} if store is None else store.earlier_runs(run)


def rendered(ending: str, found: Sequence[tuple[Path | None, Run]], earlier: EarlierRuns) -> str:
    """Report of runs in the format of a file's ending: one in full, several side by side."""
    runs = [run for _, run in found]
    if ending == ".csv":
        from pytest_flperf.report.csv import csv_text

        return csv_text(runs, {run.id: judged for path, run in found if (judged := judged_beside(path)) is not None})
    if ending == ".md":
        from pytest_flperf.report.markdown import markdown

        return "\n".join(markdown(run, judged_beside(path)) for path, run in found)
    from pytest_flperf.report.html.pages import Pages
    from pytest_flperf.report.samples import SamplesReader

    if len(runs) > 1:
        return Pages().runs(runs)
    path, run = found[0]
    if path is None:
        return Pages().run(run, {}, earlier)
    samples = SamplesReader(path.with_name("samples.jsonl"))
    samples.read()
    return Pages().run(run, samples.of(run.cases), earlier, judged_beside(path))
