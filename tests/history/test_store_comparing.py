"""What comparisons take from the store, on SQLite and PostgreSQL: single values, baselines, earlier runs."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy
from history_doubles import ABOUT, HOST, case, rows, run
from sqlalchemy import event

from pytest_flperf.history import store as store_module
from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.history.environment import Commit, fingerprint
from pytest_flperf.history.migrations import MIGRATIONS
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.rows import case_rows, document_row, metric_rows, run_row
from pytest_flperf.history.store import Pruned, Store, StoreError
from pytest_flperf.history.tables import RUNS
from pytest_flperf.results.comparison import Against, Comparison, ReferenceLoad
from pytest_flperf.results.records import Run

_LATER = ("conditions", "standing", "compared_with", "improved")
"""Columns that the first release did not have."""
VALUES = {
    ("flperf:default::case-0[m]", "box"): {
        "ttft_ms": [50.25, 49.5, 61.125],
        "e2e_ms": [float(n) for n in range(3_000)],
    },
    ("flperf:default::case-1[m]", "elsewhere"): {"ttft_ms": [1.0]},
    ("flperf:default::case-1[m]", "box"): {"ttft_ms": []},
}


def test_values(place: StorePlace) -> None:
    """Of a case's metrics the first 2,000 values in their order, with how many there were; of other cases none."""
    with Store(place) as store:
        store.add(run(), ABOUT, VALUES)
        found = store.values(run().id, "flperf:default::case-0[m]", "box")
        assert found == {"ttft_ms": (50.25, 49.5, 61.125), "e2e_ms": tuple(map(float, range(2_000)))}
        assert store.values(run().id, "flperf:default::case-1[m]", "box") == {}
        assert store.values(run().id, "flperf:default::case-0[m]", "elsewhere") == {}
        assert store.values("nosuch", "flperf:default::case-0[m]", "box") == {}
        assert set(store.all_values(run().id)) == {("flperf:default::case-0[m]", "box")}
    counts = {row["name"]: row["n"] for row in rows(place, store_module.VALUES)}
    assert counts == {"ttft_ms": 11, "e2e_ms": 3_000}, "eleven requests, of three of which the values are known"


def test_values_that_come_later(place: StorePlace) -> None:
    """A run that is known without values gets them, and keeps those that it has."""
    other = {key: {"ttft_ms": [9.0]} for key in VALUES}
    with Store(place) as store:
        store.add(run())
        assert store.add(run(), values=VALUES) == "known"
        assert store.add(run(), values=other) == "known"
        assert store.values(run().id, "flperf:default::case-0[m]", "box")["ttft_ms"] == (50.25, 49.5, 61.125)


@pytest.mark.parametrize("content", [b"", b"no zlib", zlib.compress(b"12345"), zlib.compress(b"\0" * 400)[:-6]])
def test_damaged_values(sqlite: StorePlace, content: bytes) -> None:
    """What are no values is no value."""
    with Store(sqlite) as store:
        store.add(run(), values=VALUES)
        store._connection.execute(sqlalchemy.update(store_module.VALUES).values(content=content))
        with pytest.raises(StoreError, match="can't be read: its values are damaged"):
            store.all_values(run().id)


def test_a_store_of_the_first_release_gets_them(place: StorePlace) -> None:
    """From version 2: its runs stay, without values; new ones have them."""
    with Store(place, migrations=MIGRATIONS[:1]) as store:
        for table, kept in ((RUNS, run_row(run(), ABOUT)), (store_module.DOCUMENTS, document_row(run()))):
            store._connection.execute(sqlalchemy.insert(table), {"run_key": 1, **kept})
        cases = [{name: value for name, value in row.items() if name not in _LATER} for row in case_rows(run())]
        store._insert(store_module.CASES, 1, cases)
        store._insert(store_module.METRICS, 1, metric_rows(run()))
    with Store(place) as store:
        earlier = store.earlier(case(0).nodeid, fingerprint(HOST), "ttft_ms", conditions=conditions_of(case(0)))
        assert len(earlier) == 1, "what doesn't say under which conditions it was measured counts"
        assert [each.id for each in store.runs()] == [run().id]
        assert store.all_values(run().id) == {}
        store.add(run(1), values=VALUES)
        assert store.all_values(run(1).id)
        store.set_baseline("old", run().id)


