"""Fuzzing of all that reads foreign bytes: ``python scripts/fuzz.py --minutes 10``.

Hypothesis changes files of ``tests/corpus`` and gives them to the decoder, the framing, the suite loader, the parsers
of rules and budgets, and the readers of results and journals.  Each must end within seconds, with a result that keeps
its promises or with the error that is made for people.  A finding is shrunk, printed and written to ``--out``; put it
into the corpus together with the mend.  Exit status 1 means that there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from pytest_flperf.gates.budget_grammar import BudgetError
from pytest_flperf.gates.budgets import parse_budget
from pytest_flperf.gates.rules import RuleError, parse_rule
from pytest_flperf.history.rows import case_rows, metric_rows, resource_rows
from pytest_flperf.report.code_quality import code_quality
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.junit import properties
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.results.journal import JournalReader
from pytest_flperf.results.reader import RunError, run_of
from pytest_flperf.results.records import Run
from pytest_flperf.results.run_log import read_run_log
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.suite.matrix import expand
from pytest_flperf.wire import exchange as wire
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.framing import Framing, MalformedAnswerError, parse_head, unframe
from pytest_flperf.wire.progress import TextProgress
from pytest_flperf.wire.sample import Sample
from scripts.changed_files import changed_bytes, changed_tree, documents_in

__all__ = ["TARGETS", "Finding", "Target", "examine", "main"]

CORPUS: Final = Path(__file__).parents[1] / "tests" / "corpus"
SLOWEST_S: Final = 20
"""One example, on a busy machine."""
_BEGUN_NS: Final = 10**15
_LONGEST_ERROR: Final = 20_000
_WIDTHS: Final = (40, 140)
_FOREVER_NS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads foreign bytes."""

    name: str
    folder: str
    """Of its files in the corpus."""
    check: Callable[[bytes, str, Sequence[int]], None]
    """Raises where a promise is broken.  Takes the content, the file's suffix, and where reads of a socket end."""
    tree: bool = False
    """Whether the content is a document, whose values are changed as well as its bytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise."""

    target: str
    content: bytes
    suffix: str
    story: str
    """The traceback."""


class TooSlow(BaseException):
    """An example took longer than it may: no error, so that no handler takes it for one."""


# ---- what must hold


