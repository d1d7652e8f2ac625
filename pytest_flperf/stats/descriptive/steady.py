"""Steady window: rates of what arrived in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from pytest_flperf.results.load import Load
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

__all__ = ["Arrived", "SteadyRates"]

_NS_PER_S: Final = 1e9
_FEWEST_TO_SETTLE: Final = 256
# Members of an enum, looked up for every request, are worth a name on Python 3.11.
_MEASURED, _OUTSIDE, _RETRY = Phase.MEASURED, Phase.OUTSIDE, Phase.RETRY


@dataclass(frozen=True, slots=True)
class Arrived:
    """Tokens and requests that arrived in a window."""

    from_ns: int
    until_ns: int
    plan_start_ns: int
    """When the first request of the plan began, or was due."""
    steady: bool
    """Whether ramp-up or cool-down lie outside; else it is the whole measured part."""
    tokens: float | None
    """Of an answer that lies in it in part, that part; None where those of an answer aren't known."""
    requests: int
    """That ended ok in it."""
    good: int
    """That ended ok in it and kept every limit."""

    @property
    def span_s(self) -> float:
        """Length of the window, in seconds."""
        return (self.until_ns - self.from_ns) / _NS_PER_S

    def rate(self, amount: float | None) -> float | None:
        """Amount per second; None where it isn't known."""
        return amount / self.span_s if amount is not None and self.until_ns > self.from_ns else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for a person, where there were answers."""
        if self.tokens is None:
            return ("output tokens of some answers are unknown: no total throughput",)
        if self.requests or not self.steady:
            return ()
        return (f"no answer ended in the steady window of {self.span_s:.3g} s: make duration_s longer",)

    @property
    def window_s(self) -> tuple[float, float] | None:
        """Begin and end in seconds, from the begin of the plan.

        None without ramp-up and cool-down.
        """
        if not self.steady:
            return None
        return (self.from_ns - self.plan_start_ns) / _NS_PER_S, (self.until_ns - self.plan_start_ns) / _NS_PER_S


class _Answer(NamedTuple):
    """When an answer arrived, and how much it was."""

    started_ns: int
    ended_ns: int
    stamps: tuple[int, ...]
    """Arrivals of its text; none where it came at its end, or where realtime moved meanwhile."""
    spread: bool
    """Whether it is only known that it came between its start and its end."""
    tokens: int | None
    ok: bool
    good: bool

    def share(self, from_ns: int, until_ns: int) -> float:
        """Share of its text that arrived in a window, ends included."""
        if self.stamps:
            return sum(from_ns <= stamp <= until_ns for stamp in self.stamps) / len(self.stamps)
        span_ns = self.ended_ns - self.started_ns
        if self.spread and span_ns > 0:
            return max(min(self.ended_ns, until_ns) - max(self.started_ns, from_ns), 0) / span_ns
        return float(self.ended_in(from_ns, until_ns))

    def ended_in(self, from_ns: int, until_ns: int) -> bool:
        return from_ns <= self.ended_ns <= until_ns


class SteadyRates:
    """Rates in the steady window.

    It finds the window and counts what arrived in it, fed one request at a time in any order.

    Without ramp-up and cool-down the window is from the start of the first measured request to the end of the last.
    Of the others it is the time between them; where requests ended earlier than planned, it ends with the last one.
    Only what may lie across its ends is kept.
    """

    def __init__(self, load: Load | None) -> None:
        """``load``: says how long ramp-up and cool-down took."""
        self._load = load
        self._has_window = load is not None and bool(load.ramp_up_s or load.cool_down_s)
        self._kept: list[_Answer] = []
        self._settle_at = _FEWEST_TO_SETTLE
        self._tokens = 0
        self._tokens_known = True
        self._requests = self._good = 0
        self._first_ns = self._last_ns = 0  # when measured requests began
        self._outside_ns: list[int] = []  # when each request outside began
        self._last_due_ns: int | None = None
        self._first_start_ns: int | None = None
        self._last_end_ns = 0  # of measured requests
        self._over_ns = 0  # of all

    def add(self, sample: Sample, *, good: bool = False) -> None:
        """Take in a request of any phase.

        ``good``: whether it kept every limit.
        """
        phase = sample.phase
        if phase is not _MEASURED and phase is not _OUTSIDE and phase is not _RETRY:
            return
        # The end of the body is the kernel's stamp and as true as any, unless realtime moved meanwhile.
        ended_ns = sample.finished_ns if sample.end_ns is None or sample.clock_step else sample.end_ns
        cancelled = sample.outcome is Outcome.CANCELLED  # we did that: it is no end of anything
        if not cancelled and ended_ns > self._over_ns:
            self._over_ns = ended_ns
        ok, tokens = sample.ok, sample.output_tokens
        good = good and ok and phase is not _RETRY  # of a further try somebody has waited for the first
        if tokens is None and not ok:
            tokens = 0
        if phase is not _RETRY:
            self._add_planned(sample, ended_ns, cancelled=cancelled)
            if phase is _MEASURED and not cancelled and not self._has_window:
                self._count(tokens, ok=ok, good=good)
                return
        if ok or tokens:
            stamps = () if sample.clock_step else sample.chunk_ns
            self._kept.append(_Answer(sample.started_ns, ended_ns, stamps, sample.clock_step, tokens, ok, good))
            if len(self._kept) >= self._settle_at:
                self._settle()

    def arrived(self) -> Arrived | None:
        """What arrived in the window; None without a measured request."""
        if self._first_start_ns is None:
            return None
        start_ns = min(self._first_ns, *self._outside_ns) if self._outside_ns else self._first_ns
        from_ns, until_ns = self._window(start_ns)
        tokens: float = self._tokens
        known, requests, good = self._tokens_known, self._requests, self._good
        for answer in self._kept:
            share = answer.share(from_ns, until_ns)
            if share:
                known = known and answer.tokens is not None
                tokens += (answer.tokens or 0) if share == 1 else (answer.tokens or 0) * share
            if answer.ok and answer.ended_in(from_ns, until_ns):
                requests += 1
                good += answer.good
        return Arrived(from_ns, until_ns, start_ns, self._has_window, tokens if known else None, requests, good)

    def _add_planned(self, sample: Sample, ended_ns: int, *, cancelled: bool) -> None:
        """Take in when a request of the plan began and ended."""
        begun_ns = sample.started_ns
        if sample.due_ns is not None:
            begun_ns = sample.due_ns
            self._last_due_ns = begun_ns if self._last_due_ns is None else max(self._last_due_ns, begun_ns)
        if sample.phase is _OUTSIDE:
            self._outside_ns.append(begun_ns)
        elif not cancelled:
            if self._first_start_ns is None:
                self._first_ns = self._last_ns = begun_ns
                self._first_start_ns = sample.started_ns
            if begun_ns < self._first_ns:
                self._first_ns = begun_ns
            elif begun_ns > self._last_ns:
                self._last_ns = begun_ns
            self._first_start_ns = min(self._first_start_ns, sample.started_ns)
            self._last_end_ns = max(self._last_end_ns, ended_ns)

    def _window(self, start_ns: int) -> tuple[int, int]:
        """Begin and end of the measured window.

        As planned, corrected by the phases of the requests.
        """
        assert self._first_start_ns is not None
        load = self._load
        first_ns, last_ns = self._first_ns, self._last_ns
        from_ns, until_ns = self._first_start_ns, self._last_end_ns
        if load is not None and load.ramp_up_s:
            before = max((at for at in self._outside_ns if at < first_ns), default=start_ns)
            from_ns = min(max(start_ns + _ns(load.ramp_up_s), before), first_ns)
        if load is not None and load.cool_down_s:
            after = min((at for at in self._outside_ns if at > last_ns), default=0)
            if load.duration_s is not None:
                until_ns = start_ns + _ns(load.duration_s - load.cool_down_s)
            elif after and self._last_due_ns is not None:  # an open loop, which ends with its last request
                until_ns = self._last_due_ns - _ns(load.cool_down_s)
            until_ns = max(min(until_ns, after or until_ns, self._over_ns), last_ns)
        return from_ns, until_ns

    def _settle(self) -> None:
        """Count what lies in the window for certain.

        That is measured requests that ended before another one began.
        """
        kept = []
        for answer in self._kept:
            if (
                self._first_start_ns is not None
                and self._first_ns <= answer.started_ns
                and answer.ended_ns <= self._last_ns
            ):
                self._count(answer.tokens, ok=answer.ok, good=answer.good)
            else:
                kept.append(answer)
        self._kept = kept
        self._settle_at = max(2 * len(kept), _FEWEST_TO_SETTLE)

    def _count(self, tokens: int | None, *, ok: bool, good: bool) -> None:
        if tokens is None:
            self._tokens_known = False
        else:
            self._tokens += tokens
        self._requests += ok
        self._good += good


def _ns(seconds: float) -> int:
    return round(seconds * _NS_PER_S)
