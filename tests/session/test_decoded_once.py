"""Each request is decoded once, whatever asks for its sample or its values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_flperf import Run, measure
from pytest_flperf.measurement import followups, paired_turns, recording
from pytest_flperf.testing import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.sample import Sample

QUICK = Schedule(ttft_ms=1, itl_ms=1, tokens=3)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a server that answers quickly."""
    with ReferenceServer(ReferenceConfig(QUICK), in_thread=True) as server:
        yield server.base_url


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Phase, int, int]]:
    """How often each request was decoded, by phase, index and begin."""
    found: Counter[tuple[Phase, int, int]] = Counter()

    def counted(exchange: Exchange) -> Sample:
        found[exchange.phase, exchange.index, exchange.started_ns] += 1
        return decode(exchange)

    monkeypatch.setattr(recording, "decode", counted)
    for module in (followups, paired_turns):
        monkeypatch.setattr(module, "decode", counted)
    return found


def run_of(here: Path, url: str, monkeypatch: pytest.MonkeyPatch, more: dict[str, object], **options: object) -> Run:
    """A run of one scenario."""
    monkeypatch.chdir(here)
    prompt = {} if "turns" in more else {"prompt": "Hello"}
    scenario = {"name": "one", "max_tokens": 3, "iterations": 12, **prompt, **more}
    (here / "s.json").write_text(json.dumps({"name": "s", "scenarios": [scenario]}), encoding="utf-8")
    return measure("s.json", base_url=url, model="reference", **options)  # type: ignore[arg-type]


def test_turns(
    decoded: Counter[tuple[Phase, int, int]], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sides in turn: the looks and the results need the same samples."""
    run = run_of(tmp_path, url, monkeypatch, {}, against="same", fail_on="ttft_ms.p50 > +300%")
    measured = [key for key in decoded if key[0] is Phase.MEASURED]
    assert len(measured) == 2 * run.cases[0].requests.total
    assert set(decoded.values()) == {1}


def test_sessions(
    decoded: Counter[tuple[Phase, int, int]], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chats: the next turn quotes the answer that the result counts."""
    more = {"load": "session", "turns": ["Hello", "And then?", "Why?"]}
    run = run_of(tmp_path, url, monkeypatch, more)
    assert len(decoded) > run.cases[0].requests.total == 12
    assert set(decoded.values()) == {1}


def test_a_baseline(
    decoded: Counter[tuple[Phase, int, int]], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate against a stored run compares single values, which nobody decodes again."""
    run_of(tmp_path, url, monkeypatch, {})
    run = run_of(tmp_path, url, monkeypatch, {}, baseline="last", fail_on="e2e_ms.p50 > +900%")
    (against,) = run.cases[0].against
    (found,) = [each for each in against.comparisons if each.metric == "e2e_ms"]
    assert (found.n_baseline, found.n_candidate) == (12, 12)
    assert set(decoded.values()) == {1}
