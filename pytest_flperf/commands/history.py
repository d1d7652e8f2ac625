"""``flperf history`` and ``flperf prune``: list and remove stored runs."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stored_runs import add_places, failed, open_store, unusable

__all__ = ["add_history", "add_prune", "count"]

_LIMIT: Final = 20


def count(text: str) -> int:
    """Parse a non-negative whole number for argparse."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"found {text[:40]!r}, expected a whole number, 0 or more")
    return int(text)


def add_history(commands: Commands) -> None:
    """Add the ``history`` command."""
    parser = commands.add_parser(
        "history",
        help="List the stored runs, newest first, or one number over the runs",
        description="The runs in the store, newest first. 'flperf show RUN' prints one.  With --scenario and --metric: "
        "that number in each run, oldest first.",
    )
    parser.add_argument(
        "--limit", metavar="N", type=count, default=_LIMIT, help=f"List at most this many (0: all); default: {_LIMIT}"
    )
    parser.add_argument("--suite", metavar="NAME", help="List only runs with cases of this suite")
    parser.add_argument("--branch", metavar="NAME", help="List only runs of this branch")
    parser.add_argument("--scenario", metavar="NAME", help="Print a number of this scenario; needs --metric")
    parser.add_argument("--metric", metavar="NAME", help="The number, such as ttft_ms.p50; needs --scenario")
    parser.add_argument("--model", metavar="NAME", help="With --metric: only of this model")
    parser.add_argument("--best", action="store_true", help="With --metric: only the best run of each case")
    parser.add_argument("--plot", action="store_true", help="With --metric: draw a bar next to each number")
    add_places(parser)
    add_json(parser, "the runs, or the numbers,")
    parser.set_defaults(run=_history, usage=parser)


def add_prune(commands: Commands) -> None:
    """Add the ``prune`` command."""
    parser = commands.add_parser(
        "prune",
        help="Remove all but the newest runs from the store",
        description="Removes the oldest runs from the store, and their folders with --files.  Keeps runs that have a "
        "name, and those that hold the only baseline of a case.",
    )
    parser.add_argument("--keep", metavar="N", type=count, required=True, help="Keep this many of the newest runs")
    parser.add_argument(
        "--files",
        action="store_true",
        help="Remove the folders of these runs from --report-dir as well",
    )
    add_places(parser)
    add_json(parser, "what was removed")
    parser.set_defaults(run=_prune, usage=parser)


def _history(parsed: Parsed) -> int:
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.report.terminal.stored_runs import history_table

    if parsed.scenario is not None or parsed.metric is not None:
        return _series(parsed)
    for given, flag in ((parsed.model, "--model"), (parsed.best, "--best"), (parsed.plot, "--plot")):
        if given:
            return refuse(parsed, f"{flag}: expected --scenario and --metric with it")
    try:
        with open_store(parsed) as store:
            runs = store.runs(parsed.limit or None, suite=parsed.suite, branch=parsed.branch)
    except StoreError as error:
        return unusable(parsed, error)
    if parsed.json:
        return print_json([asdict(run) for run in runs])
    if not runs:
        say("no stored run matches")
        return 0
    for line in history_table(runs, datetime.now(UTC), shutil.get_terminal_size().columns):
        say(line)
    return 0


def _series(parsed: Parsed) -> int:
    from pytest_flperf.history.series import UnknownNumberError, number_named
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.report.terminal.series_table import best_of, series_table
    from pytest_flperf.report.trend_words import unit_words
    from pytest_flperf.results.metrics import METRICS

    if parsed.scenario is None or parsed.metric is None:
        return refuse(parsed, "--scenario and --metric: found only one of them, expected both")
    try:
        number = number_named(parsed.metric)
        with open_store(parsed) as store:
            points = store.series(
                number,
                scenario=parsed.scenario,
                model=parsed.model,
                suite=parsed.suite,
                branch=parsed.branch,
                limit=parsed.limit or None,
            )
    except UnknownNumberError as error:
        return refuse(parsed, f"--metric: {error}")
    except StoreError as error:
        return unusable(parsed, error)
    metric = METRICS[number.metric]
    if parsed.best and metric.better == "neither":
        return refuse(parsed, f"--best: neither a high nor a low {metric.name} is better")
    if parsed.best:
        points = best_of(points, higher_is_better=metric.better == "higher")
    if parsed.json:
        return print_json([asdict(point) for point in points])
    if not points:
        say("no stored run matches")
        return 0
    width = shutil.get_terminal_size().columns
    now, unit, scale = datetime.now(UTC), unit_words(metric), 100.0 if metric.unit == "fraction" else 1.0
    for line in series_table(points, number.name, unit, now, width, bars=parsed.plot, scale=scale):
        say(line)
    return 0


def _prune(parsed: Parsed) -> int:
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.results.run_folder import remove_run_folders

    try:
        with open_store(parsed) as store:
            pruned = store.prune(parsed.keep)
            left = len(store.runs())
    except StoreError as error:
        return unusable(parsed, error)
    gone, held = pruned.gone, pruned.held
    folders, problems = remove_run_folders(Path(parsed.report_dir), gone) if parsed.files else ([], [])
    if parsed.json:
        print_json({"removed": gone, "kept": left, "baselines": held, "folders": folders, "problems": problems})
    else:
        words = f", with {len(folders)} folder{'s' * (len(folders) != 1)}" if parsed.files else ""
        named = f", {len(held)} of them as baselines" if held else ""
        say(f"removed: {len(gone)} run{'s' * (len(gone) != 1)}{words}; kept: {left}{named}")
        for problem in problems:
            failed(parsed, problem)
    return FAILED if problems else 0
