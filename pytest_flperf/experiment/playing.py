"""From a case to the plans that are played for it: the verifying token, the warm-up, the measured requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pytest_flperf.backends.base import BackendError, Served
from pytest_flperf.load.plan import Deadlines, Entry, Plan, Target
from pytest_flperf.suite.model import Case, Timeouts
from pytest_flperf.suite.prompts import extra_body, request_body, unique_key
from pytest_flperf.wire.endpoint import Endpoint, EndpointError, resolve
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.requests import RequestFactory, RequestTemplate

__all__ = ["CasePlans", "deadlines", "target_of"]

_NS_PER_S: Final = 1_000_000_000
_FEWEST_TO_GIVE_UP: Final = 3
_VERIFY_TOKENS: Final = 8


def deadlines(timeouts: Timeouts) -> Deadlines:
    """Seconds as a person writes them to ns, None to 0 (no deadline)."""

    def ns(seconds: float | None) -> int:
        return 0 if seconds is None else max(round(seconds * _NS_PER_S), 1)

    return Deadlines(
        connect_ns=ns(timeouts.connect_s),
        headers_ns=ns(timeouts.headers_s),
        first_token_ns=ns(timeouts.first_token_s),
        stall_ns=ns(timeouts.stall_s),
        total_ns=ns(timeouts.total_s),
    )


def target_of(endpoint: Endpoint) -> Target:
    """Where to connect to; raises BackendError for a host without an address."""
    try:
        addresses = resolve(endpoint)
    except EndpointError as error:
        raise BackendError(f"{endpoint.base_url}: {error}") from error
    return Target(addresses, endpoint.host if endpoint.tls else None)


class CasePlans:
    """The plans of one case against one served model."""

    def __init__(self, case: Case, served: Served, factory: RequestFactory, target: Target, seed: str) -> None:
        self._case = case
        self._served = served
        self._factory = factory
        self._target = target
        self._seed = seed
        self._settings = case.scenario.settings
        self._deadlines = deadlines(self._settings.timeouts)
        self._template: RequestTemplate = factory.template(self._body(None), extra_body(case))

    def verify(self, phase: Phase) -> Plan:
        """One short streamed request: the proof that the model answers."""
        body: dict[str, Any] = {
            "model": self._served.model_id,
            "messages": [{"role": "user", "content": "Say hello."}],
            "stream": True,
            "max_tokens": _VERIFY_TOKENS,
            "temperature": 0,
        }
        request = self._factory.build(body)  # without the case's extra: it is the model that is asked, not the case
        return self._plan([Entry(0, phase, 0, stream=True, request=request)], 1, 1)

    def warmup(self) -> Plan:
        """The requests before the measured ones."""
        total = self._settings.warmup_requests
        return self._plan(self._entries(Phase.WARMUP, total, 0), self._settings.concurrency, total)

    def measured(self) -> Plan:
        """The requests that count."""
        total = self._settings.iterations
        entries = self._entries(Phase.MEASURED, total, self._settings.warmup_requests)
        return self._plan(entries, self._settings.concurrency, total)

    def _plan(self, entries: Iterator[Entry] | list[Entry], concurrency: int, total: int) -> Plan:
        return Plan(
            targets=(self._target,),
            deadlines=self._deadlines,
            concurrency=concurrency,
            total=total,
            entries=entries,
            give_up_after=max(_FEWEST_TO_GIVE_UP, concurrency),
        )

    def _entries(self, phase: Phase, total: int, offset: int) -> Iterator[Entry]:
        for index in range(total):
            key = unique_key(self._seed, self._case.nodeid, index + offset)
            request = self._template.render(self._body(key)["messages"])
            yield Entry(index, phase, 0, self._settings.stream, request)

    def _body(self, key: str | None) -> dict[str, Any]:
        return request_body(self._case, self._served.model_id, key)
