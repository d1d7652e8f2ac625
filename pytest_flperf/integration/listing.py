"""Options that list something and exit: suites, models, what would be run."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest

from pytest_flperf.gates.text import printable
from pytest_flperf.integration.keys import SELECTION
from pytest_flperf.integration.selection import check_asked
from pytest_flperf.report.tables import cut, render, width_of
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.suite.finding import list_suites

if TYPE_CHECKING:
    from pytest_flperf.backends.base import Backend, ListedModel
    from pytest_flperf.integration.asked import FlperfOptions
    from pytest_flperf.suite.model import Case

__all__ = ["answer_listing"]

_SHORTEST_NAME = 20


def answer_listing(config: pytest.Config, options: FlperfOptions) -> int:
    """Print what was asked for; the exit status."""
    check_asked(options)
    if options.list_suites:
        return _print_suites(config)
    if options.list_models:
        return _print_models(options)
    return _print_plan(config, options)


def _print_suites(config: pytest.Config) -> int:
    listings = list_suites(config.rootpath)
    rows = [
        (each.name, str(each.scenarios) if each.error is None else "–", _first_line(each.error or each.description))
        for each in listings
    ]
    _table(("suite", "scenarios", "description"), rows, names=3)
    return pytest.ExitCode.OK


def _print_models(options: FlperfOptions) -> int:
    from pytest_flperf.backends.base import BackendError

    key = os.environ.get(options.api_key_env) if options.api_key_env else None
    masked = Redactor([key]).text
    with tempfile.TemporaryDirectory(prefix="flperf-logs-", ignore_cleanup_errors=True) as logs:
        backend = _backend(options, key, Path(logs))
        try:
            models = backend.discover()
        except BackendError as error:
            _say(f"ERROR: {masked(str(error))}", sys.stderr)
            return pytest.ExitCode.TESTS_FAILED
        finally:
            backend.close()
    _table(
        ("model", "id", "from", "size MB", "device", "context", "state"),
        [
            (
                masked(each.alias),
                masked(each.model_id),
                each.source,
                "–" if each.size_mb is None else str(each.size_mb),
                each.device or "–",
                "–" if each.context_length is None else str(each.context_length),
                _state(each),
            )
            for each in models
        ],
        names=7,
    )
    if options.base_url is None and not any(each.source == "catalog" for each in models):
        _say("Foundry Local's public catalog lists nothing: without internet only the embedded models can run")
    return pytest.ExitCode.OK


def _backend(options: FlperfOptions, key: str | None, logs: Path) -> Backend:
    if options.base_url is not None:
        from pytest_flperf.backends.url import UrlBackend

        return UrlBackend(options.base_url, key)
    from pytest_flperf.backends.foundry import FoundryBackend
    from pytest_flperf.integration.run import foundry_config

    return FoundryBackend(foundry_config(options, logs))


def _state(model: ListedModel) -> str:
    if model.loaded:
        return "loaded"
    if model.source == "embedded":
        return "packaged"
    if model.cached is None:
        return "–"
    return "cached" if model.cached else "to download"


def _print_plan(config: pytest.Config, options: FlperfOptions) -> int:
    selection = config.stash.get(SELECTION, None)
    if selection is None:
        raise pytest.UsageError("--flperf-dry-run needs a suite: add --flperf-suite=NAME (--flperf-list-suites)")
    selection.load(config)
    from pytest_flperf.integration.estimate import estimated_seconds, known_seconds

    known = known_seconds(Path(config.invocation_params.dir) / options.report_dir)
    rows = []
    total = 0.0
    guessed = False
    for case in selection.cases:
        seconds, from_run = estimated_seconds(case, known)
        guessed |= not from_run
        total += seconds
        rows.append((case.nodeid, *_requests(case), _duration(seconds) + ("" if from_run else " ?")))
    _table(("case", "requests", "warm-up", "streams", "time"), rows, names=1)
    requests = sum(
        case.scenario.settings.iterations + case.scenario.settings.warmup_requests for case in selection.cases
    )
    _say(f"{len(rows)} cases, {requests} requests, about {_duration(total)}, loads and downloads not counted")
    if guessed:
        _say("? a guess from max_tokens; cases that an earlier run measured are estimated from it")
    return pytest.ExitCode.OK


def _requests(case: Case) -> tuple[str, str, str]:
    settings = case.scenario.settings
    return str(settings.iterations), str(settings.warmup_requests), str(settings.concurrency)


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> None:
    """A table whose first ``names`` columns stand left; where it is too wide the first column gives way."""
    width = shutil.get_terminal_size().columns
    left = [column < names for column in range(len(head))]
    shown = [[printable(cell, 200) for cell in row] for row in rows]
    lines = render(head, shown, left)
    excess = max(map(width_of, lines)) - width
    if excess > 0 and shown:
        longest = max(_SHORTEST_NAME, max(width_of(row[0]) for row in shown) - excess)
        lines = render(head, [[cut(row[0], longest), *row[1:]] for row in shown], left)
    for line in lines:
        _say(cut(line, width))


def _say(line: str, stream: TextIO | None = None) -> None:
    """Print without pytest's writer, which is there only after every plugin has been configured."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
