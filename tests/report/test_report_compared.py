"""Comparisons where people see them: terminal, JUnit, Markdown, annotations, Code Quality, the page."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from comparison_doubles import (
    ERRORS,
    IMPROVED,
    NO_ERRORS,
    UNCHANGED,
    UNDECIDED,
    against,
    compared,
    compared_run,
    comparison,
)
from report_doubles import HOSTILE, case, hostile_run, run

from pytest_flperf.gates.format import limit_pct
from pytest_flperf.report.annotations import annotation_lines
from pytest_flperf.report.answer_sentence import answer_sentence
from pytest_flperf.report.code_quality import code_quality
from pytest_flperf.report.html.interval_chart import Change, intervals
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.junit import case_text, properties
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.comparisons import compared_lines
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.report.terminal.tables import width_of
from pytest_flperf.results.records import CaseResult, Requests, Run


def shown(found: Run, width: int = 140, verbosity: int = 0) -> list[str]:
    """The lines on comparisons."""
    return [line.text.rstrip() for line in compared_lines(found.cases, width, verbosity)]


# ---- the terminal


def test_the_table() -> None:
    """A row per comparison, reasons, and one line in sum; an error rate that nobody asked about is not in the way."""
    lines = shown(compared_run())
    assert [re.split(r"  +", line) for line in lines[4:10]] == [
        ["flperf-nano", "short-chat", "ttft_ms.p50", "50.1 → 56.3", "▲ +12.3 %", "[+8.1, +16.9]", "REGRESSED"],
        ["flperf-nano", "short-chat", "tpot_ms.p50", "5.02 → 5.01", "= -0.2 %", "[-1.4, +1.1]", "unchanged"],
        ["flperf-nano", "short-chat", "gen_tps.p50", "20.5 → 23.9", "▲ +16.4 %", "[+11.0, +22.1]", "improved"],
        ["flperf-nano", "long-prompt", "tpot_ms.p50", "5.02 → 5.01", "= -0.2 %", "[-1.4, +1.1]", "unchanged"],
        ["qwen2.5-0.5b-instruct-generic-cpu", "json-with-a-long-name-that-goes-on", "ttft_ms.p95", "71.0 → 78.1",
         "? +10.0 %", "[-12.0, +41.0]", "undecided"],
        ["qwen2.5-0.5b-instruct-generic-cpu", "json-with-a-long-name-that-goes-on", "error_rate", "0 % → 10.0 %",
         "▲ +10.0 pts", "REGRESSED"],
    ]  # fmt: skip
    long = "json-with-a-long-name-that-goes-on on qwen2.5-0.5b-instruct-generic-cpu"
    assert lines[10:] == [
        f"{long}: undecided: ttft_ms.p95: p95 needs 130 requests on a side",
        f"{long}: regressed: error_rate: it rose from zero: 2 of 20 requests failed",
        "compared with flperf-nano at http://127.0.0.1:5273/v1: 2 regressed, 1 improved, 2 unchanged, 1 undecided",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_it_fits(width: int) -> None:
    """In every width the change and the word are there; from 80 on also model and interval."""
    lines = compared_lines(compared_run().cases, width, 0)
    rows = [line.text for line in lines if "ttft_ms.p50" in line.text]
    assert all(width_of(line.text) <= width for line in lines if "[" in line.text or "---" in line.text)
    (row,) = rows
    assert "▲ +12.3 %" in row
    assert row.endswith("REGRESSED")
    assert ("[+8.1, +16.9]" in row) == (width >= 80)
    assert ("flperf-nano" in row) == (width >= 80)


def test_colours() -> None:
    """Red only for what fails, and the sum is as its worst."""
    lines = compared_lines(compared_run().cases, 140, 0)
    colours = {line.colour for line in lines if "REGRESSED" in line.text}
    assert colours == {"red"}
    assert [line.colour for line in lines if "improved" in line.text] == ["green", "red"]
    assert {line.colour for line in lines if "unchanged" in line.text} == {"", "red"}
    mild = compared("c", replace(comparison(), fails=False))
    assert [line.colour for line in compared_lines([mild], 140, 0) if "regressed" in line.text] == ["yellow", "yellow"]


def test_nothing_was_compared() -> None:
    """Then nothing is shown."""
    assert shown(run()) == []
    assert "ompared" not in markdown(run())


def test_nothing_gates() -> None:
    """It is said, and how that is changed."""
    ungated = compared("c", replace(UNCHANGED, scope="default"), replace(NO_ERRORS, scope="default"))
    assert shown(run(ungated))[-1] == (
        "compared with flperf-nano at http://127.0.0.1:5273/v1: 0 regressed, 0 improved, 1 unchanged, 0 undecided; "
        "nothing fails on it: give --flperf-fail-on"
    )


def test_what_else_is_different() -> None:
    """A sign beside every number that it touches, and below what it is, once."""
    other = against(comparison(), UNCHANGED, differs=("device: CPU → GPU",))
    lines = shown(run(compared("a", against=(other,)), compared("b", against=(other,)), compared("c", IMPROVED)))
    assert sum(line.endswith(("REGRESSED ≠", "unchanged ≠")) for line in lines) == 4
    assert "≠ device: CPU → GPU (2 cases)" in lines
    assert sum(line.endswith("improved") for line in lines) == 1


def test_many_rows() -> None:
    """What did not change is left out of a long table, but for -v; the sum counts all."""
    many = run(*(compared(f"c{index}", UNCHANGED) for index in range(50)), compared("bad", comparison()))
    lines = shown(many)
    assert len(lines) < 10
    assert "… and 50 unchanged; -v: all" in lines
    assert "1 regressed, 0 improved, 50 unchanged, 0 undecided" in lines[-1]
    assert len(shown(many, verbosity=1)) > 50


def test_several_sides() -> None:
    """A column says with which, and each has its sum."""
    sides = (against(comparison(), label="main"), against(IMPROVED, label="last"))
    lines = shown(run(compared("c", against=sides)))
    assert re.search(r"  main  +REGRESSED$", lines[4])
    assert [line.partition(":")[0] for line in lines[-2:]] == ["compared with main", "compared with last"]


def missing_run() -> Run:
    """Two cases that were compared with different runs, and one that had nothing to be compared with."""
    undecided = comparison(
        verdict="undecided", fails=False, baseline=None, change_pct=None, change_ci95_pct=None, probability=None,
        reason="nothing to compare with: no earlier run measured it",
    )  # fmt: skip
    sides = {
        "a": against(UNCHANGED, kind="run", label="last (run-1)", run_id="run-1"),
        "b": against(UNCHANGED, kind="run", label="last (run-2)", run_id="run-2"),
        "c": against(undecided, undecided, kind="run", label="last (nothing found)", missing="first"),
    }
    return run(*(compared(name, against=(side,)) for name, side in sides.items()))


def test_the_last_line_names_what_a_gate_left_open() -> None:
    """Not what nobody asked a gate about."""
    open_gate, of_nobody = replace(UNDECIDED, scope="--flperf-fail-on"), replace(UNDECIDED, scope="default")
    found = run(compared("a", open_gate, of_nobody, replace(ERRORS, verdict="undecided", fails=False)))
    assert summary_lines(found, 140, -1)[-1].text == "flperf: PASSED: 1 passed, 1 budget met, 1 comparison undecided"
    found = run(compared("a", UNCHANGED, of_nobody))
    assert summary_lines(found, 140, -1)[-1].text == "flperf: PASSED: 1 passed, 1 budget met"


def test_an_improvement_that_is_not_called_one() -> None:
    """Reason, arrow and the answer's side, on every page; an unchanged number without a lead has none of them."""
    why = "a fall of more than 10 % is likely (p 0.002), but the run's error rate of 1 % requires p 0.0001"
    lead = comparison(
        verdict="unchanged", fails=False, reason=why, baseline=1103.0, candidate=288.0, change_pct=-73.6,
        change_ci95_pct=(-88.5, -13.8),
    )  # fmt: skip
    found = run(compared("a", lead, NO_ERRORS))
    lines, text, html = shown(found), markdown(found), Pages().run(found, {})
    assert any("▼ -73.6 %" in line and line.endswith("unchanged") for line in lines)
    assert any(line.startswith(f"a on flperf-nano: unchanged: ttft_ms.p50: {why[:40]}") for line in lines)
    said = "1 unchanged (better by its 95 % interval: ttft_ms.p50 -73.6 % [-88.5, -13.8] in a on flperf-nano)"
    assert said in answer_sentence(found)
    for page in (html, re.sub(r"&#\d+;(<!-- -->)?", "", text)):
        assert "a fall of more than 10 % is likely" in page
        assert "-73.6 % [-88.5, -13.8]" in page or "-73.6 % -88.5, -13.8" in page
        assert "= -73.6" not in page
    assert "better by" not in answer_sentence(run(compared("a", UNCHANGED)))


