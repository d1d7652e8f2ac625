"""Request deadlines: which one was missed, when to look again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.progress import TextProgress

if TYPE_CHECKING:
    from pytest_flperf.loadgen.connection import Ended, Job
    from pytest_flperf.loadgen.plan import Deadlines

__all__ = ["look_at", "missed_or_due"]


def missed_or_due(limits: Deadlines, job: Job, now: int, until_ns: int) -> Ended | int | None:
    """Ending of a request past its deadline, or the next look.

    The next look is a time in ns; 0: never.  None: the new part of the answer could not all be read within the time
    allowed; repeat the same call.
    """
    elapsed = now - job.started_ns
    if limits.total_ns and elapsed >= limits.total_ns:
        return Ending.TOTAL_TIMEOUT, f"not finished within {_seconds(limits.total_ns)}"
    head = job.framing.head
    if head is None and limits.headers_ns and elapsed >= limits.headers_ns:
        return Ending.HEADERS_TIMEOUT, f"no response head within {_seconds(limits.headers_ns)}"
    token_ns = None
    if job.stream and head is not None and head.successful:
        # Bytes are decoded here and only here: role chunks and keep-alives are bytes too, and re-arm nothing.
        if job.progress is None:
            job.progress = TextProgress(head)
        if not job.progress.look(job.parts, until_ns):
            return None
        if job.progress.done:
            return Ending.COMPLETE, ""  # although the body stays open
        token_ns = None if job.progress.last_part is None else job.read_ns[job.progress.last_part]
    if job.stream and token_ns is None and limits.first_token_ns and elapsed >= limits.first_token_ns:
        return Ending.FIRST_TOKEN_TIMEOUT, f"no token within {_seconds(limits.first_token_ns)}"
    if token_ns is not None and limits.stall_ns and now - token_ns >= limits.stall_ns:
        return Ending.STALL_TIMEOUT, f"no further token within {_seconds(limits.stall_ns)}"
    return look_at(limits, job, now, token_ns)


def look_at(limits: Deadlines, job: Job, now: int, token_ns: int | None = None) -> int:
    """When the first deadline can be missed; 0: never.

    ``token_ns``: arrival of the last token so far.
    """
    first = limits.total_ns
    if job.framing.head is None:
        first = _sooner(first, limits.headers_ns)
    if job.stream and token_ns is None:
        first = _sooner(first, limits.first_token_ns)
    if first:
        first += job.started_ns
    if job.stream and limits.stall_ns:
        # Without a token yet: one may come any moment now, and the next be due as long after it.
        first = _sooner(first, (now if token_ns is None else token_ns) + limits.stall_ns)
    return first


def _sooner(a_ns: int, b_ns: int) -> int:
    """Return the smaller one of two times; 0 is never."""
    return a_ns if not b_ns or 0 < a_ns < b_ns else b_ns


def _seconds(limit_ns: int) -> str:
    return f"{limit_ns / 1e9:g} s"
