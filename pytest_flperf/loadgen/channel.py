"""Channel between measuring process and load process: marshalled frames.

A frame is a length, then a marshalled tuple.

marshal is the fastest codec at hand (a 20 kB exchange in 4 µs) and safe here: both ends are ours, run the same
interpreter, and what a server sent travels inside as plain bytes.
"""

from __future__ import annotations

import marshal
import socket
import struct
from collections import deque
from typing import Any, Final

__all__ = ["ChannelClosedError", "FrameReader", "FrameWriter", "buffer_generously"]

_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 1 << 18
_SOCKET_BUFFER_BYTES: Final = 4 << 20
_JOINED_BYTES: Final = 1 << 16
"""Most bytes of frames that are sent in one call."""


class ChannelClosedError(ConnectionError):
    """The other process is gone."""


def buffer_generously(sock: socket.socket) -> None:
    """Enlarge socket buffers, so that slow readers don't block the load process."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)


class FrameReader:
    """Reads frames from a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._enough = _LENGTH.size
        """How long the buffer must be to hold a frame."""

    def read(self) -> list[Any]:
        """Receive once and return the complete frames.

        Raises ChannelClosedError at the end.

        On a non-blocking socket without data the list is empty.
        """
        try:
            data = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise ChannelClosedError(str(error)) from error
        if not data:
            raise ChannelClosedError("the other process closed the channel")
        self._buffer += data
        return self._frames()

    def _frames(self) -> list[Any]:
        if len(self._buffer) < self._enough:
            return []
        frames: list[Any] = []
        position = 0
        view = memoryview(self._buffer)
        try:
            while len(view) - position >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, position)
                end = position + _LENGTH.size + length
                if end > len(view):
                    self._enough = _LENGTH.size + length
                    break
                self._enough = _LENGTH.size
                frames.append(marshal.loads(view[position + _LENGTH.size : end]))  # noqa: S302
                position = end
        finally:
            view.release()
        del self._buffer[:position]
        return frames


class FrameWriter:
    """Writes frames to a socket and buffers what doesn't fit.

    A non-blocking socket may take less than a frame; ``waiting`` says so.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting: deque[memoryview] = deque()

    @property
    def waiting(self) -> bool:
        """Whether bytes are still unsent."""
        return bool(self._waiting)

    def write(self, frame: tuple[Any, ...]) -> None:
        """Send a frame, as far as it fits; raises ChannelClosedError."""
        self.add(frame)
        self.flush()

    def add(self, frame: tuple[Any, ...]) -> None:
        """Buffer a frame until the next ``flush``."""
        body = marshal.dumps(frame)
        self._waiting.append(memoryview(_LENGTH.pack(len(body)) + body))

    def flush(self) -> None:
        """Send buffered bytes, as far as they fit; raises ChannelClosedError."""
        while self._waiting:
            first = self._first()
            try:
                count = self._sock.send(first)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
            if count == len(first):
                self._waiting.popleft()
            else:
                self._waiting[0] = first[count:]

    def _first(self) -> memoryview:
        """What to send next: one frame, or several small ones, which a call each would cost more than joining them."""
        waiting = self._waiting
        if len(waiting) == 1 or len(waiting[0]) >= _JOINED_BYTES:
            return waiting[0]
        frames: list[memoryview] = []
        size = 0
        while waiting and (not frames or size + len(waiting[0]) <= _JOINED_BYTES):
            frames.append(waiting.popleft())
            size += len(frames[-1])
        waiting.appendleft(memoryview(b"".join(frames)))
        return waiting[0]
