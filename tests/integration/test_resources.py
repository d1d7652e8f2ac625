"""Resources of the real runtime, of servers by URL, and budgets on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.reference_server import ReferenceServer
from pytest_flperf.results.metrics import RESOURCE_METRICS

FORKED = """
import http.server, json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def event(delta, finish=None):
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}) + "\\n\\n"

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = (event({"content": "a"}) + event({}, "stop") + "data: [DONE]\\n\\n").encode()
        time.sleep(0.02)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
if os.fork():
    time.sleep(600)
kept = bytearray(b"x") * (100 << 20)
server.serve_forever()
"""
"""A server that forks after it has bound."""


def check_series(done: Done) -> None:
    """The readings of the measured part lie between its first and last request, but for what a busy machine is late."""
    measured = [line for line in done.journal("samples.jsonl") if line["phase"] == "measured"]
    first, last = min(line["started_ns"] for line in measured), max(line["finished_ns"] for line in measured)
    readings = [line for line in done.journal("resources.jsonl") if line["phase"] == "measured"]
    assert readings
    for line in readings:
        assert first - 1_000_000_000 < line["at_ns"] < last + 1_000_000_000
        assert line["nodeid"] == done.case["nodeid"]


def test_the_runtime_host(tiny: Tiny) -> None:
    """Processors and memory of machine and host; whatever is absent has its reason."""
    tiny.suite({"iterations": 300, "max_tokens": 30})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "-vv")
    assert done.ret == 0, done.text
    found, absent = done.case["resources"], done.case["resources_absent"]
    assert found["server_cpu_pct"]["mean"] > 5
    assert found["server_rss_mb"]["max"] > 20
    assert 0 < found["cpu_pct"]["mean"] <= 100
    assert 0 < found["ram_pct"]["mean"] <= 100
    assert found.keys() | absent.keys() == set(RESOURCE_METRICS)
    assert not found.keys() & absent.keys()
    assert all(absent.values())
    wall_s = done.case["wall_s"]
    assert found["server_cpu_pct"]["n"] >= 5 * wall_s - 2, "five readings a second"
    assert "server_rss_mb" in done.text
    for reason in set(absent.values()):
        assert sum(reason in note for note in done.results["run"]["notes"]) == 1
    check_series(done)


def test_a_server_of_this_machine(tiny: Tiny) -> None:
    """By URL: whoever listens on the port; budgets on it are judged like any other."""
    tiny.suite({"iterations": 30})
    with ReferenceServer() as server:
        for budget, met in (("server_rss_mb.max <= 100000", True), ("server_rss_mb.max <= 1", False)):
            at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
            done = tiny.run("--flperf-suite=tiny.json", *at, f"--flperf-budget={budget}")
            assert done.ret == (0 if met else 1), done.text
            assert done.case["resources"]["server_rss_mb"]["max"] > 5
            (verdict,) = [each for each in done.case["budgets"] if each["metric"] == "server_rss_mb"]
            assert (verdict["met"], verdict["statistic"]) == (met, "max")
            check_series(done)


def test_a_budget_on_what_is_absent(tiny: Tiny) -> None:
    """Not met, and the reason stands beside it."""
    done = tiny.measure("--flperf-budget=gpu_power_w.mean <= 1000")
    if "gpu_power_w" in done.case["resources"]:
        pytest.skip("this machine has an NVIDIA GPU that tells its power")
    assert done.ret == 1
    (verdict,) = [each for each in done.case["budgets"] if each["metric"] == "gpu_power_w"]
    assert (verdict["value"], verdict["met"]) == (None, False)
    assert verdict["reason"] == done.case["resources_absent"]["gpu_power_w"]
    assert verdict["reason"] in done.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="servers fork on POSIX only")
def test_a_server_whose_workers_are_forked(tiny: Tiny, tmp_path: Path) -> None:
    """A listener that does nothing, with a worker that takes 100 MB: the worker's memory is the server's."""
    script = tmp_path / "forked.py"
    script.write_text(FORKED, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            tiny.suite({"iterations": 20})
            done = tiny.run(
                "--flperf-suite=tiny.json", f"--flperf-base-url=http://127.0.0.1:{port}/v1", "--flperf-model=m"
            )
        finally:
            os.killpg(server.pid, signal.SIGKILL)
    assert done.ret == 0, done.text
    assert done.case["resources"]["server_rss_mb"]["max"] > 100
