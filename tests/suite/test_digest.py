"""The digest of what a scenario asks."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_flperf.suite.digest import prompts_digest
from pytest_flperf.suite.loader import scenario_of

BASE: dict[str, Any] = {"name": "one", "prompt": "Hello"}


def digest(**changes: Any) -> str:
    """Of a scenario."""
    return prompts_digest(scenario_of({**BASE, **changes}))


def test_the_same_text() -> None:
    """Is the same, whatever it is called and however it is played."""
    assert digest() == digest(name="two", max_tokens=3, tags=["a"]) == prompts_digest(scenario_of(BASE))
    assert len(digest()) == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "Hello!"},
        {"system": "Be brief."},
        {"expect": {"contains": "a"}},
        {"expect": {"contains": "b"}},
        {"prompt": None, "template": "{{ x }}", "variables": {"x": "1"}},
        {"prompt": None, "template": "{{ x }}", "variables": {"x": "2"}},
        {"prompt": None, "template": "{{ x }}.", "variables": {"x": "2"}},
        {"prompt": None, "input_tokens": 20},
        {"prompt": None, "input_tokens": 30},
        {"shared_prefix_tokens": 30},
        {"prompt": None, "filler": "code", "input_tokens": 30},
    ],
    ids=str,
)
def test_another_text(changes: dict[str, Any]) -> None:
    """Each is told from the plain one."""
    given = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    assert prompts_digest(scenario_of(given)) != digest()
