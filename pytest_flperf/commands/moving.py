"""``flperf export`` and ``flperf import``: runs out of the store and into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_flperf.commands.common import BAD_USAGE, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stores import RUN_HELP, add_places, failed, run_names, store_of, tell_taken, unusable

if TYPE_CHECKING:
    from pytest_flperf.history.store import Store
    from pytest_flperf.results.records import Run

__all__ = ["add_export", "add_import"]


def add_export(commands: Commands) -> None:
    """The command ``export``."""
    parser = commands.add_parser(
        "export",
        help="Write a run as JSON, CSV or Parquet",
        description="A run, out of the store or its folder: as it is in results.json, or a row per case as CSV or "
        "Parquet.",
    )
    parser.add_argument("name", metavar="RUN", help=RUN_HELP)
    parser.add_argument("--format", choices=("csv", "json", "parquet"), help="What to write; default: json")
    parser.add_argument("-o", "--output", metavar="FILE", help="File to write; default: standard output")
    add_places(parser)
    add_json(parser, "which file was written, with -o; without it the run itself,")
    parser.set_defaults(run=_export, usage=parser)


def add_import(commands: Commands) -> None:
    """The command ``import``."""
    parser = commands.add_parser(
        "import",
        help="Store runs from their results.json",
        description="Stores runs that were measured elsewhere, or with --flperf-store=none, or killed and recovered. "
        "What is stored already is left as it is.",
    )
    parser.add_argument(
        "paths", metavar="FILE|FOLDER", nargs="+", help="A results.json, a run's folder, or a folder of runs"
    )
    add_places(parser)
    add_json(parser, "what was stored")
    parser.set_defaults(run=_import, usage=parser)


def _export(parsed: Parsed) -> int:
    from pytest_flperf._text import harmless_json
    from pytest_flperf.report.listings import say
    from pytest_flperf.results.files import write_file

    if parsed.json and parsed.format == "csv" and parsed.output is None:
        refuse(parsed, "--json with --format csv needs -o FILE: both would go to standard output")
    if parsed.format == "parquet":
        _check_parquet(parsed)
    with run_names(parsed, [parsed.name]) as names:
        ref = names.find(parsed.name)
        run = names.read(ref)
        tell_taken(names.where(ref, run.id))
    content = _exported(run, parsed.format or "json")
    if parsed.output is None:
        text = content.decode().rstrip("\r\n")
        say(text if parsed.format == "csv" else harmless_json(text))
        return 0
    problem = write_file(Path(parsed.output), content)
    if problem:
        return failed(parsed, f"{parsed.output} is not written: {problem}")
    if parsed.json:
        return print_json({"written": parsed.output, "run": run.id})
    say(f"written: {parsed.output}")
    return 0


def _check_parquet(parsed: Parsed) -> None:
    """End the command where Parquet can't be written."""
    from pytest_flperf.report.columns import PARQUET_EXTRA, can_write_parquet

    if parsed.output is None:
        refuse(parsed, "--format parquet needs -o FILE: it is no text")
    if not can_write_parquet():
        refuse(parsed, f"--format parquet needs pyarrow, which can't be imported: {PARQUET_EXTRA}")


def _exported(run: Run, form: str) -> bytes:
    """The run in that form."""
    if form == "json":
        return (json.dumps(run.to_dict(), ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
    if form == "parquet":
        from pytest_flperf.report.columns import parquet

        return parquet([run])
    from pytest_flperf.report.spreadsheet import csv_text

    return csv_text([run]).encode("utf-8", "backslashreplace")


def _import(parsed: Parsed) -> int:
    from pytest_flperf.gates.text import printable
    from pytest_flperf.history.store import Store, StoreError
    from pytest_flperf.report.listings import say

    place = store_of(parsed)
    done: dict[str, list[str]] = {"added": [], "replaced": [], "known": []}
    problems: list[str] = []
    try:
        with Store(place) as store:
            for path in _results_files(parsed, store, problems):
                _store_file(store, path, done, problems)
    except StoreError as error:
        return unusable(parsed, error)
    if parsed.json:
        print_json({**done, "problems": problems})
    else:
        for problem in problems:
            failed(parsed, problem)
        counts = f"{len(done['added'])} added, {len(done['replaced'])} replaced, {len(done['known'])} known before"
        say(printable(f"stored in {place.shown}: {counts}"))
    return BAD_USAGE if problems else 0


def _store_file(store: Store, path: Path, done: dict[str, list[str]], problems: list[str]) -> None:
    """Store one run, its id among what was done, or a line among the problems."""
    from pytest_flperf.history.place import StoreError
    from pytest_flperf.history.run_names import can_be_id
    from pytest_flperf.history.surroundings import Surroundings
    from pytest_flperf.report.samples import values_beside
    from pytest_flperf.results.stored import RunError, read_run

    try:
        run = read_run(path)
        if not can_be_id(run.id):
            problems.append(f"{path} is not stored: found the id {run.id[:80]!r}, by which no run can be found again")
            return
        folder = path.parent.absolute() if path.parent.name == run.id else None
        about = Surroundings(folder=None if folder is None else str(folder))
        done[store.add(run, about, values_beside(path, run))].append(run.id)
    except (RunError, StoreError) as error:
        problems.append(str(error))


def _results_files(parsed: Parsed, store: Store, problems: list[str]) -> Iterator[Path]:
    """The results files that were named; where there are none, a line among the problems."""
    from pytest_flperf.history.run_names import RunNameError, RunNames
    from pytest_flperf.results.stored import RESULTS, run_ids

    for name in parsed.paths:
        path = Path(name)
        if not _is_folder(path):
            try:
                found = RunNames(store, Path(parsed.report_dir)).find(name).path
            except RunNameError as error:
                problems.append(str(error))
                continue
            if found is not None:
                yield found
            else:
                problems.append(f"{name}: the folder of that run is gone, and the store has it already")
        elif _is_file(path / RESULTS):
            yield path / RESULTS
        elif ids := run_ids(path):
            yield from (path / run_id / RESULTS for run_id in ids)
        else:
            problems.append(f"{name}: found no {RESULTS} in it, expected a run's folder or a folder of runs")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no right to look
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, a NUL
        return False
