"""A suite takes no test away: what pytest collects with it is what it collects without it, and the suite."""

from __future__ import annotations

import sys

import pytest
from few_plugins import WITHOUT_OTHER_PLUGINS
from tiny_runs import Done, Tiny

NANO = "--flperf-model=flperf-nano"
LEFT_OUT = "flperf: tests are left out, only suites run"
SUITES = ("tiny.json", "tests/in.json", "build/ignored.json", "build/deep/er.json", ".hidden/h.json", "pkg/p.json")


@pytest.fixture
def project(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Tests and suites in a folder, in two below it, in a package and in folders that pytest ignores."""
    for file in SUITES:
        tiny.suite(file=file)
    for number, folder in enumerate((".", "tests", "tests/sub", "build", "build/deep", "pkg")):
        path = tiny.folder / folder / f"test_{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("def test_good(): pass\ndef test_bad(): assert False\n", encoding="utf-8")
    (tiny.folder / "pkg" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tiny.folder)
    return tiny


def collected(tiny: Tiny, *arguments: str) -> tuple[list[str], list[str]]:
    """The ids of tests, and those of cases."""
    done = tiny.run("--co", "-q", NANO, *arguments)
    assert done.ret == 0, done.text
    cases = [each for each in done.ids if ".json::" in each or each.startswith("flperf:")]
    return sorted(each for each in done.ids if each not in cases), sorted(cases)


@pytest.mark.parametrize(
    "user",
    [
        (".",),
        ("tests",),
        ("./tests/../tests/",),
        ("test_0.py",),
        ("test_0.py", "test_0.py"),
        ("tests/sub", "pkg"),
        ("tests/test_1.py::test_bad",),
        ("tests", "tests/sub/test_2.py"),
        ("tests/sub", "tests"),
        ("build",),
        (".", "--keep-duplicates"),
        (".", "--ignore=tests"),
        (".", "--ignore-glob=*er*"),
        (".", "--deselect=test_0.py"),
        (".", "-k", "good or one"),
        ("--pyargs", "pkg"),
    ],
    ids=" ".join,
)
def test_with_and_without(project: Tiny, user: tuple[str, ...]) -> None:
    """The same tests, whatever was typed and wherever the suites lie; each suite once."""
    without, none = collected(project, *user)
    assert without
    assert not none
    for suite in SUITES:
        assert collected(project, *user, f"--flperf-suite={suite}") == (without, [f"{suite}::one[flperf-nano]"]), suite
    every = [f"--flperf-suite={suite}" for suite in SUITES]
    expected = sorted(f"{suite}::one[flperf-nano]" for suite in SUITES)
    assert collected(project, *every, *user, "tests/in.json") == (without, expected)


def test_a_failing_test_fails(project: Tiny) -> None:
    """The run is red: the fault of old was a green one."""
    for workers in ((), ("-n1",)):
        done = project.run(*workers, ".", "--flperf-suite=tiny.json", *project.at)
        assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
        assert "5 passed, 4 failed" in done.text or "4 failed, 5 passed" in done.text


def test_one_case_of_a_suite_in_a_folder(project: Tiny) -> None:
    """A case that is named by its id is the only one of its suite, also where its folder is collected."""
    project.suite({}, {"name": "two"}, {"name": "three"}, file="tests/in.json")
    without, _ = collected(project, "tests")
    for order in (("three", "one"), ("one", "three")):
        named = [f"tests/in.json::{name}" for name in order]
        done = project.run("--co", "-q", NANO, "tests", *named)
        assert [each for each in done.ids if "json" in each] == [f"{name}[flperf-nano]" for name in named]
        assert sorted(each for each in done.ids if "json" not in each) == without
    whole = collected(project, "tests", "tests/in.json::two", "tests/in.json")[1]
    assert len(whole) == 3
    assert project.run("-n1", "tests/sub", "tests/in.json::two", *project.at).text.count("passed") > 0
    assert [case["scenario"] for case in project.run("tests", "tests/in.json::two", *project.at).cases] == ["two"]


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_one_case_of_a_suite_that_addopts_name(project: Tiny, workers: tuple[str, ...]) -> None:
    """An id that was printed runs alone again."""
    project.suite({}, {"name": "two"}, file="tests/in.json")
    project.pytester.makeini("[pytest]\naddopts = --flperf-suite=tests/in.json\ntestpaths = tests\n")
    done = project.run(*workers, "tests/in.json::two[reference]", *project.at)
    assert done.ret == 0, done.text
    assert [case["scenario"] for case in done.cases] == ["two"]


@pytest.mark.parametrize("beside", [(), (".",), ("tests",)])
def test_a_case_that_is_not_there(project: Tiny, beside: tuple[str, ...]) -> None:
    """It is refused, and not a run without it."""
    done = project.run("--co", "-q", NANO, "tests/in.json::nosuch", *beside)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "not found: " in done.text
    assert "in.json::nosuch" in done.text


def test_a_suite_that_a_plugin_hides(project: Tiny) -> None:
    """Where pytest can't be brought to a suite's file, the run is refused, and not one without the suite."""
    (project.folder / "conftest.py").write_text(
        "import pytest\n\n\nclass Empty(pytest.Directory):\n    def collect(self):\n        return []\n\n\n"
        "def pytest_collect_directory(path, parent):\n"
        "    return Empty.from_parent(parent, path=path) if path.name == 'tests' else None\n",
        encoding="utf-8",
    )
    done = project.run("--co", "-q", NANO, ".", "--flperf-suite=tests/in.json")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "tests/in.json was not collected" in done.text


def test_what_a_conftest_ignores(project: Tiny) -> None:
    """``collect_ignore`` keeps tests away and not the suite that was asked for."""
    (project.folder / "conftest.py").write_text("collect_ignore = ['tests', 'tiny.json']", encoding="utf-8")
    without, _ = collected(project, ".")
    assert not [each for each in without if each.startswith("tests/")]
    for suite in ("tests/in.json", "tiny.json"):
        assert collected(project, ".", f"--flperf-suite={suite}") == (without, [f"{suite}::one[flperf-nano]"])


def test_fixtures_of_a_folder(project: Tiny) -> None:
    """Those of a conftest.py hold for its tests and for the suite there, however both are collected."""
    conftest = "import pytest\n\n\n@pytest.fixture(autouse=True)\ndef heard(): print('heard')\n"
    (project.folder / "tests" / "conftest.py").write_text(conftest, encoding="utf-8")
    for user in (("tests",), (".",), ("tests/test_1.py",)):
        done = project.run("-rA", "-k", "one or good", *user, "--flperf-suite=tests/in.json", *project.at)
        assert done.ret == 0, done.text
        assert done.text.count("heard") == 1 + done.text.count("PASSED tests/") - done.text.count(
            "PASSED tests/in.json"
        )


@pytest.mark.parametrize("here", ["tests", "tests/sub", "build"])
def test_from_another_folder(project: Tiny, monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    """Paths count from where pytest is called."""
    project.pytester.makeini("[pytest]")
    monkeypatch.chdir(project.folder / here)
    for user in ((".",), (str(project.folder),), ("..",)):
        without, _ = collected(project, *user)
        for suite in ("tiny.json", "tests/in.json", "build/deep/er.json"):
            path = str(project.folder / suite)
            assert collected(project, *user, f"--flperf-suite={path}") == (without, [f"{suite}::one[flperf-nano]"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links(project: Tiny) -> None:
    """A folder that is a link, a suite that is one, and both ways to the same file."""
    (project.folder / "link").symlink_to("tests")
    (project.folder / "link.json").symlink_to("tests/in.json")
    for user in ((".",), ("link",), ("tests",), ("link", "tests")):
        without, _ = collected(project, *user)
        for suite in ("link/in.json", "tests/in.json", "link.json"):
            assert collected(project, *user, f"--flperf-suite={suite}") == (without, [f"{suite}::one[flperf-nano]"])


def _inis(suite: str) -> list[tuple[str, dict[str, str]]]:
    option = f"--flperf-suite={suite}"
    return [
        (f"[pytest]\naddopts = {option}\n", {}),
        (f"[pytest]\naddopts = {option}\ntestpaths = tests\n", {}),
        (f"[pytest]\naddopts = {option}\ntestpaths = tests/sub pkg\n", {}),
        (f"[pytest]\naddopts = {option}\ntestpaths = t*s\n", {}),
        ("[pytest]\ntestpaths = tests\n", {"PYTEST_ADDOPTS": option}),
    ]


@pytest.mark.parametrize(
    ("suite", "number"), [*(("tests/in.json", number) for number in range(5)), ("tiny.json", 0), ("quick", 1)]
)
def test_a_suite_that_nobody_typed(project: Tiny, monkeypatch: pytest.MonkeyPatch, suite: str, number: int) -> None:
    """From ``addopts`` or the environment it comes beside what a bare ``pytest`` collects, testpaths or not."""
    ini, variables = _inis(suite)[number]
    project.pytester.makeini(ini.replace(f"--flperf-suite={suite}", ""))
    without, none = collected(project)
    assert without
    assert not none
    project.pytester.makeini(ini)
    for name, value in variables.items():
        monkeypatch.setenv(name, f"{value} {WITHOUT_OTHER_PLUGINS}")
    tests, cases = collected(project)
    assert tests == without
    assert cases
    done = project.run("--co", NANO)
    assert LEFT_OUT not in done.text
    for user in (("tests",), ("test_0.py::test_good",)):
        monkeypatch.setenv("PYTEST_ADDOPTS", WITHOUT_OTHER_PLUGINS)
        project.pytester.makeini(ini.replace(f"--flperf-suite={suite}", ""))
        without, _ = collected(project, *user)
        project.pytester.makeini(ini)
        assert collected(project, *user)[0] == without


def test_another_ini(project: Tiny) -> None:
    """``-c``: its addopts and testpaths count."""
    path = project.folder / "other.ini"
    path.write_text("[pytest]\naddopts = --flperf-suite=tiny.json\ntestpaths = pkg\n", encoding="utf-8")
    tests, cases = collected(project, "-c", "other.ini")
    assert tests == ["pkg/test_5.py::test_bad", "pkg/test_5.py::test_good"]
    assert cases == ["tiny.json::one[flperf-nano]"]


def _alone(project: Tiny, *arguments: str) -> Done:
    done = project.run(*arguments, *project.at)
    assert done.ret == 0, done.text
    assert [case["nodeid"] for case in done.cases] == ["tiny.json::one[reference]"]
    return done


@pytest.mark.parametrize("ini", ["", "addopts = --flperf-suite=pkg/p.json\n"])
@pytest.mark.parametrize("more", [(), ("-q",), ("--no-header",), ("-v",)])
def test_a_suite_that_was_typed(project: Tiny, ini: str, more: tuple[str, ...]) -> None:
    """Without a path it runs alone, and one line says so, and how to have both."""
    project.pytester.makeini(f"[pytest]\n{ini}testpaths = tests pkg\n")
    if ini:
        done = project.run("--flperf-suite=tiny.json", *project.at, *more)
        assert len(done.cases) == 2
    else:
        done = _alone(project, "--flperf-suite=tiny.json", *more)
    (line,) = [line for line in done.lines if LEFT_OUT in line]
    assert line.endswith("such as 'tests pkg'")
    both = project.run("--flperf-suite=tiny.json", *project.at, "tests", "pkg", *more)
    assert both.ret == pytest.ExitCode.TESTS_FAILED
    assert LEFT_OUT not in both.text


def test_a_suite_that_was_typed_in_a_file_of_arguments(project: Tiny) -> None:
    """Typed is what stands on the command line, in files that it names as well."""
    (project.folder / "arguments.txt").write_text("--flperf-suite=tiny.json\n", encoding="utf-8")
    done = _alone(project, "@arguments.txt")
    assert LEFT_OUT in done.text
    assert "such as '.'" in done.text


def test_no_line_where_a_suite_was_named_like_a_test_file(project: Tiny) -> None:
    """``pytest tiny.json`` is a path, and pytest collects paths that are typed and nothing else."""
    assert LEFT_OUT not in _alone(project, "tiny.json").text
    assert LEFT_OUT not in _alone(project, "tiny.json::one[reference]").text


def test_no_line_of_testpaths_elsewhere(project: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder than rootdir testpaths count for nothing: the line doesn't name them."""
    project.pytester.makeini("[pytest]\ntestpaths = tests\n")
    monkeypatch.chdir(project.folder / "pkg")
    done = project.run("--flperf-suite=../tiny.json", *project.at)
    assert done.ret == 0, done.text
    assert "such as '.'" in done.text


@pytest.mark.parametrize("option", ["--lf", "--ff", "--sw", "--nf"])
def test_last_failed(project: Tiny, option: str) -> None:
    """Pytest's memory of failures chooses the same tests with a suite and without."""
    paths = ("tests", "test_0.py")
    project.run(*paths)
    without = project.run("--co", "-q", *paths, option).ids
    project.run(*paths)
    with_suite = project.run("--co", "-q", *paths, option, "--flperf-suite=tests/in.json", NANO).ids
    assert sorted(each for each in with_suite if "json" not in each) == sorted(without)


def test_tests_in_workers(project: Tiny) -> None:
    """``-n 1`` with testpaths: the worker gets what was decided, and decides the same."""
    project.pytester.makeini("[pytest]\naddopts = --flperf-suite=tests/in.json\ntestpaths = tests\n")
    done = project.run("-n1", "-v", *project.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert "3 passed" in done.text
    assert "2 failed" in done.text
    assert done.case["nodeid"] == "tests/in.json::one[reference]"
