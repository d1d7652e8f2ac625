"""Suite files: what loads, and what the message says where one doesn't."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_tests import examples

from pytest_flperf.suite.errors import SuiteError, key_path, nearest, shown
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Settings, Suite, Timeouts
from pytest_flperf.suite.schema.document import SuiteForm
from pytest_flperf.suite.setting_limits import MAX_SUITE_BYTES


def short(value: object) -> str:
    """Return a test id of bounded length."""
    return ascii(value)[1:30]


LEGACY = {
    "name": "custom",
    "description": "An older suite",
    "version": "1.0",
    "default_config": {"iterations": 5, "concurrency": 1, "timeout": 30000, "temperature": 0.7, "streaming": True},
    "scenarios": [
        {
            "name": "first",
            "description": "A question",
            "prompt": "Hello",
            "max_tokens": 150,
            "expected_output_length": "medium",
        },
        {"name": "second", "prompt": "Hello again", "expected_output_length": "long"},
    ],
}


def load(folder: Path, text: str | bytes, name: str = "suite.yaml") -> Suite:
    """Write a suite file and load it."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_suite(path, name)


def message(folder: Path, text: str | bytes, name: str = "suite.yaml") -> str:
    """Return the message of a suite that can't be loaded; it names the file on every line."""
    with pytest.raises(SuiteError) as caught:
        load(folder, text, name)
    lines = str(caught.value).splitlines()
    assert all(name in line for line in lines)
    return str(caught.value)


def scenario(**keys: Any) -> str:
    """Return a suite of one scenario, as JSON (which is YAML, too)."""
    return json.dumps({"scenarios": [{"name": "a", "prompt": "Hi"} | keys]})


def test_null_takes_parameters_out(tmp_path: Path) -> None:
    """In the defaults, in a scenario that says otherwise than the defaults, and in a matrix."""
    bare = {"max_tokens": None, "temperature": None, "stream_options": None, "stream": None}
    prompt = {"name": "a", "prompt": "Hi"}
    asked = {"max_tokens": 5, "temperature": 0.5, "stream_options": {"x": [1]}, "stream": True}
    for suite in (
        {"defaults": bare, "scenarios": [prompt]},
        {"defaults": asked, "scenarios": [prompt | bare]},
        {"defaults": asked, "matrix": {key: [None] for key in bare}, "scenarios": [prompt]},
    ):
        (case,) = expand(load(tmp_path, json.dumps(suite)), ["m"])
        assert {key: getattr(case.scenario.settings, key) for key in bare} == bare
        assert case.scenario.given >= bare.keys()
    older = load(tmp_path, json.dumps({"default_config": {"temperature": None}, "scenarios": [prompt]}))
    assert older.scenarios[0].settings.temperature is None


def test_stream_options_in_a_matrix(tmp_path: Path) -> None:
    """Each is a case of its own, with an id and a plain value in the results."""
    values = [None, {"include_usage": True}, {"include_usage": False}]
    suite = {"matrix": {"stream_options": values}, "scenarios": [{"name": "a", "prompt": "Hi"}]}
    cases = expand(load(tmp_path, json.dumps(suite)), ["m"])
    assert [json.loads(case.scenario.settings.stream_options or "null") for case in cases] == values
    assert len({case.nodeid for case in cases}) == 3
    assert all(" " not in case.nodeid and '"' not in case.nodeid for case in cases)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"stream_options": 3}, "found 3, expected a mapping such as {'include_usage': true}, or null"),
        ({"stream_options": "yes"}, "found 'yes', expected a mapping such as"),
        ({"max_tokens_key": "max_new_tokens"}, "expected 'max_tokens' or 'max_completion_tokens', or null"),
        ({"stream": "no"}, "expected true or false, or null"),
    ],
)
def test_what_these_may_hold(tmp_path: Path, keys: dict[str, Any], words: str) -> None:
    """In words."""
    assert words in message(tmp_path, scenario(**keys))


