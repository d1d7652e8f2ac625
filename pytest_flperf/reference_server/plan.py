"""Answer plans: bytes built once, split into sends with due times."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from enum import Enum
from http import HTTPStatus
from typing import Final

from pytest_flperf.reference_server.events import (
    CONTENT_KINDS,
    ID_MARK,
    PROMPT_MARK,
    TOTAL_MARK,
    Ask,
    Event,
    body_text,
    stream_events,
)
from pytest_flperf.reference_server.options import Fault, FaultKind, Framing, Schedule

__all__ = ["AnswerPlan", "Ending", "PlanTooLargeError", "chat_plan", "error_plan", "jittered", "json_plan"]

_MS: Final = 1_000_000
_MOST_DRIPS: Final = 1_000_000
_ID: Final = ID_MARK.encode()
_PROMPT: Final = PROMPT_MARK.encode()
_TOTAL: Final = TOTAL_MARK.encode()
_BOM: Final = b"\xef\xbb\xbf"


class PlanTooLargeError(ValueError):
    """The answer would be too large to build."""


class Ending(Enum):
    """Action after an answer's last send."""

    KEEP = "the connection serves the next request"
    CLOSE = "FIN"
    RESET = "RST"
    HANG = "silence, until the client goes"
    LOOP = "its chunks with text once more"


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """Answer plan: bytes and due time of each send.

    The tuples have one entry for each send.
    """

    status: int
    """0: no response at all."""
    parts: tuple[bytes, ...]
    """All bytes, split where the request's number belongs; with marks for its prompt's size."""
    counted: bool
    """There are such marks."""
    cuts: tuple[slice, ...]
    """Each send's part of the bytes."""
    due_ns: tuple[int, ...]
    """After the arrival of the request's last byte."""
    kinds: tuple[str, ...]
    """Names of what each send holds, joined by ``+``."""
    chunks: tuple[int, ...]
    """Chunks with text whose last byte is in each send."""
    ending: Ending
    tokens: int = 0
    """Completion tokens in all."""
    loop_from: int = 0
    loop_ns: int = 0
    """Where a LOOP begins again, and how much later its sends are due each time."""

    def bytes_for(self, number: int, prompt_tokens: int) -> bytes:
        """Answer bytes for one request."""
        blob = (b"%08d" % (number % 10**8)).join(self.parts)
        if self.counted:
            blob = blob.replace(_PROMPT, b"%10d" % prompt_tokens)
            blob = blob.replace(_TOTAL, b"%10d" % (prompt_tokens + self.tokens))
        return blob


@dataclass(slots=True)
class _Send:
    kinds: str
    data: bytes
    due_ns: int
    chunks: int


def jittered(plan: AnswerPlan, schedule: Schedule, number: int) -> tuple[int, ...]:
    """Due times with the jitter of the server's ``number``-th request."""
    if not schedule.jitter_ms:
        return plan.due_ns
    rng = random.Random(f"{schedule.seed or 0}:{number}")  # noqa: S311
    reach = schedule.jitter_ms * _MS
    out, latest = [], 0
    for due_ns, chunks in zip(plan.due_ns, plan.chunks, strict=True):
        moved = due_ns + round(rng.uniform(-reach, reach)) if chunks else due_ns
        latest = max(latest, moved)
        out.append(latest)
    return tuple(out)


def _head(status: int, framing: Framing, length: int, content_type: str, *, close: bool, extra: str = "") -> bytes:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    version = "1.0" if framing == "close" else "1.1"
    lines = [f"HTTP/{version} {status} {reason}", f"Content-Type: {content_type}", "Server: flperf-reference"]
    if framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    elif framing == "length":
        lines.append(f"Content-Length: {length}")
    lines.append(f"Connection: {'close' if close or framing == 'close' else 'keep-alive'}")
    return ("\r\n".join(lines) + extra + "\r\n\r\n").encode("latin-1")


def _built(status: int, sends: list[_Send], ending: Ending, tokens: int = 0) -> AnswerPlan:
    cuts, start = [], 0
    blob = b"".join(send.data for send in sends)
    for send in sends:
        cuts.append(slice(start, start + len(send.data)))
        start += len(send.data)
    return AnswerPlan(
        status=status,
        parts=tuple(blob.split(_ID)),
        counted=_PROMPT in blob,
        cuts=tuple(cuts),
        due_ns=tuple(send.due_ns for send in sends),
        kinds=tuple(send.kinds for send in sends),
        chunks=tuple(send.chunks for send in sends),
        ending=ending,
        tokens=tokens,
    )


def json_plan(
    status: int, text: str, *, close: bool = False, kind: str = "application/json", extra: str = ""
) -> AnswerPlan:
    """Plan of a JSON answer, sent at once."""
    body = text.encode("utf-8", "replace")
    bodiless = status in (204, 304)
    head = _head(status, "length", len(body), kind, close=close, extra=extra)
    data = head if bodiless else head + body
    return _built(status, [_Send("head+body", data, 0, 0)], Ending.CLOSE if close else Ending.KEEP)


