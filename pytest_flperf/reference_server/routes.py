"""Request routing: from a request to its answer plan."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from pytest_flperf.reference_server.checks import OptionError, overridden
from pytest_flperf.reference_server.events import Ask
from pytest_flperf.reference_server.http1 import Request
from pytest_flperf.reference_server.judge import JUDGE_DOWN, played_verdict
from pytest_flperf.reference_server.log import LogEntry
from pytest_flperf.reference_server.mistakes import Asked, drawn, plain_prompt
from pytest_flperf.reference_server.options import (
    FAULT_MODEL_PREFIX,
    Fault,
    ReferenceConfig,
    Schedule,
    preset_fault,
    preset_names,
)
from pytest_flperf.reference_server.plan import (
    AnswerPlan,
    PlanTooLargeError,
    chat_plan,
    error_plan,
    jittered,
    json_plan,
)

__all__ = ["OVERRIDE_KEY", "Chat", "Router"]

OVERRIDE_KEY: Final = "flperf_reference"
_PROMPT_HEAD_CHARS: Final = 64
_MOST_PLANS: Final = 128
_MOST_MODEL_CHARS: Final = 10_000
_MOST_CACHED_BYTES: Final = 1 << 20
_MOST_TOOLS: Final = 1_000
_CALL_ID: Final = re.compile(r"call_(\d{8})_", re.ASCII)
_LOG_ROUTE: Final = "/flperf/log"
_CHAT_ROUTE: Final = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Chat:
    """Parsed chat request: its answer plan and log fields."""

    number: int
    plan: AnswerPlan
    due_ns: tuple[int, ...]
    prompt_tokens: int
    prompt_head: str
    prompt_hash: str
    model: str
    stream: bool
    fault: str | None
    request_id: str | None


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.fault: Final = Fault("http_error", status=status, message=message[:2000], code=code)  # type: ignore[arg-type]


@dataclass(slots=True)
class _Understood:
    """Parsed part of a chat request.

    An early refusal leaves the rest at these defaults.
    """

    prompt: str = ""
    prompt_tokens: int = 0
    model: str = ""
    stream: bool = False


class Router:
    """Answers requests, and caches built plans."""

    def __init__(
        self,
        config: ReferenceConfig,
        entries: Callable[[], list[LogEntry]],
        clear: Callable[[], None],
        under_way: Callable[[], int],
    ) -> None:
        self.configure(config)
        self.own_seed = secrets.randbits(32)
        """Which prompts are answered wrongly, where the schedule has no seed."""
        self._entries = entries
        self._clear = clear
        self._under_way = under_way
        self._number = 0
        self._plans: OrderedDict[object, AnswerPlan] = OrderedDict()

    def configure(self, config: ReferenceConfig) -> None:
        """Use these settings for new requests."""
        self.config = config
        self._known = {each.prompt: each for each in config.answers}

    def answer(self, request: Request) -> AnswerPlan | Chat:
        """Answer a request; chats are separate because they are logged."""
        path, close = request.path, not request.keep_alive
        allowed: tuple[str, ...]
        if path == _CHAT_ROUTE:
            if request.method == "POST":
                return self._chat(request)
            allowed = ("POST",)
        elif path == "/v1/models":
            if request.method == "GET":
                return json_plan(200, self._models(), close=close)
            allowed = ("GET",)
        elif path == "/health":
            if request.method == "GET":
                return json_plan(200, '{"status":"ok"}', close=close)
            allowed = ("GET",)
        elif path == _LOG_ROUTE:
            if request.method == "GET":
                return json_plan(200, log_json(self._entries(), self.own_seed), close=close)
            if request.method == "DELETE":
                self._clear()
                return json_plan(200, '{"cleared":true}', close=close)
            allowed = ("GET", "DELETE")
        else:
            return error_plan(_RefusedError(404, f"no such path: {path[:200]}").fault, close=close)
        return json_plan(
            405,
            json.dumps({"error": {"message": "method not allowed", "type": "invalid_request_error", "code": 405}}),
            # what a HEAD is answered with may hold no body; closing says so
            close=close or request.method == "HEAD",
            extra=f"\r\nAllow: {', '.join(allowed)}",
        )

    def _models(self) -> str:
        names = [*self.config.models, *(FAULT_MODEL_PREFIX + name for name in preset_names())]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "pytest-flperf"} for name in names]
        return json.dumps({"object": "list", "data": data})

    def _chat(self, request: Request) -> Chat:
        self._number += 1
        number = self._number
        known = _Understood()
        schedule = self.config.schedule
        fault = self.config.fault if self.config.fault is not None and self.config.fault.meets(number) else None
        old_http, close = request.version == "1.0", not request.keep_alive
        try:
            body = _json_object(request.body)
            _understand(body, known)
            schedule, fault = self._wishes(body, known.model, schedule, fault)
            under_way = 1 if schedule.busy_wrong_share is None else 1 + self._under_way()
            asked = Asked(number, known.prompt, _tools(body), *_conversation(body["messages"]), under_way=under_way)
            schedule = drawn(schedule, self._known.get(plain_prompt(known.prompt)), asked, self.own_seed)
            schedule = self._judging(schedule, known.prompt)
            ask = Ask(
                model=known.model if schedule.model_echo is None else schedule.model_echo,
                stream=known.stream,
                include_usage=_include_usage(body),
                max_tokens=_max_tokens(body),
            )
            plan = self._plan(schedule, ask, fault, old_http=old_http, close=close)
            due_ns = jittered(plan, schedule, number)
        except _RefusedError as error:
            plan = error_plan(error.fault, close=close)
            due_ns, fault = plan.due_ns, None
        return Chat(
            number=number,
            plan=plan,
            due_ns=due_ns,
            prompt_tokens=known.prompt_tokens,
            prompt_head=known.prompt[:_PROMPT_HEAD_CHARS],
            prompt_hash=_prompt_hash(known.prompt),
            model=known.model,
            stream=known.stream,
            fault=None if fault is None else fault.kind.value,
            request_id=request.headers.get("x-request-id"),
        )

    def _wishes(
        self, body: dict[str, Any], model: str, schedule: Schedule, fault: Fault | None
    ) -> tuple[Schedule, Fault | None]:
        """Schedule and fault of a request.

        Its own come first, then the model's, then the server's.
        """
        try:
            if model.startswith(FAULT_MODEL_PREFIX):
                fault = preset_fault(model.removeprefix(FAULT_MODEL_PREFIX))
        except OptionError as error:
            if self.config.strict:
                raise _RefusedError(404, str(error), "model_not_found") from None
        else:
            known = model in self.config.models or model.startswith(FAULT_MODEL_PREFIX)
            if self.config.strict and not known:
                raise _RefusedError(404, f"The model {ascii(model)[:200]} does not exist", "model_not_found")
        given = body.get(OVERRIDE_KEY)
        if given is None:
            return schedule, fault
        if not isinstance(given, dict):
            raise _RefusedError(400, f"{OVERRIDE_KEY}: expected an object")
        wishes = dict(given)
        try:
            if "fault" in wishes:
                wish = wishes.pop("fault")
                fault = None if wish is None else Fault.from_json(wish)
            wishes.update(wishes.pop("schedule", {}))
            return (overridden(schedule, wishes, "schedule") if wishes else schedule), fault
        except (OptionError, TypeError, ValueError) as error:
            raise _RefusedError(400, f"{OVERRIDE_KEY}: {error}") from None

    def _judging(self, schedule: Schedule, prompt: str) -> Schedule:
        """Schedule with a verdict, where a judge is asked for one."""
        bias = self.config.judge
        reply = None if bias is None else played_verdict(bias, plain_prompt(prompt), self._known, self.own_seed)
        if reply == "":
            raise _RefusedError(500, JUDGE_DOWN)
        return schedule if reply is None else replace(schedule, text=reply, repeat_text=False, calls=None)

    def _plan(self, schedule: Schedule, ask: Ask, fault: Fault | None, *, old_http: bool, close: bool) -> AnswerPlan:
        key = (schedule, ask, fault, old_http, close)
        plan = self._plans.get(key)
        if plan is None:
            try:
                plan = chat_plan(schedule, ask, fault, old_http=old_http, close=close)
            except PlanTooLargeError as error:
                raise _RefusedError(400, str(error)) from None
            if plan.cuts and plan.cuts[-1].stop <= _MOST_CACHED_BYTES:
                self._plans[key] = plan
                if len(self._plans) > _MOST_PLANS:
                    self._plans.popitem(last=False)
        return plan


def log_json(entries: list[LogEntry], own_seed: int) -> str:
    """Body of ``GET /flperf/log``."""
    return json.dumps(
        {
            "server": {
                "now_ns": time.monotonic_ns(),
                "cpu_ns": time.process_time_ns(),
                "platform": sys.platform,
                "seed": own_seed,
            },
            "entries": [entry.to_json() for entry in entries],
        },
        separators=(",", ":"),
    )


def _prompt_hash(prompt: str) -> str:
    """Hash of the prompt, ``prompt_hash`` in the log."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, f"the body is not JSON: {ascii(str(error))[:200]}") from None
    if not isinstance(body, dict):
        raise _RefusedError(400, "the body is JSON, but not an object")
    return body


