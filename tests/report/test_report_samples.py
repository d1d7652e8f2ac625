"""Single requests read from ``samples.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from report_doubles import case

from pytest_flperf.report.samples import SamplesReader
from pytest_flperf.results.capacity import Search, SearchStep

MS = 1_000_000


def line(nodeid: str = "s::short[m]", index: int = 0, phase: str = "measured", **changes: Any) -> str:
    """A line of the file: sent at 0, first token after 10 ms + index, 5 tokens, 1 ms each."""
    first = (10 + index) * MS
    record: dict[str, Any] = {
        "nodeid": nodeid, "index": index, "phase": phase, "target": 0, "stream": True, "slot": 0, "outcome": "ok",
        "evidence": None, "status": 200, "due_ns": None, "connect_ns": None, "started_ns": 0, "sent_ns": 0,
        "headers_ns": 1, "first_token_ns": first, "first_answer_token_ns": first, "last_token_ns": first + 4 * MS,
        "end_ns": first + 5 * MS, "finished_ns": first + 6 * MS, "chunk_ns": [first, first + 4 * MS],
        "coalesced_chunks": 0, "first_read_surplus": 0.0, "first_read_window_ns": None,
        "output_text": "Hello", "reasoning_text": "", "finish_reason": "stop", "output_tokens": 5, "prompt_tokens": 3,
        "cached_tokens": None, "reasoning_tokens": None, "tokens_source": "usage", "server_timings": None,
        "model_echoed": None, "clock_source": "kernel", "clock_step": False, "lag_ns": [1, 2, 3],
    }  # fmt: skip
    return json.dumps({**record, **changes}) + "\n"


def read(path: Path, text: str) -> SamplesReader:
    """A reader that has read the whole file."""
    path.write_text(text, encoding="utf-8")
    reader = SamplesReader(path)
    reader.read()
    return reader


def test_values_by_metric(tmp_path: Path) -> None:
    """Measured requests that ended ok, in ascending order; the others are in no distribution."""
    reader = read(
        tmp_path / "samples.jsonl",
        line(index=9, phase="warmup") + line(index=2) + line(index=0) + line(index=1, outcome="http_5xx"),
    )
    found = reader.of([case()])["s::short[m]"]
    assert found.values == {"ttft_ms": (10.0, 12.0), "tpot_ms": (1.0, 1.0), "e2e_ms": (14.0, 16.0)}
    assert found.answer == "Hello"
    assert found.complete


def test_late_reads_and_clock_steps_are_left_out(tmp_path: Path) -> None:
    """As in the statistics: an upper bound is no TTFT, and a step leaves no time at all."""
    reader = read(
        tmp_path / "s", line(first_read_surplus=4.0) + line(index=1, clock_step=True) + line(index=2, stream=False)
    )
    values = reader.of([case()])["s::short[m]"].values
    assert "ttft_ms" not in values
    assert values["tpot_ms"] == (1.0,)
    assert values["e2e_ms"] == (14.0, 17.0)


def test_read_as_it_grows(tmp_path: Path) -> None:
    """A torn line waits for its rest; nothing is read twice."""
    path = tmp_path / "s"
    second = line(index=1)
    reader = read(path, line() + second[:100])
    assert len(reader.of([case()])["s::short[m]"].values["e2e_ms"]) == 1
    with path.open("a", encoding="utf-8") as file:
        file.write(second[100:])
    reader.read()
    reader.read()
    assert len(reader.of([case()])["s::short[m]"].values["e2e_ms"]) == 2


def test_a_case_run_again(tmp_path: Path) -> None:
    """The last try counts, with or without a warm-up before it."""
    again = "".join(line(index=index, sent_ns=5 * MS) for index in range(2))
    once = "".join(line(index=index) for index in range(2))
    for text in (once + again, once + line(phase="verify") + again):
        values = read(tmp_path / "s", text).of([case()])["s::short[m]"].values
        assert values["ttft_ms"] == (5.0, 6.0)


def test_bounded(tmp_path: Path) -> None:
    """Of very many requests the first ten thousand are kept, and that is said."""
    text = "".join(line(index=index) for index in range(10_050))
    found = read(tmp_path / "s", text).of([case()])["s::short[m]"]
    assert len(found.values["e2e_ms"]) == 10_000
    assert not found.complete


def test_texts_can_look_like_keys(tmp_path: Path) -> None:
    """A text with the very bytes of a key is a text."""
    found = read(tmp_path / "s", line(output_text='"chunk_ns":[1],"lag_ns":[')).of([case()])
    assert found["s::short[m]"].answer == '"chunk_ns":[1],"lag_ns":['


def test_anything_else_is_passed_over(tmp_path: Path) -> None:
    """Lines of any other kind raise nothing and count for nothing; no file is no samples."""
    odd = ["nonsense", "[]", "{}", '{"nodeid": 3, "index": 0, "phase": "measured"}', "\x00\x00", "[" * 5000]
    broken = [
        line(index=1, sent_ns="x"), line(index=2, outcome="new word"), line(index=3, output_tokens="many"),
        line(index=4, sent_ns=[1]), line(index=5, first_read_window_ns={}),
    ]  # fmt: skip
    reader = read(tmp_path / "s", "\n".join(odd) + "\n" + "".join(broken) + line())
    assert reader.of([case()])["s::short[m]"].values["e2e_ms"][0] == 14.0
    missing = SamplesReader(tmp_path / "none")
    missing.read()
    assert missing.of([case()]) == {}


def test_cases_of_several_machines_have_none(tmp_path: Path) -> None:
    """Lines don't say which machine they come from."""
    reader = read(tmp_path / "s", line())
    assert reader.of([case(), case(host="other")]) == {}


