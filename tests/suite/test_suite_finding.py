"""Which file a suite's name or path means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_flperf.suite import discovery as finding
from pytest_flperf.suite.discovery import find_suite, list_suites, packaged_folder
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import load_suite

SUITE = "description: Mine\nscenarios: [{name: a, prompt: Hi}]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with suites of its own."""
    folder = tmp_path / "project"
    (folder / "suites").mkdir(parents=True)
    (folder / "suites" / "mine.yaml").write_text(SUITE)
    (folder / "suites" / "quick.yml").write_text(SUITE)
    return folder


def test_rootdir_comes_before_the_packaged_suites(root: Path) -> None:
    """A name means rootdir's suite, else the packaged one; with its prefix it means the packaged one."""
    assert find_suite("mine", root) == (root / "suites" / "mine.yaml", "suites/mine.yaml")
    assert find_suite("quick", root) == (root / "suites" / "quick.yml", "suites/quick.yml")
    assert find_suite("default", root) == (packaged_folder() / "default.yaml", "flperf:default")
    assert find_suite("flperf:quick", root) == (packaged_folder() / "quick.yaml", "flperf:quick")


def test_paths_are_absolute_or_from_where_one_stands(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is looked for from the invocation folder, then rootdir, then the suites folders."""
    (root / "here").mkdir()
    (root / "here" / "own.yaml").write_text(SUITE)
    wanted = root / "suites" / "mine.yaml"
    assert find_suite(str(wanted), root)[0] == wanted
    assert find_suite("../suites/mine.yaml", root, root / "here") == (wanted, "suites/mine.yaml")
    assert find_suite("suites/mine.yaml", root, root / "here") == (wanted, "suites/mine.yaml")
    assert find_suite("mine.yaml", root, root / "here") == (wanted, "suites/mine.yaml")
    monkeypatch.chdir(root / "here")
    assert find_suite("own.yaml", root) == (root / "here" / "own.yaml", "here/own.yaml")


def test_ref_outside_of_rootdir_goes_up(root: Path) -> None:
    """A file elsewhere has a ref from rootdir through its parents."""
    other = root.parent / "elsewhere.yaml"
    other.write_text(SUITE)
    assert find_suite(str(other), root) == (other, "../elsewhere.yaml")


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights there")
def test_linked_rootdir_gives_the_same_ref(root: Path) -> None:
    """A project that is reached through a link has the same ids."""
    link = root.parent / "link"
    link.symlink_to(root)
    assert find_suite(str(root / "suites" / "mine.yaml"), link)[1] == "suites/mine.yaml"


def test_packaged_file_is_packaged_however_it_is_asked_for(root: Path) -> None:
    """In this project's own checkout, and by its path, a packaged suite keeps its ref."""
    packaged = packaged_folder()
    assert find_suite(str(packaged / "quick.yaml"), root)[1] == "flperf:quick"
    assert find_suite("quick.yaml", packaged.parent, packaged) == (packaged / "quick.yaml", "flperf:quick")
    assert find_suite("quick", packaged.parent)[1] == "flperf:quick"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "defualt",
            "unknown suite: found 'defualt', expected a suite's name or the path of a suite file; did you mean",
        ),
        ("Mine", "did you mean 'mine'?"),
        ("qiuck.yaml", "did you mean 'quick'?"),
        ("flperf:mine", "known: default, quick"),
        ("xyzzy", "known: default, mine, quick"),
        ("nowhere/mine.yaml", "did you mean 'mine'?"),
        ("suites/", "suites/: found a folder, expected a suite file or name"),
        ("", "unknown suite: found ''"),
        ("a\0b", "unknown suite"),
        ("/" + "x" * 5000, "unknown suite"),
        ("\udcff.yaml", "unknown suite"),
    ],
    ids=lambda value: ascii(value)[1:30],
)
def test_unknown_suites_show_the_nearest(root: Path, name: str, expected: str) -> None:
    """A name that is none ends in one message with the nearest names that are."""
    with pytest.raises(SuiteError) as caught:
        find_suite(name, root, root)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_one_name_for_two_files_is_refused(root: Path) -> None:
    """Two files of one name are told, and either can be asked for with its ending."""
    (root / "suites" / "mine.json").write_text("{}")
    with pytest.raises(SuiteError, match=r"mine: found mine\.json, mine\.yaml in .*, expected one"):
        find_suite("mine", root)
    assert find_suite("mine.json", root)[1] == "suites/mine.json"


def test_list_shows_all_and_what_is_wrong(root: Path) -> None:
    """Every suite is listed with what to ask for, the broken one with its error, a shadowed one by its ref."""
    (root / "suites" / "broken.json").write_text("{")
    (root / "suites" / "README.md").write_text("no suite")
    (root / "suites" / ".hidden.yaml").write_text("no suite")
    listed = {item.name: item for item in list_suites(root)}
    assert list(listed) == ["broken", "mine", "quick", "default", "flperf:quick", "tools"]
    assert (listed["mine"].ref, listed["mine"].description, listed["mine"].scenarios) == ("suites/mine.yaml", "Mine", 1)
    assert "not JSON" in (listed["broken"].error or "")
    assert all(find_suite(name, root)[0] == item.path for name, item in listed.items())


def test_list_of_the_checkout_shows_each_once() -> None:
    """Where rootdir's suites are the packaged ones, none is listed twice, and all load."""
    listed = list_suites(packaged_folder().parent)
    assert [item.name for item in listed] == ["default", "quick", "tools"]
    assert all(item.error is None for item in listed)
    assert list_suites(Path(os.devnull)) == listed


def test_suites_inside_the_package_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a wheel the suites lie inside the package."""
    package = tmp_path / "pytest_flperf"
    (package / "suites").mkdir(parents=True)
    monkeypatch.setattr(finding, "__file__", str(package / "suite" / "discovery.py"))
    assert packaged_folder() == package / "suites"


def test_default_suite_is_what_the_readme_says() -> None:
    """The default suite has nine scenarios or more, all described, greedy, and within a small model's context."""
    suite = load_suite(*find_suite("flperf:default", Path.cwd()))
    assert len(suite.scenarios) >= 9
    assert all(scenario.description for scenario in suite.scenarios)
    assert {scenario.settings.temperature for scenario in suite.scenarios} == {0.0}
    assert all(8 <= (scenario.settings.max_tokens or 0) <= 400 for scenario in suite.scenarios)
    assert max(len(message.content) for scenario in suite.scenarios for message in scenario.messages) < 5_000
    tags = {tag for scenario in suite.scenarios for tag in scenario.tags}
    assert tags >= {"short", "long", "code", "json", "multi-turn", "german", "japanese"}


def test_finding_imports_nothing_heavy() -> None:
    """Looking for a suite costs no pydantic and no yaml; only loading one does."""
    code = (
        "import sys, pathlib; from pytest_flperf.suite import discovery, matrix, request_body; "
        "discovery.find_suite('default', pathlib.Path('.')); "
        "print(sorted({'pydantic', 'yaml', 'pytest'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
