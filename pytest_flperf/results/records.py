"""Results of runs and cases: the records behind ``results.json``, version 1.

Records grow by addition only.  ``to_dict`` gives exact builtins (JSON and execnet accept nothing else; NaN and
infinities become None), ``from_dict`` ignores unknown keys and raises ValueError where the input is no record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias

from pytest_flperf.results.answer import RunAnswer
from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.comparison import Against, ReferenceLoad
from pytest_flperf.results.cost import Cost, Energy
from pytest_flperf.results.efficiency import EfficiencyAccess
from pytest_flperf.results.measured import (
    ClockQuality,
    Distribution,
    Failure,
    LagMs,
    LoopMs,
    PromptScore,
    Requests,
    ResourceUse,
    ToolCallCounts,
)
from pytest_flperf.results.metric_access import MetricAccess, NotMeasuredError
from pytest_flperf.results.planned import PlannedCase
from pytest_flperf.results.serialize import Interval, Reader, Record, interval_of, many, plain

__all__ = [
    "SCHEMA",
    "BudgetVerdict",
    "CaseOutcome",
    "CaseResult",
    "ClockQuality",
    "Distribution",
    "Failure",
    "HostInfo",
    "Interval",
    "LagMs",
    "LoopMs",
    "Measured",
    "PlannedCase",
    "PromptScore",
    "Record",
    "Requests",
    "ResourceUse",
    "Run",
    "RunStatus",
    "ToolCallCounts",
    "load_schema",
]

SCHEMA: Final = "flperf.results/1"
CaseOutcome: TypeAlias = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]
"""pytest's words; ``xfailed`` is also a miss that the test caught (``pytest.raises``)."""
RunStatus: TypeAlias = Literal["passed", "failed", "interrupted", "error", "not_measured"]


def load_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``results.json``."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("results.schema.json").read_text(encoding="utf-8"))
    return schema


