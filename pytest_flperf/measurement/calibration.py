"""Calibration: the client's measurement error, against the reference server.

It tells what this client, on this machine, adds to the times of a server at a load.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, LoadSchedule, PlanStats, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadProcessError
from pytest_flperf.loadgen.worker_group import Plays, new_client
from pytest_flperf.measurement.calibration_loads import Probe, closed_probe
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.log import LogEntry, echoed_id
from pytest_flperf.reference_server.server import ReferenceServerError
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.results.load import Load
from pytest_flperf.stats.descriptive.request_metrics import is_late_read
from pytest_flperf.stats.descriptive.summary import quantile
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory
from pytest_flperf.wire.sample import Sample

__all__ = ["SHORT_TOKENS", "CalibrationError", "calibrate", "calibrate_once"]

_QUESTION: Final = {
    "model": "reference",
    "stream": True,
    "messages": [{"role": "user", "content": "How fast are you?"}],
}
_NS_PER_S: Final = 1_000_000_000
_DEADLINES: Final = Deadlines(*(seconds * _NS_PER_S for seconds in (5, 20, 20, 20, 60)))
_WARM_UP: Final = 4
_OPEN_AHEAD: Final = 8
TOKENS: Final = 64
"""Of each answer, 5 ms apart, 50 ms after the request."""
SHORT_TOKENS: Final = 32
"""… before a run."""


class CalibrationError(RuntimeError):
    """The reference server or the load process failed during calibration.

    Nothing is known of the client.
    """


def calibrate_once(probe: Probe) -> Calibration:
    """Calibrate like :func:`calibrate`, with load processes of its own."""
    client = new_client(probe.load.processes)
    try:
        return calibrate(client, probe)
    finally:
        client.stop()


def calibrate(client: Plays, probe: Probe, *, tokens: int = TOKENS) -> Calibration:
    """Play a load against the reference server on this machine, and compare.

    Args:
        client: What sends; warmed up here.
        probe: The load.
        tokens: Of each answer.

    Raises:
        CalibrationError: It can't be done here; the text says why.

    """
    answers = Schedule(ttft_ms=50, itl_ms=5, tokens=tokens)
    try:
        with ReferenceServer(ReferenceConfig(schedule=answers)) as server:
            _play(client, server, closed_probe(min(_WARM_UP, probe.streams), 1, short=True), _WARM_UP)
            server.clear_log()
            stats, exchanges = _play(client, server, probe, probe.load.iterations or 0)
            log = {entry.id: entry for entry in server.log}
    except (ReferenceServerError, LoadProcessError, OSError) as error:
        raise CalibrationError(f"this client can't be calibrated: {error}") from error
    compared = _compared(exchanges, log)
    cpu_us = stats.cpu_ns / 1e3 / (len(exchanges) * tokens)
    return replace(compared, load=probe.load, cpu_us_per_token=cpu_us)


def _play(client: Plays, server: ReferenceServer, probe: Probe, count: int) -> tuple[PlanStats, list[Exchange]]:
    endpoint = Endpoint.parse(server.base_url)
    request = RequestFactory(endpoint).build(_QUESTION)
    load, due_ns = probe.load, probe.due_ns
    think_ns = round((load.think_time_s or 0.0) * _NS_PER_S)

    def entries() -> Iterator[Entry]:
        for index, at_ns in enumerate(due_ns or itertools.repeat(None, count)):
            yield Entry(index, Phase.MEASURED, 0, stream=True, request=request, due_ns=at_ns)

    schedule = LoadSchedule(
        open_ahead=max(_OPEN_AHEAD, load.burst_size or 0) if due_ns else 0,
        think_ns=think_ns,
        duration_ns=round((load.duration_s or 0.0) * _NS_PER_S) if not due_ns else 0,
    )
    exchanges: list[Exchange] = []
    plan = RequestPlan(
        (Destination(resolve(endpoint)),),
        _DEADLINES,
        probe.streams,
        count,
        entries(),
        schedule=schedule,
        longest_pause_ns=max([think_ns, *(after - before for before, after in itertools.pairwise(due_ns))]),
    )
    return client.play(plan, exchanges.append), exchanges


def _compared(exchanges: Sequence[Exchange], log: dict[str, LogEntry]) -> Calibration:
    """Compare the client's times with the reference server's own.

    The load and its processor time are not filled in.
    """
    says_ttft: list[float] = []
    true_ttft: list[float] = []
    says_gap: list[float] = []
    true_gap: list[float] = []
    late_reads = 0
    for exchange in exchanges:
        sample, entry = decode(exchange), log.get(echoed_id(exchange.raw))
        if not sample.ok or entry is None or entry.ttft_ms is None or entry.mean_gap_ms is None:
            raise CalibrationError("this client can't be calibrated: the reference server lost a request")
        ttft_ms, gap_ms = _said(sample)
        if is_late_read(sample):
            late_reads += 1
        else:
            says_ttft.append(ttft_ms)
            true_ttft.append(entry.ttft_ms)
        says_gap.append(gap_ms)
        true_gap.append(entry.mean_gap_ms)
    if not says_ttft:
        raise CalibrationError(
            "this client can't be calibrated: it read every first token too late to say when it came"
        )

    def error(says: list[float], true: list[float], p: float) -> float:
        return quantile(sorted(says), p) - quantile(sorted(true), p)

    return Calibration(
        load=Load(),
        requests=len(exchanges),
        ttft_p50_ms=quantile(sorted(true_ttft), 0.5),
        ttft_p99_ms=quantile(sorted(true_ttft), 0.99),
        ttft_p50_error_ms=error(says_ttft, true_ttft, 0.5),
        ttft_p99_error_ms=error(says_ttft, true_ttft, 0.99),
        gap_p99_error_ms=error(says_gap, true_gap, 0.99),
        cpu_us_per_token=0.0,
        late_reads=late_reads,
    )


def _said(sample: Sample) -> tuple[float, float]:
    """TTFT and mean gap in ms, as this client stamps them.

    TTFT counts from when the request was sent.
    """
    assert sample.first_token_ns is not None
    assert sample.last_token_ns is not None
    assert sample.sent_ns is not None
    gaps = max(len(sample.chunk_ns) - 1, 1)
    return (sample.first_token_ns - sample.sent_ns) / 1e6, (sample.last_token_ns - sample.first_token_ns) / gaps / 1e6
