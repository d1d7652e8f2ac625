"""Suites out of BFCL's files, OpenAI tool schemas and saved MCP lists; the files here are of our own making."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.quality.tools.answered import SentCall, enclosed
from pytest_flperf.quality.tools.expected import score_calls
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.suite.tool_imports.bfcl import rows_of_bfcl
from pytest_flperf.suite.tool_imports.files import Imported, import_tools, write_suite
from pytest_flperf.suite.tool_imports.schemas import tools_in

AREA = {
    "name": "geometry.area",
    "description": "Area of a triangle.",
    "parameters": {
        "type": "dict",
        "properties": {
            "base": {"type": "integer", "description": "cm"},
            "height": {"type": "float"},
            "unit": {"type": "String"},
            "corners": {"type": "tuple", "items": {"type": "dict", "properties": {"x": {"type": "double"}}}},
            "more": {"type": "any"},
        },
        "required": ["base", "height"],
    },
}


def question(identity: str = "simple_python_0", *turns: Any, function: Any = (AREA,)) -> dict[str, Any]:
    """A line of a file of questions."""
    asked = [{"role": "user", "content": "Area of a triangle, 10 by 5?"}]
    return {"id": identity, "question": list(turns) or [[*asked]], "function": list(function)}


def answer(identity: str = "simple_python_0", *calls: dict[str, Any]) -> dict[str, Any]:
    """A line of a file of possible answers."""
    return {"id": identity, "ground_truth": list(calls)}


def rows(questions: list[dict[str, Any]], answers: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """The rows of these lines."""

    def placed(lines: list[dict[str, Any]]) -> list[tuple[str, Any]]:
        return [(f"file:{number}", each) for number, each in enumerate(lines, 1)]

    return rows_of_bfcl(placed(questions), None if answers is None else placed(answers))[0]


def written(folder: Path, questions: list[Any], answers: list[Any] | None = None) -> Imported:
    """These lines as files, imported."""
    (folder / "BFCL_v4_simple.json").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    if answers is not None:
        (folder / "answers.json").write_text("\n".join(map(json.dumps, answers)), encoding="utf-8")
    return import_tools(folder / "BFCL_v4_simple.json", None if answers is None else folder / "answers.json")


RIGHT = {"geometry.area": {"base": [10], "height": [5], "unit": ["cm", ""]}}


def test_a_question_with_its_answer() -> None:
    """Names without dots, types of JSON Schema, allowed values as they are."""
    (row,) = rows([question()], [answer("simple_python_0", RIGHT)])
    assert (row["id"], row["category"]) == ("simple_python_0", "simple_python")
    assert row["messages"] == [{"role": "user", "content": "Area of a triangle, 10 by 5?"}]
    function = row["tools"][0]["function"]
    assert function["name"] == "geometry_area"
    properties = function["parameters"]["properties"]
    assert function["parameters"]["type"] == "object"
    assert [properties[name].get("type") for name in properties] == ["integer", "number", "string", "array", None]
    assert properties["corners"]["items"] == {"type": "object", "properties": {"x": {"type": "number"}}}
    base = {"any": [10], "as_written": True}
    expected = [{"name": "geometry_area", "args": {"base": base, "height": [5], "unit": ["cm", ""]}}]
    assert row["expect"] == {"calls": expected, "match": "normalised"}


@pytest.mark.parametrize(
    ("values", "right", "wrong"),
    [
        (["New York", "NYC"], ["new york", "NYC"], ["York"]),
        ([5], [5, 5.0], ["5"]),
        ([["a", "b"]], [["a", "b"]], ["a", ["b", "a"]]),
        ([{"city": ["Paris"], "zip": ["", "1"]}], [{"city": "paris"}], [{"city": "Rome"}, {}]),
        ([[{"n": [1]}, {"n": [2, 3]}]], [[{"n": 1}, {"n": 3}]], [[{"n": 1}], [{"n": 2}, {"n": 2}]]),
        ([{"a": [1]}, {"b": [2]}], [{"a": 1}, {"b": 2}], [{"a": 2}]),
        ([[]], [[]], [[1]]),
    ],
)
def test_allowed_values(values: list[Any], right: list[Any], wrong: list[Any]) -> None:
    """What the leaderboard allows is allowed, and nothing else."""
    (row,) = rows([question()], [answer("simple_python_0", {"f": {"x": values}})])
    score = score_calls(row["expect"])
    for each, expected in [*((value, 1) for value in right), *((value, 0) for value in wrong)]:
        assert score(enclosed("", [SentCall("f", json.dumps({"x": each}))])).score == expected, each


def typed(name: str, items: str = "", *, required: bool = False) -> dict[str, Any]:
    """A function whose one argument has this type."""
    schema = {"type": name, **({"items": {"type": items}} if items else {})}
    parameters = {"type": "dict", "properties": {"x": schema}, "required": ["x"] if required else []}
    return {"name": "f", "description": "", "parameters": parameters}


ABSENT = object()


@pytest.mark.parametrize(
    ("function", "values", "right", "wrong"),
    [
        (typed("integer"), [5], [5], [5.0, "5", ABSENT]),
        (typed("integer"), [5, ""], [5, ABSENT], [5.0, ""]),
        (typed("integer", required=True), [5, ""], [5], [ABSENT, ""]),
        (typed("integer"), [""], [ABSENT], [0, ""]),
        (typed("float"), [5.0], [5, 5.0], ["5"]),
        (typed("string"), ["Oslo", ""], ["OSLO", "", ABSENT], [5]),
        (typed("string", required=True), ["Oslo", ""], ["oslo", ""], [ABSENT]),
        (typed("string"), [None, "Oslo"], [None, "Oslo"], ["oslo"]),
        (typed("boolean"), [True, ""], [True, ABSENT], [1, ""]),
        (typed("array", "float"), [[1.0, 2.5]], [[1.0, 2.5]], [[1, 2.5]]),
        (typed("array", "float"), [[1, 2]], [[1, 2], [1.0, 2.0]], [[1]]),
        (typed("array", "integer"), [[1, 2], ""], [[1, 2], [], ABSENT], [[1.0, 2], ""]),
        (typed("array", "string"), [["a b"]], [["AB"]], ["AB", []]),
        (typed("array", "array"), [[["a"]]], [[["a"]]], [[["A"]]]),
        (typed("array", "dict"), [[{"a": ["x"]}], ""], [[{"a": "X"}], [], ABSENT], [[{}]]),
        (typed("dict"), [{"a": [1, ""], "b": [True], "c": [["x"]]}], [{"b": 1, "c": ["x"]}, {"a": True, "b": True,
         "c": ["x"]}], [{"b": False, "c": ["x"]}, {"b": True, "c": ["X"]}]),
    ],
)  # fmt: skip
def test_allowed_values_of_a_type(function: Any, values: list[Any], right: list[Any], wrong: list[Any]) -> None:
    """As the leaderboard's checker has them, oddities included."""
    (row,) = rows([question(function=[function])], [answer("simple_python_0", {"f": {"x": values}})])
    score = score_calls(row["expect"])
    for each, expected in [*((value, 1) for value in right), *((value, 0) for value in wrong)]:
        arguments = {} if each is ABSENT else {"x": each}
        assert score(enclosed("", [SentCall("f", json.dumps(arguments))])).score == expected, each


