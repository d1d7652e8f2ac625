"""``flperf export`` and ``flperf import``: runs from and into the store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import BAD_USAGE, INTERRUPTED, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stored_runs import (
    RUN_HELP,
    add_places,
    failed,
    judged_beside,
    run_names,
    store_of,
    tell,
    tell_taken,
)

if TYPE_CHECKING:
    from pytest_flperf.history.place import StorePlace
    from pytest_flperf.history.store import Store
    from pytest_flperf.results.records import Run
    from pytest_flperf.results.run_files import RunFile, RunFiles

__all__ = ["add_export", "add_import"]

_SAMPLES: Final = "samples.jsonl"


def add_export(commands: Commands) -> None:
    """Add the ``export`` command."""
    parser = commands.add_parser(
        "export",
        help="Write runs as JSON, CSV or Parquet",
        description="Runs from the store or their folders: one as in results.json, or any number as CSV or Parquet "
        "with a row per case, or per request.",
    )
    parser.add_argument("names", metavar="RUN", nargs="+", help=RUN_HELP)
    parser.add_argument("--format", choices=("csv", "json", "parquet"), help="Format to write; default: json")
    parser.add_argument(
        "--requests", action="store_true", help="Write a row per measured request, from the runs' samples.jsonl"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="File to write; default: standard output")
    add_places(parser)
    add_json(parser, "which file was written, with -o; without it the run itself,")
    parser.set_defaults(run=_export, usage=parser)


def add_import(commands: Commands) -> None:
    """Add the ``import`` command."""
    parser = commands.add_parser(
        "import",
        help="Store runs from their results.json",
        description="Stores runs that were measured elsewhere, or with --flperf-store=none, or killed and recovered: "
        "from results.json files, and from folders and zip files that hold runs at any depth, such as artefacts of CI. "
        "Runs that are already stored are left as they are.",
    )
    parser.add_argument(
        "paths",
        metavar="FILE|FOLDER",
        nargs="+",
        help="A results.json, a run's folder, or a folder or zip file that holds runs",
    )
    add_places(parser)
    add_json(parser, "what was stored")
    parser.set_defaults(run=_import, usage=parser)


def _export(parsed: Parsed) -> int:
    from pytest_flperf._text import harmless_json
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.results.atomic_write import write_file

    form = parsed.format or "json"
    if parsed.json and form == "csv" and parsed.output is None:
        refuse(parsed, "--json with --format csv needs -o FILE: both would go to standard output")
    if form == "json" and (parsed.requests or len(parsed.names) > 1):
        found = "--requests" if parsed.requests else f"{len(parsed.names)} runs"
        refuse(parsed, f"{found} with --format json: expected csv or parquet; samples.jsonl has the requests as JSON")
    if form == "parquet":
        _check_parquet(parsed)
    runs: dict[str, tuple[Run, Path | None]] = {}
    with run_names(parsed, parsed.names) as names:
        for name in parsed.names:
            ref = names.find(name)
            run = names.read(ref)
            tell_taken(names.where(ref, run.id))
            runs.setdefault(run.id, (run, ref.folder or (ref.path.parent if ref.path is not None else None)))
    content = _rows_of_requests(parsed, runs) if parsed.requests else _exported(runs.values(), form)
    if parsed.output is None:
        text = content.decode().rstrip("\r\n")
        say(text if form == "csv" else harmless_json(text))
        return 0
    problem = write_file(Path(parsed.output), content)
    if problem:
        return failed(parsed, f"{parsed.output} was not written: {problem}")
    if parsed.json:
        ids = list(runs)
        return print_json({"written": parsed.output, **({"run": ids[0]} if len(ids) == 1 else {"runs": ids})})
    say(f"written: {parsed.output}")
    return 0


def _rows_of_requests(parsed: Parsed, runs: Mapping[str, tuple[Run, Path | None]]) -> bytes:
    """A row per request of these runs; exits where a run has no samples."""
    from pytest_flperf.report.request_rows import REQUEST_COLUMNS, Row, request_rows

    rows: list[Row] = []
    for run, folder in runs.values():
        if folder is None or not (folder / _SAMPLES).exists():
            refuse(parsed, f"--requests: run {run.id} has no {_SAMPLES} any more; the store keeps no requests")
        try:
            rows += request_rows(run, folder / _SAMPLES)
        except OSError as error:
            refuse(parsed, f"--requests: {folder / _SAMPLES} can't be read: {error.strerror}")
    if parsed.format == "parquet":
        from pytest_flperf.report.parquet import parquet_of

        return parquet_of(REQUEST_COLUMNS, rows)
    from pytest_flperf.report.csv import csv_of

    return csv_of(list(REQUEST_COLUMNS), rows).encode("utf-8", "backslashreplace")


def _check_parquet(parsed: Parsed) -> None:
    """Exit if Parquet can't be written."""
    from pytest_flperf.report.parquet import PARQUET_EXTRA, can_write_parquet

    if parsed.output is None:
        refuse(parsed, "--format parquet needs -o FILE: it is not text")
    if not can_write_parquet():
        refuse(parsed, f"--format parquet needs pyarrow, which can't be imported: {PARQUET_EXTRA}")


