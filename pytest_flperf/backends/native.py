"""Inference inside the server's process, without HTTP between: what a backend offers for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["NativeAnswer", "NativeChat"]


@dataclass(frozen=True, slots=True)
class NativeAnswer:
    """One answer, stamped where it was made.  All stamps are CLOCK_MONOTONIC, in ns."""

    sent_ns: int
    """When inference was asked for."""
    chunks: tuple[tuple[int, Mapping[str, Any]], ...]
    """When each chunk came, and what it held: a ``chat.completion.chunk`` as an OpenAI-compatible server sends it."""
    ended_ns: int
    error: str = ""
    """What the runtime said in place of an answer, or of its end."""
    timed_out: bool = False
    """Whether it was cancelled because the deadline had passed."""


class NativeChat(Protocol):
    """A loaded model that answers without HTTP."""

    def chat(self, body: Mapping[str, Any], deadline_s: float) -> NativeAnswer:
        """Answer a chat-completions request; returns when the answer has ended.

        Raises:
            BackendError: The process that runs the model has died or hangs.

        """