def test_which_run_each_was_compared_with() -> None:
    """On every page; what was not compared is counted, and no sentence says that all is well without it."""
    found = missing_run()
    lines, text, html = shown(found), markdown(found), Pages().run(found, {})
    for run_id in ("run-1", "run-2"):
        assert any(line.startswith(f"compared with last ({run_id})") for line in lines)
        assert f"| last &#40;{run_id}&#41; |" in text or f"| last ({run_id}) |" in text
        assert f"<caption>Compared with last ({run_id})</caption>" in html
    assert "c on flperf-nano: nothing to compare with: no earlier run measured it (2 comparisons)" in lines
    last_line = summary_lines(found, 140, -1)[-1].text
    assert last_line == "flperf: PASSED: 3 passed, 2 comparisons not made, 3 budgets met"
    for page in (text, html):
        assert "Every budget was met: 3 passed, 2 comparisons not made, 1 model." in page
    assert dict(properties(found.cases[2]))["against.missing"] == "first"
    (warning,) = annotation_lines(found)
    assert "2 comparisons could not be decided" in warning


def test_details() -> None:
    """-v has a line per comparison with all that is known; the text of JUnit as well."""
    texts = [line.text for line in summary_lines(compared_run(), 140, 1)]
    assert any("98 % beyond the limit  20 pairs  (--flperf-fail-on)" in text for text in texts)
    assert "REGRESSED  ttft_ms.p50 > +10%" in case_text(compared_run().cases[0])


