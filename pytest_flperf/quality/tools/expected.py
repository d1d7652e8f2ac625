"""Expected calls of a suite, and the score of an answer's calls by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from pytest_flperf.quality.tools.answered import opened
from pytest_flperf.quality.tools.assignment import assigned, in_order
from pytest_flperf.quality.tools.conversations import TurnScore, turn_score
from pytest_flperf.quality.tools.matchers import ArgumentMatcher, FormError, argument_matcher, share_of_arguments
from pytest_flperf.quality.tools.played import PlayedResults, without_results
from pytest_flperf.quality.tools.understood import Call, CallOutcome, Understood, understood

__all__ = [
    "BESIDE_CALLS",
    "CALLS",
    "FEWEST",
    "MATCHES",
    "MOST_EXPECTED",
    "MOST_TURNS",
    "ORDERS",
    "SCORES",
    "TOOLS",
    "CallScore",
    "calls_problem",
    "expects_calls",
    "score_calls",
    "with_results",
    "with_tools",
    "without_tools",
]

CALLS: Final = "calls"
"""Key of the expected calls in an expectation."""
TOOLS: Final = "tools"
"""Key of the names of the offered tools; a suite has it from its own ``tools``."""
RESULTS: Final = "tool_results"
"""Key of the calls that have a played result; a suite has it from its own ``tool_results``."""
FEWEST: Final = "turns"
"""Key of the turns of the shortest right conversation."""
BESIDE_CALLS: Final = frozenset({"order", "score", "match", FEWEST, TOOLS, RESULTS})
"""Keys that stand beside the expected calls."""
ORDERS: Final = ("any", "exact", "subsequence")
SCORES: Final = ("strict", "weighted")
MATCHES: Final = ("exact", "normalised")
MOST_EXPECTED: Final = 100
"""Most calls that can be expected of an answer."""
MOST_TURNS: Final = 100
"""Most turns of a conversation."""
_MATCHED: Final = 100
"""Of one function, calls that are matched with expected ones; further ones are needless."""
_MOST_PAIRS: Final = 10_000
_TOOL, _ARGUMENTS = 0.6, 0.4
"""Parts of a weighted score."""
_SHOWN: Final = 60
_NO_ARGUMENTS: Final = -1.0
_OUTCOMES: Final = tuple(CallOutcome)


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """One expected call."""

    name: str
    arguments: Mapping[str, ArgumentMatcher] | None
    """None: any will do."""


class CallScore(NamedTuple):
    """Score of an answer's calls, with its parts."""

    score: float
    tool: float
    """Share of right tools among the expected and the needless ones; 1 for right abstention."""
    arguments: float | None
    """Share of right arguments, likewise; None where no call is expected."""
    outcome: CallOutcome
    as_json: bool = False
    """Whether it is malformed because JSON came as text."""
    turns: TurnScore | None = None
    """Of a conversation; its score is then the completion."""

    def of(self, metric: str) -> float | None:
        """Value of ``tool_right``, ``argument_right``, ``abstained`` or ``malformed``; None where it has none."""
        return {
            "tool_right": self.tool,
            "argument_right": self.arguments,
            "abstained": float(self.outcome is CallOutcome.ABSTAINED),
            "malformed": float(self.outcome is CallOutcome.MALFORMED),
        }[metric]

    def numbers(self) -> list[float]:
        """The parts as numbers, for :meth:`of_numbers`."""
        arguments = _NO_ARGUMENTS if self.arguments is None else self.arguments
        turns = () if self.turns is None else map(float, self.turns)
        return [self.tool, arguments, float(_OUTCOMES.index(self.outcome)), float(self.as_json), *turns]

    def whole(self, mean: float) -> float:
        """Score of the whole answer by the mean over its checks: of a conversation its turns count."""
        return min(max(mean, 0.0), 1.0) if self.turns is None else self.turns.score(mean)

    @classmethod
    def of_numbers(cls, score: float, numbers: Sequence[float]) -> Self:
        """A score and its parts."""
        tool, arguments, outcome, as_json, *turns = numbers
        return cls(
            score,
            tool,
            None if arguments == _NO_ARGUMENTS else arguments,
            _OUTCOMES[int(outcome)],
            bool(as_json),
            TurnScore.of_numbers(turns) if turns else None,
        )


