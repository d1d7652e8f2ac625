"""The ``flperf`` fixture: measurements from a user's own test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import pytest

from pytest_flperf._text import harmless, harmless_lines
from pytest_flperf.gates.not_measured import why_not_measured
from pytest_flperf.integration.collection import SELECTION
from pytest_flperf.integration.current_run import MeasuringTests, measuring_run
from pytest_flperf.integration.item_state import add_item_result, raise_unless_passed
from pytest_flperf.integration.signals import stopper_of
from pytest_flperf.options import MEASURES
from pytest_flperf.results.metric_access import CaseMetric, MetricAccess, NotMeasuredError
from pytest_flperf.results.metrics import CASE_METRICS, REQUEST_METRICS, RESOURCE_METRICS
from pytest_flperf.results.records import CaseResult, Distribution, ResourceUse
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.mutual_exclusion import CallError, Calls, UnheardFailures
from pytest_flperf.session.planning import overrides_of
from pytest_flperf.session.run import MeasuringRun
from pytest_flperf.session.time_limit import OutOfTimeError
from pytest_flperf.session.unfinished import stopped

if TYPE_CHECKING:
    from pytest_flperf.session.scorer_checks import CheckedScorers
    from pytest_flperf.suite.model import Case, Scenario, Suite
    from pytest_flperf.suite.scenario_settings import ScenarioSettings

__all__ = ["Flperf", "Measurement"]

_SCORERS: Final[pytest.StashKey[CheckedScorers]] = pytest.StashKey()
"""On the config: scorers that tests name, those that were checked."""


class Measurement(MetricAccess):
    """Result of one ``flperf.run``: ``result.ttft_ms.p95``, ``result.error_rate``, ``result.case``.

    A metric of requests is a distribution, one of the case a number, a resource its mean and extremes.  Reading a
    metric of requests or a resource without a value raises NotMeasuredError, which fails the test.
    """

    error_rate = CaseMetric()
    timeout_rate = CaseMetric()
    tool_right = CaseMetric()
    argument_right = CaseMetric()
    abstained = CaseMetric()
    malformed = CaseMetric()
    cost_total = CaseMetric()
    cost_per_1k = CaseMetric()
    cost_per_right = CaseMetric()
    quality_per_1k_reasoning = CaseMetric()
    energy_per_answer_j = CaseMetric()
    energy_per_right_j = CaseMetric()
    timeouts = CaseMetric()
    recovered = CaseMetric()
    request_rate = CaseMetric()
    goodput = CaseMetric()
    offered_rate = CaseMetric()
    sent_rate = CaseMetric()
    max_concurrency = CaseMetric()
    max_rate = CaseMetric()
    tps_total = CaseMetric()
    wall_s = CaseMetric()
    load_s = CaseMetric()
    cold_ttft_ms = CaseMetric()
    download_s = CaseMetric()
    model_rss_mb = CaseMetric()
    late_reads = CaseMetric()
    clock_steps = CaseMetric()
    stalls = CaseMetric()
    coalesced_pct = CaseMetric()
    tokens_per_chunk = CaseMetric()

    def __init__(self, case: CaseResult) -> None:
        self.case = case
        """Everything, as it goes into ``results.json``."""

    if not TYPE_CHECKING:  # type checkers know the metrics, and report any other name

        def __getattr__(self, name: str) -> Any:
            """Refuse an unknown metric, with the nearest known one."""
            from pytest_flperf.gates.budget_grammar import nearest_metric

            hint = nearest_metric(name, [*REQUEST_METRICS, *CASE_METRICS, *RESOURCE_METRICS])
            raise AttributeError(f"no metric {name!r}{hint}")

    def distribution(self, name: str) -> Distribution:
        """Distribution of a metric of requests; raises NotMeasuredError with the reason."""
        if name in self.case.metrics or (name == "quality" and self.case.not_scored):
            return self.case.distribution(name)
        raise NotMeasuredError(f"no value of {name} was measured: {self._why(name)}")

    def resource(self, name: str) -> ResourceUse:
        """Use of a resource; raises NotMeasuredError with the reason."""
        if name in self.case.resources:
            return self.case.resource(name)
        raise NotMeasuredError(f"{name} was not measured: {self._why(name)}")

    def number(self, name: str) -> float | None:
        """Metric of the case; None where it was not measured."""
        of = self.case if hasattr(self.case, name) else self.case.requests
        found: float | None = getattr(of, name)
        return found

    def _why(self, name: str) -> str:
        """Reason why a metric was not measured.

        If no request was measured, the case's message.
        """
        return (not self.case.requests.total and self.case.message) or why_not_measured(self.case, name)

    @property
    def passed(self) -> bool:
        """Whether every budget was met."""
        return self.case.outcome == "passed"

    def __repr__(self) -> str:
        requests = self.case.requests
        return harmless(f"<Measurement of {self.case.model!r}: {requests.ok} ok, {requests.failed} failed>")


class Flperf:
    """Value of the ``flperf`` fixture; each :meth:`run` measures one case.

    Each case has its own row in the table and the results.
    """

    def __init__(
        self, run: MeasuringRun, item: pytest.Item, model: str, suite: Suite, scenario: Scenario | None
    ) -> None:
        self._run = run
        self._item = item
        self._model = model
        self._suite = suite
        self._scenario = scenario
        self._numbers = itertools.count(1)
        self._calls = Calls(item.nodeid)
        self._unheard = UnheardFailures()

    @classmethod
    def from_request(cls, request: pytest.FixtureRequest) -> Flperf:
        """Create it from markers and options; fails set-up if invalid."""
        request.node.stash[MEASURES] = True
        try:
            return cls._marked(request)
        except (OptionsError, pytest.UsageError) as error:
            fault = str(error)
        pytest.fail(harmless_lines(fault), pytrace=False)

    @classmethod
    def _marked(cls, request: pytest.FixtureRequest) -> Flperf:
        run = measuring_run(request.config)
        given: dict[str, Any] = {}
        for marker in request.node.iter_markers("flperf"):
            given = {**marker.kwargs, **given}  # the closest marker wins
        suite, scenario = _template(request.config, given.get("suite"), given.get("scenario"))
        return cls(run, request.node, given.get("model") or run.default_model, suite, scenario)

    @contextmanager
    def until_the_end(self) -> Iterator[Self]:
        """Context of the fixture while its test runs.

        At the end, measurements still running in threads are cancelled and kept, and they fail the test.  A failure
        that only a thread saw fails it, too.
        """
        with self._unheard.listening():
            yield self
            late = self._calls.end(self._run.turns.cancel_elsewhere)
        if stopper_of(self._item.config).struck:  # pytest finalises the fixture after its reports
            return
        if late:
            self._run.turns.renew()
            pytest.fail("flperf.run was still measuring when the test ended: let the test wait for it", pytrace=False)
        if self._unheard.first:
            text = f"flperf.run failed in a thread, and the test did not use its result: {self._unheard.first}"
            pytest.fail(harmless_lines(text), pytrace=False)

    @property
    def model(self) -> str:
        """Model to measure, unless ``run`` names another."""
        return self._model

    def run(
        self,
        prompt: str | None = None,
        *,
        model: str | None = None,
        check: bool = True,
        **settings: Unpack[ScenarioSettings],
    ) -> Measurement:
        """Measure one case.

        If another thread measures, this waits until it has ended.

        Args:
            prompt: The prompt; None: the prompt of the marker's scenario.
            model: Another model than the marker's or the run's.
            check: Fail the test at once if a budget is missed (``error_rate <= 0`` unless ``budgets`` says
                otherwise); False leaves the verdict to the test, and the case passes if the test does.
            settings: Any setting of a scenario: ``iterations``, ``warmup``, ``concurrency``, ``max_tokens``,
                ``temperature``, ``timeout_s``, ``system``, ``messages``, ``stream``, ``budgets``, ``extra`` …

        Raises:
            pytest.fail.Exception: The model could not be made ready, a budget was missed, or a scenario has no such
                setting.
            pytest.skip.Exception: ``--flperf-max-time`` is over: nothing was measured, or not all of it.

        """
        try:
            with self._calls.one(), self._unheard.of_run():
                return self._measured(prompt, model, dict(settings), check=check)
        except CallError as error:
            fault = f"flperf.run: {error}"
        pytest.fail(harmless_lines(fault), pytrace=False)

    def _measured(self, prompt: str | None, model: str | None, settings: dict[str, Any], *, check: bool) -> Measurement:
        from pytest_flperf.measurement.runner import NotPossibleError, NotReadyError

        number = next(self._numbers)
        nodeid = self._item.nodeid if number == 1 else f"{self._item.nodeid} #{number}"
        case, fault = self._case_or_fault(nodeid, prompt, self._model if model is None else model, settings)
        if case is None:
            pytest.fail(harmless_lines(fault), pytrace=False)
        try:
            with self._run.turns.mine(nodeid, self._go_on) as note:
                self._check_scorers(case.scenario)
                tests, keep = MeasuringTests(self._item.session), partial(add_item_result, self._item)
                result = self._run.measure(self._run.ready(case, nodeid), case.scenario.budgets, tests, keep)
            result = replace(result, notes=(*result.notes, note)) if note else result
            if self._calls.over:
                result = stopped(result, "stopped", "its test had ended before")
        except (NotReadyError, NotPossibleError, OutOfTimeError) as error:
            result = self._run.not_ready(case, nodeid, error)
        add_item_result(self._item, result if check else _left_to_the_test(result))
        if check or result.outcome != "failed":
            raise_unless_passed(result)
        return Measurement(result)

    def _check_scorers(self, scenario: Scenario) -> None:
        """Fail the test for a scorer that can't be called; in its turn, for importing takes the processor."""
        from pytest_flperf.session.scorer_checks import CheckedScorers

        checked = self._item.config.stash.setdefault(_SCORERS, CheckedScorers())
        try:
            checked.check(scenario, "flperf.run")
        except OptionsError as error:
            fault = str(error)
        else:
            return
        pytest.fail(harmless_lines(fault), pytrace=False)

    def _go_on(self) -> None:
        self._calls.go_on()
        self._run.go_on()

    def _case_or_fault(
        self, nodeid: str, prompt: str | None, model: str, settings: dict[str, Any]
    ) -> tuple[Case | None, str]:
        """The case, or an error message for invalid arguments."""
        try:
            return self._case(nodeid, prompt, model, settings), ""
        except OptionsError as error:
            return None, str(error)

    def _case(self, nodeid: str, prompt: str | None, model: str, settings: dict[str, Any]) -> Case:
        from pytest_flperf.gates.budgets import parse_budgets
        from pytest_flperf.session.budget_checks import problem_of_case
        from pytest_flperf.suite.errors import SuiteError
        from pytest_flperf.suite.matrix import expand

        if not isinstance(model, str) or not model:
            raise OptionsError(f"flperf.run: model: found {model!r}, expected the name of a model")
        scenario = self._written(prompt, settings)
        suite = replace(self._suite, ref=nodeid, scenarios=(scenario,), models=(), matrix=())
        try:
            cases = expand(suite, [self._run.target(model)], overrides_of(self._run.options))
        except SuiteError as error:
            raise OptionsError(f"flperf.run: {error}") from error
        if len(cases) > 1:
            varied = " and ".join(key for key, _ in cases[0].parameters)
            raise OptionsError(
                f"flperf.run: found several values of {varied}, expected one: parametrise the test over them"
            )
        problem = problem_of_case(cases[0], parse_budgets(cases[0].scenario.budgets))
        if problem:
            raise OptionsError(f"flperf.run: {problem}")
        return cases[0]

    def _written(self, prompt: str | None, settings: dict[str, Any]) -> Scenario:
        from pytest_flperf.gates.budgets import BudgetError, parse_budgets
        from pytest_flperf.gates.rules import RuleError, parse_rules
        from pytest_flperf.suite.errors import SuiteError
        from pytest_flperf.suite.loader import scenario_of
        from pytest_flperf.suite.schema.scenario import PROMPT_KEYS

        asked = settings if prompt is None else {"prompt": prompt, **settings}
        if self._scenario is None and not asked.keys() & set(PROMPT_KEYS):
            raise OptionsError("flperf.run: nothing to ask; give prompt=… or mark the test with a scenario")
        try:
            scenario = scenario_of({"name": self._item.name, **asked}, self._scenario)
            parse_budgets(scenario.budgets)
            parse_rules(scenario.fail_on)
        except (SuiteError, BudgetError, RuleError) as error:
            raise OptionsError(f"flperf.run: {error}") from error
        return scenario


