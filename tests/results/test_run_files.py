"""Runs in folders and zip files, sound and hostile."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results import run_files
from pytest_flperf.results.run_files import RunFiles

RESULTS = json.dumps({"schema": "flperf.results/1", "run": {}, "cases": []})


def written(folder: Path, *names: str) -> None:
    """Results files at these places."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RESULTS, encoding="utf-8")


def zipped(path: Path, **files: str) -> Path:
    """A zip file; ``__`` in a name is a slash."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def test_folders(tmp_path: Path) -> None:
    """At any depth, each once; links, files of other tools and what lies in a run's folder are passed over."""
    written(tmp_path, "b/results.json", "a/reports/one/results.json", "b/inner/results.json", "a/x/y/z/results.json")
    other = tmp_path / "a/x/other/results.json"
    other.parent.mkdir()
    other.write_text('{"tool": "another"}', encoding="utf-8")
    (tmp_path / "a/reports/latest").symlink_to("one")
    (tmp_path / "a/killed").mkdir()
    (tmp_path / "a/killed/run.jsonl").touch()
    zipped(tmp_path / "a/shard.zip", **{"reports__two__results.json": RESULTS})
    with RunFiles() as files:
        found = [Path(each.where).relative_to(tmp_path).as_posix() for each in files.of(tmp_path)]
    assert found == [
        "a/shard.zip: reports/two/results.json", "a/reports/one/results.json", "a/x/y/z/results.json",
        "b/results.json",
    ]  # fmt: skip
    assert files.killed == [str(tmp_path / "a/killed")]
    assert files.problems == []


def test_zip_files(tmp_path: Path) -> None:
    """Results with their samples, under names of our own, gone afterwards."""
    path = tmp_path / "artifact.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("reports/one/results.json", RESULTS)
        archive.writestr("reports/one/samples.jsonl", "{}\n")
        archive.writestr("reports/latest/results.json", RESULTS)
        archive.writestr("results.json", RESULTS)
        archive.writestr("other/results.json", '{"tool": "another"}')
        archive.writestr("killed/run.jsonl", "")
        archive.writestr("../../up/results.json", RESULTS)
        archive.writestr("/etc/results.json", RESULTS)
    before = sorted(tmp_path.rglob("*"))
    with RunFiles() as files:
        found = list(files.of(path))
        assert [each.where.partition(": ")[2] for each in found] == [
            "results.json", "../../up/results.json", "/etc/results.json", "reports/one/results.json",
        ]  # fmt: skip
        assert all(each.path.read_text("utf-8") == RESULTS for each in found)
        assert [each.path.with_name("samples.jsonl").exists() for each in found] == [False, False, False, True]
        (folder,) = {each.path.parents[1] for each in found}
    assert not folder.exists()
    assert sorted(tmp_path.rglob("*")) == before
    assert files.killed == [f"{path}: killed"]


@pytest.mark.parametrize("kind", ["no zip", "cut", "damaged", "encrypted", "nested", "too large", "too many"])
def test_zip_files_that_can_not_be_used(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the file, and no exception."""
    path = tmp_path / "bad.zip"
    zipped(path, **{"a__results.json": RESULTS + " " * 10_000, "b.txt": ""})
    content = bytearray(path.read_bytes())
    if kind == "no zip":
        content = bytearray(b"hello")
    elif kind == "cut":
        content = content[:-30]
    elif kind == "damaged":
        content[60] ^= 0xFF
    elif kind == "encrypted":
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    if kind == "nested":
        zipped(path, **{"inner.ZIP": ""})
    if kind == "too large":
        monkeypatch.setattr(run_files, "_LARGEST_IN_ALL", 5_000)
    if kind == "too many":
        monkeypatch.setattr(run_files, "_MOST_FILES", 1)
    with RunFiles() as files:
        assert list(files.of(path)) == []
    (line,) = files.problems
    assert str(path) in line


def test_a_bomb_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is written than the bound, whatever the head of the file says."""
    monkeypatch.setitem(run_files._LARGEST, "results.json", 3 << 20)
    path = zipped(tmp_path / "bomb.zip", **{"results.json": " " * (200 << 20)})
    written_bytes = []
    copy = run_files._copy
    monkeypatch.setattr(run_files, "_copy", lambda *it: written_bytes.append(copy(*it)) or written_bytes[-1])
    with RunFiles() as files:
        assert list(files.of(path)) == []
    assert written_bytes[0] <= 4 << 20
    assert "has more than 3 MB" in files.problems[0]


@given(st.binary(max_size=400))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A file of any content is at worst a problem."""
    path = tmp_path_factory.mktemp("any") / "any.zip"
    path.write_bytes(b"PK\x03\x04" + content)
    with RunFiles() as files:
        assert list(files.of(path)) == []
    assert len(files.problems) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    """It is said: what may lie in it would be missing."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with RunFiles() as files:
        assert list(files.of(tmp_path)) == []
    assert str(closed) in files.problems[0]
