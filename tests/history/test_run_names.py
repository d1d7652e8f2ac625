"""Which run a text means, over the store, the folder of runs and files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from history_doubles import run
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.history.newest_run import DatedRun, newest_of
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.run_names import MissingRunError, RunNameError, RunNames, can_be_id, is_path
from pytest_flperf.history.store import Store
from pytest_flperf.results.records import Run

A, B, C = (run(number) for number in range(3))
"""One a minute."""


def write(folder: Path, kept: Run, name: str = "") -> Path:
    """The run's results in its folder."""
    path = folder / (name or kept.id) / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(kept.to_dict()), encoding="utf-8")
    return path


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A folder for runs."""
    folder = tmp_path / "reports"
    folder.mkdir()
    return folder


@pytest.fixture
def store(sqlite: StorePlace, reports: Path) -> Iterator[Store]:
    """With run A, whose folder is there, too, and run B, whose folder is gone; A is the baseline ``release``."""
    write(reports, A)
    with Store(sqlite) as opened:
        for each in (A, B):
            opened.add(each)
        opened.set_baseline("release", A.id)
        yield opened


@pytest.fixture
def names(store: Store, reports: Path, tmp_path: Path) -> RunNames:
    """The store, the folder, which has run C besides, and where one is."""
    write(reports, C)
    return RunNames(store, reports, tmp_path)


def test_one_run_whatever_it_is_called(names: RunNames, reports: Path) -> None:
    """Id, beginning, baseline, folder, file, link: one run, and where it was found."""
    assert names.find(A.id).id == names.find(A.id[:-1]).id == names.find("release").id == A.id
    assert names.find(B.id) == names.find(B.id[:-1])
    (reports / "latest").symlink_to(C.id, target_is_directory=True)
    for text in (f"reports/{C.id}", f"reports/{C.id}/results.json", "reports/latest", str(reports / C.id)):
        ref = names.find(text)
        assert (ref.source, names.read(ref)) == ("file", C)
    assert names.read(names.find(C.id)) == C
    assert names.where(names.find(B.id)) == f"run {B.id} in {names.store.shown if names.store else ''}"
    assert names.where(names.find(C.id)) == f"run {C.id} in {reports / C.id / 'results.json'}"
    assert names.where(names.find("release")).endswith("(baseline release)")


def test_latest_is_the_newest_of_both(names: RunNames, reports: Path) -> None:
    """Whether only the folder or only the store has it; where the link points to doesn't matter."""
    (reports / "latest").symlink_to(A.id, target_is_directory=True)
    assert names.find("latest").id == C.id
    assert names.where(names.find("latest")).endswith("(latest)")
    shutil.rmtree(reports / C.id)
    assert (names.find("latest").id, names.find("latest").stored) == (B.id, True)
    assert RunNames(None, reports).find("latest").id == A.id
    with pytest.raises(MissingRunError, match=r"no run 'latest': there is none in .*--report-dir"):
        RunNames(None, reports / "none").find("latest")


def test_latest_within_a_second(names: RunNames, reports: Path) -> None:
    """Their results tell them apart, whatever their ids end with; a copy of a run is not newer than the run."""
    early = replace(C, id=f"{C.id[:17]}z-0001", started_at=C.started_at.replace("00.000", "00.100"))
    late = replace(C, id=f"{C.id[:17]}a-0002", started_at=C.started_at.replace("00.000", "00.900"))
    write(reports, late)
    write(reports, early)
    assert names.find("latest").id == late.id
    write(reports, late, "zz-copy")
    assert names.find("latest").id == late.id


def test_a_run_dated_in_the_future(names: RunNames, reports: Path) -> None:
    """It is not the latest, and that is said; where all are, the newest is, and that is said."""
    ahead = run(0, id="20990101T000000Z-default-aaaa", started_at="2099-01-01T00:00:00.000+00:00")
    write(reports, ahead)
    assert names.find("latest").id == C.id
    assert names.find("latest").more == f" (latest; left out, being dated in the future: {ahead.id})"
    assert names.find(ahead.id).id == ahead.id
    for each in (A, C):
        shutil.rmtree(reports / each.id)
    alone = RunNames(None, reports).find("latest")
    assert (alone.id, alone.more) == (ahead.id, " (latest; dated in the future, 2099-01-01 00:00: a clock is wrong)")


def test_a_killed_run(names: RunNames, reports: Path) -> None:
    """The newest run without results is not passed over; who can recover it gets it."""
    folder = reports / "20261121T235959Z-default-dead"
    folder.mkdir()
    (folder / "run.jsonl").write_text("{}\n", encoding="utf-8")
    for text in ("latest", folder.name, folder.name[:-2], f"reports/{folder.name}"):
        with pytest.raises(RunNameError, match=r"has no results\.json: .*'flperf report --recover .*dead' makes it"):
            names.find(text)
        assert names.find(text, killed=True).folder is not None


def test_several(names: RunNames) -> None:
    """What several ids begin with is refused with the newest of them."""
    with pytest.raises(RunNameError, match="which matches several runs: ") as told:
        names.find("2026")
    assert all(each.id in str(told.value) for each in (A, B, C))
    assert not isinstance(told.value, MissingRunError)


