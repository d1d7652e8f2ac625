"""``flperf trend``: how a number of each case changed over the stored runs."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.commands.common import Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.history import count
from pytest_flperf.commands.stored_runs import add_places, failed, open_store, unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_flperf.history.series import Number, SeriesPoint
    from pytest_flperf.history.store import Store
    from pytest_flperf.history.trends import Trend
    from pytest_flperf.report.html.trend_chart import TrendChart
    from pytest_flperf.results.comparison import Comparison

__all__ = ["add_trend"]

_METRIC: Final = "ttft_ms.p50"
_RUNS: Final = 30
_ENDINGS: Final = (".svg", ".html")


def add_trend(commands: Commands) -> None:
    """Add the ``trend`` command."""
    parser = commands.add_parser(
        "trend",
        help="Show how a number of each case changed over the stored runs",
        description="A row per case: where its number began, the last one, the change and a sparkline.  Slower or "
        "faster is shown only where 'flperf compare' would call it a regression or an improvement, by more than 5 %%.",
    )
    parser.add_argument("--metric", metavar="NAME", default=_METRIC, help=f"The number; default: {_METRIC}")
    parser.add_argument("--scenario", metavar="NAME", help="Show only this scenario")
    parser.add_argument("--model", metavar="NAME", help="Show only this model")
    parser.add_argument("--suite", metavar="NAME", help="Show only cases of this suite")
    parser.add_argument("--branch", metavar="NAME", help="Take only runs of this branch")
    parser.add_argument(
        "--last", metavar="N", type=count, default=_RUNS, help=f"Take the newest runs (0: all); default: {_RUNS}"
    )
    parser.add_argument(
        "--baseline",
        metavar="RUN",
        help="Compare with this stored run; default: with the oldest of these runs that is comparable",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="Write a picture as well: FILE.svg, or a page: FILE.html"
    )
    add_places(parser)
    add_json(parser, "the trends")
    parser.set_defaults(run=_trend, usage=parser)


def _trend(parsed: Parsed) -> int:
    from pytest_flperf.gates.trend_gate import judged_trends
    from pytest_flperf.history.baseline import BaselineError
    from pytest_flperf.history.run_names import RunNameError
    from pytest_flperf.history.series import UnknownNumberError, number_named
    from pytest_flperf.history.store import StoreError

    if parsed.output is not None and not parsed.output.lower().endswith(_ENDINGS):
        refuse(parsed, f"-o: found {parsed.output[-40:]!r}, expected a file that ends in {' or '.join(_ENDINGS)}")
    try:
        number = number_named(parsed.metric)
        with open_store(parsed) as store:
            trends = _trends(parsed, store, number)
            compared = judged_trends(store, number, trends)
    except UnknownNumberError as error:
        return refuse(parsed, f"--metric: {error}")
    except RunNameError as error:
        return refuse(parsed, f"--baseline: {error}")
    except (StoreError, BaselineError) as error:
        return unusable(parsed, error)
    return _shown(parsed, number, trends, compared)


def _trends(parsed: Parsed, store: Store, number: Number) -> list[Trend]:
    from pytest_flperf.history.trends import trends_of

    chosen = {"scenario": parsed.scenario, "model": parsed.model, "suite": parsed.suite}
    points = store.series(number, **chosen, branch=parsed.branch, limit=parsed.last or None)
    if parsed.baseline is None:
        return trends_of(points)
    run_id = _baseline(parsed, store)
    return trends_of(points, [point for point in store.series(number, **chosen) if point.run == run_id])


def _baseline(parsed: Parsed, store: Store) -> str:
    """The id of the run that ``--baseline`` names; raises RunNameError."""
    from pytest_flperf.history.run_names import RunNames

    ref = RunNames(store, Path(parsed.report_dir)).find(parsed.baseline)
    if not ref.stored:
        refuse(parsed, f"--baseline: run {ref.id or parsed.baseline} is not in the store: 'flperf import' stores it")
    return ref.id


def _shown(parsed: Parsed, number: Number, trends: Sequence[Trend], compared: Sequence[Comparison | None]) -> int:
    from pytest_flperf.report.html.trend_chart import TrendChart
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.report.terminal.tables import wrapped
    from pytest_flperf.report.terminal.trend_table import trend_table
    from pytest_flperf.report.trend_words import (
        PERCENT,
        UNLIKE,
        UNLIKE_WORDS,
        as_shown,
        better_words,
        unit_words,
        word_of,
    )
    from pytest_flperf.results.metrics import METRICS

    metric = METRICS[number.metric]
    better = better_words(metric)
    unit = unit_words(metric)
    title = ", ".join(filter(None, (number.name, unit))) + (f": {better}" if better else "")
    shown = as_shown(trends, metric)
    words = [word_of(each, metric) for each in compared]
    problem = _written(parsed, TrendChart(title, unit, shown, words)) if trends else ""
    if parsed.json:
        cases = [_record(trend, each) for trend, each in zip(trends, compared, strict=True)]
        print_json({"metric": number.name, "unit": metric.unit, "better": metric.better, "cases": cases})
    elif not trends:
        say("no stored run matches")
    else:
        say(title)
        width = shutil.get_terminal_size().columns
        for line in trend_table(shown, words, datetime.now(UTC), width, in_points=unit == PERCENT):
            say(line)
        for line in wrapped(_what_words_mean(words, unit), width) if any(words) else ():
            say(line)
        for line in wrapped(f"{UNLIKE}, ×: {UNLIKE_WORDS}", width) if any(trend.unlike for trend in shown) else ():
            say(line)
        if parsed.output is not None and not problem:
            say(f"written: {parsed.output}")
    return failed(parsed, problem) if problem else 0


def _what_words_mean(words: Sequence[str], unit: str) -> str:
    from pytest_flperf.gates.trend_gate import CHANGE_PCT
    from pytest_flperf.report.trend_words import PERCENT

    said, least = ", ".join(dict.fromkeys(filter(None, words))), f"{CHANGE_PCT} {'points' if unit == PERCENT else '%'}"
    return f"{said}: by more than {least}, and by more than runs usually differ; without a word, neither is shown"


def _written(parsed: Parsed, chart: TrendChart) -> str:
    """Write the picture or page; returns why it failed, else nothing."""
    from pytest_flperf.report.html.trend_chart import trend_svg
    from pytest_flperf.results.atomic_write import write_file

    if parsed.output is None:
        return ""
    if parsed.output.lower().endswith(".svg"):
        content = trend_svg(chart)
    else:
        from pytest_flperf.report.html.pages import Pages
        from pytest_flperf.report.html.trend_view import trend_page

        content = Pages().trend(trend_page(chart, _sentence(chart)))
    problem = write_file(Path(parsed.output), content.encode("utf-8", "backslashreplace"))
    return f"{parsed.output} was not written: {problem}" if problem else ""


def _sentence(chart: TrendChart) -> str:
    said = _what_words_mean(chart.words, chart.unit)
    return f"{said[0].upper()}{said[1:]}." if any(chart.words) else "No case changed by more than runs usually differ."


def _record(trend: Trend, compared: Comparison | None) -> dict[str, Any]:
    from pytest_flperf.history.series import is_like

    last = trend.last
    return {
        **{name: getattr(last, name) for name in ("suite", "scenario", "model", "parameters", "host")},
        "start": None if trend.start is None else _point(trend.start),
        "last": _point(last),
        "change_pct": trend.change_pct,
        "verdict": "not_compared" if compared is None else compared.verdict,
        "change_ci95_pct": None if compared is None else compared.to_dict()["change_ci95_pct"],
        "reason": "" if compared is None else compared.reason,
        "points": [{**_point(point), "comparable": is_like(point, last)} for point in trend.points],
    }


def _point(point: SeriesPoint) -> dict[str, Any]:
    names = ("run", "started_at", "branch", "commit", "outcome", "value", "infinite", "n")
    return {name: getattr(point, name) for name in names}
