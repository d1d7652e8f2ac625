"""``--flperf-against``, ``--flperf-fail-on``, ``--flperf-fail-undecided``, ``--flperf-max-iterations``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from tiny_runs import RecordingServer, Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule

_QUICK = Schedule(ttft_ms=4, itl_ms=1, tokens=3)
_STEADY = Schedule(ttft_ms=40, itl_ms=10, tokens=3)
_SLOW = Schedule(ttft_ms=100, itl_ms=25, tokens=3)
"""Two so far apart, and so slow, that a busy machine adds little to their difference."""


@pytest.fixture(scope="module")
def quick() -> Iterator[str]:
    """The URL of a server that answers after 4 ms."""
    with ReferenceServer(ReferenceConfig(_QUICK), in_thread=True) as server:
        yield server.base_url


@pytest.fixture(scope="module")
def steady() -> Iterator[str]:
    """The URL of a server that answers after 40 ms."""
    with ReferenceServer(ReferenceConfig(_STEADY), in_thread=True) as server:
        yield server.base_url


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """The URL of a server that answers after 100 ms."""
    with ReferenceServer(ReferenceConfig(_SLOW), in_thread=True) as server:
        yield server.base_url


def at(url: str) -> tuple[str, ...]:
    """Options to measure a server."""
    return "--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference"


def words(against: dict[str, Any]) -> dict[str, str]:
    """What came of each rule."""
    return {each["rule"]: each["verdict"] for each in against["comparisons"]}


def test_a_slower_side_fails(tiny: Tiny, steady: str, slow: str) -> None:
    """Twice the time is found at the first look that can tell; the text says by how much, and between what."""
    tiny.suite({"max_tokens": 3})
    done = tiny.run(*at(slow), f"--flperf-against=base_url={steady}", "--flperf-fail-on=ttft_ms.p50 > +10%")
    assert done.ret == 1, done.text
    (against,) = done.case["against"]
    (found,) = [each for each in against["comparisons"] if each["metric"] == "ttft_ms"]
    assert (found["verdict"], found["fails"], found["threshold_pct"]) == ("regressed", True, 10)
    assert found["change_ci95_pct"][0] < found["change_pct"] < found["change_ci95_pct"][1]
    assert 50 < found["change_pct"] < 300
    assert against["kind"] == "pairs"
    assert found["pairs"] <= against["pairs"] <= 28
    assert done.case["requests"]["total"] == against["requests"]["total"] == against["pairs"]
    assert "ttft_ms.p50 regressed by +" in done.text
    assert f"base_url: {steady}" in done.text


def test_the_same_side_is_unchanged(tiny: Tiny, quick: str) -> None:
    """A rise of 300 % is excluded quickly; no prompt is sent twice, sides alternate, and chance says who begins."""
    tiny.suite({"max_tokens": 3})
    done = tiny.run(*at(quick), "--flperf-against=same", "--flperf-fail-on=ttft_ms.p50 > +300%")
    assert done.ret == 0, done.text
    (against,) = done.case["against"]
    assert words(against)["ttft_ms.p50 > +300%"] == "unchanged"
    assert against["differs"] == []
    lines = [each for each in done.journal() if each["phase"] == "measured"]
    assert [sorted(pair) for pair in zip(*[iter(each["target"] for each in lines)] * 2, strict=True)] == [[0, 1]] * (
        len(lines) // 2
    )
    assert all(before["finished_ns"] <= after["started_ns"] for before, after in pairwise(lines))
    first = [each["target"] for each in lines[::2]]
    assert set(first) == {0, 1}
    assert {each["nodeid"] for each in lines} == {"tiny.json::one[reference]", "tiny.json::one[reference] [against]"}


def test_a_note_on_both_sides_is_said_once(tiny: Tiny) -> None:
    """Such as the name under which a server lists the model."""
    tiny.suite({"max_tokens": 3})
    listed = ReferenceConfig(_QUICK, models=("/models/reference.gguf",))
    with ReferenceServer(listed, in_thread=True) as ours, ReferenceServer(listed, in_thread=True) as theirs:
        done = tiny.run(
            *at(ours.base_url), f"--flperf-against=base_url={theirs.base_url}",
            "--flperf-fail-on=ttft_ms.p95 > +5%", "--flperf-fail-undecided", "--flperf-max-iterations=12",
        )  # fmt: skip
    assert done.ret == 1, done.text
    assert done.case["message"].count("requests use that name") == 1


def test_without_a_rule_nothing_fails(tiny: Tiny, steady: str, slow: str) -> None:
    """What is compared by default is told; a gate needs a rule."""
    tiny.suite({"max_tokens": 3})
    done = tiny.run(*at(slow), f"--flperf-against=base_url={steady}")
    assert done.ret == 0, done.text
    (against,) = done.case["against"]
    assert words(against)["ttft_ms.p50 > +5%"] == "regressed"
    assert not any(each["fails"] for each in against["comparisons"])


@pytest.mark.parametrize("strict", [False, True])
def test_undecided(tiny: Tiny, quick: str, strict: bool) -> None:
    """Of twelve requests no p95 can be told: nothing fails, unless undecided shall fail, too."""
    tiny.suite({"max_tokens": 3})
    more = ["--flperf-fail-undecided"] if strict else []
    done = tiny.run(
        *at(quick), "--flperf-against=same", "--flperf-fail-on=ttft_ms.p95 > +5%", "--flperf-max-iterations=12", *more
    )
    assert done.ret == int(strict), done.text
    (against,) = done.case["against"]
    (found,) = [each for each in against["comparisons"] if each["metric"] == "ttft_ms"]
    assert (found["verdict"], found["fails"]) == ("undecided", strict)
    assert "needs 130 requests" in found["reason"]
    assert against["pairs"] == 12


def test_a_side_that_fails_more_often(tiny: Tiny, quick: str) -> None:
    """Errors where there were none are a regression, however quick the other answers are."""
    tiny.suite({"max_tokens": 3, "budgets": ["error_rate <= 100%"]})
    fault = Fault(FaultKind.HTTP_ERROR, status=500, every=4)
    with ReferenceServer(ReferenceConfig(_QUICK, fault), in_thread=True) as failing:
        done = tiny.run(
            *at(failing.base_url), f"--flperf-against=base_url={quick}", "--flperf-fail-on=ttft_ms.p50 > +300%"
        )
    assert done.ret == 1, done.text
    (against,) = done.case["against"]
    assert words(against)["error_rate > +0%"] == "regressed"
    assert against["error_rate"] == 0


def test_a_baseline_that_answers_nothing(tiny: Tiny, quick: str) -> None:
    """It is given up after a few requests, and nothing is said to have improved."""
    tiny.suite({"max_tokens": 3})
    with ReferenceServer(ReferenceConfig(_QUICK), in_thread=True) as server:
        done = tiny.run(
            *at(quick),
            f"--flperf-against=base_url={server.base_url},model=reference-fault-refuse",
            "--flperf-fail-on=ttft_ms.p50 > +10%",
        )
    assert done.ret == 1, done.text
    assert done.case["outcome"] == "error"
    assert "the model is not ready" in done.text


def test_other_parameters(tiny: Tiny) -> None:
    """The other side's requests ask for what it says, and everything else alike."""
    tiny.suite({"temperature": 0.5})
    with RecordingServer() as server:
        done = tiny.run(
            "--flperf-suite=tiny.json",
            *server.at,
            "--flperf-against=max_tokens=7,extra.user=x,stream=false",
            "--flperf-max-iterations=12",
        )
        bodies = [each for each in server.bodies if each["messages"][0]["content"].endswith("Hello")]
    assert done.ret == 0, done.text
    (against,) = done.case["against"]
    assert {each["max_tokens"] for each in bodies} == {2, 7}
    assert all((each.get("user") == "x") == (each["max_tokens"] == 7) for each in bodies)
    assert {each["temperature"] for each in bodies} == {0.5}
    assert len({each["messages"][0]["content"] for each in bodies}) == len(bodies)
    assert {"setting max_tokens: 7 → 2", "load stream: false → true"} <= set(against["differs"])


