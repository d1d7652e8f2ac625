"""Suite files: reads each referenced file once, within the suite's folder, and the suite's templates.

The tokenizer alone may be anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_flperf.suite.errors import SuiteError, shown
from pytest_flperf.suite.parser import read_text
from pytest_flperf.suite.prompts.rows import Row, RowScoring
from pytest_flperf.suite.prompts.sources import TracedRequest
from pytest_flperf.suite.prompts.synthetic import LocalTokenizer
from pytest_flperf.suite.prompts.templates import PromptTemplate, TemplateRenderer
from pytest_flperf.suite.setting_limits import MAX_SUITE_BYTES

__all__ = ["SuiteFiles"]


class SuiteFiles:
    """The files that one suite refers to, cached, and its templates.

    Every method raises SuiteError for a file that can't be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts: dict[str, str] = {}
        self._datasets: dict[tuple[object, ...], tuple[Row, ...]] = {}
        self._traces: dict[Path, tuple[TracedRequest, ...]] = {}
        self._tokenizers: dict[Path, LocalTokenizer] = {}
        self._renderer = TemplateRenderer()

    @property
    def folder(self) -> Path:
        """The suite's folder."""
        return self._folder

    def prompt(self, name: str) -> str:
        """Return the prompt in the file *name*, with LF line ends.

        There is no line end at the end.
        """
        if name in self._texts:
            return self._texts[name]
        path = self.within(name)
        # the same text on every machine, even if git changed the line ends
        text = read_text(path, "prompt").replace("\r\n", "\n").rstrip("\n")
        if not text.strip():
            raise SuiteError(f"found {shown(name)}, which is empty, expected a prompt")
        if sum(map(len, self._texts.values())) + len(text) > MAX_SUITE_BYTES:
            raise SuiteError(f"found more than {MAX_SUITE_BYTES / 1e6:.0f} MB of prompt files in all, expected less")
        self._texts[name] = text
        return text

    def template(self, text: str) -> PromptTemplate:
        """Return a template of the suite; all of them share one process."""
        return PromptTemplate(text, self._renderer)

    def dataset(
        self, name: str, column: str | None, scoring: Callable[[], RowScoring] | None = None, scored_as: object = None
    ) -> tuple[Row, ...]:
        """Return the rows of the data set *name*.

        Args:
            name: its path.
            column: that of the prompts.
            scoring: makes what reads expectations.
            scored_as: tells ways of reading them apart.

        """
        path = self.within(name)
        key = path, column, scored_as
        if key not in self._datasets:
            from pytest_flperf.suite.prompts.datasets import read_dataset

            self._datasets[key] = read_dataset(path, column, None if scoring is None else scoring())
        return self._datasets[key]

    def trace(self, name: str) -> tuple[TracedRequest, ...]:
        """Return the requests of the trace *name*."""
        path = self.within(name)
        if path not in self._traces:
            from pytest_flperf.suite.prompts.traces import read_trace

            self._traces[path] = read_trace(path)
        return self._traces[path]

    def tokenizer(self, name: str) -> LocalTokenizer:
        """Return the tokenizer *name*.

        It may be anywhere, since its content is not sent.
        """
        try:
            path = (self._folder / Path(name).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError):
            raise SuiteError(f"found {shown(name)}, expected the path of a tokenizer.json") from None
        if path not in self._tokenizers:
            self._tokenizers[path] = LocalTokenizer(path)
        return self._tokenizers[path]

    def within(self, name: str) -> Path:
        """Return the path of a file that may be sent.

        It must be in the suite's folder or below, links resolved.  A suite may come from anywhere, and its files go to
        a server.
        """
        try:
            folder = self._folder.resolve()
            path = (folder / name).resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle, a NUL
            raise SuiteError(f"found {shown(name)}, expected the path of a file") from None
        if not path.is_relative_to(folder):
            raise SuiteError(f"found {shown(name)}, expected a file in the suite's folder or below")
        return path