def error_plan(fault: Fault, *, close: bool = False) -> AnswerPlan:
    """Plan of an ``http_error`` answer."""
    extra = f"\r\nRetry-After: {fault.retry_after_s}" if fault.retry_after_s is not None else ""
    kind = "application/json"
    match fault.body:
        case "json":
            error_type = fault.code or ("invalid_request_error" if fault.status < 500 else "server_error")
            text = json.dumps(
                {"error": {"message": fault.message, "type": error_type, "code": fault.code or fault.status}}
            )
        case "json_text":
            text = json.dumps({"error": fault.message})
        case "detail":
            text = json.dumps(
                {"detail": [{"loc": ["body"], "msg": fault.message, "type": fault.code or "value_error"}]}
            )
        case "html":
            kind = "text/html; charset=utf-8"
            title = f"{fault.status} {fault.message}"
            text = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
        case "plain":
            kind, text = "text/plain; charset=utf-8", fault.message
        case _:
            text = ""
    return json_plan(fault.status, text, close=close, kind=kind, extra=extra)


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _grouped(events: list[Event], framing: Framing) -> list[_Send]:
    sends: list[_Send] = []
    for event in events:
        data = _chunked(event.data) if framing == "chunked" else event.data
        content = int(event.kind in CONTENT_KINDS)
        if event.joins and sends:
            last = sends[-1]
            sends[-1] = _Send(f"{last.kinds}+{event.kind}", last.data + data, last.due_ns, last.chunks + content)
        else:
            sends.append(_Send(event.kind, data, event.due_ns, content))
    return sends


