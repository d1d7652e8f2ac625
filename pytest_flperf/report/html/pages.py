"""HTML pages: self-contained files that fetch nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf._text import printable
from pytest_flperf.history.earlier_runs import EarlierRuns
from pytest_flperf.report.html.judged_view import judged_parts
from pytest_flperf.report.html.line_breaks import breakable
from pytest_flperf.report.html.run_view import run_page
from pytest_flperf.report.html.runs_view import runs_page
from pytest_flperf.report.samples import CaseSamples
from pytest_flperf.results.bounds import bounded_run
from pytest_flperf.results.judged import Judged
from pytest_flperf.results.records import Run

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup

    from pytest_flperf.report.html.trend_view import TrendPage

__all__ = ["Pages"]

_TEMPLATES: Final = Path(__file__).parent / "templates"
_LONGEST: Final = 500
_LONGEST_KEPT: Final = 2_500
_LONGEST_LINES: Final = 60


class Pages:
    """HTML pages of runs, rendered from templates.

    Imports and compiles when first used; :meth:`warm_up` can do that ahead of time.
    """

    def warm_up(self) -> None:
        """Load and compile the template ahead of time."""
        assert self._run_template

    def run(
        self,
        run: Run,
        samples: Mapping[str, CaseSamples],
        earlier: EarlierRuns | None = None,
        judged: Judged | None = None,
    ) -> str:
        """Render the report of a run.

        Args:
            run: What was measured.
            samples: What is known of single requests, by the node id of their case.
            earlier: The earlier runs of its cases, by node id; None: not known.
            judged: What a judge said of its answers; None: nobody was asked.

        """
        page = run_page(bounded_run(run), samples, earlier or {})
        return self._run_template.render(page=page, judged=() if judged is None else judged_parts(judged))

    def runs(self, runs: Sequence[Run]) -> str:
        """Render any number of runs side by side."""
        return _environment().get_template("runs.html.jinja").render(page=runs_page([bounded_run(run) for run in runs]))

    def trend(self, page: TrendPage) -> str:
        """Render the trends of cases."""
        return _environment().get_template("trend.html.jinja").render(page=page)

    @cached_property
    def _run_template(self) -> Template:
        return _environment().get_template("run.html.jinja")


@cache  # it keeps the compiled templates
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        auto_reload=False,
    )
    environment.filters["kept"] = _kept
    environment.filters["breaks"] = _breaks
    environment.globals["style"] = _style()
    return environment


def _harmless(value: Any) -> Any:
    """Bound an expression of a template and remove control characters.

    Every expression passes through here before it is escaped.
    """
    if type(value) is str and len(value) <= _LONGEST and value.isprintable():  # most are, and quickly told
        return value
    if hasattr(value, "__html__"):
        return value
    return printable(value if isinstance(value, str) else str(value), _LONGEST)


def _breaks(text: str) -> Any:
    """A text whose long names break at sensible places; bounded as any other."""
    return breakable(_harmless(text))


def _kept(text: str) -> Markup:
    """A long text for ``<pre>``: lines kept, bounded and escaped."""
    from markupsafe import Markup, escape

    lines = text[:_LONGEST_KEPT].splitlines()
    cut = len(lines) > _LONGEST_LINES or len(text) > _LONGEST_KEPT
    shown = [*lines[:_LONGEST_LINES], "…"] if cut else lines
    return Markup("\n").join(escape(printable(line, _LONGEST_KEPT)) for line in shown)


def _style() -> Markup:
    from markupsafe import Markup

    return Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8").strip())  # noqa: S704 - ours
