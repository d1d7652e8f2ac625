"""Disks that are full: the run goes on, a line says what is not written, the verdict stays."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from fault_doubles import PytestRun, write_suite

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
NANO = "--flperf-model=flperf-nano"
BUDGET = {"name": "slow", "budgets": ["ttft_ms.p50 <= 0"]}


def files_of_4_kb() -> None:
    """Let no file grow beyond 4 kB: what a full disk looks like to whoever writes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.parametrize(("scenario", "status"), [({"name": "fine"}, 0), (BUDGET, 1)])
def test_a_full_disk(tmp_path: Path, scenario: dict[str, object], status: int) -> None:
    """Measured and judged as ever; the table is there, and each file that is not written is named once."""
    write_suite(tmp_path, {**scenario, "iterations": 30})
    with PytestRun(tmp_path, NANO, before=files_of_4_kb) as run:
        assert run.end() == status, run.output
        for name in ("journal.jsonl", "results.json"):
            assert len(re.findall(f"{name} (?:was not written|is not complete)", run.output)) == 1, run.output
        assert "Traceback" not in run.output
        assert str(scenario["name"]) in run.output
