"""The log that a recovery reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.run_log import RUN_LOG, RunLog, read_run_log


def a_case(name: str, outcome: str = "failed") -> CaseResult:
    """A case on one host."""
    return CaseResult(f"s::{name}[m]", "s", name, "m", host="h", outcome=outcome, load=Load(iterations=3))  # type: ignore[arg-type]


def test_what_was_judged_and_what_was_not(tmp_path: Path) -> None:
    """A result ends a case that began; one that begins anew is unfinished again."""
    log = RunLog(RunFolder(tmp_path))
    log.run(Run("id", "2026-01-01T00:00:00Z", suites=("s",), cases=(a_case("left-out"),)))
    for name in ("one", "two", "again"):
        log.begun(a_case(name), ("ttft_ms.p50 <= 1",), 7)
        if name != "two":
            log.result(a_case(name, "passed"))
    log.begun(a_case("again"), (), 99)
    log.close()
    found = read_run_log(tmp_path / RUN_LOG)
    assert found.run is not None
    assert (found.run.id, found.run.suites, found.run.cases) == ("id", ("s",), ())
    assert set(found.begun) == {("s::two[m]", "h"), ("s::again[m]", "h")}
    assert found.begun["s::two[m]", "h"].budgets == ("ttft_ms.p50 <= 1",)
    assert found.begun["s::again[m]", "h"].journal_start == 99
    assert found.results["s::one[m]", "h"].outcome == "passed"


def test_nowhere_to_write(tmp_path: Path) -> None:
    """Without a folder nothing is written and nothing raises; a log that is not there is an OSError of the reader."""
    log = RunLog(None)
    log.result(a_case("one"))
    log.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        read_run_log(tmp_path / RUN_LOG)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["run", "begun", "result", "budgets", "journal_start", "x"]), JSON)))
def test_foreign_lines(records: list[dict[str, object]]) -> None:
    """Whatever stands in the file, reading it raises nothing."""
    import json
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RUN_LOG
        path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"run": ', encoding="utf-8")
        read_run_log(path)