def _exchange(raw: bytes, cuts: Sequence[int]) -> wire.Exchange:
    """An exchange whose reads end at these bytes, a millisecond apart."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(raw)}), len(raw)]
    sizes = tuple(end - begin for begin, end in pairwise(edges) if end > begin)
    arrivals = tuple(_BEGUN_NS + number * 10**6 for number in range(1, len(sizes) + 1))
    return wire.Exchange(
        index=0, phase=wire.Phase.MEASURED, target=0, stream=True, slot=0, due_ns=None, connect_ns=None,
        started_ns=_BEGUN_NS, sent_ns=_BEGUN_NS, finished_ns=_BEGUN_NS + 10**9, read_arrival_ns=arrivals,
        read_lag_ns=(), read_bytes=sizes, clock_source="kernel", clock_moved_ns=0, ending=wire.Ending.COMPLETE,
        detail="", raw=raw,
    )  # fmt: skip


def _check_sample(sample: Sample, exchange: wire.Exchange) -> None:
    json.dumps(sample.to_record(), allow_nan=False).encode("ascii")
    sample.output_text.encode()
    sample.reasoning_text.encode()
    assert (sample.evidence is None) == sample.ok
    arrivals = set(exchange.read_arrival_ns)
    assert arrivals.issuperset(sample.chunk_ns)
    assert list(sample.chunk_ns) == sorted(sample.chunk_ns)
    if sample.chunk_ns:
        assert (sample.first_token_ns, sample.last_token_ns) == (sample.chunk_ns[0], sample.chunk_ns[-1])
    for count in (sample.output_tokens, sample.prompt_tokens, sample.cached_tokens, sample.reasoning_tokens):
        assert count is None or (type(count) is int and count >= 0), count


def check_answer(raw: bytes, suffix: str, cuts: Sequence[int]) -> None:
    """Decoder: one outcome, arrivals that were there, counts that are some, whatever the server sent."""
    del suffix
    exchange = _exchange(raw, cuts)
    _check_sample(decode(exchange), exchange)
    for ending in (wire.Ending.CONNECTION_LOST, wire.Ending.STALL_TIMEOUT):
        cut = replace(exchange, ending=ending, stream=False)
        _check_sample(decode(cut), cut)


def check_framing(raw: bytes, suffix: str, cuts: Sequence[int]) -> None:
    """Framing: read by read as of the whole, and the progress of a stream with it."""
    del suffix
    exchange = _exchange(raw, cuts)
    ends = list(accumulate(exchange.read_bytes))
    parts = [raw[end - size : end] for end, size in zip(ends, exchange.read_bytes, strict=True)]
    framing = Framing()
    for end, part in zip(ends, parts, strict=True):
        over = framing.feed(part)
        state = "problem" if framing.problem else "ended" if framing.ended else ""
        assert state == _after(raw[:end])
        assert over == bool(state)
        if over:
            break
    if framing.head is not None:
        whole, piecewise = TextProgress(framing.head), TextProgress(framing.head)
        assert whole.look(parts, _FOREVER_NS)
        for number in range(len(parts)):
            while not piecewise.look(parts[: number + 1], 0):
                pass
        assert whole.last_part == piecewise.last_part


def _after(raw: bytes) -> str:
    """What of an answer is known from its bytes so far."""
    try:
        head = parse_head(raw)
        if head is None:
            return ""
        _ = head.content_length
    except MalformedAnswerError:
        return "problem"
    body = unframe(raw, head)
    return "problem" if body.problem else "ended" if body.delimited and body.complete else ""


def _check_error(error: Exception, where: str = "") -> None:
    """It says something, where, and no more than a person reads."""
    text = str(error)
    assert text.strip()
    assert where in text
    assert len(text) < _LONGEST_ERROR
    text.encode()


def check_suite(content: bytes, suffix: str, cuts: Sequence[int]) -> None:
    """Suite loader: cases with distinct ids, or an error of a few lines that names the file."""
    del cuts
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"suite{suffix}")
        path.write_bytes(content)
        try:
            suite = load_suite(path, "suite")
            cases = expand(suite, suite.models or ["m"])
        except SuiteError as error:
            _check_error(error, f"suite{suffix}")
            return
        ids = [case.nodeid for case in cases]
        assert len(set(ids)) == len(ids)
        assert all(each.isprintable() for each in ids)


def check_gates(content: bytes, suffix: str, cuts: Sequence[int]) -> None:
    """Rules and budgets: a limit that is a number, or an error with its place."""
    del suffix, cuts
    for line in content.decode("utf-8", "replace").split("\n"):
        try:
            budget = parse_budget(line)
            assert math.isfinite(budget.limit)
            assert parse_budget(budget.expression) == budget
        except BudgetError as error:
            _check_error(error)
        try:
            rule = parse_rule(line)
            assert math.isfinite(rule.threshold.share)
            assert math.isfinite(rule.threshold.floor)
            assert parse_rule(rule.expression) == rule
        except RuleError as error:
            _check_error(error)


def check_results(content: bytes, suffix: str, cuts: Sequence[int]) -> None:
    """Results reader: refused with the place, or a run that every surface can show and the store can take."""
    del suffix, cuts
    try:
        run = run_of(content.decode("utf-8", "surrogateescape"), "results.json")
    except RunError as error:
        _check_error(error, "results.json")
        return
    assert Run.from_dict(json.loads(json.dumps(run.to_dict(), allow_nan=False))).to_dict() == run.to_dict()
    shown = [markdown(run), code_quality(run), _pages().run(run, {}), _pages().runs([run])]
    for width in _WIDTHS:
        shown += [line.text for line in summary_lines(run, width, 2)]
    shown += [f"{name}{value}" for case in run.cases for name, value in properties(case)]
    for text in shown:
        text.encode()
        assert "\x1b" not in text
    json.dumps([case_rows(run), metric_rows(run), resource_rows(run)])


@cache
def _pages() -> Pages:
    return Pages()


def check_journal(content: bytes, suffix: str, cuts: Sequence[int]) -> None:
    """Journal and run log: what is no record is passed over; what is one can be decoded."""
    del suffix, cuts
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.jsonl")
        path.write_bytes(content)
        read_run_log(path)
        for record in JournalReader(path):
            try:
                exchange = wire.Exchange.from_record(record)
            except (KeyError, TypeError, ValueError):
                continue
            json.dumps(decode(exchange).to_record(), allow_nan=False)


TARGETS: Final = (
    Target("decoder", "answers", check_answer),
    Target("framing", "answers", check_framing),
    Target("suite", "suites", check_suite, tree=True),
    Target("gates", "gates", check_gates),
    Target("results", "results", check_results, tree=True),
    Target("journal", "journals", check_journal, tree=True),
)


# ---- the search


def contents_of(target: Target, seeds: dict[str, list[bytes]]) -> st.SearchStrategy[tuple[bytes, str]]:
    """Content with the suffix of its file."""
    kinds = []
    for suffix, contents in seeds.items():
        kinds.append(st.tuples(changed_bytes(contents), st.just(suffix)))
        if target.tree and (documents := documents_in(contents)):
            kinds.append(st.tuples(changed_tree(documents), st.just(suffix)))
    return st.one_of(kinds)


def seeds_of(target: Target, corpus: Path) -> dict[str, list[bytes]]:
    """The contents of a target's files by suffix."""
    found: dict[str, list[bytes]] = {}
    for path in sorted((corpus / target.folder).iterdir()):
        found.setdefault(path.suffix, []).append(path.read_bytes())
    return found


