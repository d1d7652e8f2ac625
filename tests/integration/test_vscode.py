"""The test explorer of VS Code, whose plugin is played by a double that makes ids as the original does (2026)."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny

PLUGIN = """
def pytest_sessionfinish(session):
    for item in session.items:
        if session.config.option.collectonly and hasattr(item, "callspec"):
            item.nodeid.rsplit("::", 1)[0].rsplit(".py", 1)[1]
        print("SHOWN", "::".join([str(item.path), *item.nodeid.split("::")[1:]]))
"""
"""What of python_files/vscode_pytest/__init__.py of microsoft/vscode-python matters here."""


@pytest.fixture
def explored(tiny: Tiny) -> Tiny:
    """A folder with a suite, a parametrised test and the plugin."""
    tiny.suite({}, {"name": "two"})
    tiny.pytester.makepyfile(vscode_pytest=PLUGIN)
    tiny.pytester.makepyfile(
        test_mine="import pytest\n@pytest.mark.parametrize('x', [1])\ndef test_me(x): assert x == 1\n"
    )
    tiny.pytester.syspathinsert()
    return tiny


def shown(tiny: Tiny, *arguments: str) -> list[str]:
    """Ids by which the explorer knows the tests of a discovery or a run."""
    done = tiny.run("-p", "vscode_pytest", *tiny.at, *arguments)
    assert done.ret == 0, done.text
    return [line.partition("SHOWN ")[2] for line in done.lines if "SHOWN " in line]


@pytest.mark.parametrize("suite", ["tiny.json", "--flperf-suite=tiny.json"])
def test_cases_are_listed_and_run(explored: Tiny, suite: str) -> None:
    """Beside tests in Python; each by its id, as a click runs it."""
    ids = shown(explored, "--collect-only", "test_mine.py", suite)
    assert sorted(each.removeprefix(f"{explored.folder}/") for each in ids) == [
        "test_mine.py::test_me[1]",
        "tiny.json::one[reference]",
        "tiny.json::two[reference]",
    ]
    for each in ids:
        assert shown(explored, each) == [each]


def test_cases_of_a_packaged_suite_are_listed_and_run(explored: Tiny) -> None:
    """By the path of its file."""
    ids = shown(explored, "--collect-only", "--flperf-suite=quick")
    assert len(ids) > 1
    assert shown(explored, ids[0], "--flperf-iterations=1", "--flperf-warmup=0") == ids[:1]
