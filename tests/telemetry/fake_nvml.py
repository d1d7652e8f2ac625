"""A library in the place of libnvidia-ml: real C functions, called by pynvml as it calls the driver's."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

_STRUCTS = {
    "util": pynvml.c_nvmlUtilization_t,
    "memory": pynvml.c_nvmlMemory_t,
    "memory2": pynvml.c_nvmlMemory_v2_t,
    "temp": pynvml.c_nvmlTemperature_v1_t,
}


@dataclass
class FakeGpu:
    """A GPU and what it answers; a negative number is no answer: the call fails with that error."""

    name: bytes = b"NVIDIA Test 4090"
    util: int = 37
    used_mb: int = 2048
    power_mw: int = 123_456
    temp_c: int = 61


@dataclass
class FakeNvml:
    """The library.  ``errors`` makes a function fail, ``missing`` leaves it out as an old driver does."""

    gpus: list[FakeGpu] = field(default_factory=lambda: [FakeGpu()])
    errors: dict[str, int] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
        """Be what pynvml has loaded."""
        monkeypatch.setattr(pynvml, "nvmlLib", self)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return self

    def __getattr__(self, name: str) -> Any:
        answer = _ANSWERS.get(name)
        if answer is None or name in self.missing:
            raise AttributeError(name)

        def called(*arguments: Any) -> int:
            self.calls.append(name)
            return self.errors[name] if name in self.errors else answer(self, *arguments)

        kinds = _KINDS[name]
        function = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(called)
        self.__dict__[name] = function
        return function

    def gpu(self, handle: int | None) -> FakeGpu:
        """The GPU of a handle, which is its index and one."""
        assert handle is not None
        return self.gpus[handle - 1]


def _write(kind: Any, address: int, value: int) -> int:
    if value < 0:
        return -value
    kind.from_address(address).value = value
    return 0


def _init(fake: FakeNvml, flags: int) -> int:
    return 0


def _shutdown(fake: FakeNvml) -> int:
    return 0


def _count(fake: FakeNvml, out: int) -> int:
    return _write(ctypes.c_uint, out, len(fake.gpus))


def _handle(fake: FakeNvml, index: int, out: int) -> int:
    return _write(ctypes.c_void_p, out, index + 1)


def _name(fake: FakeNvml, handle: int, out: int, room: int) -> int:
    ctypes.memmove(out, fake.gpu(handle).name + b"\0", min(len(fake.gpu(handle).name) + 1, room))
    return 0


def _util(fake: FakeNvml, handle: int, out: int) -> int:
    if fake.gpu(handle).util < 0:
        return -fake.gpu(handle).util
    _STRUCTS["util"].from_address(out).gpu = fake.gpu(handle).util
    return 0


def _memory(kind: str, fake: FakeNvml, handle: int, out: int) -> int:
    if fake.gpu(handle).used_mb < 0:
        return -fake.gpu(handle).used_mb
    _STRUCTS[kind].from_address(out).used = fake.gpu(handle).used_mb << 20
    return 0


def _memory1(fake: FakeNvml, handle: int, out: int) -> int:
    return _memory("memory", fake, handle, out)


def _memory2(fake: FakeNvml, handle: int, out: int) -> int:
    return _memory("memory2", fake, handle, out)


def _power(fake: FakeNvml, handle: int, out: int) -> int:
    return _write(ctypes.c_uint, out, fake.gpu(handle).power_mw)


def _temp(fake: FakeNvml, handle: int, sensor: int, out: int) -> int:
    return _write(ctypes.c_uint, out, fake.gpu(handle).temp_c)


def _temp_v(fake: FakeNvml, handle: int, out: int) -> int:
    if fake.gpu(handle).temp_c < 0:
        return -fake.gpu(handle).temp_c
    _STRUCTS["temp"].from_address(out).temperature = fake.gpu(handle).temp_c
    return 0


_ANSWERS: dict[str, Any] = {
    "nvmlInitWithFlags": _init,
    "nvmlShutdown": _shutdown,
    "nvmlDeviceGetCount_v2": _count,
    "nvmlDeviceGetHandleByIndex_v2": _handle,
    "nvmlDeviceGetName": _name,
    "nvmlDeviceGetUtilizationRates": _util,
    "nvmlDeviceGetMemoryInfo": _memory1,
    "nvmlDeviceGetMemoryInfo_v2": _memory2,
    "nvmlDeviceGetPowerUsage": _power,
    "nvmlDeviceGetTemperature": _temp,
    "nvmlDeviceGetTemperatureV": _temp_v,
}
_P = ctypes.c_void_p
_KINDS: dict[str, tuple[Any, ...]] = {
    "nvmlInitWithFlags": (ctypes.c_uint,),
    "nvmlShutdown": (),
    "nvmlDeviceGetCount_v2": (_P,),
    "nvmlDeviceGetHandleByIndex_v2": (ctypes.c_uint, _P),
    "nvmlDeviceGetName": (_P, _P, ctypes.c_uint),
    "nvmlDeviceGetUtilizationRates": (_P, _P),
    "nvmlDeviceGetMemoryInfo": (_P, _P),
    "nvmlDeviceGetMemoryInfo_v2": (_P, _P),
    "nvmlDeviceGetPowerUsage": (_P, _P),
    "nvmlDeviceGetTemperature": (_P, ctypes.c_uint, _P),
    "nvmlDeviceGetTemperatureV": (_P, _P),
}