def test_several_streams(tiny: Tiny, quick: str) -> None:
    """A turn is a request per stream; the turns of the sides never overlap, and rates are by a side's own time."""
    tiny.suite({"max_tokens": 3, "concurrency": 3})
    done = tiny.run(*at(quick), "--flperf-against=same", "--flperf-fail-on=e2e_ms.p50 > +300%")
    assert done.ret == 0, done.text
    (against,) = done.case["against"]
    assert done.case["requests"]["total"] == 3 * against["pairs"]
    lines = [each for each in done.journal() if each["phase"] == "measured"]
    turns = [lines[start : start + 3] for start in range(0, len(lines), 3)]
    assert all(len({each["target"] for each in turn}) == 1 for turn in turns)
    assert all(
        max(each["finished_ns"] for each in before) <= min(each["started_ns"] for each in after)
        for before, after in pairwise(turns)
    )
    spans_ns = [max(e["finished_ns"] for e in turn) - min(e["started_ns"] for e in turn) for turn in turns]
    mine = sum(span for span, turn in zip(spans_ns, turns, strict=True) if turn[0]["target"] == 0) / 1e9
    assert done.case["wall_s"] == pytest.approx(mine)
    assert done.case["request_rate"] == pytest.approx(done.case["requests"]["ok"] / mine)