def test_baselines(place: StorePlace) -> None:
    """A name is set, moved and taken away; only stored runs have one."""
    with Store(place) as store:
        store.add(run(0))
        store.add(run(1))
        store.set_baseline("release", run(0).id)
        store.set_baseline("before", run(0).id)
        found = store.baseline("release")
        assert found is not None
        assert (found.name, found.run_id, found.set_at[-6:]) == ("release", run(0).id, "+00:00")
        store.set_baseline("release", run(1).id)
        assert [(each.name, each.run_id) for each in store.baselines()] == [
            ("before", run(0).id),
            ("release", run(1).id),
        ]
        with pytest.raises(StoreError, match="run nosuch is not in the store"):
            store.set_baseline("release", "nosuch")
        assert store.baseline("nosuch") is None
        assert store.remove_baseline("before")
        assert not store.remove_baseline("before")
    with Store(place) as store:
        assert [each.name for each in store.baselines()] == ["release"]


def test_prune_keeps_baselines(place: StorePlace) -> None:
    """Older runs that have a name stay; the newest stay whatever has a name."""
    with Store(place) as store:
        for number in range(5):
            store.add(run(number), values=VALUES)
        store.set_baseline("a", run(0).id)
        store.set_baseline("b", run(4).id)
        assert store.prune(2) == Pruned([run(1).id, run(2).id], [run(0).id])
        assert [each.id for each in store.runs()] == [run(4).id, run(3).id, run(0).id]
    assert len(rows(place, store_module.VALUES)) == 6


def test_earlier(place: StorePlace) -> None:
    """Medians of one case on machines that are alike, newest first: of what ran to its end, so many, before a run."""
    nodeid, alike = "flperf:default::case-0[m]", fingerprint(HOST)

    def with_p50(number: int, p50: float | None, **changes: Any) -> Run:
        ttft = replace(case().metrics["ttft_ms"], p50=p50)
        return run(number, cases=(case(0, metrics={"ttft_ms": ttft}, **changes),))

    with Store(place) as store:
        for number in range(4):
            store.add(with_p50(number, float(number)))
        store.add(with_p50(4, 4.0, partial=True))
        store.add(replace(with_p50(5, 5.0), host=replace(HOST, cores=64)))
        store.add(with_p50(6, math.inf))
        store.add(run(7, "other"))
        assert store.earlier(nodeid, alike, "ttft_ms") == (3.0, 2.0, 1.0, 0.0)
        assert store.earlier(nodeid, alike, "ttft_ms", 3) == (3.0, 2.0, 1.0)
        assert store.earlier(nodeid, alike, "ttft_ms", before=run(2).id) == (1.0, 0.0)
        assert store.earlier(nodeid, fingerprint(replace(HOST, cores=64)), "ttft_ms") == (5.0,)
        assert store.earlier(nodeid, alike, "tpot_ms") == ()
        assert store.earlier("flperf:default::case-9[m]", alike, "ttft_ms") == ()


def test_earlier_under_the_same_conditions(place: StorePlace) -> None:
    """Other loads, settings, prompts and servers are no history of a case; how long it was measured makes no other."""
    one = case(0)
    assert one.load is not None
    assert one.target is not None
    others = (
        replace(one, load=replace(one.load, concurrency=8)),
        replace(one, settings={**one.settings, "max_tokens": 99}),
        replace(one, prompts_digest="another"),
        replace(one, target=replace(one.target, device="GPU")),
        replace(one, reference=ReferenceLoad()),
    )
    alike = (one, replace(one, load=replace(one.load, iterations=500)), replace(one, message="whatever"))
    assert len({conditions_of(each) for each in (one, *others)}) == 1 + len(others)
    assert {conditions_of(each) for each in alike} == {conditions_of(one)}
    with Store(place) as store:
        for number, each in enumerate((*others, *alike)):
            store.add(run(number, cases=(each,)))
        asked = (one.nodeid, fingerprint(HOST), "ttft_ms")
        assert len(store.earlier(*asked, conditions=conditions_of(one))) == len(alike)
        assert len(store.earlier(*asked, conditions=conditions_of(others[0]))) == 1
        assert len(store.earlier(*asked)) == len(alike) + len(others)


def test_earlier_by_other_statistics(place: StorePlace) -> None:
    """Means and percentiles, and numbers of a case; nothing of what is in no table."""
    whole = case(tps_total=12.5, request_rate=None)
    ttft = whole.metrics["ttft_ms"]
    with Store(place) as store:
        store.add(run(0, cases=(whole,)))
        found = {
            statistic: store.earlier(whole.nodeid, fingerprint(HOST), "ttft_ms", statistic=statistic)
            for statistic in ("mean", "p95", "p5", "stdev")
        }
        assert found == {"mean": (ttft.mean,), "p95": (ttft.p95,), "p5": (), "stdev": ()}
        assert store.earlier(whole.nodeid, fingerprint(HOST), "tps_total", statistic=None) == (12.5,)
        assert store.earlier(whole.nodeid, fingerprint(HOST), "request_rate", statistic=None) == ()
        assert store.earlier(whole.nodeid, fingerprint(HOST), "error_rate", statistic=None) == (0.0,)
        assert store.earlier(whole.nodeid, fingerprint(HOST), "load_s", statistic=None) == ()


