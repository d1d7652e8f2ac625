"""What commands on stored runs have in common: where runs are, and how one is found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_flperf.commands.common import FAILED, Parsed, refuse

if TYPE_CHECKING:
    from pytest_flperf.history.place import StorePlace
    from pytest_flperf.history.store import Store
    from pytest_flperf.results.records import Run

__all__ = ["add_places", "add_report_dir", "failed", "found_run", "open_store", "store_of", "stored_id"]


def add_report_dir(parser: argparse.ArgumentParser) -> None:
    """The option ``--report-dir``."""
    parser.add_argument("--report-dir", metavar="DIR", default="reports", help="Folder of the runs; default: reports")


def add_places(parser: argparse.ArgumentParser) -> None:
    """The options ``--report-dir`` and ``--store``."""
    add_report_dir(parser)
    parser.add_argument(
        "--store", metavar="URL",
        help="The store: a SQLite file or postgresql+psycopg://USER@HOST/DATABASE; default: history.db in the folder "
        "of the runs",
    )  # fmt: skip


def failed(parsed: Parsed, problem: str) -> int:
    """Say what could not be done; the exit status."""
    import sys

    from pytest_flperf.gates.text import printable
    from pytest_flperf.report.listings import say

    say(printable(f"{parsed.usage.prog}: error: {problem}", 2_000), sys.stderr)
    return FAILED


def store_of(parsed: Parsed) -> StorePlace:
    """Where the store is; ends the command for what is no place."""
    from pytest_flperf.history.place import DEFAULT_FILE, PlaceError, StorePlace, store_place

    if parsed.store is None:
        file = Path(parsed.report_dir) / DEFAULT_FILE
        return StorePlace("sqlite", str(file), file)
    try:
        place = store_place(parsed.store, Path())
    except PlaceError as error:
        refuse(parsed, f"--store: {error}")
    if place is None:
        refuse(parsed, "--store: found 'none', expected a store")
    return place


def open_store(parsed: Parsed) -> Store:
    """The store, to read or to prune; ends the command where there is none, or it can't be opened."""
    place = store_of(parsed)
    if place.path is not None and not place.path.is_file():
        refuse(
            parsed,
            f"there is no store {place.shown}: runs are stored when they end, and 'flperf import FOLDER' stores those "
            "of a folder; --report-dir or --store says where",
        )
    from pytest_flperf.history.store import Store, StoreError

    try:
        return Store(place)
    except StoreError as error:
        raise SystemExit(failed(parsed, str(error))) from error


def stored_id(parsed: Parsed, store: Store, name: str) -> str:
    """The id of the only stored run that a name means; ends the command where there is none, or several."""
    ids = store.ids(name) if name else []
    if len(ids) == 1:
        return ids[0]
    if ids:
        hint = f"several begin so: {', '.join(ids[-5:])}"
    else:
        newest = [run.id for run in store.runs(3)]
        hint = f"the newest are {', '.join(newest)}" if newest else "it is empty"
    refuse(parsed, f"no run {name[:200]!r} in the store: expected its id, how only one begins, or 'latest'; {hint}")


def found_run(parsed: Parsed, name: str) -> tuple[Run, str]:
    """A run and where its results are: from its file, else from the store; ends the command where there is none."""
    from pytest_flperf.results.stored import RunError, find_run, read_run, run_of

    try:
        path = find_run(name, Path(parsed.report_dir))
        return read_run(path), str(path.parent)
    except RunError as error:
        problem = str(error)
    place = store_of(parsed)
    if place.path is not None and not place.path.is_file():
        refuse(parsed, problem)
    from pytest_flperf.history.store import Store, StoreError

    try:
        with Store(place) as store:
            ids = store.ids(name)
            text = store.document(ids[0]) if len(ids) == 1 else None
        if text is not None:
            return run_of(text, f"run {ids[0]} in {place.shown}"), f"only in the store {place.shown}"
    except (StoreError, RunError) as error:
        problem = f"{problem}; {error}"
    else:
        more = f"several begin so: {', '.join(ids[-5:])}" if ids else "there is none"
        problem = f"{problem}; in the store {place.shown} {more}"
    refuse(parsed, problem)
