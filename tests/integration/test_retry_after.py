"""``Retry-After`` of servers that are busy: retries keep to it, within bounds."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from server_doubles import Answer, Asked, Double, streamed
from tiny_runs import Done, Tiny


class Busy(Double):
    """Refuses the first try of its third chat (the first is the verifying one) as told."""

    status = 429

    def __init__(self) -> None:
        super().__init__()
        self.headers: dict[str, str] = {}
        self.times: list[float] = []
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Answer:
        """A chat, or not yet."""
        if asked.method == "GET":
            return Answer({"data": [{"id": "m"}]})
        with self._lock:
            self.times.append(time.monotonic())
            number = len(self.times)
        return Answer({"error": {"message": "later"}}, self.status, self.headers) if number == 3 else streamed()


def measured(tiny: Tiny, status: int, retry_after: dict[str, str], **settings: Any) -> tuple[Done, Busy]:
    """Two requests, the second of which is refused at first."""
    busy = {"retries": 1, "retry_backoff_s": 0.01, "budgets": ["error_rate <= 50%"], **settings}
    tiny.suite({"iterations": 2, **busy})
    with Busy() as server:
        server.status, server.headers = status, retry_after
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m", "-v")
    return done, server


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("headers", [{"Retry-After": "2"}, {"retry-after-ms": "2000"}])
def test_a_retry_waits(tiny: Tiny, status: int, headers: dict[str, str]) -> None:
    """At least as long as was asked, and the results say so."""
    done, server = measured(tiny, status, headers)
    assert done.ret == 0, done.text
    assert server.times[3] - server.times[2] >= 2.0
    assert done.case["requests"]["recovered"] == 1
    assert "Retry-After: waited 2 s before a retry, as the server asked" in done.case["notes"]


@pytest.mark.parametrize("value", ["1000000000", "Fri, 31 Dec 9999 23:59:59 GMT", "121"])
def test_a_wait_that_is_too_long(tiny: Tiny, value: str) -> None:
    """Longer than a request may take: it is not tried again, and that is a warning."""
    began = time.monotonic()
    done, server = measured(tiny, 429, {"Retry-After": value})
    assert time.monotonic() - began < 60
    assert len(server.times) == 3
    assert done.case["requests"]["retries"] == 0
    assert any("were not tried again: 1; the server asks for a wait of" in line for line in done.warnings), done.text


@pytest.mark.parametrize("value", ["-5", "garbage", "0", "Thu, 01 Jan 1970 00:00:00 GMT", "nan", ""])
def test_no_wait(tiny: Tiny, value: str) -> None:
    """What asks for nothing changes nothing."""
    done, server = measured(tiny, 503, {"Retry-After": value})
    assert len(server.times) == 4
    assert done.case["requests"]["recovered"] == 1
    assert not any("Retry-After" in note for note in done.case["notes"])


def test_the_end_of_a_case_ends_a_wait(tiny: Tiny) -> None:
    """A duration that is over, or the time of the run: nobody waits on."""
    began = time.monotonic()
    done, server = measured(tiny, 429, {"Retry-After": "100"}, iterations=1_000_000, duration_s=2)
    assert time.monotonic() - began < 60
    assert done.case["requests"]["recovered"] == 0
    assert len(server.times) > 3
    assert done.ret == 0, done.text