def test_stream_options_that_json_can_not_hold(tmp_path: Path) -> None:
    """YAML and its infinity."""
    text = "scenarios:\n- {name: a, prompt: Hi, stream_options: {x: .inf}}"
    assert "expected something that JSON can hold" in message(tmp_path, text)


def test_legacy_form_loads(tmp_path: Path) -> None:
    """The older form loads as it is: its timeout is in milliseconds, the expected length stands for max_tokens."""
    suite = load(tmp_path, json.dumps(LEGACY), "custom.json")
    first, second = suite.scenarios
    assert (suite.name, suite.version, suite.description) == ("custom", "1.0", "An older suite")
    assert first.settings == Settings(
        iterations=5, concurrency=1, timeouts=Timeouts(total_s=30.0), temperature=0.7, max_tokens=150
    )
    assert (first.expected_output_length, first.description) == ("medium", "A question")
    assert second.settings.max_tokens == 400


TOML = """
name = "t"
version = 2
models = "m"
[defaults]
timeout_s = 9
[matrix]
temperature = [0, 0.5]
concurrency = [1, 4]
[[scenarios]]
name = "a"
prompt = "Hi"
stop = ["x", "y"]
"""


@pytest.mark.parametrize("ending", ["json", "yaml", "YML", "toml"])
def test_one_form_for_all_formats(tmp_path: Path, ending: str) -> None:
    """JSON, YAML and TOML of the same content make the same suite, and the matrix keeps its order."""
    data = {
        "name": "t",
        "version": 2,
        "models": "m",
        "defaults": {"timeout_s": 9},
        "matrix": {"temperature": [0, 0.5], "concurrency": [1, 4]},
        "scenarios": [{"name": "a", "prompt": "Hi", "stop": ["x", "y"]}],
    }
    texts = {"json": json.dumps(data), "toml": TOML}
    suite = load(tmp_path, texts.get(ending, yaml.safe_dump(data, sort_keys=False)), f"t.{ending}")
    assert suite.matrix == (("temperature", (0.0, 0.5)), ("concurrency", (1, 4)))
    assert (suite.version, suite.models) == ("2", ("m",))
    assert suite.scenarios[0].settings.timeouts == Timeouts(total_s=9)
    assert suite.scenarios[0].settings.stop == ("x", "y")
    assert suite.scenarios[0].given == {"timeout_s", "stop"}


def test_defaults_scenarios_and_budgets_are_joined(tmp_path: Path) -> None:
    """A scenario replaces the defaults, extra is merged, the suite's budgets come first and none twice."""
    suite = load(
        tmp_path,
        """
        budgets: error_rate <= 1%
        defaults: {iterations: 7, temperature: 1, system: Be brief., tags: all, extra: {a: 1, b: 1}, max_tokens: 9}
        scenarios:
          - {name: plain, prompt: Hi}
          - name: own
            system:
            prompt: Hi
            iterations: 8
            temperature: null
            tags: [x, x]
            extra: {b: 2}
            expected_output_length: short
            budgets: [error_rate <= 1%, tps.p50 >= 20]
            headers_timeout_s: null
          - {name: talk, messages: [{role: system, content: A}, {role: user, content: ""}]}
        """,
    )
    plain, own, talk = suite.scenarios
    assert suite.name == "suite"
    assert plain.messages == (Message("system", "Be brief."), Message("user", "Hi"))
    assert (plain.settings.iterations, plain.settings.temperature, plain.tags) == (7, 1.0, ("all",))
    assert plain.budgets == ("error_rate <= 1%",)
    assert own.messages == (Message("user", "Hi"),)
    assert (own.settings.iterations, own.settings.temperature, own.tags) == (8, None, ("x",))
    assert own.settings.extra == {"a": 1, "b": 2}
    assert own.settings.max_tokens == 50, "the scenario's own length is nearer than the defaults' max_tokens"
    assert own.budgets == ("error_rate <= 1%", "tps.p50 >= 20")
    assert own.settings.timeouts.headers_s is None
    assert talk.messages == (Message("system", "A"), Message("user", ""))


