"""Bridge to pytest-benchmark: end-to-end times of requests as its rounds.

It is active only if an option of that plugin requests something.

pytest-benchmark has no public call that takes measured values.  Its public API does allow a timer that replays them,
given by its marker, and one round for each value.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import pytest

from pytest_flperf._text import harmless
from pytest_flperf.integration.xdist import is_worker
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.serialize import plain

__all__ = [
    "BENCHMARK",
    "ReplayTimer",
    "check_workers",
    "is_asked",
    "mark",
    "must_be_an_argument",
    "switched_off_line",
    "tell",
]

BENCHMARK: Final = "benchmark"
"""The name of its fixture, its marker and its plugin."""
_ASKING: Final = (
    "benchmark_json",
    "benchmark_save",
    "benchmark_autosave",
    "benchmark_compare",
    "benchmark_compare_fail",
    "benchmark_histogram",
    "benchmark_only",
    "benchmark_enable",
)
"""Its options that request something; without one its table would only repeat ours."""
_EXTRA: Final = ("ttft_ms", "tpot_ms", "tps", "e2e_ms")


class ReplayTimer:
    """Timer that replays measured durations.

    It returns 0 and the first duration, 0 and the second, and so on.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def load(self, durations_s: Sequence[float]) -> None:
        """Set the durations to replay."""
        self._times = deque(time for duration in durations_s for time in (0.0, duration))

    def __repr__(self) -> str:
        return "flperf's replay of what was measured"

    def __call__(self) -> float:
        """The next replayed time in seconds; 0 if none is left."""
        return self._times.popleft() if self._times else 0.0


_TIMER: Final = pytest.StashKey[ReplayTimer]()


def is_asked(config: pytest.Config) -> bool:
    """Whether pytest-benchmark is installed, used and not switched off."""
    return bool(_asked_options(config)) and _off(config) is None and not _distributes(config)


def _asked_options(config: pytest.Config) -> list[str]:
    """Its options that request something, as typed."""
    if not config.pluginmanager.hasplugin(BENCHMARK):
        return []
    return [f"--{name.replace('_', '-')}" for name in _ASKING if config.getoption(name, default=None)]


def _off(config: pytest.Config) -> str | None:
    """Option or plugin that switches pytest-benchmark off, or None."""
    if config.getoption("codspeed", default=False) or "CODSPEED_ENV" in os.environ:
        return "pytest-codspeed"  # it uses the same marker and refuses a timer
    if config.getoption("benchmark_disable", default=False) and not config.getoption("benchmark_enable", default=False):
        return "--benchmark-disable"
    if config.getoption("benchmark_skip", default=False) and not config.getoption("benchmark_only", default=False):
        return "--benchmark-skip"  # its fixture would skip the case, after it was measured and before it is judged
    return None


def _distributes(config: pytest.Config) -> bool:
    """Whether pytest-benchmark switches itself off because of pytest-xdist.

    It does so in all workers and in their controller.
    """
    return is_worker(config) or config.getoption("dist", default="no") != "no"


def check_workers(config: pytest.Config) -> None:
    """Refuse pytest-benchmark's options under pytest-xdist; raises UsageError.

    pytest-benchmark would write no file and compare nothing.
    """
    asked = _asked_options(config)
    if not asked or _off(config) is not None or is_worker(config) or config.getoption("collectonly"):
        return
    if _distributes(config):
        raise pytest.UsageError(
            f"{', '.join(asked)}: pytest-benchmark switches itself off under pytest-xdist, so nothing would be "
            "written or compared; leave out -n and --dist (or use -n 0), or add --benchmark-disable"
        )


def switched_off_line(config: pytest.Config) -> str | None:
    """Line that says that pytest-benchmark is switched off, or None.

    None if it is active, or if none of its options requests something.
    """
    asked, off = _asked_options(config), _off(config)
    if not asked or off is None:
        return None
    return f"flperf: {', '.join(asked)}: no case of a suite is written or compared, because of {off}"


def must_be_an_argument(config: pytest.Config) -> bool:
    """Whether pytest-benchmark skips tests that don't take its fixture."""
    return is_asked(config) and bool(config.getoption("benchmark_only"))


def mark(item: pytest.Item, group: str) -> None:
    """Mark an item so that its fixture replays measured times."""
    timer = item.stash[_TIMER] = ReplayTimer()
    item.add_marker(pytest.mark.benchmark(timer=timer, group=harmless(group)))


def tell(request: pytest.FixtureRequest, durations_s: Sequence[float], result: CaseResult) -> None:
    """Replay a case's end-to-end times (seconds) in the benchmark fixture.

    Another plugin's fixture of that name is left alone.
    """
    timer = request.node.stash.get(_TIMER, None)
    if timer is None or not durations_s:  # requesting the fixture without using it would warn
        return
    fixture = request.getfixturevalue(BENCHMARK)
    if not type(fixture).__module__.startswith("pytest_benchmark"):  # pytest-codspeed has a fixture of this name, too
        return
    timer.load(durations_s)
    fixture.pedantic(lambda: None, rounds=len(durations_s), iterations=1)
    fixture.extra_info.update(_extra(result))


def _extra(result: CaseResult) -> dict[str, Any]:
    found: dict[str, Any] = {"nodeid": result.nodeid, "model": result.model, "scenario": result.scenario}
    for name in _EXTRA:
        metric = result.metric(name)
        if metric is not None:
            found.update({f"{name}.{each}": plain(metric.statistic(each)) for each in ("p50", "p95")})
    found.update({"error_rate": result.error_rate, "requests": result.requests.total, "host": result.host})
    return found
