"""Preflight: checks and calibration before a case is measured.

Whether the model can play the case, how the server counts tokens, and what the client adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pytest_flperf.backends.base import BackendError, Capabilities, OnProgress, Served
from pytest_flperf.backends.model_lists import is_another
from pytest_flperf.loadgen.plan import RequestPlan
from pytest_flperf.loadgen.worker_group import Plays
from pytest_flperf.measurement.calibration_loads import Probe, probe_of
from pytest_flperf.measurement.load_cost import LoadCost
from pytest_flperf.measurement.parameters import adjustment_words
from pytest_flperf.measurement.planned import planned_result
from pytest_flperf.measurement.request_plans import CasePlans
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.results.notes import warning
from pytest_flperf.results.records import PlannedCase
from pytest_flperf.results.serving import Adjustment, Target
from pytest_flperf.suite.errors import shown
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.prompts.synthetic import TokensPerWord
from pytest_flperf.suite.request_body import offered_tools
from pytest_flperf.wire.sample import Sample

__all__ = [
    "Calibrations",
    "FirstUse",
    "NotPossibleError",
    "NotReadyError",
    "learn_lengths",
    "planned_on",
    "refuse_another",
    "refuse_too_long",
    "refuse_tools",
]

_CALIBRATED_FROM: Final = 16
"""Streams, or requests within a second, up to which a client adds next to nothing."""
_FEWEST_WORDS: Final = 64
_MOST_WORDS: Final = 1_000
"""Of the longer request that tells how a server counts."""


class NotReadyError(Exception):
    """The model could not be made ready, or answered no token.

    Nothing was measured.
    """


class NotPossibleError(Exception):
    """The model can't play this case, whatever is done.

    The case is left out with this reason.
    """


def refuse_too_long(case: Case, served: Served) -> None:
    """Raise NotPossibleError for a context longer than the model's."""
    settings = case.scenario.settings
    context, answer = settings.context_tokens or 0, settings.max_tokens or 0
    if context and served.context_length is not None and context + answer > served.context_length:
        raise NotPossibleError(
            f"context_tokens {context:,} and {answer:,} for the answer are more than the model's "
            f"{served.context_length:,}"
        )


def refuse_tools(case: Case, served: Served, known: Capabilities) -> None:
    """Raise NotPossibleError for tools, or a choice of them, that the model does not take.

    Without them its answers would be those to another question, and be scored as if it had been asked this one.
    """
    if not offered_tools(case):
        return
    taken = known.parameters
    if known.tools is False or (taken is not None and "tools" not in taken):
        raise NotPossibleError(f"the scenario offers tools, and {served.model} takes none ({served.backend})")
    settings = case.scenario.settings
    choice = None if settings.tool_choice_or_auto else settings.tool_choice
    if choice not in (None, "auto") and taken is not None and "tool_choice" not in taken:
        raise NotPossibleError(
            f"{served.backend} takes no tool_choice, so that the model would decide; tool_choice: auto measures that, "
            "[required, auto] only where a choice isn't taken"
        )


def refuse_another(sample: Sample, served: Served) -> None:
    """Raise BackendError where another model has answered.

    Another name in the answer is only a warning, because many servers have several names for one model, and some lists
    lack what is served.  But where the echoed name is in the list, and is no other name of the requested model, another
    model has answered.
    """
    echo = sample.model_echoed
    if served.listed is None or not echo or not is_another(echo, served.model_id, served.others):
        return
    own = "lists both" if served.listed else "does not list it"
    raise BackendError(
        f"{served.model_id} at {served.endpoint.base_url}: the server {own}, and answered as {shown(echo)}"
        f"{'' if served.listed else ', which it lists'}: another model would be measured; name the one you mean"
    )