@contextlib.contextmanager
def _within(limit_s: int) -> Iterator[None]:
    """Raise where it takes longer, on systems that have an alarm."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_: object) -> None:
        raise TooSlow(f"it took more than {limit_s} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def examine(target: Target, examples: int, number: int, corpus: Path | None = None) -> Finding | None:
    """Try the corpus as it is, then so many changed contents; what was found, shrunk.

    Args:
        target: What is tried.
        examples: How many.
        number: Of the random search: the same one finds the same.
        corpus: Folder of the files to change; None: that of the repository.

    """
    seeds = seeds_of(target, CORPUS if corpus is None else corpus)
    last: tuple[bytes, str] = b"", ""

    def check(content: bytes, suffix: str, cuts: Sequence[int]) -> None:
        nonlocal last
        last = content, suffix
        with _within(SLOWEST_S):
            target.check(content, suffix, cuts)

    def spread(content: tuple[bytes, str], cuts: Sequence[int]) -> None:
        check(*content, cuts)

    phases = (Phase.generate, Phase.shrink)
    quiet = settings(
        max_examples=examples, deadline=None, database=None, phases=phases, suppress_health_check=list(HealthCheck)
    )
    cuts = st.lists(st.integers(0, 2_000), max_size=12)
    searched = seed(number)(quiet(given(contents_of(target, seeds), cuts)(spread)))
    try:
        for suffix, contents in seeds.items():
            for content in contents:
                check(content, suffix, range(0, len(content), 7))
        searched()
    except (Exception, TooSlow):  # noqa: BLE001 - whatever it is, it is a finding
        return Finding(target.name, *last, traceback.format_exc())
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Search until the time is over; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: %(default)s)")
    parser.add_argument("--target", choices=[each.name for each in TARGETS], help="only this one")
    parser.add_argument("--seed", type=int, help="of the first round (default: random)")
    parser.add_argument("--examples", type=int, default=200, help="of a target in a round (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports/fuzz"), help="for findings (default: %(default)s)")
    options = parser.parse_args(arguments)
    number = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    targets = [each for each in TARGETS if options.target in (None, each.name)]
    counts = dict.fromkeys((each.name for each in targets), 0)
    until, found = time.monotonic() + 60 * options.minutes, 0
    print(f"seed {number}", flush=True)
    while time.monotonic() < until and not found:
        for target in targets:
            finding = examine(target, options.examples, number)
            counts[target.name] += options.examples
            if finding is not None:
                found += 1
                print(_kept(finding, options.out, number), flush=True)
        number += 1
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()) + f": {found} findings")
    return int(found > 0)


def _kept(finding: Finding, folder: Path, number: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.target}-{number}{finding.suffix}"
    path.write_bytes(finding.content)
    return f"{finding.target}: {path}\n{finding.story}"


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
