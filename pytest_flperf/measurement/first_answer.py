"""First answer of a model: waiting for it, finding the API.

The answer is waited for while the server loads; the API is looked for at other paths where it may be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pytest_flperf.backends.base import BackendError, OnProgress
from pytest_flperf.backends.readiness import Patience, Watched
from pytest_flperf.backends.wrong_address import NO_SUCH_PATH, is_page
from pytest_flperf.wire.exchange import Exchange
from pytest_flperf.wire.refused_parameters import refused, words_of_refusal
from pytest_flperf.wire.retry_after import asked_to_wait_s
from pytest_flperf.wire.sample import Outcome, Sample

__all__ = ["awaited", "is_elsewhere", "until_over"]

_NOT_IMPLEMENTED: Final = 501
_STREAMING: Final = frozenset({"stream", "streaming", "Streaming"})


def is_elsewhere(sample: Sample | None) -> bool:
    """Whether the API is likely to be at another path.

    The signs: nothing there, a redirect, or a page.
    """
    status = sample.status if sample is not None else None
    if sample is None or status is None or sample.ok or sample.outcome is Outcome.MODEL_NOT_FOUND:
        return False
    if status == _NOT_IMPLEMENTED and refused(words_of_refusal(sample), _STREAMING):
        return False
    page = sample.evidence is not None and is_page({}, sample.evidence.body_head)
    return status in NO_SUCH_PATH or 300 <= status < 400 or (page and status < 300)


def awaited(ask: Callable[[], tuple[Sample, Exchange]], patience: Patience) -> Sample:
    """Repeat a request while the server isn't ready; the last answer.

    Args:
        ask: Plays one request.
        patience: How long to wait in all; afterwards it knows what to report of the wait.

    """
    while True:
        sample, exchange = ask()
        if sample.ok or sample.evidence is None:
            return sample
        # Only what the server says in its own words: the rest of a body may repeat the request.
        if not patience.wait(sample.status, sample.evidence.detail, asked_to_wait_s(exchange)):
            return sample


def until_over(on_progress: OnProgress, is_cancelled: Callable[[], bool], stop_at: float | None) -> OnProgress:
    """Progress callback that ends a wait once the run is over.

    The wait ends with a BackendError where the run was stopped, or where its time is over.

    Args:
        on_progress: Told of everything.
        is_cancelled: Whether somebody has given up.
        stop_at: From when on nothing is measured (monotonic, in seconds); None: never.

    """

    def check(what: str) -> None:
        if is_cancelled():
            raise BackendError(f"{what}: given up because the run was stopped")
        if stop_at is not None and time.monotonic() >= stop_at:
            raise BackendError(f"{what}: given up because the run's time is up")

    return Watched(on_progress, check)
