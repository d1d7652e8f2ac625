"""HTTP connection: connecting, sending and stamping what arrives."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.clock import ANCILLARY_BYTES, NO_STAMP, RecentOffset, enable_kernel_stamps
from pytest_flperf.loadgen.after_done import PERHAPS_DONE, may_be_done
from pytest_flperf.loadgen.client_limits import Ended, client_limit, error_words, has_source_address, is_shortage
from pytest_flperf.loadgen.plan import KEPT_BYTES
from pytest_flperf.wire.exchange import READ_BYTES, Ending
from pytest_flperf.wire.framing import Framing

if TYPE_CHECKING:
    from pytest_flperf.loadgen.plan import Destination
    from pytest_flperf.wire.progress import TextProgress

__all__ = ["Connection", "Ended", "Job", "too_large"]

_SEND_BYTES: Final = 262_144
_READ_COST_BYTES: Final = 256
"""What keeping a read takes at least, whatever it brought: an answer may come byte by byte."""
_MIB: Final = 1 << 20
# A server with Nagle's algorithm holds its first token until the head is acknowledged.  On a connection that carries
# one request right after the other, Linux delays that by 40 ms: TTFT of Foundry Local was 44 ms in place of 4 ms.
# Only a closed loop does this to a server (a pause or a new connection ends it): an artefact, not its latency.
_QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_RESET_ON_CLOSE: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_CLOSED_DOOR_NS: Final = 50_000_000
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_IN_PROGRESS: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)


class Job:
    """Request in flight, until it becomes a frame for the measuring process."""

    __slots__ = (
        "connect_ns", "due_ns", "end_offset_ns", "ended", "entry", "finished_ns", "framing", "index", "left_out_bytes",
        "most_bytes", "offset_ns", "out", "parts", "phase", "progress", "read_ns", "sent_ns", "size", "slot", "stamps",
        "started_ns", "stream", "target",
    )  # fmt: skip

    def __init__(self, entry: tuple[Any, ...], slot: int, now: int, most_bytes: int) -> None:
        self.entry = entry
        self.index, self.phase, self.target, self.stream, request, self.due_ns = entry
        self.slot = slot
        self.out = memoryview(request)
        self.connect_ns: int | None = None
        self.started_ns: int = now
        self.sent_ns: int | None = None
        self.offset_ns = 0
        self.parts: list[bytes] = []
        self.read_ns: list[int] = []
        self.stamps: list[bytes] = []  # the kernel's, as it gave them; zeros where it gave none
        self.framing = Framing()
        self.progress: TextProgress | None = None  # from the first look at its deadlines on
        self.size = 0
        """Bytes that the answer takes in memory: at least ``_READ_COST_BYTES`` for each read."""
        self.most_bytes = most_bytes
        self.left_out_bytes = 0
        self.ended: Ended = (Ending.CANCELLED, "")
        self.finished_ns = self.end_offset_ns = 0

    def met_a_closed_door(self, ended: Ended) -> bool:
        """Whether the server closed the idle connection as the request was sent.

        Servers may close a connection after any answer without notice (llama.cpp's router does), and a client then
        sends on another one (RFC 9112, section 9.3.1).  An answer that breaks off, or a server that thinks before it
        hangs up, is another matter.
        """
        if ended[0] is not Ending.CONNECTION_LOST or self.parts or self.connect_ns is not None:
            return False
        return monotonic_ns() - self.started_ns < _CLOSED_DOOR_NS

    def end(self, ended: Ended, offset: RecentOffset) -> None:
        """Mark the request as ended now."""
        self.ended = ended
        self.finished_ns = now = monotonic_ns()
        self.end_offset_ns = offset.at(now)

    def kept_reads(self) -> int:
        """Number of reads to report; of an oversized answer only the first."""
        if self.ended[0] is not Ending.ANSWER_TOO_LARGE:
            return len(self.parts)
        size = 0
        for number, part in enumerate(self.parts, 1):
            size += max(len(part), _READ_COST_BYTES)
            if size >= KEPT_BYTES:
                return number
        return len(self.parts)

    def leave_out(self, count: int) -> None:
        """Drop that many reads from the end."""
        self.left_out_bytes += sum(map(len, self.parts[-count:]))
        del self.parts[-count:], self.read_ns[-count:], self.stamps[-count:]

    def facts(self) -> tuple[Any, ...]:
        """Fields of an Exchange, without the reads."""
        ending, detail = self.ended
        return (
            self.index, self.phase, self.target, self.stream, self.slot, self.due_ns, self.connect_ns,
            self.started_ns, self.sent_ns if not self.out else None, self.finished_ns, self.offset_ns,
            self.end_offset_ns, ending.value, detail, self.left_out_bytes,
        )  # fmt: skip

    def reads(self, start: int, end: int) -> tuple[bytes, list[int], list[int], bytes]:
        """Kernel stamps, times, sizes and bytes of some reads.

        Stamps are as the kernel gave them; the receiver converts them.
        """
        parts = self.parts[start:end]
        stamps = b"".join(self.stamps[start:end])
        return stamps, self.read_ns[start:end], [len(part) for part in parts], b"".join(parts)


class Connection:
    """Socket with one request at a time.

    Methods that end the request return ``(ending, detail)``, the others None.
    """

    __slots__ = (
        "_addresses", "_handshaking", "_tls", "connect_ns", "connect_started_ns", "connecting", "deadline_ns", "fd",
        "job", "problem", "read", "sock", "target", "timer_ns", "wants_write",
    )  # fmt: skip

    def __init__(self, target: int, spec: Destination, tls: ssl.SSLContext | None) -> None:
        self.target = target
        self.job: Job | None = None
        self.deadline_ns = 0
        """When to check the deadlines of this connection; 0: never."""
        self.timer_ns = 0
        """When its earliest timer fires; 0: none is set."""
        self.connecting = True
        self.wants_write = True
        """Whether a connection under way waits to be writable (a TLS handshake may wait to be readable only)."""
        self.read: Callable[[], Ended | None] = self._read_user
        """Take what has arrived, with its stamp.  This is the measured path: nothing else belongs here."""
        self.problem: Ended | None = None
        """Why the address that was tried last didn't do."""
        self._handshaking = False
        self.connect_started_ns = monotonic_ns()
        self.connect_ns: int | None = None
        self._addresses = list(spec.addresses)
        self._tls = (tls, spec.tls_name) if tls else None
        self.sock: Any = None
        self.fd = -1

    def open(self) -> Ended | None:
        """Start connecting to the next address; returns why that failed at once."""
        ended: Ended = (Ending.CONNECT_REFUSED, "no more addresses to try")
        while self._addresses:
            family, address = self._addresses.pop(0)
            sock = None
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                code = sock.connect_ex(address)
                if code in _IN_PROGRESS:
                    self.sock, self.fd, self.read = sock, sock.fileno(), self._read_user
                    return None
                ended = _not_connected(code, family, address)
            except OSError as error:  # no descriptor is left, or this machine has no such family: try the next address
                ended = _failed(error, Ending.CONNECT_REFUSED)
            if sock is not None:
                sock.close()
        return ended

    def connected(self) -> bool:
        """Handle an event while connecting: whether it is connected or failed.

        After a failure there is a ``problem``.
        """
        self.problem = None
        if not self._handshaking:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.problem = _not_connected(code)
                return True
            try:
                self.sock.getpeername()
            except OSError:
                return False  # an event of another socket that had this number before
            if self._tls is None:
                if enable_kernel_stamps(self.sock):
                    self.read = self._read_kernel
                return self._through()
        try:
            self._shake_hands()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wish:
            self.wants_write = isinstance(wish, ssl.SSLWantWriteError)
            return False
        except OSError as error:
            self.problem = _failed(error, Ending.CONNECT_REFUSED, "TLS handshake: ")
            return True
        except ValueError as error:  # a host name that no certificate can hold
            self.problem = (Ending.CONNECT_REFUSED, f"TLS handshake: {error}")
            return True
        return self._through()

    def _shake_hands(self) -> None:
        if not self._handshaking:
            assert self._tls is not None
            context, name = self._tls
            self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
            self._handshaking = True
        self.sock.do_handshake()

    def _through(self) -> bool:
        self.connecting = self._handshaking = False
        self.connect_ns = monotonic_ns() - self.connect_started_ns
        return True

    def begin(self, job: Job, offset: RecentOffset) -> None:
        """Start a request on this open connection."""
        self.job = job
        job.connect_ns, self.connect_ns = self.connect_ns, None
        job.offset_ns = offset.at(monotonic_ns())
        job.started_ns = monotonic_ns()

    def send(self) -> Ended | None:
        """Send as many bytes as fit; ``job.out`` empty means all sent."""
        job = self.job
        assert job is not None
        while job.out:
            job.sent_ns = monotonic_ns()
            try:
                count = self.sock.send(job.out[:_SEND_BYTES])
            except _NOT_NOW:
                return None
            except OSError as error:
                ended = _failed(error, Ending.CONNECTION_LOST, "while sending: ")
                return ended if ended[0] is Ending.CLIENT_LIMIT else self._answer_before(job, ended[1])
            job.out = job.out[count:]
            if count == _SEND_BYTES:
                return None  # let the other connections send: an event says when to go on
        if _QUICK_ACK is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        return None

    def _answer_before(self, job: Job, problem: str) -> Ended:
        """Read an early answer after the server hung up during sending.

        Mostly it has said why (413, 400, 401 …).
        """
        size = -1
        while size < job.size:
            size = job.size
            ended = self.read()
            if ended is not None:
                return ended if ended[0] is not Ending.CONNECTION_LOST else (Ending.CONNECTION_LOST, problem)
        return Ending.CONNECTION_LOST, problem

    def _read_kernel(self) -> Ended | None:
        # Once for every token.  On a busy machine a third of the token's cost is spent here and in Framing.feed, the
        # rest in the kernel: so stamps are kept as they come, and everything else is left for the end of the request.
        job = self.job
        assert job is not None
        try:
            data, ancillary, _flags, _address = self.sock.recvmsg(READ_BYTES, ANCILLARY_BYTES)
        except _NOT_NOW:
            return None
        except OSError as error:
            return _failed(error, Ending.CONNECTION_LOST)
        if not data:
            return self._at_eof(job, "")
        job.read_ns.append(monotonic_ns())
        job.stamps.append(ancillary[0][2] if ancillary else NO_STAMP)
        job.parts.append(data)
        job.size += len(data) if len(data) > _READ_COST_BYTES else _READ_COST_BYTES
        if job.framing.feed(data) or job.size > job.most_bytes:
            return _ended(job)
        if may_be_done(data, job.parts):
            return PERHAPS_DONE
        return None

    def _read_user(self) -> Ended | None:
        job = self.job
        assert job is not None
        perhaps_done: Ended | None = None
        while True:
            try:
                data = self.sock.recv(READ_BYTES)
            except _NOT_NOW:
                return perhaps_done
            except ssl.SSLError as error:
                return self._at_eof(job, error_words(error))
            except OSError as error:
                return _failed(error, Ending.CONNECTION_LOST)
            if not data:
                return self._at_eof(job, "")
            job.read_ns.append(monotonic_ns())
            job.stamps.append(NO_STAMP)
            job.parts.append(data)
            job.size += len(data) if len(data) > _READ_COST_BYTES else _READ_COST_BYTES
            if job.framing.feed(data) or job.size > job.most_bytes:
                return _ended(job)
            if may_be_done(data, job.parts):
                perhaps_done = PERHAPS_DONE
            # No event announces what TLS has decrypted already.
            if self._tls is None or not self.sock.pending():
                return perhaps_done

    def _at_eof(self, job: Job, problem: str) -> Ended:
        if not problem and job.framing.at_eof():
            return Ending.COMPLETE, ""
        if not job.parts:
            return Ending.CONNECTION_LOST, problem or "the server closed the connection without an answer"
        return Ending.CONNECTION_LOST, problem or "the server closed the connection in the middle of the answer"

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request."""
        job = self.job
        if job is None or job.out or job.framing.head is None or job.framing.surplus or not job.framing.ended:
            return False
        return job.framing.head.keep_alive

    def usable(self) -> bool:
        """Whether an idle connection is still open and silent."""
        try:
            if self._tls is None:
                self.sock.recv(1, socket.MSG_PEEK)
            else:
                self.sock.recv(1)  # a session ticket is TLS's own business and no data
        except _NOT_NOW:
            return True
        except OSError:
            return False
        return False

    def close(self, *, abort: bool) -> None:
        """Close for good; ``abort`` resets, so that the server notices at once."""
        self.job, self.deadline_ns = None, 0
        self.read = _nothing  # a bound method in an attribute is a cycle, and nothing collects cycles here
        with contextlib.suppress(OSError):
            if abort:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.sock.close()


def too_large(most_bytes: int) -> Ended:
    """Ending of a request whose answer exceeds the size limit."""
    return Ending.ANSWER_TOO_LARGE, f"the answer is longer than {most_bytes / _MIB:.4g} MiB (max_answer_mb)"


def _ended(job: Job) -> Ended:
    if job.size > job.most_bytes:
        return too_large(job.most_bytes)
    if job.framing.ended:
        return Ending.COMPLETE, ""
    return Ending.ANSWER_TOO_LARGE if job.framing.too_large else Ending.MALFORMED, job.framing.problem


def _nothing() -> None:
    return None


def _not_connected(code: int, family: int | None = None, address: Any = None) -> Ended:
    error = OSError(code, os.strerror(code))
    if code == errno.EADDRNOTAVAIL and family is not None and not has_source_address(family, address):
        return Ending.CONNECT_REFUSED, error_words(error)
    return _failed(error, Ending.CONNECT_REFUSED)


def _failed(error: OSError, otherwise: Ending, what: str = "") -> Ended:
    """Ending of a failed call: client limit, or what it is ``otherwise``."""
    if is_shortage(error):
        return client_limit(error, what)
    return otherwise, what + error_words(error)
