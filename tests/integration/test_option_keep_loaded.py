"""``--flperf-keep-loaded``: models stay, side by side and after the run; a double of a backend, the real runtime."""

from __future__ import annotations

from tiny_runs import RecordingServer, Tiny

# A kind whose server has models until they are released; close() ends nothing, as where the server runs by itself.
CONFTEST = """
import pathlib
from dataclasses import replace
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.backends.registry import BackendType

LOG = pathlib.Path("calls.txt")

class Loading(OpenAiBackend):
    name = "loading"

    def __init__(self, config):
        super().__init__(config)
        self.loaded, self.loads = {}, 0

    def ensure(self, model, on_progress):
        served = super().ensure(model, on_progress)
        if model not in self.loaded:
            on_progress(f"loading {model}", None)
            self.said("load", model)
            self.loads += 1
            self.loaded[model] = self.loads
        return replace(served, load_s=0.5, generation=self.loaded[model])

    def release(self, model):
        super().release(model)
        if self.loaded.pop(model, None):
            self.said("unload", model)

    def close(self):
        self.said("close", "")

    def said(self, what, model):
        with LOG.open("a") as file:
            print(what, model, file=file)

def pytest_flperf_backends():
    return [BackendType("loading", Loading, "a double", takes=frozenset({"base_url"}))]
"""


def calls(tiny: Tiny, *arguments: str) -> list[str]:
    """What the double was asked for by a run with two models."""
    tiny.suite({}, {"name": "two"})
    tiny.pytester.makeconftest(CONFTEST)
    with RecordingServer() as server:
        at = ("--flperf-backend=loading", server.at[0], "--flperf-model=a,b")
        done = tiny.run("--flperf-suite=tiny.json", *at, *arguments)
    assert done.ret == 0, done.text
    return [line.strip() for line in (tiny.folder / "calls.txt").read_text().splitlines()]


def test_one_at_a_time(tiny: Tiny) -> None:
    """Without it a model is unloaded before the next one comes, and the last one at the end."""
    found = calls(tiny)
    assert found == ["load a", "unload a", "load b", "unload b", "close"]


def test_side_by_side(tiny: Tiny) -> None:
    """With it nothing is unloaded, neither for the next model nor after the run."""
    assert calls(tiny, "--flperf-keep-loaded") == ["load a", "load b", "close"]


def test_back_to_a_model_that_was_kept(tiny: Tiny) -> None:
    """It is asked for a token once more, but its first token after the load is that of then, and no new one."""
    tiny.pytester.makeconftest(CONFTEST)
    for number, model in enumerate("aba"):
        tiny.pytester.makepyfile(
            **{
                f"test_{number}": f"""
                import pytest
                @pytest.mark.flperf(model="{model}")
                def test_me(flperf):
                    flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
                """
            }
        )
    with RecordingServer() as server:
        done = tiny.run("--flperf-backend=loading", server.at[0], "--flperf-keep-loaded")
    assert done.ret == 0, done.text
    assert (tiny.folder / "calls.txt").read_text().split() == ["load", "a", "load", "b", "close"]
    first, other, again = done.cases
    assert [each["model"] for each in done.cases] == ["a", "b", "a"]
    assert again["cold_ttft_ms"] == first["cold_ttft_ms"] != other["cold_ttft_ms"]
    phases = [(line["nodeid"].partition(".")[0], line["phase"]) for line in done.journal("samples.jsonl")]
    assert phases == [
        ("test_0", "cold"),
        ("test_0", "measured"),
        ("test_1", "cold"),
        ("test_1", "measured"),
        ("test_2", "verify"),
        ("test_2", "measured"),
    ]


def test_models_of_the_runtime(tiny: Tiny) -> None:
    """Foundry Local's own list says so: both are loaded while the second one is measured."""
    tiny.suite()
    tiny.pytester.makeconftest(
        """
        import pytest
        from pytest_flperf.backends.foundry.backend import FoundryBackend
        close = FoundryBackend.close
        def looked(self):
            loaded = sorted(name for _, host in self._hosts.all() for name in host.status().loaded)
            print("LOADED AT THE END", loaded)
            close(self)
        def pytest_configure(config):
            patch = pytest.MonkeyPatch()
            patch.setattr(FoundryBackend, "close", looked)
            config.add_cleanup(patch.undo)
        """
    )
    models = "--flperf-model=flperf-nano,flperf-micro"
    done = tiny.run("--flperf-suite=tiny.json", models, "--flperf-keep-loaded", "-s")
    assert "LOADED AT THE END ['flperf-micro:1', 'flperf-nano:1']" in done.text
    done = tiny.run("--flperf-suite=tiny.json", models, "-s")
    assert "LOADED AT THE END []" in done.text


def test_a_judge_is_loaded_when_nothing_is_measured_any_more(tiny: Tiny) -> None:
    """Its model is beside none of the run's."""
    with RecordingServer() as server:
        url = server.at[0].partition("=")[2]
        judge = {"target": {"model": "big", "backend": "loading", "base_url": url}}
        tiny.suite({}, {"name": "two"}, judge=judge)
        tiny.pytester.makeconftest(CONFTEST)
        done = tiny.run("--flperf-suite=tiny.json", "--flperf-backend=loading", server.at[0], "--flperf-model=a,b")
    assert done.ret == 0, done.text
    told = [line.strip() for line in (tiny.folder / "calls.txt").read_text().splitlines()]
    assert told == ["load a", "unload a", "load b", "unload b", "close", "load big", "close"]
