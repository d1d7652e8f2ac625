"""Metrics of a case by name, typed."""

from __future__ import annotations

from typing import Protocol, Self, overload

from pytest_flperf.errors import FlperfError
from pytest_flperf.results.measured import Distribution, ResourceUse

__all__ = ["CaseMetric", "MetricAccess", "NotMeasuredError"]


class NotMeasuredError(FlperfError, AssertionError):
    """A metric has no value, so that no comparison with it can pass by omission."""


class _Named:
    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name


class RequestMetric(_Named):
    """Metric of requests: a distribution; raises NotMeasuredError without a value."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: _HasDistributions, owner: type) -> Distribution: ...
    def __get__(self, instance: _HasDistributions | None, owner: type) -> Self | Distribution:
        return self if instance is None else instance.distribution(self._name)


class ResourceMetric(_Named):
    """Resource: its mean and extremes; raises NotMeasuredError without a value."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: _HasResources, owner: type) -> ResourceUse: ...
    def __get__(self, instance: _HasResources | None, owner: type) -> Self | ResourceUse:
        return self if instance is None else instance.resource(self._name)


class CaseMetric(_Named):
    """Metric of the case: a number, None where it was not measured."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: _HasNumbers, owner: type) -> float | None: ...
    def __get__(self, instance: _HasNumbers | None, owner: type) -> Self | float | None:
        return self if instance is None else instance.number(self._name)


class _HasDistributions(Protocol):
    def distribution(self, name: str) -> Distribution: ...


class _HasResources(Protocol):
    def resource(self, name: str) -> ResourceUse: ...


class _HasNumbers(Protocol):
    def number(self, name: str) -> float | None: ...


class MetricAccess:
    """Attributes for the metrics of requests and for resources."""

    __slots__ = ()

    ttft_ms = RequestMetric()
    ttfat_ms = RequestMetric()
    itl_ms = RequestMetric()
    tpot_ms = RequestMetric()
    gen_tps = RequestMetric()
    tps = RequestMetric()
    prompt_tps = RequestMetric()
    server_prompt_tps = RequestMetric()
    server_prompt_ms = RequestMetric()
    server_tpot_ms = RequestMetric()
    e2e_ms = RequestMetric()
    output_tokens = RequestMetric()
    prompt_tokens = RequestMetric()
    cached_tokens = RequestMetric()
    reasoning_tokens = RequestMetric()
    answer_tokens = RequestMetric()
    request_cost = RequestMetric()
    connect_ms = RequestMetric()
    quality = RequestMetric()
    dispatch_delay_ms = RequestMetric()
    ttft_sent_ms = RequestMetric()
    e2e_sent_ms = RequestMetric()
    ttft_ratio = RequestMetric()
    tpot_ratio = RequestMetric()
    e2e_ratio = RequestMetric()
    server_cpu_pct = ResourceMetric()
    server_rss_mb = ResourceMetric()
    other_cpu_pct = ResourceMetric()
    cpu_pct = ResourceMetric()
    ram_pct = ResourceMetric()
    gpu_util_pct = ResourceMetric()
    gpu_mem_mb = ResourceMetric()
    gpu_power_w = ResourceMetric()
    gpu_temp_c = ResourceMetric()