def _dripped(sends: list[_Send], fault: Fault) -> list[_Send]:
    step, pause_ns = fault.drip_bytes, round(fault.drip_ms * _MS)
    if sum(len(send.data) // step + 1 for send in sends) > _MOST_DRIPS:
        raise PlanTooLargeError(
            f"a slow drip of more than {_MOST_DRIPS} sends; raise drip_bytes or ask for fewer tokens"
        )
    out: list[_Send] = []
    for send in sends:
        for start in range(0, len(send.data), step):
            due_ns = max(send.due_ns, out[-1].due_ns + pause_ns) if out else send.due_ns
            last = start + step >= len(send.data)
            piece = send.data[start : start + step]
            out.append(_Send(send.kinds if last else "drip", piece, due_ns, send.chunks if last else 0))
    return out


def chat_plan(schedule: Schedule, ask: Ask, fault: Fault | None, *, old_http: bool, close: bool) -> AnswerPlan:
    """Plan of a chat completion.

    ``old_http``: the request was HTTP/1.0, ``close``: it wants no keep-alive.
    """
    kind = None if fault is None else fault.kind
    if fault is not None:
        if kind is FaultKind.REFUSE:
            return _built(0, [], Ending.RESET)
        if kind is FaultKind.HTTP_ERROR:
            return error_plan(fault, close=close or old_http)
    build = _stream_plan if ask.stream else _body_plan
    framing = schedule.framing if ask.stream else schedule.body_framing
    if old_http and framing == "chunked":
        framing = "close"
    if kind is FaultKind.NEVER_ENDS and framing == "length":
        framing = "chunked"
    plan = build(schedule, ask, fault, framing, close=close or old_http)
    if fault is None or kind not in (FaultKind.HANG_BEFORE_HEADERS, FaultKind.HANG_BEFORE_FIRST_TOKEN):
        return plan
    return _hung(plan, fault)


def _hung(plan: AnswerPlan, fault: Fault) -> AnswerPlan:
    """Plan with a silence before its head or its first text.

    The silence lasts for good, or for ``hang_ms``.
    """
    if fault.kind is FaultKind.HANG_BEFORE_HEADERS:
        start = 0
    else:
        content = [n for n, kinds in enumerate(plan.kinds) if plan.chunks[n] or "body" in kinds]
        start = content[0] if content else len(plan.kinds)
    if fault.hang_ms is None:
        return _part(plan, start, Ending.HANG)
    extra_ns = round(fault.hang_ms * _MS)
    due_ns = tuple(due + extra_ns if n >= start else due for n, due in enumerate(plan.due_ns))
    return replace(plan, due_ns=due_ns)


def _part(plan: AnswerPlan, sends: int, ending: Ending) -> AnswerPlan:
    """First sends of a plan; the bytes behind them are never sent."""
    return replace(
        plan,
        cuts=plan.cuts[:sends],
        due_ns=plan.due_ns[:sends],
        kinds=plan.kinds[:sends],
        chunks=plan.chunks[:sends],
        ending=ending,
    )


def _half(send: _Send) -> _Send:
    return _Send("cut", send.data[: max(1, len(send.data) // 2)], send.due_ns, 0)


def _stream_plan(schedule: Schedule, ask: Ask, fault: Fault | None, framing: Framing, *, close: bool) -> AnswerPlan:
    content, tail, comments = stream_events(schedule, ask, fault)
    kind = None if fault is None else fault.kind
    events = [*content, *tail]
    sends = _grouped(events, framing)
    if schedule.bom and sends:
        sends = _grouped(
            [Event(events[0].kind, _BOM + events[0].data, events[0].due_ns, events[0].tokens), *events[1:]], framing
        )
    ending = Ending.CLOSE if close or framing == "close" else Ending.KEEP
    stops = kind is FaultKind.CUT or (kind is FaultKind.STALL and fault is not None and fault.hang_ms is None)
    length = sum(len(send.data) for send in sends)
    if stops:
        inside = sends.pop()
        if kind is FaultKind.CUT and fault is not None:
            sends.append(_half(inside))
            ending = Ending.RESET if fault.reset else Ending.CLOSE
        else:
            ending = Ending.HANG
    comment_sends = _grouped(comments, framing)
    length += sum(len(send.data) for send in comment_sends)
    if comment_sends:
        if stops:
            comment_sends = [send for send in comment_sends if not sends or send.due_ns < sends[-1].due_ns]
        # the sort is stable: of two that are due together, the comment goes first
        sends = sorted([*comment_sends, *sends], key=lambda send: send.due_ns)
    if not stops and kind is not FaultKind.NEVER_ENDS and framing == "chunked":
        end_due_ns = sends[-1].due_ns if sends else 0
        _append_end(sends, _Send("end", b"0\r\n\r\n", end_due_ns, 0))
    head = _head(200, framing, length, "text/event-stream; charset=utf-8", close=close)
    sends = _with_head(schedule, sends, head, fault)
    if fault is not None and kind is FaultKind.SLOW_DRIP:
        sends = _dripped(sends, fault)
    plan = _built(200, sends, ending, sum(event.tokens for event in content))
    if kind is FaultKind.NEVER_ENDS:
        return _looped(plan, schedule)
    return plan


def _append_end(sends: list[_Send], end: _Send) -> None:
    """Append the last chunk to the tail, or as its own send."""
    if sends and not sends[-1].chunks and sends[-1].kinds != "role":
        last = sends[-1]
        sends[-1] = _Send(f"{last.kinds}+{end.kinds}", last.data + end.data, last.due_ns, last.chunks)
    else:
        sends.append(end)


def _with_head(schedule: Schedule, sends: list[_Send], head: bytes, fault: Fault | None) -> list[_Send]:
    hangs_after = fault is not None and fault.kind is FaultKind.HANG_BEFORE_FIRST_TOKEN
    if not sends:
        return [_Send("head", head, 0, 0)]
    first = sends[0]
    together = first.due_ns == 0 or schedule.head == "with_first"
    if together and not (hangs_after and first.chunks):
        return [_Send(f"head+{first.kinds}", head + first.data, first.due_ns, first.chunks), *sends[1:]]
    return [_Send("head", head, 0, 0), *sends]


def _looped(plan: AnswerPlan, schedule: Schedule) -> AnswerPlan:
    first = next(n for n, chunks in enumerate(plan.chunks) if chunks)
    itl_ns = round(schedule.itl_ms * _MS)
    return replace(
        plan,
        ending=Ending.LOOP,
        loop_from=first,
        # endless text at no interval at all would leave no time for anything else
        loop_ns=max(plan.due_ns[-1] - plan.due_ns[first] + itl_ns, (len(plan.due_ns) - first) * 10_000),
    )


def _body_plan(schedule: Schedule, ask: Ask, fault: Fault | None, framing: Framing, *, close: bool) -> AnswerPlan:
    text, due_ns, tokens = body_text(schedule, ask, fault)
    kind = None if fault is None else fault.kind
    if fault is not None and kind is FaultKind.GARBAGE:
        text = f"proxy error: {fault.message}"
    elif fault is not None and kind is FaultKind.ERROR_EVENT:
        text = json.dumps(
            {"error": {"message": fault.message, "type": fault.code or "server_error", "code": fault.code}}
        )
    elif kind is FaultKind.EMPTY_STREAM:
        text = ""
    body = text.encode()
    framed = (_chunked(body) if body else b"") + b"0\r\n\r\n" if framing == "chunked" else body
    head = _head(200, framing, len(body), "application/json", close=close)
    ending = Ending.CLOSE if close or framing == "close" else Ending.KEEP
    sends = [_Send("head+body", head + framed, due_ns, 0)]
    match kind:
        case FaultKind.CUT if fault is not None:
            sends = [_Send("head+cut", head + framed[: len(framed) // 2], due_ns, 0)]
            ending = Ending.RESET if fault.reset else Ending.CLOSE
        case FaultKind.STALL if fault is not None:
            half = len(framed) // 2
            sends = [_Send("head+cut", head + framed[:half], due_ns, 0)]
            if fault.hang_ms is None:
                ending = Ending.HANG
            else:
                sends.append(_Send("body", framed[half:], due_ns + round(fault.hang_ms * _MS), 0))
        case FaultKind.HANG_BEFORE_FIRST_TOKEN | FaultKind.NEVER_ENDS:
            sends = [_Send("head", head, 0, 0), _Send("body", framed, due_ns, 0)]
            if kind is FaultKind.NEVER_ENDS:
                sends, ending = sends[:1], Ending.HANG
        case FaultKind.SLOW_DRIP if fault is not None:
            sends = _dripped(sends, fault)
        case _:
            pass
    return _built(200, sends, ending, tokens)
