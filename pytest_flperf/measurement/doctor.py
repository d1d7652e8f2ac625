"""Doctor: check step by step whether a backend can be measured.

The runtime answers, it lists its models, one real token comes, and the clock that stamps it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from pytest_flperf.backends.base import About, Backend, BackendError, ListedModel, OnProgress
from pytest_flperf.backends.discovery import listed_when_ready
from pytest_flperf.backends.router import Place
from pytest_flperf.measurement.runner import Bench, NotPossibleError, NotReadyError
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Suite

__all__ = ["Finding", "Step", "examine"]

OnStep: TypeAlias = Callable[[str], None]
"""Told what is being tried."""
_SMALL_MB: Final = 4_096
"""Of models that are on this machine and not loaded, larger ones are loaded only where they are named."""
_SAID: Final = 200
"""Characters of an answer that are kept."""
_ASKED: Final = {"name": "doctor", "prompt": "Say hello.", "max_tokens": 8, "iterations": 3, "warmup": 0}


@dataclass(frozen=True, slots=True)
class Step:
    """One check of a backend, and its outcome."""

    name: str
    """``runtime``, ``models`` or ``one token``."""
    ok: bool | None
    """None: not tried."""
    words: str
    """What came of it, or why it wasn't tried."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Findings about one kind of backend on this machine."""

    backend: str
    steps: tuple[Step, ...]
    about: About | None = None
    models: int | None = None
    model: str | None = None
    """Which one was asked."""
    ttft_ms: float | None = None
    """Of its first streamed token."""
    tps: float | None = None
    """Output tokens per second of a whole answer, first token included."""
    answer: str | None = None
    """Beginning of what it said."""
    clock_source: str | None = None
    gpus: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether a token came."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    @property
    def problem(self) -> str:
        """The first failed or skipped step, in words; else empty."""
        return next((step.words for step in self.steps if not step.ok), "")


def examine(place: Place, model: str | None, on_step: OnStep) -> Finding:
    """Check a backend, up to the first failure.

    What was started for it is ended.

    Args:
        place: The kind and how it is reached.
        model: Which model to ask; None: a loaded one, else an embedded one, else the smallest on this machine.
        on_step: Told what is being tried.

    """
    name = place.kind.name
    try:
        backend = place.kind.make(place.config)
    except (BackendError, ValueError) as error:
        return Finding(name, (Step("runtime", False, str(error)),))
    bench = Bench(backend)
    try:
        return _examined(place, backend, bench, model, on_step)
    finally:
        bench.close()


def _examined(place: Place, backend: Backend, bench: Bench, model: str | None, on_step: OnStep) -> Finding:
    name = place.kind.name

    def told(what: str, percent: float | None) -> None:
        del percent
        on_step(what)

    on_step("runtime")
    try:
        about = backend.about()
    except BackendError as error:
        return Finding(name, (Step("runtime", False, str(error)),))
    steps = [Step("runtime", True, " ".join(filter(None, (about.runtime, about.version, about.address))))]
    on_step("models")
    try:
        listed: Sequence[ListedModel] | None = listed_when_ready(backend, place.config, told)
    except BackendError as error:
        if model is None:
            return Finding(name, (*steps, Step("models", False, str(error))), about)
        listed = None  # a server may have what it doesn't list
    if listed is None:
        steps.append(Step("models", True, "none listed, one named"))
    else:
        steps.append(Step("models", True, f"{len(listed)}, {sum(bool(each.loaded) for each in listed)} loaded"))
    count = None if listed is None else len(listed)
    asked = model or _to_ask(listed or ())
    if asked is None:
        why = "no model is loaded here, and none is small enough to try; name one: --model=NAME"
        return Finding(name, (*steps, Step("one token", None, why)), about, count)
    on_step(f"one token of {asked}")
    return _with_token(Finding(name, tuple(steps), about, count, asked), asked, bench, told)


def _with_token(found: Finding, model: str, bench: Bench, on_progress: OnProgress) -> Finding:
    """Request tokens as a run would, and see which clock stamps them."""
    suite = Suite("doctor", "doctor", Path(), "", "", (scenario_of(_ASKED),), (model,))
    (case,) = expand(suite, [model])
    try:
        prepared = bench.ready(case, on_progress=on_progress)
        result = bench.play(prepared).result
    except (NotReadyError, NotPossibleError) as error:
        return _and_step(found, Step("one token", False, str(error)))
    ttft = result.metric("ttft_ms")
    if not result.requests.ok or ttft is None:
        detail = result.failures[0].detail if result.failures else "no token came"
        return _and_step(found, Step("one token", False, f"{model}: {detail}"))
    tps = result.metric("tps")
    return replace(
        _and_step(found, Step("one token", True, f"{model}: {ttft.p50:.3g} ms")),
        ttft_ms=ttft.p50,
        tps=None if tps is None else tps.p50,
        answer=prepared.recording.values.answer,
        clock_source=result.clock.source,
        gpus=bench.gpus,
        notes=result.notes,
    )


def _and_step(found: Finding, step: Step) -> Finding:
    return replace(found, steps=(*found.steps, step))


def _to_ask(listed: Sequence[ListedModel]) -> str | None:
    ready = [each for each in listed if each.loaded] or [each for each in listed if each.source == "embedded"]
    if ready:
        return ready[0].model_id
    here = [each for each in listed if each.cached and each.size_mb is not None and each.size_mb <= _SMALL_MB]
    if here:
        return min(here, key=lambda each: each.size_mb or 0).model_id
    # a server by its URL says nothing of sizes or states: what it lists, it serves
    served = [each for each in listed if each.source == "server" and each.loaded is None and each.cached is None]
    return served[0].model_id if served else None
