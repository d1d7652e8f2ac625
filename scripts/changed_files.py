"""Hypothesis strategies that change files: their bytes, and the values of documents."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Final

from hypothesis import strategies as st

__all__ = ["changed_bytes", "changed_tree", "documents_in"]

_HOSTILE: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, -1e308, math.inf, math.nan, 10**30, -(10**30), "", "x" * 5_000, "\0",
    "\ud800", "::error::x", "<script>", "\x1b[31m", "../../etc", "{{ 7 * 7 }}", "(a+)+$", "1" * 400, [], {}, [[]],
    [[[[[[[[]]]]]]]], {"$ref": "#"}, {"": {}},
)  # fmt: skip
_TOKENS: Final = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"data:", b"data: [DONE]\n\n",
    b"event: error\n", b":", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Content-Length: ",
    b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"ffffffff\r\n", b"7fffffffffffff\r\n",
    b'"', b"\\", b"\\u0000", b"\\ud83d", b"{", b"}", b"[", b"]", b"[[[[[[[[", b"null", b"true", b"NaN", b"Infinity",
    b"1e999", b"-0", b"9" * 30, b'"usage":', b'"choices":[', b'"finish_reason":"stop"', b'"content":', b"&a ", b"*a",
    b"<<: ", b"!!python/object:os.system ", b"- ", b"\t", b"p99", b"<=", b">", b"+10%", b"%", b"ms", b"(", b")", b",",
    b"\xc3\xa4", b"\xe2\x80\xae", b"\x1b[2J",
)  # fmt: skip


@st.composite
def changed_bytes(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A file with a few pieces cut out, repeated, replaced, or taken from another."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.sampled_from([0, 0, 1, 2, 8, 60, 2_000])))
        kind = draw(st.sampled_from(["token", "bytes", "repeat", "other"]))
        if kind == "token":
            piece = draw(st.sampled_from(_TOKENS)) * draw(st.sampled_from([1, 1, 1, 2, 300]))
        elif kind == "bytes":
            piece = draw(st.binary(max_size=8))
        elif kind == "repeat":
            piece = content[begin:end] * draw(st.sampled_from([0, 2, 3, 40]))
        else:
            other = draw(st.sampled_from(seeds))
            at = draw(st.integers(0, len(other)))
            piece = other[at : at + 60]
        content = content[:begin] + piece + content[end:]
    return content


@st.composite
def changed_tree(draw: st.DrawFn, documents: Sequence[Any]) -> bytes:
    """A document with a few of its values replaced, removed, repeated or taken from elsewhere in it."""
    document = [deepcopy(draw(st.sampled_from(documents)))]
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(document))
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        kind = draw(st.sampled_from(["hostile", "hostile", "elsewhere", "remove", "add", "string"]))
        if kind == "hostile":
            parent[key] = deepcopy(draw(st.sampled_from(_HOSTILE)))
        elif kind == "string":
            parent[key] = draw(st.text(max_size=12))
        elif kind == "elsewhere":
            other, at = places[draw(st.integers(0, len(places) - 1))]
            parent[key] = deepcopy(other[at])
        elif kind == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = deepcopy(draw(st.sampled_from(_HOSTILE)))
        elif parent is not document:
            del parent[key]
    return json.dumps(document[0]).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def documents_in(contents: Sequence[bytes]) -> list[Any]:
    """Those that are JSON, or lines of it."""
    found = []
    for content in contents:
        with contextlib.suppress(ValueError):
            found.append(json.loads(content))
            continue
        with contextlib.suppress(ValueError):
            found += [json.loads(line) for line in content.splitlines()]
    return found
