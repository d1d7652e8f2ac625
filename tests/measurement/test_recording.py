"""What a case's requests become: in memory, in the journal, and read again from there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pytest_flperf.measurement.recording import CaseRecording, Recorder
from pytest_flperf.results.journal import LINE_LIMIT, JournalReader
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.sample import Outcome

KEY = "kC7+vQ2/nM8-wX4_bT9"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
STOP = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'


def exchange(index: int, *reads: bytes, ending: Ending = Ending.COMPLETE, left_out: int = 0) -> Exchange:
    """An exchange whose answer came so."""
    raw = b"".join(reads)
    times = tuple(range(10**9, 10**9 + len(reads)))
    return Exchange(
        index, Phase.MEASURED, 0, True, 0, None, None, 10**9, 10**9, 2 * 10**9, times, (), tuple(map(len, reads)),
        "user", 0, ending, "", raw, left_out,
    )  # fmt: skip


def recording(folder: Path, told: list[str], in_memory_bytes: int = 0) -> tuple[Recorder, CaseRecording]:
    """A recorder that keeps nothing at hand, and its only case."""
    recorder = Recorder(RunFolder(folder, on_problem=told.append), Redactor([KEY]), in_memory_bytes=in_memory_bytes)
    return recorder, recorder.case("case")


posix = pytest.mark.skipif(sys.platform == "win32", reason="a file that is open stays where it is")


@posix
def test_a_journal_that_is_deleted_loses_no_sample(tmp_path: Path) -> None:
    """What was written is read by the open file; that it is gone is said."""
    told: list[str] = []
    recorder, case = recording(tmp_path, told)
    for index in range(5):
        case.add(exchange(index, HEAD, STOP))
        if index == 2:
            (tmp_path / "journal.jsonl").unlink()
    assert [sample.index for sample in case.samples()] == [0, 1, 2, 3, 4]
    assert not case.trouble
    recorder.close()
    assert told == ["journal.jsonl is not complete: it was deleted or moved while it was written"]


@posix
def test_a_journal_that_is_truncated_leaves_a_case_that_is_not_whole(tmp_path: Path) -> None:
    """Requests that can't be read again are counted, and the case says so."""
    told: list[str] = []
    recorder, case = recording(tmp_path, told)
    for index in range(5):
        case.add(exchange(index, HEAD, STOP))
    os.truncate(tmp_path / "journal.jsonl", 0)
    assert list(case.samples()) == []
    assert case.trouble == "5 requests of the case are gone: their journal was damaged while it was written"
    recorder.close()
    assert [line for line in told if line.startswith("journal.jsonl")] != []


def test_what_is_kept_at_hand_and_what_is_not_come_in_order(tmp_path: Path) -> None:
    """Whatever the journal holds of them."""
    recorder, case = recording(tmp_path, [], in_memory_bytes=500)
    large = b": " + b"\xff" * (LINE_LIMIT // 6) + b"\n\n"
    answers = [STOP, STOP, large + STOP, STOP, STOP]
    for index, answer in enumerate(answers):
        case.add(exchange(index, HEAD, answer))
    samples = list(case.samples())
    assert [(sample.index, sample.outcome) for sample in samples] == [(index, Outcome.OK) for index in range(5)]
    recorder.close()


def test_an_answer_too_large_for_a_line_is_cut_and_not_dropped(tmp_path: Path) -> None:
    """Its record says how much is left out; read again it is no whole answer."""
    told: list[str] = []
    recorder, case = recording(tmp_path, told)
    read = b": " + b"\x00" * 65_000 + b"\n\n"
    whole = exchange(0, HEAD, *[read] * 200, STOP)
    case.add(whole)
    recorder.close()
    assert not told
    (record,) = JournalReader(tmp_path / "journal.jsonl")
    kept = Exchange.from_record(record)
    assert len(kept.raw) + kept.left_out_bytes == len(whole.raw)
    assert kept.raw == whole.raw[: len(kept.raw)]
    assert len(kept.raw) == 2 << 20
    assert len(kept.read_bytes) == 34


@pytest.mark.parametrize("chunked", [False, True])
def test_half_a_key_at_a_cut_is_masked(tmp_path: Path, *, chunked: bool) -> None:
    """Where an answer was cut in the middle of a key, the first half of it is no key any more, and goes as well."""
    body = b"5\r\nkC7+v\r\n9\r\nQ2/nM8-wX" if chunked else KEY.encode()[:14]
    head = HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" if chunked else HEAD
    recorder, case = recording(tmp_path, [])
    case.add(exchange(0, head + body, ending=Ending.ANSWER_TOO_LARGE, left_out=1 << 20))
    recorder.close()
    (record,) = JournalReader(tmp_path / "journal.jsonl")
    assert "nM8" not in record["raw"]
    assert "kC7" not in record["raw"]
    assert len(record["raw"]) == len(head + body)


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """Samples may be read any number of times; they are filed where that is asked for."""
    recorder, case = recording(tmp_path, [])
    for index in range(3):
        case.add(exchange(index, HEAD, STOP))
    first, again = list(case.samples()), list(case.samples())
    assert first == again
    assert not (tmp_path / "samples.jsonl").exists() or not (tmp_path / "samples.jsonl").read_bytes()
    assert list(case.filed(case.samples())) == first
    recorder.close()
    assert [record["index"] for record in JournalReader(tmp_path / "samples.jsonl")] == [0, 1, 2]


def test_a_key_in_pieces_of_arguments_is_masked(tmp_path: Path) -> None:
    """No piece of a tool call holds it; the joined arguments would."""
    pieces = [
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": part}}]}}
        for part in ('{"key": "' + KEY[:9], KEY[9:] + '"}')
    ]
    body = b"".join(b"data: " + json.dumps({"choices": [piece]}).encode() + b"\n\n" for piece in pieces)
    recorder, case = recording(tmp_path, [])
    case.add(exchange(0, HEAD, body, STOP))
    (sample,) = case.filed(case.samples())
    recorder.close()
    (call,) = sample.tool_calls
    assert KEY not in call.arguments
    assert call.arguments.startswith('{"key": "')
    assert KEY.encode() not in (tmp_path / "samples.jsonl").read_bytes()
