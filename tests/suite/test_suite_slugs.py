"""Names made fit for node ids."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.suite.slugs import ascii_slug, slug, unique_slugs, without_clashes

any_text = st.text(st.characters(codec=None, exclude_categories=()))  # with lone surrogates


def is_fit(text: str) -> bool:
    """Tell whether *text* can stand in a node id and in a file name."""
    return (
        0 < len(text) <= 80
        and text.isprintable()
        and not set(text) & set("[]/\\\"'`:*?<>|")
        and not any(character.isspace() or unicodedata.category(character)[0] == "C" for character in text)
        and text.strip(".-") == text
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("short-chat", "short-chat"),
        ("Short chat, v1.2_b+c=d@e", "Short-chat,-v1.2_b+c=d@e"),
        ("a::b[c]/d\\e\nf\tg\0h", "a-b-c-d-e-f-g-h"),
        ("  'quoted' \"name\"  ", "quoted-name"),
        ("日本語 テスト", "日本語-テスト"),
        ("e\u0301te\u0301", "été"),
        ("हिन्दी", "हिन्दी"),
        ("a\u200db\u202ec", "abc"),
        ("..", None),
        ("🎉🎉", None),
        ("\ufe0f", None),
        ("\ud800", None),
        ("", None),
        ("setup-module", "setup-module"),
        ("pytest", "pytest"),
    ],
)
def test_slug_keeps_what_is_readable(name: str, expected: str | None) -> None:
    """Letters of any script stay, all else becomes one dash; a name of which nothing is left becomes its hash."""
    if expected is None:
        assert slug(name).startswith("x-")
        assert len(slug(name)) == len("x-") + 8
    else:
        assert slug(name) == expected


@pytest.mark.parametrize(
    "name",
    ["setup_module", "tearDownModule", "setup_function", "pytestmark", "pytest_generate_tests", "__doc__", "__test__"],
)
def test_slug_is_none_of_pytests_names(name: str) -> None:
    """A name that pytest looks for, or past, in a module gets its hash, so that its case is neither lost nor called."""
    assert slug(name).startswith(f"{name}-")
    assert is_fit(slug(name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flperf-nano", "flperf-nano"),
        ("qwen2.5-0.5b-instruct-generic-cpu:4", "qwen2.5-0.5b-instruct-generic-cpu-4"),
        ("org/model", "org-model"),
        ("modèle", "modele-"),
        ("模型", "x-"),
    ],
)
def test_ascii_slug_is_readable(name: str, expected: str) -> None:
    """A name beyond ASCII keeps what can be kept and carries its hash."""
    text = ascii_slug(name)
    assert text.isascii()
    assert text.startswith(expected)
    assert len(text) == len(expected) + (0 if name.isascii() else 8)


def test_long_names_are_cut_with_their_hash() -> None:
    """Names of 100 kB that differ at their end only have different slugs of 80 characters."""
    first, second = slug("a" * 100_000), slug("a" * 99_999 + "b")
    assert first != second
    assert len(first) == len(second) == 80


@given(any_text)
def test_any_name_is_made_fit(name: str) -> None:
    """Any text at all, lone surrogates too, becomes a fit id, and always the same."""
    assert is_fit(slug(name))
    assert slug(name) == slug(name)
    assert is_fit(ascii_slug(name))
    assert ascii_slug(name).isascii()


@given(
    st.sets(st.text("aA1 -_:é", max_size=4) | any_text, max_size=20), st.booleans(), st.randoms(use_true_random=False)
)
def test_slugs_differ_in_any_order(names: set[str], ascii_only: bool, shuffler: random.Random) -> None:
    """No two names share a slug, even where case is ignored, and the order of the names changes nothing."""
    ordered = sorted(names)
    slugs = unique_slugs(ordered, ascii_only=ascii_only)
    assert all(is_fit(text) for text in slugs.values())
    assert len({text.casefold() for text in slugs.values()}) == len(names)
    shuffler.shuffle(ordered)
    assert unique_slugs(ordered, ascii_only=ascii_only) == slugs


def test_all_that_clash_get_their_hash() -> None:
    """Of two names with one slug neither keeps it, and a name that looks like such a hash gives way as well."""
    slugs = unique_slugs(["a b", "a:b", "other"])
    assert slugs["other"] == "other"
    assert "a-b" not in slugs.values()
    trap = unique_slugs(["a b", "a:b", slugs["a b"]])
    assert len(set(trap.values())) == 3


def test_clashes_of_given_ids_are_solved() -> None:
    """Ids that were put together elsewhere are told apart by the hash of their full names."""
    ids = without_clashes({"one": "m-stop=x", "two": "m-stop=x", "three": "m"})
    assert ids["three"] == "m"
    assert ids["one"] != ids["two"]
