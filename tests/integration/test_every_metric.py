"""Every metric that a rule may name, in turns and against a stored run, with a true change and without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tiny_runs import Tiny

from pytest_flperf.gates.rules import COMPARED_CASE_METRICS, COUNTED
from pytest_flperf.history import store
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.metrics import METRICS, OF_CALLS, REQUEST_METRICS
from pytest_flperf.stats.inference import between_runs as runs

assert store  # here once: pytester forgets modules that a run in this process imported
assert runs

# Gaps are so long that few tokens share a read on a busy machine: those would leave the statistics as late reads.
_QUICK = Schedule(ttft_ms=6, itl_ms=8, tokens=4, timings=True)
_SLOW = Schedule(ttft_ms=80, itl_ms=50, tokens=1, reasoning_tokens=1, cached_tokens=30, timings=True)
_NOT_IN_TURN = {
    "connect_ms",
    "dispatch_delay_ms",
    "ttft_sent_ms",
    "e2e_sent_ms",
    "ttft_ratio",
    "tpot_ratio",
    "e2e_ratio",
}
"""Of which nothing is measured here; said before measuring (see ``test_feasibility.py``)."""
_ELSEWHERE = {"quality", "request_cost", *OF_CALLS}
_SAME_ON_BOTH = {"prompt_tokens"}
_WITHOUT_NOISE = ("output_tokens", "answer_tokens", "prompt_tokens", "cached_tokens", "reasoning_tokens", "server_")
_FEWER = {"output_tokens", "answer_tokens"}
"""Of which the slow server gives fewer."""
METRICS_HERE = [
    name for name in (*REQUEST_METRICS, *COMPARED_CASE_METRICS) if name not in _NOT_IN_TURN | _ELSEWHERE | COUNTED
]
SUITE = {"max_tokens": 8, "iterations": 160, "concurrency": 8, "budgets": ["e2e_ms.p50 <= 10000", "error_rate <= 1%"]}
"""The budget on latency makes a goodput; of so many requests some may be late reads, and a mean can be unchanged."""


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """A quick server and one that is slow in everything, and that counts other tokens."""
    with (
        ReferenceServer(ReferenceConfig(_QUICK), in_thread=True) as quick,
        ReferenceServer(ReferenceConfig(_SLOW), in_thread=True) as slow,
    ):
        yield quick.base_url, slow.base_url


def rules(statistics: tuple[str, ...], more: str, less: str) -> list[str]:
    """One on each metric and statistic, as options."""
    found = []
    for name in METRICS_HERE:
        change = f"< -{less}" if METRICS[name].better == "higher" or name in _FEWER else f"> +{more}"
        subjects = [name] if METRICS[name].per == "case" else [f"{name}.{each}" for each in statistics]
        found += [f"--flperf-fail-on={subject} {change}" for subject in subjects]
    return found


def at(url: str) -> tuple[str, ...]:
    """Options to measure a server."""
    return "--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference"


def words(case: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Word and reason by metric and statistic, without what is counted."""
    (against,) = case["against"]
    return {
        f"{each['metric']}.{each['statistic'] or ''}": (each["verdict"], each["reason"])
        for each in against["comparisons"]
        if each["metric"] not in COUNTED
    }


def changed(found: dict[str, tuple[str, str]], word: str) -> dict[str, tuple[str, str]]:
    """What hasn't got the word."""
    return {
        name: each for name, each in found.items() if each[0] != word and name.partition(".")[0] not in _SAME_ON_BOTH
    }


def test_a_change_in_turns(tiny: Tiny, urls: tuple[str, str]) -> None:
    """All of them regressed at once, from 0 as well."""
    quick, slow = urls
    tiny.suite(SUITE)
    statistics = ("p50", "mean")
    done = tiny.run(*at(slow), f"--flperf-against=base_url={quick}", *rules(statistics, "10%", "10%"))
    assert done.ret == 1, done.text
    found = words(done.case)
    assert {name.partition(".")[0] for name in found} == set(METRICS_HERE)
    # A busy machine reads tokens late, which leaves too few pairs; and a case ends as soon as another rule has failed.
    nothing_but_noise(changed(found, "regressed"))
    assert found["cached_tokens.mean"] == ("regressed", "it rose from 0 to 30")


def nothing_but_noise(others: dict[str, tuple[str, str]]) -> None:
    """Counts and the server's own figures are not among them; times are too noisy to decide, and say that."""
    assert not [name for name in others if name.startswith(_WITHOUT_NOISE)], others
    assert all(word == "undecided" and reason for word, reason in others.values()), others


@pytest.mark.parametrize("statistic", ["min", "max", "p95"])
def test_other_statistics_in_turns(tiny: Tiny, urls: tuple[str, str], statistic: str) -> None:
    """With the requests that they need."""
    quick, slow = urls
    tiny.suite({"max_tokens": 1})
    rule = f"--flperf-fail-on=e2e_ms.{statistic} > +10%"
    for _ in range(5):  # a busy machine may be too noisy to tell
        done = tiny.run(*at(slow), f"--flperf-against=base_url={quick}", rule, "--flperf-max-iterations=140")
        word = words(done.case)[f"e2e_ms.{statistic}"][0]
        assert word in ("regressed", "undecided"), done.text
        if word == "regressed":
            break
    assert (word, done.ret) == ("regressed", 1), done.text


def test_no_change_in_turns(tiny: Tiny, urls: tuple[str, str]) -> None:
    """Unchanged, at the latest at the last look; zeros on both sides, too."""
    tiny.suite(SUITE)
    options = ("--flperf-against=same", "--flperf-max-iterations=160")
    done = tiny.run(*at(urls[0]), *options, *rules(("p50", "mean"), "900%", "95%"))
    assert done.ret == 0, done.text
    nothing_but_noise({name: each for name, each in words(done.case).items() if each[0] != "unchanged"})


@pytest.mark.usefixtures("stored")
def test_stored_runs(tiny: Tiny, urls: tuple[str, str]) -> None:
    """A change and none, with four earlier runs known."""
    quick, slow = urls
    tiny.suite(SUITE)
    for _ in range(4):
        assert tiny.run(*at(quick)).ret == 0
    same = tiny.run(*at(quick), "--flperf-baseline=last", *rules(("p50", "mean"), "2000%", "99%"))
    assert same.ret == 0, same.text
    nothing_but_noise({name: each for name, each in words(same.case).items() if each[0] != "unchanged"})
    other = tiny.run(*at(slow), "--flperf-baseline=last", *rules(("p50", "mean"), "10%", "10%"))
    assert other.ret == 1, other.text
    found = words(other.case)
    undecided = changed(found, "regressed")
    # how much runs of a busy machine differ is not known here; but no word without a reason
    assert all(word == "undecided" and reason for word, reason in undecided.values()), undecided
    for name in ("cached_tokens.p50", "server_tpot_ms.mean", "output_tokens.p50"):
        assert found[name][0] == "regressed", (name, found[name])
