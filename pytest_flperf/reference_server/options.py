"""Settings of the reference server: schedules, faults, server options."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from pytest_flperf.reference_server.checks import OptionError, amount, check, count, label, overridden
from pytest_flperf.reference_server.judge import JudgeBias, judge_bias_of
from pytest_flperf.reference_server.truth import (
    MISTAKES,
    KnownAnswer,
    PlayedCall,
    answers_of,
    calls_of,
    mistakes_of,
)

__all__ = [
    "FAULT_MODEL_PREFIX",
    "Fault",
    "FaultKind",
    "ReferenceConfig",
    "Schedule",
    "preset_fault",
    "preset_names",
]

RoleChunk = Literal["early", "with_first", "every", "none"]
Head = Literal["early", "with_first"]
ReasoningField = Literal["reasoning_content", "reasoning", "think"]
Usage = Literal["extra_chunk", "finish_chunk", "empty_delta", "absent", "zeros"]
Framing = Literal["chunked", "length", "close"]
LineEnd = Literal["lf", "crlf"]
WrongBy = Literal["request", "prompt"]
CallForm = Literal["tool_calls", "function_call"]
CallSplit = Literal["whole", "even", "random"]
Garbage = Literal["json", "line", "bytes"]
Host = Literal["127.0.0.1", "::1"]
ErrorBody = Literal["json", "json_text", "detail", "html", "plain", "empty"]

_HOUR_MS: Final = 3_600_000
_MOST_TOKENS: Final = 100_000
_MOST_ANSWER_BYTES: Final = 64 << 20
_CHUNK_OVERHEAD_BYTES: Final = 256
FAULT_MODEL_PREFIX: Final = "reference-fault-"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Send schedule of an answer.

    Times count from the kernel's arrival of the request's last byte.
    """

    ttft_ms: float = amount(50.0, 0, _HOUR_MS)
    """From the arrival of the request to the first chunk with text."""
    itl_ms: float = amount(5.0, 0, _HOUR_MS)
    """Between successive chunks with text."""
    jitter_ms: float = amount(0.0, 0, _HOUR_MS)
    """Each chunk with text is moved by up to this much, either way; never before the one ahead of it."""
    seed: int | None = count(None, 0, 2**63)
    """Of the jitter and of wrong answers; the n-th request to a server meets the same ones in every run.  None: 0 for
    what goes by requests; which prompts are answered wrongly is then drawn by each server when it starts, so that two
    servers are wrong about different ones.  Two with the same seed are wrong about the same."""
    tokens: int = count(64, 0, _MOST_TOKENS)
    """Tokens of the answer, beside the reasoning; a request's ``max_tokens`` limits both together."""
    tokens_per_chunk: int = count(1, 1, _MOST_TOKENS)
    chunks_per_send: int = count(1, 1, 1000)
    """Chunks with text that go out in one send, when the first of them is due."""
    chars_per_token: int = count(4, 1, 10_000)
    text: str = label("", 1 << 20)
    """Text of the answer, repeated as needed; empty: numbered tokens."""
    repeat_text: bool = True
    """False: the text once, however many ``tokens``; so are the texts of known answers."""
    calls: tuple[PlayedCall, ...] | None = None
    """Tool calls in place of the text, where a request has tools; empty: the text is right although there are some."""
    call_form: CallForm = "tool_calls"
    """``function_call``: the older form, which holds one call."""
    call_split: CallSplit = "even"
    """How the arguments are streamed: whole, with the name; in pieces of a token; in pieces of any length."""
    wrong_share: float = amount(0.0, 0, 1)
    """The chance that ``wrong_text`` is answered instead, or one of ``wrong_calls`` is played."""
    busy_wrong_share: float | None = amount(None, 0, 1)
    """That chance for a request that comes while others are under way: a server that errs under load.  None: the same.
    Which requests that are depends on the load, so that only a single stream meets the same ones in every run."""
    busy_from: int = count(2, 2, 100_000)
    """Requests under way, this one included, from which on the server is busy."""
    wrong_text: str = label("wrong ", 1 << 20)
    wrong_by: WrongBy = "request"
    """Whose chance it is: each request's own, or each prompt's, whose repeats are then all answered alike.  A prefix of
    nine digits is no part of a prompt."""
    wrong_calls: tuple[str, ...] = MISTAKES
    """Ways to be wrong about tool calls, one of them drawn: another ``name``, other ``arguments``, ``broken`` JSON of
    arguments, the calls as JSON in the ``text``, or a text where calls are ``missing``.  Where no call is right, there
    is one.  Only where they are named: a ``needless`` call or a ``repeated`` one beside the right ones, or in a turn of
    its own where there are several turns; ``endless``: the last call again in each further turn."""
    stall_every_tokens: int = count(0, 0, _MOST_TOKENS)
    """After each so many tokens comes a pause of ``stall_ms`` on top; 0: never."""
    stall_ms: float = amount(0.0, 0, _HOUR_MS)
    role_chunk: RoleChunk = "early"
    """``early``: a role-only chunk at once, before prefill; ``with_first``: a role-only chunk in the same send as the
    first text; ``every``: the role stands in every chunk; ``none``: no role anywhere."""
    role_content_null: bool = False
    """The role-only chunk has ``content: null`` in place of ``""``."""
    head: Head = "early"
    """When the response head is sent; an early role chunk brings it along."""
    reasoning_tokens: int = count(0, 0, _MOST_TOKENS)
    """Tokens of reasoning before the answer."""
    reasoning_field: ReasoningField = "reasoning_content"
    """``think``: inside ``<think>`` in the content."""
    usage: Usage = "extra_chunk"
    """Where ``usage`` stands when the request requires it: an extra chunk with ``choices: []``, the finish chunk, an
    extra chunk with an empty delta, nowhere, or an extra chunk of zeros."""
    usage_null_elsewhere: bool = False
    """Every other chunk carries ``usage: null``."""
    cached_tokens: int = count(0, 0, 10_000_000)
    """Prompt tokens said to come from a cache."""
    timings: bool = False
    """llama.cpp's ``timings`` on the usage chunk, or else on the finish chunk."""
    timings_factor: float = amount(1.0, 0, 1000)
    """What the times in ``timings`` are multiplied by: a server that is wrong about itself."""
    tail_ms: float | None = amount(None, 0, _HOUR_MS)
    """From the last chunk with text to the finish chunk; None: one ``itl_ms``, as the end-of-text token takes."""
    done_marker: bool = True
    """``data: [DONE]`` ends the stream."""
    model_echo: str | None = label(None, 10_000)
    """The model named in the answer; None: the requested one."""
    framing: Framing = "chunked"
    """Of streams: chunked, ``Content-Length``, or HTTP/1.0 ended by closing the connection."""
    body_framing: Framing = "length"
    """Of answers that don't stream."""
    line_end: LineEnd = "lf"
    comment_every_ms: float = amount(0.0, 0, _HOUR_MS)
    """A keep-alive comment each so often until the last text; 0: none."""
    bom: bool = False
    """The stream starts with a byte order mark."""
    event_lines: bool = False
    """An ``event:`` line before each ``data:``."""
    multi_line: bool = False
    """Each event's JSON is spread over several ``data:`` lines."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", calls_of(self.calls, "schedule.calls"))
        object.__setattr__(self, "wrong_calls", mistakes_of(self.wrong_calls, "schedule.wrong_calls"))
        check(self, "schedule")
        chunk_bytes = self.chars_per_token * self.tokens_per_chunk * 4 + _CHUNK_OVERHEAD_BYTES
        answer_bytes = (self.tokens + self.reasoning_tokens) // self.tokens_per_chunk * chunk_bytes
        if answer_bytes > _MOST_ANSWER_BYTES:
            raise OptionError(f"schedule: an answer of {answer_bytes >> 20} MB is too long, expected 64 MB at most")


class FaultKind(StrEnum):
    """Kinds of faults in an answer."""

    REFUSE = "refuse"
    """The server's own: nothing listens, or, with ``reset``, every connection is reset as soon as it is accepted.
    A request's own: its connection is reset without one byte."""
    HANG_BEFORE_HEADERS = "hang_before_headers"
    HANG_BEFORE_FIRST_TOKEN = "hang_before_first_token"
    STALL = "stall"
    """Silence after ``after_tokens``."""
    CUT = "cut"
    """The connection ends in the middle of a chunk."""
    TRUNCATE = "truncate"
    """A clean end without ``finish_reason``; with ``done_marker``, ``[DONE]`` is sent all the same."""
    GARBAGE = "garbage"
    """Something that is no event, then a clean end."""
    ERROR_EVENT = "error_event"
    """``data: {"error": …}``, then a clean end."""
    HTTP_ERROR = "http_error"
    SLOW_DRIP = "slow_drip"
    """The whole answer in sends of ``drip_bytes``, ``drip_ms`` apart."""
    EARLY_DONE = "early_done"
    """``[DONE]`` after ``after_tokens``; the rest of the answer follows it."""
    EMPTY_STREAM = "empty_stream"
    """Status 200 and a clean end, no event."""
    NEVER_ENDS = "never_ends"
    """Chunks with text until the client goes; ``max_tokens`` is not heeded."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault to inject; each kind reads only its own fields."""

    kind: FaultKind
    after_tokens: int = count(3, 0, 1_000_000)
    """stall, cut, truncate, garbage, error_event, early_done: so many tokens come first, reasoning counted."""
    hang_ms: float | None = amount(None, 0, _HOUR_MS)
    """hang_*, stall: the silence's length, after which the answer goes on; None: until the client goes."""
    reset: bool = False
    """refuse, cut: RST in place of FIN (or of a port where nothing listens)."""
    done_marker: bool = False
    """truncate, garbage, error_event: ``[DONE]`` is sent before the end."""
    garbage: Garbage = "line"
    """``json``: a ``data:`` line that is not JSON; ``line``: an error text without ``data:``; ``bytes``: no UTF-8."""
    status: int = count(500, 200, 599)
    """http_error."""
    body: ErrorBody = "json"
    """http_error: ``{"error": {"message", "type", "code"}}``, ``{"error": "text"}``, ``{"detail": […]}``, a page, …"""
    message: str = label("The reference server was told to fail", 1 << 20)
    """http_error, error_event: the message; garbage of a line: the line, where it isn't this default."""
    code: str | None = label(None, 1000)
    """http_error, error_event: ``code`` (and ``type``) of the error."""
    retry_after_s: int | None = count(None, 0, 86_400)
    """http_error: the ``Retry-After`` header."""
    drip_ms: float = amount(1.0, 0, _HOUR_MS)
    drip_bytes: int = count(1, 1, 1 << 20)
    every: int = count(1, 1, 1_000_000)
    """The server's own: only each so-many-th request meets the fault."""
    first: int | None = count(None, 0, 1_000_000_000)
    """The server's own: only the first so many requests meet the fault."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", FaultKind(self.kind))
        except ValueError:
            kinds = ", ".join(FaultKind)
            raise OptionError(f"fault.kind: expected one of {kinds}, found {ascii(self.kind)[:60]}") from None
        check(self, "fault")

    def meets(self, number: int) -> bool:
        """Whether the server's ``number``-th request (from 1) gets this fault."""
        return number % self.every == 0 and (self.first is None or number <= self.first)

    @classmethod
    def from_json(cls, given: object) -> Fault:
        """Parse a fault: a kind's name, or an object with ``kind``."""
        if isinstance(given, str):
            return preset_fault(given)
        if isinstance(given, Mapping) and isinstance(given.get("kind"), str):
            rest = {key: value for key, value in given.items() if key != "kind"}
            return overridden(preset_fault(given["kind"]), rest, "fault")
        raise OptionError("fault: expected a name or an object with the key 'kind'")