@dataclass(frozen=True, slots=True)
class BudgetVerdict(Record):
    """One budget and its verdict."""

    expression: str
    """As written."""
    limit: float
    """In the metric's own unit (a fraction for ``error_rate``)."""
    value: float | None
    """The measured value, in the same unit; None where nothing was measured, which never meets the budget."""
    n: int
    """Values behind it."""
    met: bool
    scope: str = ""
    """Where it was written: ``scenario``, ``suite``, ``--flperf-budget``, ``default`` …"""
    metric: str = ""
    statistic: str | None = None
    """None for a metric that is one number for the case."""
    reason: str = ""
    """Why nothing was measured, or why it is infinite, where that is known."""
    infinite: bool = False
    """Whether the value is infinite because failed requests count as that; in JSON it is null."""
    category: str = ""
    """Of quality: that of the prompts of one category; empty: of all."""

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read the record; with ``infinite`` the value is infinite."""
        if isinstance(record, Mapping) and record.get("infinite"):
            record = {**record, "value": math.inf}
        return cls._read(record)


@dataclass(frozen=True, slots=True)
class Measured(MetricAccess, EfficiencyAccess, PlannedCase):
    """A case and everything that was measured of it: the evidence, not judged.

    Each metric of requests and each resource is an attribute, too: ``case.ttft_ms.p50``.
    """

    serialised: bool | None = None
    """Whether overlapping requests were answered one after the other; None where none overlapped."""
    requests: Requests = field(default_factory=Requests)
    error_rate: float | None = None
    """Fraction; None without a measured request."""
    wall_s: float | None = None
    request_rate: float | None = None
    """Requests that ended ok in the measured part or the steady window, per second."""
    goodput: float | None = None
    """Requests per second that kept every latency budget of the case; None where it has none."""
    offered_rate: float | None = None
    """In an open loop, measured requests due per second; None in a closed loop."""
    sent_rate: float | None = None
    """In an open loop, measured requests sent per second."""
    steady_window_s: Interval | None = None
    """The window of all rates, counted from the first request of the plan; None without ramp-up and cool-down."""
    tps_total: float | None = None
    """Output tokens that arrived in the measured part or the steady window, per second."""
    finish_reasons: Mapping[str, int] = field(default_factory=dict)
    tokens_source: str | None = None
    """Source of the output tokens: ``usage``, ``timings``, ``chunks`` …, or ``mixed``."""
    prompt_tokens_source: str | None = None
    """Source of the prompt tokens, in the same words."""
    reasoning_tokens_source: str | None = None
    """Source of the reasoning tokens: ``usage``, ``chunks`` or ``mixed``."""
    tokens_per_chunk: float | None = None
    coalesced_pct: float | None = None
    stalls: int | None = None
    """None where no stream could show a stall."""
    metrics: Mapping[str, Distribution] = field(default_factory=dict)
    """By name; a metric without any value is absent."""
    prompt_scores: tuple[PromptScore, ...] = ()
    """Quality by prompt, where the scenario expects something of answers and tells its prompts apart."""
    answer_quality: AnswerQuality | None = None
    """Quality over prompts; None where nothing is expected of answers, or none has a score."""
    tool_calls: ToolCallCounts | None = None
    """Outcomes of answers with tools; None where the scenario expects no calls, nor that there are none."""
    cost: Cost | None = None
    """None without a price of the model."""
    energy: Energy | None = None
    """None where no power was measured."""
    not_scored: Mapping[str, int] = field(default_factory=dict)
    """Answers without a score, by reason; they are in no quality number, and no budget or gate on quality is met."""
    resources: Mapping[str, ResourceUse] = field(default_factory=dict)
    """By name; resources that could not be measured are absent."""
    resources_absent: Mapping[str, str] = field(default_factory=dict)
    """Reasons for the absent resources, by name."""
    clock: ClockQuality = field(default_factory=ClockQuality)
    failures: tuple[Failure, ...] = ()
    """Up to five kinds of failed requests, with evidence."""
    search: Search | None = None
    """The search for the highest load; with a search, all other fields are of the load that it found (of the lowest,
    where none met the budgets)."""
    searches: tuple[Search, ...] = ()
    """Further searches, under conditions of single budgets; they shared the loads that were tried."""
    reference: ReferenceLoad | None = None
    """The fixed load that was measured interleaved; metrics that end in ``_ratio`` are relative to it."""
    against: tuple[Against, ...] = ()
    """The sides that it was compared with, and the verdicts."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        **PlannedCase._readers,
        "requests": Requests.from_dict,
        "steady_window_s": interval_of,
        "finish_reasons": dict,
        "metrics": lambda value: {name: Distribution.from_dict(item) for name, item in value.items()},
        "prompt_scores": many(PromptScore.from_dict),
        "answer_quality": AnswerQuality.from_dict,
        "tool_calls": ToolCallCounts.from_dict,
        "cost": Cost.from_dict,
        "energy": Energy.from_dict,
        "not_scored": dict,
        "resources": lambda value: {name: ResourceUse.from_dict(item) for name, item in value.items()},
        "resources_absent": dict,
        "clock": ClockQuality.from_dict,
        "failures": many(Failure.from_dict),
        "search": Search.from_dict,
        "searches": many(Search.from_dict),
        "reference": ReferenceLoad.from_dict,
        "against": many(Against.from_dict),
    }

    def metric(self, name: str) -> Distribution | None:
        """The distribution of a metric; None where nothing was measured."""
        return self.metrics.get(name)

    @property
    def max_concurrency(self) -> float | None:
        """Highest load that met the budgets, in streams; None without search."""
        return self._highest("concurrency")

    @property
    def max_rate(self) -> float | None:
        """Highest load that met the budgets, in requests/s; None without search."""
        return self._highest("rate")

    @property
    def tool_right(self) -> float | None:
        """Mean share of right tools; None where no calls are expected, nor unwanted."""
        return None if self.tool_calls is None else self.tool_calls.tool_right

    @property
    def argument_right(self) -> float | None:
        """Mean share of right arguments of answers that should have called."""
        return None if self.tool_calls is None else self.tool_calls.argument_right

    @property
    def abstained(self) -> float | None:
        """Share of answers without a call."""
        return None if self.tool_calls is None else self.tool_calls.abstained / self.tool_calls.answers

    @property
    def malformed(self) -> float | None:
        """Share of answers with malformed calls."""
        return None if self.tool_calls is None else self.tool_calls.malformed / self.tool_calls.answers

    def _highest(self, over: str) -> float | None:
        if self.search is None or self.search.over != over or self.search.conditions:
            return None
        return self.search.highest or 0.0

    def distribution(self, name: str) -> Distribution:
        """Distribution of a metric of requests; raises NotMeasuredError without one."""
        found = self.metrics.get(name)
        if name == "quality" and self.not_scored:
            raise NotMeasuredError(self.not_scored_words)
        if found is None:
            raise NotMeasuredError(f"no value of {name} was measured")
        return found

    def resource(self, name: str) -> ResourceUse:
        """Use of a resource; raises NotMeasuredError without one."""
        found = self.resources.get(name)
        if found is None:
            raise NotMeasuredError(f"{name} was not measured")
        return found

    @property
    def not_scored_words(self) -> str:
        """Answers without a score, and the main reason; empty without any."""
        if not self.not_scored:
            return ""
        reason, count = max(self.not_scored.items(), key=lambda each: each[1])
        more = sum(self.not_scored.values()) - count
        others = f", and {more} for other reasons" if more else ""
        return f"{count} of {self.requests.ok} answers not scored: {reason}{others}"

    @property
    def sent_words(self) -> str:
        """Requests sent of those planned: ``3 of 11 requests``.

        Measured in turns, the planned number is unknown.  A search counts the requests of all its loads.
        """
        if self.search is not None:
            steps = {step.load: step.requests for each in (self.search, *self.searches) for step in each.steps}
            loads = "1 load" if len(steps) == 1 else f"{len(steps)} loads"
            return f"{sum(steps.values())} requests at {loads} of the search"
        planned = self.load.iterations if self.load is not None else None
        sent = self.requests.total + self.requests.outside
        in_turns = any(side.kind == "pairs" for side in self.against) or self.reference is not None
        return f"{sent} requests" if planned is None or in_turns else f"{sent} of {planned} requests"


