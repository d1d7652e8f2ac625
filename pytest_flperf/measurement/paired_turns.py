"""Turns of two interleaved sides: metrics, scores and outcomes of their requests."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from pytest_flperf.quality.scoring import AnswerScorer, NoResult, PartedScore, Score
from pytest_flperf.quality.tools.expected import CallScore
from pytest_flperf.results.cost import Price
from pytest_flperf.results.metrics import OF_CALLS
from pytest_flperf.stats.descriptive.case import IsGood
from pytest_flperf.stats.descriptive.request_metrics import arrival_gaps_ns, request_metrics
from pytest_flperf.stats.inference.matched_requests import MatchedRequest
from pytest_flperf.wire.decode import Decoder, decode
from pytest_flperf.wire.exchange import Exchange
from pytest_flperf.wire.sample import TIMEOUTS, Outcome, Sample
from pytest_flperf.wire.scored import scored_text

__all__ = [
    "BASELINE",
    "CANDIDATE",
    "RATES",
    "Answer",
    "Both",
    "Turn",
    "TurnAsks",
    "TurnReader",
    "Values",
    "turn_requests",
]

CANDIDATE: Final = 0
BASELINE: Final = 1
RATES: Final = ("tps_total", "request_rate", "goodput")
"""Numbers of a case that are so much per second."""
_NS_PER_S: Final = 1e9
_NS_PER_MS: Final = 1e6
_DIGEST_BYTES: Final = 12
_RIGHT: Final = frozenset({"tool_right", "argument_right"})

Values: TypeAlias = Mapping[str, float | None]


def turn_requests(streams: tuple[int, int], *, same_requests: bool) -> tuple[int, int]:
    """Requests in a turn of each side: one per stream; the same ones on both sides where that is wanted.

    A side with fewer streams than the other then asks them one after the other.
    """
    most = max(streams)
    return (most, most) if same_requests else streams


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of one request, answered or not."""

    index: int
    """Among the requests of its side; both sides ask the same at the same index."""
    ok: bool
    timed_out: bool = False
    score: float | None = None
    """None where the scenario expects nothing, or the answer could not be scored; of a failed request 0."""
    not_scored: str = ""
    """Why it could not be scored."""
    prompt: str = ""
    """Tells prompts apart, without the prefix that makes each unique."""
    repeatable: str = ""
    """A digest of the answer, where the same request would be answered alike; else empty."""
    category: str = ""
    """Of its row."""
    calls: CallScore | None = None
    """What its tool calls were; None where none are expected or unwanted, and of a failed request."""

    def of(self, metric: str) -> float | None:
        """Value of a share or a score; None for other metrics."""
        if metric in OF_CALLS:
            return None if self.calls is None else self.calls.of(metric)
        found = {"error_rate": float(not self.ok), "timeout_rate": float(self.timed_out), "quality": self.score}
        return found.get(metric)

    def beside(self, other: Answer, metric: str) -> float | None:
        """The same, of requests that both sides made.

        A failed request has no right tool or argument where the other side's answer shows that some were expected.
        It is neither malformed nor abstained.
        """
        failed = not self.ok and metric in _RIGHT and other.of(metric) is not None
        return 0.0 if failed else self.of(metric)


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's requests of one pair."""

    values: tuple[Values, ...]
    """Metrics of each request that ended ok."""
    total: int
    """Requests that ended, those that we cancelled left out."""
    tokens: int | None
    """Output tokens of all of them; None where those of one aren't known."""
    span_s: float
    """From the first one's beginning to the last one's end."""
    answers: tuple[Answer, ...] = ()
    """Of all requests that ended, in the order of their indices."""
    gaps_ms: tuple[tuple[float, ...], ...] = ()
    """Between arrivals, of each request that has some; kept where a rule names them."""
    good: int | None = None
    """How many kept every latency budget; None: there is none."""

    def of(self, metric: str, category: str | None = None) -> tuple[float, ...]:
        """Values of a metric: of each request, or of the turn.

        A rate has one value, that of the turn as a whole.  A failed request scores 0.

        Args:
            metric: Its name.
            category: Only of rows of this category; None: of all.

        """
        if metric in RATES:
            amount = self.amount(metric)
            return (amount / self.span_s,) if amount is not None and self.span_s > 0 and self.total else ()
        if metric == "quality" or metric in OF_CALLS:
            scores = (each.of(metric) for each in self.answers if category in (None, each.category))
            return tuple(score for score in scores if score is not None)
        if metric == "itl_ms":
            return tuple(itertools.chain.from_iterable(self.gaps_ms))
        found = (each.get(metric) for each in self.values)
        return tuple(value for value in found if value is not None)

    def amount(self, rate: str) -> int | None:
        """Amount behind a rate; None where it isn't known."""
        return {"tps_total": self.tokens, "request_rate": len(self.values), "goodput": self.good}[rate]


