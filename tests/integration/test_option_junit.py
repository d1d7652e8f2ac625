"""``--junitxml``: numbers, budgets, host and target of every case, as properties and as text."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import xmlschema
from junitparser import JUnitXml, Properties, TestCase
from plugin_compat import enough_s
from tiny_runs import Tiny

WAYS = pytest.mark.parametrize("way", [(), ("-n1",)], ids=["plain", "n1"])
FAMILIES = pytest.mark.parametrize("family", ["xunit1", "xunit2", "legacy"])


def cases_of(path: Path) -> dict[str, TestCase]:
    """The tests, as a reader of JUnit files finds them."""
    return {str(test.name): test for suite in JUnitXml.fromfile(str(path)) for test in suite}


def properties_of(test: TestCase) -> list[tuple[str, str]]:
    """Its properties."""
    found = test.child(Properties)
    return [] if found is None else [(each.name, each.value) for each in found]


@WAYS
@FAMILIES
def test_numbers(tiny: Tiny, way: tuple[str, ...], family: str) -> None:
    """Passed and failed cases: the numbers of results.json in properties, the same with budgets in the text."""
    tiny.suite({"iterations": 3}, {"name": "slow", "budgets": ["e2e_ms.p50 <= 0.001"]})
    done = tiny.measure("--junitxml=out/junit.xml", "-o", f"junit_family={family}", *way)
    tests = cases_of(tiny.folder / "out" / "junit.xml")
    assert set(tests) == {"one[reference]", "slow[reference]"}
    for case in done.cases:
        test = tests[f"{case['scenario']}[reference]"]
        found = dict(properties_of(test))
        assert found["flperf.nodeid"] == case["nodeid"]
        assert float(found["ttft_ms.p95"]) == pytest.approx(case["metrics"]["ttft_ms"]["p95"], rel=1e-5)
        assert int(found["ttft_ms.n"]) == case["metrics"]["ttft_ms"]["n"]
        assert found["host"] == case["host"]
        assert found["target.base_url"] == case["target"]["base_url"]
        assert found["budget error_rate <= 0"].startswith("met, value 0, limit 0, n ")
        out = str(test.system_out)
        for part in (case["host"], case["target"]["base_url"], "ttft_ms", f"n={case['requests']['ok']}", "kernel"):
            assert part in out
        assert "budget error_rate <= 0: met" in out
    assert "MISSED  e2e_ms.p50 <= 0.001" in str(tests["slow[reference]"].result[0].text)
    assert "budget e2e_ms.p50 <= 0.001: MISSED" in str(tests["slow[reference]"].system_out)


def test_what_was_cut_short_says_so(tiny: Tiny) -> None:
    """A case that the time was over for is partial, and a whole one doesn't say it is not."""
    tiny.suite({"iterations": 1})
    limit_s = enough_s(tiny.measure)
    tiny.suite({"iterations": 1}, {"name": "endless", "iterations": 1_000_000})
    tiny.measure("--junitxml=junit.xml", f"--flperf-max-time={limit_s}s")
    whole, cut = cases_of(tiny.folder / "junit.xml").values()
    assert "partial" not in dict(properties_of(whole))
    assert dict(properties_of(cut))["partial"] == "true"


def test_a_person_reads_it_once(tiny: Tiny) -> None:
    """The text of the file doesn't appear at the terminal, not even with -rA."""
    done = tiny.measure("--junitxml=junit.xml", "-rA")
    assert "target: openai" not in done.text


@pytest.mark.parametrize("name", ["]]>", "a\x1b[31mb\x00", "<b>&\"'", "\ud800", "\u202e\ufffe", "n" * 5_000])
def test_hostile_names(tiny: Tiny, name: str) -> None:
    """Whatever a suite's names hold, the file is XML, and has a text."""
    tiny.suite({"name": name, "description": name})
    done = tiny.measure("--junitxml=junit.xml")
    assert done.ret == 0, done.text
    (test,) = ET.parse(tiny.folder / "junit.xml").iter("testcase")
    assert "ttft_ms" in str(test.findtext("system-out"))


def test_own_tests(tiny: Tiny) -> None:
    """A test that measures twice has both; what it prints stays; a test of another kind is left as it was."""
    tiny.pytester.makepyfile(
        """
        def test_two(flperf):
            print("printed")
            for tokens in (2, 3):
                flperf.run("Hi", iterations=1, warmup=0, max_tokens=tokens)

        def test_none():
            pass
        """
    )
    assert tiny.run(*tiny.at, "--junitxml=junit.xml", "-o", "junit_logging=all").ret == 0
    tests = cases_of(tiny.folder / "junit.xml")
    out = str(tests["test_two"].system_out)
    assert len(re.findall("target: openai", out)) == 2
    assert "printed" in out
    found = [value for name, value in properties_of(tests["test_two"]) if name == "flperf.nodeid"]
    assert found == ["test_own_tests.py::test_two", "test_own_tests.py::test_two #2"]
    assert "target:" not in str(tests["test_none"].system_out)
    assert not properties_of(tests["test_none"])


def test_a_model_that_is_not_ready(tiny: Tiny) -> None:
    """An error of set-up has its testcase, its reason and its properties as well."""
    tiny.suite()
    url = "http://127.0.0.1:9/v1"
    assert tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=m", "--junitxml=j.xml").ret
    (test,) = ET.parse(tiny.folder / "j.xml").iter("testcase")
    assert "not ready" in str(test.findtext("error"))
    assert {each.get("name") for each in test.iter("property")} >= {"flperf.nodeid", "model", "host"}


def test_the_schema_holds(tiny: Tiny) -> None:
    """Passed, failed, skipped, not ready and the run's own budgets: a file of the form that readers expect."""
    cases: list[dict[str, object]] = [{}, {"name": "slow", "budgets": ["e2e_ms.p50 <= 0.001"]}]
    tiny.suite(*cases)
    limit_s = enough_s(tiny.measure)
    tiny.suite(*cases, {"name": "endless", "iterations": 1_000_000})
    tiny.measure("--junitxml=a.xml", "--flperf-budget=run.wall_s <= 0.001", f"--flperf-max-time={limit_s}s")
    tiny.run(
        "--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9/v1", "--flperf-model=m", "--junitxml=b.xml"
    )
    schema = xmlschema.XMLSchema11(str(Path(__file__).with_name("junit.xsd")))
    kinds: set[str] = set()
    for name in ("a.xml", "b.xml"):
        schema.validate(str(tiny.folder / name))
        kinds |= {child.tag for test in ET.parse(tiny.folder / name).iter("testcase") for child in test}
    assert kinds == {"properties", "failure", "skipped", "error", "system-out"}


def test_a_reader_makes_a_page_of_it(tiny: Tiny) -> None:
    """junit2html shows the numbers."""
    tiny.suite({}, {"name": "slow", "budgets": ["e2e_ms.p50 <= 0.001"]})
    tiny.measure("--junitxml=junit.xml", "--flperf-budget=run.wall_s <= 900")
    done = subprocess.run(
        [sys.executable, "-m", "junit2htmlreport", "junit.xml", "page.html"],
        cwd=tiny.folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tiny.folder / "page.html").read_text(encoding="utf-8")
    for part in ("slow[reference]", "ttft_ms.p95", "MISSED  e2e_ms.p50", "run-budgets"):
        assert part in page