def test_what_cannot_be_cut_into_turns(tiny: Tiny, quick: str) -> None:
    """An open loop is left out, with the reason."""
    tiny.suite({"max_tokens": 3}, {"name": "open", "load": "poisson", "rate": 5})
    done = tiny.run(*at(quick), "--flperf-against=same", "--flperf-fail-on=e2e_ms.p50 > +300%")
    assert done.ret == 0, done.text
    assert [each["outcome"] for each in done.cases] == ["passed", "skipped"]
    assert "load poisson can't be cut into turns" in done.cases[1]["message"]


def test_the_time_is_over(tiny: Tiny, quick: str) -> None:
    """A case's duration ends it between two pairs; what is undecided then stays so."""
    tiny.suite({"max_tokens": 3})
    options = ("--flperf-load=closed,duration_s=0.3", "--flperf-fail-on=ttft_ms.p99 > +5%")
    done = tiny.run(*at(quick), "--flperf-against=same", *options)
    (against,) = done.case["against"]
    assert 0 < against["pairs"] < 60
    assert (done.ret, done.case["outcome"], done.case["partial"]) == (0, "passed", False)
    assert words(against)["ttft_ms.p99 > +5%"] == "undecided"


def test_the_error_rate_is_that_of_the_run(tiny: Tiny, quick: str) -> None:
    """It is shared between all rules of all cases."""
    tiny.suite({"max_tokens": 3}, {"name": "two", "max_tokens": 3})
    rules = ["--flperf-fail-on=ttft_ms.p50 > +300%", "--flperf-fail-on=e2e_ms.p50 > +300%"]
    done = tiny.run(*at(quick), "--flperf-against=same", *rules)
    assert done.ret == 0, done.text
    counts = {each["comparisons"] for case in done.cases for each in case["against"][0]["comparisons"]}
    assert counts == {2 * 3}


def test_a_test_of_the_users(tiny: Tiny, steady: str, slow: str) -> None:
    """What the fixture measures is compared, too."""
    tiny.pytester.makepyfile("def test_it(flperf):\n    flperf.run('Hello', max_tokens=3, iterations=2)\n")
    done = tiny.run(*at(slow)[1:], f"--flperf-against=base_url={steady}", "--flperf-fail-on=ttft_ms.p50 > +10%")
    assert done.ret == 1, done.text
    assert "ttft_ms.p50 regressed by +" in done.text


