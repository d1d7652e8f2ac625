"""``--flperf-report-dir``, the options that list, ini twins, ``-p no:flperf``."""

from __future__ import annotations

import errno
import os

import pytest
from tiny_runs import Tiny

from pytest_flperf.reference_server import ReferenceServer


@pytest.mark.parametrize("absolute", [False, True])
def test_report_dir(tiny: Tiny, absolute: bool) -> None:
    """Another folder, made where it is missing."""
    where = str(tiny.folder / "deep" / "er") if absolute else "deep/er"
    done = tiny.measure(f"--flperf-report-dir={where}")
    assert done.ret == 0
    assert (tiny.folder / "deep/er/latest/results.json").is_file()
    assert not (tiny.folder / "reports").exists()


def test_report_dir_that_cannot_be(tiny: Tiny) -> None:
    """A file in the way: said in one line; the measurement goes on."""
    (tiny.folder / "taken").write_text("")
    done = tiny.measure("--flperf-report-dir=taken")
    assert done.ret == 0
    assert "nothing was written" in done.text


def test_latest_is_the_newest(tiny: Tiny) -> None:
    """Every run has a folder of its own, and the link goes on."""
    first, second = tiny.measure().report, tiny.measure().report
    assert first != second
    assert first.is_dir()
    link = tiny.folder / "reports" / "latest"
    assert link.is_symlink()
    assert not link.readlink().is_absolute()


def test_list_suites(tiny: Tiny) -> None:
    """Names and descriptions and nothing else; a broken suite is listed with its fault."""
    tiny.suite(file="suites/mine.json", description="About mine")
    (tiny.folder / "suites" / "broken.json").write_text("{")
    done = tiny.run("--flperf-list-suites")
    assert done.ret == 0
    assert done.lines[0].split() == ["suite", "scenarios", "description"]
    assert {line.split()[0] for line in done.lines[2:]} == {"mine", "broken", "default", "quick", "tools"}
    assert "About mine" in done.text
    assert all(len(line) <= 100 for line in done.lines)


def test_list_models_of_a_server(tiny: Tiny, reference: ReferenceServer) -> None:
    """What the server lists, and nothing is run."""
    done = tiny.run("--flperf-list-models", f"--flperf-base-url={reference.base_url}")
    assert done.ret == 0
    assert any(line.startswith("reference ") for line in done.lines)
    assert "session starts" not in done.text


def test_list_models_of_no_server(tiny: Tiny) -> None:
    """A server that is not there: one line."""
    done = tiny.run("--flperf-list-models", "--flperf-base-url=http://127.0.0.1:9/v1")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert os.strerror(errno.ECONNREFUSED) in done.text


