"""Server-sent events of an answer, and their due times.

These are the parts of an answer before HTTP frames them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from pytest_flperf.reference_server.options import Fault, FaultKind, Schedule
from pytest_flperf.reference_server.pieces import (
    ID_MARK,
    Piece,
    call_message,
    call_pieces,
    cut_to,
    text_pieces,
    with_ids,
)

__all__ = ["CONTENT_KINDS", "ID_MARK", "PROMPT_MARK", "TOTAL_MARK", "Ask", "Event", "body_text", "stream_events"]

# An answer's bytes are built once and used by many requests, which put their own number and prompt size over these
# marks; JSON never holds control characters, so a mark can't be part of a text.  Their widths make all answers of a
# plan equally long (JSON allows blanks before a number).
PROMPT_MARK: Final = "\x02" * 10
TOTAL_MARK: Final = "\x03" * 10

CONTENT_KINDS: Final = frozenset({"text", "reasoning", "call"})
_MS: Final = 1_000_000
_CREATED: Final = 1_700_000_000
_MOST_COMMENTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Ask:
    """Request parameters that determine the answer's bytes."""

    model: str
    """As echoed."""
    stream: bool
    include_usage: bool
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """Part of an answer."""

    kind: str
    """role, reasoning, text, call, finish, usage, done, comment, error, garbage."""
    data: bytes
    due_ns: int
    """After the arrival of the request's last byte."""
    tokens: int = 0
    joins: bool = False
    """It goes out in the same send as the event before it."""


def _dump(value: Any, *, text: bool = False) -> str:
    return json.dumps(value, ensure_ascii=not text, separators=(",", ":"))


