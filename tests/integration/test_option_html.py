"""``--flperf-html`` and the ``report.html`` of each run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_runs import Tiny

from pytest_flperf import cli
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store
from pytest_flperf.report.html.pages import Pages


def test_every_run_has_a_report(tiny: Tiny) -> None:
    """Without asking: verdict, the case, and the single requests drawn."""
    done = tiny.measure("--flperf-iterations=3")
    html = (done.report / "report.html").read_text(encoding="utf-8")
    assert "PASSED" in html
    assert "tiny.json::one[reference]" in html
    assert "a step per request" in html
    assert done.results["run"]["id"] in html.replace("<wbr>", "")


def test_the_second_run_knows_the_first(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a run shows the runs before it that the store has; so does the page that is made again."""
    first = tiny.measure("--flperf-store=runs.db")
    assert ">History<" not in (first.report / "report.html").read_text(encoding="utf-8")
    done = tiny.measure("--flperf-store=runs.db")
    html = (done.report / "report.html").read_text(encoding="utf-8")
    assert 'id="history">History<' in html
    assert "in 1 earlier run<" in html
    monkeypatch.chdir(tiny.folder)
    assert cli.main(["report", "latest", "-o", "again.html", "--store=runs.db"]) == 0
    assert 'id="history">History<' in (tiny.folder / "again.html").read_text(encoding="utf-8")
    with Store(StorePlace("sqlite", "runs.db", tiny.folder / "runs.db")) as store:
        assert len(store.runs()) == 2
    kept_nowhere = tiny.measure("--flperf-store=none")
    assert ">History<" not in (kept_nowhere.report / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("absolute", [False, True])
def test_another_place(tiny: Tiny, absolute: bool) -> None:
    """The same page at the path that was asked for, folders made; relative to where pytest was called."""
    where = str(tiny.folder / "out" / "er" / "a.html") if absolute else "out/er/a.html"
    done = tiny.measure(f"--flperf-html={where}")
    assert done.ret == 0
    assert (tiny.folder / "out/er/a.html").read_bytes() == (done.report / "report.html").read_bytes()


def test_ini(tiny: Tiny) -> None:
    """The ini twin does the same."""
    tiny.pytester.makeini("[pytest]\nflperf_html = there.html")
    assert tiny.measure().ret == 0
    assert (tiny.folder / "there.html").is_file()


@pytest.mark.parametrize("where", ["folder", "file/x.html"])
@pytest.mark.parametrize("budget", ["e2e_ms.max <= 60000", "e2e_ms.max <= 0"])
def test_a_place_that_can_not_be(tiny: Tiny, where: str, budget: str) -> None:
    """One line under the table, and the exit status is the verdict's."""
    (tiny.folder / "folder").mkdir()
    (tiny.folder / "file").write_text("")
    done = tiny.measure(f"--flperf-html={where}", f"--flperf-budget={budget}")
    assert done.ret == (0 if "60000" in budget else 1)
    (line,) = [line for line in done.lines if line.startswith(f"flperf: --flperf-html: {where} was not written: ")]
    table = next(index for index, line in enumerate(done.lines) if line.startswith("reference "))
    assert done.lines.index(line) > table
    assert (done.report / "report.html").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(tiny: Tiny) -> None:
    """A disk that is full is said."""
    done = tiny.measure("--flperf-html=/dev/full")
    assert done.ret == 0
    assert "flperf: --flperf-html: /dev/full was not written: No space left on device" in done.lines


def test_report_folder_that_vanishes(tiny: Tiny) -> None:
    """Nothing can be written any more: said, not raised."""
    tiny.suite()
    tiny.pytester.makeconftest(
        """
        import shutil
        def pytest_runtest_teardown(item):
            shutil.rmtree("reports")
            open("reports", "w").close()
        """
    )
    done = tiny.measure()
    assert done.ret == 0
    assert "flperf: report.html was not written" in done.text
    assert "flperf: PASSED: 1 passed" in done.text


def test_fault_of_the_report(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own in the report costs neither the results nor the verdict."""

    def broken(*_: object) -> str:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(Pages, "run", broken)
    done = tiny.measure()
    assert done.ret == 0
    assert (
        "flperf: report.html was not written: a fault of flperf, please report it: ZeroDivisionError: oh" in done.lines
    )
    assert done.case["outcome"] == "passed"


def test_failures(tiny: Tiny) -> None:
    """A missed budget and a model that isn't there are in the report, and how to run them again."""
    tiny.suite({"budgets": ["ttft_ms.max <= 0.001"]})
    done = tiny.run("--flperf-suite=tiny.json", tiny.at[0], "--flperf-model=reference,nope")
    html = (done.report / "report.html").read_text(encoding="utf-8")
    assert "missed ttft_ms.max &lt;= 0.001" in html
    assert "the model is not ready" in html
    assert f"pytest &#39;tiny.json::one[nope]&#39; {tiny.at[0]} --flperf-model=reference,nope" in html


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted(tiny: Tiny) -> None:
    """After an interrupt the report shows what was measured, and says that the run was interrupted."""
    tiny.suite({"iterations": 2}, {"name": "two"})
    tiny.pytester.makeconftest(
        """
        import pytest
        def pytest_runtest_teardown(item):
            raise KeyboardInterrupt
        """
    )
    done = tiny.run_apart("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    html = (done.report / "report.html").read_text(encoding="utf-8")
    assert "The run was interrupted" in html
    assert "tiny.json::one[reference]" in html


@pytest.mark.parametrize("workers", [("-n0",), ("-n1",)])
def test_with_xdist(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """The controller writes the report, with the single requests that its worker measured."""
    tiny.suite({"iterations": 3})
    done = tiny.run_apart("--flperf-suite=tiny.json", *tiny.at, *workers, "--flperf-html=a.html")
    assert done.ret == 0, done.text
    assert "a step per request" in (tiny.folder / "a.html").read_text(encoding="utf-8")


def test_nothing_measured(tiny: Tiny) -> None:
    """A run in which nothing is selected says so, and leaves no page of an earlier run in its place."""
    assert tiny.measure("--flperf-html=a.html").ret == 0
    assert tiny.measure("-k", "nothing", "--flperf-html=a.html").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "<title>NOT MEASURED: " in (tiny.folder / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("test", "more", "ret"),
    [
        ("def test_it(flperf): flperf.run(prompt='x')", ("-k", "nothing"), 5),
        ("def test_it(): pass", (), 0),
        ("import pytest; pytest.skip('not at module level')", (), 2),
        ("", (), 5),
    ],
)
def test_nothing_measured_of_own_tests(tiny: Tiny, test: str, more: tuple[str, ...], ret: int) -> None:
    """Without a suite as well, whatever else was run: who asks for a file gets one of this run."""
    tiny.pytester.makepyfile(test_own=test)
    (tiny.folder / "a.html").write_text("an earlier run", encoding="utf-8")
    done = tiny.run("test_own.py", *tiny.at, "--flperf-html=a.html", *more)
    assert done.ret == ret, done.text
    assert "flperf: NOT MEASURED" in done.text
    assert "<title>NOT MEASURED: " in (tiny.folder / "a.html").read_text(encoding="utf-8")
    assert done.results["run"]["status"] == "not_measured"


def test_options_of_all_sessions(tiny: Tiny) -> None:
    """A file that addopts name is written by runs only: other tests run every day."""
    tiny.pytester.makeini("[pytest]\naddopts = --flperf-html=a.html")
    tiny.pytester.makepyfile(test_own="def test_it(): pass")
    done = tiny.run("test_own.py")
    assert done.ret == 0
    assert "NOT MEASURED" not in done.text
    assert not (tiny.folder / "a.html").exists()
