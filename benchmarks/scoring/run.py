"""What the scoring process costs: ``python benchmarks/scoring/run.py``.

Scores 100,000 short answers by each kind of expectation, within limits as a run does, and as version 0.1 began: in this
process, without any.  Best of three; the start of the scoring process is in it.  ``--check`` exits with 1 where the
first takes more than twice as long.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

import regex
from jsonschema import Draft202012Validator
from tabulate import tabulate

from pytest_flperf.quality.scoring import Scoring
from pytest_flperf.results.host import host_info

MOST_TIMES: Final = 2.0
AT_ONCE: Final = 512
ROUNDS: Final = 3
OBJECT: Final = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}},
}
KINDS: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"contains": ["Paris"]}, "It is Paris, number {}."),
    ({"equals": "yes"}, "yes"),
    ({"regex": r"\d{4}-\d\d-\d\d"}, "On 2026-11-29, number {}."),
    ({"json": True}, '{{"name": "Ada", "number": {}}}'),
    ({"json_schema": OBJECT}, '{{"name": "Ada", "number": {}}}'),
)


def refuse(constant: str) -> NoReturn:
    """As the score of an answer does."""
    raise ValueError(constant)


def without_limits(kind: str, value: Any) -> Callable[[str], float]:
    """What scores an answer in this process."""
    if kind == "contains":
        return lambda text: sum(each in text for each in value) / len(value)
    if kind == "equals":
        return lambda text: float(text.strip() == value)
    if kind == "regex":
        pattern = regex.compile(value)
        return lambda text: float(pattern.search(text, timeout=0.5) is not None)
    if kind == "json":
        return lambda text: float(json.loads(text, parse_constant=refuse) is not None)
    validator = Draft202012Validator(value)
    return lambda text: float(validator.is_valid(json.loads(text, parse_constant=refuse)))


def in_process(expected: dict[str, Any], answers: list[str]) -> float:
    """Seconds in this process, without limits."""
    ((kind, value),) = expected.items()
    began = time.perf_counter()
    score = without_limits(kind, value)
    found = [score(answer) for answer in answers]
    took_s = time.perf_counter() - began
    assert sum(found) == len(answers)
    return took_s


def within_limits(expected: dict[str, Any], answers: list[str]) -> float:
    """Seconds as a run takes them."""
    began = time.perf_counter()
    with Scoring() as scoring:
        scorer = scoring.of(expected)
        assert scorer is not None
        found = [each for n in range(0, len(answers), AT_ONCE) for each in scorer.scores(answers[n : n + AT_ONCE])]
    took_s = time.perf_counter() - began
    assert found == [1.0] * len(answers)
    return took_s


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100_000, help="How many")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a limit is missed")
    asked = parser.parse_args()
    host = host_info(())
    print(f"{host.name}: {host.cpu}, {host.cores} cores, Python {host.python}")
    rows, slow = [], []
    for expected, text in KINDS:
        answers = [text.format(number) for number in range(asked.answers)]
        before_s = min(in_process(expected, answers) for _ in range(ROUNDS))
        now_s = min(within_limits(expected, answers) for _ in range(ROUNDS))
        (kind,) = expected
        rows.append((kind, before_s, now_s, now_s / before_s))
        slow += [kind] if now_s > MOST_TIMES * before_s else []
    print(tabulate(rows, ["expect", "without limits, s", "within limits, s", "times"], floatfmt=".3f"))
    if slow:
        print(f"more than {MOST_TIMES:g} times as long: {', '.join(slow)}")
    return int(asked.check and bool(slow))


if __name__ == "__main__":
    sys.exit(main())