def test_greedy_unless_asked_otherwise(tmp_path: Path) -> None:
    """A suite that says nothing is played with the settings of the model, temperature 0 among them."""
    assert load(tmp_path, scenario()).scenarios[0].settings == Settings()
    assert Settings().temperature == 0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"max_tokens": -5}, "scenarios[0].max_tokens: found -5, expected a whole number from 1 to 1,000,000, or null"),
        ({"iterations": True}, "scenarios[0].iterations: found true, expected a whole number"),
        ({"iterations": 5.0}, "iterations: found 5.0, expected a whole number"),
        ({"iterations": "5"}, "iterations: found '5', expected a whole number"),
        ({"iterations": None}, "iterations: found nothing (null), expected a whole number"),
        ({"iterations": 10**400}, "iterations: found 1000"),
        ({"concurrency": 1001}, "concurrency: found 1001, expected a whole number from 1 to 1,000"),
        ({"warmup": -1}, "warmup: found -1, expected a whole number from 0 to 100,000, or null"),
        ({"temperature": 2.1}, "temperature: found 2.1, expected a number from 0 to 2, or null"),
        ({"top_p": 1.5}, "top_p: found 1.5, expected a number from 0 to 1, or null"),
        ({"timeout_s": 0}, "timeout_s: found 0, expected a number from 0.001 to 86,400"),
        ({"timeout_s": False}, "timeout_s: found false, expected a number"),
        ({"seed": 2**63}, "seed: found 9223372036854775808, expected a whole number of 64 bits"),
        ({"stream": 1}, "stream: found 1, expected true or false"),
        ({"stop": []}, "stop: found [], expected a non-empty string or a list of 1 to 32"),
        ({"stop": ["a", ""]}, "scenarios[0].stop[1]: found '', expected a non-empty string"),
        ({"tags": [1]}, "scenarios[0].tags[0]: found 1, expected a non-empty string"),
        ({"budgets": 5}, "budgets: found 5, expected one budget or a list"),
        ({"prompt_cache": "no"}, "prompt_cache: found 'no', expected 'avoid' or 'reuse'"),
        ({"expected_output_length": "huge"}, "expected_output_length: found 'huge', expected 'short', 'medium'"),
        ({"extra": [1]}, "extra: found [1], expected a mapping"),
        ({"extra": {"stream": False}}, "extra: found 'stream' in extra, expected it as a separate setting"),
        ({"max_tokns": 5}, "scenarios[0].max_tokns: unknown key; did you mean 'max_tokens'?"),
        ({"timeout": 5}, "scenarios[0].timeout: unknown key; did you mean 'timeout_s'?"),
        ({"streaming": True}, "scenarios[0].streaming: unknown key; did you mean 'stream'?"),
        ({"xyzzy": 5}, "scenarios[0].xyzzy: unknown key; known: against, budgets, burst_size,"),
        ({"name": " "}, "scenarios[0].name: found ' ', expected a non-empty string"),
        ({"prompt": ""}, "scenarios[0].prompt: found '', expected a non-empty string"),
        ({"prompt": "a\ud800"}, "with half a surrogate pair, which can't be sent"),
        ({"messages": []}, "scenarios[0].messages: found [], expected a list of one or more messages"),
        ({"messages": [{"role": "user", "content": "x"}]}, "found prompt and messages, expected exactly one of"),
    ],
    ids=short,
)
def test_wrong_values_say_what_was_found_and_expected(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    """Each wrong value is one line: file, key path, what was found, what was expected."""
    text = message(tmp_path, scenario(**keys), "suite.json")
    assert expected in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1]", "found [1], expected a mapping with the key 'scenarios'"),
        ("5", "found 5, expected a mapping"),
        ("name: x", "scenarios: missing, expected a list of one or more scenarios"),
        ("scenarios: []", "suite.yaml:1: scenarios: found [], expected a list of one or more scenarios"),
        ("scenarios: [x]", "scenarios[0]: found 'x', expected a mapping with a name and a prompt"),
        ("scenarios: [{prompt: x}]", "scenarios[0].name: missing, expected a non-empty string"),
        ("scenarios: [{name: x}]", "scenarios[0]: found no prompt, expected exactly one of prompt, prompt_file,"),
        (
            "scenarios: [{name: x, system: s, messages: [{role: user, content: c}]}]",
            "found system and messages, expected the system message as the first of the messages",
        ),
        ("scenarios: [{name: x, messages: [{role: bot}]}]", "messages[0].role: found 'bot', expected 'system',"),
        ("\nscenario: []", "suite.yaml:2: scenario: unknown key; did you mean 'scenarios'?"),
        (
            "scenarios:\n  - {name: x, prompt: a}\n  - prompt: b\n    name: x\n",
            "suite.yaml:4: scenarios[1].name: found 'x' again (scenarios[0]), expected a unique name",
        ),
        ("matrix:\n  concurency: [1]\nscenarios: []", "suite.yaml:2: matrix.concurency: unknown key; did you mean"),
        ("matrix: {concurrency: [1, 0]}\nscenarios: []", "matrix.concurrency[1]: found 0, expected a whole number"),
        (
            "matrix: {concurrency: []}\nscenarios: []",
            "matrix.concurrency: found [], expected a list of one or more values",
        ),
        (
            "matrix: {concurrency: 5}\nscenarios: []",
            "matrix.concurrency: found 5, expected a list of one or more values",
        ),
        ("matrix: {temperature: [0, 0.0]}\nscenarios: []", "matrix.temperature: found 0.0 more than once"),
        ("matrix: {extra: [{}]}\nscenarios: []", "matrix.extra: unknown key"),
        ("models: [a, a]\nscenarios: []", "models: found 'a' more than once"),
        ("models: []\nscenarios: []", "models: found [], expected one model name or a list"),
        (
            "defaults: {}\ndefault_config: {}\nscenarios: [{name: x, prompt: y}]",
            "found defaults and default_config (the older form), expected one of them",
        ),
        ("default_config: {timeout_s: 5}\nscenarios: []", "unknown key; did you mean 'timeout'?"),
        ("defaults: {temperature: .nan}\nscenarios: []", "defaults.temperature: found nan, expected a number from 0"),
        ("defaults: {timeout_s: .inf}\nscenarios: []", "defaults.timeout_s: found inf, expected a number from 0.001"),
        ("defaults: {extra: {a: [.nan]}}\nscenarios: []", "a[0]: found nan, expected something that JSON can hold"),
        ("defaults: {extra: {a: 2026-01-01}}\nscenarios: []", "expected something that JSON can hold"),
        ("defaults: {seed: 0x" + "f" * 9000 + "}\nscenarios: []", "defaults.seed: found a value too large to show"),
        ("1: 2\nscenarios: []", "found the key 1, expected a string (in quotes)"),
        ("scenarios: &a [*a]", "suite.yaml:1: found the alias 'a' without an anchor before it"),
        ("a: *b", "alias"),
        ("a: 1\n\na: 2", "suite.yaml:3: found the key 'a' again, expected it once"),
        ("a: [1", ": can't be read as YAML: "),
        ("a: !!python/object/apply:os.system [exit]", "suite.yaml:1:4: can't be read as YAML: "),
        ("a: !!binary 'x'", "can't be read as YAML"),
        ("a: 2026-99-99", "can't be read as YAML"),
        ("a: !!bool maybe", "can't be read as YAML: a value that can't be built ("),
        ("a: !!int ''", "can't be read as YAML"),
        ("a: !!timestamp x", "can't be read as YAML"),
        ("? [a]\n: b", "can't be read as YAML"),
        ("a: \x07", "can't be read as YAML"),
        ("a: 1\n---\nb: 2", "can't be read as YAML: "),
        ("[" * 100_000, "nested too deep, expected 50 levels at most"),
        ("a: " + "{b: " * 2_000, "nested too deep, expected 50 levels at most"),
        ("a: '" + "[" * 2_000 + "'\nb: [", ": can't be read as YAML: "),
        ("a: 1 # " + "[" * 2_000 + "\nb: [", ": can't be read as YAML: "),
        ("", "found an empty file, expected a suite with scenarios"),
        ("\n \n", "found an empty file"),
        ("# nothing\n", "found an empty file"),
    ],
    ids=short,
)
def test_wrong_yaml_says_where(tmp_path: Path, text: str, expected: str) -> None:
    """What is wrong with a YAML suite comes with its line and key path."""
    assert expected in message(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,\n"b" 2}', "suite.json:2:5: not JSON:"),
        ('{"a": 1, "a": 2}', "found the key 'a' twice in one mapping, expected it once"),
        ('{"a": NaN}', "found NaN, expected a number that JSON can hold"),
        ('{"a": ' + "9" * 5000 + "}", "can't be read as JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ("[" * 60 + "]" * 60, "nested too deep, expected 50 levels at most"),
        ('{"scenarios": [{"name": "a", "prompt": "x", "temperature": 1e999}]}', "temperature: found inf, expected"),
        ('{"a": "\udcff"}', "found the byte 0xff, expected a suite in UTF-8"),
    ],
    ids=short,
)
def test_wrong_json_says_where(tmp_path: Path, text: str, expected: str) -> None:
    """What is wrong with a JSON suite comes with line and column, or the key."""
    assert expected in message(tmp_path, text.encode("utf-8", "surrogateescape"), "suite.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb == 2", "suite.toml:2:4: not TOML:"),
        ("a = 1\na = 2\n", "suite.toml:2:6: not TOML:"),
        ("a = 2026-99-99", "not TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("a" + ".a" * 2_000_000 + " = 1", "suite.toml:1: nested too deep"),
        ("x = {" + "'a' . \"b\"." * 2_000 + "c = 1}", "suite.toml:1: nested too deep"),
        ("[defaults]\ntemperature = nan\n[[scenarios]]\nname = 'a'\nprompt = 'x'", "temperature: found nan, expected"),
    ],
    ids=short,
)
def test_wrong_toml_says_where(tmp_path: Path, text: str, expected: str) -> None:
    """What is wrong with a TOML suite is told in TOML's own words."""
    assert expected in message(tmp_path, text, "suite.toml")