def test_requests_beside_the_measured_ones(tmp_path: Path) -> None:
    """Ramp-up, cool-down and retries come between and after the measured requests and take none of them away."""
    text = line(index=0, phase="outside") + line(index=1) + line(index=1, phase="retry") + line(index=2)
    reader = read(tmp_path / "samples.jsonl", text + line(index=3, phase="outside"))
    assert reader.of([case()])["s::short[m]"].values["ttft_ms"] == (11.0, 12.0)


def test_the_load_that_a_search_found(tmp_path: Path) -> None:
    """The figures of a search's case are those of one of its loads, and so are its requests."""
    name = "s::short[m]"
    text = line(f"{name} [concurrency 1]", 1) + line(f"{name} [concurrency 2]", 2) + line(f"{name} [concurrency 4]", 4)
    steps = tuple(SearchStep(load, load < 4) for load in (1.0, 2.0, 4.0))
    found = case(search=Search("concurrency", 2.0, True, steps=steps))
    assert read(tmp_path / "samples.jsonl", text).of([found])[name].values["ttft_ms"] == (12.0,)


def test_in_the_order_of_sending(tmp_path: Path) -> None:
    """The first that were sent, whatever the order in which they ended; failed ones and other metrics leave no gap."""
    lines = [
        line(index=2, sent_ns=300, started_ns=290),
        line(index=0, sent_ns=100),
        line(index=1, sent_ns=200, outcome="http_5xx"),
        line(index=3, sent_ns=250, first_read_surplus=4.0),
        line(index=4, sent_ns=10**30),
        line(index=5, sent_ns=None, started_ns="now"),
    ]
    reader = read(tmp_path / "s", "".join(lines))
    found = reader.first_values([case(host="box")], 2_000)[("s::short[m]", "box")]
    assert [round(value, 3) for value in found["e2e_ms"]] == [14.0, 17.0, 16.0]
    assert [round(value, 3) for value in found["ttft_ms"]] == [10.0, 12.0]
    assert len(reader.first_values([case(host="box")], 2)[("s::short[m]", "box")]["e2e_ms"]) == 2
    assert reader.first_values([case(host="a"), case(host="b")], 9) == {}, "lines don't say on which machine"
    assert reader.first_values([case("other")], 9) == {}
