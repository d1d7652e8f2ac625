"""Measured values of a case: distributions, counts, resources, failures, clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from pytest_flperf.results.serialize import Interval, Reader, Record, interval_of

__all__ = [
    "ClockQuality",
    "Distribution",
    "Failure",
    "LagMs",
    "LoopMs",
    "PromptCalls",
    "PromptScore",
    "Requests",
    "ResourceUse",
]


@dataclass(frozen=True, slots=True)
class Distribution(Record):
    """Distribution of one metric over the requests of a case.

    Values are in the metric's unit.
    """

    n: int
    """Number of values: of requests, except for ``itl_ms``, where it is of gaps."""
    mean: float
    stdev: float | None
    """Of the sample (n − 1); None for a single value."""
    min: float
    p5: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    p50_ci95: Interval | None = None
    """95 % confidence interval of the median; None where so few values can't give one."""
    p95_ci95: Interval | None = None
    as_inf: int = 0
    """Failed requests that count as infinitely slow, where the scenario says so (``failures: as_inf``).  They are
    included in ``n`` but not in ``max``, mean and stdev, which are of measured values.  A percentile among them is
    infinite, in JSON null."""
    unsure: tuple[str, ...] = ()
    """Percentiles from fewer requests than they need: shown, and always with a mark."""

    _readers: ClassVar[Mapping[str, Reader]] = {"p50_ci95": interval_of, "p95_ci95": interval_of, "unsure": tuple}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read the record; null percentiles are infinite with ``as_inf``."""
        if isinstance(record, Mapping) and record.get("as_inf"):
            beyond = {name: math.inf for name in _PERCENTILES if record.get(name, 0.0) is None}
            record = {**record, **beyond}
        return cls._read(record)

    def statistic(self, name: str) -> float | None:
        """A statistic: ``n``, ``mean``, ``p95`` …; raises KeyError for others."""
        if name not in _STATISTIC_FIELDS:
            raise KeyError(name)
        value: float | None = getattr(self, name)
        return value

    @property
    def cv(self) -> float | None:
        """Coefficient of variation, stdev / mean.

        None for a single value, and where the mean is 0.
        """
        return self.stdev / self.mean if self.stdev is not None and self.mean else None

    def interval(self, name: str) -> Interval | None:
        """The 95 % confidence interval of a statistic; None without one."""
        return {"p50": self.p50_ci95, "p95": self.p95_ci95}.get(name)


_PERCENTILES: Final = ("p5", "p50", "p90", "p95", "p99")
_STATISTIC_FIELDS: Final = frozenset({"n", "mean", "stdev", "min", "p5", "p50", "p90", "p95", "p99", "max", "cv"})


@dataclass(frozen=True, slots=True)
class Requests(Record):
    """Counts of a case's requests, by how they ended."""

    total: int = 0
    ok: int = 0
    failed: int = 0
    timeouts: int = 0
    by_outcome: Mapping[str, int] = field(default_factory=dict)
    late_reads: int = 0
    """Requests whose TTFT is only an upper bound."""
    clock_steps: int = 0
    """Requests left out of timing because the realtime clock was stepped."""
    outside: int = 0
    """Requests of ramp-up and cool-down; only in the rates, with what arrived in the steady window."""
    warmup: int = 0
    """Requests before the measured ones; in no statistic."""
    warmup_failed: int = 0
    retries: int = 0
    """Retries of failed requests; only in ``tps_total`` and ``request_rate``."""
    recovered: int = 0
    """Failed requests of which a retry ended ok; they stay in the error rate."""

    _readers: ClassVar[Mapping[str, Reader]] = {"by_outcome": dict}


@dataclass(frozen=True, slots=True)
class ResourceUse(Record):
    """Resource use of a case while its requests were measured.

    Values are in the metric's unit.
    """

    n: int
    """Readings."""
    mean: float
    """Mean over time: each reading is weighted by the time since the one before."""
    min: float
    max: float

    def statistic(self, name: str) -> float:
        """A statistic: ``n``, ``mean``, ``min`` or ``max``; raises KeyError for others."""
        if name not in _RESOURCE_FIELDS:
            raise KeyError(name)
        value: float = getattr(self, name)
        return value


_RESOURCE_FIELDS: Final = frozenset({"n", "mean", "min", "max"})


@dataclass(frozen=True, slots=True)
class Failure(Record):
    """Failures of one kind, with evidence from the first."""

    outcome: str
    count: int
    status: int | None = None
    detail: str = ""
    body_head: str = ""


