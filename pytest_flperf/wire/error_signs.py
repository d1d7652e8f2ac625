"""Error detection in JSON documents: keys, codes, states and sentences.

Keys are compared in lower case without ``_`` and ``-``: errorMessage, error_message and ErrorMessage are one.  Words
are compared with letters and digits only: NO_ERROR is "no error".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

__all__ = [
    "ERROR_KEYS", "LAST_RESORT", "NUMBERED", "SENTENCES", "WRAPPERS", "announces_error", "fields_of", "is_error_key",
    "is_error_name", "says", "tells_of_error", "tells_of_error_beside_choice",
]  # fmt: skip

_DEPTH: Final = 6
_ITEMS: Final = 64
_LONGEST_NAME: Final = 64
_OTHER: Final = re.compile(r"[\W_]+")

_NOTHING: Final = frozenset({
    "", "null", "none", "nil", "undefined", "false", "200", "ok", "success", "succeeded", "successful", "noerror",
    "成功", "请求成功",
})  # fmt: skip
_MEANS_WELL: Final = frozenset({
    "processing", "pending", "queued", "running", "loading", "inprogress", "progress", "ping", "pong", "info",
    "started", "warning", "warn", "notice", "status", "statusupdate", "log", "debug", "trace", "heartbeat", "keepalive",
    "metrics",
    "completed", "complete", "done", "finished", "ready", "created", "accepted", "active", "downloading", "starting",
    "deprecation", "deprecated", "information", "generating", "thinking",
})  # fmt: skip
"""Said of a message, they make it a remark, whatever it tells of."""
_FAILED: Final = frozenset({
    "error", "fail", "failed", "failure", "exception", "fatal", "critical", "panic",
    # google.rpc.Code
    "cancelled", "invalidargument", "deadlineexceeded", "notfound", "permissiondenied", "unauthenticated",
    "resourceexhausted", "failedprecondition", "aborted", "outofrange", "unimplemented", "internal", "unavailable",
    "dataloss",
})  # fmt: skip
_REFUSED: Final = frozenset({"false", "no", "0"})

WRAPPERS: Final = (
    "response", "data", "result", "xgroq", "header", "meta", "responsemetadata", "status", "output", "body", "payload",
)  # fmt: skip
"""What a document without a choice may hold its error in: the Responses API, gateways, Groq, clouds."""
_WRAPPED: Final = 3
SENTENCES: Final = (
    "message", "msg", "errormessage", "errormsg", "errmsg", "statusmsg", "statusmessage", "retmsg", "returnmsg",
    "returnmessage", "resultmsg", "resultmessage", "errordescription", "description", "desc", "reason", "title",
)  # fmt: skip
"""Where a sentence stands."""
LAST_RESORT: Final = ("text", "content", "output", "body", "data", "value", "result", "info")
"""Where words may stand if they stand nowhere else."""
NUMBERED: Final = frozenset({
    "code", "status", "statuscode", "errorcode", "errcode", "err", "errno", "retcode", "returncode", "resultcode",
    "ret", "httpstatus", "httpstatuscode", "httpcode",
})  # fmt: skip
"""Keys of codes, which are numbers or names."""
_KINDS: Final = ("type", "object", "event", "kind", "level", "severity", "state", "status")
"""Where a document says what it is."""
_SUCCESS: Final = frozenset(
    {"success", "issuccess", "succeed", "succeeded", "successful", "issuccessful", "ok", "isok"}
)
_BESIDE_CHOICES: Final = frozenset(
    {"error", "errors", "errormessage", "errormsg", "errmsg", "errorcode", "errorinfo", "baseresp"}
)
ERROR_KEYS: Final = frozenset({
    "error", "errors", "Error", "error_message", "error_msg", "errorMessage", "errorMsg", "errmsg", "error_code",
    "errorCode", "error_info", "base_resp",
})  # fmt: skip
"""The keys by which a document with a choice may tell of an error."""
_ERROR_KEY: Final = re.compile(
    r"(?!no(?:errors?|exception)\Z|without)\w*(?:exception|errors?)\Z|err(?:s|msg|code|no)?\Z|fault(?:s|string)?\Z"
    r"|error(?!free|policy|handl|rate|budget|count|correct|mode|threshold|toleran)\w|(?:stack)?traceback\Z|stacktrace\Z|fail(?:ed|ures?)?\Z"
)
_EVENT: Final = re.compile(
    r"(?:\A|.*[._ -])(?:error|exception|fail|failed|failure|fatal)\Z|\w*(?:error|exception)\Z", re.IGNORECASE
)
_NO_EVENT: Final = re.compile(
    r"(?:\A|[._ -])(?:no|non|not|without)[._ -]?(?:\w*error|\w*exception|fail\w*|fatal)\Z", re.I
)
_ANNOUNCED: Final = re.compile(
    r"\b(?:\w{0,40}error|\w{0,40}exception|traceback|failed|failure|fatal|panic|aborted|crashed)\b", re.IGNORECASE
)
_BROKEN: Final = re.compile(r"[\[{\s]{1,20}['\"]error\b")
_TROUBLE: Final = re.compile(
    r"\b(?:\w{0,40}error\w*|\w{0,40}exception|fail\w*|exceed\w*|invalid|not found|unavailable|tim(?:ed|e) ?out|denied"
    r"|refused|overloaded|too many|unauthori[sz]ed|forbidden|abort\w*|crash\w*|died|quota|unsupported|not supported)\b",
    re.IGNORECASE,
)


def is_error_name(name: str) -> bool:
    """Whether an event name means an error.

    Such as ``error``, ``response.failed`` or ``throttlingException``.
    """
    return len(name) <= 100 and _EVENT.match(name) is not None and _NO_EVENT.search(name) is None


def announces_error(text: str) -> bool:
    """Whether non-JSON text mentions an error at its start or end.

    In its first words or its last, where JSON was expected.
    """
    if text.lstrip().startswith(("{", "[{", '["')):  # broken JSON, of an answer that may well be about errors
        return _BROKEN.match(text) is not None
    return _ANNOUNCED.search(text[:200]) is not None or _ANNOUNCED.search(text[-200:]) is not None


def fields_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a document by their normalized keys."""
    return {_plain_key(name): value for name, value in islice(document.items(), _ITEMS)}