@dataclass(frozen=True, slots=True)
class CaseResult(Measured):
    """Result of a case: what was planned, what was measured, and the verdict."""

    outcome: CaseOutcome = "failed"
    """``failed`` until it is judged: a case never passes by omission."""
    message: str = "not judged"
    """Why it is not ``passed``; empty where it is."""
    budgets: tuple[BudgetVerdict, ...] = ()
    partial: bool = False
    """Whether an interrupt or the time of ``--flperf-max-time`` ended it before its last request."""
    given_up: bool = False
    """Whether requests were left out because those before them, or the load process, failed."""
    reruns: int = 0
    """How often another plugin reran it; the notes say how the earlier attempts ended."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        **Measured._readers,
        "budgets": many(BudgetVerdict.from_dict),
    }

    @classmethod
    def unmeasured(cls, planned: PlannedCase, outcome: CaseOutcome, message: str, *, partial: bool = False) -> Self:
        """Result of a case of which nothing was measured, and why."""
        return cls.of(planned, outcome=outcome, message=message, partial=partial)


@dataclass(frozen=True, slots=True)
class HostInfo(Record):
    """Host: the machine that measured."""

    name: str
    os: str
    cpu: str
    cores: int
    """Logical."""
    ram_mb: int
    """In units of 2²⁰ bytes."""
    gpus: tuple[str, ...] = ()
    python: str = ""
    machine: str = ""
    """``x86_64``, ``aarch64`` …"""
    physical_cores: int | None = None
    usable_cores: int | None = None
    """Cores that this process may run on."""

    _readers: ClassVar[Mapping[str, Reader]] = {"gpus": tuple}


@dataclass(frozen=True, slots=True)
class Run(Record):
    """One run: all of ``results.json``."""

    id: str
    started_at: str
    """ISO 8601, UTC."""
    finished_at: str | None = None
    status: RunStatus = "error"
    suites: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    """With secrets removed."""
    host: HostInfo | None = None
    """None: unknown, or several, which are in ``hosts``."""
    versions: Mapping[str, str] = field(default_factory=dict)
    clock: ClockQuality = field(default_factory=ClockQuality)
    notes: tuple[str, ...] = ()
    """Lines for a person: what could not be written, what was left out …"""
    faults: tuple[str, ...] = ()
    """Errors of pytest that belong to no case: a file that can't be collected, a worker that was lost."""
    budgets: tuple[BudgetVerdict, ...] = ()
    """Budgets of the whole run; empty where none were set, or without a verdict: interrupted, or only skipped."""
    partial: bool = False
    """Whether an interrupt or ``--flperf-max-time`` ended it before everything was measured."""
    answer: RunAnswer | None = None
    """None: under way, interrupted, or of an older version."""
    cases: tuple[CaseResult, ...] = ()
    suite_digests: Mapping[str, str] = field(default_factory=dict)
    """Digest of each suite, by its reference."""
    suite_cases: tuple[str, ...] = ()
    """Node ids of all cases of the suites, also of those that were deselected."""
    merged: tuple[str, ...] = ()
    """Ids of the runs that this one joins (``flperf merge``)."""
    hosts: tuple[HostInfo, ...] = ()
    """The machines, where there are several; cases name theirs."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "answer": RunAnswer.from_dict,
        "suites": tuple,
        "command": tuple,
        "host": HostInfo.from_dict,
        "hosts": many(HostInfo.from_dict),
        "versions": dict,
        "suite_digests": dict,
        "suite_cases": tuple,
        "merged": tuple,
        "clock": ClockQuality.from_dict,
        "notes": tuple,
        "faults": tuple,
        "budgets": many(BudgetVerdict.from_dict),
        "cases": many(CaseResult.from_dict),
    }

    @property
    def machines(self) -> tuple[HostInfo, ...]:
        """The machines that measured: one, several where it joins runs, or none known."""
        return self.hosts or ((self.host,) if self.host is not None else ())

    def to_dict(self) -> dict[str, Any]:
        """The whole of ``results.json`` as exact builtins: ``schema``, ``run``, ``cases``."""
        run = {each.name: plain(getattr(self, each.name)) for each in fields(self) if each.name != "cases"}
        return {"schema": SCHEMA, "run": run, "cases": [case.to_dict() for case in self.cases]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read the output of ``to_dict``.

        Raises ValueError for a file that is no ``flperf.results/1``.
        """
        found = record.get("schema") if isinstance(record, Mapping) else type(record).__name__
        if found != SCHEMA:
            raise ValueError(f"expected a results file of schema {SCHEMA!r}, found {found!r}")
        run, cases = record.get("run"), record.get("cases", [])
        if not isinstance(run, Mapping) or not isinstance(cases, list):
            raise ValueError("expected a results file with an object 'run' and a list 'cases'")  # noqa: TRY004
        return cls._read({**run, "cases": cases})