def test_a_name_that_is_an_id(names: RunNames, store: Store) -> None:
    """A baseline of an old store that is called like another run, or how others begin, is in doubt; its own is not."""
    store.set_baseline(B.id, A.id)
    with pytest.raises(RunNameError, match=f"matches several runs: run {A.id} in .*baseline {B.id}.*; run {B.id} in"):
        names.find(B.id)
    store.set_baseline("2026", A.id)
    with pytest.raises(RunNameError, match="matches several runs"):
        names.find("2026")
    store.set_baseline(C.id[:-1], C.id) if store.add(C) else None
    assert names.find(C.id[:-1]).id == C.id


def test_a_folder_that_is_called_like_a_baseline(names: RunNames, tmp_path: Path) -> None:
    """Of another run it is in doubt, and a path says which; of the same run it is not."""
    write(tmp_path, C, "release")
    with pytest.raises(RunNameError, match="matches several runs"):
        names.find("release")
    assert names.read(names.find("./release")) == C
    shutil.rmtree(tmp_path / "release")
    write(tmp_path, A, "release")
    assert names.find("release").id == A.id
    (tmp_path / "main").write_text("no run", encoding="utf-8")
    with pytest.raises(MissingRunError, match="no run 'main'"):
        names.find("main")


def test_an_id_that_others_begin_with(names: RunNames, reports: Path) -> None:
    """The whole id is that run."""
    write(reports, replace(C, id=f"{C.id}-2"), f"{C.id}-2")
    assert names.find(C.id).id == C.id
    with pytest.raises(RunNameError, match="matches several runs"):
        names.find(C.id[:-1])


def test_a_name_without_its_run(names: RunNames, store: Store, reports: Path) -> None:
    """The folder of a run that was pruned will do; where that is gone, too, it is said."""
    store._delete([1])
    assert names.read(names.find("release")) == A
    shutil.rmtree(reports / A.id)
    with pytest.raises(MissingRunError, match=r"\(baseline release\) is gone: name another with 'flperf baseline set'"):
        names.find("release")
    assert not names.why_no_name("release")


@pytest.mark.parametrize("text", ["last", "branch:main", "branch:"])
def test_names_relative_to_another_run(names: RunNames, text: str) -> None:
    """Commands on one run refuse them, and say who knows them."""
    with pytest.raises(RunNameError, match="relative to another, for 'flperf compare' and --flperf-baseline"):
        names.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t",
        "x" * 5_000,
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "\udc80",
        "latest ",
        "LATEST",
        "lаtest",
        "nosuch",
        "*",
        "%",
    ],
)
def test_what_is_no_run(names: RunNames, text: str) -> None:
    """Empty, too long, with control characters, with letters that look alike, in capitals: refused in a short line."""
    with pytest.raises(MissingRunError, match="expected a run's id or a unique start of one") as told:
        names.find(text)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 700


@pytest.mark.parametrize(
    "text", ["no/such", "nosuch.json", "~nobody-of-that-name/x", "a\0b/c", "x" * 5_000 + "/y", "..", "."]
)
def test_what_is_no_path(names: RunNames, text: str) -> None:
    """A path without a run: refused, though the store could know a run of that name."""
    with pytest.raises(MissingRunError):
        names.find(text)


def test_ids_are_told_apart_by_case(names: RunNames) -> None:
    """Also where the file system doesn't."""
    with pytest.raises(MissingRunError, match="no run"):
        names.find(C.id.lower())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("release", ""),
        ("v1.2", ""),
        ("2026-release", ""),
        ("Release", "there is a baseline 'release', which differs only in case"),
        ("last", "means something else"),
        ("Latest", "means something else"),
        ("none", "means something else"),
        ("v1.json", "means something else"),
        ("2026", "could be the start of a run's id"),
        ("7", "could be the start of a run's id"),
        ("20300101T00", "could be the start of a run's id"),
        ("here", "'here' is run"),
        ("odd", "is the start of the id of run odd-one"),
        ("odd-one", "'odd-one' is run odd-one in"),
    ],
)
def test_names_for_baselines(names: RunNames, tmp_path: Path, reports: Path, name: str, why: str) -> None:
    """Whatever could mean something else is no name."""
    write(tmp_path, C, "here")
    write(reports, replace(C, id="odd-one"))
    found = names.why_no_name(name)
    assert why in found
    assert bool(why) == bool(found)


@given(st.text(max_size=30))
def test_no_text_means_two_things(text: str) -> None:
    """A text that can be an id is no path and no word of its own."""
    if can_be_id(text):
        assert not is_path(text)
        assert text not in ("", "last", "latest")
        assert text.isprintable()


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.booleans()), min_size=1, unique_by=lambda each: each[0]))
def test_newest(minutes: list[tuple[int, bool]]) -> None:
    """The last that is not dated in the future, by its id or by what the store says; else the last of all."""
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def dated(minute: int, by_id: bool) -> DatedRun:
        moment = now + timedelta(minutes=minute)
        name = f"{moment:%Y%m%dT%H%M%SZ}-x-0000" if by_id else f"run{minute}"
        return DatedRun(name, None if by_id else moment.isoformat(), None)

    newest, told = newest_of([dated(*each) for each in minutes], now)
    present = [each for each in minutes if each[0] <= 10]
    assert newest == dated(*max(present or minutes))
    assert bool(told) == any(minute > 10 for minute, _ in minutes)
