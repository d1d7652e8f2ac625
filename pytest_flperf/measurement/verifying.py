"""Verifying requests: one per parameter set, before measuring.

Each target must answer one request of every parameter set before anything is measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from pytest_flperf.backends.base import BackendError, Served
from pytest_flperf.loadgen.plan import RequestPlan
from pytest_flperf.measurement.parameters import AS_USUAL, Dialect, limit_key
from pytest_flperf.measurement.request_plans import CasePlans
from pytest_flperf.suite.setting_limits import MAX_TOKENS_KEYS
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.refused_parameters import (
    is_of_value,
    may_be_bounded,
    names,
    only_streams,
    refused,
    words_of_refusal,
)
from pytest_flperf.wire.sample import TIMEOUTS, Outcome, Sample

__all__ = ["TRIES_UNTIL_HOPELESS", "NoAnswerError", "Verifier"]

TRIES_UNTIL_HOPELESS: Final = 2
"""Failures after which a model, or a set of parameters, is not tried again."""

_Failure: TypeAlias = tuple[CasePlans, Sample]
_SHORT: Final = 200
"""Characters of a server's words where more follows them: messages are cut where they are shown."""
_DIGEST_BYTES: Final = 12
_NO_PARAMETERS: Final = frozenset({"model", "messages", "stream"})
"""What a request is made of, and what no request can do without."""
_MAY_BE_OF_THE_SHORT_ONE: Final = frozenset({Outcome.LENGTH_ZERO, Outcome.TRUNCATED, Outcome.ERROR_IN_STREAM})
"""Outcomes that a longer answer, or the case's own question, may not have."""
_WHO_ARE_YOU: Final = frozenset({401, 403})
_BAD_REQUEST: Final = frozenset({400, 422})
_MAY_BE_OF_ITS_FORM: Final = frozenset({400, 422, 500, 501})
"""Status codes with which servers refuse what they don't like in a request."""


class NoAnswerError(BackendError):
    """A model gave no text in answer to a request."""

    def __init__(
        self, text: str, *, of_case: bool, worked: bool, timed_out: bool, sample: Sample | None = None
    ) -> None:
        """Keep what the failure means for other cases.

        Args:
            text: For a person; lines after the first are of the backend's log.
            of_case: Whether only requests with these parameters are known to fail.
            worked: Whether something may have made the model work: its first answer after a load is over.
            timed_out: Whether the server may still be at it.
            sample: The last answer; None where no request was sent.

        """
        super().__init__(text)
        self.sample = sample
        self.of_case = of_case
        self.worked = worked
        self.timed_out = timed_out

    def add(self, words: str) -> None:
        """Add words to the first line."""
        text, newline, log = str(self).partition("\n")
        self.args = (text + words + newline + log,)


class Verifier:
    """Verifies models with requests of the cases' kinds.

    It keeps the dialect in which each server wants them.
    """

    def __init__(self) -> None:
        self._dialects: dict[tuple[str, bytes], Dialect] = {}
        self._answered: dict[str, tuple[int, set[tuple[bytes, str | None]]]] = {}
        self._failed: dict[tuple[str, str, bytes], list[str]] = {}

    def spoken(self, plans: CasePlans, served: Served) -> CasePlans:
        """Plans of a case in its server's dialect, as far as known.

        What was found out holds for the same parameters only: a server may refuse one because of another, and what one
        case is sent must not depend on which were measured before it.
        """
        dialect = self._dialects.get((served.model, _parameter_set(plans)), AS_USUAL)
        return plans if dialect == plans.dialect else plans.spoken_as(dialect)

    def knows(self, served: Served, plans: CasePlans) -> bool:
        """Whether the model has answered these parameters since its load."""
        generation, sets = self._answered.get(served.model, (served.generation, set()))
        return generation == served.generation and _sent_set(plans) in sets

    def verify(
        self,
        plans: CasePlans,
        served: Served,
        phase: Phase,
        one: Callable[[RequestPlan], Sample],
        log: Callable[[], str],
    ) -> tuple[CasePlans, Sample]:
        """Verify that the model answers the case's kind of request.

        Returns the plans as the server takes them, and the answer.

        First a short request with the case's parameters.  What a server refuses is sent under its other name, or left
        out where nobody asked for it.  Where that gives no text, the case's own request is tried: hidden reasoning
        may have used up the short answer.

        Args:
            plans: Of the case.
            served: The model.
            phase: Why it is sent; the first after a load stays that until something has made the model work.
            one: Plays a plan of one request.
            log: What the backend says of a model that doesn't answer.

        Raises:
            NoAnswerError: No text came, now or twice before.

        """
        failed = self._failed.setdefault((served.model, served.endpoint.base_url, _parameter_set(plans)), [])
        if len(failed) >= TRIES_UNTIL_HOPELESS:
            text = f"not tried again after {len(failed)} failures, the last one: {failed[-1]}"
            raise NoAnswerError(text, of_case=True, worked=False, timed_out=False)
        failures: list[_Failure] = []
        as_asked = False
        while True:
            sample = one(plans.verify(phase, as_asked=as_asked))
            if sample.ok:
                failed.clear()
                self._keep(plans, served)
                return plans, sample
            failures.append((plans, sample))
            dialect = _otherwise(plans, sample, as_asked=as_asked)
            if dialect is not None:
                plans = plans.spoken_as(dialect)
            elif not as_asked and _own_request_may_do(plans, sample):
                as_asked = True
            else:
                error = _error(failures, served, log())
                failed.append(str(error).partition("\n")[0])
                raise error
            if _has_worked(sample):
                phase = Phase.VERIFY  # what comes now is not the model's first answer

    def _keep(self, plans: CasePlans, served: Served) -> None:
        self._dialects[served.model, _parameter_set(plans)] = plans.dialect
        generation, sets = self._answered.get(served.model, (served.generation, set()))
        if generation != served.generation:
            sets = set()
        sets.add(_sent_set(plans))
        self._answered[served.model] = (served.generation, sets)


