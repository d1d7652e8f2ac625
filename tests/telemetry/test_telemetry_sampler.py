"""The sampler: what counts, how often, and that nothing that goes wrong in it reaches the measuring."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from child_processes import until
from fake_nvml import FakeNvml
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.journal import Journal
from pytest_flperf.results.metrics import RESOURCE_METRICS
from pytest_flperf.telemetry.readings import Meter, Reading, ServerProcesses
from pytest_flperf.telemetry.sampler import INTERVAL_S, Sampler
from pytest_flperf.telemetry.track import Mark, Track

NS = 1_000_000_000
NAMES = ("flperf-FakeSource", "flperf-HostSource", "flperf-GpuSource")
"""Of the sampler's threads: a fixture of other tests may have threads of its own."""
HANGS_S = 120.0
NOBODY = ServerProcesses((), "nobody serves")


class FakeSource:
    """Reads what it is told to."""

    def __init__(self, metrics: tuple[str, ...] = ("ram_pct",)) -> None:
        self.metrics = metrics
        self.value = 1.0
        self.takes_s = 0.0
        self.fails: Exception | None = None
        self.open_fails: Exception | None = None
        self.reads = 0
        self.closed = False
        self.hangs: threading.Event | None = None
        self.waits = False

    def open(self) -> Mapping[str, str]:
        """Nothing to open."""
        if self.open_fails is not None:
            raise self.open_fails
        return {}

    def read(self, server: ServerProcesses) -> Reading:
        """The value, for each metric."""
        self.reads += 1
        time.sleep(self.takes_s)
        if self.hangs is not None:
            self.waits = True
            self.hangs.wait(HANGS_S)
            self.waits = False
        if self.fails is not None:
            raise self.fails
        return Reading(time.monotonic_ns(), dict.fromkeys(self.metrics, self.value))

    def close(self) -> None:
        """Remembered."""
        self.closed = True


@pytest.fixture
def fake() -> FakeSource:
    """A source."""
    return FakeSource()


@pytest.fixture
def sampler(fake: FakeSource) -> Iterator[Sampler]:
    """A sampler of it."""
    made = Sampler(sources=[fake])
    made.start()
    yield made
    made.close()
    assert fake.closed
    assert not [thread for thread in threading.enumerate() if thread.name in NAMES]


def test_five_times_a_second(sampler: Sampler, fake: FakeSource) -> None:
    """Sampled all through a case, at least five times a second."""
    watch = sampler.watch("a", NOBODY)
    began = time.monotonic()
    watch.measured()
    until(lambda: fake.reads >= 9)
    use = watch.result().use["ram_pct"]
    assert 8 <= use.n <= (time.monotonic() - began) / INTERVAL_S + 2
    assert INTERVAL_S <= 0.2


def test_only_the_measured_part_counts(sampler: Sampler, fake: FakeSource) -> None:
    """What was read in the warm-up, and between cases, is in no figure."""
    fake.value = 100.0
    watch = sampler.watch("a", NOBODY)
    time.sleep(0.25)
    watch.measured()
    time.sleep(0.02)  # the reading that ends the warm-up is taken by now
    fake.value = 2.0
    time.sleep(0.25)
    watch.done()
    time.sleep(0.5)  # the reading that ends the measured part is taken by now
    fake.value = 50.0
    time.sleep(0.25)
    use = watch.result().use["ram_pct"]
    assert (use.min, use.mean, use.max) == (2.0, 2.0, 2.0)
    assert use.n >= 2


def test_nothing_is_read_between_cases(sampler: Sampler, fake: FakeSource) -> None:
    """Without a case the threads rest."""
    watch = sampler.watch("a", NOBODY)
    watch.measured()
    watch.result()
    before = fake.reads
    time.sleep(0.35)
    assert fake.reads == before


def test_a_case_of_no_time_has_a_reading(sampler: Sampler) -> None:
    """However short, a case has one reading at its end."""
    for _ in range(20):
        watch = sampler.watch("a", NOBODY)
        watch.measured()
        watch.done()
        assert watch.result().use["ram_pct"].n >= 1


