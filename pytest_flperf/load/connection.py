"""One connection and the request on it: connecting, sending, and stamping what arrives."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.clock import ANCILLARY_BYTES, enable_kernel_stamps, realtime_minus_monotonic_ns
from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.framing import Framing

if TYPE_CHECKING:
    from pytest_flperf.load.plan import Target

__all__ = ["Connection", "Job"]

_READ_BYTES: Final = 65_536
_RAW_LIMIT: Final = 256 << 20
_TIMESPEC: Final = struct.Struct("@ll")
_IN_PROGRESS: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)


class Job:
    """A request under way: what is known of it until it becomes a frame for the measuring process."""

    __slots__ = (
        "arrivals_ns", "connect_ns", "due_ns", "framing", "index", "offset_ns", "out", "parts", "phase", "read_ns",
        "sent_ns", "size", "sizes", "slot", "started_ns", "stream", "target",
    )  # fmt: skip

    def __init__(self, entry: tuple[Any, ...], slot: int, now: int) -> None:
        self.index, self.phase, self.target, self.stream, request, self.due_ns = entry
        self.slot = slot
        self.out = memoryview(request)
        self.connect_ns: int | None = None
        self.started_ns: int = now
        self.sent_ns: int | None = None
        self.offset_ns = 0
        self.parts: list[bytes] = []
        self.sizes: list[int] = []
        self.arrivals_ns: list[int] = []  # realtime from the kernel; 0 where it gave no stamp
        self.read_ns: list[int] = []
        self.framing = Framing()
        self.size = 0

    def frame(self, ending: Ending, detail: str) -> tuple[Any, ...]:
        """What the measuring process makes an Exchange of; conversion of stamps is left to it."""
        finished = time.monotonic_ns()
        return (
            self.index, self.phase, self.target, self.stream, self.slot, self.due_ns, self.connect_ns,
            self.started_ns, self.sent_ns if not self.out else None, finished, self.arrivals_ns, self.read_ns,
            self.sizes, self.offset_ns, realtime_minus_monotonic_ns(), ending.value, detail, b"".join(self.parts),
        )  # fmt: skip


class Connection:
    """A socket of our own.  Methods that end the request return ``(ending, detail)``, the others None."""

    __slots__ = (
        "_addresses",
        "_kernel_stamps",
        "_tls",
        "connect_ns",
        "connect_started_ns",
        "connecting",
        "fd",
        "handshaking",
        "job",
        "sock",
        "target",
        "timer",
    )  # fmt: skip

    def __init__(self, target: int, spec: Target, tls: ssl.SSLContext | None) -> None:
        self.target = target
        self.job: Job | None = None
        self.timer = -1
        """Number of the one timer that counts for this connection."""
        self.connecting = True
        self.handshaking = False
        self.connect_started_ns = time.monotonic_ns()
        self.connect_ns: int | None = None
        self._addresses = list(spec.addresses)
        self._tls = (tls, spec.tls_name) if tls else None
        self._kernel_stamps = False
        self.sock: Any = None
        self.fd = -1

    def open(self) -> str:
        """Begin to connect to the next address; returns why that failed at once, or an empty string."""
        problem = "no address is left to try"
        while self._addresses:
            family, address = self._addresses.pop(0)
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                code = sock.connect_ex(address)
            except OSError as error:
                return _words(error)
            if code in _IN_PROGRESS:
                self.sock, self.fd = sock, sock.fileno()
                return ""
            problem = _words(OSError(code, os.strerror(code)))
            sock.close()
        return problem

    def connected(self) -> str | None:
        """Take a writable event while connecting: None if it isn't through yet, else a problem or an empty string."""
        if not self.handshaking:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                return _words(OSError(code, os.strerror(code)))
            try:
                self.sock.getpeername()
            except OSError:
                return None  # an event of another socket that had this number before
            if self._tls is None:
                self._kernel_stamps = enable_kernel_stamps(self.sock)
                return self._through()
            context, name = self._tls
            self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
            self.handshaking = True
        try:
            self.sock.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            return f"TLS handshake: {_words(error)}"
        return self._through()

    def _through(self) -> str:
        self.connecting = self.handshaking = False
        self.connect_ns = time.monotonic_ns() - self.connect_started_ns
        return ""

    def begin(self, job: Job) -> None:
        """Put a request on this open connection."""
        self.job = job
        job.connect_ns, self.connect_ns = self.connect_ns, None
        job.offset_ns = realtime_minus_monotonic_ns()
        job.started_ns = time.monotonic_ns()

    def send(self) -> tuple[Ending, str] | None:
        """Hand bytes to the kernel, as many as fit.  ``job.out`` is empty when all are sent."""
        job = self.job
        assert job is not None
        while job.out:
            job.sent_ns = time.monotonic_ns()
            try:
                count = self.sock.send(job.out)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            except OSError as error:
                return Ending.CONNECTION_LOST, f"while sending: {_words(error)}"
            job.out = job.out[count:]
        return None

    def read(self) -> tuple[Ending, str] | None:
        """Take what has arrived, with its stamp.  This is the measured path: nothing else belongs here."""
        job = self.job
        assert job is not None
        try:
            if self._kernel_stamps:
                data, ancillary, _flags, _address = self.sock.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
            else:
                data, ancillary = self.sock.recv(_READ_BYTES), None
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError as error:
            return self._at_eof(job, _words(error))
        except OSError as error:
            return Ending.CONNECTION_LOST, _words(error)
        now = time.monotonic_ns()
        if not data:
            return self._at_eof(job, "")
        job.parts.append(data)
        job.sizes.append(len(data))
        job.read_ns.append(now)
        if ancillary:
            seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
            job.arrivals_ns.append(seconds * 1_000_000_000 + nanoseconds)
        else:
            job.arrivals_ns.append(0)
        job.size += len(data)
        if job.framing.feed(data):
            return (Ending.MALFORMED, job.framing.problem) if job.framing.problem else (Ending.COMPLETE, "")
        if job.size > _RAW_LIMIT:
            return Ending.MALFORMED, f"the answer is longer than {_RAW_LIMIT >> 20} MiB"
        return None

    @property
    def more_to_read(self) -> bool:
        """Whether TLS holds decrypted bytes that no event will announce."""
        return self._tls is not None and isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def _at_eof(self, job: Job, problem: str) -> tuple[Ending, str]:
        if not problem and job.framing.at_eof():
            return Ending.COMPLETE, ""
        if not job.parts:
            return Ending.CONNECTION_LOST, problem or "the server closed the connection without an answer"
        return Ending.CONNECTION_LOST, problem or "the server closed the connection in the middle of the answer"

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection."""
        framing = self.job.framing if self.job else None
        if framing is None or framing.head is None or framing.surplus or not framing.ended:
            return False
        return framing.head.keep_alive

    def usable(self) -> bool:
        """Whether an idle connection is still open and silent."""
        if self._tls is not None:
            return True  # a closed one has shown itself by an event
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False

    def close(self, *, abort: bool) -> None:
        """Close for good; ``abort`` resets the connection, so that the server notices at once."""
        with contextlib.suppress(OSError):
            if abort:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()


def _words(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{error.strerror or error} ({name})"
