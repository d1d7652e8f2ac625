"""Terminal listings: tables of suites, models and calibrations."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Final, TextIO

from pytest_flperf._text import harmless_lines, printable
from pytest_flperf.backends.base import ListedModel
from pytest_flperf.report.figures import calibrated_words, number
from pytest_flperf.report.terminal import tables
from pytest_flperf.report.terminal.tables import cut, render, width_of
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.suite.discovery import SuiteListing

__all__ = ["NO_CATALOG", "calibrations_table", "fitted_table", "models_table", "say", "suites_table", "wrapped"]

_SHORTEST_NAME: Final = 20
_LONGEST_CELL: Final = 1_000
_NARROWEST: Final = 40
NO_CATALOG: Final = "Foundry Local's public catalog lists nothing: without internet only the embedded models can run"


def suites_table(listings: Sequence[SuiteListing]) -> list[str]:
    """Table of suites; a suite that can't be loaded shows why."""
    rows = [
        (each.name, str(each.scenarios) if each.error is None else "–", _first_line(each.error or each.description))
        for each in listings
    ]
    return fitted_table(("suite", "scenarios", "description"), rows, names=3)


def models_table(models: Sequence[ListedModel], masked: Callable[[str], str]) -> list[str]:
    """Table of a backend's models; ``masked`` redacts a server's names."""
    head = ("model", "id", "from", "size MB", "device", "context", "state")
    rows = [
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
    ]
    return fitted_table(head, rows, names=7)


def calibrations_table(found: Sequence[Calibration]) -> list[str]:
    """Table of calibrations: the client's error, a row per load."""
    head = ("load", "n", "p50", "error", "p99", "error", "gap error", "µs/token", "late")
    rows = [
        (
            calibrated_words(each.load).replace(" requests/s", "/s"),
            str(each.requests),
            number(each.ttft_p50_ms),
            f"{each.ttft_p50_error_ms:+.3f}",
            number(each.ttft_p99_ms),
            f"{each.ttft_p99_error_ms:+.3f}",
            f"{each.gap_p99_error_ms:+.4f}",
            number(each.cpu_us_per_token),
            str(each.late_reads),
        )
        for each in found
    ]
    words = (
        "True TTFT in ms; error: what this client says minus what is true.",
        "Processor time of the load process per token; late: read too late to say.",
    )
    return [*fitted_table(head, rows, names=1), *words]


def _state(model: ListedModel) -> str:
    if model.loaded:
        return "loaded"
    if model.source == "embedded":
        return "packaged"
    if model.cached is None:
        return "–"
    return "cached" if model.cached else "to download"


def fitted_table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int, *, whole: bool = False) -> list[str]:
    """A table fitted to the terminal's width by shortening its first column.

    The first ``names`` columns are aligned left.  With ``whole`` nothing is shortened, because the first column is to
    be copied: lines may be longer than the terminal is wide.
    """
    width = shutil.get_terminal_size().columns
    left = [column < names for column in range(len(head))]
    shown = [[printable(cell, _LONGEST_CELL if whole else 200) for cell in row] for row in rows]
    lines = render(head, shown, left)
    if whole:
        return lines
    excess = max(map(width_of, lines)) - width
    if excess > 0 and shown:
        longest = max(_SHORTEST_NAME, max(width_of(row[0]) for row in shown) - excess)
        lines = render(head, [[cut(row[0], longest), *row[1:]] for row in shown], left)
    return [cut(line, width) for line in lines]


def wrapped(text: str) -> list[str]:
    """A sentence wrapped at the terminal's width."""
    return tables.wrapped(text, max(shutil.get_terminal_size().columns, _NARROWEST))


def say(line: str, stream: TextIO | None = None) -> None:
    """Write a line to standard output or another stream.

    Characters that its encoding can't hold, and those that control a terminal, are written as escapes.

    Raises:
        OSError: Standard output is closed, full or broken.  Errors of another stream are ignored.

    """
    to = stream or sys.stdout
    if to is None:
        raise OSError("standard output is closed")
    encoding = to.encoding or "utf-8"
    text = harmless_lines(line).encode(encoding, "backslashreplace").decode(encoding) + "\n"
    try:
        to.write(text)
    except OSError as error:
        if stream is None:
            raise OSError(f"standard output can't be written: {error.strerror or error}") from error


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
