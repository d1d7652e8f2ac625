"""Bounds of results: what is long is cut, what is left out is said, and what is not long stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.results.bounds import bounded_case, bounded_run, bounded_text, first_lines
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Failure, HostInfo, Requests, Run
from pytest_flperf.results.serving import Adjustment, Target

LONG = "x" * 100_000
CASE = CaseResult("suite::case[m]", "suite", "case", "m", notes=("a note",), settings={"max_tokens": 3, "stop": ["a"]})
MANY = range(10_000)


@given(st.text(max_size=300), st.integers(80, 200))
def test_a_text_within_its_bound_is_the_same(text: str, limit: int) -> None:
    """A longer one has exactly the bound's length, its beginning, and is cut once."""
    found = bounded_text(text, limit)
    if len(text) <= limit:
        assert found is text
    else:
        assert len(found) == limit
        assert text.startswith(found.partition("…")[0])
    assert bounded_text(found, limit) is found


def test_a_cut_text_says_how_long_it_was_and_which_it_was() -> None:
    """Two long texts that differ at their end are still two."""
    one, other = bounded_text(LONG + "a"), bounded_text(LONG + "b")
    assert "… (100,001 characters in all, sha256 " in one
    assert one != other
    assert bounded_text("\ud800" * 2_000) != bounded_text("\ud801" * 2_000)


def test_a_case_within_its_bounds_is_the_same() -> None:
    """Nothing is made anew where nothing is cut."""
    assert bounded_case(CASE) is CASE
    run = Run("run", "2026-11-29T10:00:00+00:00", cases=(CASE,), notes=("a",), versions={"python": "3"})
    assert bounded_run(run) is run


def test_settings_that_lost_a_part_are_still_two() -> None:
    """Of two that differ behind what is kept, the texts differ, and with them the conditions of the measurements."""
    settings = [{"extra": {"bias": {str(number): number == last for number in range(150)}}} for last in (140, 141)]
    cases = [bounded_case(replace(CASE, settings=each)) for each in settings]
    assert conditions_of(cases[0]) != conditions_of(cases[1])
    assert all(len(str(case.settings)) < 1_100 for case in cases)


def failure(detail: str) -> Failure:
    """A kind of failed requests."""
    return Failure("http_5xx", 1, 500, detail, LONG)


def verdict(number: int) -> BudgetVerdict:
    """The verdict of a budget: one of them was missed."""
    expression = f"ttft_ms.p95 <= {number} {LONG[:300]}"
    return BudgetVerdict(expression, 5.0, 3.0, 10, met=number != 9_000, metric="ttft_ms", statistic="p95")


TEXTS: dict[str, dict[str, Any]] = {
    "suite": {"suite": LONG},
    "scenario": {"scenario": LONG},
    "model": {"model": LONG},
    "description": {"description": LONG},
    "message": {"message": LONG},
    "parameters": {"parameters": {LONG: LONG}},
    "extra": {"settings": {"extra": {LONG: {LONG: [LONG] * 20}}}},
    "target": {"target": Target("openai", f"http://host/{LONG}", LONG, LONG)},
    "failures": {"failures": (failure(LONG),)},
    "notes": {"notes": (LONG,)},
    "tags": {"tags": (LONG,)},
    "absent": {"resources_absent": {LONG: LONG}},
    "adjusted": {"adjusted": (Adjustment(LONG, LONG, LONG, LONG),)},
    "against": {"against": (Against("stored", LONG, differs=(LONG,), notes=(LONG,)),)},
    "finish reasons": {"finish_reasons": {LONG: 1}},
}
LISTS: dict[str, dict[str, Any]] = {
    "failures": {"failures": tuple(failure(f"error {n}") for n in MANY), "requests": Requests(10_000, 0, 10_000)},
    "notes": {"notes": tuple(f"note {n} {LONG[:500]}" for n in MANY)},
    "tags": {"tags": tuple(map(str, MANY))},
    "budgets": {"budgets": tuple(map(verdict, MANY))},
    "parameters": {"parameters": {str(n): n for n in MANY}},
    "settings": {"settings": {str(n): n for n in MANY}},
    "finish_reasons": {"finish_reasons": {str(n): 1 for n in MANY}},
    "adjusted": {"adjusted": tuple(Adjustment(str(n), "a", None, "r") for n in MANY)},
    "resources_absent": {"resources_absent": {str(n): "why" for n in MANY}},
}


@pytest.mark.parametrize("name", TEXTS)
def test_names_of_100_kb_make_no_large_results(name: str) -> None:
    """Whatever is called so, the results stay small, and the cut says how much there was."""
    found = bounded_case(replace(CASE, **TEXTS[name]))
    written = str(found.to_dict())
    assert len(written) < 60_000
    assert "characters in all, sha256" in written
    assert bounded_case(found) is found


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_10_000_make_no_large_results(name: str) -> None:
    """A note says of which list how many were left out, and nothing more is cut the second time."""
    found = bounded_case(replace(CASE, **LISTS[name]))
    assert len(str(found.to_dict())) < 400_000
    (said,) = [note for note in found.notes if note.startswith("left out here, for their number: ")]
    assert f" of {name}" in said
    assert bounded_case(found) is found


def test_what_fails_a_case_stays() -> None:
    """Of budgets and comparisons beyond the bound those that were met go first."""
    found = bounded_case(replace(CASE, **LISTS["budgets"]))
    assert [each.met for each in found.budgets].count(False) == 1
    bad = Comparison("ttft_ms.p50 > +10%", "ttft_ms", "p50", "regressed", fails=True)
    against = Against("stored", "x", comparisons=(*[replace(bad, fails=False, verdict="unchanged")] * 5_000, bad))
    (kept,) = bounded_case(replace(CASE, against=(against,))).against
    assert sum(each.fails for each in kept.comparisons) == 1


def test_a_run_of_long_texts() -> None:
    """Command, notes, faults, versions, the machine: as a case's."""
    run = Run(
        "run",
        "2026-11-29T10:00:00+00:00",
        suites=(LONG,),
        command=("pytest", LONG),
        host=HostInfo(LONG, LONG, LONG, 2, 100, gpus=(LONG,)),
        versions={LONG: LONG},
        notes=tuple(f"note {n}" for n in MANY),
        faults=tuple(f"fault {n} {LONG}" for n in MANY),
        cases=(replace(CASE, model=LONG),),
    )
    found = bounded_run(run)
    assert len(str(found.to_dict())) < 200_000
    assert "9,900 of notes" in found.notes[-1]
    assert "9,900 of faults" in found.notes[-1]
    assert bounded_run(found) is found


def test_first_lines_say_how_many_more_there_are() -> None:
    """And nothing where there are no more."""
    assert first_lines(["a", "b"], 2, "lines") == ["a", "b"]
    assert first_lines(["a", "b", "c"], 1, "lines") == ["a", "… and 2 more lines"]
