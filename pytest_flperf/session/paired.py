"""Paired measurement: the other side, stopping rule, and result.

Requests of both sides are interleaved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.gates.comparison import settled
from pytest_flperf.gates.rules import Rule, RuleError, is_mean, is_score, parse_rules, rules_for
from pytest_flperf.results.records import Measured, PlannedCase, Requests
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.options import RunOptions
from pytest_flperf.session.planned_cases import PlannedTest
from pytest_flperf.session.reference_load import Reference
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.suite.against import (
    AgainstSpec,
    opposite,
    opposite_target,
    parse_against,
    parse_own_against,
    turn_streams,
)
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.load_shapes import first_pass_of, rows_asked
from pytest_flperf.suite.model import Case

if TYPE_CHECKING:
    from pytest_flperf.gates.paired_results import PairTerms
    from pytest_flperf.measurement.case_run import Prepared
    from pytest_flperf.measurement.paired import Until
    from pytest_flperf.measurement.standings import OtherSide, Standings
    from pytest_flperf.suite.targets import TargetSpec

__all__ = [
    "DEFAULT_PAIRS",
    "MEAN_PAIRS",
    "Opposition",
    "check_comparing",
    "check_use",
    "comparisons_of",
    "most_pairs",
    "opposition_of",
    "requests_words",
    "rules_of",
    "side_of",
    "with_rules_of",
]

DEFAULT_PAIRS: Final = 60
"""Pairs of turns after which an undecided case ends."""
MEAN_PAIRS: Final = 100
"""Likewise, if a rule names a mean: enough pairs to include rare slow answers."""
_FLAG: Final = "--flperf-against"


def check_comparing(options: RunOptions) -> None:
    """Validate comparison options; raises OptionsError.

    Refuses a malformed rule or other side, and options without effect.
    """
    rules_of(options)
    if options.against is not None:
        _spec(options.against)
        if options.parallel_targets:
            raise OptionsError(f"{_FLAG} measures turn by turn; it can't be combined with --flperf-parallel-targets")
    if options.reference:
        other = _FLAG if options.against else "--flperf-parallel-targets" if options.parallel_targets else ""
        if other:
            raise OptionsError(f"--flperf-reference measures turn by turn; it can't be combined with {other}")
    if options.require_baseline and options.baseline is None:
        raise OptionsError("--flperf-require-baseline: no baseline is named; add --flperf-baseline=RUN")
    if not options.suites:  # else a suite may have sides of its own
        check_use(options, own_sides=False)


def check_use(options: RunOptions, *, own_sides: bool) -> None:
    """Refuse options of comparisons where nothing is compared; raises OptionsError.

    ``own_sides``: whether a suite says what some of its cases are measured against.
    """
    in_turns = bool(options.against or own_sides)
    for flag, given, use in (
        ("--flperf-fail-on", options.fail_on, in_turns or options.baseline),
        ("--flperf-fail-undecided", options.fail_undecided, in_turns or options.baseline),
        ("--flperf-max-iterations", options.max_iterations, in_turns),
    ):
        if given and not use:
            what = "--flperf-against=WHAT" + " or --flperf-baseline=RUN" * (flag != "--flperf-max-iterations")
            raise OptionsError(f"{flag}: there is nothing to compare with; add {what}")


def requests_words(options: RunOptions, cases: Sequence[Case]) -> str:
    """Number of requests per case, in words."""
    from pytest_flperf.stats.inference.schedule import FIRST_LOOK

    sides = [(each, spec) for each in cases if (spec := side_of(each, options)) is not None]
    differ = any("concurrency" in spec.settings for _, spec in sides)
    most, streams = f"{options.max_iterations}", "stream" + " of the side with more" * differ
    if options.max_iterations is None:
        rules = rules_of(options)
        found = sorted(
            {most_pairs(case, with_rules_of(case, rules), None, turn_streams(case, spec)) for case, spec in sides}
        )
        most = f"{' or '.join(map(str, found or [DEFAULT_PAIRS]))} per {streams}"
    return f"from {FIRST_LOOK} requests per {streams} to {most}, on each of two sides,"


def side_of(case: Case, options: RunOptions) -> AgainstSpec | None:
    """Other side of a case: the command line's, else its scenario's own; None: it is measured alone."""
    return _side_of(case, None if options.against is None else _spec(options.against))


def _side_of(case: Case, given: AgainstSpec | None) -> AgainstSpec | None:
    own = case.scenario.against
    return given if given is not None or not own else parse_own_against(own, f"scenario {case.scenario.name}: against")


def most_pairs(case: Case, rules: Iterable[Rule], max_iterations: int | None, per_turn: int) -> int:
    """Maximum pairs of turns for an undecided case.

    A rule on a score asks every row of a data set, as a run without another side does.

    Args:
        case: The case.
        rules: As written, including those of its suite.
        max_iterations: Option of the command line: maximum requests of each side.
        per_turn: Requests in a turn of each side.

    """
    if max_iterations is not None:
        return math.ceil(max_iterations / per_turn)
    of_case = rules_for(case.scenario.name, rules)
    most = MEAN_PAIRS if any(map(is_mean, of_case)) else DEFAULT_PAIRS
    if not any(map(is_score, of_case)):
        return most
    return max(most, math.ceil(rows_asked(case.scenario) * case.scenario.settings.repeat / per_turn))


def rules_of(options: RunOptions) -> tuple[Rule, ...]:
    """Rules of the command line; raises OptionsError."""
    try:
        return parse_rules(options.fail_on, "--flperf-fail-on")
    except RuleError as error:
        raise OptionsError(f"--flperf-fail-on: {error}") from error


def _spec(text: str) -> AgainstSpec:
    try:
        return parse_against(text, _FLAG)
    except SuiteError as error:
        raise OptionsError(str(error)) from error


def opposition_of(options: RunOptions) -> Opposition | Reference | None:
    """Other side that cases are interleaved with; raises OptionsError.

    None: cases are measured alone, whatever their scenarios say.
    """
    if options.reference:
        return Reference()
    if options.parallel_targets:
        return None
    spec = None if options.against is None else _spec(options.against)
    baseline = options.baseline is not None
    return Opposition(spec, rules_of(options), options.fail_undecided, options.max_iterations, baseline)


def with_rules_of(case: Case, rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Rules of a case: suite, scenario and command line."""
    return (*parse_rules(case.scenario.fail_on, "suite"), *rules) if case.scenario.fail_on else tuple(rules)


