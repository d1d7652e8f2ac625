"""Request plans: verifying request, warm-up, measured requests."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pytest_flperf.backends.base import BackendError, Capabilities, Served
from pytest_flperf.loadgen.plan import OPEN_END, Destination, Entry, LoadSchedule, RequestPlan
from pytest_flperf.measurement.followups import Retries, Sessions
from pytest_flperf.measurement.load_schedules import closed_loop, deadlines, open_loop, whole_ns
from pytest_flperf.measurement.parameters import (
    AS_USUAL,
    Dialect,
    fitted,
    limit_key,
    limits_answers,
    our_defaults,
    silent_cut,
    spoken,
)
from pytest_flperf.measurement.request_prompts import RequestPrompts, most_turns
from pytest_flperf.measurement.tool_turns import ToolTurns
from pytest_flperf.results.serving import Adjustment
from pytest_flperf.suite.generator import Ask, PromptGenerator
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.request_body import MAX_TOKENS, extra_body, request_body
from pytest_flperf.wire.decode import Decoder, decode
from pytest_flperf.wire.endpoint import Endpoint, EndpointError, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory, RequestTemplate
from pytest_flperf.wire.tls import TlsOptions, tls_problem

__all__ = ["CasePlans", "target_of"]

_PLAIN: Final = LoadSchedule()
_NOT_KNOWN: Final = Capabilities()
_TRUSTING_THE_SYSTEM: Final = TlsOptions()

_MIB: Final = 1 << 20
_FEWEST_TO_GIVE_UP: Final = 3
_MOST_TO_GIVE_UP: Final = 20
_VERIFY_TOKENS: Final = 16
_VERIFY_NUMBER: Final = 1 << 29
"""Number of a case's own request that is sent to verify: its unique prefix is no other request's."""
_OTHER_SIDES: Final = 1 << 28
"""From which number on requests are counted that must not come out of the cache that others filled."""
_HALF: Final = 0.5


def target_of(endpoint: Endpoint, tls: TlsOptions = _TRUSTING_THE_SYSTEM) -> Destination:
    """Target of an endpoint, with its resolved addresses.

    Raises BackendError for a host without an address, and for certificates that can't be used.
    """
    try:
        addresses = resolve(endpoint)
    except EndpointError as error:
        raise BackendError(f"{endpoint.base_url}: {error}") from error
    if not endpoint.tls:
        return Destination(addresses)
    # Nobody would read the load process's complaint, which has the same files.
    tls = tls.at_home()
    try:
        tls.context()
    except (OSError, ValueError) as error:
        raise BackendError(f"{endpoint.base_url}: {tls_problem(tls, error)}") from error
    return Destination(addresses, endpoint.host, tls)


class CasePlans:
    """The plans of one case against one served model."""

    def __init__(
        self,
        case: Case,
        served: Served,
        factory: RequestFactory,
        target: Destination,
        seed: str,
        known: Capabilities = _NOT_KNOWN,
        dialect: Dialect = AS_USUAL,
    ) -> None:
        """Fit the case's request to its server.

        ``known`` is what is known of its kind, ``dialect`` what was found out about it.
        """
        self._case = case
        self._served = served
        self._factory = factory
        self._target = target
        self._seed = seed
        self._settings = case.scenario.settings
        self._deadlines = deadlines(self._settings.timeouts)
        self._answer_bytes = round(self._settings.max_answer_mb * _MIB)
        self._known = known
        self.dialect = dialect
        """How the server wants its requests."""
        body, extra = request_body(case, served.model_id), extra_body(case)
        if self._settings.prompt_cache == "avoid":
            extra = {**served.request_defaults, **extra}
        self.ours = our_defaults(case, served.request_defaults)
        """Parameters that no suite and nobody else asked for."""
        self.asked: Mapping[str, Any] = {key: value for key, value in {**body, **extra}.items() if key != "messages"}
        """The parameters as usual, before anything is left out or renamed for this server."""
        self.asks_for_lengths = limits_answers(case, known, frozenset())  # of answers, in requests as usual
        known = dialect.corrected(known)
        body, extra, spoken_otherwise = spoken(body, extra, dialect, self.ours)
        self._fitted = fitted(body, extra, known, served.backend, served.max_output_tokens)
        self._adjustments = spoken_otherwise + self._fitted.adjustments
        self._cut = silent_cut(body, extra, known)
        self._limits_answers = limits_answers(case, known, dialect.refuses & self.ours)
        key = limit_key(self._fitted.body, self._fitted.extra) or dialect.max_tokens_key
        key = key or self._settings.max_tokens_key or MAX_TOKENS
        self._template: RequestTemplate = factory.template(self._fitted.body, self._fitted.extra, key)
        self._sessions: Sessions | ToolTurns | None = None
        self._turns = most_turns(case)
        self._retries: Retries | None = None
        self.asker = PromptGenerator(case, seed)
        """What requests ask."""
        self.prompts = RequestPrompts(case, self.asker, self.refused)
        """Prompts and rows of the measured requests."""

    def at(self, case: Case) -> CasePlans:
        """Plans of another case on the same model.

        They count tokens as these plans have learnt.
        """
        return self._again(case, self.dialect)

    def spoken_as(self, dialect: Dialect) -> CasePlans:
        """Plans of this case in another dialect."""
        return self._again(self._case, dialect)

    def _again(self, case: Case, dialect: Dialect) -> CasePlans:
        plans = CasePlans(case, self._served, self._factory, self._target, self._seed, self._known, dialect)
        plans.asker.learn_from(self.asker)
        return plans

    @property
    def sent(self) -> Mapping[str, Any]:
        """JSON of a request.

        Messages, and lengths that a data set has, differ from one request to the next.
        """
        return self._template.document

    def verify(self, phase: Phase, *, as_asked: bool = False) -> RequestPlan:
        """Plan of one verifying request of the case's kind.

        Its answer proves that the model answers such requests.

        Args:
            phase: Why it is sent.
            as_asked: The case's own request, in place of one with a short question and a short answer.

        """
        if as_asked:
            return self._plan([self._entry(phase, 0, self.asker.sample(_VERIFY_NUMBER))], 1, 1)
        return self._plan([self._entry(phase, 0, Ask((Message("user", "Say hello."),), _VERIFY_TOKENS))], 1, 1)

    def warmup(self, *, other_side: bool = False) -> RequestPlan:
        """Plan of the warm-up requests.

        ``other_side``: for the side that is measured in turn with a case like this one.
        """
        total = self._settings.warmup_requests
        first_number = _OTHER_SIDES if other_side else 0
        entries = self._entries(Phase.WARMUP, itertools.repeat(None, total), first_number, -total)
        return self._plan(entries, self._settings.concurrency, total)

    def calibrating(self, words: int, *, as_asked: bool = False) -> RequestPlan:
        """Plan of one request, to learn how the server counts tokens.

        Its prompt has ``words`` pieces of filler.

        Its answer is one token long, or as long as the case's own answers (``as_asked``).
        """
        ask = self.asker.calibrating(words)
        return self._plan([self._entry(Phase.CALIBRATE, 0, replace(ask, max_tokens=None) if as_asked else ask)], 1, 1)

    @property
    def streams(self) -> int:
        """Streams of a closed loop."""
        return self._settings.concurrency

    @property
    def refused(self) -> frozenset[str]:
        """Defaults of ours that are not sent because the server refuses them."""
        return self.dialect.refuses & self.ours

    @property
    def avoids_cache(self) -> bool:
        """Whether each prompt has a prefix of its own."""
        return self._settings.prompt_cache == "avoid"

    def shares_cache_with(self, other: CasePlans) -> bool:
        """Whether both plans may hit the same prompt cache.

        They may where one loaded model answers both: it may remember from one what the other sends again.
        """
        ours, theirs = self._served, other._served
        if (ours.backend, ours.model_id) != (theirs.backend, theirs.model_id):
            return False
        return self._target == other._target or ours.native is not None or theirs.native is not None

    def of_turns(self, other: CasePlans, turns: Sequence[tuple[int, int]], requests: tuple[int, int]) -> RequestPlan:
        """Plan of turns: requests of this case and the other side.

        One turn follows the other.

        Args:
            other: The plans of the other side.
            turns: Pair and side (0: this case) of each.  Several of them in one plan follow each other only where both
                sides have one stream.
            requests: How many a turn of each side has.

        """
        sides = (self, other)
        entries = [(side, pair * requests[side] + place) for pair, side in turns for place in range(requests[side])]
        shared = self.shares_cache_with(other)
        made = (sides[side]._turn_entry(index, side, shared_cache=shared) for side, index in entries)
        think_ns = whole_ns(self._settings.load.think_time_s)
        streams = max(sides[side].streams for _, side in turns)
        plan = self._plan(made, streams, len(entries), LoadSchedule(think_ns=think_ns), think_ns)
        return replace(plan, targets=(self._target, other._target))

    def _turn_entry(self, index: int, side: int, *, shared_cache: bool) -> Entry:
        """Request of a turn, byte for byte the same on both sides.

        They differ only where the request would come out of the cache that the other side filled.

        Then prefixes of as many tokens tell the two apart, and chance says which side has which.
        """
        number = index + self._settings.warmup_requests
        if shared_cache and side != self._swapped(index):
            number += _OTHER_SIDES
        return replace(self._entry(Phase.MEASURED, index, self.asker.ask(index, number)), target=side)

    def _swapped(self, index: int) -> bool:
        """Coin toss for the prefixes, the same for both sides."""
        return random.Random(f"{self._seed}/{self._case.nodeid}/{index}/prefix").random() < _HALF  # noqa: S311

    @property
    def adjustments(self) -> tuple[Adjustment, ...]:
        """Parameters that are changed or left out."""
        return self._adjustments

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for a person on how the plans went."""
        broken = self._sessions.broken if self._sessions is not None else 0
        what = "session" if self._turns == 1 else "conversation"
        ended = f"{broken} {what}{'s' * (broken > 1)} ended early because a turn failed" if broken else ""
        waits = self._retries.notes if self._retries is not None else ()
        return tuple(filter(None, (self._cut, ended, *waits, *self.asker.notes)))

    def measured(self, decoder: Decoder = decode) -> RequestPlan:
        """Plan of the measured requests, with ramp-up, cool-down and retries.

        ``decoder`` decodes the answers on which further requests depend.
        """
        kind = self._settings.load.kind
        if kind == "search":
            raise ValueError(
                "a search is not a single plan: pytest_flperf.measurement.capacity_search plays one load after another"
            )
        if kind == "session":
            plan = self._chats(decoder)
        elif self._turns > 1:
            plan = self._tool_turns(decoder)
        else:
            plan = self._closed() if kind == "closed" else self._open()
        if not self._settings.retries:
            return plan
        backoff_ns, longest_ns = whole_ns(self._settings.retry_backoff_s), self._deadlines.total_ns
        retries = self._retries = Retries(self._settings.retries, backoff_ns, longest_ns, decoder)
        goes_on = plan.follow

        def follow(exchange: Exchange) -> Entry | None:
            again = retries.after(exchange)
            if again is not None or goes_on is None:
                return again
            following = goes_on(exchange)
            return retries.watch(following) if following is not None else None

        return replace(
            plan,
            entries=retries.watched(plan.entries),
            follow=follow,
            longest_pause_ns=max(plan.longest_pause_ns, retries.longest_pause_ns),
        )

    def _chats(self, decoder: Decoder) -> RequestPlan:
        """Closed loop of sessions, as many at a time as streams."""
        settings = self._settings

        def entry(index: int, ask: Ask) -> Entry:
            return self._entry(Phase.MEASURED, index, ask)

        sessions = Sessions(self.asker, entry, settings.warmup_requests, settings.iterations, decoder)
        self._sessions = sessions
        plan = self._closed()
        return replace(
            plan,
            total=sessions.count or OPEN_END,
            entries=sessions.openings(),
            follow=sessions.after,
            window=settings.concurrency,
        )

    def _tool_turns(self, decoder: Decoder) -> RequestPlan:
        """Closed loop of conversations with tools, as many at a time as streams; ``iterations`` counts them."""
        settings, plan = self._settings, self._closed()

        def entry(index: int, ask: Ask) -> Entry:
            return self._entry(Phase.MEASURED, index, ask)

        turns = ToolTurns(self.asker, entry, settings.warmup_requests, self._turns, decoder)
        self._sessions = turns
        numbers = itertools.islice(itertools.count(), plan.total)
        return replace(plan, entries=turns.openings(numbers), follow=turns.after, window=settings.concurrency)

    def _closed(self) -> RequestPlan:
        settings = self._settings
        total, schedule = settings.iterations or OPEN_END, closed_loop(settings.load)
        entries = self._entries(Phase.MEASURED, itertools.repeat(None, total), settings.warmup_requests, 0)
        return self._plan(entries, settings.concurrency, total, schedule, max(schedule.think_ns, schedule.stagger_ns))

    def _open(self) -> RequestPlan:
        settings, loop = self._settings, open_loop(self._case, self._seed)
        entries = self._entries(Phase.MEASURED, loop.due_ns(), settings.warmup_requests, 0)
        streams = min(settings.load.max_in_flight, loop.total)
        return self._plan(entries, streams, loop.total, loop.schedule, loop.longest_pause_ns)

    def _plan(
        self,
        entries: Iterator[Entry] | list[Entry],
        concurrency: int,
        total: int,
        schedule: LoadSchedule = _PLAIN,
        longest_pause_ns: int = 0,
    ) -> RequestPlan:
        lost = min(concurrency, _MOST_TO_GIVE_UP) if schedule.open_ahead else concurrency
        return RequestPlan(
            targets=(self._target,),
            deadlines=self._deadlines,
            concurrency=concurrency,
            total=total,
            entries=entries,
            give_up_after=max(_FEWEST_TO_GIVE_UP, lost),
            schedule=schedule,
            longest_pause_ns=longest_pause_ns,
            answer_bytes=self._answer_bytes,
            reasoning_tags=self._settings.reasoning_tags,
        )

    def _entries(self, phase: Phase, due_ns: Iterable[int | None], offset: int, first: int) -> Iterator[Entry]:
        """A request for each due time; None: when a stream is free.

        Args:
            phase: Why they are sent.
            due_ns: When each is due.
            offset: How many requests of the case there were before.
            first: Place of the first one among the measured ones.

        """
        for index, at_ns in enumerate(due_ns):
            yield self._entry(phase, index, self.asker.ask(index + first, index + offset), at_ns)

    def _entry(self, phase: Phase, index: int, ask: Ask, due_ns: int | None = None) -> Entry:
        messages = [each.sent() for each in ask.messages]
        longest, most = ask.max_tokens if self._limits_answers else None, self._fitted.longest_answer
        if longest is not None and most is not None:
            longest = min(longest, most)
        request = self._template.render(messages, longest, ask.tools)
        return Entry(index, phase, 0, bool(self._settings.stream), request, due_ns)
