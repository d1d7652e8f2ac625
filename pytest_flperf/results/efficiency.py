"""Cost, energy and reasoning tokens of a case, in relation to its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.cost import Cost, Energy
from pytest_flperf.results.measured import Distribution, Requests

__all__ = ["EfficiencyAccess"]


class _Measured(Protocol):
    @property
    def cost(self) -> Cost | None: ...
    @property
    def energy(self) -> Energy | None: ...
    @property
    def metrics(self) -> Mapping[str, Distribution]: ...
    @property
    def requests(self) -> Requests: ...
    @property
    def answer_quality(self) -> AnswerQuality | None: ...
    @property
    def not_scored(self) -> Mapping[str, int]: ...


class EfficiencyAccess:
    """Numbers of a case that relate cost, energy and reasoning to its answers."""

    __slots__ = ()

    @property
    def cost_total(self: _Measured) -> float | None:
        """Cost of the measured requests, in the currency of the price."""
        return None if self.cost is None else self.cost.total

    @property
    def cost_per_1k(self: _Measured) -> float | None:
        """Cost of a thousand answers."""
        return None if self.cost is None else self.cost.per_1k

    @property
    def cost_per_right(self: _Measured) -> float | None:
        """Cost per right answer."""
        return None if self.cost is None else self.cost.per_right

    @property
    def energy_per_answer_j(self: _Measured) -> float | None:
        """Energy per answer, in joules."""
        return None if self.energy is None else self.energy.per_answer_j

    @property
    def energy_per_right_j(self: _Measured) -> float | None:
        """Energy per right answer, in joules."""
        return None if self.energy is None else self.energy.per_right_j

    @property
    def quality_per_1k_reasoning(self: _Measured) -> float | None:
        """Mean quality per thousand reasoning tokens of an answer.

        None where an answer has no score, or where the reasoning tokens of an answer are unknown.
        """
        quality, reasoning = self.answer_quality, self.metrics.get("reasoning_tokens")
        if quality is None or self.not_scored or reasoning is None or reasoning.n < self.requests.ok:
            return None
        return 1000 * quality.mean / reasoning.mean if reasoning.mean else None
