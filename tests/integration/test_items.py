"""Suites as pytest items: ids, selection, and life beside other options and plugins."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tiny_runs import Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer
from pytest_flperf.suite import discovery as finding

THREE = ({"name": "a", "tags": ["slow"]}, {"name": "b"}, {"name": "c"})


def _names(ids: list[str]) -> list[str]:
    return [each.partition("::")[2].partition("[")[0] for each in ids]


def test_collecting_starts_nothing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--co`` starts no process and writes nothing."""
    from pytest_flperf.loadgen.worker_client import LoadSession

    monkeypatch.setattr(LoadSession, "__init__", None)
    tiny.suite()
    assert tiny.run("--flperf-suite=tiny.json", "--co", "-q").ret == 0
    assert not (tiny.folder / "reports").exists()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("-k", "a"), ["a"]),
        (("-k", "slow"), ["a"]),
        (("-k", "not b"), ["a", "c"]),
        (("-m", "flperf"), ["a", "b", "c"]),
        (("-m", "not flperf"), []),
        (("--deselect", "tiny.json::b[m]"), ["a", "c"]),
        (("--deselect", "tiny.json::b"), ["a", "c"]),
    ],
)
def test_selecting(tiny: Tiny, options: tuple[str, ...], names: list[str]) -> None:
    """Pytest's ways to select."""
    tiny.suite(*THREE)
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=m", "--co", "-q", *options)
    assert _names(done.ids) == names
    assert done.ret == (0 if names else pytest.ExitCode.NO_TESTS_COLLECTED)


def test_matrix_points(tiny: Tiny) -> None:
    """Points of the matrix stand in the brackets, in the suite's order."""
    tiny.suite(matrix={"temperature": [0.25, 0.5], "max_tokens": [3]})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=m", "--co", "-q")
    assert done.ids == [
        "tiny.json::one[m-temperature=0.25-max_tokens=3]",
        "tiny.json::one[m-temperature=0.5-max_tokens=3]",
    ]


@pytest.mark.parametrize("suite", ["flperf:quick", "tiny.json"])
def test_a_printed_id_runs_alone(tiny: Tiny, suite: str) -> None:
    """An id from one run is an argument of the next, with or without the suite option."""
    tiny.suite(*THREE)
    (*_, printed) = tiny.run(f"--flperf-suite={suite}", *tiny.at, "--co", "-q").ids
    assert tiny.run(printed, *tiny.at, "--co", "-q").ids == [printed]
    done = tiny.run(printed, *tiny.at, "--flperf-iterations=1")
    assert done.ret == 0, done.text
    assert [case["nodeid"] for case in done.cases] == [printed]


STRANGE = [
    "Größe 🚀 日本語 עברית",
    'it\'s "quoted"',
    "a/b\\c",
    "x[y]z[",
    "a::b::c",
    "line\nend\r\n\ttab",
    "nul\0 esc\x1b[31m",
    "-k --co",
    "%s {0} $HOME `id`",
    "\U00010348\U0001d11e\U000e0041\U0010ffff",
    "é e\u0301 \u202e \u200b",
    "..",
    "con",
]


def test_strange_names(tiny: Tiny) -> None:
    """Names in every Unicode plane, with quotes, slashes, brackets, colons and line ends have ids that run alone."""
    tiny.suite(*({"name": name, "prompt": name} for name in STRANGE))
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == 0, done.text
    assert [case["scenario"] for case in done.cases] == STRANGE
    ids = [case["nodeid"] for case in done.cases]
    assert len({each.casefold() for each in ids}) == len(STRANGE)
    for each in ids:
        assert each.isprintable()
        assert len(each.split("::")) == 2
        assert tiny.run(each, *tiny.at, "--co", "-q").text.count("tiny.json::") == 1
    again = tiny.run(*ids[:3], *tiny.at)
    assert [case["nodeid"] for case in again.cases] == ids[:3]


def test_names_of_pytests_own(tiny: Tiny) -> None:
    """Names that mean something to pytest in a module of tests are nothing but scenarios here."""
    names = ["pytest_generate_tests", "setup_module", "pytestmark", "__doc__", "__test__", "pytest_plugins", "print"]
    tiny.suite(*({"name": name} for name in names))
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == 0, done.text
    assert [case["scenario"] for case in done.cases] == names


def test_huge_names(tiny: Tiny) -> None:
    """Names and prompts of 100 kB have short ids and lines that fit."""
    huge = "名" * 100_000
    tiny.suite({"name": huge, "prompt": huge}, {"name": huge + "2", "prompt": "x" * 100_000})
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "-v")
    assert done.ret == 0, done.text[:2000]
    assert all(len(case["nodeid"]) < 200 for case in done.cases)
    assert max(map(len, done.lines)) < 1_000, "also of a busy machine, which has a warning more"


@pytest.mark.parametrize("model", ["org/model:q4", "模型", "a b[c]", "x" * 5000])
def test_strange_models(tiny: Tiny, model: str) -> None:
    """Models may be called anything, too."""
    tiny.suite()
    (printed,) = tiny.run("--flperf-suite=tiny.json", f"--flperf-model={model}", "--co", "-q").text.splitlines()[:1]
    assert len(printed) < 200
    assert tiny.run(printed, f"--flperf-model={model}", "--co", "-q").lines[0] == printed


def test_stop_and_last_failed(tiny: Tiny) -> None:
    """``-x`` ends the run after the first failure; ``--lf`` runs what failed."""
    tiny.suite(THREE[0], {"name": "b", "budgets": ["ttft_ms.max <= 0.001"]}, THREE[2])
    done = tiny.measure("-x")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert [case["outcome"] for case in done.cases] == ["passed", "failed"]
    again = tiny.measure("--lf")
    assert [case["scenario"] for case in again.cases] == ["b"]