_PRESETS: Final[Mapping[str, Fault]] = {
    **{kind.value.replace("_", "-"): Fault(kind) for kind in FaultKind},
    "cut-reset": Fault(FaultKind.CUT, reset=True),
    "truncate-done": Fault(FaultKind.TRUNCATE, done_marker=True),
    "garbage-json": Fault(FaultKind.GARBAGE, garbage="json"),
    "garbage-bytes": Fault(FaultKind.GARBAGE, garbage="bytes"),
    "http-429": Fault(FaultKind.HTTP_ERROR, status=429, message="Too many requests", retry_after_s=1),
    "http-html": Fault(FaultKind.HTTP_ERROR, status=502, body="html", message="Bad Gateway"),
    "context-exceeded": Fault(
        FaultKind.HTTP_ERROR,
        status=400,
        message="This request exceeds the model's maximum context length",
        code="exceed_context_size_error",
    ),
    "model-not-found": Fault(
        FaultKind.HTTP_ERROR, status=404, message="The model does not exist", code="model_not_found"
    ),
}


def preset_names() -> tuple[str, ...]:
    """Fault names for models called ``reference-fault-<name>``.

    ``http-<status>`` is understood too.
    """
    return tuple(_PRESETS)


def preset_fault(name: str) -> Fault:
    """Fault by preset name, with dashes or underscores."""
    dashed = name.replace("_", "-")
    if dashed in _PRESETS:
        return _PRESETS[dashed]
    if re.fullmatch(r"http-[2-5][0-9][0-9]", dashed, re.ASCII):
        return Fault(FaultKind.HTTP_ERROR, status=int(dashed[5:]))
    raise OptionError(f"fault: expected one of {', '.join(_PRESETS)} or http-<status>, found {ascii(name)[:60]}")


