"""Runs a client as a child process: with a time limit, and with the processor time of it and of all its children."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 0.1
TREE_EVERY_SAMPLES = 5
END_S = 3.0
MOST_REASON_CHARS = 160
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Ended:
    """A client's run, over."""

    status: int | None
    """Exit status; None: it ran past the time limit."""
    wall_s: float
    cpu_s: float
    """Of the whole run, from the start of the interpreter; processes that nobody waited for are missing."""
    readings: tuple[tuple[int, float], ...]
    """(CLOCK_MONOTONIC in ns, processor seconds so far) of all processes, ten times a second."""
    others_pct: float
    """What neither the client nor this process nor the server used of the machine, of its processor time."""

    def cpu_between_s(self, start_ns: int, end_ns: int) -> float | None:
        """Processor time of a part of the run; None: there are no readings around it."""
        start, end = self._at(start_ns), self._at(end_ns)
        return None if start is None or end is None else end - start

    def _at(self, when_ns: int) -> float | None:
        """Between two readings, linearly."""
        for (early_ns, early_s), (late_ns, late_s) in zip(self.readings, self.readings[1:], strict=False):
            if early_ns <= when_ns <= late_ns:
                return early_s + (late_s - early_s) * (when_ns - early_ns) / max(late_ns - early_ns, 1)
        return None


class Meter:
    """Reads the processor time of a process and its children until it is closed."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: dict[int, psutil.Process] = {pid: self._root}
        self._used_s: dict[int, float] = {}
        self._readings: list[tuple[int, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)
        self._thread.start()

    def close(self) -> tuple[tuple[int, float], ...]:
        """Stop; returns the readings."""
        self._done.set()
        self._thread.join()
        return tuple(self._readings)

    def members(self) -> list[psutil.Process]:
        """The processes that were seen."""
        return list(self._known.values())

    def _run(self) -> None:
        number = 0
        while not self._done.is_set():
            # to find the children costs a look at every process of the machine, to read one costs next to nothing
            if number % TREE_EVERY_SAMPLES == 0:
                self._find()
            self._read()
            number += 1
            self._done.wait(SAMPLE_S)

    def _find(self) -> None:
        for parent in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                for child in parent.children(recursive=True):
                    self._known.setdefault(child.pid, child)
                return

    def _read(self) -> None:
        for pid, process in list(self._known.items()):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._used_s[pid] = times.user + times.system
        self._readings.append((time.monotonic_ns(), sum(self._used_s.values())))


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], limit_s: float, server_pid: int) -> Ended:
    """Run a client in ``folder``; what it prints goes to ``output.txt`` there."""
    server = psutil.Process(server_pid)
    started_s, busy_s, ours_s = time.monotonic(), _machine_busy_s(), _ours_s(server)
    children_s = _waited_for_s()
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        meter = Meter(process.pid)
        status: int | None = None
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            readings = meter.close()
            _end(process, meter.members())
    cpu_s = _waited_for_s() - children_s
    # what was used between the last reading and the end
    readings = (*readings, (time.monotonic_ns(), max(cpu_s, readings[-1][1] if readings else 0.0)))
    wall_s = time.monotonic() - started_s
    others_s = _machine_busy_s() - busy_s - cpu_s - (_ours_s(server) - ours_s)
    return Ended(status, wall_s, cpu_s, readings, max(0.0, 100 * others_s / (wall_s * (psutil.cpu_count() or 1))))


def reason(folder: Path, status: int | None, limit_s: float) -> str:
    """Why there is no result, for people, from what the client printed last."""
    if status is None:
        return f"ran past its {limit_s:g} s"
    with contextlib.suppress(OSError):
        said = ESCAPES.sub("", (folder / "output.txt").read_text(encoding="utf-8", errors="replace"))
        lines = [line.strip(" │|╭╰─╮╯") for line in said.splitlines()]
        errors = [line for line in lines if re.search(r"error|exception|failed|unrecognized", line, re.IGNORECASE)]
        shown = errors[-1:] or [line for line in lines if line][-1:]
        if shown:
            return f"exit {status}: {shown[0][:MOST_REASON_CHARS]}"
    return f"exit {status}"


def _end(process: subprocess.Popen[bytes], members: Sequence[psutil.Process]) -> None:
    """End what is left of a client: its session, and children that made a session of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        for member in members:
            # psutil knows a process by its start time, too, so that no other one with its number is met
            with contextlib.suppress(psutil.Error):
                member.send_signal(number)
        _, alive = psutil.wait_procs([each for each in members if each.pid != process.pid], END_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            if not alive:
                return


def _waited_for_s() -> float:
    """Processor time of children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ours_s(server: psutil.Process) -> float:
    """Processor time of the server and of this process."""
    used = [each.cpu_times() for each in (server, psutil.Process())]
    return float(sum(each.user + each.system for each in used))


def _machine_busy_s() -> float:
    """Processor time used by all processes, and taken from a virtual machine by its host."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0) + getattr(times, "steal", 0.0))
