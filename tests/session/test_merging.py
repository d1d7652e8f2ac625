"""Runs that are joined: shards, hosts, duplicates, what is missing, what differs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_flperf.results.load import Load
from pytest_flperf.results.records import BudgetVerdict, CaseResult, HostInfo, Requests, Run
from pytest_flperf.session.merging import MergeError, Part, merge

SUITE = tuple(f"flperf:default::{name}[m]" for name in ("a", "b", "c"))
VERSIONS = {"python": "3.12.1", "pytest_flperf": "0.1.0"}


def case(name: str, host: str = "one", **changes: Any) -> CaseResult:
    """A passed case."""
    whole = CaseResult(
        nodeid=f"flperf:default::{name}[m]", suite="default", scenario=name, model="m", host=host, outcome="passed",
        message="", load=Load(iterations=5), requests=Requests(total=5, ok=5), error_rate=0.0,
        settings={"max_tokens": 5}, prompts_digest="d" * 12,
    )  # fmt: skip
    return replace(whole, **changes)


def machine(name: str, **changes: Any) -> HostInfo:
    """A host."""
    return replace(HostInfo(name, "Debian 12", "a processor", 8, 32_000), **changes)


def run(number: int, *cases: CaseResult, host: HostInfo | None = None, **changes: Any) -> Run:
    """A run that ended well, the higher its number the later."""
    whole = Run(
        id=f"20261121T10{number:02d}00Z-default-{number:04x}", started_at=f"2026-11-21T10:{number:02d}:00+00:00",
        finished_at=f"2026-11-21T10:{number:02d}:30+00:00", status="passed", suites=("flperf:default",),
        host=host or machine("one"), versions=VERSIONS, suite_digests={"flperf:default": "s" * 16}, suite_cases=SUITE,
        cases=cases,
    )  # fmt: skip
    return replace(whole, **changes)


def joined(*runs: Run, **how: bool) -> Run:
    """The runs as one."""
    return merge([Part(each, f"{each.id}/results.json") for each in runs], **how).run


def outcomes(cases: Sequence[CaseResult]) -> dict[str, str]:
    """Outcome by scenario and host."""
    return {f"{each.scenario}@{each.host}": each.outcome for each in cases}


def test_shards() -> None:
    """All cases of the suite, each in one run: as if one run had measured them."""
    found = joined(run(2, case("c")), run(1, case("a"), case("b")))
    assert (found.status, found.faults, found.partial) == ("passed", (), False)
    assert [each.scenario for each in found.cases] == ["a", "b", "c"]
    assert (found.started_at[14:19], (found.finished_at or "")[14:19]) == ("01:00", "02:30")
    assert found.merged == (run(1).id, run(2).id)
    assert (found.host, found.hosts, found.versions) == (machine("one"), (), VERSIONS)
    assert Run.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_hosts() -> None:
    """The same cases of two machines stay apart."""
    two = run(2, *(case(name, "two") for name in "abc"), host=machine("two"))
    found = joined(run(1, *map(case, "abc")), two)
    assert outcomes(found.cases) == {f"{name}@{host}": "passed" for host in ("one", "two") for name in "abc"}
    assert (found.status, found.host) == ("passed", None)
    assert [each.name for each in found.hosts] == ["one", "two"]


def test_machines_of_one_name() -> None:
    """Two machines called the same, as build agents are: told apart by what they are."""
    other = run(2, *map(case, "abc"), host=machine("one", cores=4))
    found = joined(run(1, *map(case, "abc")), other, run(3, *map(case, "abc")))
    assert outcomes(found.cases) == {f"{name}@{host}": "passed" for host in ("one", "one (2)") for name in "abc"}
    assert [each.name for each in found.hosts] == ["one", "one (2)"]
    assert "3 of 6 cases were measured more than once: the newest that was not cut short counts" in found.notes


def test_what_is_missing_is_never_green() -> None:
    """A case that no run has is an error, and named; accepted, it is a note."""
    found = joined(run(1, case("a")), run(2, case("c")))
    assert (found.status, found.faults) == ("error", ("flperf:default::b[m] is in none of the runs",))
    found = joined(run(1, case("a")), run(2, case("c")), allow_missing=True)
    assert (found.status, found.faults) == ("passed", ())
    assert "flperf:default::b[m] is in none of the runs" in found.notes


def test_what_the_suite_has_is_not_known() -> None:
    """A run that doesn't say so is not taken for whole."""
    found = joined(run(1, *map(case, "abc"), suite_cases=()))
    assert found.status == "error"
    assert "whether some are missing is not known" in found.faults[0]
    assert joined(run(1, *map(case, "abc"), suites=(), suite_cases=(), suite_digests={})).status == "passed"


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_a_red_shard(outcome: Any) -> None:
    """One red case makes the whole red, however many are green."""
    found = joined(run(1, case("a"), case("b")), run(2, case("c", outcome=outcome, message="no"), status=outcome))
    assert found.status == outcome


