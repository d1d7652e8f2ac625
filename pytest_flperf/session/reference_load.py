"""Reference load: a fixed load, interleaved with every case.

It makes runs of different days comparable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_flperf.results.records import Measured
from pytest_flperf.session.planned_cases import PlannedTest
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Case, Settings
from pytest_flperf.suite.targets import TargetSpec

if TYPE_CHECKING:
    from pytest_flperf.measurement.case_run import Prepared
    from pytest_flperf.measurement.paired import Until
    from pytest_flperf.measurement.standings import OtherSide

__all__ = ["Reference"]

_TARGET: Final = TargetSpec("flperf-micro", "foundry", "reference load")
"""The larger embedded model, which every installation has."""
_PROMPT: Final = "A fixed load, the same on every machine and in every run, tells how fast the machine is right now."
_TOKENS: Final = 48
_NO_END: Final = 100_000
"""Maximum pairs of a case that ends by its duration."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference load as the other side of every case."""

    def of(self, case: Case) -> Case | None:
        """Reference load for a case; None if it can't be interleaved."""
        from pytest_flperf.measurement.paired import why_not_interleaved

        if why_not_interleaved(case):
            return None
        scenario = replace(
            case.scenario,
            messages=(Message("user", _PROMPT),),
            settings=Settings(iterations=None, warmup=2, max_tokens=_TOKENS),
            source=None,
            expect=None,
            budgets=(),
        )
        return replace(case, scenario=scenario, model=_TARGET.label, target=_TARGET)

    def targets(self, of: Iterable[TargetSpec]) -> tuple[TargetSpec, ...]:
        """Target of the reference load."""
        del of
        return (_TARGET,)

    def until(self, prepared: Prepared, tests: Iterable[PlannedTest]) -> Until:
        """Stopping rule: as many turns as the case has request rounds."""
        del tests
        from pytest_flperf.gates.paired_results import REFERENCE_TERMS
        from pytest_flperf.measurement.paired import Until

        settings = prepared.case.scenario.settings
        pairs = _NO_END if settings.iterations is None else math.ceil(settings.iterations / settings.concurrency)
        return Until((pairs,), lambda _standings: True, terms=REFERENCE_TERMS)

    def judged(self, result: Measured, other: OtherSide, case: Case) -> Measured:
        """Add the reference result and relative metrics to a result."""
        del case
        from pytest_flperf.gates.paired_results import REFERENCE_TERMS, with_other_side

        return with_other_side(result, other, REFERENCE_TERMS)
