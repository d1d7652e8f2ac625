"""Frames over pipes: a length, then marshalled data."""

from __future__ import annotations

import marshal
import struct
from typing import Any, BinaryIO, Final

__all__ = ["MARK", "read_frame", "skip_to_mark", "write_frame"]

_LENGTH: Final = struct.Struct("!Q")
MARK: Final = b"\0flperf-bounded\0"
"""Written before the first frame: what Python's start-up prints (sitecustomize, .pth files) comes before it."""
_MOST_BEFORE: Final = 1 << 20


def skip_to_mark(pipe: BinaryIO) -> None:
    """Skip everything before the mark; raises EOFError if it never comes."""
    seen = b""
    for _ in range(_MOST_BEFORE):
        byte = pipe.read(1)
        if not byte:
            break
        seen = (seen + byte)[-len(MARK) :]
        if seen == MARK:
            return
    raise EOFError


def write_frame(pipe: BinaryIO, data: Any) -> None:
    """Write a frame of builtin types.

    Raises OSError, and ValueError for data that can't be marshalled.
    """
    body = marshal.dumps(data)
    pipe.write(_LENGTH.pack(len(body)))
    pipe.write(body)  # apart: it may be large, and both together would be a copy
    pipe.flush()


def read_frame(pipe: BinaryIO) -> Any:
    """Wait for a frame; raises EOFError when the pipe is closed."""
    # marshal is safe here: both ends are ours and run the same interpreter, and foreign text travels as plain strings.
    return marshal.loads(_exactly(pipe, *_LENGTH.unpack(_exactly(pipe, _LENGTH.size))))  # noqa: S302


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data
