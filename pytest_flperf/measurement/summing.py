"""Results from stored evidence: one way for finished, interrupted and recovered cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from pytest_flperf.measurement.paired_turns import RATES
from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.quality.scoring import AnswerScorer
from pytest_flperf.results.measured import ClockQuality
from pytest_flperf.results.records import Measured, PlannedCase
from pytest_flperf.stats.descriptive.case import IsGood, summarise
from pytest_flperf.stats.descriptive.energy import energy_of
from pytest_flperf.stats.descriptive.request_values import RequestValues
from pytest_flperf.telemetry.sums import CaseResources
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Sample

__all__ = ["Evidence", "TurnTime", "on_own_time", "result_of"]

_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence on a case, apart from its requests."""

    planned: PlannedCase
    """What was known before the first request."""
    notes: Callable[[], tuple[str, ...]]
    """All that a person should know, read after the requests."""
    good: IsGood | None = None
    """Whether a request counts for goodput; None: there is no goodput."""
    prompt_of: Callable[[int], str] | None = None
    """Names the prompt of a measured request by its index; None: prompts can't be told apart."""
    turn_requests: int = 0
    """Requests in a turn, of a side that is measured in turns; 0: it is measured alone."""
    loop: ClockQuality = field(default_factory=ClockQuality)
    """How long the load process's loop was busy; unknown where it was killed."""
    resources: Callable[[], CaseResources] | None = None
    """Read after the requests, of a case as a whole: its other side has none of its own."""
    scorer: AnswerScorer | None = None
    """Scores the answers; None: nothing is expected of them."""
    values: RequestValues | None = None
    """Takes the values of single requests; None: nobody needs them."""
    rows: ExpectedOf | None = None
    """Tells the row of a measured request; None without rows."""


def result_of(samples: Iterable[Sample], evidence: Evidence) -> Measured:
    """The result of a case, not judged yet.

    Args:
        samples: All of its requests, any phase; read once.
        evidence: What else is known of it.

    """
    time = TurnTime(evidence.turn_requests) if evidence.turn_requests else None
    watched = samples if time is None else time.watch(samples)
    planned = replace(evidence.planned, notes=())
    known = evidence
    summed = summarise(watched, planned, known.good, known.prompt_of, known.scorer, known.values, known.rows)
    clock = replace(summed.clock, loop_ms=evidence.loop.loop_ms, loop_histogram=evidence.loop.loop_histogram)
    result = replace(summed, clock=clock, notes=(*evidence.notes(), *summed.notes))
    if time is not None:
        result = on_own_time(result, time.span_s)
    if evidence.resources is None:
        return result
    resources = evidence.resources()
    notes = (*result.notes, *resources.notes)
    result = replace(result, notes=notes, resources=resources.use, resources_absent=resources.absent)
    return replace(result, energy=energy_of(result, in_turns=time is not None))


class TurnTime:
    """Time in which a side had requests under way.

    Each turn counts from its first beginning to its last end.
    """

    def __init__(self, requests: int) -> None:
        """``requests``: how many a turn has."""
        self._requests = requests
        self._turns: dict[int, tuple[int, int]] = {}

    def watch(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Pass the samples on, and take their times."""
        for sample in samples:
            if sample.phase is Phase.MEASURED:
                turn = sample.index // self._requests
                begin, end = self._turns.get(turn, (sample.started_ns, sample.finished_ns))
                self._turns[turn] = (min(begin, sample.started_ns), max(end, sample.finished_ns))
            yield sample

    @property
    def span_s(self) -> float:
        """Total time of all turns, in seconds."""
        return sum(end - begin for begin, end in self._turns.values()) / _NS_PER_S


def on_own_time(result: Measured, span_s: float) -> Measured:
    """A side's result with rates by its own time.

    Its own time is that in which it had requests under way, without the other side's.
    """
    if not result.wall_s or not span_s:
        return result
    factor = result.wall_s / span_s
    rates = {name: getattr(result, name) for name in RATES}
    return replace(result, wall_s=span_s, **{name: rate * factor for name, rate in rates.items() if rate is not None})
