"""What a run is compared with: ``last``, a run, a name, a file, a branch; on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from history_doubles import ABOUT, run

from pytest_flperf.history.baseline import BaselineError, MissingBaselineError, find_baseline
from pytest_flperf.history.environment import Commit
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store
from pytest_flperf.results.records import Run

SUITES = ("flperf:default",)
CASE = ("flperf:default::case-0[m]", "box")
VALUES = {CASE: {"ttft_ms": (1.0, 2.0)}}


def read_values(path: Path, found: Run) -> dict[tuple[str, str], dict[str, tuple[float, ...]]]:
    """As the reader of samples: something of the file that it is given."""
    return {(path.name, found.id): {"ttft_ms": (3.0,)}}


def write(folder: Path, kept: Run) -> Path:
    """The run's results in its folder."""
    path = folder / kept.id / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(kept.to_dict()), encoding="utf-8")
    return path


@pytest.fixture
def store(place: StorePlace) -> Iterator[Store]:
    """Three runs of the main branch, one of another; the first is the baseline ``release``."""
    with Store(place) as opened:
        for number in range(3):
            opened.add(run(number), ABOUT, VALUES)
        opened.add(run(3), replace(ABOUT, commit=Commit(None, "topic/one")))
        opened.set_baseline("release", run(0).id)
        yield opened


def test_last(store: Store, tmp_path: Path) -> None:
    """The newest of the same suites that is not this one, with its values and what it belongs to."""
    found = find_baseline(store, "last", tmp_path, suites=SUITES, this=run(3).id)
    assert found.run == run(2)
    assert (found.source, found.values) == ("last", VALUES)
    assert found.where == f"run {run(2).id} in {store.shown}"
    assert found.about is not None
    assert found.about.git_branch == "main"
    assert find_baseline(store, "last", tmp_path, suites=SUITES).run == run(3)
    with pytest.raises(MissingBaselineError, match=r"no earlier run of 'flperf:quick' in the store .* fully measured"):
        find_baseline(store, "last", tmp_path, suites=("flperf:quick",))


def test_last_without_a_store(tmp_path: Path) -> None:
    """The newest of the folder, by the same rules; what can't be read is passed over."""
    for number in range(3):
        write(tmp_path, run(number))
    write(tmp_path, run(4, partial=True))
    write(tmp_path, run(5, status="error"))
    write(tmp_path, run(6, "quick"))
    write(tmp_path, run(7)).write_text("{", encoding="utf-8")
    found = find_baseline(None, "last", tmp_path, suites=SUITES, this=run(2).id, read_values=read_values)
    assert (found.run.id, found.source, found.about) == (run(1).id, "last", None)
    assert found.values == {("results.json", run(1).id): {"ttft_ms": (3.0,)}}
    with pytest.raises(MissingBaselineError, match="no earlier run of 'other' in "):
        find_baseline(None, "last", tmp_path, suites=("other",))


def test_last_is_not_dated_in_the_future(place: StorePlace, tmp_path: Path) -> None:
    """Such a run is left out while there is another, in a store and in a folder, and it is said."""
    ahead = replace(run(8), id="20990101T000000Z-default-0008", started_at="2099-01-01T00:00:00.000+00:00")
    write(tmp_path, ahead)
    with Store(place) as store:
        store.add(ahead, ABOUT)
        for kept, text in ((store, "last"), (store, "branch:main"), (None, "last")):
            found = find_baseline(kept, text, tmp_path, suites=SUITES)
            assert found.run.id == ahead.id
            assert found.where.endswith("(dated in the future: a clock is wrong)")
        store.add(run(1), ABOUT)
        write(tmp_path, run(1))
        for kept, text in ((store, "last"), (store, "branch:main"), (None, "last")):
            found = find_baseline(kept, text, tmp_path, suites=SUITES)
            assert found.run.id == run(1).id
            assert found.where.endswith(f"(left out, being dated in the future: {ahead.id})")


def test_name_and_id(store: Store, tmp_path: Path) -> None:
    """A name, an id, how only one begins; several are too many."""
    named = find_baseline(store, "release", tmp_path)
    assert (named.run, named.source, named.values) == (run(0), "name", VALUES)
    assert named.where.endswith("(baseline release)")
    assert find_baseline(store, run(1).id, tmp_path).source == "run"
    assert find_baseline(store, run(1).id[:14], tmp_path).run == run(1)
    with pytest.raises(BaselineError, match=r"matches several runs: .*0003"):
        find_baseline(store, "2026", tmp_path)
    with pytest.raises(BaselineError, match="is this run itself"):
        find_baseline(store, run(1).id, tmp_path, this=run(1).id)