def _understand(body: dict[str, Any], known: _Understood) -> None:
    model, stream, messages = body.get("model"), body.get("stream", False), body.get("messages")
    if isinstance(messages, list):
        texts = [_message_text(message) for message in messages]
        users = [text for message, text in zip(messages, texts, strict=True) if _role(message) == "user"]
        known.prompt = (users or texts or [""])[-1]
        known.prompt_tokens = max(1, sum(map(len, texts)) // 4)
    if stream is not None and not isinstance(stream, bool):
        raise _RefusedError(400, "stream: expected true or false")
    known.stream = bool(stream)
    if not isinstance(model, str) or not model:
        raise _RefusedError(400, "model: expected a name")
    if len(model) > _MOST_MODEL_CHARS:  # it stands in every chunk
        raise _RefusedError(404, "the name is too long for any model", "model_not_found")
    known.model = model
    if not isinstance(messages, list) or not messages:
        raise _RefusedError(400, "messages: expected a list with at least one message")
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        raise _RefusedError(400, "messages: expected objects with 'role' and 'content'")
    for name in ("tools", "functions"):
        if body.get(name) is not None and not isinstance(body[name], list):
            raise _RefusedError(400, f"{name}: expected a list")


def _tools(body: dict[str, Any]) -> tuple[str, ...]:
    """Names of the tools that a request offers; none where it forbids calls."""
    tools, functions = body.get("tools"), body.get("functions")
    if "none" in (body.get("tool_choice"), body.get("function_call")):
        return ()
    offered = [each.get("function") if isinstance(each, dict) else None for each in tools or ()] if tools else functions
    names = [each.get("name") for each in (offered or ())[:_MOST_TOOLS] if isinstance(each, dict)]
    return tuple(name for name in names if isinstance(name, str))


def _conversation(messages: list[dict[str, Any]]) -> tuple[int, int]:
    """Answers with tool calls behind the user's last message, and the number of the request that got the first.

    Its number stands in the ids of its calls; 0: unknown.
    """
    turns = 0
    first = ""
    for message in reversed(messages):
        if _role(message) == "user":
            break
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            turns += 1
            first = str(calls[0].get("id")) if isinstance(calls[0], dict) else ""
    found = _CALL_ID.match(first)
    return turns, int(found[1]) if found else 0


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, dict) else None


def _message_text(message: object) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _include_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _max_tokens(body: dict[str, Any]) -> int | None:
    for key in ("max_completion_tokens", "max_tokens"):
        value = body.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _RefusedError(400, f"{key}: expected a whole number of at least 1")
        return int(value)
    return None
