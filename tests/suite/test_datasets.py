"""Data sets: the forms they come in, and what the message says where one can't be used."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_flperf.suite.bounded_files import read_bytes
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.prompts import datasets
from pytest_flperf.suite.prompts.datasets import Row, read_dataset

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def read(folder: Path, text: str | bytes, name: str = "data.jsonl", column: str | None = None) -> tuple[Row, ...]:
    """Write a data set and read it."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return read_dataset(path, column)


def message(folder: Path, text: str | bytes, name: str = "data.jsonl", column: str | None = None) -> str:
    """Return the message of a data set that can't be used; each line names the file, and is short."""
    with pytest.raises(SuiteError) as caught:
        read(folder, text, name, column)
    lines = str(caught.value).splitlines()
    assert all(name in line and len(line) < 600 for line in lines)
    assert len(lines) <= 11
    assert str(caught.value).encode()
    return str(caught.value).replace(f"{folder}{os.sep}", "")


def one(folder: Path, value: Any, column: str | None = None) -> Row:
    """Return the only row of a data set that holds *value*."""
    (row,) = read(folder, json.dumps(value), column=column)
    return row


def test_plain_prompts(tmp_path: Path) -> None:
    """A text, or an object with a prompt, is one message of the user; its columns are there for templates."""
    first, second = read(tmp_path, '"Hi"\r\n\r\n{"prompt": "Ho", "id": 7, "ok": true, "none": null, "list": [1]}\n')
    assert first == Row((Message("user", "Hi"),), ("Hi",), None, {"prompt": "Hi"})
    assert second.fields == {"prompt": "Ho", "id": 7, "ok": True, "none": None}
    assert second.messages == (Message("user", "Ho"),)


@pytest.mark.parametrize("key", ["messages", "conversations", "conversation", "prompt"])
@pytest.mark.parametrize("names", [("role", "content", "user", "assistant"), ("from", "value", "human", "gpt")])
def test_conversations(tmp_path: Path, key: str, names: tuple[str, str, str, str]) -> None:
    """What is asked ends with the user's first message; the turns are all of the user's."""
    role, content, user, assistant = names
    said = [("system", "Be brief."), (assistant, "Hello!"), (user, "Hi"), (assistant, "Yes?"), (user, "Bye")]
    row = one(tmp_path, {key: [{role: who, content: what} for who, what in said], "id": 1})
    assert row.messages == (Message("system", "Be brief."), Message("user", "Hi"))
    assert row.turns == ("Hi", "Bye")
    assert row.fields == {"id": 1, "prompt": "Hi"}


def test_conversation_without_what_is_not_said(tmp_path: Path) -> None:
    """Blank instructions are none, those after the first question come too late, and tools' answers are skipped."""
    said = [
        {"role": "system", "content": " "},
        {"role": "developer", "content": "Short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": [1]},
        {"role": "system", "content": "Long."},
    ]
    row = one(tmp_path, {"messages": said})
    assert row.messages == (Message("developer", "Short."), Message("user", "Hi"))


@pytest.mark.parametrize("key", ["question", "instruction", "text", "input"])
def test_usual_names(tmp_path: Path, key: str) -> None:
    """Other usual names are understood where one of them has a text."""
    row = one(tmp_path, {"id": 1, key: "Why?", "output": "Because."})
    assert (row.turns, row.fields["prompt"], row.fields[key]) == (("Why?",), "Why?", "Why?")


def test_alpaca(tmp_path: Path) -> None:
    """An instruction with an empty input is the prompt; with one that isn't, the suite must say."""
    assert one(tmp_path, {"instruction": "Do", "input": "", "output": "x"}).turns == ("Do",)
    both = json.dumps({"instruction": "Do", "input": "it"})
    assert "'instruction' and 'input', expected the suite to name one of them as column" in message(tmp_path, both)
    assert read(tmp_path, both, column="input")[0].turns == ("it",)


def test_named_column(tmp_path: Path) -> None:
    """The column that is named holds the prompt, or messages, whatever else there is."""
    row = one(tmp_path, {"prompt": "a", "talk": [{"role": "user", "content": "b"}]}, "talk")
    assert (row.turns, row.fields) == (("b",), {"prompt": "a"})


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"max_tokens": 9, "output_tokens": 8}, 9),
        ({"output_tokens": 8}, 8),
        ({"output_length": 128.0}, 128),
        ({"output_length": "128"}, 128),
        ({"output_length": "128.0"}, 128),
        ({"output_length": ""}, None),
        ({"output_length": None}, None),
        ({}, None),
    ],
)
def test_lengths_of_answers(tmp_path: Path, columns: dict[str, Any], expected: int | None) -> None:
    """The longest answer comes from a column, however a table writes whole numbers."""
    assert one(tmp_path, {"prompt": "a"} | columns).max_tokens == expected