@pytest.mark.parametrize("more", [(), ("-p", "no:terminal"), ("-q",)])
def test_dry_run(tiny: Tiny, more: tuple[str, ...]) -> None:
    """Cases, requests and time; nothing is sent, nothing written."""
    tiny.suite({"iterations": 7, "warmup": 2})
    done = tiny.run(
        "--flperf-suite=tiny.json",
        "--flperf-base-url=http://127.0.0.1:9/v1",
        "--flperf-model=m",
        "--flperf-dry-run",
        *more,
    )
    assert done.ret == 0, done.text
    assert done.lines[2].split()[:4] == ["tiny.json::one[m]", "7", "2", "1"]
    assert "1 case, 9 requests" in done.text
    assert "session starts" not in done.text
    assert not (tiny.folder / "reports").exists()


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("-k", "two"), ["two"]),
        (("-k", "not one and not three"), ["two"]),
        (("-m", "small"), ["three"]),
        (("--deselect=tiny.json::one[m]",), ["two", "three"]),
        (("tiny.json::three", "tiny.json::one"), ["three", "one"]),
        (("-n1", "-k", "two"), ["two"]),
        (("-k", "none"), []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_dry_run_shows_what_would_run(tiny: Tiny, options: tuple[str, ...], left: list[str]) -> None:
    """Every option of pytest that selects counts."""
    tiny.pytester.makeini("[pytest]\nmarkers = small")
    tiny.pytester.makeconftest(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        if 'three' in item.name: item.add_marker(pytest.mark.small)\n"
    )
    tiny.suite({"name": "one"}, {"name": "two"}, {"name": "three"})
    suite = () if options[0].startswith("tiny.json") else ("--flperf-suite=tiny.json",)
    done = tiny.run(*suite, "--flperf-base-url=http://127.0.0.1:9/v1", "--flperf-model=m", "--flperf-dry-run", *options)
    assert done.ret == (pytest.ExitCode.OK if left else pytest.ExitCode.NO_TESTS_COLLECTED), done.text
    rows = [line.partition("[")[0].partition("::")[2] for line in done.lines if line.startswith("tiny.json::")]
    assert rows == left
    cases = "1 case" if len(left) == 1 else f"{len(left)} cases"
    assert f"{cases}, {len(left)} request" in done.text
    assert "session starts" not in done.text


def test_dry_run_of_tests_beside_suites(tiny: Tiny) -> None:
    """Tests have no plan, and that is said; their files are not written."""
    tiny.suite()
    tiny.pytester.makepyfile(test_mine="def test_one(): pass\ndef test_two(): pass")
    (tiny.folder / "junit.xml").write_text("of an earlier run")
    done = tiny.run("tiny.json", ".", "--flperf-model=m", *tiny.at[:1], "--flperf-dry-run", "--junitxml=junit.xml")
    assert done.ret == 0, done.text
    assert "1 case, 1 request" in done.text
    assert "2 tests of yours would run as well" in done.text
    assert (tiny.folder / "junit.xml").read_text() == "of an earlier run"


def test_dry_run_of_a_test_file_that_is_broken(tiny: Tiny) -> None:
    """What can't be collected is said as pytest says it, and the dry run fails."""
    tiny.suite()
    tiny.pytester.makepyfile(test_mine="assert 1 == 2, 'of this file'")
    done = tiny.run("tiny.json", "test_mine.py", "--flperf-model=m", *tiny.at[:1], "--flperf-dry-run")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "of this file" in done.text
    assert "requests, about" not in done.text


def test_dry_run_of_nothing(tiny: Tiny) -> None:
    """Without a suite there is nothing to plan."""
    assert "--flperf-suite" in tiny.refused("--flperf-dry-run")


def test_ini_twins(tiny: Tiny) -> None:
    """Every setting has a twin in the ini file; the command line wins."""
    tiny.suite({"iterations": 9})
    base_url, model = (option.partition("=")[2] for option in tiny.at)
    tiny.pytester.makeini(
        f"""
        [pytest]
        flperf_base_url = {base_url}
        flperf_model = {model}
        flperf_iterations = 2
        flperf_warmup = 1
        flperf_concurrency = 2
        flperf_timeout = 20
        flperf_max_tokens = 3
        flperf_temperature = 0.5
        flperf_no_stream = true
        flperf_report_dir = out
        flperf_budget =
            e2e_ms.max <= 60000
            error_rate <= 1%
        """
    )
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-iterations=3", "--flperf-report-dir=reports")
    assert done.ret == 0, done.text
    assert done.case["requests"]["ok"] == 3
    assert done.case["load"]["concurrency"] == 2
    assert "ttft_ms" not in done.case["metrics"]
    assert len(done.case["budgets"]) == 2


def test_bad_ini(tiny: Tiny) -> None:
    """An ini value of the wrong type is refused."""
    tiny.suite()
    tiny.pytester.makeini("[pytest]\nflperf_iterations = many")
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "flperf_iterations" in done.text


@pytest.mark.usefixtures("stored")
def test_switched_off(tiny: Tiny) -> None:
    """``-p no:flperf`` turns all off: options and ini keys are unknown, the fixture is missing."""
    tiny.pytester.makepyfile(test_mine="def test_me(flperf): pass\ndef test_you(): pass")
    done = tiny.run("-p", "no:flperf", "-p", "no:cacheprovider")
    assert "fixture 'flperf' not found" in done.text
    assert "1 passed, 1 error" in done.text
    done = tiny.run("-p", "no:flperf", "--flperf-suite=quick")
    assert done.ret == pytest.ExitCode.USAGE_ERROR


def test_list_models_without_a_catalog(tiny: Tiny) -> None:
    """The embedded models are listed with size, device and context; a catalog that can't be reached is said."""
    done = tiny.run("--flperf-list-models", "--flperf-catalog-url=http://127.0.0.1:9/")
    assert done.ret == 0, done.text
    rows = {line.split()[0]: line for line in done.lines if line.startswith("flperf-")}
    assert set(rows) == {"flperf-nano", "flperf-micro"}
    assert all("CPU" in row and "4096" in row for row in rows.values())
    assert "catalog" in done.lines[-1]