class _Pair(NamedTuple):
    tool: float
    arguments: float

    @property
    def weight(self) -> float:
        return _TOOL * self.tool + _ARGUMENTS * self.arguments


_NOTHING: Final = _Pair(0.0, 0.0)


def calls_problem(expected: Mapping[str, Any]) -> str:
    """Problem of an expectation's calls and their options; empty if none.

    It begins with the place: ``calls[0].args.city: expected …``.  Patterns are not compiled.
    """
    for key, allowed in (("order", ORDERS), ("score", SCORES), ("match", MATCHES)):
        if key in expected and expected[key] not in allowed:
            return f"{key}: expected {' or '.join(map(repr, allowed))}"
    fewest = expected.get(FEWEST, 1)
    if not isinstance(fewest, int) or isinstance(fewest, bool) or not 1 <= fewest <= MOST_TURNS:
        return f"{FEWEST}: expected a whole number from 1 to {MOST_TURNS}"
    try:
        _expected_calls(expected, compiled=False)
    except FormError as error:
        return str(error)
    return ""


def expects_calls(expected: Mapping[str, Any] | None) -> bool:
    """Whether an expectation says which calls, or that none, shall be made."""
    groups = () if expected is None else expected.get("checks", (expected,))
    return any(isinstance(each, Mapping) and CALLS in each for each in groups)


def with_tools(expected: Mapping[str, Any], tools: Sequence[str]) -> dict[str, Any]:
    """The expectation with the names of the tools that are offered, wherever it has expected calls."""
    return _with(expected, TOOLS, list(tools))


