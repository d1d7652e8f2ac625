"""``flperf merge``: join runs of one suite to one run with one report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.runs import rendered
from pytest_flperf.commands.stored_runs import RUN_HELP, add_places, failed, run_names, tell

if TYPE_CHECKING:
    from pytest_flperf.results.records import Run
    from pytest_flperf.results.run_files import RunFiles
    from pytest_flperf.results.run_folder import RunFolder
    from pytest_flperf.session.merging import MergedRun, Part

__all__ = ["add_merge"]

_PROBLEMS: Final = 5


def add_merge(commands: Commands) -> None:
    """Add the ``merge`` command."""
    parser = commands.add_parser(
        "merge",
        help="Join runs of one suite (shards, machines) to one",
        description="Joins runs of the same suites, measured in shards or on several machines, to one run folder with "
        "one report, and judges the whole: the exit status is 0 only where it passed. What no run has is an error. "
        "Runs that differ in suites, prompts, settings, loads or versions are refused.",
    )
    parser.add_argument(
        "names", metavar="RUN|FOLDER|ZIP", nargs="+", help=f"{RUN_HELP}, or a folder or zip file that holds runs"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="Accept that cases of the suite are in none of the runs"
    )
    parser.add_argument(
        "--other-versions", action="store_true", help="Join runs although they were measured with different versions"
    )
    add_places(parser)
    add_json(parser, "the new run's id, folder and status")
    parser.set_defaults(run=_merge, usage=parser)


def _merge(parsed: Parsed) -> int:
    from pytest_flperf.results.run_files import RunFiles
    from pytest_flperf.results.run_folder import RunFolder
    from pytest_flperf.session.merging import MergeError, merge

    with RunFiles() as files:
        parts = list(_parts(parsed, files))
        if problems := [*files.problems, *(_killed(place) for place in files.killed)]:
            refuse(parsed, "; ".join(problems[:_PROBLEMS]) + "; nothing was joined")
        try:
            joined = merge(parts, other_versions=parsed.other_versions, allow_missing=parsed.allow_missing)
        except MergeError as error:
            refuse(parsed, f"{error}; nothing was joined")
        now = datetime.now(UTC)
        names = list(dict.fromkeys(case.suite for case in joined.run.cases)) or ["tests"]
        try:
            folder = RunFolder.create(Path(parsed.report_dir), now, names)
        except OSError as error:
            return failed(parsed, f"{parsed.report_dir} can't be used: {error.strerror or error}")
        run = _written(joined, folder, ("flperf", "merge", *parsed.names))
    if folder.problems:
        return failed(parsed, f"{folder.path}: {'; '.join(folder.problems)}")
    folder.update_latest()
    if parsed.json:
        print_json({"run": run.id, "folder": str(folder.path), "status": run.status, "runs": list(run.merged)})
    else:
        _show(parsed, run, folder)
    return 0 if run.status == "passed" else FAILED


def _killed(place: str) -> str:
    return f"{place}: that run was killed before it wrote results; 'flperf report --recover' makes them"


def _parts(parsed: Parsed, files: RunFiles) -> Iterator[Part]:
    """The runs that the names mean; exits where one can't be read."""
    from pytest_flperf.results.reader import RunError, read_run
    from pytest_flperf.results.run_folder import SAMPLES
    from pytest_flperf.session.merging import Part

    several, single = _by_kind(parsed.names)
    for name in several:
        found = list(files.of(Path(name)))
        if not found and not files.problems and not files.killed:
            refuse(parsed, f"{name}: found no run in it, expected a run's folder, or a folder or zip file of runs")
        for file in found:
            try:
                run = read_run(file.path)
            except RunError as error:
                refuse(parsed, str(error).replace(str(file.path), file.where))
            if run.merged:
                tell(parsed, f"left out: {file.where} joins other runs itself")
            else:
                yield Part(run, file.where, file.path.with_name(SAMPLES))
    with run_names(parsed, single) as names:
        for name in single:
            ref = names.find(name)
            run = names.read(ref)
            yield Part(run, names.where(ref, run.id), ref.path.with_name(SAMPLES) if ref.path is not None else None)


def _by_kind(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Folders and zip files that hold runs; names of single runs."""
    from pytest_flperf.results.run_files import is_archive, is_searched
    from pytest_flperf.results.run_folder import RESULTS, RUN_LOG

    def holds_runs(name: str) -> bool:
        try:
            return is_searched(name) and not any((Path(name) / file).exists() for file in (RESULTS, RUN_LOG))
        except OSError:  # no right to look
            return False

    several = [name for name in names if is_archive(Path(name)) or holds_runs(name)]
    return several, [name for name in names if name not in several]


def _written(joined: MergedRun, folder: RunFolder, command: tuple[str, ...]) -> Run:
    """Write results, requests and page; problems are kept by the folder."""
    from dataclasses import replace

    from pytest_flperf.results.run_folder import RESULTS

    run = replace(joined.run, id=folder.id, command=command)
    folder.write_json(RESULTS, run.to_dict())
    _write_samples(joined, folder)
    folder.write_text("report.html", rendered(".html", [(folder.path / RESULTS, run)], {}))
    return run


def _write_samples(joined: MergedRun, folder: RunFolder) -> None:
    """Write the requests of all runs to one file; each line names its host."""
    from pytest_flperf.results.run_folder import SAMPLES

    try:
        with (folder.path / SAMPLES).open("xb") as file:
            for part, taken in zip(joined.parts, joined.taken, strict=True):
                if part.samples is not None and part.samples.is_file():
                    host = "" if part.run.host is None else part.run.host.name
                    file.writelines(_lines(part.samples, taken, host))
    except OSError as error:
        folder.problems.append(f"{SAMPLES} was not written: {error.strerror or error}")


def _lines(samples: Path, taken: frozenset[str], host: str) -> Iterator[bytes]:
    """Lines of the cases that were taken from a run."""
    from pytest_flperf.report.samples import record_of

    longest = 64 << 20
    with samples.open("rb") as file:
        while line := file.readline(longest):
            if not line.startswith(b"{") or not line.endswith(b"}\n"):
                continue  # cut by a kill
            try:
                filed = record_of(line)["nodeid"]
            except (ValueError, RecursionError, KeyError, TypeError):
                continue
            if isinstance(filed, str) and any(name in taken for name in _beginnings(filed)):
                yield b'{"host":' + json.dumps(host).encode() + b"," + line[1:]


def _beginnings(filed: str) -> Iterator[str]:
    """What may be the node id of a request: its other side and the loads of a search stand behind a space."""
    yield filed
    place = filed.rfind(" ")
    while place > 0:
        yield filed[:place]
        place = filed.rfind(" ", 0, place)


def _show(parsed: Parsed, run: Run, folder: RunFolder) -> None:
    from pytest_flperf._text import printable
    from pytest_flperf.report.sentences import failures
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.report.terminal.summary import summary_lines

    del parsed
    for line in summary_lines(run, shutil.get_terminal_size().columns, 0, run.notes, failures(run.cases)):
        say(line.text)
    runs = "1 run" if len(run.merged) == 1 else f"{len(run.merged)} runs"
    say(printable(f"joined: {runs} in {folder.path}", 1_000))