@dataclass(frozen=True, slots=True)
class LagMs(Record):
    """Lag of the client, ms: from kernel arrival to Python's read."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class LoopMs(Record):
    """Event loop of the load process: time per turn, ms.

    How long it was busy before it polled its sockets again.
    """

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class ClockQuality(Record):
    """Clock quality: the source of time stamps, and the client's lag."""

    source: str | None = None
    """``kernel``, ``user`` or ``mixed``; None where nothing was received."""
    lag_ms: LagMs | None = None
    """None with user stamps, where the lag can't be known."""
    lag_histogram: Mapping[str, int] = field(default_factory=dict)
    """Reads by round(16 × log2(lag in ns)), accurate to 2.2 %: histograms of several cases can be merged."""

    loop_ms: LoopMs | None = None
    """None where no load process sent the requests, or where its values were lost (it was killed meanwhile)."""
    loop_histogram: Mapping[str, int] = field(default_factory=dict)
    """Turns of the event loop, in buckets like those of ``lag_histogram``."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "lag_ms": LagMs.from_dict,
        "lag_histogram": dict,
        "loop_ms": LoopMs.from_dict,
        "loop_histogram": dict,
    }


@dataclass(frozen=True, slots=True)
class ToolConversations(Record):
    """Conversations of a case with played tool results; each ends in one of four ways."""

    conversations: int
    answered: int
    """Ended with an answer without a call."""
    malformed: int
    """Ended with a call that can't be read, or one as text."""
    unfinished: int
    """Still called when the bound of turns was reached, or called more than is kept."""
    failed: int
    """Ended with a failed request."""
    cut_short: int
    """Further ones that the end of the case cut short; they are not scored."""
    turns: float
    """Mean number of turns, of those that didn't fail."""
    calls: int
    repeated: int
    """Calls made before with the same arguments, beyond those that are expected."""
    needless: int
    """Other calls that are not expected."""
    unknown: int
    """Calls of tools that were not offered."""
    without_result: int
    """Calls of offered tools for which no result is played."""

    def __post_init__(self) -> None:
        ends = self.answered + self.malformed + self.unfinished + self.failed
        if ends != self.conversations or self.conversations < 1:
            raise ValueError(f"{self.conversations} conversations, but {ends} ends")

    @property
    def words(self) -> str:
        """Ends and calls in words: ``12 conversations of 3.2 turns: 10 answered, 2 unfinished; 3 repeated calls``."""
        ends = {name: getattr(self, name) for name in ("answered", "malformed", "unfinished", "failed")}
        ended = ", ".join(f"{count} {name}" for name, count in ends.items() if count)
        counts = {
            "repeated": self.repeated,
            "needless": self.needless,
            "of unknown tools": self.unknown,
            "without a result": self.without_result,
        }
        calls = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        plural = "s" * (self.conversations > 1)
        cut = f", {self.cut_short} more cut short" if self.cut_short else ""
        of_calls = f"; of {self.calls} calls {calls}" if calls else f"; {self.calls} calls"
        return f"{self.conversations} conversation{plural} of {self.turns:.3g} turns: {ended}{cut}{of_calls}"


@dataclass(frozen=True, slots=True)
class ToolCallCounts(Record):
    """Tool calls of a case: its scored answers, by outcome."""

    answers: int
    """Scored answers to requests that expect calls, or none; each is one of the three."""
    called: int
    abstained: int
    """Answered with a text that holds nothing like a call, right or wrong."""
    malformed: int
    """Arguments that are not a JSON object, a call without a name, or a call as text."""
    json_as_text: int
    """Of the malformed ones, those whose call came as JSON in the text."""
    expecting: int
    """Answers that should have called."""
    tool_right: float
    """Mean share of right tools, 0 to 1."""
    argument_right: float | None
    """Mean share of right arguments of those that should have called; None without any."""
    conversations: ToolConversations | None = None
    """Of a case with played tool results, whose answers are conversations; else None."""

    _readers: ClassVar[Mapping[str, Reader]] = {"conversations": ToolConversations.from_dict}

    def __post_init__(self) -> None:
        if self.called + self.abstained + self.malformed != self.answers or self.answers < 1:
            raise ValueError(f"{self.answers} answers, but {self.called} + {self.abstained} + {self.malformed}")

    @property
    def words(self) -> str:
        """Outcomes in words: ``27 called, 2 abstained, 1 malformed (1 as JSON in the text)``."""
        as_text = f" ({self.json_as_text} as JSON in the text)" if self.json_as_text else ""
        counts = f"{self.called} called, {self.abstained} abstained, {self.malformed} malformed{as_text}"
        return counts if self.conversations is None else f"{counts}; {self.conversations.words}"


@dataclass(frozen=True, slots=True)
class PromptCalls(Record):
    """Tool calls of the answers to one prompt: means over them."""

    answers: int
    """Scored ones."""
    tool_right: float
    argument_right: float | None
    """None where no call is expected."""
    abstained: float
    malformed: float


@dataclass(frozen=True, slots=True)
class PromptScore(Record):
    """Quality score of one prompt of a case."""

    prompt: str
    """Identifies the prompt, in all runs of the same texts."""
    n: int
    """Measured requests."""
    score: float
    """Their mean score, 0 to 1; failed requests count as 0."""
    alike: bool = False
    """Whether all answers were the same, byte for byte."""
    passed: int | None = None
    """Requests with a score of 1; None: an older version."""
    id: str = ""
    """Of its row, where the data set has ids."""
    category: str = ""
    """Of its row, where the data set has categories."""
    calls: PromptCalls | None = None
    """Where calls, or none, are expected, and a request was answered; None as well: an older version."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "calls": lambda value: None if value is None else PromptCalls.from_dict(value),
    }

    def __post_init__(self) -> None:
        if not (self.n >= 1 and 0 <= self.score <= 1):
            raise ValueError(f"a prompt with {self.n} requests and a score of {self.score}")