def test_two_embedded_models(tiny: Tiny) -> None:
    """On the real Foundry Local runtime both models are loaded, and their requests take turns."""
    tiny.suite({"prompt": "Hello", "context_tokens": 200, "max_tokens": 4})
    done = tiny.run(
        "--flperf-suite=tiny.json",
        "--flperf-model=flperf-micro",
        "--flperf-against=flperf-nano",
        "--flperf-fail-on=ttft_ms.p50 > +20%",
    )
    assert done.ret == 1, done.text
    (against,) = done.case["against"]
    assert words(against)["ttft_ms.p50 > +20%"] == "regressed"
    assert against["target"]["model_id"].startswith("flperf-nano")
    assert done.case["target"]["model_id"].startswith("flperf-micro")
    assert {each["target"] for each in done.journal() if each["phase"] == "measured"} == {0, 1}


def test_a_dry_run(tiny: Tiny) -> None:
    """How many requests a comparison takes can't be known ahead, but between which numbers."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "--flperf-dry-run", "--flperf-against=same")
    assert done.ret == 0, done.text
    assert "from 12 requests per stream to 60 per stream, on each of two sides" in done.text
    means = ("--flperf-fail-on=ttft_ms.mean > +10%", "tps_total < -10%")
    for rule in means:
        done = tiny.run(
            "--flperf-suite=tiny.json",
            *tiny.at,
            "--flperf-dry-run",
            "--flperf-against=same",
            f"--flperf-fail-on={rule.removeprefix('--flperf-fail-on=')}",
        )
        assert "from 12 requests per stream to 100 per stream, on each of two sides" in done.text


@pytest.mark.parametrize("dry", [True, False])
def test_what_cant_be_decided_is_said_before(tiny: Tiny, quick: str, dry: bool) -> None:
    """In the header and by a dry run: too few requests, a metric that this load has not."""
    tiny.suite({"max_tokens": 3, "stream": False})
    more = ("--flperf-dry-run",) if dry else ("--flperf-max-iterations=12",)
    rules = ("e2e_ms.p95 > +10%", "ttft_ms.p50 > +10%", "e2e_ms.p50 > +900%")
    done = tiny.run(*at(quick), "--flperf-against=same", *(f"--flperf-fail-on={rule}" for rule in rules), *more)
    assert done.ret == 0, done.text
    most = 60 if dry else 12
    assert (
        f"--flperf-against: e2e_ms.p95 needs 130 requests a side and gets {most} at most; "
        "raise --flperf-max-iterations" in done.text
    )
    assert "--flperf-against: ttft_ms.p50 is measured only with streamed answers" in done.text
    assert "--flperf-against: e2e_ms.p50" not in done.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--flperf-against=temprature=1"], "did you mean 'temperature'?"),
        (["--flperf-against=temperature=9"], "expected a number from 0 to 2"),
        (["--flperf-against=backend=nope"], "backend: found 'nope'"),
        (["--flperf-against=model="], "model"),
        (["--flperf-against=same", "--flperf-fail-on=ttfs_ms.p50>+5%"], "did you mean ttft_ms?"),
        (["--flperf-against=same", "--flperf-fail-on=ttft_ms.p50<-5%"], "ttft_ms"),
        (["--flperf-against=same", "--flperf-max-iterations=3"], "expected a whole number from 12"),
        (["--flperf-against=same", "--flperf-parallel-targets"], "can't be combined with --flperf-parallel-targets"),
        (["--flperf-fail-on=ttft_ms.p50 > +5%"], "add --flperf-against=WHAT"),
        (["--flperf-fail-undecided"], "add --flperf-against=WHAT"),
    ],
)
def test_refused(tiny: Tiny, options: list[str], said: str) -> None:
    """One message, exit 4, nothing measured."""
    tiny.suite()
    assert said in tiny.refused("--flperf-suite=tiny.json", *tiny.at, *options)