def _plain_key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "") if len(name) <= _LONGEST_NAME else ""


def tells_of_error(fields: Mapping[str, Any]) -> bool | None:
    """Whether a document without a choice is an error.

    True; False where only its sentence says so; None for no error.
    """
    if _is_error(fields):
        return True
    if _means_well(fields):
        return None
    if says(fields.get("detail")) or _is_bad_message(fields):
        return True
    return False if _tells_of_trouble(fields) else None


def tells_of_error_beside_choice(fields: Mapping[str, Any]) -> bool:
    """Whether a document with a choice is an error.

    What stands beside the choice decides.
    """
    if fields.get("object") == "error":
        return True
    return any(_says_error(name, fields[name]) for name in _BESIDE_CHOICES if name in fields)


def is_error_key(name: str) -> bool:
    """Whether a normalized key is one that holds errors."""
    return _ERROR_KEY.match(name) is not None


def _is_error(fields: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether any key marks an error, also in a wrapper."""
    kinds = (kind for name in _KINDS if isinstance(kind := fields.get(name), str))
    if any(is_error_name(kind) or _word(kind) in _FAILED for kind in kinds):
        return True
    if any(_is_refused(fields[name]) for name in _SUCCESS if name in fields):
        return True
    if any(_says_error(name, value) for name, value in fields.items()):
        return True
    return depth < _WRAPPED and any(_is_error(inner, depth + 1) for inner in _wrapped(fields))


def _wrapped(fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Fields of a wrapper in a document without a choice."""
    for name in WRAPPERS:
        value = fields.get(name)
        if isinstance(value, dict) and not value.get("choices"):
            yield fields_of(value)


def _is_refused(value: Any) -> bool:
    """Whether the value of ``success`` says no."""
    if isinstance(value, str):
        return value[:8].strip().lower() in _REFUSED
    return value is False or (type(value) is int and value == 0)


def _means_well(fields: Mapping[str, Any]) -> bool:
    """Whether a document calls itself a remark: progress, a warning, a ping."""
    kinds = (_word(kind) for name in _KINDS if isinstance(kind := fields.get(name), str) and kind)
    return any(kind in _MEANS_WELL or kind in _NOTHING for kind in kinds)


def _is_bad_message(fields: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether a sentence comes with a code that means trouble.

    At the top, or in a wrapper.
    """
    if _means_well(fields):
        return False
    if sentence := _sentence(fields, SENTENCES):
        of_codes = (_is_bad_code(fields[name], name) for name in NUMBERED if name in fields)
        bad = _word(sentence) not in _NOTHING and any(of_codes)  # else the code means "all is well"
    else:  # text may be an answer in a form of its own, with a small number for its state
        codes = (fields.get(name) for name in NUMBERED)
        bad = bool(_sentence(fields, LAST_RESORT)) and any(type(code) is int and abs(code) >= 400 for code in codes)
    return bad or (depth < _WRAPPED and any(_is_bad_message(inner, depth + 1) for inner in _wrapped(fields)))


def _tells_of_trouble(fields: Mapping[str, Any]) -> bool:
    """Whether a sentence tells of trouble by its words."""
    message = _sentence(fields, SENTENCES)
    named = " ".join(
        kind[:100].replace("_", " ") for name in ("type", "status") if isinstance(kind := fields.get(name), str)
    )
    return bool(message) and _TROUBLE.search(f"{named} {message[:500]}") is not None


def _sentence(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if isinstance(text := fields.get(name), str) and text), "")


def _says_error(name: str, value: Any) -> bool:
    """Whether a key has an error's name and a value that counts."""
    if name == "baseresp":  # MiniMax: in every chunk, with 0
        return isinstance(value, dict) and _is_bad_code(value.get("status_code"), "statuscode")
    if not is_error_key(name):
        return False
    if type(value) in (int, float):
        return name in NUMBERED and says(value)
    return says(value)


def _is_bad_code(value: Any, name: str) -> bool:
    if isinstance(value, str):
        if not value.isdecimal() or len(value) > 9:
            return name != "status" and _word(value) not in _MEANS_WELL and says(value)
        value = int(value)
    if type(value) is not int or value == 0:
        return False
    # Below 400 they are statuses of HTTP that mean well; codes of a vendor's own have more digits, or a sign.  A small
    # status is the place in an answer.
    return value < 0 or value >= 400 or (value < 100 and name != "status")


def _word(text: str) -> str:
    return _OTHER.sub("", text[:100].lower())


def says(value: Any, depth: int = 0) -> bool:
    """Whether the value of an ``error`` key is an error.

    Many servers send the key in every chunk, with nothing in it.
    """
    if value is None or value is False:
        return False
    if isinstance(value, str):
        word = _word(value)
        return word.strip("0") != "" and word not in _NOTHING if word else bool(value.strip())
    if depth < _DEPTH and isinstance(value, dict):
        return any(says(item, depth + 1) for item in islice(value.values(), _ITEMS))
    if depth < _DEPTH and isinstance(value, list):
        return any(says(item, depth + 1) for item in islice(value, _ITEMS))
    return value not in (0, 200)
