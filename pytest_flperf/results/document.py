"""Strict JSON: finite numbers, valid texts, each key once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["DocumentError", "Fault", "Path", "decoded", "faults_of", "parsed", "place", "shown"]

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the top of a document to a value in it."""

_DEEPEST: Final = 100
"""Levels; our own documents have at most 64 below a setting."""
_SHOWN: Final = 60
_KEY: Final = 40
_FAULTS_SHOWN: Final = 3
_OTHER_FORMS: Final = (
    (b"\x1f\x8b", "a file compressed with gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd"),
    (b"BZh", "a file compressed with bzip2"),
    (b"SQLite format 3", "a SQLite database"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault: an invalid value, with path, found and expected."""

    path: Path
    found: str
    expected: str

    def __str__(self) -> str:
        """Text: ``cases[3].metrics.ttft_ms.p50: found "much", expected a number``."""
        where = f"{place(self.path)}: " if self.path else ""
        return f"{where}found {self.found}, expected {self.expected}"


class DocumentError(ValueError):
    """Invalid document; the message names its first faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Name the first three faults, and count the rest."""
        self.faults = tuple(faults)
        more = len(faults) - _FAULTS_SHOWN
        words = "; ".join(map(str, faults[:_FAULTS_SHOWN]))
        super().__init__(f"{words}; and {more} more" if more > 0 else words)


class _Repeating(dict[str, Any]):
    """A JSON object with a duplicate key."""

    key = ""


def decoded(content: bytes) -> str:
    """Decode a file as UTF-8; raises DocumentError where it isn't."""
    for head, what in _OTHER_FORMS:
        if content.startswith(head):
            raise DocumentError([Fault((), what, "JSON in UTF-8")])
    if not content.strip():
        raise DocumentError([Fault((), "an empty file", "JSON")])
    try:
        return content.decode("utf-8-sig")  # a byte order mark of an editor changes nothing
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} at {error.start}"
        raise DocumentError([Fault((), found, "JSON in UTF-8")]) from error


def parsed(text: str) -> Any:
    """Parse JSON; raises DocumentError where invalid."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        found = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise DocumentError([Fault((), found, "JSON, whole and unchanged")]) from error
    except RecursionError as error:
        raise DocumentError([Fault((), "JSON nested too deeply", f"at most {_DEEPEST} levels")]) from error
    except ValueError as error:  # a whole number of more than 4,300 digits
        raise DocumentError([Fault((), "a number with thousands of digits", "JSON, whole and unchanged")]) from error
    return value


def faults_of(value: Any) -> list[Fault]:
    """Faults of any JSON value: non-finite numbers, invalid texts, duplicate keys.

    Values that are nested too deeply are faults, too.
    """
    return list(_faults(value, ()))


def place(path: Path) -> str:
    """A path as people write it: ``cases[3].metrics.ttft_ms.p50``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key.replace("-", "_").isidentifier() and key.isascii() and len(key) <= _KEY:
            text += f".{key}" if text else key
        else:
            text += f"[{shown(key)}]"
    return text


def shown(value: Any) -> str:
    """A value as one short line of ASCII JSON."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    repeating = _Repeating(found)
    repeating.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return repeating


def _faults(value: Any, path: Path) -> Iterator[Fault]:
    if isinstance(value, float):
        if not math.isfinite(value):
            yield Fault(path, shown(value), "a finite number")
    elif isinstance(value, str):
        if not _is_text(value):
            yield Fault(path, shown(value), "a string without half a character (a lone surrogate)")
    elif isinstance(value, dict | list):
        yield from _faults_within(value, path)


def _faults_within(value: dict[str, Any] | list[Any], path: Path) -> Iterator[Fault]:
    if len(path) >= _DEEPEST:
        yield Fault(path[:_FAULTS_SHOWN], "values nested too deeply", f"at most {_DEEPEST} levels")
        return
    if isinstance(value, _Repeating):
        yield Fault(path, f"the key {shown(value.key)} twice", "each key once")
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(key, str) and not _is_text(key):
            yield Fault(path, f"the key {shown(key)}", "a string without half a character (a lone surrogate)")
        if item is not None and item is not True and item is not False:
            yield from _faults(item, (*path, key))


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