@pytest.mark.parametrize(
    "value", [0, -1, 1.5, "many", "1e3", "-4", "٣", "1" * 30, "1" * 4000, 10**400, 10_000_000, True, [1], {}]
)
def test_lengths_that_are_none(tmp_path: Path, value: Any) -> None:
    """Any other length is refused, with its column and the bounds."""
    text = message(tmp_path, json.dumps({"prompt": "a", "output_tokens": value}))
    assert "in 'output_tokens', expected a whole number from 1 to 1,000,000" in text


def test_json_list(tmp_path: Path) -> None:
    """A list in JSON holds the same rows."""
    rows = read(tmp_path, '\ufeff["a", {"prompt": "b"}]', "data.json")
    assert [row.turns for row in rows] == [("a",), ("b",)]


@pytest.mark.parametrize(("name", "mark"), [("data.csv", ","), ("data.tsv", "\t"), ("DATA.CSV", ",")])
def test_tables(tmp_path: Path, name: str, mark: str) -> None:
    """Cells may hold line ends, quotes and separators; empty lines are none."""
    text = f'id{mark} prompt {mark}max_tokens\r\n1{mark}"a ""b""{mark}\nc"{mark}5\r\n\r\n2{mark}it\'s{mark}\r\n'
    first, second = read(tmp_path, text, name)
    assert (first.turns, first.max_tokens) == ((f'a "b"{mark}\nc',), 5)
    assert second == Row((Message("user", "it's"),), ("it's",), None, {"id": "2", "prompt": "it's", "max_tokens": ""})


def test_long_cells(tmp_path: Path) -> None:
    """A cell may be longer than the module's limit, which stays what it was for others."""
    before = csv.field_size_limit()
    assert len(read(tmp_path, "prompt\n" + "x" * 500_000, "data.csv")[0].turns[0]) == 500_000
    message(tmp_path, 'prompt\n"x', "data.csv")
    assert csv.field_size_limit() == before


