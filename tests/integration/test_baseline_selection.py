"""Which run each case is compared with: red runs, partial runs, changes that a person accepts, nothing at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from plugin_compat import enough_s
from tiny_runs import Tiny

from pytest_flperf import cli
from pytest_flperf.history import store
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.stats.inference import between_runs as runs

assert store  # here once: pytester forgets modules that a run in this process imported
assert runs

pytestmark = pytest.mark.usefixtures("stored", "no_ci")

_GATE = ("--flperf-baseline=last", "--flperf-fail-on=ttft_ms.p50 > +10%")
_UNDECIDED = "--flperf-fail-undecided"


def _server(ttft_ms: float) -> ReferenceServer:
    return ReferenceServer(ReferenceConfig(Schedule(ttft_ms=ttft_ms, itl_ms=0.5, tokens=2)), in_thread=True)


@pytest.fixture(scope="module")
def fast() -> Iterator[str]:
    """The URL of a server with a TTFT of 50 ms."""
    with _server(50) as server:
        yield server.base_url


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """The URL of a server that takes four times as long: no busy machine hides that."""
    with _server(200) as server:
        yield server.base_url


@dataclass(frozen=True)
class Ran:
    """A run as it was when it ended: other runs may follow."""

    ret: int
    text: str
    run_id: str
    cases: list[dict[str, Any]]

    @property
    def sides(self) -> dict[str, dict[str, Any]]:
        """By scenario the stored side of its comparisons."""
        return {each["scenario"]: next(s for s in each["against"] if s["kind"] == "run") for each in self.cases}

    @property
    def compared_with(self) -> dict[str, str | None]:
        """By scenario the run that it was compared with."""
        return {name: side["run_id"] for name, side in self.sides.items()}

    @property
    def said(self) -> dict[str, set[str]]:
        """By scenario the words of its rules."""
        return {
            name: {each["verdict"] for each in side["comparisons"] if each["scope"] != "implied"}
            for name, side in self.sides.items()
        }


def measure(tiny: Tiny, url: str, *arguments: str) -> Ran:
    """Measure a server, whatever port it has."""
    done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference", *arguments)
    return Ran(done.ret, done.text, done.report.name, done.cases if done.report.is_dir() else [])


def flperf(tiny: Tiny, *arguments: str) -> int:
    """Run a command on the store of these runs."""
    return cli.main([*arguments, f"--report-dir={tiny.folder / 'reports'}"])


def test_a_red_gate_stays_red(tiny: Tiny, fast: str, slow: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Six good runs, a slower server three times: 1, 1, 1; accepted: 0; taken back: 1; mended: 0."""
    tiny.suite({"iterations": 11})
    good = [measure(tiny, fast).run_id for _ in range(6)]
    red = [measure(tiny, slow, *_GATE) for _ in range(3)]
    assert [done.ret for done in red] == [1, 1, 1], red[-1].text
    assert {done.compared_with["one"] for done in red} == {good[-1]}
    newest = red[-1].run_id
    assert f"{red[0].run_id} regressed" in " ".join(red[-1].sides["one"]["notes"])
    assert flperf(tiny, "baseline", "accept", "latest") == 0
    assert f"accepted: {newest}, with 1 case that was red" in capsys.readouterr().out
    done = measure(tiny, slow, *_GATE)
    assert done.ret == 0, done.text
    assert done.compared_with["one"] == newest
    assert flperf(tiny, "baseline", "unaccept", newest) == 0
    mended = measure(tiny, fast, *_GATE)
    assert mended.ret == 0, mended.text
    assert "regressed" not in mended.said["one"]


def test_what_ran_alone_hides_no_other(tiny: Tiny, fast: str) -> None:
    """After ``-k``, ``-x``, ``--setup-only``, an empty run: each case has its own newest run, and says which."""
    tiny.suite({"iterations": 4}, {"name": "two", "iterations": 4})
    whole = measure(tiny, fast).run_id
    only = measure(tiny, fast, "-k", "one").run_id
    measure(tiny, fast, "--setup-only")
    measure(tiny, fast, "-k", "nothing")
    done = measure(tiny, fast, "--flperf-baseline=last", "--flperf-fail-on=ttft_ms.p50 > +9000%")
    assert done.ret == 0, done.text
    assert done.compared_with == {"one": only, "two": whole}
    assert f"compared with last ({only})" in done.text
    assert f"compared with last ({whole})" in done.text


