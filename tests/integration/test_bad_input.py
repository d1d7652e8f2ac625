"""Bad input: one message with file, line or key path, what was found and what was expected; exit 4."""

from __future__ import annotations

import json
import random

import pytest
from tiny_runs import Tiny


def _text(**more: object) -> str:
    return json.dumps({"name": "x", "scenarios": [{"name": "one", "prompt": "Hi", **more}]})


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("bad.json", "", ""),
        ("bad.json", "{", "bad.json:1:2: "),
        ("bad.json", "[]", ""),
        ("bad.json", '{"name": "x", "scenarios": []}', "scenarios"),
        ("bad.json", '{"name": "x"}', "scenarios"),
        ("bad.json", _text(max_token=3), "max_tokens"),
        ("bad.json", _text(iterations=-1), "iterations"),
        ("bad.json", _text(iterations=1e300), "iterations"),
        ("bad.json", _text(iterations="many"), "iterations"),
        ("bad.json", _text(concurrency=0), "concurrency"),
        ("bad.json", _text(timeout_s=-3), "timeout_s"),
        ("bad.json", _text(budgets=["ttft_ms.p95"]), "ttft_ms.p95"),
        ("bad.json", _text(budgets=["tfft_ms.p95 <= 3"]), "ttft_ms"),
        ("bad.json", _text(budgets=["onee:ttft_ms.p95 <= 3"]), "found 'onee' before the colon, expected the name"),
        ("bad.json", _text(messages=[{"role": "user", "content": "x"}]), "prompt"),
        ("bad.json", _text(prompt_file="nowhere.txt"), ""),
        (
            "bad.json",
            '{"name": "x", "scenarios": [{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}]}',
            "a",
        ),
        (
            "bad.yaml",
            "name: x\nscenarios: !!python/object/apply:os.system ['true']\n",
            "bad.yaml:2:12: can't be read as YAML: ",
        ),
        ("bad.yaml", "name: x\n  scenarios: [\n", "bad.yaml:2:12: "),
        ("bad.yaml", "a: &a [1]\n" + "b: *c\n", "c"),
        ("bad.toml", "name = 'x\n", "bad.toml:1:end: "),
        ("bad.json", "[" * 100_000, ""),
        ("bad.yaml", "[" * 5_000, ""),
        ("bad.json", "\x00\x01\x02" * 100, ""),
    ],
)
def test_broken_suites(tiny: Tiny, file: str, content: str, words: str) -> None:
    """What is wrong with a suite is said in one message that names file and place."""
    (tiny.folder / file).write_text(content)
    message = tiny.refused(f"--flperf-suite={file}", *tiny.at)
    assert file in message
    assert words in message
    assert len(message) < 1000


def test_binary(tiny: Tiny) -> None:
    """A binary file."""
    (tiny.folder / "bad.yaml").write_bytes(random.Random(1).randbytes(4096) + b"\xff\xfe\x00")
    assert "bad.yaml" in tiny.refused("--flperf-suite=bad.yaml", *tiny.at)


def test_huge(tiny: Tiny) -> None:
    """A suite of 50 MB."""
    (tiny.folder / "bad.json").write_text('{"name": "x", "description": "' + "x" * (50 << 20) + '"}')
    message = tiny.refused("--flperf-suite=bad.json", *tiny.at)
    assert "bad.json" in message
    assert len(message) < 1000


def test_folder_and_unreadable(tiny: Tiny) -> None:
    """A folder, and a link to nowhere."""
    (tiny.folder / "bad.json").mkdir()
    assert "folder" in tiny.refused("--flperf-suite=bad.json", *tiny.at)
    (tiny.folder / "gone.json").symlink_to("nowhere.json")
    assert "gone.json" in tiny.refused("--flperf-suite=gone.json", *tiny.at)


@pytest.mark.parametrize("name", ["", " ", "/", "..", "a\nb", "x" * 5000, "名前", "flperf:", "flperf:nope", "~/x.json"])
def test_strange_suite_names(tiny: Tiny, name: str) -> None:
    """Whatever is given as a suite, the refusal is one short message."""
    message = tiny.refused(f"--flperf-suite={name}", *tiny.at)
    assert len(message) < 1000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            "name: x\nscenarios:\n- name: a\n  prompt: x\n  budgets:\n  - tps.p50 > 1\n  - tps.p50 > x\n",
            ":7: scenarios[0]",
        ),
        ("name: x\nbudgets: tps.p50 => 3\nscenarios: [{name: a, prompt: x}]\n", ":2: budgets"),
        ("name: x\ndefaults:\n  budgets: [nope]\nscenarios: [{name: a, prompt: x}]\n", ":3: defaults.budgets[0]"),
    ],
)
def test_place_of_a_budget(tiny: Tiny, text: str, place: str) -> None:
    """A malformed budget is told with file, line and key path, wherever it stands."""
    (tiny.folder / "bad.yaml").write_text(text)
    assert f"bad.yaml{place}" in tiny.refused("--flperf-suite=bad.yaml", *tiny.at)


@pytest.mark.parametrize(
    "option",
    [
        "--flperf-suite=",
        "--flperf-model=",
        "--flperf-model= , ",
        "--flperf-base-url=",
        "--flperf-budget=",
        "--flperf-report-dir= ",
        "--flperf-api-key-env=",
        "--flperf-catalog-url=",
        "--flperf-model-cache=",
        "--flperf-iterations=",
    ],
)
def test_empty_options(tiny: Tiny, option: str) -> None:
    """An option without a value, as a variable that isn't set leaves it behind, is refused and not passed over."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert ("unknown suite: found ''" if option == "--flperf-suite=" else option.partition("=")[0]) in done.text


@pytest.mark.parametrize(
    "option",
    [
        "--flperf-base-url=nonsense",
        "--flperf-budget=x",
        "--flperf-iterations=0",
        "--flperf-api-key-env=NOT_SET_ANYWHERE",
    ],
)
def test_without_a_suite(tiny: Tiny, option: str) -> None:
    """What the command line alone shows to be wrong is refused without a suite, too."""
    tiny.pytester.makepyfile(test_mine="def test_me(flperf): flperf.run(prompt='x')")
    assert option.partition("=")[0] in tiny.refused(option)


def test_suite_as_an_argument(tiny: Tiny) -> None:
    """A broken suite that is named without the option says what is wrong; a file of another kind is left to others."""
    (tiny.folder / "bad.yaml").write_text("name: x\nscenarios: 3\n")
    for argument in ("bad.yaml", "bad.yaml::one[m]"):
        assert "bad.yaml:2: scenarios" in tiny.refused(argument)
    (tiny.folder / "other.yaml").write_text("a: b\n")
    done = tiny.run("other.yaml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "flperf" not in done.lines[-1]


def test_unknown_id(tiny: Tiny) -> None:
    """An id whose scenario or packaged suite isn't there is bad usage."""
    tiny.suite()
    assert "quick" in tiny.refused("flperf:quik::one[m]", *tiny.at)
    done = tiny.run("tiny.json::none[reference]", *tiny.at)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "tiny.json::none" in done.text
