"""Monotonic clock and kernel arrival stamps.

Every ``_ns`` in this package is CLOCK_MONOTONIC.  On Linux the kernel stamps the arrival of received bytes with
CLOCK_REALTIME (``SO_TIMESTAMPING``, Documentation/networking/timestamping.rst); :class:`ClockOffset` converts such
a stamp.  Elsewhere, and where the kernel gives none, the stamp is the monotonic clock right after the read.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Final

__all__ = [
    "ANCILLARY_BYTES",
    "KERNEL_STAMPS_POSSIBLE",
    "NO_STAMP",
    "SCM_TIMESTAMPING",
    "RecentOffset",
    "enable_kernel_stamps",
    "kernel_stamp_ns",
    "kernel_stamps_ns",
    "realtime_minus_monotonic_ns",
]

# <asm-generic/socket.h> and <linux/net_tstamp.h>; the socket module names none of them before Python 3.15.
SO_TIMESTAMPING: Final = 37
SCM_TIMESTAMPING: Final = SO_TIMESTAMPING
_RX_SOFTWARE: Final = 1 << 3
_SOFTWARE: Final = 1 << 4
_TIMESPEC: Final = struct.Struct("@ll")  # the first of the three timespecs in struct scm_timestamping
_SCM_TIMESTAMPING: Final = struct.Struct("@ll4l")
NO_STAMP: Final = bytes(_SCM_TIMESTAMPING.size)
"""In place of a stamp where the kernel gave none."""

_RECENT_NS: Final = 1_000_000

KERNEL_STAMPS_POSSIBLE: Final = sys.platform == "linux"
ANCILLARY_BYTES: Final = socket.CMSG_SPACE(3 * _TIMESPEC.size) if KERNEL_STAMPS_POSSIBLE else 0


def enable_kernel_stamps(sock: socket.socket) -> bool:
    """Enable kernel arrival stamps on a socket; False where unsupported."""
    if not KERNEL_STAMPS_POSSIBLE:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE)
    except OSError:
        return False
    return True


def kernel_stamp_ns(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Read the kernel's arrival stamp from ``recvmsg`` ancillary data.

    In ns of CLOCK_REALTIME; None where there is no stamp.
    """
    for _level, kind, data in ancillary:
        if kind == SCM_TIMESTAMPING and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds) if seconds else None
    return None


def kernel_stamps_ns(stamps: bytes) -> list[int]:
    """Decode arrival stamps that were joined as ``recvmsg`` returned them.

    In ns of CLOCK_REALTIME; 0 for ``NO_STAMP``.
    """
    whole = len(stamps) // len(NO_STAMP) * len(NO_STAMP)
    return [
        seconds * 1_000_000_000 + nanoseconds if seconds else 0
        for seconds, nanoseconds, *_hardware in _SCM_TIMESTAMPING.iter_unpack(stamps[:whole])
    ]


class RecentOffset:
    """Offset of CLOCK_REALTIME from CLOCK_MONOTONIC, read at most once a millisecond.

    A reading takes 2 to 4 µs, and a load process needs two for each request.  Within a millisecond a clock that is
    slewed moves by 0.5 µs, and a step beyond that time shows at the next reading.
    """

    __slots__ = ("_offset_ns", "_read_ns")

    def __init__(self) -> None:
        self._read_ns = -_RECENT_NS
        self._offset_ns = 0

    def at(self, now_ns: int) -> int:
        """Offset in ns; ``now_ns``: the time, CLOCK_MONOTONIC."""
        if now_ns - self._read_ns >= _RECENT_NS:
            self._offset_ns = realtime_minus_monotonic_ns()
            self._read_ns = now_ns
        return self._offset_ns


def realtime_minus_monotonic_ns() -> int:
    """Offset of CLOCK_REALTIME from CLOCK_MONOTONIC, in ns.

    The tightest of three readings.
    """
    best_span = best_offset = 0
    for attempt in range(3):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        span = after - before
        if attempt == 0 or span < best_span:
            best_span, best_offset = span, wall - (before + after) // 2
    return best_offset