def test_the_first_run(tiny: Tiny, fast: str) -> None:
    """Nothing to compare with is undecided: it fails by choice, and the next run is compared with it all the same."""
    tiny.suite({"iterations": 11})
    first = measure(tiny, fast, *_GATE, _UNDECIDED)
    assert first.ret == 1, first.text
    assert "nothing to compare with: no earlier run measured it" in first.text
    assert "FAILED: 1 failed, 1 comparison not made" in first.text
    second = measure(tiny, fast, *_GATE)
    assert second.ret == 0, second.text
    assert second.compared_with["one"] == first.run_id


def test_a_first_run_that_failed(tiny: Tiny, slow: str, fast: str) -> None:
    """Runs that missed a budget are no baseline; the first that passes is one, although it had none itself."""
    tiny.suite({"iterations": 11, "budgets": ["ttft_ms.p50 <= 150ms"]})
    failed = [measure(tiny, slow, *_GATE) for _ in range(2)]
    assert [(each.ret, each.sides["one"]["missing"]) for each in failed] == [(1, "first")] * 2
    passed = measure(tiny, fast, *_GATE, _UNDECIDED)
    assert (passed.ret, passed.sides["one"]["missing"]) == (1, "first"), passed.text
    assert f"{failed[1].run_id} failed" in " ".join(passed.text.split())
    assert measure(tiny, fast, *_GATE).compared_with["one"] == passed.run_id