# ---- files


def test_junit_properties() -> None:
    """What it was compared with, and a property per rule."""
    found = dict(properties(compared_run().cases[0]))
    assert found["against"] == "flperf-nano at http://127.0.0.1:5273/v1"
    assert found["against.pairs"] == "20"
    assert found["comparison ttft_ms.p50 > +10%"] == (
        "REGRESSED, baseline 50.12 ms, candidate 56.29 ms, change +12.3 % [+8.1, +16.9], limit +10 %, "
        "98 % beyond the limit, n 20 and 20"
    )
    assert found["comparison error_rate > +0%"].startswith("unchanged, baseline 0 %, candidate 0 %, change +0.0 points")


def test_markdown() -> None:
    """The sum, a row each, what fails in bold; names are harmless."""
    text = markdown(compared_run())
    assert "### Compared" in text
    assert (
        "| ❌ | flperf-nano | short-chat | ttft&#95;ms.p50 | 50.1 → 56.3 | ▲ +12.3 % | &#91;+8.1, +16.9&#93; | +10 % "
        "| **REGRESSED** |"
    ) in text
    assert "2 regressed, 1 improved, 2 unchanged, 1 undecided" in text


def test_markdown_is_bounded() -> None:
    """A long table of comparisons leaves room for the others, and says that it was cut."""
    many = run(*(compared(f"c{index}", comparison(), UNCHANGED, IMPROVED) for index in range(400)), status="failed")
    text = markdown(many, longest_bytes=50_000)
    assert len(text.encode()) <= 50_000
    assert text.count("left out for its length") == 3
    assert "| ❌ | flperf-nano | c0 |" in text


def test_annotations() -> None:
    """An error for each failed case, its first line in front; a warning for what a gate could not decide."""
    lines = annotation_lines(compared_run())
    assert [line.partition("::")[2].partition(" ")[0] for line in lines] == ["error", "error", "warning"]
    assert lines[0].startswith(
        "::error title=short-chat on flperf-nano::short-chat on flperf-nano: ttft_ms.p50 regressed by +12.3 %25 "
        "[+8.1, +16.9] (limit +10 %25)%0Amet "
    )
    assert lines[2].startswith("::warning title=flperf%3A undecided::1 comparison could not be decided%0A")
    assert annotation_lines(run(compared("c", UNCHANGED))) == []
    assert annotation_lines(run(compared("c", replace(UNDECIDED, scope="default")))) == []


