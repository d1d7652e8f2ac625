"""How long it takes to sum up a case of a million recorded requests: ``python benchmarks/summary/run.py``.

Makes decoded requests one at a time, as they come out of a recording, and gives them to ``summarise``; what making
them takes is counted apart.  Then, with fewer requests, what comes before it in a run: each is read from the journal on
disk, decoded, and written to ``samples.jsonl``.  ``--check`` exits with 1 where a limit is missed.  Linux and macOS.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path
from typing import Final

from tabulate import tabulate

from pytest_flperf.measurement.gc_control import no_collections
from pytest_flperf.measurement.planned import planned_result
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.results.host import host_info
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.stats.descriptive.case import summarise
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Suite
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.sample import Outcome, Sample

TIME_LIMIT_S: Final = 20.0
MEMORY_LIMIT_MB: Final = 1_000.0
NS_PER_MS: Final = 1_000_000
STREAMS: Final = 64
POOL: Final = 1 << 16
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT: Final = (
    b'data: {"id":"chatcmpl-00000000","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)
LAST: Final = (
    b'data: {"id":"chatcmpl-00000000","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-00000000","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":40,"completion_tokens":%d,"total_tokens":%d}}\n\ndata: [DONE]\n\n'
)


class Requests:
    """Requests of 64 streams, made one by one from a seed; counts what making them takes."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.made_s = 0.0
        chance = random.Random(20261121)
        self._chance = chance
        self._gaps_ns = [round(chance.lognormvariate(0, 0.3) * 5 * NS_PER_MS) for _ in range(POOL)]
        self._lags_ns = [round(chance.lognormvariate(0, 0.8) * 40_000) for _ in range(POOL)]
        self._ttfts_ns = [round(chance.lognormvariate(0, 0.4) * 50 * NS_PER_MS) for _ in range(POOL)]
        # As a server's chunks come: each in a read of its own, the last read holds all that ends the answer.
        last = LAST % (tokens, 40 + tokens)
        pieces = [HEAD, *(b"%x\r\n%b\r\n" % (len(event), event) for event in [EVENT] * tokens + [last])]
        self._raw = b"".join(pieces) + b"0\r\n\r\n"
        self._read_bytes = (*map(len, pieces[:-1]), len(pieces[-1]) + 5)

    def _stamps(self, index: int) -> tuple[int, list[int], tuple[int, ...]]:
        """When it was sent, when each read came, and how late each read was."""
        reads = self.tokens + 1
        sent = 10**15 + index * 2 * NS_PER_MS
        at, off = self._chance.randrange(POOL - reads), self._chance.randrange(1000)
        gaps = [sent + self._ttfts_ns[at], *(gap + off for gap in self._gaps_ns[at : at + reads - 1])]
        return sent, list(accumulate(gaps)), tuple([lag + off for lag in self._lags_ns[at : at + reads + 1]])

    def samples(self, n: int) -> Iterator[Sample]:
        """Decoded requests."""
        for index in range(n):
            began = time.perf_counter()
            sample = self._sample(index)
            self.made_s += time.perf_counter() - began
            yield sample

    def _sample(self, index: int) -> Sample:
        sent, arrivals, lags = self._stamps(index)
        chunks = tuple(arrivals[:-1])
        return Sample(
            index=index, phase=Phase.MEASURED, target=0, stream=True, slot=index % STREAMS, outcome=Outcome.OK,
            evidence=None, status=200, due_ns=None, connect_ns=None, started_ns=sent, sent_ns=sent,
            headers_ns=sent + NS_PER_MS, first_token_ns=chunks[0], first_answer_token_ns=chunks[0],
            last_token_ns=chunks[-1], end_ns=arrivals[-1], finished_ns=arrivals[-1] + 50_000, chunk_ns=chunks,
            coalesced_chunks=0, first_read_surplus=0.0, first_arrival_share=0.0, first_read_window_ns=49 * NS_PER_MS,
            output_text="word " * 16, reasoning_text="", tool_calls=(), finish_reason="stop",
            output_tokens=self.tokens, prompt_tokens=40, cached_tokens=None, reasoning_tokens=None,
            tokens_source="usage", prompt_tokens_source="usage", visible_tokens=self.tokens, tagged=False,
            unknown_fields=(), server_timings=None, model_echoed="m", clock_source="kernel", clock_step=False,
            lag_ns=lags,
        )  # fmt: skip

    def exchanges(self, n: int) -> Iterator[Exchange]:
        """The same as the wire saw them."""
        for index in range(n):
            sent, arrivals, lags = self._stamps(index)
            yield Exchange(
                index=index, phase=Phase.MEASURED, target=0, stream=True, slot=index % STREAMS, due_ns=None,
                connect_ns=None, started_ns=sent, sent_ns=sent, finished_ns=arrivals[-1] + 50_000,
                read_arrival_ns=(sent + NS_PER_MS, *arrivals), read_lag_ns=lags, read_bytes=self._read_bytes,
                clock_source="kernel", clock_moved_ns=0, ending=Ending.COMPLETE, detail="", raw=self._raw,
            )  # fmt: skip


