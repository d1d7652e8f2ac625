"""Answers side by side, or one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable

from pytest_flperf.stats.descriptive.overlap import Overlap
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

MS = 1_000_000


def serialised(samples: list[Sample]) -> bool | None:
    """What is said of these, in any order."""
    overlap = Overlap()
    overlap.add(random.Random(1).sample(samples, len(samples)))
    return overlap.serialised


def queued(make_sample: Callable[..., Sample], count: int, **more: object) -> list[Sample]:
    """All sent at once, each answered when the one before has ended."""
    return [
        make_sample(sent_ns=MS, chunk_ns=tuple(MS * (10 + 100 * n + 10 * i) for i in range(8)), **more)
        for n in range(count)
    ]


def test_one_after_the_other(make_sample: Callable[..., Sample]) -> None:
    """Sent at once and answered in turn."""
    assert serialised(queued(make_sample, 5)) is True


def test_side_by_side(make_sample: Callable[..., Sample]) -> None:
    """Streams that run at the same time; a few that happen to follow each other change nothing."""
    beside = [make_sample(sent_ns=MS * n, chunk_ns=tuple(MS * (50 + n + 10 * i) for i in range(8))) for n in range(6)]
    assert serialised(beside) is False
    assert serialised(beside + queued(make_sample, 4)) is False


def test_nothing_overlaps(make_sample: Callable[..., Sample]) -> None:
    """One stream, or too few pairs: nobody can tell."""
    one = [make_sample(sent_ns=MS * 1000 * n) for n in range(9)]
    assert serialised(one) is None
    assert serialised(queued(make_sample, 3)) is None


def test_what_tells_nothing(make_sample: Callable[..., Sample]) -> None:
    """Warm-ups, failures, and answers whose text came at once are not looked at."""
    assert serialised(queued(make_sample, 5, phase=Phase.WARMUP)) is None
    assert serialised(queued(make_sample, 5, outcome=Outcome.STALL_TIMEOUT)) is None
    assert serialised([make_sample(sent_ns=MS, chunk_ns=(MS * 10 * n,)) for n in range(2, 9)]) is None