def _left_to_the_test(result: CaseResult) -> CaseResult:
    """Result of a case whose budgets the test judges itself.

    A case with missing requests stays failed.
    """
    if result.outcome != "failed" or not result.requests.ok or result.partial or result.given_up:
        return result
    note = f"left to the test (check=False): {result.message.partition(chr(10))[0]}"
    return replace(result, outcome="passed", message="", notes=(*result.notes, note))


def _template(
    config: pytest.Config, suite_name: str | None, scenario_name: str | None
) -> tuple[Suite, Scenario | None]:
    """Suite and scenario named by a marker.

    Without names: an empty suite and no scenario.
    """
    from pytest_flperf.suite.discovery import find_suite
    from pytest_flperf.suite.errors import SuiteError, suggestion
    from pytest_flperf.suite.loader import load_suite
    from pytest_flperf.suite.model import Suite

    if suite_name is None and scenario_name is None:
        return Suite("tests", "tests", Path(), "", "", (), ()), None
    selection = config.stash.get(SELECTION, None)
    try:
        if suite_name is None and selection is not None:
            suite = next(iter(selection.loaded.values())).suite
        else:
            suite = load_suite(*find_suite(suite_name or "default", config.rootpath, config.invocation_params.dir))
    except SuiteError as error:
        raise OptionsError(f"@pytest.mark.flperf: {error}") from error
    if scenario_name is None:
        return suite, None
    for scenario in suite.scenarios:
        if scenario.name == scenario_name:
            return suite, scenario
    hint = suggestion(scenario_name, [scenario.name for scenario in suite.scenarios])
    raise OptionsError(f"@pytest.mark.flperf: {suite.ref} has no scenario {scenario_name[:80]!r}; {hint}")
