"""A bare reader: epoll, recvmsg and kernel stamps, nothing decoded while it reads.  Linux only.

The least that a client can do, to compare other clients with: run it against the reference server, as a script
(``python tests/reference_server/bare_reader.py --streams 64``), and it prints what it says beside what is true.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_flperf.clock import ANCILLARY_BYTES, enable_kernel_stamps, kernel_stamp_ns, realtime_minus_monotonic_ns
from pytest_flperf.reference_server import LogEntry, ReferenceConfig, ReferenceServer, Schedule

TEXT = b'"delta":{"content":"'
ROLE = b'"delta":{"role":'
END = b"0\r\n\r\n"


@dataclass(slots=True)
class Exchange:
    """One request as the reader saw it; every ``_ns`` is CLOCK_MONOTONIC."""

    sent_ns: int
    offset_ns: int
    reads: list[tuple[int | None, int, bytes]] = field(default_factory=list)
    """(kernel stamp in CLOCK_REALTIME, monotonic when read, bytes)."""

    @property
    def id(self) -> str:
        """``ref-<number>``, as echoed."""
        data = b"".join(read[2] for read in self.reads)
        start = data.index(b'"id":"') + 6
        return data[start : data.index(b'"', start)].decode()

    @property
    def text_ns(self) -> list[int]:
        """Arrivals of the chunks with text; reads are whole chunks here, as each is one small send."""
        return [
            read_ns if stamp_ns is None else stamp_ns - self.offset_ns
            for stamp_ns, read_ns, data in self.reads
            for _ in range(data.count(TEXT))
        ]


def play(port: int, streams: int, rounds: int, body: bytes, host: str = "127.0.0.1") -> tuple[list[Exchange], float]:
    """Hold ``streams`` connections busy, ``rounds`` requests each; returns them and the processor seconds used."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    socks: dict[int, socket.socket] = {}
    for _ in range(streams):
        sock = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        enable_kernel_stamps(sock)
        sock.setblocking(False)
        socks[sock.fileno()] = sock
    poller = select.epoll()
    done: list[Exchange] = []
    current: dict[int, Exchange] = {}
    left = dict.fromkeys(socks, rounds)
    gc.collect()
    gc.disable()
    started_s = time.process_time()
    for number, sock in socks.items():
        poller.register(number, select.EPOLLIN)
        current[number] = Exchange(time.monotonic_ns(), realtime_minus_monotonic_ns())
        sock.send(request)
    now_ns = time.monotonic_ns
    while current:
        for number, _ in poller.poll():
            data, ancillary, _, _ = socks[number].recvmsg(65536, ANCILLARY_BYTES)
            exchange = current[number]
            exchange.reads.append((kernel_stamp_ns(ancillary), now_ns(), data))
            if data and not data.endswith(END):
                continue
            done.append(current.pop(number))
            left[number] -= 1
            if data and left[number]:
                current[number] = Exchange(now_ns(), realtime_minus_monotonic_ns())
                socks[number].send(request)
            else:
                poller.unregister(number)
    used_s = time.process_time() - started_s
    gc.enable()
    poller.close()
    for sock in socks.values():
        sock.close()
    return done, used_s


def percentile(values: Sequence[float], q: float) -> float:
    """Linear interpolation between order statistics."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * q
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def compare(exchanges: Sequence[Exchange], log: Sequence[LogEntry]) -> dict[str, float]:
    """What the reader says and what is true, in ms; ``sent_late``: of chunks with text, against the schedule."""
    entries = {entry.id: entry for entry in log}
    ttft_says, ttft_true, gap_says, gap_true, late = [], [], [], [], []
    for exchange in exchanges:
        entry, stamps = entries[exchange.id], exchange.text_ns
        true = entry.text_ns
        ttft_says.append((stamps[0] - exchange.sent_ns) / 1e6)
        ttft_true.append((true[0] - entry.last_byte_ns) / 1e6)
        gap_says.append((stamps[-1] - stamps[0]) / (len(stamps) - 1) / 1e6)
        gap_true.append((true[-1] - true[0]) / (len(true) - 1) / 1e6)
        columns = zip(entry.sent_ns, entry.due_ns, entry.chunks, strict=True)
        late += [(sent_ns - due_ns) / 1e6 for sent_ns, due_ns, chunks in columns if chunks]
    return {
        "ttft_p50_says_ms": percentile(ttft_says, 0.5),
        "ttft_p50_true_ms": percentile(ttft_true, 0.5),
        "ttft_p99_says_ms": percentile(ttft_says, 0.99),
        "ttft_p99_true_ms": percentile(ttft_true, 0.99),
        "gap_p99_says_ms": percentile(gap_says, 0.99),
        "gap_p99_true_ms": percentile(gap_true, 0.99),
        "sent_late_p50_ms": percentile(late, 0.5),
        "sent_late_p99_ms": percentile(late, 0.99),
        "sent_late_max_ms": max(late),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison, one ``name value`` a line."""
    parser = argparse.ArgumentParser(description="Read streams with as little as possible, beside the server's log")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=5.0)
    args = parser.parse_args(arguments)
    schedule = Schedule(ttft_ms=args.ttft_ms, itl_ms=args.itl_ms, tokens=args.tokens)
    question = {"model": "reference", "stream": True, "messages": [{"role": "user", "content": "How fast are you?"}]}
    with ReferenceServer(ReferenceConfig(schedule=schedule)) as server:
        play(server.port, args.streams, 1, json.dumps(question).encode())
        server.clear_log()
        before_s = server.cpu_s
        exchanges, used_s = play(server.port, args.streams, args.rounds, json.dumps(question).encode())
        server_s = server.cpu_s - before_s
        figures = compare(exchanges, server.log)
    tokens = sum(len(exchange.text_ns) for exchange in exchanges)
    figures |= {"client_cpu_per_token_us": used_s / tokens * 1e6, "server_cpu_per_token_us": server_s / tokens * 1e6}
    for name, value in figures.items():
        sys.stdout.write(f"{name:26} {value:10.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