def test_all_problems_of_a_file_are_told_together(tmp_path: Path) -> None:
    """Ten problems are shown, each on a line, and the number of the rest."""
    text = message(tmp_path, json.dumps({"scenarios": [{"name": f"s{index}"} for index in range(25)]}))
    assert len(text.splitlines()) == 11
    assert text.splitlines()[10].endswith("and 15 more")


def test_no_message_is_long(tmp_path: Path) -> None:
    """A prompt of 100 kB in the wrong place does not fill the terminal."""
    text = message(tmp_path, scenario(iterations="x" * 100_000, **{"y" * 100_000: 1}))
    assert len(text) < 2_000


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    """A billion laughs end with a message, as values and as merged keys."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "found more than 200,000 values" in message(tmp_path, "\n".join(lines))
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    assert "found more than 200,000 values" in message(tmp_path, "\n".join(lines))


def test_aliases_and_merges_work(tmp_path: Path) -> None:
    """Anchors, aliases and merge keys are YAML, and are welcome."""
    text = (
        "scenarios:\n - &one {name: a, prompt: Hi, max_tokens: 5}\n - {<<: *one, name: b}\n - <<: *one\n   name: ''\n"
    )
    assert "suite.yaml:5: scenarios[2].name" in message(tmp_path, text)
    suite = load(tmp_path, text.replace("''", "c"))
    assert [(item.name, item.settings.max_tokens) for item in suite.scenarios] == [("a", 5), ("b", 5), ("c", 5)]


def test_too_many_cases_are_refused(tmp_path: Path) -> None:
    """A matrix that multiplies into more cases than anybody can run is refused before it is multiplied."""
    matrix = {"seed": list(range(1000)), "max_tokens": list(range(1, 1001)), "iterations": list(range(1, 1001))}
    text = message(tmp_path, json.dumps({"matrix": matrix, "scenarios": [{"name": "a", "prompt": "Hi"}]}))
    assert "matrix: found 1,000,000,000 cases, expected 10,000 at most" in text


def test_what_is_no_suite_file(tmp_path: Path) -> None:
    """Missing files, folders, pipes, other endings and binary files are told apart."""
    assert "no such file, expected a suite" in _message_of(tmp_path / "none.yaml")
    assert "found a folder" in _message_of(tmp_path)
    assert "found the ending '.txt', expected a suite file: .yaml, .yml, .json, .toml" in message(
        tmp_path, "a", "suite.txt"
    )
    assert "found no ending" in message(tmp_path, "a", "suite")
    assert "found a binary file" in message(tmp_path, b"\x7fELF\0\0")
    assert "found UTF-16" in message(tmp_path, "name: x".encode("utf-16"))
    assert "suite.yaml:2: found the byte 0xe9, expected a suite in UTF-8" in message(tmp_path, b"a: b\nc: \xe9")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.yaml")
        assert "found a device or pipe" in _message_of(tmp_path / "pipe.yaml")
    assert "can't be read" in _message_of(tmp_path / ("x" * 5000 + ".yaml"))
    assert "can't be read" in _message_of(Path("a\0b.yaml"))


def _message_of(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(path, "ref")
    return str(caught.value)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without the right to read it is told with the system's reason."""
    path = tmp_path / "suite.yaml"
    path.write_text(scenario())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Kein Zutritt")

    monkeypatch.setattr(Path, "open", refuse)  # tests run as root, too, whom nothing is forbidden
    assert "suite.yaml: can't be read: Kein Zutritt" in _message_of(path)


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A suite of 50 MB is refused by its size."""
    path = tmp_path / "suite.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    assert "found 50.0 MB, expected a suite of 10 MB at most" in _message_of(path)
    assert MAX_SUITE_BYTES == 10_000_000


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    """Files of Windows editors load."""
    assert load(tmp_path, b"\xef\xbb\xbf" + scenario().encode()).scenarios[0].name == "a"
    assert load(tmp_path, b"\xef\xbb\xbf" + scenario().encode(), "suite.json").scenarios[0].name == "a"


@pytest.mark.parametrize(
    "name", ["\U0001f600", "a\ud800b", "a\udfff", "\0", "x" * 100_000, '"]::[/\\\n', "\U0010ffff"], ids=short
)
def test_any_name_loads(tmp_path: Path, name: str) -> None:
    """Names of every plane load; lone surrogates in them become escapes that can be printed."""
    suite = load(tmp_path, json.dumps({"name": name, "scenarios": [{"name": name, "prompt": "Hi"}]}), "suite.json")
    assert suite.scenarios[0].name == name.encode("utf-8", "backslashreplace").decode()
    assert suite.name == suite.scenarios[0].name


def test_prompt_file_is_read_from_the_suites_folder(tmp_path: Path) -> None:
    """A prompt may lie in a file beside the suite or below; line ends are the same on every machine."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "long.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    suite = load(tmp_path, scenario(prompt_file="prompts/long.txt").replace('"prompt": "Hi", ', ""))
    assert suite.scenarios[0].messages == (Message("user", "one\ntwo"),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../secret.txt", "found '../secret.txt', expected a file in the suite's folder or below"),
        ("/etc/hostname", "expected a file in the suite's folder or below"),
        ("link.txt", "found 'link.txt', expected a file in the suite's folder or below"),
        ("loop.txt", "prompt_file"),
        ("none.txt", "no such file, expected a prompt"),
        ("empty.txt", "found 'empty.txt', which is empty, expected a prompt"),
        ("binary.txt", "found a binary file (a NUL byte), expected a prompt"),
        ("big.txt", "expected a prompt of 10 MB at most"),
        (".", "found a folder, expected a prompt"),
        ("a\0b", "prompt_file"),
    ],
    ids=short,
)
@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights there")
def test_prompt_file_that_is_none(tmp_path: Path, name: str, expected: str) -> None:
    """A suite from anywhere can't have files of the machine sent to a server; what is wrong is told."""
    folder = tmp_path / "suites"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    (folder / "empty.txt").write_text("\n")
    (folder / "binary.txt").write_bytes(b"\0")
    with (folder / "big.txt").open("wb") as file:
        file.truncate(10_000_001)
    text = message(folder, scenario(prompt_file=name).replace('"prompt": "Hi", ', ""))
    assert text.startswith(str(folder / "suite.yaml"))
    assert "scenarios[0].prompt_file: " in text
    assert expected in text


