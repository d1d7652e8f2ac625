"""Suite files of imported tools: what they hold, and how they are written."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError, printable
from pytest_flperf.suite.tool_imports.bfcl import is_bfcl, lines_of, rows_of_bfcl
from pytest_flperf.suite.tool_imports.schemas import scenarios_of_tools, tools_in

__all__ = ["ENDINGS", "Imported", "import_tools", "write_suite"]

ENDINGS: Final = (".json", ".yaml", ".yml")
_MOST_BYTES: Final = 200_000_000
_WHAT: Final = "file of tools"
_ANSWER_TOKENS: Final = 512
"""Enough for some calls with their arguments."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A suite out of another tool's file."""

    suite: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()
    """Of the data set that its scenarios ask; none: they have prompts of their own."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Questions that are not in it, by reason."""

    @property
    def cases(self) -> int:
        """Number of prompts."""
        return len(self.rows) or len(self.suite["scenarios"])


def import_tools(path: Path, answers: Path | None) -> Imported:
    """Read a file of tools: BFCL's questions, OpenAI's tool schemas, or a saved ``tools/list`` of MCP.

    Args:
        path: The file; what it is, its content tells.
        answers: BFCL's possible answers to these questions.

    Raises:
        SuiteError: It is none of these, or a line of it is wrong.

    """
    where = display_path(path)
    text = decoded(read_bytes(path, _WHAT, _MOST_BYTES), where, _WHAT)
    document = _document(text)
    first = document[0] if isinstance(document, list) and document else _document(text.lstrip().partition("\n")[0])
    name = printable(path.stem)
    if is_bfcl(first):
        questions = _lines(document, text, where)
        known = None
        if answers is not None:
            shown = display_path(answers)
            said = decoded(read_bytes(answers, _WHAT, _MOST_BYTES), shown, _WHAT)
            known = _lines(_document(said), said, shown)
        rows, left_out = rows_of_bfcl(questions, known)
        if not rows:
            raise SuiteError(f"{where}: found no question of one turn, expected one or more")
        return Imported(_suite_of_rows(name, len(rows)), rows, left_out)
    if answers is not None:
        raise SuiteError(f"{where}: found no questions of BFCL, expected them beside --answers")
    if document is None:
        raise SuiteError(f"{where}: can't be read as JSON, expected BFCL's questions, or a list of tools")
    tools = tools_in(document, where)
    defaults = {"max_tokens": _ANSWER_TOKENS, "tools": tools}
    about = "Each tool once, and once none: write prompts and arguments of your own"
    return Imported({"name": name, "description": about, "defaults": defaults, "scenarios": scenarios_of_tools(tools)})


def write_suite(imported: Imported, target: Path) -> list[Path]:
    """Write a suite, and its data set beside it; returns the files.

    It is read first as a run would read it, so that nothing is written that can't be used.

    Raises:
        SuiteError: The suite can't be used.
        OSError: A file can't be written.

    """
    from pytest_flperf.suite.loader import load_suite

    rows = target.with_suffix(".jsonl")
    contents = {target.name: _text(imported, rows.name, target.suffix)}
    if imported.rows:
        contents[rows.name] = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in imported.rows)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in contents.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        load_suite(Path(folder, target.name), target.name)
    for name, text in contents.items():
        target.with_name(name).write_text(text, encoding="utf-8")
    return [target.with_name(name) for name in contents]


def _document(text: str) -> Any:
    """Parsed JSON; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _lines(document: Any, text: str, where: str) -> list[tuple[str, Any]]:
    """Place and object of each entry: of JSON Lines, or of a list."""
    if isinstance(document, list):
        return [(f"{where}: entry {number}", each) for number, each in enumerate(document, 1)]
    return lines_of(text, where)


def _suite_of_rows(name: str, count: int) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Questions of the Berkeley Function Calling Leaderboard, each asked once",
        "defaults": {"iterations": count, "warmup": 1, "max_tokens": _ANSWER_TOKENS},
        "scenarios": [{"name": name}],
    }


def _text(imported: Imported, rows: str, ending: str) -> str:
    suite = dict(imported.suite)
    if imported.rows:
        suite["scenarios"] = [{**each, "dataset": rows} for each in suite["scenarios"]]
    if ending.lower() == ".json":
        return json.dumps(suite, ensure_ascii=False, indent=2) + "\n"
    import yaml

    return yaml.safe_dump(suite, sort_keys=False, allow_unicode=True, width=120)
