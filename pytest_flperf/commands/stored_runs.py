"""What commands on stored runs have in common: where runs are, and how one is found."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_flperf.commands.common import BAD_USAGE, FAILED, Parsed, refuse

if TYPE_CHECKING:
    from pytest_flperf.history.place import StorePlace
    from pytest_flperf.history.run_names import RunNames
    from pytest_flperf.history.store import Store

__all__ = ["RUN_HELP", "add_places", "add_report_dir", "failed", "open_store", "run_names", "store_of", "store_there",
           "tell", "tell_taken", "unusable"]  # fmt: skip

RUN_HELP = (
    "Id of a run, how only one begins, latest, the name of a baseline, or the path of a results.json or of a run's "
    "folder"
)


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
    from pytest_flperf.report.terminal.listings import say

    say(printable(f"{parsed.usage.prog}: error: {problem}", 2_000), sys.stderr)
    return FAILED


def tell(parsed: Parsed, line: str) -> None:
    """Say what goes on, beside what is printed for programs."""
    import sys

    from pytest_flperf.gates.text import printable
    from pytest_flperf.report.terminal.listings import say

    say(printable(f"{parsed.usage.prog}: {line}", 1_000), sys.stderr)


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


def unusable(parsed: Parsed, problem: object) -> int:
    """Say why a store or a run can't be used; the exit status, which is that of bad usage: nothing was compared."""
    failed(parsed, str(problem))
    return BAD_USAGE


def open_store(parsed: Parsed) -> Store:
    """The store, to read or to prune; ends the command where there is none, or it can't be opened."""
    store = store_there(parsed)
    if store is None:
        refuse(
            parsed,
            f"there is no store {store_of(parsed).shown}: runs are stored when they end, and 'flperf import FOLDER' "
            "stores those of a folder; --report-dir or --store says where",
        )
    return store


def store_there(parsed: Parsed) -> Store | None:
    """The store; None where none was ever made.  Ends the command where it can't be opened, or was named and isn't."""
    from pytest_flperf.history.place import StoreError

    place = store_of(parsed)
    try:
        if place.is_there():
            from pytest_flperf.history.store import Store

            return Store(place, on_wait=lambda line: tell(parsed, line))
    except StoreError as error:
        raise SystemExit(unusable(parsed, error)) from error
    if parsed.store is not None:
        refuse(parsed, f"--store: there is no store {place.shown}")
    return None


@contextlib.contextmanager
def run_names(parsed: Parsed, texts: Sequence[str]) -> Iterator[RunNames]:
    """Where runs of these names are looked for.  Ends the command for a name or a run that can't be used.

    The store is opened only where a name needs it: a path names a file whatever the store says.
    """
    from pytest_flperf.history.place import StoreError
    from pytest_flperf.history.run_names import RunNameError, RunNames, is_path
    from pytest_flperf.results.reader import RunError

    store = None if all(map(is_path, texts)) else store_there(parsed)
    try:
        with store or contextlib.nullcontext():
            yield RunNames(store, Path(parsed.report_dir))
    except (RunNameError, RunError) as error:
        refuse(parsed, str(error))
    except StoreError as error:
        raise SystemExit(unusable(parsed, error)) from error


def tell_taken(where: str) -> None:
    """Say which run was taken, beside what is printed for programs."""
    import sys

    from pytest_flperf.gates.text import printable
    from pytest_flperf.report.terminal.listings import say

    say(printable(f"taken: {where}", 1_000), sys.stderr)