def planned() -> CaseResult:
    """A case that the requests could be of."""
    scenario = scenario_of({"name": "many", "prompt": "Hello"})
    return planned_result(expand(Suite("summary", "summary", Path(), "", "", (scenario,), ("m",)), ["m"])[0])


def summed_up(n: int, tokens: int) -> tuple[float, float, CaseResult]:
    """Seconds of summing up, seconds of making the requests, and what came out."""
    requests = Requests(tokens)
    began = time.perf_counter()
    with no_collections():
        result = summarise(requests.samples(n), planned())
    return time.perf_counter() - began - requests.made_s, requests.made_s, result


def recorded(n: int, tokens: int) -> tuple[float, float]:
    """Microseconds a request: to be written to the journal, and to be read back, decoded and written as a sample."""
    requests = Requests(tokens)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(RunFolder(Path(folder)), Redactor(), in_memory_bytes=0)
        case = recorder.case("many")
        exchanges = list(islice(requests.exchanges(n), n))
        began = time.perf_counter()
        for exchange in exchanges:
            case.add(exchange)
        written = time.perf_counter()
        with no_collections():
            found = sum(sample.ok for sample in case.filed(case.samples()))
        ended = time.perf_counter()
        recorder.close()
    assert found == n, f"{found} of {n} requests came back"
    return (written - began) / n * 1e6, (ended - written) / n * 1e6


def peak_mb() -> float:
    """The most memory that this process has had, in units of 2²⁰ bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000, help="How many")
    parser.add_argument("--tokens", type=int, default=16, help="Of each answer")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a limit is missed")
    asked = parser.parse_args()
    host = host_info()
    print(f"{host.cpu}, {host.cores} cores, {host.os}, Python {sys.version.split()[0]}\n")
    before_mb = peak_mb()
    took_s, made_s, result = summed_up(asked.requests, asked.tokens)
    most_mb = peak_mb()
    assert result.requests.ok == asked.requests
    missed = took_s > TIME_LIMIT_S or most_mb > MEMORY_LIMIT_MB
    head = ["requests", "tokens each", "gaps", "summed up s", "µs a request", "peak MB", "before MB", "(making s)", ""]
    gaps = result.metrics["itl_ms"].n
    per_us = took_s / asked.requests * 1e6
    row = (asked.requests, asked.tokens, gaps, f"{took_s:.1f}", f"{per_us:.1f}", f"{most_mb:.0f}", f"{before_mb:.0f}",
           f"{made_s:.1f}", "MISSED" if missed else "")  # fmt: skip
    print(tabulate([row], head))
    few = min(asked.requests, 20_000)
    add_us, back_us = recorded(few, asked.tokens)
    print(f"\nBefore that in a run, µs a request ({few} tried): to the journal {add_us:.0f}, back from it, decoded and")
    print(f"written to samples.jsonl {back_us:.0f}.")
    return 1 if missed and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
