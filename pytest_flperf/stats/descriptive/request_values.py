"""Request values: metrics of single requests, kept while a case is summed up."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from typing import Final

from pytest_flperf.wire.sample import Sample

__all__ = ["RequestValues"]

_MS_PER_S: Final = 1000
_ANSWER_CHARACTERS: Final = 1_000


class RequestValues:
    """Values of the measured requests that ended ok.

    Results hold distributions; who needs single values gets them here, so that no request is decoded again.
    """

    def __init__(self, most: int = 0) -> None:
        """Keep nothing yet.

        Args:
            most: Values of each metric to keep, those of the requests that were sent first; 0: none.

        """
        self._most = most
        self._e2e_ms = array("d")
        self._first: dict[str, list[tuple[int, float]]] = {}
        self.answer: str | None = None
        """Beginning of the first answer, thinking included where there is nothing else; None without an answer."""

    def add(self, sample: Sample, metrics: Mapping[str, float | None]) -> None:
        """Take in a measured request that ended ok, and its metrics."""
        if self.answer is None:
            self.answer = (sample.output_text or sample.reasoning_text)[:_ANSWER_CHARACTERS]
        e2e_ms = metrics["e2e_ms"]
        if e2e_ms is not None:
            self._e2e_ms.append(e2e_ms)
        if self._most:
            self._keep(sample.started_ns if sample.sent_ns is None else sample.sent_ns, metrics)

    def _keep(self, sent_ns: int, metrics: Mapping[str, float | None]) -> None:
        for name, value in metrics.items():
            if value is None:
                continue
            kept = self._first.setdefault(name, [])
            kept.append((sent_ns, value))
            if len(kept) >= 2 * self._most:  # seldom: sorting costs less than a search at each request
                kept.sort()
                del kept[self._most :]

    def e2e_s(self) -> list[float]:
        """End-to-end times in seconds, in the order in which the requests ended."""
        return [each / _MS_PER_S for each in self._e2e_ms]

    def first(self, names: Collection[str]) -> dict[str, tuple[float, ...]]:
        """Values by metric, in the order in which their requests were sent; metrics without any are left out."""
        return {
            name: tuple(value for _, value in sorted(self._first[name])[: self._most])
            for name in names
            if name in self._first
        }