def test_ends_that_no_case_explains() -> None:
    """Faults of pytest, an error of no case and a verdict of unknown origin stay red."""
    whole = [case(name) for name in "abc"]
    found = joined(run(1, *whole, faults=("a file can't be collected",), status="error"))
    assert (found.status, found.faults) == ("error", (f"run {run(1).id}: a file can't be collected",))
    found = joined(run(1, *whole, status="error"), run(2, *whole))
    assert (found.status, found.faults) == ("error", (f"run {run(1).id} ended with an error that is of no case",))
    found = joined(run(1, *whole, status="failed"))
    assert (found.status, found.faults) == ("error", (f"run {run(1).id} failed, and none of its cases did",))
    skipped = [case(name, outcome="skipped", requests=Requests(), message="no") for name in "abc"]
    assert joined(run(1, *skipped, status="not_measured")).status == "not_measured"


def test_an_interrupted_shard() -> None:
    """The whole is interrupted, until a run of that host that ended has all cases."""
    cut = run(1, case("a"), case("b", outcome="error", partial=True, message="INTERRUPTED"), status="interrupted")
    found = joined(cut, run(2, case("c")))
    assert (found.status, found.partial) == ("interrupted", True)
    assert any(note.startswith(f"run {cut.id} was interrupted") for note in found.notes)
    found = joined(cut, run(2, *map(case, "abc")))
    assert (found.status, found.partial) == ("passed", False)
    assert outcomes(found.cases) == {f"{name}@one": "passed" for name in "abc"}
    elsewhere = run(2, *(case(name, "two") for name in "abc"), host=machine("two"))
    assert joined(cut, elsewhere).status == "interrupted"
    between_cases = run(1, case("a"), finished_at=None, status="interrupted")
    assert joined(between_cases, run(2, case("b"), case("c"))).status == "interrupted"
    assert joined(run(2, *map(case, "abc")), replace(cut, started_at="2026-11-21T11:00:00+00:00")).status == "passed"


def test_a_case_that_several_runs_have() -> None:
    """The newest counts, and tells what came of the others; an error is not hidden by an older pass."""
    failed = case("a", outcome="failed", message="missed ttft_ms.p50")
    rest = [case("b"), case("c")]
    found = joined(run(1, failed, *rest, status="failed"), run(2, case("a")))
    assert (found.status, found.cases[0].reruns) == ("passed", 1)
    assert "failed. missed ttft_ms.p50" in found.cases[0].notes[-1]
    not_ready = case("a", outcome="error", message="the model is not ready", requests=Requests())
    assert joined(run(1, case("a"), *rest), run(2, not_ready, status="error")).status == "error"
    skipped = case("a", outcome="skipped", message="no", requests=Requests())
    assert joined(run(1, failed, *rest, status="failed"), run(2, skipped)).status == "failed"


def test_many_cases() -> None:
    """Time grows with the cases, not with their square."""
    names = [f"s{number}" for number in range(20_000)]
    nodeids = tuple(f"flperf:default::{name}[m]" for name in names)
    shards = [run(number, *map(case, names[number::4]), suite_cases=nodeids) for number in range(4)]
    begun = time.process_time()
    found = joined(*shards, run(5, *map(case, names[:5_000]), suite_cases=nodeids))
    assert (found.status, len(found.cases)) == ("passed", 20_000)
    assert time.process_time() - begun < 60


def test_the_same_run_twice() -> None:
    """It counts once; the results of its end replace those of the run under way; others are refused."""
    whole = run(1, *map(case, "abc"))
    assert joined(whole, whole).cases == joined(whole).cases
    under_way = replace(whole, finished_at=None, status="interrupted", cases=whole.cases[:1])
    assert joined(under_way, whole).status == joined(whole, under_way).status == "passed"
    with pytest.raises(MergeError, match=r"has different results in .* and .*: name only one"):
        joined(whole, replace(whole, notes=("edited",)))
    with pytest.raises(MergeError, match="two runs have the id"):
        joined(whole, replace(whole, started_at="2026-11-21T09:00:00+00:00"))
    with pytest.raises(MergeError, match="joins other runs itself"):
        joined(replace(whole, merged=("x",)))
    with pytest.raises(MergeError, match="found no run"):
        joined()


