"""What this client, on this machine, adds to the times of a server at a load: measured against the reference server."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from pytest_flperf.experiment.arrivals import due_times_ns
from pytest_flperf.load.group import Plays, new_client
from pytest_flperf.load.plan import Deadlines, Entry, Plan, PlanStats, Schedule, Target
from pytest_flperf.load.session import LoadProcessError
from pytest_flperf.reference import ReferenceConfig, ReferenceServer
from pytest_flperf.reference import Schedule as Answers
from pytest_flperf.reference.log import LogEntry, echoed_id
from pytest_flperf.reference.server import ReferenceServerError
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.stats.request_metrics import is_late_read
from pytest_flperf.stats.summary import quantile
from pytest_flperf.suite.model import LoadShape
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory
from pytest_flperf.wire.sample import Sample

__all__ = ["CalibrationError", "calibrate", "calibrate_once"]

_QUESTION: Final = {
    "model": "reference",
    "stream": True,
    "messages": [{"role": "user", "content": "How fast are you?"}],
}
_NS_PER_S: Final = 1_000_000_000
_DEADLINES: Final = Deadlines(*(seconds * _NS_PER_S for seconds in (5, 20, 20, 20, 60)))
_WARM_UP: Final = 4
_OPEN_STREAMS: Final = 1_000
TOKENS: Final = 64
"""Of each answer, 5 ms apart, 50 ms after the request."""
SHORT_TOKENS: Final = 32


class CalibrationError(RuntimeError):
    """The reference server or the load process failed: nothing is known of the client."""


def calibrate_once(shape: str, load: float, processes: int = 1, *, short: bool = False) -> Calibration:
    """As :func:`calibrate`, with load processes of its own."""
    client = new_client(processes)
    try:
        return calibrate(client, shape, load, processes, short=short)
    finally:
        client.stop()


def calibrate(client: Plays, shape: str, load: float, processes: int = 1, *, short: bool = False) -> Calibration:
    """Play a load against the reference server on this machine, and compare.

    Args:
        client: What sends; warmed up here.
        shape: ``closed``, or ``poisson``.
        load: Streams, or requests per second.
        processes: Load processes of the client, for the record.
        short: About a second, in place of several.

    Raises:
        CalibrationError: It can't be done here; the text says why.

    """
    tokens = SHORT_TOKENS if short else TOKENS
    answers = Answers(ttft_ms=50, itl_ms=5, tokens=tokens)
    try:
        with ReferenceServer(ReferenceConfig(schedule=answers)) as server:
            _play(client, server, [None] * _WARM_UP, min(_WARM_UP, math.ceil(load)))
            server.clear_log()
            due_ns, streams = _plan(shape, load, short=short)
            stats, exchanges = _play(client, server, due_ns, streams)
            log = {entry.id: entry for entry in server.log}
    except (ReferenceServerError, LoadProcessError, OSError) as error:
        raise CalibrationError(f"this client can't be calibrated: {error}") from error
    compared = _compared(exchanges, log)
    cpu_us = stats.cpu_ns / 1e3 / (len(exchanges) * tokens)
    return replace(compared, shape=shape, load=load, processes=processes, cpu_us_per_token=cpu_us)


def _plan(shape: str, load: float, *, short: bool) -> tuple[Sequence[int | None], int]:
    """Due times, and how many streams there are."""
    if shape == "closed":
        streams = math.ceil(load)
        return [None] * max((3 if short else 6) * streams, 20 if short else 60), streams
    seconds = 1.0 if short else 5.0
    open_loop = LoadShape(shape, rate=load, duration_s=max(seconds, 10 / load))
    return list(due_times_ns(open_loop, None, "calibration")), _OPEN_STREAMS


def _play(
    client: Plays, server: ReferenceServer, due_ns: Sequence[int | None], streams: int
) -> tuple[PlanStats, list[Exchange]]:
    endpoint = Endpoint.parse(server.base_url)
    request = RequestFactory(endpoint).build(_QUESTION)

    def entries() -> Iterator[Entry]:
        for index, at_ns in enumerate(due_ns):
            yield Entry(index, Phase.MEASURED, 0, stream=True, request=request, due_ns=at_ns)

    schedule = Schedule(open_ahead=8) if due_ns and due_ns[0] is not None else Schedule()
    exchanges: list[Exchange] = []
    targets = (Target(resolve(endpoint)),)
    plan = Plan(targets, _DEADLINES, streams, len(due_ns), entries(), schedule=schedule)
    return client.play(plan, exchanges.append), exchanges


def _compared(exchanges: Sequence[Exchange], log: dict[str, LogEntry]) -> Calibration:
    """What was said and what was true, without the load and what it cost."""
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
        shape="",
        load=0.0,
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
    """TTFT from when the request was sent, and the mean gap, in ms, as this client stamps them."""
    assert sample.first_token_ns is not None
    assert sample.last_token_ns is not None
    assert sample.sent_ns is not None
    gaps = max(len(sample.chunk_ns) - 1, 1)
    return (sample.first_token_ns - sample.sent_ns) / 1e6, (sample.last_token_ns - sample.first_token_ns) / gaps / 1e6