def test_what_it_costs(sampler: Sampler) -> None:
    """Watching a case and ending it takes the measuring thread less than 2 ms."""
    took_s = []
    for _ in range(30):
        watch = sampler.watch("a", NOBODY)
        time.sleep(0.01)
        began = time.monotonic()
        watch.measured()
        half = time.monotonic() - began
        time.sleep(0.01)
        began = time.monotonic()
        watch.done()
        watch.result()
        took_s.append(half + time.monotonic() - began)
    assert sorted(took_s)[5] < 0.002, "the bound is for a busy machine"


def test_a_slow_source_holds_nothing_up(fake: FakeSource) -> None:
    """A driver that takes its time: the others are read meanwhile, and the case is not delayed by it."""
    slow = FakeSource(("gpu_temp_c",))
    slow.hangs = threading.Event()
    sampler = Sampler(sources=[fake, slow])
    sampler.start()
    watch = sampler.watch("a", NOBODY)
    began = time.monotonic()
    watch.measured()
    until(lambda: slow.reads == 1 and fake.reads > 3)
    assert time.monotonic() - began < HANGS_S
    slow.hangs.set()
    until(lambda: slow.reads >= 3)
    slow.hangs.clear()
    until(lambda: slow.waits)  # this reading or the next one: which of them it is, nobody can say
    began = time.monotonic()
    watch.done()
    assert time.monotonic() - began < HANGS_S
    slow.hangs.set()
    use = watch.result().use
    assert use["ram_pct"].n >= 5
    assert use["gpu_temp_c"].n >= 1
    sampler.close()


def test_a_source_that_hangs(fake: FakeSource) -> None:
    """It is left behind: the case has the others' figures and a reason, and the end doesn't wait for it."""
    hung = FakeSource(("gpu_temp_c",))
    hung.hangs = threading.Event()
    sampler = Sampler(sources=[fake, hung])
    watch = sampler.watch("a", NOBODY)
    watch.measured()
    time.sleep(0.05)
    began = time.monotonic()
    resources = watch.result()
    sampler.close()
    assert time.monotonic() - began < 20
    assert set(resources.use) == {"ram_pct"}
    assert resources.absent == {"gpu_temp_c": "it had not answered yet"}
    hung.hangs.set()
    (thread,) = [thread for thread in threading.enumerate() if thread.name in NAMES]
    thread.join(120)
    assert hung.closed


def test_a_source_that_fails(sampler: Sampler, fake: FakeSource) -> None:
    """Its figures are absent with the error; after five failures in a row it isn't asked any more."""
    fake.fails = OSError("gone")
    for _ in range(6):
        watch = sampler.watch("a", NOBODY)
        watch.measured()
        resources = watch.result()
        assert resources.use == {}
        assert resources.absent == {"ram_pct": "it can't be read: OSError: gone"}
    assert fake.reads == 5


def test_a_source_that_cannot_be_opened(fake: FakeSource) -> None:
    """Likewise at its start."""
    fake.open_fails = ImportError("no such module")
    sampler = Sampler(sources=[fake])
    watch = sampler.watch("a", NOBODY)
    watch.measured()
    assert watch.result().absent == {"ram_pct": "it can't be read: ImportError: no such module"}
    sampler.close()


def test_a_case_that_never_measured(sampler: Sampler) -> None:
    """An interrupted warm-up: nothing was measured, and that is the reason."""
    watch = sampler.watch("a", NOBODY)
    time.sleep(0.15)
    resources = watch.result()
    assert resources.use == {}
    assert set(resources.absent) == {"ram_pct"}


def test_after_the_end(fake: FakeSource) -> None:
    """Closed twice, and asked again: no thread, no figure, no error."""
    sampler = Sampler(sources=[fake])
    sampler.start()
    sampler.close()
    sampler.close()
    watch = sampler.watch("a", NOBODY)
    watch.measured()
    assert watch.result().use == {}


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_the_series(tmp_path: Path, fake: FakeSource) -> None:
    """A line per reading: stamps on the requests' clock, in order, with case and phase."""
    sampler = Sampler(Journal(tmp_path / "resources.jsonl"), [fake], 0.02)
    began_ns = time.monotonic_ns()
    watch = sampler.watch("case a", NOBODY)
    time.sleep(0.1)
    watch.measured()
    time.sleep(0.1)
    n = watch.result().use["ram_pct"].n
    watch = sampler.watch("case b", NOBODY)
    watch.measured()
    watch.result()
    sampler.close()
    lines = _lines(tmp_path / "resources.jsonl")
    stamps = [line["at_ns"] for line in lines]
    assert stamps == sorted(stamps)  # type: ignore[type-var]
    assert began_ns <= stamps[0] <= stamps[-1] <= time.monotonic_ns()  # type: ignore[operator]
    phases = [line["phase"] for line in lines if line["nodeid"] == "case a"]
    assert phases == sorted(phases, reverse=True), "warmup, then measured"
    assert phases.count("measured") == n
    assert all(line["ram_pct"] == 1.0 for line in lines)
    assert {line["nodeid"] for line in lines} == {"case a", "case b"}


