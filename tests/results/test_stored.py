"""Runs found on disk and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.results.records import CaseResult, Distribution, Requests, Run
from pytest_flperf.results.stored import RunError, find_run, read_run, run_ids

IDS = ("20261121T101500Z-default-3f9a", "20261122T101500Z-default-aaaa", "20261122T111500Z-quick-bbbb")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Three runs, and a latest that points to the last."""
    for name in IDS:
        folder = tmp_path / name
        folder.mkdir()
        found = Distribution(2, 1.0, None, 1, 1, 1, 1, 1, 1, 1)  # type: ignore[arg-type]
        case = CaseResult(
            "s::a[m]", "s", "a", "m", requests=Requests(2, 2), metrics={"ttft_ms": found}, parameters={"n": 4}
        )
        record = Run(id=name, started_at="2026-11-21T10:15:00+00:00", cases=(case,)).to_dict()
        (folder / "results.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "latest").symlink_to(IDS[-1])
    return tmp_path


@pytest.mark.parametrize("name", [IDS[0], "20261121", "latest", "FOLDER", "FILE"])
def test_names_of_a_run(reports: Path, name: str) -> None:
    """Id, beginning of an id, latest, folder, file."""
    wanted = IDS[-1] if name == "latest" else IDS[0]
    name = name.replace("FOLDER", str(reports / IDS[0])).replace("FILE", str(reports / IDS[0] / "results.json"))
    run = read_run(find_run(name, reports))
    assert run.id == wanted
    assert run.cases[0].metrics["ttft_ms"].p50 == 1.0
    assert run_ids(reports) == sorted(IDS)


def test_latest_as_text(reports: Path) -> None:
    """Where links can't be made a text file says which is the newest."""
    (reports / "latest").unlink()
    (reports / "latest.txt").write_text(IDS[1] + "\n", encoding="utf-8")
    assert read_run(find_run("latest", reports)).id == IDS[1]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("20261122T101500Z-default-aaab", f"nearest in .*{IDS[1]}"),
        ("20261122", "several begin so"),
        ("", "nearest in"),
        ("x" * 5000, "nearest in"),
        ("a\0b", "nearest in"),
    ],
)
def test_unknown(reports: Path, name: str, hint: str) -> None:
    """The nearest ids are named."""
    with pytest.raises(RunError, match=hint) as caught:
        find_run(name, reports)
    assert len(str(caught.value)) < 700


def test_no_runs_at_all(tmp_path: Path) -> None:
    """A folder without runs, or none: said."""
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match="there are no runs in"):
            find_run("latest", folder)


def _set(record: dict[str, Any], path: str, value: Any) -> None:
    *way, last = path.split(".")
    found: Any = record
    for key in way:
        found = found[int(key)] if isinstance(found, list) else found[key]
    found[last] = value


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("cases.0.metrics.ttft_ms.p50", "much", 'cases[0].metrics.ttft_ms.p50: found "much", expected a number'),
        ("cases.0.metrics.ttft_ms", [], "cases[0].metrics.ttft_ms: found a list, expected an object"),
        ("cases.0.nodeid", 3, "cases[0].nodeid: found 3, expected a text"),
        ("cases.0.outcome", "splendid", 'cases[0].outcome: found "splendid", expected one of passed, failed'),
        ("run.host", {"name": "h"}, "run.host.os: found nothing, expected a text"),
        ("schema", "flperf.results/9", 'schema: found "flperf.results/9"'),
        ("cases", {}, "cases: found an object, expected a list"),
    ],
)
def test_not_a_results_file(reports: Path, path: str, value: Any, fault: str) -> None:
    """Where the fault lies is said, whatever the file holds."""
    file = reports / IDS[0] / "results.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    _set(record, path, value)
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunError, match="is no results file of flperf") as caught:
        read_run(file)
    assert fault in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"schema": "flperf.results/1"}'])
def test_no_json(tmp_path: Path, content: bytes) -> None:
    """A file of any other kind is refused in words."""
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"results\.json"):
        read_run(file)