def test_a_question_without_a_right_answer_is_left_out(tmp_path: Path) -> None:
    """No call can meet it, in the leaderboard's eyes, either."""
    questions = [question("simple_1", function=[typed("array", "string", required=True)]), question("simple_2")]
    imported = written(tmp_path, questions, [answer("simple_1", {"f": {"x": []}}), answer("simple_2", RIGHT)])
    assert (imported.cases, imported.left_out) == (1, {"possible answers that no call can meet": 1})


def test_parallel_calls_and_none() -> None:
    """Several calls are all expected; questions of irrelevance need no answer, others do."""
    (row,) = rows([question("parallel_1")], [answer("parallel_1", {"f": {"x": [1]}}, {"f": {"x": [2]}})])
    assert [each["args"]["x"] for each in row["expect"]["calls"]] == [[1], [2]]
    (row,) = rows([question("live_irrelevance_7-1-2")])
    assert (row["category"], row["expect"]) == ("live_irrelevance", {"calls": []})
    with pytest.raises(SuiteError, match=r"file:1: it needs the file of possible answers: --answers"):
        rows([question()])
    with pytest.raises(SuiteError, match=r"file:1: simple_python_0 has no answer in it"):
        rows([question()], [answer("simple_python_1", RIGHT)])


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """Several turns, and answers that are code."""
    turn = [{"role": "user", "content": "Hi"}]
    questions = [question("multi_turn_0", turn, turn), question("simple_1"), question("simple_2")]
    answers = [{"id": "simple_1", "ground_truth": ["ls(a=True)"]}, answer("simple_2", RIGHT)]
    imported = written(tmp_path, questions, answers)
    assert imported.cases == 1
    assert imported.left_out == {"several turns": 1, "answers that are no calls with values": 1}


