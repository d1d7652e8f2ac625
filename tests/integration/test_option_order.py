"""--flperf-order: models one after the other, or in turns from scenario to scenario."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

SCENARIOS = tuple({"name": name} for name in ("a", "b", "c"))


def order(done: Done) -> list[str]:
    """The cases in the order of measurement."""
    return [case["nodeid"].partition("::")[2] for case in done.cases]


def ids(done: Done) -> list[str]:
    """The cases in the order of collection."""
    return [each.partition("::")[2] for each in done.ids]


@pytest.fixture(scope="module")
def second() -> Iterator[ReferenceServer]:
    """Another server, on an address of its own."""
    with ReferenceServer(ReferenceConfig(Schedule(ttft_ms=1, itl_ms=1, tokens=2)), in_thread=True) as server:
        yield server


def both(tiny: Tiny, second: ReferenceServer) -> tuple[str, ...]:
    """Options to measure two servers."""
    urls = {"x": tiny.base_url, "y": second.base_url}
    return tuple(f"--flperf-target=base_url={url},model=reference,name={name}" for name, url in urls.items())


TURNS = ["a[x]", "a[y]", "b[y]", "b[x]", "c[x]", "c[y]"]
ONE_BY_ONE = [f"{name}[{model}]" for model in "xy" for name in "abc"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [((), TURNS), (("--flperf-order=scenario",), TURNS), (("--flperf-order=model",), ONE_BY_ONE)],
)
def test_servers_that_run(tiny: Tiny, second: ReferenceServer, options: tuple[str, ...], expected: list[str]) -> None:
    """Nothing is loaded: they take turns unless told otherwise; measured in the order that was collected."""
    tiny.suite(*SCENARIOS)
    at = (*both(tiny, second), *options)
    assert ids(tiny.run("--flperf-suite=tiny.json", *at, "--co", "-q")) == expected
    done = tiny.run("--flperf-suite=tiny.json", *at)
    assert done.ret == 0, done.text
    assert order(done) == expected


def test_models_of_one_server(tiny: Tiny) -> None:
    """It may load each when it is asked for: one after the other."""
    tiny.suite(*SCENARIOS)
    at = ("--flperf-suite=tiny.json", f"--flperf-base-url={tiny.base_url}", "--flperf-model=p,q", "--co", "-q")
    assert [each[:1] for each in ids(tiny.run(*at))] == ["a", "b", "c", "a", "b", "c"]
    assert [each[:1] for each in ids(tiny.run(*at, "--flperf-order=scenario"))] == ["a", "a", "b", "b", "c", "c"]


def test_models_that_are_loaded(tiny: Tiny) -> None:
    """One after the other, so that each is loaded once and is alone in memory; with the option in turns."""
    tiny.suite(*SCENARIOS)
    at = ("--flperf-suite=tiny.json", "--flperf-model=qwen2.5-0.5b", "--flperf-model=phi-4-mini", "--co", "-q")
    assert [each[:1] for each in ids(tiny.run(*at))] == ["a", "b", "c", "a", "b", "c"]
    assert [each[:1] for each in ids(tiny.run(*at, "--flperf-order=scenario"))] == ["a", "a", "b", "b", "c", "c"]


def test_embedded_models_stay_loaded(tiny: Tiny) -> None:
    """Each is loaded once, and both answer to the end."""
    tiny.suite(*SCENARIOS)
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "--flperf-model=flperf-micro")
    assert done.ret == 0, done.text
    assert [case["model"][7:] for case in done.cases] == ["nano", "micro", "micro", "nano", "nano", "micro"]
    assert not any(case["reloaded"] for case in done.cases)
    assert {(case["model"], case["load_s"]) for case in done.cases} == {
        (case["model"], case["load_s"]) for case in done.cases[:2]
    }


def test_tests_stay_in_place(tiny: Tiny, second: ReferenceServer) -> None:
    """Tests before the suite run before it."""
    tiny.suite(*SCENARIOS[:2])
    (tiny.folder / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    at = both(tiny, second)
    done = tiny.run("--flperf-suite=tiny.json", *at, "--co", "-q", "test_own.py")
    places = [line.partition("::")[2] for line in done.ids]
    cases = [each for each in places if each != "test_own"]
    assert cases == ["a[x]", "a[y]", "b[y]", "b[x]"]
    assert places.index("test_own") in (0, 4)


@pytest.mark.parametrize("order", ["random", "models"])
def test_bad_values(tiny: Tiny, order: str) -> None:
    """Anything else is refused, with what is taken."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-order={order}")
    assert f"--flperf-order: found {order!r}, expected" in message
    assert "scenario" in message


def test_the_ini_key(tiny: Tiny, second: ReferenceServer) -> None:
    """It has one, as every option."""
    tiny.suite(*SCENARIOS)
    tiny.pytester.makeini("[pytest]\nflperf_order = model\n")
    at = both(tiny, second)
    assert ids(tiny.run("--flperf-suite=tiny.json", *at, "--co", "-q")) == ONE_BY_ONE