def test_last_failed_of_a_packaged_suite(tiny: Tiny) -> None:
    """``--lf`` finds failed cases of packaged suites beside failures in files, though their ids name no file."""
    tiny.suite(*THREE, budgets=["ttft_ms.max <= 0.001"])
    suites = ("--flperf-suite=quick", "--flperf-suite=tiny.json", "--flperf-iterations=1")
    budget = "--flperf-budget=one-word:ttft_ms.max <= 0.001"
    first = tiny.run(*suites, *tiny.at, budget)
    failed = [case["scenario"] for case in first.cases if case["outcome"] == "failed"]
    assert failed == ["one-word", "a", "b", "c"]
    again = tiny.run(*suites, *tiny.at, budget, "--lf")
    assert sorted(case["scenario"] for case in again.cases) == sorted(failed)


def test_fixtures_of_the_users(tiny: Tiny) -> None:
    """A parametrised fixture that every test uses multiplies the cases; each has an id of its own."""
    tiny.suite(*THREE[:2])
    tiny.pytester.makeconftest(
        "import pytest\n@pytest.fixture(autouse=True, params=['x', 'y'])\ndef all_of_them(request): pass"
    )
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == 0, done.text
    ids = {f"tiny.json::{name}[reference-{letter}]" for name in "ab" for letter in "xy"}
    assert {case["nodeid"] for case in done.cases} == ids


def test_run_again(tiny: Tiny) -> None:
    """Where another plugin runs a failed case again, the first try stays to be seen."""
    tiny.suite()
    tiny.pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                item._initrequest()
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    the_third = ReferenceConfig(fault=Fault(FaultKind.HTTP_ERROR, status=503, every=3, first=5))
    with ReferenceServer(the_third, in_thread=True) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference", "--flperf-iterations=2")
        done = tiny.run("--flperf-suite=tiny.json", *at, "-v")
    assert "1 failed, 1 passed" in done.counts, done.text
    assert done.case["outcome"] == "passed"
    assert "an earlier try: failed. one on reference: missed error_rate <= 0 (50 %)" in done.case["notes"]
    assert "note: an earlier try" in done.text


@pytest.mark.parametrize("beside", [".", "suites", "suites/tiny.json"])
def test_collected_once(tiny: Tiny, beside: str) -> None:
    """A suite that lies where pytest looks anyway is collected once."""
    tiny.suite(file="suites/tiny.json")
    done = tiny.run("--flperf-suite=tiny", beside, "--flperf-model=m", "--co", "-q")
    assert done.ids == ["suites/tiny.json::one[m]"]


def test_setup_plan(tiny: Tiny) -> None:
    """``--setup-plan`` starts nothing either."""
    tiny.suite()
    assert tiny.run("--flperf-suite=tiny.json", *tiny.at, "--setup-plan").ret == 0
    assert not (tiny.folder / "reports").exists()


def test_addopts(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options in PYTEST_ADDOPTS and in the ini file's addopts count."""
    tiny.suite()
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} --flperf-suite=tiny.json {tiny.at[0]}")
    tiny.pytester.makeini(f"[pytest]\naddopts = {tiny.at[1]}")
    done = tiny.run()
    assert done.ret == 0, done.text
    assert done.case["nodeid"] == "tiny.json::one[reference]"


@pytest.mark.parametrize(
    "options",
    [
        ("-W", "error"),
        ("--strict-markers", "--strict-config"),
        ("-p", "no:terminal"),
        ("-p", "no:cacheprovider"),
        ("-p", "no:capture"),
        ("-s",),
        ("-p", "no:benchmark", "-p", "no:xdist"),
        ("--import-mode=importlib",),
        ("--tb=no", "-rA"),
        ("--setup-show",),
        ("--durations=3",),
        ("--assert=plain",),
        ("-o", "python_functions=check_*", "-o", "python_files=check_*.py"),
    ],
)
def test_in_company(tiny: Tiny, options: tuple[str, ...]) -> None:
    """Other options don't interfere."""
    done = tiny.measure(*options)
    assert done.ret == 0, done.text
    assert done.case["outcome"] == "passed"


def test_packaged_under_rootdir(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the virtual environment inside of rootdir a packaged suite keeps its id."""
    inside = tiny.folder / "venv" / "suites"
    shutil.copytree(finding.packaged_folder(), inside)
    monkeypatch.setattr(finding, "packaged_folder", lambda: Path(inside))
    ids = tiny.run("--flperf-suite=quick", "--flperf-model=m", "--co", "-q").ids
    assert ids
    assert all(each.startswith("flperf:quick::") for each in ids)
    assert tiny.run(ids[0], "--flperf-model=m", "--co", "-q").ids == ids[:1]


def test_from_another_folder(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids count from rootdir wherever pytest is called."""
    tiny.suite(file="deep/tiny.json")
    tiny.pytester.makeini("[pytest]")
    monkeypatch.chdir(tiny.folder / "deep")
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=m", "--co", "-q")
    assert done.ids == ["deep/tiny.json::one[m]"]


def test_unused(tiny: Tiny) -> None:
    """Without a suite: no header, no folder, no table, and files of others are left alone."""
    tiny.suite(file="test_data.json")
    tiny.pytester.makepyfile(test_mine="def test_me(): pass")
    done = tiny.run()
    assert done.ret == 0
    assert not [line for line in done.lines if line.startswith("flperf")]
    assert not (tiny.folder / "reports").exists()
