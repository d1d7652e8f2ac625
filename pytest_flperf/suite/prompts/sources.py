"""Prompt sources: data sets, templates, traces, synthetic text, chat turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pytest_flperf.suite.messages import Message, Scalar
    from pytest_flperf.suite.prompts.lengths import Lengths
    from pytest_flperf.suite.prompts.rows import Row
    from pytest_flperf.suite.prompts.synthetic import LocalTokenizer
    from pytest_flperf.suite.prompts.templates import PromptTemplate

__all__ = ["PromptSource", "TracedRequest", "Variable"]

Variable: TypeAlias = "Scalar | tuple[Scalar, ...]"


@dataclass(frozen=True, slots=True)
class TracedRequest:
    """One request of a trace; unknown fields are None."""

    due_s: float
    """Seconds from the start of the trace."""
    messages: tuple[Message, ...] | None = None
    input_tokens: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class PromptSource:
    """Prompt source of a scenario; unused fields are empty, None or 0."""

    rows: tuple[Row, ...] = ()
    """Rows of a data set."""
    expects: bool = False
    """Whether rows say what their answers shall be."""
    shuffled: bool = False
    """Whether the seed shuffles them."""
    template: PromptTemplate | None = None
    variables: Mapping[str, Variable] = field(default_factory=dict)
    """For the template; of a list of values the seed chooses one for each request."""
    input_tokens: Lengths | None = None
    """Length of synthetic prompts."""
    output_tokens: Lengths | None = None
    """``max_tokens`` of each request."""
    tokenizer: LocalTokenizer | None = None
    """Counts lengths; without one, the server's own ``usage`` does."""
    filler: str = "prose"
    shared_prefix_tokens: int = 0
    """Length of the common text at the start of all prompts of a case."""
    trace: tuple[TracedRequest, ...] = ()
    turns: tuple[str, ...] = ()
    """The user's messages of a session."""
    own_lengths: bool = True
    """Whether answer lengths in data sets and traces apply; not where the command line sets one."""

    @property
    def has_lengths(self) -> bool:
        """Whether it limits the answer length of any request."""
        if not self.own_lengths:
            return False
        if self.output_tokens is not None or any(row.max_tokens for row in self.rows):
            return True
        return any(each.max_tokens for each in self.trace)
