"""``--flperf-isolation``: one process for all models, or one for each."""

from __future__ import annotations

import pytest
from tiny_runs import Done, Tiny

MODELS = "--flperf-model=flperf-nano,flperf-micro"
CONFTEST = """
import json
import pytest
from pytest_flperf.backends.foundry.backend import FoundryBackend

ensure = FoundryBackend.ensure

def told(self, model, on_progress):
    served = ensure(self, model, on_progress)
    with open("served.jsonl", "a") as file:
        pids = self.processes(model).pids
        file.write(json.dumps([model, pids, served.endpoint.port]) + "\\n")
    return served

def pytest_configure(config):
    patch = pytest.MonkeyPatch()
    patch.setattr(FoundryBackend, "ensure", told)
    config.add_cleanup(patch.undo)  # other runs in this process have the real one
"""


def served(done: Done, tiny: Tiny) -> dict[str, tuple[int, int]]:
    """Process and port of each model."""
    import json

    assert done.ret == 0, done.text
    lines = (tiny.folder / "served.jsonl").read_text().splitlines()
    found = {}
    for line in lines:
        model, (pid,), port = json.loads(line)
        found[model] = (pid, port)
    return found


@pytest.mark.parametrize(("isolation", "count"), [("process", 2), ("shared", 1), (None, 1)])
def test_processes_and_ports(tiny: Tiny, isolation: str | None, count: int) -> None:
    """As many processes and ports as there are models, or one; a budget on memory has its figures in both."""
    tiny.suite()
    tiny.pytester.makeconftest(CONFTEST)
    more = () if isolation is None else (f"--flperf-isolation={isolation}",)
    done = tiny.run("--flperf-suite=tiny.json", MODELS, "--flperf-keep-loaded", *more)
    found = served(done, tiny)
    assert set(found) == {"flperf-nano", "flperf-micro"}
    assert len({pid for pid, _ in found.values()}) == count
    assert len({port for _, port in found.values()}) == count
    assert len({case["target"]["base_url"] for case in done.cases}) == count
    assert [case["outcome"] for case in done.cases] == ["passed", "passed"]


def test_memory_of_a_model_alone(tiny: Tiny) -> None:
    """With a process of its own, what was resident before a load is the runtime's alone, whatever came first."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", MODELS, "--flperf-isolation=process")
    first, second = done.cases
    assert second["rss_before_load_mb"] < 1.2 * first["rss_before_load_mb"]
    assert second["model_rss_mb"] > 0


def test_refused(tiny: Tiny) -> None:
    """Another word, and a backend that does not use it."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", "--flperf-isolation=thread")
    assert "--flperf-isolation: found 'thread', expected shared or process" in message
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-isolation=process")
    assert "--flperf-isolation: the backend openai does not use it" in message
