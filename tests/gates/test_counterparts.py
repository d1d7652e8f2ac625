"""What a case is compared with, and why there is nothing: on histories made up, and on folders of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_flperf.gates.counterparts import Counterpart, Query, in_history, in_run, missing_against
from pytest_flperf.gates.rules import parse_rules
from pytest_flperf.history.baseline import BaselineError, FoundBaseline
from pytest_flperf.history.case_history import FolderHistory, no_baseline
from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.history.selection import Measurement
from pytest_flperf.history.standing import Standing
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, HostInfo, Requests, Run
from pytest_flperf.stats.descriptive.summary import distribution

HOST = HostInfo("box", "Debian 12", "a processor", 8, 32_000)
QUERY = Query("2999")
TTFT = distribution([50.0, 51.0, 52.0])


def case(**changes: object) -> CaseResult:
    """A passed case."""
    assert TTFT is not None
    whole = CaseResult(
        "s::one[m]", "s", "one", "m", host="box", outcome="passed", message="", load=Load(), error_rate=0.0,
        requests=Requests(total=3, ok=3), metrics={"ttft_ms": TTFT},
    )  # fmt: skip
    return replace(whole, **changes)  # type: ignore[arg-type]


def run(number: int, *cases: CaseResult, **changes: object) -> Run:
    """The higher its number the newer."""
    moment = f"2026-11-01T00:{number:02d}:00.000+00:00"
    whole = Run(f"20261101T00{number:02d}00Z-s-{number:04x}", moment, finished_at=moment, status="passed",
                suites=("s.json",), host=HOST, cases=cases)  # fmt: skip
    return replace(whole, **changes)  # type: ignore[arg-type]


def written(folder: Path, *runs: Run) -> FolderHistory:
    """A folder that holds these runs."""
    for each in runs:
        (folder / each.id).mkdir(parents=True)
        (folder / each.id / "results.json").write_text(json.dumps(each.to_dict()), encoding="utf-8")
    return FolderHistory(folder)


NEWEST = run(30)


def found(history: FolderHistory, candidate: CaseResult | None = None, query: Query = QUERY) -> Counterpart:
    """What a case has there."""
    return in_history(history, candidate or case(), NEWEST, query)


def test_the_newest_that_passed(tmp_path: Path) -> None:
    """Of a folder as of a store: red, skipped, partial and unfinished runs are passed over."""
    history = written(
        tmp_path,
        run(1, case()),
        run(2, case()),
        run(3, case(outcome="failed")),
        run(4, case(outcome="skipped", requests=Requests())),
        run(5, case(partial=True)),
        run(6, case(), finished_at=None),
        run(7, replace(case(), nodeid="s::other[m]")),
    )
    (tmp_path / "20261101T005900Z-s-0001").mkdir()
    (tmp_path / "20261101T005900Z-s-0001" / "results.json").write_text("{", encoding="utf-8")
    seen = found(history)
    assert seen.found is not None
    assert seen.found.run.id == run(2).id
    assert [each.run_id for each in seen.noise] == [run(2).id, run(1).id]
    assert seen.notes == (f"newer runs that can't be the baseline: {run(3).id} failed",)
    assert history.numbers(seen.noise, "ttft_ms", "p50") == [51.0, 51.0]
    assert history.numbers(seen.noise, "tps_total", None) == [None, None]
    assert no_baseline(history, ("s.json",), None) == ""
    assert "no earlier run of 'other.json'" in no_baseline(history, ("other.json",), None)


def test_runs_of_one_second(tmp_path: Path) -> None:
    """Their ids don't say which is newer: the time does."""
    late = run(1, case(), id="20261101T000100Z-s-0000", started_at="2026-11-01T00:01:00.900+00:00")
    early = run(1, case(), id="20261101T000100Z-s-ffff", started_at="2026-11-01T00:01:00.100+00:00")
    seen = found(written(tmp_path, late, early))
    assert [each.run_id for each in seen.noise] == [late.id, early.id]


def test_itself_and_newer_ones(tmp_path: Path) -> None:
    """A run is no baseline of itself, nor are those that began later."""
    history = written(tmp_path, run(1, case()), run(2, case()), run(3, case()))
    history.before = run(2).started_at
    seen = found(history)
    assert [each.run_id for each in seen.noise] == [run(1).id]


@pytest.mark.parametrize(
    ("earlier", "missing", "why"),
    [
        ((), "first", "no earlier run measured it"),
        ((run(1, case(outcome="failed")),), "first", "no earlier run measured it and passed"),
        ((run(1, case(settings={"max_tokens": 9})),), "first", "under others: setting max_tokens: 9 → not known"),
        ((run(1, case(), host=replace(HOST, cores=64)),), "first", "under others: logical cores: 64 → 8"),
        ((run(1, case(prompts_digest="a")),), "first", "in turn with another side, or alone"),
    ],
)
def test_nothing_to_compare_with(tmp_path: Path, earlier: Sequence[Run], missing: str, why: str) -> None:
    """The first time, and under other conditions; it is said under which."""
    seen = found(written(tmp_path, *earlier))
    assert (seen.missing, seen.case) == (missing, None)
    assert why in seen.why


