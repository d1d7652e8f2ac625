"""Judge client: asks one model many prompts at temperature 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from pytest_flperf.backends.base import BackendError, OnProgress
from pytest_flperf.backends.router import Place
from pytest_flperf.errors import FlperfError
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench, NotPossibleError, NotReadyError
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Suite
from pytest_flperf.suite.prompts.rows import Row
from pytest_flperf.suite.prompts.sources import PromptSource
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

__all__ = ["WAS_INTERRUPTED", "AskJudge", "JudgeNotReadyError", "JudgeReply", "JudgeSettings", "ask_judge"]

_ASKED: Final = (Phase.MEASURED, Phase.RETRY)
_SHOWN: Final = 200
WAS_INTERRUPTED: Final = "it was interrupted"
"""Why prompts were not asked, after Ctrl-C."""
_DEADLINES: Final = ("timeout_s", "headers_timeout_s", "first_token_timeout_s", "stall_timeout_s")
"""One for the whole reply: a slow judge may think long before its first word."""


class JudgeNotReadyError(FlperfError):
    """The judge can't be asked: it was not found, not loaded, or gave no token."""


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """Reply to one prompt."""

    text: str = ""
    error: str = ""
    """Why there is none; empty: there is one."""


AskJudge: TypeAlias = Callable[[Sequence[str]], Sequence[JudgeReply]]
"""Asks a judge prompts; a reply for each, in order."""


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How a judge is asked."""

    max_tokens: int = 512
    concurrency: int = 1
    timeout_s: float = 120.0
    """Of each request, the whole reply included."""
    retries: int = 1
    """Of requests that failed in a transient way."""
    stop_at: float | None = None
    """From when on none is asked (monotonic, in seconds); None: never."""


def ask_judge(
    place: Place,
    prompts: Sequence[str],
    settings: JudgeSettings,
    redactor: Redactor,
    on_progress: OnProgress,
    on_request: Callable[[int, int], None],
) -> list[JudgeReply]:
    """Ask a judge; what was started for it is ended.

    Ctrl-C ends the asking; the replies that came are returned.

    Args:
        place: Its model, its backend and how that is reached.
        prompts: One user message each.
        settings: Limits, load and time.
        redactor: Masks keys in replies and errors.
        on_progress: Told of downloads and loads.
        on_request: Told how many of how many replies there are.

    Raises:
        JudgeNotReadyError: The model can't be asked at all.

    """
    if not prompts:
        return []
    try:
        backend = place.kind.make(place.config)
    except (BackendError, ValueError) as error:
        raise JudgeNotReadyError(str(error)) from error
    bench = Bench(backend, Recorder(None, redactor))
    try:
        return _asked(bench, place.model, prompts, settings, on_progress, on_request)
    except (NotReadyError, NotPossibleError) as error:
        raise JudgeNotReadyError(str(error)) from error
    finally:
        bench.close()


def _asked(
    bench: Bench,
    model: str,
    prompts: Sequence[str],
    settings: JudgeSettings,
    on_progress: OnProgress,
    on_request: Callable[[int, int], None],
) -> list[JudgeReply]:
    values = {
        "name": "judge",
        "prompt": "-",
        "iterations": len(prompts),
        "warmup": 0,
        "temperature": 0,
        "max_tokens": settings.max_tokens,
        "concurrency": min(settings.concurrency, len(prompts)),
        **dict.fromkeys(_DEADLINES, settings.timeout_s),
        "retries": settings.retries,
        "prompt_cache": "reuse",
    }
    rows = tuple(Row((Message("user", each),), (each,), None, {}) for each in prompts)
    scenario = replace(scenario_of(values), source=PromptSource(rows=rows))
    (case,) = expand(Suite("judge", "judge", Path(), "", "", (scenario,), (model,)), [model])
    prepared = bench.ready(case, on_progress=on_progress, stop_at=settings.stop_at)
    why_not = WAS_INTERRUPTED
    with suppress(KeyboardInterrupt):  # what was judged is kept
        run = bench.play(
            prepared, on_request=lambda count: on_request(count.done, len(prompts)), stop_at=settings.stop_at
        )
        why_not = run.trouble or ("the time was over" if run.out_of_time else "it was not asked")
    found: dict[int, Sample] = {}
    for sample in prepared.recording.samples():
        if sample.phase in _ASKED and (sample.ok or sample.index not in found):
            found[sample.index] = sample
    return [_reply(found.get(index), why_not) for index in range(len(prompts))]


def _reply(sample: Sample | None, why_not: str) -> JudgeReply:
    if sample is None:
        return JudgeReply(error=f"not asked: {why_not}")
    if sample.outcome is Outcome.CANCELLED and why_not == WAS_INTERRUPTED:
        return JudgeReply(error=f"no reply: {WAS_INTERRUPTED}")
    if not sample.ok:
        detail = sample.evidence.detail[:_SHOWN] if sample.evidence is not None else ""
        return JudgeReply(error=f"{sample.outcome.value}{f' ({detail})' if detail else ''}")
    return JudgeReply(sample.output_text)
