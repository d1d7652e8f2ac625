"""Server timings: the server's own times against ours.

The two clocks should agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_flperf.results.notes import warning
from pytest_flperf.results.records import Distribution

__all__ = ["REQUESTS_NEEDED", "TOKENS_NEEDED", "cross_check"]

REQUESTS_NEEDED: Final = 3
TOKENS_NEEDED: Final = 20
"""Of a median answer: from here on one token more or less is no disagreement of its own."""
_APART: Final = 0.05
_SLOWER: Final = (
    "ours has the way to the client in it: take it for what users see, and look for a busy machine, a proxy or a "
    "server that holds tokens back"
)
_FASTER: Final = (
    "tokens came in lumps, so that the first was late, or the server's word is wrong: measure again with fewer other "
    "programs and longer answers, and do not trust TPOT until both agree"
)
_TPOT_FLOOR_MS: Final = 0.05
_TTFT_FLOOR_MS: Final = 5.0


def cross_check(metrics: Mapping[str, Distribution]) -> tuple[str, ...]:
    """Notes where our medians and the server's differ by over 5 %.

    Nothing is said of fewer than :data:`REQUESTS_NEEDED` requests, nor of TPOTs within 0.05 ms of each other, or of
    answers with fewer than :data:`TOKENS_NEEDED` tokens.  Where
    our TTFT is the longer one, that is no disagreement of clocks, and a line of its own from 5 ms on.

    Args:
        metrics: Distributions of a case, in ms, by name.

    """
    return (*_tpot_notes(metrics), *_ttft_notes(metrics))


def _tpot_notes(metrics: Mapping[str, Distribution]) -> tuple[str, ...]:
    pair = _medians(metrics.get("tpot_ms"), metrics.get("server_tpot_ms"))
    if pair is None:
        return ()
    ours, theirs = pair
    if not ours:
        return ()  # whole answers came in one read each: nothing of ours to compare
    tokens = metrics["output_tokens"].p50 if "output_tokens" in metrics else 0
    if tokens < TOKENS_NEEDED:
        return ()
    # Many servers count the end-of-text token, which takes its time but brings no text: ours may lack one in n.
    least, most = ours, ours * (tokens - 1) / (tokens - 2)
    apart = max(least - theirs, theirs - most)
    if apart <= _APART * theirs or apart <= _TPOT_FLOOR_MS:
        return ()
    share = 100 * abs(ours - theirs) / theirs
    means = _SLOWER if ours > theirs else _FASTER
    said = f"the server says {theirs:.3g} ms per token (its timings), we say {ours:.3g}: {share:.1f} % apart; {means}"
    return (warning(said),)


def _ttft_notes(metrics: Mapping[str, Distribution]) -> tuple[str, ...]:
    # In an open loop ttft_ms counts from when a request was due, of which the server knows nothing.
    pair = _medians(metrics.get("ttft_sent_ms") or metrics.get("ttft_ms"), metrics.get("server_prompt_ms"))
    if pair is None:
        return ()
    ours, theirs = pair
    if ours < theirs * (1 - _APART):
        return (
            warning(
                f"the server says that the prompt took {theirs:.4g} ms (its timings), but its first token arrived "
                f"after {ours:.4g} ms: one of the two is wrong"
            ),
        )
    beyond = ours - theirs
    if beyond <= _APART * theirs or beyond <= _TTFT_FLOOR_MS:
        return ()
    return (
        f"TTFT is {beyond:.4g} ms beyond the server's own prompt time of {theirs:.4g} ms: "
        "queueing, HTTP or the network",
    )


def _medians(ours: Distribution | None, theirs: Distribution | None) -> tuple[float, float] | None:
    if ours is None or theirs is None or min(ours.n, theirs.n) < REQUESTS_NEEDED:
        return None
    return ours.p50, theirs.p50
