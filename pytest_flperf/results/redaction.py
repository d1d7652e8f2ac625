"""Takes secrets out of what is kept and shown."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["MASK", "SHORTEST_SECRET", "Redactor", "environment_secrets"]

MASK: Final = "***"
SHORTEST_SECRET: Final = 8
"""What is shorter is a placeholder (``none``, ``EMPTY``): masking it would maim ordinary text."""
_SLACK: Final = 1 << 16
_KEY_VARIABLES: Final = re.compile(
    r"(?:^|_)(?:API_?KEY|ACCESS_?KEY|SECRET_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)\Z", re.IGNORECASE
)
_KEY_LIKE: Final = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])(?![A-Za-z]:\\)[^\s/]\S{11,}")

# Every repetition is bounded or over a class that what follows is not in, so that matching time stays linear.
_SHAPES: Final = (
    # scheme://user:password@host
    (re.compile(r"(?P<keep>\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://)[^\s/?#@'\"<>]{1,512}@"), rf"\g<keep>{MASK}@"),
    (re.compile(r"(?P<keep>\b(?:Bearer|Basic)[ \t]{1,4})[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\g<keep>{MASK}"),
    # api_key=…, "x-api-key": "…", password: …
    (
        re.compile(
            r"(?P<keep>(?:api[_-]?key|access[_-]?key|access[_-]?token|auth[_-]?token|refresh[_-]?token|client[_-]?secret"
            r"|passwd|password|authorization)(?:\\?[\"'])?\s{0,4}[=:]\s{0,4}(?:\\?[\"'])?)"
            r"(?!(?:Bearer|Basic)\b|\*\*\*)[^\s\"'&,;<>)}\]\\]{4,}",
            re.IGNORECASE,
        ),
        rf"\g<keep>{MASK}",
    ),
    # keys that tell by their beginning: OpenAI, Anthropic, Hugging Face, GitHub, GitLab, Slack, Google, AWS
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}|hf_[A-Za-z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{12,}"
            r"|github_pat_[A-Za-z0-9_]{12,}|glpat-[A-Za-z0-9_-]{12,}|xox[abprs]-[A-Za-z0-9-]{10,}"
            r"|AIza[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{12,})"
        ),
        MASK,
    ),
)


class Redactor:
    """Masks the secrets it was given and what looks like one.

    A secret is found as it is, as JSON would write it, and percent-encoded.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        """Take exact secrets (API keys); None and what is shorter than eight characters are passed over."""
        variants: set[str] = set()
        for secret in secrets:
            if secret is not None and len(secret.strip()) >= SHORTEST_SECRET:
                bare = secret.strip()
                variants |= {bare, json.dumps(bare)[1:-1], urllib.parse.quote(bare, safe="", errors="replace")}
        # The longest first: a secret may be the beginning of another.
        self._exact = tuple(sorted(variants, key=len, reverse=True))
        self._exact_bytes = tuple(variant.encode("utf-8", "surrogatepass") for variant in self._exact)
        self._longest = max(map(len, self._exact), default=0)

    def text(self, text: str, limit: int | None = None) -> str:
        """``text`` without secrets, cut to ``limit`` characters; the work is bounded by the limit, too."""
        cut = text
        if limit is not None and len(text) > limit + _SLACK + self._longest:
            cut = text[: limit + _SLACK + self._longest]
        for secret in self._exact:
            cut = cut.replace(secret, MASK)
        for shape, replacement in _SHAPES:
            cut = shape.sub(replacement, cut)
        if limit is None:
            return cut
        # Where the cut went through a secret, its first part stands at the very end: masks may have moved it forward.
        if len(text) > limit + _SLACK + self._longest:
            cut = cut[: max(0, len(cut) - self._longest - 512)]
        return cut[:limit]

    def exact(self, text: str) -> str:
        """``text`` without the exact secrets, and otherwise as it is: what a model wrote is no place to guess."""
        for secret in self._exact:
            text = text.replace(secret, MASK)
        return text

    def data(self, content: bytes) -> bytes:
        """``content`` with the exact secrets overwritten by as many ``*``: offsets and lengths stay true."""
        for secret in self._exact_bytes:
            if secret in content:
                content = content.replace(secret, b"*" * len(secret))
        return content

    def value(self, value: Any) -> Any:
        """A nested structure of builtins with every text in it (keys, too) redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.data(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def environment_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables that hold keys by their names (``…_API_KEY``, ``…_TOKEN`` …) and look like keys.

    A value of letters alone (``disabled``), a short one, or a path is none: masking it would maim ordinary text.
    """
    return tuple(
        value.strip()
        for name, value in environment.items()
        if _KEY_VARIABLES.search(name) and _KEY_LIKE.fullmatch(value.strip())
    )
