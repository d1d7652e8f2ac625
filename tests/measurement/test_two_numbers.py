"""Two numbers kept apart: ``itl_ms`` is of real gaps between arrivals, ``tpot_ms`` is per token.

The reference server and the load process are processes of their own here, as in a run.  Other work on the machine makes
single gaps longer, so nothing here stands on a single gap, and the server's own log is the truth beside the schedule.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.log import LogEntry
from pytest_flperf.results.journal import JournalReader
from pytest_flperf.results.records import CaseResult, Distribution
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.stats.descriptive.case import stalls
from pytest_flperf.stats.descriptive.summary import quantile
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Suite

ANSWERS = 8
NOISE_MS = 5.0


def measured(schedule: Schedule, folder: Path) -> tuple[CaseResult, list[LogEntry]]:
    """Play answers of this schedule, four at a time: what we say, and the log of the measured ones."""
    asked = {"prompt": "Go on", "iterations": ANSWERS, "concurrency": 4, "warmup": 0, "max_tokens": schedule.tokens}
    scenario = scenario_of({"name": "one", **asked})
    case = expand(Suite("two", "two", Path(), "", "", (scenario,), ("reference",)), ["reference"])[0]
    with (
        ReferenceServer(ReferenceConfig(schedule=schedule)) as server,
        Bench(OpenAiBackend.at(server.base_url), Recorder(RunFolder(folder), Redactor())) as bench,
    ):
        prepared = bench.ready(case)
        server.clear_log()  # of the request that saw the model answer
        result = bench.play(prepared).result
        log = server.log
    assert result.requests.ok == len(log) == ANSWERS
    return result, log


def metric(result: CaseResult, name: str) -> Distribution:
    """A metric that must be there."""
    found = result.metric(name)
    assert found is not None
    return found


def gaps_ns(stamps: Iterable[int]) -> list[int]:
    """Gaps between distinct stamps."""
    return [later - earlier for earlier, later in pairwise(stamps) if later > earlier]


def true_gap_ms(log: list[LogEntry], p: float) -> float:
    """A quantile of all gaps between the sends of chunks with text, by the server's own clock."""
    return quantile(sorted(gap for entry in log for gap in gaps_ns(entry.text_ns)), p) / 1e6


def true_tpot_ms(log: list[LogEntry], gaps: int) -> float:
    """The median time per token of the answers, by the server's own clock."""
    return median((entry.text_ns[-1] - entry.text_ns[0]) / gaps / 1e6 for entry in log)


@pytest.mark.slow
def test_a_stall_is_in_the_gaps_and_not_in_the_tokens(tmp_path: Path) -> None:
    """10 ms a token and 200 ms more every 25 tokens: p99 of the gaps is 210 ms, TPOT is the mean of them all."""
    result, log = measured(Schedule(ttft_ms=20, itl_ms=10, tokens=101, stall_every_tokens=25, stall_ms=200), tmp_path)
    itl, tpot = metric(result, "itl_ms"), metric(result, "tpot_ms")
    # 4 of an answer's 100 gaps are stalls: p99 is in the middle of them, far from the rest.
    # How far it can be from the truth on a busy machine is for benchmarks/fidelity.
    assert itl.p99 == pytest.approx(true_gap_ms(log, 0.99), rel=0.2)
    assert itl.p99 > 210 - NOISE_MS
    assert itl.p50 == pytest.approx(10, abs=NOISE_MS)
    assert tpot.p50 == pytest.approx(true_tpot_ms(log, 100), rel=0.1)
    assert tpot.p50 > (100 * 10 + 4 * 200) / 100 - 0.5
    assert tpot.p99 < 150, "no stall shows in a figure per token"
    samples = JournalReader(tmp_path / "samples.jsonl")
    per_answer = [stalls(gaps_ns(each["chunk_ns"])) for each in samples if each["phase"] == "measured"]
    assert min(per_answer) >= 4
    assert result.stalls == sum(per_answer)


@pytest.mark.slow
def test_chunks_of_four_tokens_are_gaps_of_four(tmp_path: Path) -> None:
    """10 ms a token, four in a chunk: gaps of 40 ms, 10 ms per token, and the ratio that tells why."""
    chunks = 50
    result, log = measured(Schedule(ttft_ms=20, itl_ms=40, tokens=4 * chunks, tokens_per_chunk=4), tmp_path)
    itl, tpot = metric(result, "itl_ms"), metric(result, "tpot_ms")
    assert itl.p50 == pytest.approx(true_gap_ms(log, 0.5), abs=NOISE_MS)
    assert itl.p50 == pytest.approx(40, abs=NOISE_MS)
    # The first chunk's tokens came with it: 49 gaps, 199 tokens after the first.
    assert tpot.p50 == pytest.approx(true_tpot_ms(log, 4 * chunks - 1), rel=0.1)
    assert tpot.p50 > (chunks - 1) * 40 / (4 * chunks - 1) - 0.5
    assert ANSWERS * (chunks - 1) * 0.8 <= itl.n <= ANSWERS * (chunks - 1)
    assert result.tokens_per_chunk == 4.0
    assert result.tokens_source == "usage"