def learn_lengths(plans: CasePlans, one: Callable[[RequestPlan], Sample]) -> None:
    """Learn how the server counts tokens, where prompts have lengths.

    It is needed only where nothing else counts them.

    Args:
        plans: Of the case; they learn it.
        one: Plays a plan of one request.

    Raises:
        NotReadyError: The server doesn't say it, or not in a way that makes sense.

    """
    if not plans.asker.needs_usage:
        return
    long = min(max(plans.asker.longest_words // 2, _FEWEST_WORDS), _MOST_WORDS)
    counts = []
    for words in (long // 8, long):
        sample = one(plans.calibrating(words))
        if not sample.ok and sample.prompt_tokens is None:  # one token may be too few for an answer
            sample = one(plans.calibrating(words, as_asked=True))
        if not sample.ok and sample.prompt_tokens is None:
            said = sample.evidence.detail if sample.evidence else ""
            raise NotReadyError(f"a prompt of {words} words, to learn how tokens are counted: {sample.outcome} {said}")
        if sample.prompt_tokens is None:
            raise NotReadyError(
                "lengths in tokens can't be met: the server doesn't say how many tokens a prompt has; give the "
                "scenario a tokenizer: the path of the model's tokenizer.json"
            )
        counts.append((words, sample.prompt_tokens))
    try:
        plans.asker.learn(TokensPerWord.from_counts(*counts))
    except ValueError as error:
        raise NotReadyError(f"lengths in tokens can't be met with what the server counts: {error}") from error


@dataclass(frozen=True, slots=True)
class FirstUse:
    """Measurements from a model's first answer after its load."""

    generation: int
    """Number of the load."""
    cold_ttft_ms: float | None
    download_s: float | None
    cost: LoadCost


def planned_on(
    case: Case,
    served: Served,
    seen: FirstUse,
    adjustments: tuple[Adjustment, ...],
    notes: tuple[str, ...],
    processes: int,
) -> PlannedCase:
    """Planned result of a case whose model is ready."""
    target = Target(
        backend=served.backend,
        base_url=served.endpoint.shown,
        model_id=served.model_id,
        variant=served.variant,
        device=served.device,
        execution_provider=served.execution_provider,
        context_length=served.context_length,
        size_mb=served.size_mb,
        transport="native" if served.native is not None else "http",
    )
    changed = adjustment_words(adjustments)
    return replace(
        planned_result(
            case,
            target=target,
            load_s=served.load_s,
            cold_ttft_ms=seen.cold_ttft_ms,
            notes=(warning(changed, "parameters"), *notes) if changed else notes,
            processes=processes,
        ),
        download_s=seen.download_s,
        rss_before_load_mb=seen.cost.rss_before_mb,
        rss_after_load_mb=seen.cost.rss_after_mb,
        model_rss_mb=seen.cost.model_rss_mb,
        reloaded=served.reloaded,
        adjusted=adjustments,
    )


class Calibrations:
    """Calibrations of the client at a run's loads, each once."""

    def __init__(self, processes: int) -> None:
        """``processes``: load processes of the client."""
        self._processes = processes
        self._probes: dict[str, Probe] = {}
        self._found: dict[Probe, Calibration | str] = {}

    def before(self, case: Case, client: Callable[[], Plays], on_progress: OnProgress) -> bool:
        """Calibrate the client before a load that needs it.

        A load needs it where the client may report longer times than the server took.  Returns whether the client still
        plays.
        """
        probe = probe_of(case, self._processes, short=True)
        if probe.peak <= _CALIBRATED_FROM or not case.scenario.settings.stream:
            return True
        self._probes[case.nodeid] = probe
        if probe in self._found:
            return True
        from pytest_flperf.measurement.calibration import SHORT_TOKENS, CalibrationError, calibrate

        unit = "streams" if probe.load.shape == "closed" else "requests/s"
        on_progress(f"calibrating the client at {probe.load.rate or probe.load.concurrency:g} {unit}", None)
        try:
            self._found[probe] = calibrate(client(), probe, tokens=SHORT_TOKENS)
        except CalibrationError as error:
            self._found[probe] = str(error)
            return False
        return True

    def of(self, case: Case) -> tuple[Calibration | None, tuple[str, ...]]:
        """Calibration at a case's load; without one, why."""
        probe = self._probes.get(case.nodeid)
        found = self._found.get(probe) if probe is not None else None
        return (None, (found,)) if isinstance(found, str) else (found, ())


def ttft_ms_of(sample: Sample) -> float | None:
    """Time to the first token in ms; None where unknown.

    It is unknown where no token came, or where a clock was set meanwhile.
    """
    if sample.first_token_ns is None or sample.sent_ns is None or sample.clock_step:
        return None
    return (sample.first_token_ns - sample.sent_ns) / 1e6
