"""Shared parts of commands on stored runs: options, lookup, messages."""

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
    from pytest_flperf.results.judged import Judged

__all__ = ["RUN_HELP", "add_places", "add_report_dir", "failed", "judged_beside", "open_store", "run_names", "store_of",
           "store_there", "tell", "tell_taken", "unusable"]  # fmt: skip

RUN_HELP = (
    "A run's id or a unique start of one, latest, the name of a baseline, or the path of a results.json or a run's "
    "folder"
)


def add_report_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--report-dir``."""
    parser.add_argument("--report-dir", metavar="DIR", default="reports", help="Folder of the runs; default: reports")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--report-dir`` and ``--store``."""
    add_report_dir(parser)
    parser.add_argument(
        "--store", metavar="URL",
        help="The store: a SQLite file or postgresql+psycopg://USER@HOST/DATABASE; default: history.db in the folder "
        "of the runs",
    )  # fmt: skip


def failed(parsed: Parsed, problem: str) -> int:
    """Print an error; returns the exit status."""
    import sys

    from pytest_flperf._text import printable
    from pytest_flperf.report.terminal.listings import say

    say(printable(f"{parsed.usage.prog}: error: {problem}", 2_000), sys.stderr)
    return FAILED


def judged_beside(results: Path | None) -> Judged | None:
    """What a judge said of a run, from beside its results; None where nobody was asked.

    A file that can't be read is said.
    """
    import sys

    from pytest_flperf._text import printable
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.results.judged import JudgedError, read_judged
    from pytest_flperf.results.run_folder import JUDGED

    if results is None:
        return None
    try:
        return read_judged(results.with_name(JUDGED))
    except JudgedError as error:
        say(printable(f"warning: {error}", 1_000), sys.stderr)
        return None


def tell(parsed: Parsed, line: str) -> None:
    """Print a progress line to standard error.

    Standard output holds only what programs read.
    """
    import sys

    from pytest_flperf._text import printable
    from pytest_flperf.report.terminal.listings import say

    say(printable(f"{parsed.usage.prog}: {line}", 1_000), sys.stderr)


def store_of(parsed: Parsed) -> StorePlace:
    """Location of the store; exits if it is invalid."""
    from pytest_flperf.history.place import PlaceError, store_in, store_place

    if parsed.store is None:
        return store_in(Path(parsed.report_dir))
    try:
        place = store_place(parsed.store, Path())
    except PlaceError as error:
        refuse(parsed, f"--store: {error}")
    if place is None:
        refuse(parsed, "--store: found 'none', expected a store")
    return place


def unusable(parsed: Parsed, problem: object) -> int:
    """Report an unusable store or run; returns the bad-usage exit status.

    That status says that nothing was compared.
    """
    failed(parsed, str(problem))
    return BAD_USAGE


def open_store(parsed: Parsed) -> Store:
    """Open the store; exits if it is missing or can't be opened."""
    store = store_there(parsed)
    if store is None:
        refuse(
            parsed,
            f"there is no store {store_of(parsed).shown}: runs are stored when they end, and 'flperf import FOLDER' "
            "stores those of a folder; --report-dir or --store says where",
        )
    return store


def store_there(parsed: Parsed) -> Store | None:
    """Open the store, or return None if none was ever made.

    Exits if it can't be opened, or if ``--store`` names one that does not exist.
    """
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
    """Yield the lookup of runs by these names.

    Exits for a name or a run that can't be used.  The store is opened only if a name needs it: a path names a file,
    whatever the store holds.
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
    """Print to standard error which run is used."""
    import sys

    from pytest_flperf._text import printable
    from pytest_flperf.report.terminal.listings import say

    say(printable(f"taken: {where}", 1_000), sys.stderr)
