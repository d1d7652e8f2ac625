"""Shared parts of commands: parser, exit codes, JSON, progress, masked keys."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from pytest_flperf.backends.router import Place
    from pytest_flperf.results.redaction import Redactor

__all__ = [
    "BAD_USAGE",
    "FAILED",
    "INTERRUPTED",
    "Commands",
    "Parsed",
    "Parser",
    "add_json",
    "clear_line",
    "print_json",
    "redactor_of",
    "refuse",
    "told",
]

FAILED: Final = 1
BAD_USAGE: Final = 4
INTERRUPTED: Final = 130
"""The status that shells report after Ctrl-C."""


class Parser(argparse.ArgumentParser):
    """Argument parser: exits with status 4 on bad usage, like pytest."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help, or fail if standard output is full or closed.

        argparse itself would ignore that.
        """
        if file is not None:
            super().print_help(file)
            return
        from pytest_flperf.report.terminal.listings import say

        say(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Print usage and the error, then exit with status 4."""
        from pytest_flperf._text import printable

        self.print_usage(sys.stderr)
        self.exit(BAD_USAGE, f"{self.prog}: error: {printable(message, 4_000)}\n")


Parsed: TypeAlias = argparse.Namespace
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option ``--json``."""
    parser.add_argument("--json", action="store_true", help=f"Print {what} as JSON")


def print_json(value: Any) -> int:
    """Print a value as JSON for programs; returns the exit status."""
    from pytest_flperf._text import harmless_json
    from pytest_flperf.report.terminal.listings import say

    say(harmless_json(json.dumps(value, ensure_ascii=True, indent=2)))
    return 0


def refuse(parsed: Parsed, problem: str) -> NoReturn:
    """Exit with a bad-usage error."""
    usage: Parser = parsed.usage
    usage.error(problem)


def redactor_of(place: Place) -> Redactor:
    """Mask of the keys that may stand in a server's texts."""
    from pytest_flperf.results.redaction import Redactor, environment_secrets, url_secrets

    return Redactor([place.config.api_key, *url_secrets(place.config.base_url), *environment_secrets(os.environ)])


def told(what: str, percent: float | None) -> None:
    """Show progress in one terminal line."""
    from pytest_flperf._text import harmless

    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{harmless(what)}" + (f" {percent:.1f} %" if percent is not None else ""))
        sys.stderr.flush()


def clear_line() -> None:
    """Clear the line of progress."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