def test_branch(store: Store, tmp_path: Path) -> None:
    """The newest of a branch; one that isn't there is said with the nearest."""
    found = find_baseline(store, "branch:main", tmp_path, suites=SUITES)
    assert (found.run.id, found.source) == (run(2).id, "branch")
    assert find_baseline(store, "branch:main", tmp_path, suites=SUITES, this=run(2).id).run.id == run(1).id
    with pytest.raises(MissingBaselineError, match=r"no run of branch 'mian' .* nearest: main"):
        find_baseline(store, "branch:mian", tmp_path, suites=SUITES)
    with pytest.raises(MissingBaselineError, match="it has runs of topic/one, main"):
        find_baseline(store, "branch:zzz", tmp_path, suites=SUITES)
    with pytest.raises(MissingBaselineError, match="the runs of that branch are of other suites"):
        find_baseline(store, "branch:main", tmp_path, suites=("flperf:quick",))
    with pytest.raises(BaselineError, match="without a name, expected branch:NAME"):
        find_baseline(store, "branch:", tmp_path)
    with pytest.raises(BaselineError, match="branches are known only from a store"):
        find_baseline(None, "branch:main", tmp_path)


def test_file(tmp_path: Path) -> None:
    """A results file or a run's folder, relative to where one is."""
    path = write(tmp_path / "kept", run(5))
    for text in (str(path), str(path.parent), f"kept/{run(5).id}/results.json"):
        found = find_baseline(None, text, tmp_path / "reports", here=tmp_path, read_values=read_values)
        assert (found.run, found.source) == (run(5), "file")
        assert found.values == {("results.json", run(5).id): {"ttft_ms": (3.0,)}}
    assert find_baseline(None, str(path), tmp_path).values == {}


def test_a_run_that_only_the_folder_has(store: Store, tmp_path: Path) -> None:
    """Runs that were not stored are found as well."""
    write(tmp_path, run(9))
    found = find_baseline(store, run(9).id, tmp_path)
    assert (found.run, found.source, found.about) == (run(9), "run", None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            '{"schema": "flperf.results/2", "run": {}}',
            "found .*, expected a results file of schema 'flperf",
        ),
        (
            '{"machine_info": {}, "benchmarks": []}',
            "found null, expected a results file of schema 'flperf",
        ),
        ("no JSON", "is not a results file of flperf"),
        ("[]", "is not a results file of flperf"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, content: str, said: str) -> None:
    """What was found and expected, and how to make one."""
    path = tmp_path / "base.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BaselineError, match=said) as told:
        find_baseline(None, str(path), tmp_path)
    assert "'flperf export RUN -o FILE' writes one), or measure again; 'pytest --flperf-json=FILE'" in str(told.value)
    assert not isinstance(told.value, MissingBaselineError)


@pytest.mark.parametrize("text", ["nosuch.json", "no/such/file", "gone/results.json"])
def test_a_file_that_is_not_there(tmp_path: Path, text: str) -> None:
    """There is none: a note and no fault."""
    with pytest.raises(MissingBaselineError, match=text):
        find_baseline(None, text, tmp_path, here=tmp_path)


def test_nothing_by_that_name(store: Store, tmp_path: Path) -> None:
    """The nearest names, among baselines and runs."""
    with pytest.raises(MissingBaselineError, match=r"no run 'relaese': expected a run's id or .*; nearest: release"):
        find_baseline(store, "relaese", tmp_path)
    with pytest.raises(MissingBaselineError, match=r"there is none in .*'last' and 'branch:NAME' can be"):
        find_baseline(None, "x", tmp_path)
    for text in ("", " "):
        with pytest.raises(BaselineError, match="expected a run's id or a unique start of one"):
            find_baseline(store, text, tmp_path)
    for text in ("x" * 5_000, "a\0b", "~nobody-of-that-name/x"):
        with pytest.raises(BaselineError):
            find_baseline(store, text, tmp_path)


def test_a_name_of_a_run_that_is_gone(store: Store, tmp_path: Path) -> None:
    """Somebody removed the run in the database: the name leads nowhere, and it is said."""
    store._delete([1])
    with pytest.raises(
        MissingBaselineError, match=r"\(baseline release\) is gone: name another with 'flperf baseline set'"
    ):
        find_baseline(store, "release", tmp_path)
