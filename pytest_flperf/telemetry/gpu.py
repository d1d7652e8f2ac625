"""NVIDIA GPU readings through NVML, the driver's own library."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pytest_flperf.telemetry.readings import GPU_METRICS, Reading, ServerProcesses

__all__ = ["GpuSource"]

_MB: Final = 1 << 20
_MW_PER_W: Final = 1000

_OVER_ALL: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "gpu_util_pct": max,
    "gpu_mem_mb": sum,
    "gpu_power_w": sum,
    "gpu_temp_c": max,
}
"""One figure for a machine of several GPUs.  The busiest and the hottest one tell where the limit is, and a mean would
sink with every GPU that the server doesn't use; memory and power add up."""

_REASONS: Final = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": "no NVIDIA driver on this machine",
    "NVML_ERROR_DRIVER_NOT_LOADED": "the NVIDIA driver is not loaded",
    "NVML_ERROR_NO_PERMISSION": "no permission to ask the NVIDIA driver",
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": "the NVIDIA driver and its library have different versions: restart the "
    "machine after an update of the driver",
    "NVML_ERROR_FUNCTION_NOT_FOUND": "the NVIDIA driver is too old to be asked",
    "NVML_ERROR_GPU_IS_LOST": "the NVIDIA driver has lost the GPU",
}
_NO_GPU: Final = "no NVIDIA GPU on this machine"


class GpuSource:
    """GPU utilization, memory, power and temperature of the whole machine.

    The metrics are ``gpu_util_pct``, ``gpu_mem_mb``, ``gpu_power_w`` and ``gpu_temp_c``.

    A figure that one of several GPUs doesn't give is absent for all: a sum over some of them would be taken for the
    sum over all.
    """

    metrics = GPU_METRICS

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        """The GPUs' names, once opened."""
        self._nvml: Any = None
        self._gpus: list[Any] = []
        self._refused: dict[str, str] = {}

    def open(self) -> Mapping[str, str]:
        """Load NVML and find the GPUs; returns why none can be read."""
        if not _library_there():
            return dict.fromkeys(self.metrics, _REASONS["NVML_ERROR_LIBRARY_NOT_FOUND"])
        try:
            import pynvml
        except Exception as error:  # noqa: BLE001 - an old package of that name warns, and a warning may be an error
            return dict.fromkeys(self.metrics, f"the module pynvml can't be used: {error}")
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return dict.fromkeys(self.metrics, _reason(pynvml, error))
        self._nvml = pynvml
        try:
            count = pynvml.nvmlDeviceGetCount()
            self._gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        except pynvml.NVMLError as error:
            return dict.fromkeys(self.metrics, _reason(pynvml, error))
        if not self._gpus:
            return dict.fromkeys(self.metrics, _NO_GPU)
        self.names = tuple(self._name(gpu) for gpu in self._gpus)
        return {}

    def read(self, server: ServerProcesses) -> Reading:
        """Read all GPUs, without queries that they refused for good."""
        del server
        at_ns = time.monotonic_ns()
        absent = dict(self._refused)
        values: dict[str, float] = {}
        each: list[dict[str, float]] = [{} for _ in self._gpus]
        for metric, ask in self._questions().items():
            for index, gpu in enumerate(self._gpus):
                try:
                    each[index][metric] = ask(gpu)
                except self._nvml.NVMLError as error:
                    absent[metric] = self._refusal(metric, index, error)
            if all(metric in figures for figures in each):
                values[metric] = _OVER_ALL[metric](tuple(figures[metric] for figures in each))
        details = {"gpus": each} if len(each) > 1 else {}
        return Reading(at_ns, values, absent, details)

    def close(self) -> None:
        """Shut NVML down."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _questions(self) -> dict[str, Callable[[Any], float]]:
        """Queries for each GPU.

        Without what the only GPU of a machine has refused: it would refuse it again.
        """
        asked = {
            "gpu_util_pct": self._util_pct,
            "gpu_mem_mb": self._mem_mb,
            "gpu_power_w": self._power_w,
            "gpu_temp_c": self._temp_c,
        }
        return {name: ask for name, ask in asked.items() if name not in self._refused or len(self._gpus) > 1}

    def _refusal(self, metric: str, index: int, error: Exception) -> str:
        who = self.names[index] if len(self._gpus) == 1 else f"GPU {index} ({self.names[index]})"
        code = getattr(error, "value", None)
        if code in (self._nvml.NVML_ERROR_NOT_SUPPORTED, self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
            return self._refused.setdefault(metric, f"{who} doesn't report it")
        return f"{who}: {_reason(self._nvml, error)}"

    def _name(self, gpu: Any) -> str:
        try:
            return str(self._nvml.nvmlDeviceGetName(gpu))
        except self._nvml.NVMLError:
            return "NVIDIA GPU"

    def _util_pct(self, gpu: Any) -> float:
        """GPU utilization over the driver's last sampling period.

        The share of that period (1/6 to 1 s) in which the GPU worked at all.
        """
        return float(self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)

    def _mem_mb(self, gpu: Any) -> float:
        nvml = self._nvml
        try:
            # version 2, as nvidia-smi: what the driver keeps for itself is not counted as used
            used = nvml.nvmlDeviceGetMemoryInfo(gpu, version=nvml.nvmlMemory_v2).used
        except nvml.NVMLError_FunctionNotFound:
            used = nvml.nvmlDeviceGetMemoryInfo(gpu).used
        return float(used) / _MB

    def _power_w(self, gpu: Any) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(gpu)) / _MW_PER_W

    def _temp_c(self, gpu: Any) -> float:
        nvml = self._nvml
        try:
            return float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))
        except nvml.NVMLError_FunctionNotFound:
            if not hasattr(nvml, "nvmlDeviceGetTemperatureV"):
                raise
            return float(nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU))


def _library_there() -> bool:
    """Whether an NVIDIA driver seems installed.

    Importing pynvml takes 30 ms, and most machines have no such driver.
    """
    if sys.platform == "win32" or "pynvml" in sys.modules:
        return True  # there it looks in several places; and where it is loaded already, it can be asked
    import ctypes

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _reason(nvml: Any, error: Exception) -> str:
    code = getattr(error, "value", None)
    for name, words in _REASONS.items():
        if code == getattr(nvml, name, None):
            return words
    return f"the NVIDIA driver says: {error}"