def test_plain_text(tmp_path: Path) -> None:
    """A line is a prompt; only line feeds end one."""
    rows = read(tmp_path, "One\r\n\n  \n Two\u2028three\x0bfour\n", "data.txt")
    assert [row.turns[0] for row in rows] == ["One", " Two\u2028three\x0bfour"]
    assert read(tmp_path, "One", "data.txt", "prompt")[0].fields == {"prompt": "One"}
    assert "found no column 'x': a plain text file has no columns" in message(tmp_path, "One", "data.txt", "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found no rows, expected one prompt or more"),
        ("\n \n", "found no rows"),
        ("5", ":1: found 5, expected a string or an object"),
        ("[]", ":1: found [], expected a string or an object"),
        ("null", ":1: found nothing (null)"),
        ("{}", ":1: found no columns, expected one of prompt, messages"),
        ('{"a": 1, "b": 2}', ":1: found the columns 'a', 'b', expected one of prompt, messages"),
        ('"a"\n{"prompt": "b"', ":2: not JSON: "),
        ('"a"\n{"prompt": NaN}', ":2: can't be read as JSON: found NaN"),
        ('"a"\n{"prompt": ' + "9" * 5000 + "}", ":2: can't be read as JSON: "),
        ("[" * 100_000, ":1: nested too deep"),
        ('{"a":' * 100_000, ":1: nested too deep"),
        ('{"prompt": " "}', ":1: found a blank text in 'prompt', expected a prompt"),
        ('{"prompt": 5}', ":1: found 5 in 'prompt', expected a string or a list of messages"),
        ('{"prompt": null}', ":1: found nothing (null) in 'prompt'"),
        ('{"question": 5}', ":1: found 5 in 'question'"),
        (r'{"prompt": "a\ud800"}', "with half a surrogate pair, which can't be sent"),
        (r'{"prompt": "a", "\uD800": 1}', "with half a surrogate pair"),
        ('{"messages": []}', ":1: found no user message in 'messages'"),
        ('{"messages": [5]}', ":1: found 5 as messages[0], expected an object"),
        ('{"messages": [{"role": "user"}]}', "found nothing (null) as content of messages[0], expected a string"),
        ('{"messages": [{"role": "user", "content": ""}]}', "found a blank text as content of messages[0]"),
        ('{"messages": [{"role": "user", "content": [{"type": "text"}]}]}', "as content of messages[0]"),
        ('{"messages": [{"role": "usr", "content": "a"}]}', "found 'usr' as role of messages[0], expected user"),
        ('{"messages": [{"role": ["user"], "content": "a"}]}', "found ['user'] as role of messages[0]"),
        ('{"conversations": [{"value": "a"}]}', "found nothing (null) as role of conversations[0]"),
        ('{"messages": "a b"}', None),
    ],
)
def test_bad_lines(tmp_path: Path, text: str, expected: str | None) -> None:
    """A line that can't be asked is named, with what was found and expected."""
    if expected is None:
        assert read(tmp_path, text)[0].turns == ("a b",)
    else:
        assert expected in message(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "data.json: found an empty file, expected a list of rows"),
        ("[]", "data.json: found no rows"),
        ('{"data": []}', "data.json: found {'data': []}, expected a list of rows"),
        ('[\n"a"\n"b"]', "data.json:3:1: not JSON"),
        ('["a", 5]', "data.json: row 2: found 5"),
        (r'["a", {"x": ["\udfff"]}]', "data.json: row 2: found {'x': ['\\udfff']} with half a surrogate pair"),
        ("[" + "9" * 5000 + "]", "data.json: can't be read as JSON"),
        ("[Infinity]", "data.json: can't be read as JSON: found Infinity"),
        ("[" * 100_000, "data.json: nested too deep"),
    ],
)
def test_bad_json(tmp_path: Path, text: str, expected: str) -> None:
    """In a list, rows are counted from 1."""
    assert expected in message(tmp_path, text, "data.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "data.csv: found no rows"),
        ("prompt\n", "data.csv: found no rows"),
        ("id,prompt,id\n1,a,2\n", "data.csv:1: found the column 'id' twice, expected it once"),
        (
            "id,prompt\n1,a\n2\n3,b,c\n",
            "data.csv:3: found 1 cell, expected 2 as in the header line\ndata.csv:4: found 3",
        ),
        ('id,prompt\n1,"a\nb"\n2,"c\nd",e\n', "data.csv:4: found 3 cells"),
        ('prompt\n"a" b\n', "data.csv:2: can't be read as a table: "),
        ('prompt\na\n"b\n\n\n', "data.csv:3: can't be read as a table: unexpected end of data"),
        ("id,promt\n1,a\n2,b\n", "data.csv: in each of 2 rows: found the columns 'id', 'promt', expected one of"),
        ("prompt\n \nx\n", None),
        ("id,prompt\n1, \n", "data.csv:2: found a blank text in 'prompt'"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, expected: str | None) -> None:
    """Lines are those at which a row begins, and every row has the header's cells."""
    if expected is None:
        assert len(read(tmp_path, text, "data.csv")) == 1
    else:
        assert expected in message(tmp_path, text, "data.csv")


def test_unknown_columns(tmp_path: Path) -> None:
    """A column that no row has is said once, with the one that may be meant."""
    lines = '{"prompt": "a", "id": 1}\n' * 3
    assert message(tmp_path, lines, column="promt") == (
        "data.jsonl: in each of 3 rows: found no column 'promt'; did you mean 'prompt'?"
    )
    assert "data.jsonl:4: found no column 'q'; known: prompt" in message(
        tmp_path, '{"q": "b"}\n' * 3 + '{"prompt": "a"}', column="q"
    )
    table = message(tmp_path, "id,question\n1,a\n", "data.csv", "qestion")
    assert table == "data.csv:1: found no column 'qestion'; did you mean 'question'?"
    assert "found no column 'id'; known: prompt" in message(tmp_path, '"a"', column="id")


def test_ten_problems_are_shown(tmp_path: Path) -> None:
    """Of many problems ten are shown and the rest counted; of hopelessly many the rest isn't read."""
    few = message(tmp_path, '"a"\n' + "5\n" * 12).splitlines()
    assert (len(few), few[-1]) == (11, "data.jsonl: and 2 more")
    assert message(tmp_path, "5\n" * 12).count("\n") == 0
    assert message(tmp_path, '"a"\n' + "5\n6\n" * 8_000).endswith("data.jsonl: and 9,990 or more")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'"a"\n"b\xff"', "data.jsonl:2: found the byte 0xff, expected a data set in UTF-8"),
        (b'"a"\n"b\0"', "data.jsonl:2: found a binary file (a NUL byte), expected a data set in UTF-8"),
        ('"a"'.encode("utf-16"), "data.jsonl: found UTF-16, expected a data set in UTF-8"),
        ('"\ud800"'.encode("utf-8", "surrogatepass"), "data.jsonl:1: found the byte 0xed"),
        (b"PAR1\x00\x15", "data.jsonl:1: found a binary file (a NUL byte)"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, raw: bytes, expected: str) -> None:
    """What isn't UTF-8 is refused with its line."""
    assert expected in message(tmp_path, raw)