def test_prompt_files_are_bounded_together(tmp_path: Path) -> None:
    """Many prompt files can't fill the memory, and one that is used often is read once."""
    (tmp_path / "a.txt").write_text("x" * 6_000_000)
    (tmp_path / "b.txt").write_text("x" * 6_000_000)
    scenarios = [{"name": str(index), "prompt_file": "a.txt"} for index in range(3)]
    assert len(load(tmp_path, json.dumps({"scenarios": scenarios})).scenarios) == 3
    scenarios.append({"name": "b", "prompt_file": "b.txt"})
    assert "scenarios[3].prompt_file: found more than 10 MB of prompt files" in message(
        tmp_path, json.dumps({"scenarios": scenarios})
    )


def test_words_of_messages() -> None:
    """What was found is shown short, and near names are found whatever their case."""
    assert shown("x" * 1000) == repr("x" * 1000)[:38] + "..." + "x" * 38 + "'"
    assert len(shown({str(index) * 100: [[[["x" * 1000]]]] for index in range(100)})) < 200
    assert key_path(("a", 1, "b\n", "c")) == r"a[1].b\n.c"
    assert nearest("DEFUALT", ["default", "quick"]) == ("default",)


def outcome(folder: Path, text: str | bytes, name: str) -> str:
    """Return the ref of the suite that was loaded, or the message of its error; all else is raised."""
    try:
        return load(folder, text, name).ref
    except SuiteError as error:
        return str(error)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from([*SuiteForm.model_fields, "prompt", "max_tokens", "temperature", "concurrency", "stop", "role"])