def _parameter_set(plans: CasePlans) -> bytes:
    """Digest of a case's parameters, before fitting them to a server.

    Messages and the length of the answer are left out; which parameters only our defaults set is in it.
    """
    values = {key: value for key, value in plans.asked.items() if key not in MAX_TOKENS_KEYS}
    limits = sorted({*MAX_TOKENS_KEYS} & plans.asked.keys())
    ours = sorted(plans.ours & values.keys())
    text = json.dumps([values, limits, plans.asks_for_lengths, ours], sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def _sent_set(plans: CasePlans) -> tuple[bytes, str | None]:
    """The parameter set, and the name of the limit sent.

    Where only our limit is refused, one that a suite sets was not tried.
    """
    return _parameter_set(plans), limit_key(plans.sent)


def _otherwise(plans: CasePlans, sample: Sample, *, as_asked: bool) -> Dialect | None:
    """Another dialect for a refused request; None: there is none.

    None, too, where the server hasn't refused it.
    """
    text = words_of_refusal(sample)
    if not text:
        return None
    dialect, sent = plans.dialect, plans.sent
    limit = limit_key(sent)
    found = refused(text, sent.keys() - _NO_PARAMETERS, limits=MAX_TOKENS_KEYS)
    ours = plans.ours & sent.keys()
    named = {name for name in ours - {*MAX_TOKENS_KEYS} if names(text, name)}
    left_out = found & ours - {*MAX_TOKENS_KEYS}
    if limit is not None and dialect.max_tokens_key is None:
        (other,) = (key for key in MAX_TOKENS_KEYS if key != limit)
        if limit in found or (not found and _other_name_may_do(plans, sample, text, limit, other, as_asked=as_asked)):
            return replace(dialect, max_tokens_key=other, refuses=dialect.refuses | left_out)
    if limit is not None and limit in found and limit in ours:
        return replace(dialect, max_tokens_key=None, refuses=dialect.refuses | {*MAX_TOKENS_KEYS} | left_out)
    if not found and len(named) == 1:
        left_out = frozenset(named)  # nothing else that we added could be meant
    return replace(dialect, refuses=dialect.refuses | left_out) if left_out else None


def _other_name_may_do(plans: CasePlans, sample: Sample, text: str, limit: str, other: str, *, as_asked: bool) -> bool:
    """Whether the other name of the answer limit may help.

    For a server that hasn't said so in known words.

    Where it speaks of the value, the case's own comes first; and what is only too large or too small by one name is so
    by the other.
    """
    if is_of_value(text, limit):
        return as_asked and (names(text, other) or not may_be_bounded(text, limit))
    if names(text, other):
        return True
    alone = not any(names(text, name) for name in plans.sent.keys() - _NO_PARAMETERS - {limit})
    return sample.status in _BAD_REQUEST and alone and names(text, limit)


def _own_request_may_do(plans: CasePlans, sample: Sample) -> bool:
    if sample.outcome in (Outcome.CONTEXT_EXCEEDED, Outcome.MODEL_NOT_FOUND):
        return False
    if refused(words_of_refusal(sample), _asked_for(plans), limits=_asked_for(plans)):
        return False  # it has them, too
    return sample.outcome in _MAY_BE_OF_THE_SHORT_ONE or sample.status in _MAY_BE_OF_ITS_FORM


def _asked_for(plans: CasePlans) -> frozenset[str]:
    """Parameters of a request that our defaults didn't set."""
    return frozenset(plans.sent.keys() - _NO_PARAMETERS - plans.ours)


def _has_worked(sample: Sample) -> bool:
    """Whether the request may have reached the model.

    Nothing that a server refuses does.
    """
    return sample.status is None or not 400 <= sample.status < 500


def _error(failures: Sequence[_Failure], served: Served, log: str) -> NoAnswerError:
    last = failures[-1][1]
    of_its_form = last.outcome in _MAY_BE_OF_THE_SHORT_ONE or last.status in _MAY_BE_OF_ITS_FORM
    return NoAnswerError(
        _problem(failures, served, log),
        of_case=of_its_form,
        worked=any(_has_worked(sample) for _, sample in failures),
        timed_out=last.outcome in TIMEOUTS,
        sample=last,
    )


def _problem(failures: Sequence[_Failure], served: Served, log: str) -> str:
    """Error text of the failed tries.

    It tells of the try that somebody can do something about, else of the first and the last.
    """
    words = f"{served.model_id} at {served.endpoint.base_url} gave no token when asked for one before measuring: "
    for plans, sample in failures:
        advice = _advice(plans, sample)
        if advice:
            words += f"{_outcome_words(sample, short=True)}. {advice}"
            break
    else:
        plans, sample = failures[-1]
        said = dict.fromkeys(_outcome_words(each, short=len(failures) > 1) for _, each in (failures[0], failures[-1]))
        words += "; sent differently: ".join(said) + _what_is_ours(plans, sample)
    return "\n".join(filter(None, (words, log)))


def _outcome_words(sample: Sample, *, short: bool) -> str:
    said = sample.evidence.detail if sample.evidence else ""
    if short and len(said) > _SHORT:
        said = f"{said[:_SHORT]}…"
    return sample.outcome.value + (f" ({said})" if said else "")


def _advice(plans: CasePlans, sample: Sample) -> str:
    """Advice on what a suite can change; empty where there is none."""
    if sample.outcome is Outcome.LENGTH_ZERO:
        return "If the model spends hidden tokens on reasoning, a higher max_tokens leaves it some for the answer"
    if sample.status in _WHO_ARE_YOU:
        return (
            "Does the server need a key, or a different one? --flperf-api-key-env, or api_key_env in a target, names "
            "the environment variable that holds it"
        )
    text = words_of_refusal(sample)
    if not plans.sent.get("stream") and only_streams(text):
        return "The server only streams: `stream: true` in the suite asks for streams instead of whole answers"
    if "stream" in plans.sent and refused(text, {"stream", "streaming", "Streaming"}):
        if not plans.sent["stream"]:
            return "The server refuses stream: `stream: null` in the suite removes it from the request"
        return "The server doesn't stream: `stream: false` in the suite, or --flperf-no-stream, measures whole answers"
    found = refused(text, plans.sent.keys() - _NO_PARAMETERS, limits=MAX_TOKENS_KEYS) - plans.ours
    if not found or _otherwise(plans, sample, as_asked=True) is not None:
        return ""
    limit = "max_tokens, by either name" if plans.dialect.max_tokens_key is not None else "max_tokens"
    listed = ", ".join(dict.fromkeys(limit if name in MAX_TOKENS_KEYS else name for name in sorted(found)))
    return f"The server refuses {listed}, which the suite asks for: null in its place removes it from the request"


def _what_is_ours(plans: CasePlans, sample: Sample) -> str:
    """Our defaults that a suite could take out of a request.

    For a server that doesn't say what is wrong; empty where they are not the reason.
    """
    added = sorted(plans.ours & plans.sent.keys())
    if not added or sample.status not in _MAY_BE_OF_ITS_FORM:
        return ""
    return f". Sent although no suite asks for it: {', '.join(added)}; null in a suite removes each from the request"
