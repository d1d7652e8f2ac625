"""``flperf …``: what a person does without running a test."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

__all__ = ["main"]

_BAD_USAGE: Final = 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_BAD_USAGE, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0, or 4 for bad usage as with pytest."""
    from pytest_flperf.reference.command import add_arguments
    from pytest_flperf.reference.command import run as serve_reference

    parser = _Parser(
        prog="flperf", description="Tools of pytest-flperf; benchmarks run with: pytest --flperf-suite=default"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    reference = commands.add_parser(
        "serve-reference",
        help="Serve an OpenAI-compatible API that streams on a known schedule and logs the truth",
        description="A server whose true times are known, to check a client or a set-up against.",
    )
    add_arguments(reference)
    reference.set_defaults(run=serve_reference)
    schema = commands.add_parser(
        "schema", help="Print a JSON Schema", description="JSON Schemas, for editors and for readers of results."
    )
    schema.add_argument("which", choices=("suite", "results"), help="Of suite files, or of results.json")
    schema.set_defaults(run=_print_schema)
    parsed = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    status: int = parsed.run(parsed)
    return status


def _print_schema(parsed: argparse.Namespace) -> int:
    import json

    if parsed.which == "suite":
        from pytest_flperf.suite.schema import json_schema

        schema = json_schema()
    else:
        from pytest_flperf.results.records import load_schema

        schema = load_schema()
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
