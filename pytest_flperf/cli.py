"""``flperf``: command-line tools that run no tests."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytest_flperf.commands.baselines import add_baseline
from pytest_flperf.commands.budgets import add_budgets
from pytest_flperf.commands.calibrate import add_calibrate
from pytest_flperf.commands.common import INTERRUPTED, Parser
from pytest_flperf.commands.compare import add_compare
from pytest_flperf.commands.discover import add_discover
from pytest_flperf.commands.doctor import add_doctor
from pytest_flperf.commands.history import add_history, add_prune
from pytest_flperf.commands.judge import add_judge
from pytest_flperf.commands.merge import add_merge
from pytest_flperf.commands.models import add_models
from pytest_flperf.commands.reference import add_reference
from pytest_flperf.commands.run_logs import add_logs
from pytest_flperf.commands.runs import add_report, add_show
from pytest_flperf.commands.streams import run_on_streams
from pytest_flperf.commands.suites import add_schema, add_suites
from pytest_flperf.commands.tools import add_import_tools
from pytest_flperf.commands.transfer import add_export, add_import
from pytest_flperf.commands.trend import add_trend

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, *, program: str = "flperf") -> int:
    """Run a command; returns the exit status.

    0 is success, 1 means that something could not be done, and 4 is bad usage, as with pytest.

    Args:
        arguments: The words of the command line; None: this process's.
        program: What usage and errors call the command.

    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return run_on_streams(lambda: _run(words, program))
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(words: Sequence[str], program: str) -> int:
    parser = Parser(
        prog=program, description="Tools of pytest-flperf; benchmarks run with: pytest --flperf-suite=default"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_suites(commands)
    add_models(commands)
    add_discover(commands)
    add_doctor(commands)
    add_show(commands)
    add_report(commands)
    add_logs(commands)
    add_history(commands)
    add_trend(commands)
    add_compare(commands)
    add_judge(commands)
    add_export(commands)
    add_import(commands)
    add_merge(commands)
    add_import_tools(commands)
    add_prune(commands)
    add_baseline(commands)
    add_budgets(commands)
    add_schema(commands)
    if not words or words[0] not in commands.choices:
        add_reference(commands)  # its options take 50 ms to import, not needed by other commands
    add_calibrate(commands)
    parsed = parser.parse_args(words)
    status: int = parsed.run(parsed)
    return status


if __name__ == "__main__":
    sys.exit(main())
