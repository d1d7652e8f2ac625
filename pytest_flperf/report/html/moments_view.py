"""Cases in time in the HTML report: timelines, and gaps between arrivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pytest_flperf.report.figures import counted
from pytest_flperf.report.html.charts import legend
from pytest_flperf.report.html.content import Panel, PanelGroup, Panels
from pytest_flperf.report.html.gaps_chart import gaps_chart
from pytest_flperf.report.html.timeline_chart import timeline, window_of
from pytest_flperf.report.rivals import rivals_together
from pytest_flperf.report.samples import CaseSamples
from pytest_flperf.report.sentences import case_name
from pytest_flperf.results.records import CaseResult

__all__ = ["moments"]

_MOST: Final = 12
_FEW: Final = 6
_MANY_CASES: Final = 24
"""Cases from which on only few are drawn, so that the page stays small."""
_WHAT: Final = (
    "Light: waiting for the first token, dark: tokens arriving, a cross: failed. Each chart has a time axis of its "
    "own. Gaps: thin are up to five single requests, bold is the median of up to twelve; tokens that arrive together "
    "are one arrival."
)


def moments(
    cases: Sequence[CaseResult], samples: Mapping[str, CaseSamples], models: Sequence[str], *, host: bool
) -> Panels | None:
    """Timelines and gaps of some cases; None where no requests are at hand.

    Args:
        cases: The cases of the run.
        samples: What is known of single requests, by the node id of their case.
        models: All models of the run; their order gives them their colours.
        host: Whether captions name the machine.

    """
    known = [case for case in rivals_together(cases) if (found := samples.get(case.nodeid)) and found.spans]
    most = _FEW if len(cases) > _MANY_CASES else _MOST
    preferred = sorted(known, key=_preference)[:most]
    chosen = [case for case in known if any(case is each for each in preferred)]
    lines, gaps = [], []
    for place, case in enumerate(chosen):
        found, series = samples[case.nodeid], models.index(case.model)
        name = case_name(case, host=host)
        window = window_of(found.spans, case.requests.total)
        if window is not None:
            drawn = timeline(f"time-{place}", f"{name} in time", series, window, found.readings)
            lines.append(Panel(name, window.left_out or counted(len(window.spans), "request"), drawn))
        if found.gaps:
            drawn = gaps_chart(f"gaps-{place}", f"{name}: gaps between arrivals", series, found.gaps)
            gaps.append(Panel(name, counted(len(found.gaps), "request"), drawn))
    groups = (PanelGroup("Streams in time", tuple(lines)), PanelGroup("Gaps between arrivals", tuple(gaps)))
    if not lines:
        return None
    more = f" {len(chosen)} of {len(cases)} cases are drawn: failed ones first, then those with most streams."
    note = _WHAT + more * (len(cases) > len(chosen))
    return Panels(tuple(group for group in groups if group.panels), legend(models), note)


def _preference(case: CaseResult) -> tuple[bool, int]:
    streams = case.load.concurrency if case.load is not None else 1
    return case.outcome not in ("failed", "error"), -streams
