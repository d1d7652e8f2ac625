"""Terminal summary at the end of a session."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import pytest

from pytest_flperf._text import harmless
from pytest_flperf.report.annotations import annotation_lines
from pytest_flperf.report.terminal.judged import judged_lines
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.results.records import Run
from pytest_flperf.session.run_record import RunRecord

__all__ = ["shown", "summarise"]

_PLAIN: Final = str.maketrans("▲▼→≠≤≥∞…–×", "^v>!<>#~-x")
"""One-character replacements for signs that a terminal's encoding lacks."""


def summarise(record: RunRecord, reporter: pytest.TerminalReporter) -> None:
    """Print verdict, table, details and paths, according to the verbosity."""
    if record.ended_before_it_began:
        return
    run, problems = record.run(), record.said
    folder = record.folder.path if record.folder is not None else None
    verbosity = reporter.config.get_verbosity()
    if verbosity >= 0:
        reporter.write_sep("=", f"flperf{_mark(run)}")
    for line in summary_lines(run, reporter.config.get_terminal_writer().fullwidth, verbosity, problems):
        colour = {line.colour: True} if line.colour else {}
        reporter.write_line(shown(harmless(line.text)), bold=line.bold, **colour)
    if record.judged_answers is not None and verbosity >= 0:
        width = reporter.config.get_terminal_writer().fullwidth
        reporter.write_line("")
        for text in judged_lines(record.judged_answers, width, examples=verbosity > 0):
            reporter.write_line(shown(harmless(text)))
        reporter.write_line("")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for text in annotation_lines(run):
            reporter.write_line(text)  # a command of our own
    if folder is not None and verbosity >= 0:
        reporter.write_line(harmless(f"results: {_shown_path(folder, reporter.startpath)}"))


def shown(text: str) -> str:
    """The text, in plain characters if standard output can't encode it."""
    try:
        text.encode(getattr(sys.__stdout__, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text


def _mark(run: Run) -> str:
    """Mark of an incomplete run, shown with every verdict."""
    if run.status == "interrupted":
        return " (INTERRUPTED)"
    return " (PARTIAL)" if run.partial else ""


def _shown_path(folder: Path, start: Path) -> str:
    return str(folder.relative_to(start)) if folder.is_relative_to(start) else str(folder)
