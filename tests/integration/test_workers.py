"""pytest-xdist."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny

from pytest_flperf.integration.fleet import check_suites, check_versions
from pytest_flperf.integration.xdist import refuse_neighbours


@pytest.mark.parametrize("workers", ["-n0", "-n1", "-nauto"])
def test_same_results(tiny: Tiny, workers: str) -> None:
    """With and without a worker: one run folder with the same files, one table."""
    tiny.suite({"iterations": 2}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]})
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, workers)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert [case["outcome"] for case in done.cases] == ["passed", "failed"]
    assert sum(line.startswith("reference ") for line in done.lines) == 2
    folders = [path for path in (tiny.folder / "reports").iterdir() if path.is_dir() and not path.is_symlink()]
    assert len(folders) == 1
    assert {path.name for path in folders[0].iterdir()} >= {"results.json", "journal.jsonl", "samples.jsonl"}
    for name in ("journal.jsonl", "samples.jsonl"):
        assert sum(line["phase"] == "measured" for line in done.journal(name)) == 3


def test_neighbours(tiny: Tiny) -> None:
    """Two workers on one machine would disturb each other: refused."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "-n2")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "expected one per machine" in done.text
    assert not (tiny.folder / "reports").exists()


def test_several_machines() -> None:
    """Workers on different machines are fine; two behind one proxy are not."""

    class Spec:
        def __init__(self, *, popen: bool, via: str | None = None) -> None:
            self.popen, self.via = popen, via

    refuse_neighbours([Spec(popen=True), Spec(popen=False), Spec(popen=True, via="far")])
    with pytest.raises(pytest.UsageError):
        refuse_neighbours([Spec(popen=True, via="far"), Spec(popen=True, via="far")])


def test_others_may_have_workers(tiny: Tiny) -> None:
    """Without a suite ``-n2`` is nobody's business; tests that use the fixture share one run folder."""
    tiny.pytester.makepyfile(
        test_mine="""
        import pytest
        @pytest.mark.parametrize("number", range(4))
        def test_me(flperf, number):
            flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
        """
    )
    done = tiny.run(*tiny.at, "-n2")
    assert done.ret == 0, done.text
    assert len(done.cases) == 4
    assert len([path for path in (tiny.folder / "reports").iterdir() if path.is_dir() and not path.is_symlink()]) == 1
    assert sum(line["phase"] == "measured" for line in done.journal()) == 4
    assert all("1 more worker" in case["notes"][-1] for case in done.cases)


def test_plugin_that_comes_late(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded by a conftest the plugin can't find suites any more: it says so in place of running nothing."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    tiny.suite()
    tiny.pytester.makeconftest("pytest_plugins = ['pytest_flperf.plugin']")
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
    assert "-p pytest_flperf.plugin" in done.text


def test_machines_with_other_versions_or_suites() -> None:
    """The message says where, what is there and what was expected; packages that only the machines have must agree."""
    known = {"pytest_flperf": "0.1.0", "pytest": "9.2.0", "psutil": "7.0"}
    check_versions("b (ssh=b)", known, known, "laptop-a")
    check_versions("b (ssh=b)", known, {**known, "psutil": "6.0"}, None)
    with pytest.raises(pytest.UsageError) as told:
        check_versions("b (ssh=b)", known, {**known, "psutil": "6.0", "onnxruntime": "1.2"}, "laptop-a")
    assert str(told.value) == (
        "b (ssh=b): found other versions: onnxruntime missing (1.2 on laptop-a), psutil 7.0 (6.0 on laptop-a); "
        "expected the same everywhere"
    )
    with pytest.raises(pytest.UsageError, match=r"found other versions: pytest 9\.2\.0 \(8\.4\.0 here\); expected"):
        check_versions("b (ssh=b)", known, {**known, "pytest": "8.4.0"}, None)
    check_suites("b (ssh=b)", {"flperf:quick": "1", "quick": "1"}, {"flperf:quick": "1"})
    with pytest.raises(pytest.UsageError, match=r"b \(ssh=b\): the suites differ from those here \(quick\)"):
        check_suites("b (ssh=b)", {"quick": "1"}, {"flperf:quick": "2"})
