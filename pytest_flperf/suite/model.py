"""Suite model: validated suites, scenarios, and the cases they expand to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_flperf.quality.tools.expected import expects_calls
from pytest_flperf.suite.judges import JudgeSpec
from pytest_flperf.suite.messages import Message, Scalar
from pytest_flperf.suite.prices import PriceSpec, price_named
from pytest_flperf.suite.targets import TargetSpec

if TYPE_CHECKING:
    from pytest_flperf.suite.prompts.sources import PromptSource

__all__ = ["Case", "LoadShape", "Scenario", "Settings", "Suite", "Timeouts"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines of one request, in seconds.

    None: no deadline of its own, only the total.
    """

    connect_s: float = 5.0
    headers_s: float | None = 60.0
    """Until the response head; for a request that doesn't stream only where a suite sets it."""
    first_token_s: float | None = 60.0
    stall_s: float | None = 30.0
    """Longest gap between two chunks with text."""
    total_s: float = 120.0


@dataclass(frozen=True, slots=True)
class LoadShape:
    """Load shape: when requests are sent.

    A field that a shape does not use is None or 0.
    """

    kind: str = "closed"
    """``closed``: each stream sends when its last request has ended.  Open loops send when a request is due, without
    waiting for others: ``constant``, ``poisson``, ``gamma``, ``burst``, ``ramp``, ``trace``.  ``session``: a closed
    loop of chats that keep their history.  ``search``: one closed loop or Poisson process after the other, for the
    highest load that meets the budgets."""
    rate: float | None = None
    """Requests per second; of a ramp at its start."""
    rate_to: float | None = None
    """… and at its end."""
    burstiness: float | None = None
    """Shape of the gamma distribution of the gaps: 1 is Poisson, less is burstier, more is more even."""
    burst_size: int | None = None
    """Requests that are due at the same time."""
    max_in_flight: int = 1_000
    """Most requests of an open loop in flight: what is due beyond that waits, and is reported."""
    think_time_s: float = 0.0
    """Pause of a closed loop's stream between the end of a request and the next one."""
    search_over: str = "concurrency"
    """What a search looks for: ``concurrency`` (closed loops) or ``rate`` (Poisson arrivals)."""
    search_from: float = 1.0
    """Lowest load to try, in streams or requests per second."""
    search_to: float | None = None
    """Highest load to try."""
    duration_s: float | None = None
    """Time after which no request is sent; None: ended by the count alone."""
    ramp_up_s: float = 0.0
    """Time at the start that is in no statistic: streams start one after the other, rates rise from 0."""
    cool_down_s: float = 0.0
    """Time at the end that is in no statistic."""

    @property
    def is_open(self) -> bool:
        """Whether requests have due times."""
        return self.kind not in ("closed", "session", "search")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a scenario: requests, load, timeouts and sampling parameters.

    Every field can stand in a suite's defaults, a scenario or the matrix.
    """

    iterations: int | None = 5
    """Measured requests in all, over all streams; None: as many as fit into the duration."""
    warmup: int | None = None
    """Requests before them; None: one per stream, four at most."""
    concurrency: int = 1
    """Streams of a closed loop, and of the warm-up of an open one."""
    repeat: int = 1
    """How often each prompt is asked."""
    load: LoadShape = LoadShape()
    timeouts: Timeouts = Timeouts()
    max_answer_mb: float = 64.0
    """Longest answer in MiB, head included: a longer one ends there."""
    reasoning_tags: bool = True
    """Whether tags like ``<think>`` in an answer hold reasoning."""
    retries: int = 0
    """Retries of a request with a transient failure (:attr:`Sample.transient`)."""
    retry_backoff_s: float = 0.5
    """Pause before the first retry; doubled before each further one."""
    failures: str = "apart"
    """``apart``: failed requests are in no latency statistic; ``as_inf``: percentiles count them as infinitely slow."""
    max_tokens: int | None = 150
    max_tokens_key: str | None = None
    """Name of ``max_tokens`` in the request: ``max_tokens`` or ``max_completion_tokens``; None: the one that the
    server takes."""
    temperature: float | None = 0.0
    """Greedy by default: repeats do the same work, and servers' own defaults differ (0.7, 0.8, 1)."""
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_effort: str | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool | None = True
    """None: not sent, and the answer is expected whole."""
    stream_options: str | None = '{"include_usage":true}'
    """As JSON; sent with requests that stream."""
    context_tokens: int | None = None
    """Length in tokens to which prompts are padded; None or 0: they stay as they are."""
    prompt_cache: str = "avoid"
    """``avoid``: a short unique prefix before each prompt; ``reuse``: the prompt as it is."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Tools that the model may call, in OpenAI's form; rows of a data set may have their own."""
    tool_choice: str | Mapping[str, Any] | None = None
    """Sent with tools: ``auto``, ``none``, ``required`` or one of them; None: not sent."""
    tool_choice_or_auto: bool = False
    """Whether a server that doesn't take this choice is asked without it."""
    extra: Mapping[str, Any] | None = None
    """Passed through to the server in the request's JSON."""

    @property
    def warmup_requests(self) -> int:
        """Number of warm-up requests of a case."""
        return min(self.concurrency, 4) if self.warmup is None else self.warmup


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request."""

    name: str
    description: str
    messages: tuple[Message, ...]
    settings: Settings
    tags: tuple[str, ...] = ()
    expected_output_length: str | None = None
    expect: Mapping[str, Any] | None = None
    """Expected answer: checks as in :mod:`pytest_flperf.quality.expectations`; rows may have their own."""
    budgets: tuple[str, ...] = ()
    """As written, the suite's own first; the gates parse them."""
    fail_on: tuple[str, ...] = ()
    """Comparison rules, likewise."""
    against: str = ""
    """Other side that its cases are measured in turns with, as written; empty: none of its own."""
    source: PromptSource | None = None
    """Where prompts come from, if not from the messages as they are."""
    sweep: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    """Settings with several values, each a case of its own, as in a suite's matrix."""
    tool_results: tuple[Mapping[str, Any], ...] = ()
    """Results that are played for calls of tools; rows of a data set may have their own."""
    tool_turns: int = 8
    """Most turns of a conversation with played results."""
    given: frozenset[str] = frozenset()
    """Keys of the settings that the suite itself sets, for this scenario or for all; the others have our defaults."""
    folder: Path | None = None
    """Of the suite's file, where modules of own scorers are looked for first."""
    judge: JudgeSpec | None = None
    """Model that judges its answers after the measurement."""

    @property
    def is_scored(self) -> bool:
        """Whether anything is expected of its answers."""
        return bool(self.expect) or (self.source is not None and self.source.expects)

    @property
    def expects_calls(self) -> bool:
        """Whether tool calls, or none, are expected of some answers."""
        rows = self.source.rows if self.source is not None else ()
        return any(map(expects_calls, (self.expect, *(row.scored.expect for row in rows))))

    @property
    def plays_tools(self) -> bool:
        """Whether calls are answered with played results, so that a prompt may take several requests."""
        rows = self.source.rows if self.source is not None else ()
        return bool(self.tool_results) or any(row.tool_results for row in rows)

    @property
    def prompts(self) -> int | None:
        """How many prompts are asked in turn, where each is repeated; None: the source decides."""
        if self.settings.repeat == 1:
            return None
        iterations = self.settings.iterations
        if iterations is not None:
            return -(-iterations // self.settings.repeat)
        return len(self.source.rows) or 1 if self.source is not None else 1


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite file, validated."""

    name: str
    ref: str
    """Stem of its node ids, the same on every machine: ``flperf:NAME`` or the path from rootdir."""
    path: Path
    description: str
    version: str
    scenarios: tuple[Scenario, ...]
    models: tuple[str, ...]
    """Models that the suite names; empty: the run's choice."""
    matrix: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    """Setting names and their values; every combination is a case of its own."""
    targets: tuple[TargetSpec, ...] = ()
    """Models with their backends, in place of ``models``."""
    prices: Mapping[str, PriceSpec] = field(default_factory=dict)
    """Prices by model, target or pattern of these."""


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario × one model × one point of the matrix."""

    suite: str
    suite_ref: str
    scenario: Scenario
    """With the point's settings and the command line's overrides applied."""
    model: str
    """Its name: the requested alias or id, or the label of a target."""
    parameters: tuple[tuple[str, Scalar], ...]
    """The matrix point, in suite order."""
    scenario_id: str
    """The scenario's name, made fit for a node id."""
    parameters_id: str
    """``model-key=value…`` made fit for the brackets of a node id."""
    target: TargetSpec | None = None
    """The model's backend and address; None: the run's."""
    prices: Mapping[str, PriceSpec] = field(default_factory=dict)
    """The suite's prices."""

    @property
    def target_spec(self) -> TargetSpec:
        """Target of the model; one without settings where it is the run's."""
        return self.target or TargetSpec(self.model)

    @property
    def price_spec(self) -> PriceSpec | None:
        """Price of the model: of its target, else the suite's for its name; None without one."""
        target = self.target_spec
        return target.price or price_named(self.prices, (self.model, target.label, target.model))

    @property
    def nodeid(self) -> str:
        """The node id: ``flperf:default::short-chat[flperf-nano-temperature=0.5]``."""
        return f"{self.suite_ref}::{self.scenario_id}[{self.parameters_id}]"