def comparisons_of(tests: Iterable[PlannedTest], rules: Sequence[Rule], *, against: bool, baseline: bool) -> int:
    """Number of comparisons in a run, at least 1.

    The run's error rate is shared between them.

    Args:
        tests: All tests that measure, including those of other workers.
        rules: Rules of the command line.
        against: Whether every case is measured in turns with another side; else those whose scenario says so.
        baseline: Whether every case is compared with a stored run.

    """
    count = 0
    for name, case in tests:
        if case is None:
            count += len(rules_for(name, rules)) * (against + baseline)
        else:
            sides = (against or bool(case.scenario.against)) + baseline
            count += len(rules_for(case.scenario.name, with_rules_of(case, rules))) * sides
    return max(count, 1)


@dataclass(slots=True)
class Opposition:
    """The other sides of the cases of a run."""

    spec: AgainstSpec | None
    """Of every case; None: each scenario's own."""
    rules: tuple[Rule, ...]
    fail_undecided: bool = False
    max_iterations: int | None = None
    """Most measured requests of each side of a case; None: as :func:`most_pairs` says."""
    baseline: bool = False
    """Whether cases are compared with a stored run, too."""
    comparisons: int = 0
    """Comparisons that share the run's error rate: all rules on all cases; known at the first case."""

    def of(self, case: Case) -> Case | None:
        """The other side of a case; None: it is measured alone."""
        spec = _side_of(case, self.spec)
        return None if spec is None else opposite(case, spec)

    def targets(self, of: Iterable[TargetSpec]) -> tuple[TargetSpec, ...]:
        """Targets of the other sides, apart from those of the cases themselves."""
        spec = self.spec
        return () if spec is None else tuple(opposite_target(target, spec) for target in of)

    def until(self, prepared: Prepared, tests: Iterable[PlannedTest]) -> Until:
        """Stopping rule of a case: failed, or nothing left to decide.

        Args:
            prepared: The prepared case.
            tests: All tests that measure, including those of other workers.

        """
        from pytest_flperf.gates.paired_results import compares_gaps
        from pytest_flperf.measurement.paired import Until
        from pytest_flperf.stats.inference.schedule import looks

        case, planned = prepared.case, prepared.planned
        if not self.comparisons:
            against = self.spec is not None
            self.comparisons = comparisons_of(tests, self.rules, against=against, baseline=self.baseline)
        terms = self._terms(case)

        def decided(standings: Standings) -> bool:
            ours, theirs = (_seen(planned, standings, side, terms.rules) for side in (0, 1))
            return settled(terms.compared(ours, theirs, standings))

        spec = _side_of(case, self.spec)
        per_turn = case.scenario.settings.concurrency if spec is None else turn_streams(case, spec)
        most = most_pairs(case, terms.rules, self.max_iterations, per_turn)
        record = terms.to_record()
        return Until(looks(most), decided, compares_gaps(record, planned.scenario), record, same_requests=True)

    def judged(self, result: Measured, other: OtherSide, case: Case) -> Measured:
        """Add the other side and its comparison to a result."""
        from pytest_flperf.gates.paired_results import with_other_side

        return with_other_side(result, other, self._terms(case).to_record())

    def _terms(self, case: Case) -> PairTerms:
        from pytest_flperf.gates.paired_results import PairTerms

        rules, first_pass = with_rules_of(case, self.rules), first_pass_of(case.scenario)
        spec = _side_of(case, self.spec)
        label = "" if spec is None else spec.text
        return PairTerms(label, rules, max(self.comparisons, 1), self.fail_undecided, first_pass)


def _seen(planned: PlannedCase, standings: Standings, side: int, rules: Sequence[Rule]) -> Measured:
    """Partial result of a side, enough for a decision."""
    (ok, total), timeouts = standings.counts(side), standings.timeouts(side)
    found = {
        rule.measure: distribution(standings.values(rule.metric, side, rule.category))
        for rule in rules_for(planned.scenario, rules)
    }
    return Measured.of(
        planned,
        tps_total=standings.rate("tps_total", side),
        request_rate=standings.rate("request_rate", side),
        goodput=standings.rate("goodput", side),
        requests=Requests(total=total, ok=ok, failed=total - ok, timeouts=timeouts),
        error_rate=(total - ok) / total if total else None,
        metrics={name: each for name, each in found.items() if each is not None},
        not_scored=standings.not_scored(side),
    )