def test_earlier_among_many(place: StorePlace) -> None:
    """The few of one case are found among many runs of others, however far back."""
    one = run(0).cases[0]
    with Store(place) as store:
        for number in range(90):
            store.add(run(number, cases=(one,) if number in (3, 88) else (case(1),)))
        assert len(store.earlier(one.nodeid, fingerprint(HOST), "ttft_ms")) == 2
        assert len(store.earlier(one.nodeid, fingerprint(HOST), "ttft_ms", 1)) == 1
        assert len(store.earlier(case(1).nodeid, fingerprint(HOST), "ttft_ms", 60)) == 60


def test_earlier_of_long_names(place: StorePlace) -> None:
    """Ids of which only the end differs are told apart, and are no longer than an index takes."""
    first, second = (f"{'模' * 3_000}\0::case[{each}]" for each in "ab")
    with Store(place) as store:
        store.add(run(0, cases=(case(nodeid=first), case(nodeid=second, metrics={}))))
        assert len(store.earlier(first, fingerprint(HOST), "ttft_ms")) == 1
        assert store.earlier(second, fingerprint(HOST), "ttft_ms") == ()


def test_earlier_uses_its_index(sqlite: StorePlace) -> None:
    """No table is read from end to end."""
    with Store(sqlite) as store:
        store.add(run())
        seen: list[tuple[str, Any]] = []
        event.listen(store._engine, "before_cursor_execute", lambda *said: seen.append((said[2], said[3])))
        store.earlier("x", fingerprint(HOST), "ttft_ms")
        ((statement, parameters),) = [each for each in seen if "flperf_cases" in each[0]]
        plan = store._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    words = [row[-1] for row in plan]
    assert any("flperf_cases_by_node" in each for each in words), words
    assert not any(each.startswith("SCAN") for each in words), words


def test_newest(place: StorePlace) -> None:
    """Of exactly these suites, on a branch, measured to its end; its verdict doesn't count, nor an error."""
    suites = ("flperf:default",)
    other = replace(ABOUT, commit=Commit(None, "other"))
    with Store(place) as store:
        store.add(run(0), other)
        store.add(run(1, status="failed"), ABOUT)
        store.add(run(2, status="interrupted", partial=True), ABOUT)
        store.add(run(3, partial=True), ABOUT)
        store.add(run(4, status="error"), ABOUT)
        store.add(run(5, finished_at=None), ABOUT)
        store.add(run(6, suites=("flperf:default", "flperf:quick")), ABOUT)
        assert store.newest(suites) == run(1).id
        assert store.newest(suites, but=run(1).id) == run(0).id
        assert store.newest(suites, branch="other") == run(0).id
        assert store.newest(suites, branch="nosuch") is None
        assert store.newest(()) is None
        assert store.branches() == ["main", "other"]


def test_measurements(place: StorePlace) -> None:
    """A case in earlier runs, newest first: with its standing, its branch, and whether a person accepted its run."""
    one = case(0)
    red = replace(one, outcome="failed", message="slow")
    faster = Comparison("ttft_ms.p50 > +10%", "ttft_ms", "p50", "improved", scope="--flperf-fail-on")
    gated = replace(one, against=(Against("run", "last", run_id=run(0).id, comparisons=(faster,)),))
    with Store(place) as store:
        store.add(run(0, cases=(one,)), ABOUT)
        store.add(run(1, cases=(red, case(1))))
        store.add(run(2, cases=(replace(one, host="other"), gated)))
        store.add(run(3, cases=(case(1),)))
        assert store.accept(run(1).id) == 1
        found = list(store.measurements(one.nodeid, fingerprint(HOST), conditions_of(one), host="box"))
        assert [(each.run_id, each.host, each.standing, each.branch, each.accepted) for each in found] == [
            (run(2).id, "box", "accepted", None, False),
            (run(2).id, "other", "accepted", None, False),
            (run(1).id, "box", "failed", None, True),
            (run(0).id, "box", "accepted", "main", False),
        ]
        assert [(each.compared_with, each.improved) for each in found] == [(run(0).id, True), *[(None, False)] * 3]
        assert store.numbers(found, "ttft_ms", "p50") == [one.metrics["ttft_ms"].p50] * 4
        assert store.numbers(found, "ttft_ms", "stdev") == [None] * 4
        assert store.numbers([], "ttft_ms", "p50") == []
        assert [each.run_id for each in store.measurements(one.nodeid, before=run(2).id)] == [run(1).id, run(0).id]
        assert run(2).id not in {each.run_id for each in store.measurements(one.nodeid, but=run(2).id)}
        assert list(store.measurements(one.nodeid, "another machine")) == []
        assert store.unaccept(run(1).id)
        assert not store.unaccept(run(1).id)
        assert not any(each.accepted for each in store.measurements(one.nodeid))