@pytest.mark.parametrize("name", ["out.json", "out.yaml"])
def test_a_suite_that_can_be_read(tmp_path: Path, name: str) -> None:
    """It asks each question once, with the row's own tools."""
    target = tmp_path / "made" / name
    target.parent.mkdir()
    questions = [question(f"simple_python_{number}") for number in range(3)]
    answers = [answer(f"simple_python_{number}", RIGHT) for number in range(3)]
    files = write_suite(written(tmp_path, questions, answers), target)
    assert files == [target, target.with_suffix(".jsonl")]
    suite = load_suite(target, "made")
    (scenario,) = suite.scenarios
    assert scenario.settings.iterations == 3
    assert scenario.source is not None
    assert [row.tools[0]["function"]["name"] for row in scenario.source.rows] == ["geometry_area"] * 3
    assert [row.scored.id for row in scenario.source.rows] == [each["id"] for each in questions]
    expected = scenario.source.rows[0].scored.expect
    assert expected is not None
    assert expected["tools"] == ["geometry_area"]
    right = SentCall("geometry_area", '{"base": 10, "height": 5}')
    assert score_calls(expected)(enclosed("", [right])).score == 1


def test_a_suite_that_can_not_be_used_is_not_written(tmp_path: Path) -> None:
    """A broken schema is found before anything is written."""
    broken = {"name": "f", "parameters": {"type": "dict", "properties": {"x": {"minimum": "none"}}}}
    with pytest.raises(SuiteError, match="which is not a JSON Schema"):
        write_suite(written(tmp_path, [question("irrelevance_0", function=[broken])]), tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    assert not (tmp_path / "out.jsonl").exists()


MCP = {"name": "read file", "description": "Reads.", "inputSchema": {"type": "object", "properties": {}}}
OPENAI = {"type": "function", "function": {"name": "read_file", "description": "Reads.", "strict": True}}


@pytest.mark.parametrize(
    "document",
    [
        {"tools": [MCP]},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [MCP], "nextCursor": None}},
        [OPENAI],
        {"tools": [OPENAI]},
        OPENAI,
        [{"type": "function", "name": "read_file", "parameters": {"type": "object"}}],
        [{"name": "read_file", "input_schema": {"type": "object"}}],
    ],
)
def test_lists_of_tools(document: Any, tmp_path: Path) -> None:
    """OpenAI's form, MCP's answer with or without its envelope, and others' words for the schema."""
    (tool,) = tools_in(document, "file")
    assert (tool["type"], tool["function"]["name"]) == ("function", "read_file")
    (tmp_path / "tools.json").write_text(json.dumps(document), encoding="utf-8")
    write_suite(import_tools(tmp_path / "tools.json", None), tmp_path / "suite.yaml")
    suite = load_suite(tmp_path / "suite.yaml", "made")
    assert [each.name for each in suite.scenarios] == ["read_file", "no tool"]
    assert [each.expect for each in suite.scenarios] == [
        {"calls": [{"name": "read_file"}], "tools": ["read_file"]},
        {"calls": [], "tools": ["read_file"]},
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "can't be read as JSON"),
        ("[]", "found no tools"),
        ("{}", "tool 1: found {}, expected a tool with a name"),
        ('{"tools": [1]}', "tool 1: found 1, expected a tool with a name"),
        ('{"a": ', "can't be read as JSON"),
        ('{"question": 1, "function": 2, "id": "a"}', "found 1 as question, expected a list of turns"),
        ('{"question": [[]], "function": 2, "id": "irrelevance_1"}', "found 2 as function"),
        ('{"question": [[]], "function": []}', ":1: found no id"),
        ('{"question": [[]], "function": [], "id": "a"}\n{', ":2: can't be read as JSON"),
    ],
)
def test_what_is_none(tmp_path: Path, content: str, words: str) -> None:
    """One message with the place."""
    (tmp_path / "file.json").write_text(content, encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        import_tools(tmp_path / "file.json", None)
    assert words in str(caught.value)


def test_answers_without_questions(tmp_path: Path) -> None:
    """They belong to BFCL's questions only."""
    (tmp_path / "tools.json").write_text(json.dumps([OPENAI]), encoding="utf-8")
    with pytest.raises(SuiteError, match="found no questions of BFCL"):
        import_tools(tmp_path / "tools.json", tmp_path / "tools.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "question", "function", "name", "parameters", "type", "tools", "ground_truth"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_any_document_is_taken_or_refused(first: Any, second: Any) -> None:
    """Nothing but SuiteError, whatever a file holds."""
    known, asked = [("a:1", answer("simple_python_0", RIGHT))], [("f:1", question())]
    for attempt in (
        lambda: tools_in(first, "file"),
        lambda: rows_of_bfcl([("file:1", first)], [("answers:1", second)]),
        lambda: rows_of_bfcl([("file:1", {**question(), "function": first})], known),
        lambda: rows_of_bfcl(asked, [("a:1", {"id": "simple_python_0", "ground_truth": second})]),
    ):
        with contextlib.suppress(SuiteError):
            attempt()
