"""Process tree: processor time and memory of processes with their descendants."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psutil

__all__ = ["ProcessTree", "TreeUse", "with_descendants"]

_NS_PER_S: Final = 1_000_000_000
_SCAN_SHARE: Final = 50
"""Looking for children takes one part in so many of the time at most: 2 % of one core."""
_CPUCLOCK_SCHED: Final = 2
FINE_CLOCK: Final = sys.platform == "linux"
"""Whether a process's processor time is read in ns and not in ticks."""


@dataclass(frozen=True, slots=True)
class TreeUse:
    """Processor time and memory of a process tree."""

    cpu_ns: int | None
    """Processor time of all of them since the tree was first looked at; None where it may not be read."""
    rss_bytes: int | None
    """Sum of their resident sets: pages that they share count in each."""
    absent: str = ""
    """Why a figure is missing, for a person."""


class _Member:
    """Process of the tree, with its processor time counted so far."""

    def __init__(self, process: psutil.Process, *, counted: bool) -> None:
        """``counted``: earlier processor time belongs to the time before the tree."""
        self.process = process
        self._clock = _clock_of(process.pid)
        self._seen_ns = self._cpu_ns() if counted else 0

    def more_ns(self) -> int:
        """Processor time since the last call."""
        before, self._seen_ns = self._seen_ns, self._cpu_ns()
        return max(self._seen_ns - before, 0)

    def _cpu_ns(self) -> int:
        if self._clock is not None:
            try:
                return time.clock_gettime_ns(self._clock)
            except OSError:
                import psutil

                raise psutil.NoSuchProcess(self.process.pid) from None
        times = self.process.cpu_times()
        return round((times.user + times.system) * _NS_PER_S)


def _this_process() -> tuple[int, ...]:
    return (os.getpid(),)


class ProcessTree:
    """Process tree: given processes and all their descendants, as they change.

    A process id stands for the process that was found, not for a later one that got the same id.  What a process uses
    in the last moments before it ends (one interval at most) is lost; what a child used before it was found is
    counted when it is found.
    """

    def __init__(self, pids: Iterable[int], apart: Callable[[], Collection[int]] = _this_process) -> None:
        """Set up the tree; processes are found at the first read.

        Args:
            pids: The roots; of several that descend from each other each process counts once.
            apart: Processes that are no part of the tree, with all that they start, even where a root started them.
                Unless said otherwise this process and its own, also where the server started pytest.

        """
        self._roots = tuple(pids)
        self._apart = apart
        self._members: dict[int, _Member] = {}
        self._cpu_ns = 0
        self._scan_at_ns = 0
        self._looked = False
        self.ended = False
        """Whether none of the processes is left; then it stays so."""

    @property
    def pids(self) -> Collection[int]:
        """Process ids of the tree, as of the last read."""
        return self._members.keys()

    def read(self) -> TreeUse:
        """Read processor time and memory of all processes.

        Took 0.05 ms per process; looking for the children 0.01 ms per thread of the tree on Linux, and elsewhere as
        long as listing all processes of the machine (two cores of an AMD EPYC).
        """
        import psutil

        try:
            self._scan()
            rss_bytes = self._count()
        except psutil.AccessDenied:
            return TreeUse(None, None, "no permission to look at the server's processes")
        except OSError as error:  # too many open files: what can't be read now may be read later
            return TreeUse(None, None, f"the server's processes can't be read: {error.strerror or error}")
        if not rss_bytes:
            self.ended = True
            return TreeUse(None, None, "the server's process has ended")
        return TreeUse(self._cpu_ns, rss_bytes)

    def _count(self) -> int:
        """Sum processor time and memory; drops ended processes."""
        import psutil

        rss_bytes = 0
        for pid, member in list(self._members.items()):
            try:
                rss = member.process.memory_info().rss
                more_ns = member.more_ns()
            except (psutil.NoSuchProcess, ProcessLookupError):
                rss = more_ns = 0
            if rss:
                rss_bytes += rss
                self._cpu_ns += more_ns
            else:  # a zombie has no memory, and a process that runs is never without
                del self._members[pid]
        return rss_bytes

    def _scan(self) -> None:
        """Find the tree's members, unless that was done just before."""
        import psutil

        began_ns = time.monotonic_ns()
        if began_ns < self._scan_at_ns:
            return
        for pid, member in list(self._members.items()):
            if not member.process.is_running():
                del self._members[pid]
        # Later scans start from the members: a root that has ended may have passed its id to another process, and a
        # process that has outlived its parent is no descendant of a root any more.
        for pid in with_descendants(self._members if self._looked else self._roots, self._apart()):
            if pid not in self._members:
                try:
                    # A new process was born since the last scan: all that it used counts.
                    self._members[pid] = _Member(psutil.Process(pid), counted=not self._looked)
                except psutil.NoSuchProcess:
                    continue
        self._looked = True
        self._scan_at_ns = began_ns + _SCAN_SHARE * (time.monotonic_ns() - began_ns)


def _clock_of(pid: int) -> int | None:
    """Id of a process's CPU clock; None where there is none.

    Made as clock_getcpuclockid(3) makes it.

    In ns where /proc has ticks of 10 ms, 0.8 µs where psutil takes 24, and open for every process.
    """
    if not FINE_CLOCK:
        return None
    clock = (~pid << 3) | _CPUCLOCK_SCHED
    try:
        time.clock_gettime_ns(clock)
    except OSError:
        return None
    return clock


def with_descendants(roots: Iterable[int], apart: Collection[int] | None = None) -> list[int]:
    """These processes and all descendants, without those ``apart`` and theirs.

    ``apart`` None: without this process.
    """
    apart = frozenset(_this_process() if apart is None else apart)
    found: dict[int, None] = {}
    waiting = [pid for pid in roots if pid not in apart]
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found[pid] = None
        children = _children_on_linux(pid) if sys.platform == "linux" else None
        if children is None:
            found.update(dict.fromkeys(_descendants(pid, apart)))
        else:
            waiting += (child for child in children if child not in apart)
    return list(found)


def _children_on_linux(pid: int) -> list[int] | None:
    """Children of a process; None where the kernel doesn't list them.

    Those of all its threads.

    Asking psutil reads the status of every process of the machine: 1.8 ms with 80 of them, 10 and more with 500.
    """
    tasks = f"/proc/{pid}/task"
    children: list[int] = []
    listed = False
    try:
        threads = os.listdir(tasks)  # noqa: PTH208 - a Path for each thread would be half of the cost
    except OSError:  # the process has ended
        return []
    for thread in threads:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended, or:
            with open(f"{tasks}/{thread}/children", "rb", buffering=0) as file:  # noqa: PTH123 - as above
                children += map(int, file.read().split())
            listed = True
    return children if listed or not threads else None


def _descendants(pid: int, apart: Collection[int]) -> list[int]:
    """Descendants of a process by psutil, without those ``apart`` and theirs."""
    import psutil

    try:
        found = [child.pid for child in psutil.Process(pid).children(recursive=True)]
        for other in apart:
            if other in found:
                theirs = {child.pid for child in psutil.Process(other).children(recursive=True)} | {other}
                found = [child for child in found if child not in theirs]
    except psutil.Error:
        return []
    return found
