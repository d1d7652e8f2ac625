"""Report files at the end of a run: HTML, Markdown, CSV, JSON.

Also the code-quality report, the GitHub step summary and additions to pytest's JUnit file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf._text import printable
from pytest_flperf.results.atomic_write import append_file, write_file
from pytest_flperf.results.records import Run
from pytest_flperf.results.run_folder import RunFolder

if TYPE_CHECKING:
    from pytest_flperf.history.earlier_runs import EarlierRuns
    from pytest_flperf.report.html.pages import Pages
    from pytest_flperf.report.samples import SamplesReader
    from pytest_flperf.results.judged import Judged
    from pytest_flperf.session.options import RunOptions

__all__ = ["Publisher"]

_STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
_STEP_SUMMARY_BYTES: Final = 1 << 20
"""GitHub's limit for one step; it shows nothing of a longer summary."""
_SHORTEST_SUMMARY_BYTES: Final = 4_000


class Publisher:
    """Writer of report files; collects problems instead of raising.

    Each file that is not written is a line in ``problems``.
    """

    def __init__(self, options: RunOptions, here: Path) -> None:
        """``here`` is the folder that paths are relative to."""
        self._options = options
        self._here = here
        self._pages: Pages | None = None
        self._samples: SamplesReader | None = None
        self.problems: list[str] = []

    def warm_up(self) -> None:
        """Import and compile the report ahead of time.

        This saves 50 ms at the end of the run.
        """
        from pytest_flperf.report.html.pages import Pages

        pages = Pages()
        pages.warm_up()
        self._pages = pages

    def follow(self, folder: RunFolder | None) -> None:
        """Read samples added since the last call.

        Little is then left to read at the end.
        """
        from pytest_flperf.report.samples import SamplesReader

        if folder is not None:
            self._samples = self._samples or SamplesReader(folder.path / "samples.jsonl")
            self._samples.read()

    def first_values(self, run: Run, count: int) -> dict[tuple[str, str], dict[str, tuple[float, ...]]]:
        """Values of each case's first requests, as far as read."""
        return {} if self._samples is None else self._samples.first_values(run.cases, count)

    def publish(
        self,
        run: Run,
        folder: RunFolder | None,
        earlier: Callable[[Run], EarlierRuns],
        judged: Judged | None = None,
    ) -> None:
        """Write the report into the run's folder, and all requested files.

        ``earlier`` returns the earlier runs of its cases, for the page; ``judged`` is what the suite's judge said.
        """
        options = self._options
        report = folder.path / "report.html" if folder is not None else None
        if report is not None or options.html is not None:
            page = self._made("report.html", lambda: self._page(run, folder, earlier(run), judged))
            if page is not None and report is not None:
                self._write("report.html", report, page)
            if page is not None and options.html is not None:
                self._write(f"--flperf-html: {options.html}", self._place(options.html), page)
        for flag, path, make in (
            ("--flperf-markdown", options.markdown, _markdown),
            ("--flperf-code-quality", options.code_quality, _code_quality),
            ("--flperf-csv", options.csv, _csv),
            ("--flperf-json", options.json, _json),
        ):
            if path is not None:
                text = self._made(f"{flag}: {path}", lambda make=make: make(run, judged))  # type: ignore[misc]
                if text is not None:
                    self._write(f"{flag}: {path}", self._place(path), text)
        summary = os.environ.get(_STEP_SUMMARY)
        if summary:
            self._add_step_summary(run, self._place(summary), judged)

    def complete_junit(self, run: Run, path: str, judged: Judged | None = None) -> None:
        """Add run status and case texts to pytest's JUnit file.

        Pytest must have written the file before.
        """
        from pytest_flperf.report.junit import case_text, complete, judged_properties

        texts = {(printable(case.nodeid), printable(case.host)): [case_text(case)] for case in run.cases}
        rows = () if judged is None or judged.rubric is None else judged.rubric.cases
        more = {printable(row.nodeid): judged_properties(row) for row in rows}
        problem = complete(self._place(os.path.expandvars(path)), texts, run.status, more)
        if problem:
            self.problems.append(
                printable(f"--junitxml: {path} lacks the run's status and the cases' texts: {problem}")
            )

    def _page(self, run: Run, folder: RunFolder | None, earlier: EarlierRuns, judged: Judged | None) -> str:
        if self._pages is None:
            self.warm_up()
        assert self._pages is not None
        self.follow(folder)
        samples = self._samples.of(run.cases) if self._samples is not None else {}
        return self._pages.run(run, samples, earlier, judged)

    def _add_step_summary(self, run: Run, path: Path, judged: Judged | None) -> None:
        from pytest_flperf.report.markdown import markdown

        try:
            taken = path.stat().st_size
        except (OSError, ValueError):
            taken = 0
        room = _STEP_SUMMARY_BYTES - taken - 2
        if room < _SHORTEST_SUMMARY_BYTES:
            self.problems.append(
                f"${_STEP_SUMMARY} was not added to: it has {taken} bytes, and GitHub shows 1 MiB at most"
            )
            return
        text = self._made(f"${_STEP_SUMMARY}", lambda: markdown(run, judged, longest_bytes=min(room, 400_000)))
        if text is not None:
            self._tell(f"${_STEP_SUMMARY}", append_file(path, _bytes(text)))

    def _made(self, name: str, make: Callable[[], str]) -> str | None:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - a fault of a report must not cost the run its results and verdict
            self._tell(name, f"a fault of flperf, please report it: {type(error).__name__}: {error}")
            return None

    def _write(self, name: str, path: Path, text: str) -> None:
        self._tell(name, write_file(path, _bytes(text)))

    def _tell(self, name: str, problem: str) -> None:
        if problem:
            self.problems.append(printable(f"{name} was not written: {problem}"))

    def _place(self, path: str) -> Path:
        try:
            return self._here / Path(path).expanduser()
        except RuntimeError:  # ~nobody
            return self._here / path


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _markdown(run: Run, judged: Judged | None) -> str:
    from pytest_flperf.report.markdown import markdown

    return markdown(run, judged)


def _code_quality(run: Run, judged: Judged | None) -> str:
    del judged  # an opinion is no fault of a line
    from pytest_flperf.report.code_quality import code_quality

    return code_quality(run)


def _csv(run: Run, judged: Judged | None) -> str:
    from pytest_flperf.report.csv import csv_text

    return csv_text([run], {} if judged is None else {run.id: judged})


def _json(run: Run, judged: Judged | None) -> str:
    del judged  # it has a file of its own
    return json_text(run.to_dict())


def json_text(value: Any) -> str:
    """JSON text in the format of ``results.json``."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