def test_files_that_are_none(tmp_path: Path) -> None:
    """Missing files, folders, endings that nobody knows and paths that no file has are told apart."""
    for name, expected in [
        ("no.jsonl", "no such file, expected a data set"),
        ("data.parquet", "found the ending '.parquet', expected a data set: .jsonl"),
        ("data", "found no ending, expected a data set"),
        ("a\0.jsonl", "can't be read"),
    ]:
        with pytest.raises(SuiteError, match=expected):
            read_dataset(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SuiteError, match="found a folder, expected a data set"):
        read_dataset(tmp_path / "folder.csv")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have other names there")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes to is refused at once."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(SuiteError, match="found a device or pipe"):
        read_dataset(tmp_path / "pipe.jsonl")


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and rows are bounded."""
    monkeypatch.setattr(datasets, "MAX_ROWS", 3)
    assert len(read(tmp_path, '"a"\n' * 3)) == 3
    assert "found more than 3 rows" in message(tmp_path, '"a"\n' * 4)
    monkeypatch.setattr(datasets, "MAX_DATASET_BYTES", 1_000_000)
    assert "found 1.2 MB, expected a data set of 1 MB at most" in message(tmp_path, '"a"\n' * 300_000)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="files without a size are Linux's")
def test_file_that_lies_about_its_size() -> None:
    """What is read counts, not what the file system says."""
    assert read_bytes(Path("/proc/version"), "text", 10_000)
    with pytest.raises(SuiteError, match="expected a text of 0 MB at most"):
        read_bytes(Path("/proc/version"), "text", 5)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
names = st.sampled_from(["prompt", "messages", "conversations", "input", "text", "role", "content", "max_tokens", "x"])


@in_one_folder
@given(st.lists(texts.filter(lambda text: text.strip() != ""), min_size=1, max_size=5))
def test_every_prompt_comes_back(tmp_path: Path, prompts: list[str]) -> None:
    """Whatever a prompt holds, each form gives it back as it was."""
    rows = [{"id": str(index), "prompt": prompt} for index, prompt in enumerate(prompts)]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["id", "prompt"])
    writer.writeheader()
    writer.writerows(rows)
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    for text, name in [(lines, "a.jsonl"), (json.dumps(rows), "a.json"), (table.getvalue(), "a.csv")]:
        found = read(tmp_path, text, name)
        assert [row.turns[0] for row in found] == prompts
        assert [row.fields for row in found] == rows


@in_one_folder
@given(st.lists(st.dictionaries(names | texts, anything, max_size=4) | anything, max_size=4), st.none() | names)
def test_any_json_is_read_or_refused(tmp_path: Path, data: list[Any], column: str | None) -> None:
    """Any JSON is rows that can be asked, or one error."""
    try:
        rows = read(tmp_path, json.dumps(data), "data.json", column)
    except SuiteError:
        message(tmp_path, json.dumps(data), "data.json", column)
    else:
        assert len(rows) == len(data)
        assert all(row.turns and row.messages[-1] == Message("user", row.turns[0]) for row in rows)


@in_one_folder
@given(st.binary(max_size=60) | texts.map(str.encode), st.sampled_from(datasets.ENDINGS))
def test_any_bytes_are_read_or_refused(tmp_path: Path, raw: bytes, ending: str) -> None:
    """Any file is rows, or one error."""
    try:
        assert read(tmp_path, raw, f"data{ending}")
    except SuiteError:
        message(tmp_path, raw, f"data{ending}")


def test_many_rows_are_quick(tmp_path: Path) -> None:
    """20,000 rows take a fraction of a second; the bound is for a busy machine."""
    line = json.dumps({"prompt": "What is it? " * 10, "output_tokens": 100, "id": 1})
    begin = time.process_time()
    assert len(read(tmp_path, f"{line}\n" * 20_000)) == 20_000
    assert time.process_time() - begin < 30
