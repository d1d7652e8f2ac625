"""Run budgets as a pytest test of their own.

Pytest counts, prints and writes that test like any other.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf._text import harmless_lines
from pytest_flperf.gates.run_budgets import run_verdict_text
from pytest_flperf.integration.current_run import RUN
from pytest_flperf.integration.signals import Terminated
from pytest_flperf.integration.xdist import is_worker
from pytest_flperf.results.records import BudgetVerdict

if TYPE_CHECKING:
    from pytest_flperf.session.judge.inline import InlineJudge

__all__ = ["RUN_NODEID", "judging_run"]

RUN_NODEID: Final = "flperf::run-budgets"
_STOPPED: Final = "it was not asked, as the run stopped early"
_LOCATION: Final = ("flperf", None, "run-budgets")


def judging_run(session: pytest.Session, judge: InlineJudge | None) -> Generator[None, Any, Any]:
    """Judge the run when pytest's loop over the items ends, its answers by the judge of its suites.

    Also if ``-x`` ended it; then that judge is not asked, and its gate is missed.

    An interrupt is not judged: what it cut off might have met the budgets, or missed them.
    """
    try:
        done = yield
    except session.Failed:
        _judge(session, judge, _STOPPED)
        raise
    except KeyboardInterrupt as error:
        run = session.config.stash.get(RUN, None)
        # Not a person's: --stepwise, and -x under xdist.
        if judge is not None and run is not None and type(error) not in (KeyboardInterrupt, Terminated):
            run.leave_unjudged(judge, _STOPPED)
        raise
    _judge(session, judge)
    return done


def _judge(session: pytest.Session, judge: InlineJudge | None, not_asked: str = "") -> None:
    """Judge a run; ``not_asked`` says why its judge is not asked."""
    config = session.config
    run = config.stash.get(RUN, None)
    if run is None or is_worker(config):
        return
    run.record.judge_run()
    if judge is not None and not_asked:
        run.leave_unjudged(judge, not_asked)
    elif judge is not None:
        run.judge_answers(judge)
    if run.record.verdicts:
        _tell(session, run.record.verdicts)


def _tell(session: pytest.Session, verdicts: tuple[BudgetVerdict, ...]) -> None:
    """Report the run's budgets as a test, which never ran.

    Exit status, summary and JUnit follow from its reports.
    """
    session.testscollected += 1  # or the progress goes beyond 100 %
    met = all(verdict.met for verdict in verdicts)
    text = harmless_lines(run_verdict_text(verdicts))
    hook = session.config.hook
    hook.pytest_runtest_logstart(nodeid=RUN_NODEID, location=_LOCATION)
    # --lf and --sw would remember an id that can't be run again.
    plugins = session.config.pluginmanager
    keepers = [found for name in ("lfplugin", "stepwiseplugin") if (found := plugins.get_plugin(name)) is not None]
    log = plugins.subset_hook_caller("pytest_runtest_logreport", keepers)
    for when in ("setup", "call", "teardown"):
        failed = when == "call" and not met
        log(
            report=pytest.TestReport(
                nodeid=RUN_NODEID,
                location=_LOCATION,
                keywords={"flperf": 1},
                outcome="failed" if failed else "passed",
                longrepr=text if failed else None,
                when=when,
                sections=[],
                user_properties=[(f"budget {each.expression}", _words(each)) for each in verdicts],
            )
        )
    hook.pytest_runtest_logfinish(nodeid=RUN_NODEID, location=_LOCATION)


def _words(verdict: BudgetVerdict) -> str:
    value = "not measured" if verdict.value is None else f"{verdict.value:.6g}"
    return f"{'met' if verdict.met else 'MISSED'}, value {value}, limit {verdict.limit:.6g}, n {verdict.n}"