suite_like = st.dictionaries(
    keys,
    plain | st.lists(st.dictionaries(keys, plain, max_size=5), max_size=3) | st.dictionaries(keys, plain),
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150), deadline=None)
@given(raw=st.binary(max_size=200) | st.text().map(str.encode), ending=st.sampled_from(["yaml", "json", "toml"]))
def test_any_bytes_load_or_are_a_suite_error(tmp_path: Path, raw: bytes, ending: str) -> None:
    """Whatever is in the file: a suite, or a SuiteError that names the file."""
    assert f"any.{ending}" in outcome(tmp_path, raw, f"any.{ending}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200), deadline=None)
@given(data=suite_like, ending=st.sampled_from(["yaml", "json"]))
def test_any_structure_loads_or_is_a_suite_error(tmp_path: Path, data: dict[str, Any], ending: str) -> None:
    """Whatever stands under the keys of a suite: a suite, or a SuiteError of at most eleven lines."""
    text = json.dumps(data) if ending == "json" else yaml.safe_dump(data, allow_unicode=True)
    assert len(outcome(tmp_path, text, f"any.{ending}").split("\n")) <= 11


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(100), deadline=None)
@given(text=st.text("[]{}:,-&*!|>?%@`'\"#<= \n\tab1~", max_size=60))
def test_any_yaml_loads_or_is_a_suite_error(tmp_path: Path, text: str) -> None:
    """Whatever YAML's own characters are put together."""
    with pytest.raises(SuiteError):
        load(tmp_path, text)
