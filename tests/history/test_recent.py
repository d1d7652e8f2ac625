"""Earlier runs of a run's cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from history_doubles import HOST, case, run

from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.stats.descriptive.summary import distribution


def with_ttft(ttft_ms: float, **changes: Any) -> CaseResult:
    """A case with this median."""
    found = distribution([ttft_ms] * 11)
    assert found is not None
    return case(0, metrics={"ttft_ms": found, "e2e_ms": found}, **changes)


def a_run(number: int, *cases: CaseResult, **changes: Any) -> Run:
    """A run with these cases; its median is its number."""
    return run(number, cases=cases or (with_ttft(100.0 + number),), **changes)


def test_oldest_first_and_at_most_nineteen(place: StorePlace) -> None:
    """The newest before this run, neither itself nor later ones, with their outcomes."""
    with Store(place) as store:
        for number in range(25):
            failed = with_ttft(100.0 + number, outcome="failed" if number == 20 else "passed")
            store.add(a_run(number, failed))
        (nodeid, found), *others = store.earlier_runs(a_run(23)).items()
    assert not others
    assert nodeid == case(0).nodeid
    assert [each.value for each in found] == [100.0 + number for number in range(4, 23)]
    assert [each.outcome for each in found if each.value == 120] == ["failed"]
    assert found[0].started_at.startswith("2026-11-01T00:04")


def test_what_is_not_comparable_is_left_out(sqlite: StorePlace) -> None:
    """Other suites, machines and conditions, cases without a number, other cases."""
    with Store(sqlite) as store:
        store.add(a_run(1, suites=("flperf:other",)))
        store.add(a_run(2, host=replace(HOST, cpu="another")))
        store.add(a_run(3, with_ttft(3.0, load=Load(iterations=11, concurrency=8))))
        store.add(a_run(4, case(0, metrics={})))
        store.add(a_run(5, case(1)))
        assert store.earlier_runs(a_run(9)) == {}
        store.add(a_run(6, with_ttft(6.0, host="elsewhere")))
        assert [each.value for each in store.earlier_runs(a_run(9))[case(0).nodeid]] == [6.0]


def test_a_case_on_two_machines(sqlite: StorePlace) -> None:
    """The measurement of the machine of the same name counts, wherever it stands."""
    for hosts in (("box", "other"), ("other", "box")):
        cases = (with_ttft(1.0 if host == "box" else 9.0, host=host) for host in hosts)
        with Store(sqlite) as store:
            store.add(a_run(1 if hosts[0] == "box" else 2, *cases))
    with Store(sqlite) as store:
        found = store.earlier_runs(a_run(9))[case(0).nodeid]
    assert [each.value for each in found] == [1.0, 1.0]


def test_the_whole_answer_where_nothing_streams(sqlite: StorePlace) -> None:
    """Without a TTFT the headline is the time of the whole answer."""
    whole = distribution([7.0] * 11)
    assert whole is not None
    with Store(sqlite) as store:
        store.add(a_run(1, case(0, metrics={"e2e_ms": whole})))
        store.add(a_run(2, with_ttft(5.0)))
        found = store.earlier_runs(a_run(9, case(0, metrics={"e2e_ms": whole})))
    assert [each.value for each in found[case(0).nodeid]] == [7.0, 5.0]


def test_no_cases(sqlite: StorePlace) -> None:
    """A run that measured nothing has no earlier runs."""
    with Store(sqlite) as store:
        assert store.earlier_runs(run(1, cases=())) == {}
