"""``flperf import-tools``: a suite out of BFCL's files, tool schemas, or a saved MCP list."""

from __future__ import annotations

from pathlib import Path

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse

__all__ = ["add_import_tools"]


def add_import_tools(commands: Commands) -> None:
    """Add the ``import-tools`` command."""
    parser = commands.add_parser(
        "import-tools",
        help="Make a suite of tool calls out of BFCL's files, OpenAI tool schemas or a saved MCP tools/list",
        description="Writes a suite, and beside it a data set where there are many prompts.",
    )
    parser.add_argument(
        "file", metavar="FILE", help="BFCL's questions, a list of tools as in OpenAI's API, or MCP's tools/list, saved"
    )
    parser.add_argument("--answers", metavar="FILE", help="BFCL's possible answers to the questions")
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="Suite file to write: .json, .yaml or .yml"
    )
    add_json(parser, "what was written")
    parser.set_defaults(run=_import_tools, usage=parser)


def _import_tools(parsed: Parsed) -> int:
    from pytest_flperf._text import printable
    from pytest_flperf.commands.stored_runs import failed
    from pytest_flperf.report.figures import counted
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.tool_imports.files import ENDINGS, import_tools, write_suite

    target = Path(parsed.output)
    if target.suffix.lower() not in ENDINGS:
        refuse(parsed, f"-o {parsed.output}: expected a file that ends in {', '.join(ENDINGS)}")
    try:
        imported = import_tools(Path(parsed.file), None if parsed.answers is None else Path(parsed.answers))
        files = write_suite(imported, target)
    except SuiteError as error:
        refuse(parsed, str(error))
    except OSError as error:
        failed(parsed, f"{parsed.output} was not written: {error.strerror or error}")
        return FAILED
    if parsed.json:
        return print_json(
            {
                "written": [str(each) for each in files],
                "prompts": imported.cases,
                "left_out": dict(imported.left_out),
            }
        )
    say(printable(f"written: {', '.join(map(str, files))} ({counted(imported.cases, 'prompt')})"))
    for reason, count in imported.left_out.items():
        say(f"left out: {count} with {reason}")
    return 0