def test_red_runs_are_no_noise(place: StorePlace) -> None:
    """What regressed, or missed a budget, says nothing of how much runs differ, unless a person accepts it."""
    one = case(0)
    with Store(place) as store:
        for number in range(4):
            store.add(run(number, cases=(replace(one, outcome="failed") if number == 2 else one,)))
        assert len(store.earlier(one.nodeid, fingerprint(HOST), "ttft_ms")) == 3
        store.accept(run(2).id)
        assert len(store.earlier(one.nodeid, fingerprint(HOST), "ttft_ms")) == 4


def test_accepting(place: StorePlace) -> None:
    """A run that measured something; once, with the newest time; another that is not there is refused."""
    red = (replace(case(0), outcome="failed"), case(1), replace(case(2), partial=True))
    with Store(place) as store:
        store.add(run(0, cases=red))
        store.add(run(1, cases=(replace(case(0), outcome="skipped"),)))
        assert [store.accept(run(0).id), store.accept(run(0).id)] == [1, 1]
        assert [each.run_id for each in store.acceptances()] == [run(0).id]
        for refused in (run(1).id, "nosuch"):
            with pytest.raises(StoreError, match="no fully measured case"):
                store.accept(refused)


def test_prune_keeps_the_only_baseline_of_a_case(place: StorePlace) -> None:
    """A case that is red in all that stays keeps the run that it is judged by; acceptances go with their runs."""
    good, red = case(0), replace(case(0), outcome="failed")
    with Store(place) as store:
        for number in range(6):
            store.add(run(number, cases=(good if number < 3 else red, case(1))), ABOUT)
        store.accept(run(0).id)
        assert store.prune(2) == Pruned([run(0).id, run(1).id, run(3).id], [run(2).id])
        assert store.acceptances() == []
        assert store.newest_baseline(("flperf:default",))
        store.add(run(7, cases=(good,)), ABOUT)
        assert store.prune(1).held == []


def test_newest_baseline(place: StorePlace) -> None:
    """Of a suite, of a branch, of any; a red run is none until a person accepts it."""
    with Store(place) as store:
        assert not store.newest_baseline(())
        store.add(run(0, cases=(replace(case(0), outcome="failed"),)), ABOUT)
        assert not store.newest_baseline(())
        store.accept(run(0).id)
        store.add(run(1, cases=(replace(case(0), outcome="failed"),)), ABOUT)
        assert store.newest_baseline(()) == run(0).id
        assert store.newest_baseline(("flperf:other", "flperf:default"), "main") == run(0).id
        assert not store.newest_baseline(("flperf:other",))
        assert not store.newest_baseline((), "topic")
        store.add(run(2), replace(ABOUT, commit=Commit(None, "topic")))
        assert store.newest_baseline(()) == run(2).id
        assert store.newest_baseline((), "main") == run(0).id


def test_a_store_of_the_version_before_gets_standings(place: StorePlace) -> None:
    """From the stored results; of what can't be read a passed case is noise, and no baseline."""
    gate = Comparison("ttft_ms.p50 > +10%", "ttft_ms", "p50", "regressed", fails=True, scope="--flperf-fail-on")
    undecided = replace(gate, verdict="undecided", fails=False)
    cases = (
        case(0),
        replace(case(1), outcome="failed", against=(Against("run", "last", comparisons=(gate,)),)),
        replace(case(2), against=(Against("run", "last", comparisons=(undecided,)),)),
        replace(case(3), outcome="skipped"),
    )
    wanted = ["accepted", "regressed", "undecided", "unmeasured"]
    with Store(place, migrations=MIGRATIONS[:4]) as store:
        for number in range(2):
            stored = run(number, cases=cases)
            store._connection.execute(sqlalchemy.insert(RUNS), {"run_key": number + 1, **run_row(stored, ABOUT)})
            store._connection.execute(
                sqlalchemy.insert(store_module.DOCUMENTS), {"run_key": number + 1, **document_row(stored)}
            )
            older = [
                {name: value for name, value in row.items() if name not in _LATER[1:]} for row in case_rows(stored)
            ]
            store._insert(store_module.CASES, number + 1, older)
        damaged = sqlalchemy.update(store_module.DOCUMENTS).where(store_module.DOCUMENTS.c.run_key == 2)
        store._connection.execute(damaged.values(content=b"damaged"))
    with Store(place):
        pass
    found: dict[int, list[str]] = {}
    for row in sorted(rows(place, store_module.CASES), key=lambda row: (row["run_key"], row["case_no"])):
        found.setdefault(row["run_key"], []).append(row["standing"])
    assert found == {1: wanted, 2: ["undecided", "failed", "undecided", "unmeasured"]}
