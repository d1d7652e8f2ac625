"""Commands: of a run, and to rerun a single case."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from typing import Final

from pytest_flperf.results.records import CaseResult, Run

__all__ = ["NOT_REPEATED", "SWITCHES", "command_line", "rerun_command"]

SWITCHES: Final = frozenset(
    {
        "--flperf-no-stream",
        "--flperf-list-suites",
        "--flperf-list-models",
        "--flperf-dry-run",
        "--flperf-keep-loaded",
        "--flperf-parallel-targets",
        "--flperf-fail-undecided",
        "--flperf-reference",
        "--flperf-require-baseline",
    }
)
"""Options of ours that take no value."""
NOT_REPEATED: Final = frozenset(
    {
        "--flperf-suite",
        "--flperf-html",
        "--flperf-markdown",
        "--flperf-code-quality",
        "--flperf-csv",
        "--flperf-json",
        "--flperf-store",
        "--flperf-dry-run",
    }
)
"""Options of ours that are left out: they select cases, name files that one case would overwrite, or may hold a masked
password."""
_KEPT_OF_PYTEST: Final = frozenset({"-c", "-o", "-p", "--rootdir", "--override-ini", "--config-file"})
_CALL_NUMBER: Final = re.compile(r" #[0-9]+\Z")


def command_line(run: Run) -> str:
    """The run's command, quoted for its machine's shell; empty where unknown."""
    return _quoted(run.command, run)


def rerun_command(run: Run, case: CaseResult) -> str:
    """The command that reruns a case, quoted for its machine's shell.

    Such as ``pytest 'flperf:default::short-chat[m]' --flperf-iterations=3``.
    """
    return _quoted(["pytest", _CALL_NUMBER.sub("", case.nodeid), *_kept(run.command[1:])], run)


def _quoted(words: Sequence[str], run: Run) -> str:
    windows = run.host is not None and run.host.os.startswith("Windows")
    return subprocess.list2cmdline(words) if windows else shlex.join(words)


def _kept(words: Sequence[str]) -> list[str]:
    """Options of the run's command that change what a case measures."""
    kept: list[str] = []
    following = iter(words)
    for word in following:
        name, equals, _ = word.partition("=")
        ours = name.startswith("--flperf-")
        if not ours and name not in _KEPT_OF_PYTEST:
            continue
        pair = [word]
        if not equals and name not in SWITCHES:
            pair += [value for value in [next(following, None)] if value is not None]
        if name not in NOT_REPEATED:
            kept += pair
    return kept
