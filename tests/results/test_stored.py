"""Results files read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.results.reader import RunError, read_run, run_ids
from pytest_flperf.results.records import CaseResult, Distribution, Requests, Run

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


def test_read(reports: Path) -> None:
    """What was written; the ids of a folder in the order of time."""
    run = read_run(reports / IDS[0] / "results.json")
    assert run.id == IDS[0]
    assert run.cases[0].metrics["ttft_ms"].p50 == 1.0
    assert run_ids(reports) == sorted(IDS)


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
        ("cases.0.nodeid", 3, "cases[0].nodeid: found 3, expected a string"),
        ("cases.0.outcome", "splendid", 'cases[0].outcome: found "splendid", expected one of passed, failed'),
        ("run.host", {"name": "h"}, "run.host.os: found nothing, expected a string"),
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
    with pytest.raises(RunError, match="is not a results file of flperf") as caught:
        read_run(file)
    assert fault in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"schema": "flperf.results/1"}'])
def test_no_json(tmp_path: Path, content: bytes) -> None:
    """A file of any other kind is refused in words."""
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"results\.json"):
        read_run(file)
