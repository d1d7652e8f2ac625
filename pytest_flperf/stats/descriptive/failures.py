"""Failed requests, grouped, with the evidence of the first of each kind."""

from __future__ import annotations

from typing import Final, TypeAlias

from pytest_flperf.results.records import Failure
from pytest_flperf.wire.sample import Sample

__all__ = ["KINDS_SHOWN", "Failures"]

KINDS_SHOWN: Final = 5
_KINDS_KEPT: Final = 200  # a server may word every error anew
_TEXT_KEPT: Final = 2048
_Kind: TypeAlias = tuple[str, int | None, str]


class Failures:
    """Collects failed requests; two are alike where outcome, status and detail are."""

    def __init__(self) -> None:
        """Start with none."""
        self._counts: dict[_Kind, int] = {}
        self._bodies: dict[_Kind, str] = {}

    def add(self, sample: Sample) -> None:
        """Count a request that is not ``ok``."""
        evidence = sample.evidence
        detail = evidence.detail[:_TEXT_KEPT] if evidence else ""
        key = (sample.outcome.value, sample.status, detail)
        if key not in self._counts and len(self._counts) >= _KINDS_KEPT:
            key = (sample.outcome.value, sample.status, "and others like it, worded differently")
        self._counts[key] = self._counts.get(key, 0) + 1
        self._bodies.setdefault(key, evidence.body_head[:_TEXT_KEPT] if evidence else "")

    def top(self, limit: int = KINDS_SHOWN) -> tuple[Failure, ...]:
        """The most frequent kinds of failure, most frequent first.

        Each outcome is shown once before any is shown twice.
        """
        by_count = sorted(self._counts.items(), key=lambda item: -item[1])
        seen: set[str] = set()
        first: list[tuple[_Kind, int]] = []
        again: list[tuple[_Kind, int]] = []
        for key, count in by_count:
            (again if key[0] in seen else first).append((key, count))
            seen.add(key[0])
        chosen = sorted([*first, *again][:limit], key=lambda item: -item[1])
        return tuple(
            Failure(outcome=key[0], count=count, status=key[1], detail=key[2], body_head=self._bodies[key])
            for key, count in chosen
        )