def test_annotations_are_few() -> None:
    """GitHub shows ten errors of a step: the tenth says how many there are."""
    many = run(*(case(f"c{index}", outcome="failed", message="slow") for index in range(30)), status="failed")
    lines = annotation_lines(many)
    assert len(lines) == 10
    assert lines[-1] == "::error title=flperf::21 more cases failed; the job's summary has all"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_annotations(text: str) -> None:
    """One line each, and no text ends a property or begins another command."""
    for line in annotation_lines(hostile_run(text + "%0A::stop-commands::x, a=b")):
        assert line.isprintable()
        head, title, message = re.fullmatch(r"::(error|warning) title=([^:,]*)::(.*)", line).groups()  # type: ignore[union-attr]
        assert head in ("error", "warning")
        for escaped in (title, message):
            assert not re.search(r"%(?!25|0A|0D|3A|2C)", escaped)
        assert "%250A" in message or len(text) > 300


def test_code_quality() -> None:
    """An issue for each fault, which keeps its fingerprint while numbers change; nothing where all is well."""
    issues = json.loads(code_quality(compared_run()))
    assert [(each["severity"], each["check_name"]) for each in issues] == [
        ("major", "flperf comparison ttft_ms.p50 > +10%"),
        ("major", "flperf comparison error_rate > +0%"),
        ("info", "flperf comparison ttft_ms.p95 > +10%"),
    ]
    assert issues[0]["description"] == (
        "short-chat on flperf-nano: ttft_ms.p50 regressed by +12.3 % [+8.1, +16.9] (limit +10 %)"
    )
    assert issues[0]["location"] == {"path": "s", "lines": {"begin": 1}}
    assert len({each["fingerprint"] for each in issues}) == 3
    again = run(compared("short-chat", comparison(change_pct=20.0)), status="failed")
    assert json.loads(code_quality(again))[0]["fingerprint"] == issues[0]["fingerprint"]
    assert json.loads(code_quality(run(compared("c", UNCHANGED)))) == []


