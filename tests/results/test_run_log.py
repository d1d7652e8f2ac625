"""The log that a recovery reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, LoopMs, PlannedCase, ResourceUse, Run
from pytest_flperf.results.run_folder import RUN_LOG, RunFolder
from pytest_flperf.results.run_log import BegunCase, BegunSide, PlayedCase, RunLog, SearchLoad, read_run_log


def a_case(name: str, outcome: str = "failed") -> CaseResult:
    """A case on one host."""
    return CaseResult(f"s::{name}[m]", "s", name, "m", host="h", outcome=outcome, load=Load(iterations=3))  # type: ignore[arg-type]


def planned(name: str) -> PlannedCase:
    """The same before its first request."""
    return PlannedCase(f"s::{name}[m]", "s", name, "m", host="h", load=Load(iterations=3))


def test_what_was_judged_and_what_was_not(tmp_path: Path) -> None:
    """A result ends a case that began; one that begins anew is unfinished again."""
    log = RunLog(RunFolder(tmp_path))
    log.run(Run("id", "2026-01-01T00:00:00Z", suites=("s",), cases=(a_case("left-out"),)))
    for name in ("one", "two", "again"):
        log.begun(BegunCase(planned(name), ("ttft_ms.p50 <= 1",), 7))
        if name != "two":
            log.result(a_case(name, "passed"))
    log.begun(BegunCase(planned("again"), (), 99))
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


def a_load(load: float) -> SearchLoad:
    """A load of a search from 1 to 8 streams."""
    return SearchLoad("concurrency", 1.0, 8.0, load)


def test_the_loads_of_a_search(tmp_path: Path) -> None:
    """They are one case, in their order, each with what was known after it; beginning again forgets them."""
    log = RunLog(RunFolder(tmp_path))
    case = planned("one")
    for load in (1.0, 2.0, 4.0):
        log.begun(BegunCase(case, (), int(load), filed=f"{case.nodeid} [concurrency {load:g}]", load=a_load(load)))
        if load < 4:
            log.played(case, f"{case.nodeid} [concurrency {load:g}]", PlayedCase(trouble=f"at {load:g}"))
    found = read_run_log(tmp_path / RUN_LOG).begun[case.nodeid, case.host]
    loads = (*found.earlier, found)
    assert [each.load for each in loads] == [a_load(1.0), a_load(2.0), a_load(4.0)]
    assert [each.played.trouble if each.played else None for each in loads] == ["at 1", "at 2", None]
    assert all(not each.earlier for each in found.earlier)
    log.begun(BegunCase(case, (), 9, load=a_load(1.0)))
    log.close()
    assert read_run_log(tmp_path / RUN_LOG).begun[case.nodeid, case.host].earlier == ()


def test_what_was_left_comes_back(tmp_path: Path) -> None:
    """The other side, what was known after the last request, and the model that was being made ready."""
    log = RunLog(RunFolder(tmp_path))
    case = planned("one")
    side = BegunSide(planned("one"), "s::one[m] [against]", (12, 20), 7, shared_cache=True, terms={"kind": "pairs"})
    played = PlayedCase(
        trouble="gone",
        out_of_time=True,
        notes=("a", "b"),
        loop_ms=LoopMs(0.1, 0.2, 0.3),
        loop_histogram={"3": 4},
        resources={"cpu_pct": ResourceUse(2, 1.0, 0.5, 1.5)},
        resources_absent={"gpu_temp_c": "no driver"},
        look=1,
        pairs=12,
    )
    log.preparing(planned("next"))
    log.begun(
        BegunCase(case, (), 0, filed="x", at_ns=5, plan_notes=("n",), prompts=True, beside=side, server={"pids": [7]})
    )
    log.played(case, "another", PlayedCase())
    log.played(case, "x", played)
    log.close()
    found = read_run_log(tmp_path / RUN_LOG)
    begun = found.begun[case.nodeid, case.host]
    assert (begun.beside, begun.played) == (side, played)
    assert (begun.filed, begun.plan_notes, begun.prompts, begun.at_ns) == ("x", ("n",), True, 5)
    assert begun.server == {"pids": [7]}
    assert list(found.preparing) == [("s::next[m]", "h")]


def test_a_log_of_an_older_version(tmp_path: Path) -> None:
    """Its lines say less, and are read."""
    case = planned("one")
    line = {"begun": case.to_dict(), "budgets": [], "journal_start": 5}
    (tmp_path / RUN_LOG).write_text(json.dumps(line) + "\n", encoding="utf-8")
    begun = read_run_log(tmp_path / RUN_LOG).begun[case.nodeid, case.host]
    assert (begun.filed, begun.journal_start, begun.played) == (case.nodeid, 5, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


KEYS = ["run", "begun", "result", "budgets", "journal_start", "played", "preparing", "load", "beside", "filed", "x"]


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON)))
def test_foreign_lines(records: list[dict[str, object]]) -> None:
    """Whatever stands in the file, reading it raises nothing."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RUN_LOG
        path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"run": ', encoding="utf-8")
        found = read_run_log(path)
    assert len(found.begun) <= len(records)
