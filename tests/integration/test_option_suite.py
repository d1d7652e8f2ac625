"""``--flperf-suite``."""

from __future__ import annotations

import json

import pytest
from tiny_runs import Tiny

NANO = "--flperf-model=flperf-nano"
LEGACY = {
    "name": "custom",
    "description": "My own",
    "version": "1.0",
    "default_config": {
        "iterations": 2,
        "concurrency": 1,
        "timeout": 30000,
        "temperature": 0.7,
        "streaming": True,
    },
    "scenarios": [
        {"name": "short", "prompt": "Hi", "max_tokens": 3, "expected_output_length": "short", "description": "Hi"},
    ],
}
TOML = 'name = "tiny"\n[[scenarios]]\nname = "one"\nprompt = "Hello"\n'
YAML = "name: tiny\nscenarios:\n- {name: one, prompt: Hello}\n"


def test_packaged_by_name(tiny: Tiny) -> None:
    """A name means the packaged suite, with ids that are the same on every machine."""
    done = tiny.run("--flperf-suite=quick", "--co", "-q", NANO)
    assert done.ret == 0
    assert "flperf:quick::short-chat[flperf-nano]" in done.ids
    assert all(each.startswith("flperf:quick::") for each in done.ids)


def test_own_folder_first(tiny: Tiny) -> None:
    """A suite in rootdir's suites/ comes before the packaged one of that name, which keeps its long name."""
    tiny.suite(file="suites/quick.json")
    assert tiny.run("--flperf-suite=quick", "--co", "-q", NANO).ids == ["suites/quick.json::one[flperf-nano]"]
    packaged = tiny.run("--flperf-suite=flperf:quick", "--co", "-q", NANO).ids
    assert packaged
    assert all(each.startswith("flperf:quick::") for each in packaged)


@pytest.mark.parametrize(("file", "text"), [("tiny.toml", TOML), ("tiny.yaml", YAML), ("deep/er/tiny.yml", YAML)])
def test_path(tiny: Tiny, file: str, text: str) -> None:
    """A path means that file, in any of the formats."""
    path = tiny.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for name in (file, str(path)):
        assert tiny.run(f"--flperf-suite={name}", "--co", "-q", NANO).ids == [f"{file}::one[flperf-nano]"]


def test_repeated(tiny: Tiny) -> None:
    """Several suites run in one session; one that is named twice runs once."""
    tiny.suite(file="a.json")
    tiny.suite(file="b.json")
    done = tiny.run("--flperf-suite=a.json", "--flperf-suite=b.json", "--flperf-suite=./a.json", "--co", "-q", NANO)
    assert done.ids == ["a.json::one[flperf-nano]", "b.json::one[flperf-nano]"]


def test_legacy_form(tiny: Tiny) -> None:
    """The JSON form that is in use loads as it is: its timeout is in milliseconds."""
    (tiny.folder / "custom.json").write_text(json.dumps(LEGACY))
    done = tiny.run("--flperf-suite=custom.json", *tiny.at)
    assert done.ret == 0, done.text
    assert done.case["requests"]["ok"] == 2
    assert done.case["expected_output_length"] == "short"


@pytest.mark.parametrize("name", ["quik", "flperf:quik", "qiuck.json", "nowhere/quick.json"])
def test_unknown(tiny: Tiny, name: str) -> None:
    """An unknown suite is refused with the nearest names."""
    message = tiny.refused(f"--flperf-suite={name}")
    assert name in message
    assert "quick" in message.replace(name, "")


def test_nothing_else_is_collected(tiny: Tiny) -> None:
    """Neither the folder's tests nor its testpaths run along, unless they are named."""
    tiny.suite()
    tiny.pytester.makepyfile(test_mine="def test_me(): pass")
    tiny.pytester.makeini("[pytest]\ntestpaths = test_mine.py\npython_functions = check_*")
    assert tiny.run("--flperf-suite=tiny.json", "--co", "-q", NANO).ids == ["tiny.json::one[flperf-nano]"]
    tiny.pytester.makeini("[pytest]\n")
    both = tiny.run("--flperf-suite=tiny.json", "test_mine.py", "--co", "-q", NANO).ids
    assert sorted(both) == ["test_mine.py::test_me", "tiny.json::one[flperf-nano]"]
