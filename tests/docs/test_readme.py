"""The README against the code: short, its examples work, its links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

from pytest_flperf.backends.registry import BUILT_IN
from pytest_flperf.gates.budgets import parse_budget
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.options import OPTIONS
from pytest_flperf.suite.loader import load_suite

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code in one language."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return found


def test_it_is_short() -> None:
    """150 lines at most; the rest is in the documentation."""
    assert len(README.splitlines()) <= 150


def test_its_suite_is_a_suite(tmp_path: Path) -> None:
    """With budgets that can be read."""
    (text,) = blocks("yaml")
    path = tmp_path / "support-bot.yaml"
    path.write_text(text, encoding="utf-8")
    (scenario,) = load_suite(path, "support-bot").scenarios
    assert len([parse_budget(each) for each in scenario.budgets]) == 3


def test_its_test_is_python() -> None:
    """The example of a test compiles and asks for the fixture."""
    (text,) = blocks("python")
    (test,) = ast.parse(text).body
    assert isinstance(test, ast.FunctionDef)
    assert [each.arg for each in test.args.args] == ["flperf"]


def test_its_options_exist() -> None:
    """Every option that is named, and the rules that are shown can be read."""
    named = set(re.findall(r"--flperf-[a-z-]+", README))
    assert len(named) > 5
    assert named <= {option.flag for option in OPTIONS}
    words = [word for text in blocks("console") for word in shlex.split(text)]
    rules = [word.partition("=")[2] for word in words if word.startswith("--flperf-fail-on=")]
    assert len([parse_rule(rule) for rule in rules]) == 2


def test_every_kind_of_backend_is_named() -> None:
    """With the word for it where whole servers are untested."""
    (table,) = re.findall(r"^\| server \|.*?\n\n", README, re.DOTALL | re.MULTILINE)
    rows = table.splitlines()[2:]
    named = {name: "**untested**" in row for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    whole = ("all of it", "the service")
    assert named == {name: each.untested.startswith(whole) for name, each in BUILT_IN.items()}


def test_its_links_lead_somewhere() -> None:
    """Files are there, and so are the headings that are named in them."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", README)
    assert len(links) > 15
    for file, anchor in links:
        assert (ROOT / file).exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def test_no_placeholder_is_left() -> None:
    """Every figure has been filled in."""
    assert "@@" not in README
