"""NVIDIA GPUs, through a library that answers NVML's calls."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import pynvml
import pytest
from fake_nvml import FakeGpu, FakeNvml

from pytest_flperf.telemetry.gpu import GpuSource
from pytest_flperf.telemetry.readings import GPU_METRICS, ServerProcesses

NOBODY = ServerProcesses()
NOT_SUPPORTED = -pynvml.NVML_ERROR_NOT_SUPPORTED
LOST = -pynvml.NVML_ERROR_GPU_IS_LOST


@pytest.fixture
def source() -> Iterator[GpuSource]:
    """A source that is closed at the end."""
    made = GpuSource()
    yield made
    made.close()


def test_one_gpu(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """Utilisation, used memory, power and temperature in the units of their names, and the GPU's name."""
    fake = FakeNvml().install(monkeypatch)
    assert source.open() == {}
    assert source.names == ("NVIDIA Test 4090",)
    reading = source.read(NOBODY)
    assert reading.values == {"gpu_util_pct": 37, "gpu_mem_mb": 2048, "gpu_power_w": 123.456, "gpu_temp_c": 61}
    assert not reading.absent
    assert not reading.details
    source.close()
    assert fake.calls[-1] == "nvmlShutdown"


def test_several_gpus(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """The busiest and the hottest count, memory and power add up; the figures of each are kept."""
    FakeNvml([FakeGpu(), FakeGpu(util=90, used_mb=100, power_mw=1000, temp_c=40)]).install(monkeypatch)
    assert source.open() == {}
    reading = source.read(NOBODY)
    assert reading.values == {"gpu_util_pct": 90, "gpu_mem_mb": 2148, "gpu_power_w": 124.456, "gpu_temp_c": 61}
    first, second = reading.details["gpus"]
    assert first["gpu_util_pct"] == 37
    assert second == {"gpu_util_pct": 90, "gpu_mem_mb": 100, "gpu_power_w": 1, "gpu_temp_c": 40}


def test_an_idle_gpu_is_zero(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """A measured zero is a figure."""
    FakeNvml([FakeGpu(util=0)]).install(monkeypatch)
    source.open()
    assert source.read(NOBODY).values["gpu_util_pct"] == 0


def test_a_figure_that_a_gpu_does_not_tell(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """Power on some laptops: absent with the reason, the rest is there, and it is not asked again."""
    fake = FakeNvml([FakeGpu(power_mw=NOT_SUPPORTED)]).install(monkeypatch)
    source.open()
    for _ in range(3):
        reading = source.read(NOBODY)
        assert set(reading.values) == set(GPU_METRICS) - {"gpu_power_w"}
        assert reading.absent == {"gpu_power_w": "NVIDIA Test 4090 doesn't report it"}
    assert fake.calls.count("nvmlDeviceGetPowerUsage") == 1


def test_no_sum_over_some_of_them(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """Where one of two GPUs doesn't tell, there is no figure for both, and the other one's is kept."""
    FakeNvml([FakeGpu(), FakeGpu(name=b"Old", power_mw=NOT_SUPPORTED, util=LOST)]).install(monkeypatch)
    source.open()
    reading = source.read(NOBODY)
    assert set(reading.values) == {"gpu_mem_mb", "gpu_temp_c"}
    assert reading.absent["gpu_power_w"] == "GPU 1 (Old) doesn't report it"
    assert reading.absent["gpu_util_pct"] == "GPU 1 (Old): the NVIDIA driver has lost the GPU"
    assert [("gpu_power_w" in each) for each in reading.details["gpus"]] == [True, False]


def test_trouble_that_passes(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """A GPU that fails once is asked again."""
    fake = FakeNvml().install(monkeypatch)
    source.open()
    fake.gpus[0].util = LOST
    assert "gpu_util_pct" not in source.read(NOBODY).values
    fake.gpus[0].util = 55
    assert source.read(NOBODY).values["gpu_util_pct"] == 55


def test_older_and_newer_drivers(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """Memory without the second version of the call, temperature without the first."""
    FakeNvml(missing={"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperature"}).install(monkeypatch)
    source.open()
    values = source.read(NOBODY).values
    assert (values["gpu_mem_mb"], values["gpu_temp_c"]) == (2048, 61)


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "the NVIDIA driver is not loaded"),
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_NO_PERMISSION, "no permission to ask the NVIDIA driver"),
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "different versions"),
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_UNKNOWN, "the NVIDIA driver says: Unknown Error"),
        ("nvmlInitWithFlags", 4711, "the NVIDIA driver says: "),
        ("nvmlDeviceGetCount_v2", pynvml.NVML_ERROR_NO_PERMISSION, "no permission"),
        ("nvmlDeviceGetHandleByIndex_v2", pynvml.NVML_ERROR_GPU_IS_LOST, "lost the GPU"),
    ],
)
def test_a_driver_that_refuses(
    monkeypatch: pytest.MonkeyPatch, source: GpuSource, function: str, code: int, words: str
) -> None:
    """Whatever the driver refuses at the start: all figures are absent, with one reason."""
    FakeNvml(errors={function: code}).install(monkeypatch)
    absent = source.open()
    assert set(absent) == set(GPU_METRICS)
    (reason,) = set(absent.values())
    assert words in reason


def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """A library without the call that everything begins with."""
    FakeNvml(missing={"nvmlInitWithFlags"}).install(monkeypatch)
    assert set(source.open().values()) == {"the NVIDIA driver is too old to be asked"}


def test_no_gpu(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """A driver without a GPU."""
    FakeNvml([]).install(monkeypatch)
    assert set(source.open().values()) == {"no NVIDIA GPU on this machine"}


def _no_library(*_: Any) -> None:
    raise OSError("libnvidia-ml.so.1: cannot open shared object file")


@pytest.mark.parametrize("loaded", [True, False])
def test_no_driver(monkeypatch: pytest.MonkeyPatch, source: GpuSource, loaded: bool) -> None:
    """Most machines: no library.  pynvml is not even imported for it, unless something else did."""
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", _no_library)
    monkeypatch.setattr(ctypes, "CDLL", _no_library)
    if not loaded:
        monkeypatch.delitem(sys.modules, "pynvml")
    assert set(source.open().values()) == {"no NVIDIA driver on this machine"}
    if not loaded and sys.platform != "win32":
        assert "pynvml" not in sys.modules


def test_no_pynvml(monkeypatch: pytest.MonkeyPatch, source: GpuSource) -> None:
    """The module is broken or gone."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (reason,) = set(source.open().values())
    assert reason.startswith("the module pynvml can't be used: ")


def test_a_real_gpu(source: GpuSource) -> None:
    """On a machine with one: plausible figures, or a reason for each that is missing."""
    absent = source.open()
    if absent:
        pytest.skip(absent["gpu_util_pct"])
    reading = source.read(NOBODY)
    assert reading.values.keys() | reading.absent.keys() == set(GPU_METRICS)
    assert 0 <= reading.values.get("gpu_util_pct", 0) <= 100
    assert reading.values.get("gpu_mem_mb", 0) >= 0
    assert 1 < reading.values.get("gpu_temp_c", 30) < 120
