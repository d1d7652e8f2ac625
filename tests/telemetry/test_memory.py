"""What something takes of memory, seen on real processes."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from child_processes import Child, until

from pytest_flperf.telemetry import memory
from pytest_flperf.telemetry.memory import MemoryBefore, available_mb, shortage


@pytest.fixture
def child() -> Iterator[Child]:
    """A process that has started."""
    with Child() as started:
        yield started


def test_what_a_process_takes(child: Child) -> None:
    """The memory of before, and what it has now: the difference is what was taken between."""
    before = MemoryBefore.now()
    child.tell("take 50")
    found = before.before_and_after_mb([child.pid])
    assert found is not None
    assert found[0] > 1
    assert 48 <= found[1] - found[0] <= 60


def test_what_it_starts_counts(child: Child) -> None:
    """Children that were not there before have had nothing then."""
    before = MemoryBefore.now()
    child.tell("start take 40")
    (grandchild,) = psutil.Process(child.pid).children()
    until(lambda: grandchild.memory_info().rss > 45 << 20)
    found = before.before_and_after_mb([child.pid])
    assert found is not None
    assert grandchild.pid not in before.rss_bytes
    assert found[1] - found[0] > 40


def test_a_process_that_is_new() -> None:
    """All that it has was taken since."""
    before = MemoryBefore.now()
    with Child() as child:
        child.tell("take 30")
        found = before.before_and_after_mb([child.pid])
    assert found is not None
    assert found[0] == 0
    assert found[1] > 30


def test_a_process_that_has_gone(child: Child) -> None:
    """Nothing is known then; beside others it doesn't count."""
    before = MemoryBefore.now()
    with Child() as gone:
        gone.kill()
    assert before.before_and_after_mb([gone.pid]) is None
    assert before.before_and_after_mb([]) is None
    assert before.before_and_after_mb([gone.pid, child.pid]) is not None


def test_available() -> None:
    """Some, and not more than there is."""
    assert 0 < available_mb() <= psutil.virtual_memory().total / (1 << 20)


@pytest.mark.parametrize(
    ("size_mb", "short"), [(None, False), (0, False), (900, False), (920, True), (8000, True), (0.5, False)]
)
def test_a_shortage_in_words(monkeypatch: pytest.MonkeyPatch, size_mb: float | None, short: bool) -> None:
    """Said where a model's files and a tenth on top exceed what is available; nothing of a size nobody knows."""
    monkeypatch.setattr(memory, "available_mb", lambda: 1_000.0)
    found = shortage(size_mb)
    assert bool(found) is short
    if size_mb == 8000:
        assert found == (
            "not enough memory: 1,000 MB are available, but the model takes about 8,800 MB; it may be slow (swapping) "
            "or fail"
        )
