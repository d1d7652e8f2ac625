"""Differences between two runs other than their numbers.

They tell a reader when two runs are not comparable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pytest_flperf.results.load import Load
from pytest_flperf.results.records import HostInfo, Measured, Run
from pytest_flperf.results.serving import Target

__all__ = ["differences", "sides_differ"]

_NOT_KNOWN: Final = "not known"
_WIDTH: Final = 80
_TARGET: Final = (
    ("backend", "backend"),
    ("transport", "transport"),
    ("device", "device"),
    ("execution_provider", "execution provider"),
    ("model_id", "model"),
    ("variant", "model variant"),
    ("size_mb", "model size (MB)"),
    ("context_length", "context length"),
)
_LOAD: Final = tuple(name for name in Load.__slots__ if name not in ("warmup",))
_RUNTIMES: Final = ("foundry_local_core", "foundry_local_sdk", "onnxruntime", "onnxruntime_genai_core")
"""Versions that serve a model within our own processes, by their keys in the results."""
_MB_PER_GB: Final = 1024


def differences(a: Run, b: Run, case_a: Measured, case_b: Measured) -> tuple[str, ...]:
    """Differences of a case in two runs, one line each.

    Such as ``device: CPU → GPU``.

    Compared are the machine (what its fingerprint is made of, not its name), the target that served the model, the
    versions that take part, and the load, settings and parameters.  Of prompts only that they differ: results hold no
    text of a suite.

    Args:
        a: The earlier run.
        b: The later one.
        case_a: The case in the earlier run.
        case_b: The case in the later one.

    """
    return (
        *_host(a.host, b.host),
        *_target(case_a.target, case_b.target),
        *_versions(a.versions, b.versions, case_b.target or case_a.target),
        *_load(case_a, case_b),
        *_sent(case_a, case_b),
        *_line("price", _price(case_a), _price(case_b)),
    )


def sides_differ(baseline: Measured, candidate: Measured) -> tuple[str, ...]:
    """Differences between the two sides of a case in one run.

    Compared are the targets that served them, their addresses, and what was sent.
    """
    there, here = (None if side.target is None else side.target.base_url for side in (baseline, candidate))
    return (
        *_target(baseline.target, candidate.target),
        *_line("base_url", there, here),
        *_load(baseline, candidate),
        *_sent(baseline, candidate),
        *_line("price", _price(baseline), _price(candidate)),
    )


def _price(case: Measured) -> str | None:
    """The price, without its source and date: those change nothing."""
    return None if case.price is None else replace(case.price, source="", date="").words


def _host(a: HostInfo | None, b: HostInfo | None) -> Iterator[str]:
    if a is None or b is None:
        if a is not b:
            yield from _line("machine", None if a is None else a.cpu, None if b is None else b.cpu)
        return
    yield from _line("processor", a.cpu, b.cpu)
    yield from _line("logical cores", a.cores, b.cores)
    yield from _line("usable cores", a.usable_cores, b.usable_cores)
    yield from _line("memory (GB)", round(a.ram_mb / _MB_PER_GB), round(b.ram_mb / _MB_PER_GB))
    yield from _line("system", a.os.partition(", kernel ")[0], b.os.partition(", kernel ")[0])
    yield from _line("architecture", a.machine, b.machine)
    yield from _line("accelerators", ", ".join(sorted(a.gpus)) or "none", ", ".join(sorted(b.gpus)) or "none")


def _target(a: Target | None, b: Target | None) -> Iterator[str]:
    for name, word in _TARGET:
        yield from _line(word, getattr(a, name, None), getattr(b, name, None))


def _versions(a: Mapping[str, str], b: Mapping[str, str], target: Target | None) -> Iterator[str]:
    serving = _RUNTIMES if target is None or target.backend.startswith("foundry") else ()
    for name in (*serving, "pytest_flperf"):
        if name in a or name in b:
            yield from _line(name.replace("_", "-"), a.get(name), b.get(name))


def _load(a: Measured, b: Measured) -> Iterator[str]:
    for name in _LOAD:
        yield from _line(f"load {name}", getattr(a.load, name, None), getattr(b.load, name, None))
    if a.prompts_digest and b.prompts_digest and a.prompts_digest != b.prompts_digest:
        yield f"prompts: {a.prompts_digest} → {b.prompts_digest}"


def _sent(a: Measured, b: Measured) -> Iterator[str]:
    for name in dict.fromkeys((*a.settings, *b.settings)):
        yield from _line(f"setting {name}", a.settings.get(name), b.settings.get(name))
    for name in dict.fromkeys((*a.parameters, *b.parameters)):
        yield from _line(f"parameter {name}", a.parameters.get(name), b.parameters.get(name))
    sent_a, sent_b = ({each.parameter: each.sent or "left out" for each in case.adjusted} for case in (a, b))
    for name in dict.fromkeys((*sent_a, *sent_b)):
        yield from _line(f"sent {name}", sent_a.get(name, "as asked"), sent_b.get(name, "as asked"))


def _line(word: str, a: Any, b: Any) -> Iterator[str]:
    if a != b:
        yield f"{word}: {_shown(a)} → {_shown(b)}"


def _shown(value: Any) -> str:
    if value is None:
        return _NOT_KNOWN
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