def test_a_full_disk(tmp_path: Path, fake: FakeSource) -> None:
    """The series ends, it is told once, and the figures are there."""
    told: list[str] = []
    sampler = Sampler(Journal(tmp_path / "resources.jsonl", on_problem=told.append, size_limit=150), [fake], 0.02)
    watch = sampler.watch("a", NOBODY)
    watch.measured()
    until(lambda: told and fake.reads > 5)
    assert watch.result().use["ram_pct"].n > 2
    sampler.close()
    assert len(told) == 1


def test_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real sources, with a faked driver: every metric is there, or has a reason."""
    FakeNvml().install(monkeypatch)
    sampler = Sampler(Journal(tmp_path / "resources.jsonl"))
    sampler.start()
    watch = sampler.watch("a", NOBODY)
    time.sleep(0.3)
    watch.measured()
    time.sleep(0.3)
    resources = watch.result()
    sampler.close()
    assert resources.use.keys() | resources.absent.keys() == set(RESOURCE_METRICS)
    assert not resources.use.keys() & resources.absent.keys()
    assert set(resources.absent) == {"server_cpu_pct", "server_rss_mb"}
    assert resources.use["gpu_power_w"].mean == pytest.approx(123.456)
    assert sampler.gpu_names == ("NVIDIA Test 4090",)
    assert all(use.min <= use.mean <= use.max for use in resources.use.values())
    gpu, host = ([line for line in _lines(tmp_path / "resources.jsonl") if name in line] for name in
                 ("gpu_temp_c", "ram_pct"))  # fmt: skip
    assert gpu
    assert max(later["at_ns"] - here["at_ns"] for here, later in pairwise(host)) < 0.5 * NS  # type: ignore[operator]


READINGS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 10 * NS)), min_size=1, max_size=20)


@given(READINGS)
def test_the_mean_is_over_time(readings: list[tuple[float, int]]) -> None:
    """Each reading weighs as much as the time since the one before; the mean lies between min and max."""
    track = Track("a", NOBODY, ["ram_pct"], threading.Condition(), {})
    at_ns = NS
    track.add(Reading(at_ns, {"ram_pct": 1e9}), "warmup", Mark.MEASURED)
    for value, span_ns in readings:
        at_ns += span_ns
        track.add(Reading(at_ns, {"ram_pct": value}), "measured", None)
    use = track.result().use["ram_pct"]
    values = [value for value, _ in readings]
    assert (use.n, use.min, use.max) == (len(values), min(values), max(values))
    assert use.min <= use.mean <= use.max
    area = sum(value * span_ns for value, span_ns in readings)
    assert use.mean == pytest.approx(area / (at_ns - NS), rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, NS), st.floats(0, 5)), min_size=2, max_size=20), st.integers(0, NS))
def test_a_share_is_over_a_long_enough_span(steps: list[tuple[int, float]], shortest_ns: int) -> None:
    """A share is never over less than the shortest span, never negative, and none before there is such a span."""
    meter = Meter(shortest_ns)
    seen: list[tuple[int, float]] = []
    at_ns, used = 0, 0.0
    for span_ns, rate in steps:
        at_ns += span_ns
        used += rate * span_ns
        share = meter.share(at_ns, used, at_ns)
        old_enough = [(then, total) for then, total in seen if at_ns - then >= shortest_ns]
        if old_enough:
            then, total = old_enough[-1]
            assert share == pytest.approx((used - total) / (at_ns - then), rel=1e-6, abs=1e-6)
        else:
            assert share is None
        seen.append((at_ns, used))
