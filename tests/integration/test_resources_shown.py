"""How a run shows its resources: table, results, reasons, the fixture, a GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tiny_runs import Tiny

from pytest_flperf import cli
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import load_schema

GPU = ("gpu_util_pct", "gpu_mem_mb", "gpu_power_w", "gpu_temp_c")
NVML = r"""
#include <string.h>
typedef struct { unsigned gpu, memory; } util_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory2_t;
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device) { *device = (void *)0x1; return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned size) { strncpy(name, "NVIDIA Nowhere 1", size); return 0; }
int nvmlDeviceGetUtilizationRates(void *device, util_t *util) { util->gpu = 42; return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *device, memory2_t *memory) { memory->used = 1234ull << 20; return 0; }
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) { return 3; /* NVML_ERROR_NOT_SUPPORTED */ }
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *c) { *c = 55; return 0; }
"""
OTHERS = {"other_cpu_pct"}
"""Takes a quarter of a second, which not every case here lasts."""


def absent(case: dict[str, Any]) -> dict[str, str]:
    """Why other figures than that one are absent."""
    return {name: reason for name, reason in case["resources_absent"].items() if name not in OTHERS}


@pytest.fixture
def apart() -> Iterator[tuple[str, str]]:
    """Options to measure a reference server in a process of its own, which takes 0.1 s for an answer."""
    slow = Schedule(ttft_ms=50, itl_ms=10, tokens=6)
    with ReferenceServer(ReferenceConfig(slow)) as server:
        yield f"--flperf-base-url={server.base_url}", "--flperf-model=reference"


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver, wherever the test runs."""
    import pynvml

    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", refuse)


@pytest.mark.usefixtures("no_driver")
def test_the_embedded_runtime(tiny: Tiny) -> None:
    """Processors and memory of the machine and of the runtime's host; a reason for the GPU, once for the run."""
    tiny.suite({"iterations": 20, "max_tokens": 20}, {"name": "two"})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano")
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    for case in done.cases:
        assert set(case["resources"]) - OTHERS == {"server_cpu_pct", "server_rss_mb", "cpu_pct", "ram_pct"}
        assert all(use["n"] >= 1 and use["min"] <= use["mean"] <= use["max"] for use in case["resources"].values())
        assert 30 < case["resources"]["server_rss_mb"]["max"] < 2_000
        assert 0 < case["resources"]["ram_pct"]["mean"] <= 100
        assert absent(case) == dict.fromkeys(GPU, "no NVIDIA driver on this machine")
    assert 1 < done.cases[0]["resources"]["server_cpu_pct"]["mean"] < 6_400
    assert [note for note in done.results["run"]["notes"] if "too short" not in note] == [
        "not measured: gpu_util_pct, gpu_mem_mb, gpu_power_w, gpu_temp_c: no NVIDIA driver on this machine"
    ]
    assert "not measured" not in done.text, "nobody asked for it"


def test_a_server_inside_the_measuring_process(tiny: Tiny) -> None:
    """It can't be told from the measuring: absent, with the reason, and the machine's figures are there."""
    case = tiny.measure().case
    assert set(case["resources"]) >= {"ram_pct", "cpu_pct"}
    assert "inside this process" in case["resources_absent"]["server_rss_mb"]


def test_budgets_that_are_none(tiny: Tiny) -> None:
    """A percentile of a resource is refused before anything runs."""
    message = tiny.refused("--flperf-suite=quick", "--flperf-budget=server_rss_mb.p95 <= 800")
    assert "statistics are n, mean, min, max" in message


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize(("columns", "shown"), [(100, False), (140, True)])
def test_the_table(
    tiny: Tiny, apart: tuple[str, str], monkeypatch: pytest.MonkeyPatch, columns: int, shown: bool
) -> None:
    """Columns for the server where the terminal is wide; they are the first to go, before a name is shortened."""
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "a-scenario-with-a-long-name"
    tiny.suite({"name": name})
    lines = tiny.run("--flperf-suite=tiny.json", *apart).lines
    (row,) = [line for line in lines if line.startswith("reference  ")]
    head = next(line for line in lines if line.startswith("model"))
    assert name in row
    assert ("CPU %  max MB" in head) is shown
    assert len(row) <= columns


