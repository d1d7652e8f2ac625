"""``flperf suites`` and ``flperf schema``: available suites and JSON Schemas."""

from __future__ import annotations

from pathlib import Path

from pytest_flperf.commands.common import Commands, Parsed, add_json, print_json

__all__ = ["add_schema", "add_suites"]


def add_suites(commands: Commands) -> None:
    """Add the ``suites`` command."""
    parser = commands.add_parser(
        "suites",
        help="List the available suites",
        description="Suites for --flperf-suite: those of your project and those that ship with flperf.",
    )
    parser.add_argument(
        "--rootdir", metavar="DIR", default=".", help="Look in the suites/ of this folder; default: the current one"
    )
    add_json(parser, "them")
    parser.set_defaults(run=_suites)


def add_schema(commands: Commands) -> None:
    """Add the ``schema`` command."""
    parser = commands.add_parser(
        "schema", help="Print a JSON Schema", description="JSON Schemas, for editors and for readers of results."
    )
    parser.add_argument("which", choices=("suite", "results"), help="Schema of suite files, or of results.json")
    parser.add_argument("--json", action="store_true", help="Print JSON, as it always does")
    parser.set_defaults(run=_print_schema)


def _suites(parsed: Parsed) -> int:
    from pytest_flperf.report.terminal.listings import say, suites_table
    from pytest_flperf.suite.discovery import list_suites

    found = list_suites(Path(parsed.rootdir))
    if parsed.json:
        return print_json(
            [
                {
                    "name": each.name,
                    "ref": each.ref,
                    "path": str(each.path),
                    "description": each.description,
                    "scenarios": None if each.error else each.scenarios,
                    "error": each.error,
                }
                for each in found
            ]
        )
    for line in suites_table(found):
        say(line)
    return 0


def _print_schema(parsed: Parsed) -> int:
    if parsed.which == "suite":
        from pytest_flperf.suite.schema.document import json_schema

        return print_json(json_schema())
    from pytest_flperf.results.records import load_schema

    return print_json(load_schema())