@dataclass(frozen=True, slots=True)
class ReferenceConfig:
    """Settings of a reference server."""

    schedule: Schedule = Schedule()
    """Of requests that don't say otherwise."""
    fault: Fault | None = None
    """Of requests that don't say otherwise."""
    host: Host = "127.0.0.1"
    """Loopback only, on purpose: requests command faults."""
    port: int = count(0, 0, 65_535)
    """0: the system chooses."""
    models: tuple[str, ...] = ("reference",)
    """Names that are served, beside ``reference-fault-<name>``."""
    strict: bool = True
    """An unknown model is answered with 404; otherwise it is served like the first."""
    answers: tuple[KnownAnswer, ...] = ()
    """Right answers by prompt; to other prompts the schedule's text or calls are right."""
    judge: JudgeBias | None = None
    """It judges where ``flperf judge`` asks for a verdict; None: it answers as to any other prompt."""
    max_connections: int = count(8192, 1, 1_000_000)
    log_file: str | None = label(None, 4096)
    """Finished requests are appended to it, one JSON object a line."""
    cert_file: str | None = label(None, 4096)
    """With it (PEM), the server speaks TLS, and its arrival stamps are the user's, not the kernel's."""
    key_file: str | None = label(None, 4096)

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", answers_of(self.answers, "config.answers"))
        object.__setattr__(self, "judge", judge_bias_of(self.judge))
        check(self, "config")
        if not self.models or not all(isinstance(name, str) for name in self.models):
            raise OptionError("config.models: expected at least one name")

    def to_json(self) -> dict[str, Any]:
        """JSON object, as :meth:`from_json` takes it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, given: object) -> ReferenceConfig:
        """Parse settings from a JSON object; absent keys get defaults."""
        if not isinstance(given, Mapping):
            raise OptionError("config: expected an object")
        fields: dict[str, Any] = dict(given)
        if "schedule" in fields:
            fields["schedule"] = overridden(Schedule(), fields["schedule"], "schedule")
        if fields.get("fault") is not None:
            fields["fault"] = Fault.from_json(fields["fault"])
        if isinstance(fields.get("models"), list):
            fields["models"] = tuple(fields["models"])
        return overridden(cls(), fields, "config")