def _usage_json(schedule: Schedule, reasoning: int, completion: int) -> str:
    """Usage object as JSON, with marks in it."""
    if schedule.usage == "zeros":
        return _dump({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
    return (
        f'{{"prompt_tokens":{PROMPT_MARK},"completion_tokens":{completion},"total_tokens":{TOTAL_MARK},'
        f'"prompt_tokens_details":{{"cached_tokens":{schedule.cached_tokens}}},'
        f'"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}'
    )


class _Writer:
    """Writes the events of one answer."""

    def __init__(self, schedule: Schedule, ask: Ask, *, endless: bool) -> None:
        self.schedule = schedule
        self.ask = ask
        limit = None if endless else ask.max_tokens
        self.calls = [] if endless else call_pieces(schedule)
        answer = sum(piece.tokens for piece in self.calls) if self.calls else _text_tokens(schedule)
        wanted = schedule.reasoning_tokens + (max(1, answer) if endless else answer)
        total = wanted if limit is None else min(wanted, limit)
        self.reasoning = min(schedule.reasoning_tokens, total)
        if self.calls:  # a piece is not cut, so that there may be some tokens more than the limit
            self.calls = cut_to(self.calls, total - self.reasoning)
            self.answer = sum(piece.tokens for piece in self.calls)
        else:
            self.answer = total - self.reasoning
        self.finish_reason = "length" if limit is not None and limit <= wanted else _finish_reason(schedule, endless)
        self.line_end = "\r\n" if schedule.line_end == "crlf" else "\n"
        self.usage = _usage_json(schedule, self.reasoning, self.reasoning + self.answer) if ask.include_usage else ""
        self.head = (
            f'{{"id":"ref-{ID_MARK}","object":"chat.completion.chunk","created":{_CREATED},'
            f'"model":{_dump(ask.model)},"choices":'
        )

    def pieces(self) -> list[Piece]:
        """Chunks of the answer, the reasoning first."""
        thought = list(text_pieces(self.schedule, "reasoning", self.reasoning))
        if self.schedule.reasoning_field == "think" and thought:
            thought[0] = replace(thought[0], text=f"<think>{thought[0].text}")
            thought[-1] = replace(thought[-1], text=f"{thought[-1].text}</think>")
        return thought + (self.calls or list(text_pieces(self.schedule, "text", self.answer)))

    def chunk(self, choices: str, usage: str = "", timings: str = "") -> str:
        """JSON of a chunk."""
        if not usage and self.schedule.usage_null_elsewhere and self.usage:
            usage = "null"
        tail = (f',"usage":{usage}' if usage else "") + (f',"timings":{timings}' if timings else "")
        return f"{self.head}{choices}{tail}}}"

    def event(self, data: str) -> bytes:
        """Server-sent event."""
        end = self.line_end
        name = f"event: message{end}" if self.schedule.event_lines else ""
        if self.schedule.multi_line:
            # only ahead of these names: elsewhere ,\" may be the end of a text
            for key in (',"object":', ',"choices":'):
                data = data.replace(key, f",{end}data: {key[1:]}", 1)
        return f"{name}data: {data}{end}{end}".encode()

    def delta(self, delta: str, finish_reason: str | None = None) -> str:
        """Choices list with one delta."""
        return f'[{{"index":0,"delta":{delta},"finish_reason":{_dump(finish_reason)}}}]'

    def timings(self, due_ns: int) -> str:
        """Timings object as llama.cpp sends it."""
        total = self.reasoning + self.answer
        factor, ttft_ms = self.schedule.timings_factor, self.schedule.ttft_ms
        prompt_ms, predicted_ms = round(factor * ttft_ms, 3), round(factor * (due_ns / _MS - ttft_ms), 3)
        return (
            f'{{"prompt_n":{PROMPT_MARK},"prompt_ms":{prompt_ms},"predicted_n":{total},'
            f'"predicted_ms":{predicted_ms},"cache_n":{self.schedule.cached_tokens}}}'
        )


def _text_tokens(schedule: Schedule) -> int:
    """Tokens of the text; of one that is said once, as many as it has."""
    if schedule.repeat_text or not schedule.text:
        return schedule.tokens
    return -(-len(schedule.text) // schedule.chars_per_token)


def _finish_reason(schedule: Schedule, endless: bool) -> str:
    if not schedule.calls or endless:
        return "stop"
    return "function_call" if schedule.call_form == "function_call" else "tool_calls"


def _dues(schedule: Schedule, pieces: list[Piece]) -> list[int]:
    """Due time of each text chunk."""
    dues: list[int] = []
    tokens = pause_ns = 0
    ttft_ns, itl_ns = round(schedule.ttft_ms * _MS), round(schedule.itl_ms * _MS)
    for index, piece in enumerate(pieces):
        lead = index - index % schedule.chunks_per_send
        every = schedule.stall_every_tokens
        if every:
            pause_ns = tokens // every * round(schedule.stall_ms * _MS)
        joins = index != lead
        dues.append(dues[-1] if joins else ttft_ns + lead * itl_ns + pause_ns)
        tokens += piece.tokens
    return dues


def _content(writer: _Writer) -> list[Event]:
    schedule = writer.schedule
    pieces = writer.pieces()
    events: list[Event] = []
    every_role = '"role":"assistant",' if schedule.role_chunk == "every" else ""
    for index, (piece, due_ns) in enumerate(zip(pieces, _dues(schedule, pieces), strict=True)):
        is_thought = piece.kind == "reasoning" and schedule.reasoning_field != "think"
        named = schedule.reasoning_field if is_thought else "content"
        members = with_ids(piece.delta) or f'"{named}":{_dump(piece.text, text=True)}'
        data = writer.event(writer.chunk(writer.delta(f"{{{every_role}{members}}}")))
        events.append(Event(piece.kind, data, due_ns, piece.tokens, joins=index % schedule.chunks_per_send != 0))
    return events


def _role(writer: _Writer, due_ns: int) -> Event:
    content = "null" if writer.schedule.role_content_null else '""'
    data = writer.event(writer.chunk(writer.delta(f'{{"role":"assistant","content":{content}}}')))
    return Event("role", data, due_ns)


def _tail(writer: _Writer, last_due_ns: int) -> list[Event]:
    """Finish chunk, usage and ``[DONE]``, in one send."""
    schedule = writer.schedule
    tail_ms = schedule.itl_ms if schedule.tail_ms is None else schedule.tail_ms
    due_ns = last_due_ns + round(tail_ms * _MS)
    usage = writer.usage if schedule.usage != "absent" else ""
    timings = writer.timings(last_due_ns) if schedule.timings else ""
    apart = bool(usage) and schedule.usage != "finish_chunk"
    finish = writer.chunk(
        writer.delta("{}", writer.finish_reason), "" if apart else usage, "" if apart and usage else timings
    )
    events = [Event("finish", writer.event(finish), due_ns)]
    if apart:
        choices = writer.delta("{}") if schedule.usage == "empty_delta" else "[]"
        events.append(Event("usage", writer.event(writer.chunk(choices, usage, timings)), due_ns, joins=True))
    if schedule.done_marker:
        events.append(_done(writer, due_ns))
    return events


def _done(writer: _Writer, due_ns: int) -> Event:
    return Event("done", f"data: [DONE]{writer.line_end * 2}".encode(), due_ns, joins=True)


def _comments(schedule: Schedule, line_end: str, until_ns: int) -> list[Event]:
    every_ns = round(schedule.comment_every_ms * _MS)
    if not every_ns:
        return []
    times = range(every_ns, until_ns, every_ns)[:_MOST_COMMENTS]
    return [Event("comment", f": keepalive {n}{line_end * 2}".encode(), due) for n, due in enumerate(times, 1)]


def _faulty(writer: _Writer, fault: Fault, content: list[Event], tail: list[Event]) -> tuple[list[Event], list[Event]]:
    """Content and tail, changed by a fault.

    Faults that end a connection, or that never end, are the plan's work.
    """
    kept, tokens = 0, 0
    while kept < len(content) and tokens + content[kept].tokens <= fault.after_tokens:
        tokens += content[kept].tokens
        kept += 1
    due_ns = content[kept].due_ns if kept < len(content) else tail[0].due_ns
    done = [_done(writer, due_ns)] if fault.done_marker else []
    match fault.kind:
        case FaultKind.TRUNCATE:
            return content[:kept], [replace(event, joins=False) for event in done]
        case FaultKind.GARBAGE:
            return content[:kept], [Event("garbage", _garbage(writer, fault), due_ns), *done]
        case FaultKind.ERROR_EVENT:
            error = {"error": {"message": fault.message, "type": fault.code or "server_error", "code": fault.code}}
            return content[:kept], [Event("error", writer.event(_dump(error)), due_ns), *done]
        case FaultKind.EARLY_DONE:
            early = replace(_done(writer, due_ns), joins=False)
            rest = [replace(event, joins=event.joins and n > 0) for n, event in enumerate(content[kept:])]
            return [*content[:kept], early, *rest], tail
        case FaultKind.NEVER_ENDS:
            return content, []
        case FaultKind.STALL if fault.hang_ms is not None:
            extra_ns = round(fault.hang_ms * _MS)
            late = [replace(event, due_ns=event.due_ns + extra_ns) for event in content[kept:]]
            if late:
                late[0] = replace(late[0], joins=False)
            return [*content[:kept], *late], [replace(event, due_ns=event.due_ns + extra_ns) for event in tail]
        case FaultKind.STALL | FaultKind.CUT:
            # one extra event: the plan stops before it, or inside it
            after = content[kept : kept + 1] or tail[:1]
            return [*content[:kept], *(replace(event, joins=False) for event in after)], []
        case _:
            return content, tail


def _garbage(writer: _Writer, fault: Fault) -> bytes:
    match fault.garbage:
        case "json":
            return writer.event('{"id": "ref-garbage", "choices": [{"delta": {"content": "cut o')
        case "bytes":
            return b"data: \xff\xfe\x00\x80\xc3\x28" + writer.line_end.encode() * 2
        case _:
            default = Fault.__dataclass_fields__["message"].default
            line = "Failed to read connection" if fault.message == default else fault.message
            return f"proxy error: {line}".encode()


def stream_events(schedule: Schedule, ask: Ask, fault: Fault | None) -> tuple[list[Event], list[Event], list[Event]]:
    """Streamed answer: (role and content, tail, comments).

    Each is in order of time.
    """
    endless = fault is not None and fault.kind is FaultKind.NEVER_ENDS
    writer = _Writer(schedule, ask, endless=endless)
    content = _content(writer)
    last_due_ns = content[-1].due_ns if content else round(schedule.ttft_ms * _MS)
    tail = _tail(writer, last_due_ns)
    comments = _comments(schedule, writer.line_end, last_due_ns)
    if fault is not None:
        content, tail = _faulty(writer, fault, content, tail)
    empty = fault is not None and fault.kind is FaultKind.EMPTY_STREAM
    if empty:
        return [], [], []
    if schedule.role_chunk == "early":
        content = [_role(writer, 0), *content]
    elif schedule.role_chunk == "with_first" and content:
        content = [_role(writer, content[0].due_ns), replace(content[0], joins=True), *content[1:]]
    return content, tail, comments


def body_text(schedule: Schedule, ask: Ask, fault: Fault | None) -> tuple[str, int, int]:
    """Non-streamed answer: (JSON with marks, due time in ns, tokens)."""
    writer = _Writer(schedule, ask, endless=False)
    pieces = writer.pieces()
    dues = _dues(schedule, pieces)
    due_ns = dues[-1] if dues else round(schedule.ttft_ms * _MS)
    thought = "".join(piece.text for piece in pieces if piece.kind == "reasoning")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(piece.text for piece in pieces if piece.kind == "text"),
    }
    if writer.calls:
        message |= {"content": None, **call_message(schedule)}
    if thought and schedule.reasoning_field == "think":
        message["content"] = thought + (message["content"] or "")
    elif thought:
        message[schedule.reasoning_field] = thought
    truncated = fault is not None and fault.kind is FaultKind.TRUNCATE
    finish_reason = None if truncated else writer.finish_reason
    usage = (
        "" if schedule.usage == "absent" else _usage_json(schedule, writer.reasoning, writer.reasoning + writer.answer)
    )
    choices = f'[{{"index":0,"message":{with_ids(_dump(message, text=True))},"finish_reason":{_dump(finish_reason)}}}]'
    timings = f',"timings":{writer.timings(due_ns)}' if schedule.timings else ""
    text = (
        f'{{"id":"ref-{ID_MARK}","object":"chat.completion","created":{_CREATED},"model":{_dump(ask.model)},'
        f'"choices":{choices}{f",{chr(34)}usage{chr(34)}:{usage}" if usage else ""}{timings}}}'
    )
    return text, due_ns, writer.reasoning + writer.answer
