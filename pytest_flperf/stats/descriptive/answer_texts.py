"""Notes on answer texts: reasoning tags, unknown fields, doubtful counts."""

from __future__ import annotations

from collections import Counter
from typing import Final

from pytest_flperf.results.notes import warning
from pytest_flperf.stats.descriptive.request_metrics import MOSTLY_AT_ONCE
from pytest_flperf.wire.sample import Sample

__all__ = ["AnswerTexts"]

_MOST_FIELDS: Final = 5
_MORE_CHUNKS: Final = 1.05
_WORTH_A_WORD: Final = 16
"""Tokens of an answer, from which on it is odd that it came at once: a few words often do."""


class AnswerTexts:
    """Counts over the answers of a case that ended ok."""

    def __init__(self) -> None:
        self._answers = self._tagged = self._at_once = self._doubtful = 0
        self._tokens = self._chunks = 0
        self._unknown: Counter[str] = Counter()

    def add(self, sample: Sample) -> None:
        """Take in an answer."""
        self._answers += 1
        self._tagged += sample.tagged
        if sample.unknown_fields:
            self._unknown.update(sample.unknown_fields[:_MOST_FIELDS])
        if not sample.stream or sample.output_tokens is None:
            return
        visible = sample.visible_tokens
        if visible is None:
            self._doubtful += 1
        elif visible >= _WORTH_A_WORD and _at_once(sample):
            self._at_once += 1
        if visible is not None and sample.tokens_source == "usage":
            self._tokens += visible
            self._chunks += len(sample.chunk_ns)

    def notes(self) -> list[str]:
        """Lines for a person, each thing once."""
        lines = []
        if self._at_once:
            lines.append(
                warning(
                    f"at least half the text of {self._of_all(self._at_once)} arrived at once (a proxy buffers, "
                    "or it came faster than it was read): they have no TPOT or gen_tps"
                )
            )
        if self._doubtful:
            lines.append(
                warning(
                    f"it is not known how many of the counted tokens {self._of_all(self._doubtful)} streamed (more "
                    "words came than tokens were counted, or only part of the reasoning): they have no TPOT or gen_tps"
                )
            )
        if self._tagged:
            lines.append(
                f"{self._of_all(self._tagged)} had reasoning in tags such as <think>: it is not part of the answer "
                "(reasoning_tags)"
            )
        lines += [
            warning(f"text in an unknown field, {name!r}, in {self._of_all(count)}: it was not counted")
            for name, count in self._unknown.most_common(_MOST_FIELDS)
        ]
        if self._chunks > self._tokens * _MORE_CHUNKS and self._chunks - self._tokens > self._answers:
            lines.append("more chunks than tokens: the server cuts its text into pieces that are not tokens")
        return lines

    def _of_all(self, count: int) -> str:
        return f"{count} of {self._answers} answers"


def _at_once(sample: Sample) -> bool:
    return sample.first_token_ns == sample.last_token_ns or sample.first_arrival_share >= MOSTLY_AT_ONCE