@dataclass(frozen=True, slots=True)
class Both:
    """Both turns of a pair that was measured to its end."""

    candidate: Turn
    baseline: Turn
    candidate_first: bool

    def side(self, number: int) -> Turn:
        """The candidate's turn, or the baseline's."""
        return self.baseline if number == BASELINE else self.candidate

    def matched(self, metric: str, category: str | None = None) -> tuple[MatchedRequest, ...]:
        """Matched requests of both turns, for a share or a score.

        Requests with the same index have the same prompt.  Other metrics have none.
        """
        theirs = {each.index: each for each in self.baseline.answers}
        found = []
        for mine in self.candidate.answers:
            other = theirs.get(mine.index)
            if other is None or category not in (None, mine.category):
                continue
            ours, baseline = mine.beside(other, metric), other.beside(mine, metric)
            if ours is not None and baseline is not None:
                # That a request failed follows from no decoding, so failures are no repeats.
                scored = metric == "quality" or metric in OF_CALLS
                alike = scored and mine.repeatable and other.repeatable
                answers = frozenset({mine.repeatable, other.repeatable}) if alike else frozenset()
                found.append(MatchedRequest(ours, baseline, mine.prompt, answers))
        return tuple(found)


class TurnAsks(Protocol):
    """Prompts of one side's requests."""

    @property
    def deterministic(self) -> bool:
        """Whether the same request is answered alike each time."""

    def prompt_id(self, index: int) -> str:
        """Names the prompt of a measured request, without what makes it unique."""

    def category_of(self, index: int) -> str:
        """Category of a measured request's row; empty without one."""


class TurnReader:
    """Reads the turns of one side out of its exchanges."""

    def __init__(
        self, asks: TurnAsks, good: IsGood | None, scorer: AnswerScorer | None = None, decoder: Decoder = decode
    ) -> None:
        """Take in the side's prompts, the scorer of its answers, and what decodes them."""
        self._asks = asks
        self._good = good
        self._scorer = scorer
        self._decode = decoder
        self.gaps = False
        """Whether the gaps between arrivals are kept."""
        self.price: Price | None = None
        """Of the side's model; None: its requests have no cost."""

    def turn(self, exchanges: Sequence[Exchange]) -> Turn:
        """The turn that these requests make."""
        decoded = (self._decode(each) for each in sorted(exchanges, key=lambda each: each.index))
        samples = [each for each in decoded if each.outcome is not Outcome.CANCELLED]
        spans = [(each.started_ns, each.finished_ns) for each in exchanges]
        counts = [each.output_tokens for each in samples if each.ok or each.output_tokens is not None]
        answered = [each for each in samples if each.ok]
        values = tuple(request_metrics(each, self.price) for each in answered)
        return Turn(
            values=values,
            total=len(samples),
            tokens=sum(count for count in counts if count is not None) if None not in counts else None,
            span_s=(max(end for _, end in spans) - min(begin for begin, _ in spans)) / _NS_PER_S if spans else 0.0,
            answers=self._answers(samples),
            gaps_ms=tuple(_gaps_ms(samples)) if self.gaps else (),
            good=None if self._good is None else sum(map(self._good, answered, values)),
        )

    def _answers(self, samples: Sequence[Sample]) -> tuple[Answer, ...]:
        ended = tuple(Answer(each.index, each.ok, each.outcome in TIMEOUTS) for each in samples)
        if self._scorer is None:
            return ended
        ok = [each for each in samples if each.ok]
        scores = iter(self._scorer.scores([scored_text(each) for each in ok], [each.index for each in ok]))
        found = ((next(scores) if sample.ok else 0.0) for sample in samples)
        return tuple(map(self._scored, ended, samples, found))

    def _scored(self, ended: Answer, sample: Sample, score: Score) -> Answer:
        scored = replace(ended, not_scored=score.reason) if isinstance(score, NoResult) else replace(ended, score=score)
        return replace(
            scored,
            category=self._asks.category_of(sample.index),
            calls=score.calls if sample.ok and isinstance(score, PartedScore) else None,
            prompt=self._asks.prompt_id(sample.index),
            repeatable=_digest(scored_text(sample)) if sample.ok and self._asks.deterministic else "",
        )


def _gaps_ms(samples: Iterable[Sample]) -> Iterator[tuple[float, ...]]:
    for sample in samples:
        gaps = arrival_gaps_ns(sample) if sample.ok and not sample.clock_step else ()
        if gaps:
            yield tuple(gap / _NS_PER_MS for gap in gaps)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
