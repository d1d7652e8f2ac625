"""Takes secrets out of what is kept and shown."""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

__all__ = ["MASK", "SHORTEST_SECRET", "Redactor", "environment_secrets"]

MASK: Final = "***"
SHORTEST_SECRET: Final = 8
"""What is shorter is a placeholder (``none``, ``EMPTY``): masking it would maim ordinary text."""
_SLACK: Final = 1 << 16
_LEAST_HALF: Final = 6
"""Characters of a secret at a cut that are worth masking."""
_LEVELS: Final = 4
"""Of JSON inside texts of JSON, plus one."""
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")
_FRAME: Final = re.compile(rb"\r\n[0-9a-fA-F]{1,8}[ \t]{0,4}\r\n")
_KEY_VARIABLES: Final = re.compile(
    r"(?:^|_)(?:(?:API|ACCESS|SECRET|PRIVATE|MASTER|AUTH)_?KEY|TOKEN|SECRET|PASSWORD|PASSWD)\Z", re.IGNORECASE
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
    # …?key=… and …&sig=… in a URL
    (
        re.compile(
            r"(?P<keep>[?&](?:key|token|secret|sig|signature)=)(?!\*\*\*)[^\s\"'&,;<>)}\]\\]{4,}", re.IGNORECASE
        ),
        rf"\g<keep>{MASK}",
    ),
    # keys that tell by their beginning: OpenAI, Anthropic, Hugging Face, GitHub, GitLab, Slack, Google, AWS, Groq, xAI,
    # NVIDIA, Perplexity, Replicate
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}|hf_[A-Za-z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{12,}"
            r"|github_pat_[A-Za-z0-9_]{12,}|glpat-[A-Za-z0-9_-]{12,}|xox[abprs]-[A-Za-z0-9-]{10,}"
            r"|AIza[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{12,}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|nvapi-[A-Za-z0-9_-]{20,}"
            r"|pplx-[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,})"
        ),
        MASK,
    ),
)


class Redactor:
    """Masks the secrets it was given and what looks like one.

    A secret is found as it is, as JSON, HTML and URLs write it, and in base64, alone or behind a user's name.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        """Take exact secrets (API keys); None and what is shorter than eight characters are passed over."""
        bare = {secret.strip() for secret in secrets if secret is not None and len(secret.strip()) >= SHORTEST_SECRET}
        variants = {variant for secret in bare for variant in _variants(secret)}
        # The longest first: a secret may be the beginning of another.
        self._exact = tuple(sorted(variants, key=lambda variant: (-len(variant), variant)))
        self._exact_bytes = tuple(variant.encode("utf-8", "surrogatepass") for variant in self._exact)
        self._over_chunks = tuple(_over_chunks(secret.encode("utf-8", "surrogatepass")) for secret in sorted(bare))
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
            return self._without_half(cut)
        # Where the cut went through a secret, its first part stands at the very end: masks may have moved it forward.
        if len(text) > limit + _SLACK + self._longest:
            cut = cut[: max(0, len(cut) - self._longest - 512)]
        return cut[:limit]

    def _without_half(self, text: str) -> str:
        """What somebody cut may end in the first part of a secret."""
        bare = text.rstrip("… \n")
        for secret in self._exact:
            if secret[:_LEAST_HALF] not in bare[-len(secret) :]:
                continue
            for length in range(min(len(secret), len(bare)), _LEAST_HALF - 1, -1):
                if bare.endswith(secret[:length]):
                    return bare[:-length] + MASK + text[len(bare) :]
        return text

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

    def answer(self, raw: bytes) -> bytes:
        """As :meth:`data` for an HTTP answer as it came; a secret that its chunks take apart is found as well.

        What only looks like a key is overwritten in the head, and in the body of what is no 200: what a model wrote is
        no place to guess.
        """
        raw = self.data(raw)
        end = raw.find(b"\r\n\r\n", 0, _SLACK) + 4
        if b"chunked" in raw[: max(end, 0)].lower():
            for pattern in self._over_chunks:
                raw = pattern.sub(_stars_between_frames, raw)
        if raw[9:12] != b"200":
            end = _SLACK
        return _shapes_starred(raw[:end]) + raw[end:]

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


def _variants(secret: str) -> Iterator[str]:
    """The ways in which a secret is written elsewhere."""
    as_json = json.dumps(secret)[1:-1]
    for text in (secret, as_json, secret.replace("/", "\\/"), as_json.replace("/", "\\/")):
        for _ in range(_LEVELS):
            yield text
            text = json.dumps(text)[1:-1]  # noqa: PLW2901 - a text in JSON in a text in JSON
    yield html.escape(secret)
    for unsafe in (
        urllib.parse.quote(secret, safe="", errors="replace"),
        urllib.parse.quote(secret, errors="replace"),
        urllib.parse.quote_plus(secret, errors="replace"),
    ):
        yield unsafe
        yield _PERCENT.sub(lambda found: found[0].lower(), unsafe)
    for digits in ("04x", "04X"):
        yield "".join(f"\\u{ord(character):{digits}}" for character in secret)
    raw = secret.encode("utf-8", "replace")
    for before in range(3):  # where a secret begins in base64 depends on what stands before it
        encoded = base64.b64encode(bytes(before) + raw)
        # Characters that also hold bits of a neighbour are left out.
        core = encoded[-(-before * 4 // 3) : (before + len(raw)) * 4 // 3].decode()
        if len(core) >= SHORTEST_SECRET:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def _over_chunks(secret: bytes) -> re.Pattern[bytes]:
    """Finds a secret of which parts stand in different chunks of an HTTP body."""
    between = rb"(?:" + _FRAME.pattern + rb")?"
    return re.compile(between.join(re.escape(secret[at : at + 1]) for at in range(len(secret))))


def _stars_between_frames(found: re.Match[bytes]) -> bytes:
    pieces = _FRAME.split(found[0])
    frames = [*_FRAME.findall(found[0]), b""]
    return b"".join(b"*" * len(piece) + frame for piece, frame in zip(pieces, frames, strict=True))


def _shapes_starred(content: bytes) -> bytes:
    text = content.decode("latin-1")  # one character per byte
    for shape, _ in _SHAPES:
        text = shape.sub(_starred, text)
    return text.encode("latin-1")


def _starred(found: re.Match[str]) -> str:
    kept = found.groupdict().get("keep") or ""
    return kept + "*" * (len(found[0]) - len(kept))


def environment_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables that hold keys by their names (``…_API_KEY``, ``…_TOKEN`` …) and look like keys.

    A value of letters alone (``disabled``), a short one, or a path is none: masking it would maim ordinary text.
    """
    return tuple(
        value.strip()
        for name, value in environment.items()
        if _KEY_VARIABLES.search(name) and _KEY_LIKE.fullmatch(value.strip())
    )
