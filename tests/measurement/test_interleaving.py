"""Two sides measured turn by turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_flperf.backends.base import BackendConfig, OnProgress, Served
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.backends.registry import BUILT_IN
from pytest_flperf.backends.router import Place, SeveralBackends
from pytest_flperf.measurement.paired import Until
from pytest_flperf.measurement.paired_turns import BASELINE, CANDIDATE, Both, Turn
from pytest_flperf.measurement.runner import Bench, NotPossibleError
from pytest_flperf.measurement.standings import Standings
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.stats.inference.schedule import ORDER_BLOCK
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite

QUICK = ReferenceConfig(Schedule(ttft_ms=1, itl_ms=0.5, tokens=3))


@pytest.fixture
def server() -> Iterator[ReferenceServer]:
    """A quick server."""
    with ReferenceServer(QUICK, in_thread=True) as running:
        yield running


def a_case(model: str = "reference", **settings: object) -> Case:
    """A case of short answers."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "warmup": 1, "max_tokens": 3, **settings})
    (case,) = expand(Suite("s", "s", Path(), "", "", (scenario,), (model,)), [model])
    return case


def at(*urls: str) -> SeveralBackends:
    """A backend with a model, a to c, for each URL."""
    backends = SeveralBackends()
    for name, url in zip("abc", urls, strict=False):
        backends.add(name, Place(BUILT_IN["openai"], BackendConfig(base_url=url), "reference"))
    return backends


def test_it_ends_when_it_is_decided(server: ReferenceServer) -> None:
    """Asked at each look with all that was measured so far; orders are balanced in blocks."""
    seen: list[Standings] = []

    def decided(standings: Standings) -> bool:
        seen.append(standings)
        return standings.look == 2

    with Bench(OpenAiBackend.at(server.base_url)) as bench:
        prepared = bench.ready(a_case(), beside=a_case())
        run = bench.play(prepared, until=Until((5, ORDER_BLOCK, 1_000), decided))
    assert [(each.look, each.looks, len(each.turns)) for each in seen] == [(1, 3, 5), (2, 3, ORDER_BLOCK)]
    assert run.other is not None
    assert run.other.standings == seen[-1]
    assert sum(each.candidate_first for each in seen[-1].turns) == ORDER_BLOCK // 2
    assert run.result.requests.ok == run.other.result.requests.ok == ORDER_BLOCK
    assert run.result.requests.warmup == run.other.result.requests.warmup == 1
    assert len({entry.prompt_head for entry in server.log}) == 1 + 2 * (1 + ORDER_BLOCK)
    ttft = run.result.metric("ttft_ms")
    assert ttft is not None
    assert sorted(seen[-1].values("ttft_ms", CANDIDATE))[0] == ttft.min


@pytest.mark.parametrize("dies", [CANDIDATE, BASELINE])
def test_a_side_that_dies(server: ReferenceServer, dies: int) -> None:
    """It is given up after a few requests, and whose fault it was is said."""
    with ReferenceServer(QUICK, in_thread=True) as mortal:
        urls = (mortal.base_url, server.base_url) if dies == CANDIDATE else (server.base_url, mortal.base_url)

        def decided(standings: Standings) -> bool:
            if standings.look == 1:
                mortal.stop()
            return False

        with Bench(at(*urls)) as bench:
            prepared = bench.ready(a_case("a"), beside=a_case("b"))
            run = bench.play(prepared, until=Until((4, 400), decided))
    who = ("the candidate's", "the baseline's")[dies]
    assert f"{who} last" in run.trouble
    assert run.other is not None
    assert 4 < len(run.other.standings.turns) < 40
    assert run.other.standings.counts(1 - dies)[0] == len(run.other.standings.turns)
    assert run.other.standings.counts(dies)[0] == 4