def with_results(expected: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The expectation with the calls that have a played result, likewise."""
    return _with(expected, RESULTS, without_results(results))


def _with(expected: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    if CALLS in expected:
        return {**expected, key: value}
    several = expected.get("checks")
    if not isinstance(several, list):
        return dict(expected)
    return {**expected, "checks": [_with(each, key, value) if isinstance(each, Mapping) else each for each in several]}


def without_tools(expected: Mapping[str, Any]) -> dict[str, Any]:
    """The expectation as it was written, for a person: without tools and results of its scenario."""
    found = {key: value for key, value in expected.items() if key not in (TOOLS, RESULTS)}
    several = found.get("checks")
    if isinstance(several, list):
        found["checks"] = [without_tools(each) if isinstance(each, Mapping) else each for each in several]
    return found


def score_calls(expected: Mapping[str, Any]) -> Callable[[str], CallScore]:
    """Scorer of answers by expected calls.

    Answers are texts of :func:`~pytest_flperf.quality.tools.answered.enclosed`.  Raises FormError for another form,
    and the library's error for an invalid pattern.

    Args:
        expected: ``calls`` with ``order``, ``score``, ``match`` and the names of the ``tools``.

    """
    calls = _expected_calls(expected, compiled=True)
    order, weighted = expected.get("order", "any"), expected.get("score") == "weighted"
    tools = frozenset(expected.get(TOOLS, ())) | {each.name for each in calls}
    results = PlayedResults(expected.get(RESULTS, ()), frozenset(expected.get(TOOLS, ())))
    fewest = expected.get(FEWEST, len(calls) + 1)

    def score(answer: str) -> CallScore:
        given = opened(answer)
        found = understood(given, tools)
        columns: list[int | None] = []
        if not calls:
            right = float(found.outcome is CallOutcome.ABSTAINED)
            scored = CallScore(right, right, None, found.outcome, found.as_json)
        elif found.outcome is not CallOutcome.CALLED:
            scored = CallScore(0.0, 0.0, 0.0, found.outcome, found.as_json)
        else:
            pairs = _pairs(calls, found.calls, order)
            columns = [column for _, column in pairs]
            needed_only = order == "subsequence" or bool(given.turns)
            count = len(calls) if needed_only else max(len(calls), found.total)
            scored = _scored([pair for pair, _ in pairs], count, found, weighted=weighted)
        if given.turns:
            matched = {each for each in columns if each is not None}
            scored = scored._replace(turns=turn_score(given, found, results, fewest, matched))
        return scored

    return score


def _scored(pairs: Sequence[_Pair], count: int, found: Understood, *, weighted: bool) -> CallScore:
    tool = sum(each.tool for each in pairs) / count
    arguments = sum(each.arguments for each in pairs) / count
    is_right = count == len(pairs) and all(each == (1.0, 1.0) for each in pairs)
    score = _TOOL * tool + _ARGUMENTS * arguments if weighted and not is_right else float(is_right)
    return CallScore(score, tool, arguments, found.outcome)


def _pairs(calls: Sequence[ExpectedCall], given: Sequence[Call], order: str) -> list[tuple[_Pair, int | None]]:
    """What each expected call got, and the place of the call that it got it from; None: none of its name."""
    if order == "exact":
        made = [_placed(_pair(one, other), place) for place, (one, other) in enumerate(zip(calls, given, strict=False))]
        return [*made, *([(_NOTHING, None)] * (len(calls) - len(made)))]
    if order == "subsequence":
        given = given[: _MOST_PAIRS // len(calls)]
        table = [[_pair(one, other) for other in given] for one in calls]
        columns = in_order(len(calls), len(given), lambda row, column: table[row][column].weight)
        return [(_NOTHING, None) if at is None else _placed(table[row][at], at) for row, at in enumerate(columns)]
    pairs: list[tuple[_Pair, int | None]] = []
    for name in dict.fromkeys(each.name for each in calls):
        rows = [each for each in calls if each.name == name]
        named = [(place, each) for place, each in enumerate(given) if each.name == name][:_MATCHED]
        table = [[_pair(one, other) for _, other in named] for one in rows]
        columns = assigned([[each.weight for each in row] for row in table])
        pairs += [
            (_NOTHING, None) if at is None else _placed(table[row][at], named[at][0]) for row, at in enumerate(columns)
        ]
    return pairs


def _placed(pair: _Pair, place: int) -> tuple[_Pair, int | None]:
    return pair, place if pair.tool else None


def _pair(expected: ExpectedCall, given: Call) -> _Pair:
    if expected.name != given.name:
        return _NOTHING
    if expected.arguments is None:
        return _Pair(1.0, 1.0)
    return _Pair(1.0, share_of_arguments(expected.arguments, given.arguments))


def _expected_calls(expected: Mapping[str, Any], *, compiled: bool) -> tuple[ExpectedCall, ...]:
    calls, match = expected[CALLS], expected.get("match", "exact")
    if not isinstance(calls, list) or len(calls) > MOST_EXPECTED:
        raise FormError(CALLS, f"expected a list of at most {MOST_EXPECTED} calls; [] means that none is right")
    return tuple(_call(each, f"{CALLS}[{index}]", match, compiled=compiled) for index, each in enumerate(calls))


def _call(value: Any, place: str, match: str, *, compiled: bool) -> ExpectedCall:
    if not isinstance(value, Mapping):
        raise FormError(place, "expected a mapping with name and args")
    unknown = [str(key) for key in value if key not in {"name", "args"}]
    if unknown:
        raise FormError(place, f"unknown key {unknown[0][:_SHOWN]!r}, expected name and args")
    name, arguments = value.get("name"), value.get("args")
    if not isinstance(name, str) or not name.strip():
        raise FormError(f"{place}.name", "expected the name of a tool")
    if "args" not in value:
        return ExpectedCall(name, None)
    if not isinstance(arguments, Mapping):
        raise FormError(f"{place}.args", "expected a mapping of arguments to allowed values")
    return ExpectedCall(
        name,
        {
            str(key): argument_matcher(each, match, f"{place}.args.{str(key)[:_SHOWN]}", compiled=compiled)
            for key, each in arguments.items()
        },
    )
