"""A reference server that is wrong as often as it is told."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.checks import OptionError

QUICK = {"ttft_ms": 0, "itl_ms": 0, "tokens": 1, "text": "yes ", "wrong_text": "no  "}


def answers(server: ReferenceServer, prompts: list[str]) -> list[str]:
    """What these prompts are answered with."""
    found = []
    for prompt in prompts:
        body = json.dumps({"model": "reference", "messages": [{"role": "user", "content": prompt}]}).encode()
        with urllib.request.urlopen(f"{server.base_url}/chat/completions", body) as response:  # noqa: S310 - loopback
            found.append(json.load(response)["choices"][0]["message"]["content"].strip())
    return found


def serving(**schedule: object) -> ReferenceServer:
    """A server in this process."""
    return ReferenceServer(ReferenceConfig(Schedule(**{**QUICK, **schedule})), in_thread=True)  # type: ignore[arg-type]


def test_as_often_as_told() -> None:
    """Request by request, and the same ones in every run with the same seed."""
    seen = []
    for _ in range(2):
        with serving(wrong_share=0.3, seed=7) as server:
            seen.append(answers(server, ["Hi"] * 200))
    assert seen[0] == seen[1]
    assert 40 <= seen[0].count("no") <= 80
    with serving(wrong_share=1) as server:
        assert set(answers(server, ["Hi"] * 5)) == {"no"}
    with serving() as server:
        assert set(answers(server, ["Hi"] * 5)) == {"yes"}


def test_prompt_by_prompt() -> None:
    """Repeats are answered alike; the prefix that makes prompts unique is none of the prompt."""
    with serving(wrong_share=0.5, wrong_by="prompt") as server:
        first = answers(server, [f"What is {n}?" for n in range(40)])
        assert answers(server, [f"[{n:09d}] What is {n}?" for n in range(40)]) == first
    assert 10 <= first.count("no") <= 30


def test_wrong_under_load() -> None:
    """One request at a time is right; of several at once all but the first are wrong."""
    with serving(busy_wrong_share=1.0, ttft_ms=300) as server:
        assert set(answers(server, ["Hi"] * 2)) == {"yes"}
        with ThreadPoolExecutor(4) as pool:
            found = [each for some in pool.map(lambda _: answers(server, ["Hi"]), range(4)) for each in some]
        assert sorted(found) == ["no", "no", "no", "yes"]
    with serving(busy_wrong_share=1.0, busy_from=3, wrong_share=1.0) as server:
        assert set(answers(server, ["Hi"] * 2)) == {"no"}


@pytest.mark.parametrize(
    "wrong",
    [{"busy_from": 1}, {"busy_wrong_share": 2}, {"wrong_share": 1.1}, {"wrong_share": -0.1}, {"wrong_by": "nobody"}],
)
def test_what_can_not_be(wrong: dict[str, object]) -> None:
    """A chance is one from 0 to 1."""
    with pytest.raises(OptionError, match=r"schedule\.(wrong|busy)_"):
        serving(**wrong)