def test_code_quality_of_other_faults() -> None:
    """A missed budget, a case that measured nothing, a budget of the run."""
    nothing = case("none", outcome="error", message="not ready\nmore", requests=Requests(), budgets=())
    missed = compared("c", UNCHANGED, error_rate=0.5)
    found = json.loads(code_quality(run(nothing, missed, status="failed")))
    assert [each["description"] for each in found] == [
        "not ready",
        "c on flperf-nano: missed error_rate <= 10% (50 %)",
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_code_quality(text: str) -> None:
    """Valid JSON of harmless, bounded texts."""
    for issue in json.loads(code_quality(hostile_run(text))):
        for found in (issue["description"], issue["check_name"], issue["location"]["path"]):
            assert found.isprintable()
            assert 0 < len(found) <= 5_001


# ---- the page


def test_the_page() -> None:
    """A section with the sum, the chart and the table; each case's section has its own; what fails stands above."""
    html = Pages().run(compared_run(), {})
    assert '<a href="#compared">Compared</a>' in html
    assert "2 regressed, 1 improved, 2 unchanged, 1 undecided" in html
    assert html.count("<caption>Compared with flperf-nano at http://127.0.0.1:5273/v1</caption>") == 3
    assert html.count('<td class="bad">REGRESSED</td>') == 4, "both, in the table of all and in the case's"
    assert "<td>signed ranks of pairs</td>" in html
    assert 'id="changes-t"' in html
    assert "#compared" not in Pages().run(run(), {})


def test_the_worst_has_its_interval() -> None:
    """The answer says how sure the worst regression is."""
    said = answer_sentence(compared_run())
    assert "(worst: ttft_ms.p50 +12.3 % [+8.1, +16.9] in short-chat on flperf-nano)" in said


def test_its_place() -> None:
    """After the distributions, in the page and in its navigation: the verdict says what a gate found."""
    page = Pages().run(compared_run(), {})
    for text in ('<a href="#{}">', '<h2 id="{}">'):
        assert page.index(text.format("distributions")) < page.index(text.format("compared"))
        assert page.index(text.format("compared")) < page.index(text.format("results"))


def test_the_chart() -> None:
    """All rows in the width, however large a change; the limit of a rate lies on the left."""
    rows = [
        Change("a", 12.3, (8.1, 16.9), 10.0, "bad", "REGRESSED"),
        Change("b", 900.0, (-99.0, 1e9), None, "doubt", "undecided"),
        Change("<b>", 0.0, None, -10.0, "", "unchanged"),
        Change("open", 50.0, (-3.0, math.inf), 10.0, "doubt", "undecided"),
    ]
    svg = str(intervals("k", "change", rows))
    numbers = [float(value) for value in re.findall(r"[ML](-?[0-9.e+]+) ", svg)]
    assert all(250 <= value <= 670 for value in numbers)
    assert "&lt;b&gt;" in svg
    assert svg.count("<circle") == 3
    assert svg.count("Z") == 2, "an arrow for the change beyond the edge, one for the open end"
    assert "+900 % undecided" in svg
    assert "NaN" not in svg
    same = str(intervals("k", "change", [Change("a", 0.0, (0.0, 0.0), None, "", "unchanged")]))
    assert same.count("<circle") == 1


def test_the_chart_of_points() -> None:
    """A limit in points is drawn like one in percent, and the note says which changes are in points."""
    points = comparison(
        rule="quality.mean < -30%", metric="quality", statistic="mean", baseline=0.9, candidate=0.5, change_pct=-40.0,
        change_ci95_pct=(-52.0, -28.0), threshold_pct=None, threshold_floor=0.3,
    )  # fmt: skip
    assert limit_pct(points) == pytest.approx(-30)
    assert limit_pct(replace(points, metric="ttft_ms", threshold_floor=20.0)) is None
    html = Pages().run(run(compared("short", points)), {})
    assert html.count('stroke-dasharray="3 2"') == 1
    assert "Shares and scores change by percentage points." in html
    assert "percentage points." not in Pages().run(run(compared("short", comparison())), {})


def test_in_short() -> None:
    """With ``-q`` the sum alone, where a gate asked."""
    texts = [line.text for line in summary_lines(compared_run(), 140, -1)]
    assert texts[0].startswith("compared with flperf-nano at http://127.0.0.1:5273/v1: 2 regressed")
    assert len(texts) == 2
    shown_only = compared("long-prompt", replace(UNCHANGED, scope="default"))
    assert len(summary_lines(replace(compared_run(), cases=(shown_only,)), 140, -1)) == 1


def test_relative_to_a_load() -> None:
    """The change as measured stands beside the one that is judged, wherever there is a table."""
    one = comparison(raw_change_pct=-8.1, raw_change_ci95_pct=(-9.0, -7.0))
    found = replace(compared_run(), cases=(case(against=(against(one),)),))
    (row,) = [line for line in shown(found) if "ttft_ms.p50" in line]
    assert "[+8.1, +16.9]" in row
    assert "-8.1 %" in row
    said = "changes with a value under 'as measured' are relative to the reference load"
    assert said in shown(found)
    text = markdown(found)
    assert "as measured" in text
    assert "8.1 %" in text
    assert said in text
    assert not any("measured" in line for line in shown(compared_run()))


def test_an_open_end() -> None:
    """Pairs too few to bound a rise: the end is open, in a file null, and comes back."""
    one = comparison(verdict="undecided", fails=False, change_ci95_pct=(-3.2, math.inf))
    found = compared("short-chat", one)
    assert any("[-3.2, +∞]" in line for line in shown(replace(compared_run(), cases=(found,))))
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["against"][0]["comparisons"][0]["change_ci95_pct"] == [-3.2, None]
    assert CaseResult.from_dict(record) == found
    for broken in ([None, 3.0], 5):
        record["against"][0]["comparisons"][0]["change_ci95_pct"] = broken
        with pytest.raises(ValueError, match="change_ci95_pct"):
            CaseResult.from_dict(record)


def test_one_case_of_all_kinds(tmp_path: Path) -> None:
    """What is written can be read again, comparisons included."""
    found = compared_run(notes=("n",))
    path = tmp_path / "results.json"
    path.write_text(json.dumps(found.to_dict()), encoding="utf-8")
    assert Run.from_dict(json.loads(path.read_text(encoding="utf-8"))) == found
    assert ERRORS in found.cases[2].against[0].comparisons
