"""Resource use of a case, summed up from its readings.

The readings come live or from ``resources.jsonl``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_flperf.results.metrics import RESOURCE_METRICS
from pytest_flperf.results.records import ResourceUse
from pytest_flperf.telemetry.readings import GPU_METRICS, HOST_METRICS, SERVER_METRICS
from pytest_flperf.wire.exchange import Phase

__all__ = ["CaseResources", "Sums", "joined", "stored_resources"]

_NOT_YET: Final = "it had not answered yet"
_TOO_SHORT: Final = "the case was too short for it"
_LARGEST: Final = 1 << 62
_METRICS_OF: Final[Mapping[str, tuple[str, ...]]] = {"host": (*HOST_METRICS, *SERVER_METRICS), "gpu": GPU_METRICS}
"""By the name that a source has in ``resources.jsonl``."""


@dataclass(frozen=True, slots=True)
class CaseResources:
    """Resource use of a case."""

    use: Mapping[str, ResourceUse] = field(default_factory=dict)
    """By metric; what could not be measured is not among them."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why, by metric, for the others."""
    notes: tuple[str, ...] = ()
    """Lines for a person: how much of the machine's load comes from unknown processes."""


class Sums:
    """Aggregated readings of one source."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._sums = {metric: _Sum() for metric in metrics}
        self.before_ns: int | None = None
        """When the last reading was taken; None: there was none yet."""
        self._counted = False
        self.reasons: dict[str, str] = {}
        """Why metrics were not read, as far as readings have told."""

    @property
    def metrics(self) -> frozenset[str]:
        """Metrics of the source."""
        return frozenset(self._sums)

    def add(self, at_ns: int, values: Mapping[str, float], *, counts: bool) -> None:
        """Add a reading; an uncounted one is the base of the next."""
        if counts and self.before_ns is not None:
            self._counted = True
            for metric, value in values.items():
                self._sums[metric].add(value, at_ns - self.before_ns)
        self.before_ns = at_ns

    def result(self, never: Mapping[str, str] | None = None) -> CaseResources:
        """Resource use so far; ``never``: why metrics can't ever be read."""
        use = {metric: each.use() for metric, each in self._sums.items() if each.n}
        known = {**self.reasons, **(never or {})}
        fallback = _TOO_SHORT if self._counted else _NOT_YET
        return CaseResources(use, {name: known.get(name, fallback) for name in self._sums if name not in use})


def joined(found: Iterable[CaseResources]) -> CaseResources:
    """Merge the resources of all sources, in results-file order."""
    every = tuple(found)
    use = {name: value for each in every for name, value in each.use.items()}
    absent = {name: reason for each in every for name, reason in each.absent.items()}
    return CaseResources(
        {name: use[name] for name in RESOURCE_METRICS if name in use},
        {name: absent[name] for name in RESOURCE_METRICS if name in absent},
    )


def stored_resources(lines: Iterable[Mapping[str, Any]]) -> CaseResources:
    """Resource use from a case's lines in ``resources.jsonl``."""
    sums = {name: Sums(metrics) for name, metrics in _METRICS_OF.items()}
    for line in lines:
        name = line.get("source", "host" if line.keys().isdisjoint(GPU_METRICS) else "gpu")  # older versions don't say
        source, at_ns, absent = sums.get(str(name)), line.get("at_ns"), line.get("absent")
        if source is None or type(at_ns) is not int or not 0 <= at_ns < _LARGEST:
            continue
        if isinstance(absent, dict):
            source.reasons.update({name: str(why) for name, why in absent.items() if name in source.metrics})
        if line.get("never") is not True:
            values = {name: line[name] for name in source.metrics if _is_number(line.get(name))}
            source.add(at_ns, values, counts=line.get("phase") == Phase.MEASURED.value)
    return joined(each.result() for each in sums.values())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


@dataclass(slots=True)
class _Sum:
    """Time-weighted mean and extremes of one metric."""

    n: int = 0
    low: float = 0.0
    high: float = 0.0
    weighted: float = 0.0
    weight: float = 0.0

    def add(self, value: float, span_ns: int) -> None:
        weight = max(span_ns, 1)
        self.low = min(self.low, value) if self.n else value
        self.high = max(self.high, value) if self.n else value
        self.weighted += value * weight
        self.weight += weight
        self.n += 1

    def use(self) -> ResourceUse:
        # Rounding of a long sum must not carry a mean beyond its own values.
        mean = min(max(self.weighted / self.weight, self.low), self.high)
        return ResourceUse(n=self.n, mean=mean, min=self.low, max=self.high)