def test_budgets_of_the_run() -> None:
    """They are judged over all cases, whatever each run said."""
    met = BudgetVerdict("run.cases_failed <= 1", 1, 1, 1, True, "--flperf-budget", "run.cases_failed")
    wall = BudgetVerdict("run.wall_s <= 45s", 45, 30, 1, True, "--flperf-budget", "run.wall_s")
    bad = {"outcome": "failed", "message": "no"}
    found = joined(
        run(1, case("a", **bad), case("b"), budgets=(met, wall), status="failed"),
        run(2, case("c", **bad), budgets=(met, wall), status="failed"),
    )
    assert [(each.value, each.met) for each in found.budgets] == [(2, False), (30, True)]
    with pytest.raises(MergeError, match="a budget of the runs can't be read"):
        joined(run(1, *map(case, "abc"), budgets=(replace(met, expression="run.nosuch <= 1"),)))


def test_gates_of_judges() -> None:
    """Each model's worst one stays: what was missed, or not judged, in one run is not met by the others."""
    metric = "judge.pass_rate_lower"
    met = BudgetVerdict(f"@m:{metric} >= 80%", 0.8, 0.9, 20, True, "judge", metric)
    missed = replace(met, value=None, met=False, reason="the judge was down")
    found = joined(run(1, case("a"), budgets=(met,)), run(2, case("b"), case("c"), budgets=(missed,), status="failed"))
    assert (found.budgets, found.status) == ((missed,), "failed")
    found = joined(run(1, case("a"), budgets=(met,)), run(2, case("b"), case("c"), budgets=(replace(met, value=0.85),)))
    assert ([each.value for each in found.budgets], found.status) == ([0.85], "passed")


def test_a_judge_that_was_interrupted() -> None:
    """Cases of a run whose judge did not end are not met by the gate of another run's answers."""
    metric = "judge.pass_rate_lower"
    met = BudgetVerdict(f"@m:{metric} >= 80%", 0.8, 0.9, 20, True, "judge", metric)
    whole, cut = run(1, *map(case, "abc"), budgets=(met,)), run(2, *map(case, "abc"), status="interrupted")
    found = joined(whole, cut)
    assert (found.status, found.partial) == ("failed", False)
    assert [(each.met, each.value, each.reason) for each in found.budgets] == [
        (False, None, f"run {cut.id} was interrupted before its judge had judged it")
    ]
    assert joined(replace(whole, started_at="2026-11-21T11:00:00+00:00"), cut).status == "passed"
    assert joined(whole, replace(cut, cases=tuple(case(each, model="other") for each in "abc"))).status == "passed"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (run(2, case("c"), suites=("flperf:quick",)), r"the suites differ between .*: flperf:default and flperf:quick"),
        (
            run(2, case("c"), suite_digests={"flperf:default": "x"}),
            r"the suite flperf:default differs between .* \(scenarios, prompts, settings or budgets\)",
        ),
        (
            run(2, case("c"), versions={**VERSIONS, "python": "3.11.2", "psutil": "7"}),
            r"different versions: psutil missing and 7; python 3.12.1 and 3.11.2: .* --other-versions",
        ),
        (run(2, case("a", prompts_digest="e"), case("c")), r"a\[m\]: the prompts differ between"),
        (
            run(2, case("a", settings={"max_tokens": 6}), case("c")),
            r"a\[m\]: the settings differ between .* \(max_tokens: 5, 6\)",
        ),
        (run(2, case("a", load=Load(concurrency=2))), r"a\[m\]: the loads differ between .* \(concurrency: 1, 2\)"),
    ],
    ids=["suites", "suite", "versions", "prompts", "settings", "load"],
)  # fmt: skip
def test_what_differs_is_refused(other: Run, message: str) -> None:
    """The message says what differs, and between which runs."""
    with pytest.raises(MergeError, match=message) as told:
        joined(run(1, case("a"), case("b")), other)
    assert run(1).id in str(told.value) or "versions" in message


def test_other_versions() -> None:
    """Joined all the same where that is wanted, and said; what differs is no version of the whole."""
    other = run(2, case("c"), versions={**VERSIONS, "python": "3.11.2"})
    found = joined(run(1, case("a"), case("b")), other, other_versions=True)
    assert (found.status, found.versions) == ("passed", {"pytest_flperf": "0.1.0"})
    assert "measured with different versions: python 3.12.1 and 3.11.2" in found.notes
