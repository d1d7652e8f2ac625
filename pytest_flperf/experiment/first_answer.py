"""The first answer of a model: waited for while its server loads, and looked for where the API may be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pytest_flperf.backends.base import BackendError, OnProgress, Served
from pytest_flperf.backends.misdirected import is_page
from pytest_flperf.backends.warming_up import Patience
from pytest_flperf.wire.exchange import Exchange
from pytest_flperf.wire.refusal import refused, words_of_refusal
from pytest_flperf.wire.retry_after import asked_to_wait_s
from pytest_flperf.wire.sample import Outcome, Sample

__all__ = ["awaited", "is_elsewhere", "until_over"]

_NO_SUCH_PATH: Final = (404, 405, 410, 501)
_NOT_IMPLEMENTED: Final = 501
_STREAMING: Final = frozenset({"stream", "streaming", "Streaming"})


def is_elsewhere(sample: Sample | None) -> bool:
    """Whether the API is likely to be at another path: nothing there, a redirect, or a page."""
    status = sample.status if sample is not None else None
    if sample is None or status is None or sample.ok or sample.outcome is Outcome.MODEL_NOT_FOUND:
        return False
    if status == _NOT_IMPLEMENTED and refused(words_of_refusal(sample), _STREAMING):
        return False
    page = sample.evidence is not None and is_page({}, sample.evidence.body_head)
    return status in _NO_SUCH_PATH or 300 <= status < 400 or (page and status < 300)


def awaited(ask: Callable[[], tuple[Sample, Exchange]], served: Served, on_progress: OnProgress) -> tuple[Sample, str]:
    """Ask, and ask again while the server says that it isn't ready yet.

    Args:
        ask: Plays one request.
        served: What is asked, and how long it is waited for.
        on_progress: Told of the wait; ends it by raising BackendError.

    Returns:
        The last answer, and what is to be said of the wait: that there was one, or why there is none any longer.

    """
    patience = Patience(served.model, served.load_timeout_s, on_progress)
    while True:
        sample, exchange = ask()
        if sample.ok or sample.evidence is None:
            break
        words = f"{sample.evidence.detail}\n{sample.evidence.body_head}"
        if not patience.wait(sample.status, words, asked_to_wait_s(exchange)):
            break
    return sample, patience.note if sample.ok else patience.gave_up


def until_over(on_progress: OnProgress, is_cancelled: Callable[[], bool], stop_at: float | None) -> OnProgress:
    """What is told of progress, and ends a wait where nothing may be measured any more.

    Args:
        on_progress: Told of everything.
        is_cancelled: Whether somebody has given up.
        stop_at: From when on nothing is measured (monotonic, in seconds); None: never.

    """

    def told(what: str, percent: float | None) -> None:
        on_progress(what, percent)
        if not what.startswith("waiting"):
            return
        if is_cancelled():
            raise BackendError(f"{what}: given up, for the run was stopped")
        if stop_at is not None and time.monotonic() >= stop_at:
            raise BackendError(f"{what}: given up, for the time of the run is over")

    return told