class Judged:
    """A history of which a gate said something, and whose baseline is gone."""

    shown = "a history"

    def __init__(self, *standings: Standing, started_at: str = "2026") -> None:
        """Newest first."""
        self._rows = [Measurement(f"run{number}", "box", started_at, each) for number, each in enumerate(standings)]

    def measurements(self, case: CaseResult, machine: str | None, conditions: str | None) -> Iterator[Measurement]:
        """See ``CaseHistory``."""
        del case, machine, conditions
        return iter(self._rows)

    def numbers(self, measurements: Sequence[Measurement], metric: str, statistic: str | None) -> list[float | None]:
        """See ``CaseHistory``."""
        del metric, statistic
        return [None] * len(measurements)

    def run(self, run_id: str) -> FoundBaseline:
        """See ``CaseHistory``."""
        raise BaselineError(f"{run_id} is gone")


def test_a_person_must_accept() -> None:
    """Where a measurement was judged by a baseline that is gone, the next is not taken for the first."""
    seen = in_history(Judged("regressed", "failed", "undecided"), case(), NEWEST, QUERY)
    assert seen.missing == "not_accepted"
    assert "run0 regressed, run1 failed, run2 undecided; 'flperf baseline accept RUN'" in seen.why
    many = in_history(Judged(*["regressed"] * 2_000), case(), NEWEST, QUERY)  # type: ignore[list-item]
    assert "among the newest 1,000" in many.why
    assert "and 997 more" in many.why


def test_all_of_the_future() -> None:
    """A clock that was set back makes no first run, and says which run it left out."""
    seen = in_history(Judged("accepted", started_at="2998"), case(), NEWEST, Query("2026"))
    assert seen.missing == "not_accepted"
    assert seen.notes == ("run run0 is left out: it is dated 2998, in the future",)


def test_a_baseline_that_is_gone() -> None:
    """It is told by an error, for commands to refuse and for sessions to note."""
    with pytest.raises(BaselineError, match="run0 is gone"):
        in_history(Judged("accepted"), case(), NEWEST, QUERY)


def test_a_candidate_that_was_not_measured(tmp_path: Path) -> None:
    """Skipped or cut short: nothing is compared; one that answered nothing is compared all the same."""
    history = written(tmp_path, run(1, case()))
    assert found(history, case(outcome="skipped")).missing == "candidate"
    assert found(history, case(partial=True)).missing == "candidate"
    silent = CaseResult("s::one[m]", "s", "one", "m", outcome="error")
    assert found(history, silent).case == case()


def test_in_a_named_run() -> None:
    """The case of that run whatever its standing, or why there is none."""
    red = FoundBaseline(run(1, case(outcome="failed"), replace(case(), nodeid="cut", partial=True)), "run", "there")
    assert in_run(red, None, case(), NEWEST, QUERY).case == case(outcome="failed")
    assert in_run(red, None, case(nodeid="cut"), NEWEST, QUERY).missing == "not_in_baseline"
    assert in_run(red, None, case(nodeid="new"), NEWEST, QUERY).why == "the baseline has no such case"
    assert in_run(red, None, case(partial=True), NEWEST, QUERY).missing == "candidate"


def test_its_rules_are_undecided() -> None:
    """Those of a gate fail by choice; default ones only where a baseline is required; the implied one is left out."""
    other = Counterpart(missing="first", why="nobody measured it")
    rules = parse_rules(["ttft_ms.p50 > +10%", "tpot_ms.p50 > +10%"], "--flperf-fail-on")
    for fails in (False, True):
        against = missing_against(case(), "last", other, rules, fails=fails)
        assert [(each.metric, each.verdict, each.fails) for each in against.comparisons] == [
            ("ttft_ms", "undecided", fails),
            ("tpot_ms", "undecided", fails),
        ]
    assert against.comparisons[0].reason == "nothing to compare with: nobody measured it"
    assert (against.comparisons[0].candidate, against.comparisons[0].threshold_pct) == (51.0, pytest.approx(10))
    by_default = missing_against(case(), "last", other, (), fails=True)
    assert [(each.metric, each.fails) for each in by_default.comparisons] == [("ttft_ms", False)]
    required = missing_against(case(metrics={}), "last", other, (), fails=False, required=True)
    assert required.comparisons
    assert all(each.fails for each in required.comparisons)


def test_what_a_search_finds_is_no_condition() -> None:
    """The highest load is a result, which differs from run to run; what was searched over is a condition."""
    load = Load(concurrency=4)
    one = case(load=load, search=Search("concurrency", 4.0, True))
    assert conditions_of(one) == conditions_of(replace(one, load=replace(load, concurrency=8)))
    assert conditions_of(one) != conditions_of(replace(one, load=replace(load, rate=2.0)))
    assert conditions_of(one) != conditions_of(replace(one, search=Search("rate", 4.0, True)))
    assert conditions_of(replace(one, search=None)) != conditions_of(one)