@pytest.mark.usefixtures("no_driver")
def test_verbosity(tiny: Tiny, apart: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """-v says what was not measured, in a line; -vv has mean, min and max of each."""
    tiny.suite()
    verbose, very = (tiny.run("--flperf-suite=tiny.json", *apart, option).lines for option in ("-v", "-vv"))
    for lines in (verbose, very):
        assert len([line for line in lines if line.startswith("not measured: gpu_util_pct, ")]) == 1
    assert not any(line.startswith("  server_rss_mb") for line in verbose)
    for option in ("-v", "-vv"):
        capsys.readouterr()
        assert cli.main(["show", "latest", option]) == 0
        assert capsys.readouterr().out.count("not measured: gpu_util_pct, ") == 1
    (line,) = [line for line in very if line.startswith("  server_rss_mb")]
    assert " mean " in line
    assert " max " in line


@pytest.mark.usefixtures("no_driver")
def test_the_fixture(tiny: Tiny, apart: tuple[str, str]) -> None:
    """A test of one's own compares resources; one that is absent can't be compared, and the reason is told."""
    tiny.pytester.makepyfile(
        test_mine="""
        import pytest
        def test_me(flperf):
            result = flperf.run(prompt="Hi", iterations=2, warmup=0, max_tokens=2)
            assert 5 < result.server_rss_mb.mean <= result.server_rss_mb.max < 500
            with pytest.raises(AssertionError, match="gpu_power_w was not measured: no NVIDIA driver"):
                result.gpu_power_w
            with pytest.raises(AttributeError, match="server_rss_mb"):
                result.server_rs_mb
        """
    )
    done = tiny.run(*apart)
    assert done.ret == 0, done.text


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_a_gpu(tiny: Tiny, apart: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shared library in the place of the driver's: figures in the results, one that is not supported has a reason."""
    source = tmp_path / "nvml.c"
    source.write_text(NVML)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    tiny.suite({"iterations": 6})
    done = tiny.run_apart("--flperf-suite=tiny.json", *apart, "--flperf-budget=gpu_mem_mb.max <= 2 GB")
    assert done.ret == 0, done.text
    use = done.case["resources"]
    assert [use[name]["max"] for name in ("gpu_util_pct", "gpu_mem_mb", "gpu_temp_c")] == [42, 1234, 55]
    assert absent(done.case) == {"gpu_power_w": "NVIDIA Nowhere 1 doesn't report it"}
    assert done.results["run"]["host"]["gpus"] == ["NVIDIA Nowhere 1"]
    assert any(line.get("gpu_temp_c") == 55 for line in done.journal("resources.jsonl"))


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_energy(tiny: Tiny, apart: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU that draws 100 W: joules per answer, more per right one, in turns none; budgets judge them."""
    source = tmp_path / "nvml.c"
    source.write_text(NVML.replace("return 3; /* NVML_ERROR_NOT_SUPPORTED */", "*mw = 100000; return 0;"))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(tmp_path / "libnvidia-ml.so.1"), str(source)], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    budgets = ["energy_per_answer_j <= 1 kJ", "energy_per_right_j <= 1 J"]
    tiny.suite({"iterations": 6, "expect": {"length": {"min": 1}}, "budgets": budgets})
    done = tiny.run_apart("--flperf-suite=tiny.json", *apart, "-vv")
    assert done.ret == 1, done.text
    case = done.case
    assert case["energy"]["per_answer_j"] == pytest.approx(100 / case["request_rate"])
    assert case["energy"]["per_right_j"] == pytest.approx(case["energy"]["per_answer_j"])
    assert [each["met"] for each in case["budgets"]][:2] == [True, False]
    assert " J per answer; " in done.text
    done = tiny.run_apart("--flperf-suite=tiny.json", *apart, "--flperf-against=same", "--flperf-max-iterations=12")
    assert done.case["energy"]["per_answer_j"] is None
    assert "two sides were measured in turns" in done.case["budgets"][0]["reason"]