def test_pruning_keeps_a_baseline(tiny: Tiny, slow: str, fast: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However many red runs followed it, the run that they are judged by stays; the gate stays red."""
    tiny.suite({"iterations": 11})
    good = [measure(tiny, fast).run_id for _ in range(4)]
    assert measure(tiny, slow, *_GATE).ret == 1
    assert flperf(tiny, "prune", "--keep", "1") == 0
    capsys.readouterr()
    red = measure(tiny, slow, "--flperf-baseline=last", "--flperf-fail-on=ttft_ms.p50 > +10%", _UNDECIDED)
    assert red.compared_with["one"] == good[-1]
    assert red.ret == 1, red.text


@pytest.mark.parametrize("options", [(), ("--flperf-store=none",)], ids=["store", "folder"])
def test_without_a_store_the_rule_is_the_same(tiny: Tiny, fast: str, slow: str, options: tuple[str, ...]) -> None:
    """A red run of the folder is no baseline either."""
    tiny.suite({"iterations": 11})
    good = [measure(tiny, fast, *options).run_id for _ in range(4)]
    for _ in range(2):
        done = measure(tiny, slow, *options, *_GATE)
        assert done.ret == 1, done.text
        assert done.compared_with["one"] == good[-1]


def test_a_skipped_case_is_said(tiny: Tiny, fast: str) -> None:
    """What the time cut off was not compared: undecided, in results and at the terminal, and no failure."""
    tiny.suite({"iterations": 2}, {"name": "two", "iterations": 1_000_000})
    limit_s = enough_s(lambda: measure(tiny, fast, "-k", "one"))
    gate = ("--flperf-baseline=last", "--flperf-fail-on=ttft_ms.p50 > +9000%")
    done = measure(tiny, fast, f"--flperf-max-time={limit_s}s", *gate)
    assert done.ret == 0, done.text
    assert done.sides["two"]["missing"] == "candidate"
    assert done.said["two"] == {"undecided"}
    assert "1 comparison not made" in done.text


def test_dated_in_the_future(tiny: Tiny, fast: str) -> None:
    """A run whose clock was wrong is not the last one, and that is said."""
    tiny.suite({"iterations": 2})
    good = measure(tiny, fast).run_id
    wrong = measure(tiny, fast).run_id
    with closing(sqlite3.connect(tiny.folder / "reports" / "history.db")) as connection:
        connection.execute("UPDATE flperf_runs SET started_at = '2999' || substr(started_at, 5) WHERE id = ?", (wrong,))
        connection.commit()
    done = measure(tiny, fast, "--flperf-baseline=last")
    assert done.compared_with["one"] == good
    assert any(wrong in note and "in the future" in note for note in done.sides["one"]["notes"])


def test_a_store_that_breaks_costs_no_case(tiny: Tiny, fast: str) -> None:
    """A baseline of a case that can't be read, behind a newer run that can: undecided, what was measured is kept."""
    tiny.suite({"iterations": 2}, {"name": "two", "iterations": 2})
    run_id = measure(tiny, fast).run_id
    measure(tiny, fast, "-k", "two")
    with closing(sqlite3.connect(tiny.folder / "reports" / "history.db")) as connection:
        (key,) = connection.execute("SELECT run_key FROM flperf_runs WHERE id = ?", (run_id,)).fetchone()
        connection.execute("UPDATE flperf_documents SET content = x'00' WHERE run_key = ?", (key,))
        connection.commit()
    done = measure(tiny, fast, *_GATE, _UNDECIDED)
    assert done.ret == 1, done.text
    assert done.sides["one"]["missing"] == "unreadable"
    assert f"run {run_id} can't be read" in json.dumps(done.sides["one"])
    assert done.sides["two"]["missing"] == ""
    assert [case["requests"]["ok"] for case in done.cases] == [2, 2]


def test_a_store_without_numbers_costs_no_case(tiny: Tiny, fast: str) -> None:
    """Also where the history breaks after the baseline was found."""
    tiny.suite({"iterations": 11})
    first = measure(tiny, fast).run_id
    with closing(sqlite3.connect(tiny.folder / "reports" / "history.db")) as connection:
        connection.execute("ALTER TABLE flperf_metrics RENAME TO gone")
        connection.commit()
    for asked in ("last", first):
        done = measure(tiny, fast, f"--flperf-baseline={asked}", "--flperf-fail-on=ttft_ms.p50 > +10%", _UNDECIDED)
        assert done.ret == 1, done.text
        assert done.sides["one"]["missing"] == "unreadable"
        assert done.cases[0]["requests"]["ok"] == 11


def test_a_missed_budget_is_no_baseline(tiny: Tiny, fast: str, slow: str) -> None:
    """Whatever its gate said; nor is a case that its test let fail."""
    tiny.suite({"iterations": 2, "budgets": ["ttft_ms.p50 <= 150ms"]})
    good = measure(tiny, fast).run_id
    assert measure(tiny, slow).ret == 1
    assert measure(tiny, fast, "--flperf-baseline=last").compared_with["one"] == good


def test_a_branch(tiny: Tiny, fast: str) -> None:
    """Each case's newest run of that branch; another branch's runs are no baseline of it."""
    tiny.suite({"iterations": 2}, {"name": "two", "iterations": 2})
    head = tiny.folder / ".git" / "HEAD"
    head.parent.mkdir()
    (head.parent / "objects").mkdir()
    (head.parent / "refs").mkdir()

    def on(branch: str, *arguments: str) -> Ran:
        head.write_text(f"ref: refs/heads/{branch}\n", encoding="utf-8")
        return measure(tiny, fast, *arguments)

    whole = on("main").run_id
    only = on("main", "-k", "two").run_id
    on("topic")
    done = on("topic", "--flperf-baseline=branch:main")
    assert done.compared_with == {"one": whole, "two": only}


def test_unaccepted(tiny: Tiny, fast: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The list shows accepted runs; what was never accepted, or measured nothing, is refused with status 4."""
    tiny.suite({"iterations": 2})
    run_id = measure(tiny, fast).run_id
    assert flperf(tiny, "baseline", "accept", run_id) == 0
    assert "a baseline already" in capsys.readouterr().out
    assert flperf(tiny, "baseline", "list") == 0
    assert any("(accepted)" in line and run_id in line for line in capsys.readouterr().out.splitlines())
    assert flperf(tiny, "baseline", "list", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["kind"], listed["run_id"], listed["stored"]) == ("accepted", run_id, True)
    assert flperf(tiny, "baseline", "unaccept", run_id) == 0
    for refused in (("unaccept", run_id), ("accept", "nosuch")):
        with pytest.raises(SystemExit) as ended:
            flperf(tiny, "baseline", *refused)
        assert ended.value.code == 4