def _exported(found: Collection[tuple[Run, Path | None]], form: str) -> bytes:
    """The runs in the given format; JSON is of the only one."""
    from pytest_flperf.results.run_folder import RESULTS

    runs = [run for run, _ in found]
    if form == "json":
        return (json.dumps(runs[0].to_dict(), ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
    beside = {run.id: judged_beside(folder and folder / RESULTS) for run, folder in found}
    judged = {run_id: each for run_id, each in beside.items() if each is not None}
    if form == "parquet":
        from pytest_flperf.report.parquet import parquet

        return parquet(runs, judged)
    from pytest_flperf.report.csv import csv_text

    return csv_text(runs, judged).encode("utf-8", "backslashreplace")


def _import(parsed: Parsed) -> int:
    from pytest_flperf._text import printable
    from pytest_flperf.history.place import StoreError
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.results.run_files import RunFiles

    place = store_of(parsed)
    importing, status = _Importing(place, lambda line: tell(parsed, line)), BAD_USAGE
    with contextlib.closing(importing), RunFiles() as files:
        try:
            importing.all(list(_results_files(parsed, importing, files)))
            importing.problems += files.problems
            for killed in files.killed:
                tell(parsed, f"left out: {killed}: that run was killed; 'flperf report --recover' makes its results")
        except StoreError as error:
            importing.problems.append(f"{error}; nothing was stored")
        except KeyboardInterrupt:
            status = INTERRUPTED
            importing.problems.append(
                f"interrupted: {importing.stored} are stored; the same command again stores the rest"
            )
    done, problems = importing.done, importing.problems
    if parsed.json:
        print_json({**done, "problems": problems})
    else:
        for problem in problems:
            failed(parsed, problem)
        counts = f"{len(done['added'])} added, {len(done['replaced'])} replaced, {len(done['known'])} known before"
        say(printable(f"stored in {place.shown}: {counts}"))
    return status if problems else 0


class _Importing:
    """Import of runs; opens the store for the first readable run.

    A missing store is made then.
    """

    def __init__(self, place: StorePlace, on_wait: Callable[[str], None]) -> None:
        self._place = place
        self._on_wait = on_wait
        self._store: Store | None = None
        self.done: dict[str, list[str]] = {"added": [], "replaced": [], "known": []}
        """Ids of runs, by result of the import."""
        self.problems: list[str] = []
        self._merged: dict[str, tuple[str, ...]] = {}
        """Runs that join others, with the ids of these; the store has only single ones."""

    @property
    def stored(self) -> str:
        """Number of stored runs so far, in words."""
        count = sum(map(len, self.done.values()))
        return f"{count} run{'' if count == 1 else 's'} of this import"

    def there(self) -> Store | None:
        """The existing store, or None; raises StoreError."""
        return self._opened() if self._place.is_there() else None

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def all(self, files: Sequence[RunFile]) -> None:
        """Store the runs of these files until the store becomes unusable."""
        from pytest_flperf.history.place import StoreUnusableError

        for number, file in enumerate(files):
            try:
                self._one(file)
            except StoreUnusableError as error:
                left = len(files) - number
                runs = "1 run is" if left == 1 else f"{left} runs are"
                self.problems.append(f"{error}; stopped: {runs} left, {self.stored} are stored")
                return
        for where, joined in self._merged.items():
            store = self.there()
            gone = [run_id for run_id in joined if store is None or store.stored(run_id) is None]
            if gone:
                self.problems.append(
                    f"{where} joins other runs, and the store takes single ones: import {', '.join(gone)} as well"
                )

    def _one(self, file: RunFile) -> None:
        """Store one run; raises StoreUnusableError.

        Adds its id to ``done``, or a line to ``problems``.
        """
        from pytest_flperf.history.environment import Surroundings
        from pytest_flperf.history.place import StoreError, StoreUnusableError
        from pytest_flperf.history.run_names import can_be_id
        from pytest_flperf.report.samples import values_beside
        from pytest_flperf.results.reader import RunError, read_run

        try:
            path = file.path
            run = read_run(path)
            if run.merged:
                self._merged[file.where] = run.merged
                return
            if not can_be_id(run.id):
                found = f"found the id {run.id[:80]!r}, which could not be looked up again"
                self.problems.append(f"{file.where} was not stored: {found}")
                return
            folder = path.parent.absolute() if path.parent.name == run.id else None
            about = Surroundings(folder=None if folder is None else str(folder))
            values = values_beside(path, run)
            self.done[self._opened().add(run, about, values)].append(run.id)
        except StoreUnusableError:
            raise
        except (RunError, StoreError) as error:
            self.problems.append(str(error).replace(str(file.path), file.where))

    def _opened(self) -> Store:
        """The store, opened at first use; raises StoreUnusableError."""
        if self._store is None:
            from pytest_flperf.history.place import StoreError, StoreUnusableError
            from pytest_flperf.history.store import Store

            try:
                self._store = Store(self._place, on_wait=self._on_wait)
            except StoreUnusableError:
                raise
            except StoreError as error:
                raise StoreUnusableError(str(error)) from error
        return self._store


def _results_files(parsed: Parsed, importing: _Importing, files: RunFiles) -> Iterator[RunFile]:
    """Results files of the named runs; raises StoreError.

    A name without one adds a line to the problems.
    """
    from pytest_flperf.history.run_names import RunNameError, RunNames, is_path
    from pytest_flperf.results.run_files import RunFile, is_archive, is_searched
    from pytest_flperf.results.run_folder import RESULTS

    problems = importing.problems
    for name in parsed.paths:
        path = Path(name)
        if is_archive(path) or is_searched(name):
            known = len(files.problems) + len(files.killed)
            found = list(files.of(path))
            yield from found
            if not found and len(files.problems) + len(files.killed) == known:
                problems.append(f"{name}: found no {RESULTS} in it, expected a run's folder or a folder of runs")
        else:
            try:
                store = None if is_path(name) else importing.there()
                results = RunNames(store, Path(parsed.report_dir)).find(name).path
            except RunNameError as error:
                problems.append(str(error))
                continue
            if results is not None:
                yield RunFile(results, str(results))
            else:
                problems.append(f"{name}: the folder of that run is gone, and the store has it already")
