"""Where the prompts of a scenario come from, if not from the suite as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pytest_flperf.suite.model import Message, Scalar
    from pytest_flperf.suite.prompts.lengths import Lengths
    from pytest_flperf.suite.prompts.rows import Row
    from pytest_flperf.suite.prompts.synthetic import LocalTokenizer
    from pytest_flperf.suite.prompts.templates import PromptTemplate

__all__ = ["PromptSource", "TracedRequest", "Variable"]

Variable: TypeAlias = "Scalar | tuple[Scalar, ...]"


@dataclass(frozen=True, slots=True)
class TracedRequest:
    """One request of a trace.  What the trace doesn't say is None."""

    due_s: float
    """From the begin of the trace."""
    messages: tuple[Message, ...] | None = None
    input_tokens: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class PromptSource:
    """What prompts are made of.  What a scenario doesn't use is empty, None or 0."""

    rows: tuple[Row, ...] = ()
    """Of a data set."""
    shuffled: bool = False
    """Whether they come in an order that the seed decides."""
    template: PromptTemplate | None = None
    variables: Mapping[str, Variable] = field(default_factory=dict)
    """For the template; of several values the seed decides which one a request has."""
    input_tokens: Lengths | None = None
    """Length of synthetic prompts."""
    output_tokens: Lengths | None = None
    """``max_tokens`` of each request."""
    tokenizer: LocalTokenizer | None = None
    """What lengths are counted with; without one, by the server's own ``usage``."""
    filler: str = "prose"
    shared_prefix_tokens: int = 0
    """Length of a text that stands, always the same, at the begin of all prompts of a case."""
    trace: tuple[TracedRequest, ...] = ()
    turns: tuple[str, ...] = ()
    """The user's messages of a session."""
    own_lengths: bool = True
    """Whether lengths of answers in data sets and traces count; not where the command line sets one."""

    @property
    def has_lengths(self) -> bool:
        """Whether it says of any request how long the answer may be."""
        if not self.own_lengths:
            return False
        if self.output_tokens is not None or any(row.max_tokens for row in self.rows):
            return True
        return any(each.max_tokens for each in self.trace)