class _RoomForOne(OpenAiBackend):
    """Loading a model drives out the other one."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._loaded = ""
        self._loads = 0

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """As a server does that has memory for one."""
        if self._loaded != model:
            self._loaded, self._loads = model, self._loads + 1
        return replace(super().ensure("reference", on_progress), model=model, generation=self._loads)


def test_two_that_do_not_fit(server: ReferenceServer) -> None:
    """A server with room for one model is seen to have it: the case can't be measured interleaved."""
    with Bench(_RoomForOne(BackendConfig(base_url=server.base_url))) as bench:
        with pytest.raises(NotPossibleError, match="can't be loaded at the same time"):
            bench.ready(a_case("a"), beside=a_case("b"))
        assert bench.ready(a_case("a"), beside=a_case("a")).beside is not None


def test_lost_values_keep_their_place() -> None:
    """The law of the orders counts places: a pair without a value on one side stays in the row."""
    ok = Turn(({"ttft_ms": 2.0, "tpot_ms": None},), 1, 3, 0.5)
    failed = Turn((), 1, None, 0.1)
    standings = Standings((Both(ok, failed, candidate_first=True), Both(ok, ok, candidate_first=False)))
    assert [(pair.candidate, pair.baseline) for pair in standings.pairs("ttft_ms")] == [((2.0,), ()), ((2.0,), (2.0,))]
    assert [pair.candidate for pair in standings.pairs("tpot_ms")] == [(), ()]
    assert [pair.candidate_first for pair in standings.pairs("tps_total")] == [True, False]
    assert standings.values("tps_total", CANDIDATE) == [6.0, 6.0]
    assert standings.values("request_rate", BASELINE) == [0.0, 2.0]
    assert (standings.counts(CANDIDATE), standings.counts(BASELINE)) == ((2, 2), (1, 2))
    assert standings.span_s(BASELINE) == pytest.approx(0.6)


def test_numbers_of_a_whole_turn() -> None:
    """Rates weigh by the time that they took; gaps are those of the requests that have some."""
    quick = Turn(({"ttft_ms": 1.0}, {"ttft_ms": 2.0}), 2, 40, 2.0, good=1, gaps_ms=((1.0, 3.0), (2.0,)))
    slow = Turn(({"ttft_ms": 1.0},), 2, 20, 8.0, good=0)
    standings = Standings((Both(quick, slow, True), Both(slow, quick, False)))
    for metric, rate in (("tps_total", 6.0), ("request_rate", 0.3), ("goodput", 0.1)):
        assert standings.rate(metric, CANDIDATE) == standings.rate(metric, BASELINE) == rate
        assert standings.pairs(metric)[0].weights == (2.0, 8.0)
    assert standings.pairs("tps_total")[0].candidate == (20.0,)
    assert standings.pairs("tps_total")[0].requests == (2, 2)
    gaps = standings.pairs("itl_ms")[0]
    assert (gaps.candidate, gaps.baseline, gaps.requests) == ((1.0, 3.0, 2.0), (), (2, 0))
    unknown = Turn(({},), 1, None, 1.0)
    assert Standings((Both(unknown, quick, True),)).rate("tps_total", CANDIDATE) is None
    assert unknown.of("goodput") == ()


def test_what_a_rule_names_is_kept() -> None:
    """Gaps, where they are compared; requests that kept every limit, where there is one."""
    seen: list[Standings] = []
    until = Until((3,), lambda standings: seen.append(standings) or True, gaps=True)  # type: ignore[func-returns-value]
    # so far apart that a busy machine reads them one by one
    apart = ReferenceConfig(Schedule(ttft_ms=1, itl_ms=100, tokens=3))
    with ReferenceServer(apart, in_thread=True) as server, Bench(OpenAiBackend.at(server.base_url)) as bench:
        prepared = bench.ready(a_case(), beside=a_case())
        bench.play(prepared, until=until, good=lambda _, metrics: metrics["e2e_ms"] is not None)
    (standings,) = seen
    assert standings.values("itl_ms", CANDIDATE)
    assert standings.rate("goodput", BASELINE) == standings.rate("request_rate", BASELINE)
