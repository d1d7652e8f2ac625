"""Lists of models in other shapes than the OpenAI API's, and what a name means in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.backends.base import ListedModel
from pytest_flperf.backends.model_lists import find_listed, is_another, listed_models, short_name, some_names

A, B = {"id": "a", "object": "model"}, {"id": "b", "object": "model"}
SHAPES: dict[str, Any] = {
    "OpenAI": {"object": "list", "data": [A, B]},
    "a bare array (Together)": [A, B],
    "texts": ["a", "b"],
    "data of texts": {"data": ["a", "b"]},
    "models (llama.cpp and others)": {"models": [{"name": "a"}, {"name": "b"}]},
    "models of texts": {"models": ["a", "b"]},
    "Ollama": {"models": [{"name": "a", "model": "a", "size": 1}, {"name": "b", "model": "b"}]},
    "LM Studio's API v1": {"models": [{"type": "llm", "key": "a"}, {"type": "llm", "key": "b"}]},
    "both, as llama.cpp": {"models": [{"name": "x"}], "object": "list", "data": [A, B]},
    "model_name": {"data": [{"model_name": "a"}, {"model_name": "b"}]},
    "modelId": [{"modelId": "a"}, {"modelId": "b"}],
    "by id": {"a": {"object": "model"}, "b": {"object": "model", "owned_by": "me"}},
    "data by id": {"data": {"a": {"created": 1}, "b": {"created": 2}}},
    "nested": {"result": {"data": [A, B]}},
    "nested twice": {"success": True, "data": {"models": ["a", "b"]}},
    "items": {"items": [A, B], "total": 2},
    "with what is none between": {"data": [A, None, 5, {"no": "id"}, "", {"id": 7}, {"id": None, "name": "b"}]},
    "twice": {"data": [A, B, A, "b"]},
    "an id with a title": [{"id": "a", "name": "The Great A"}, {"id": "b", "display_name": "B"}],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes(shape: str) -> None:
    """All say the same: a and b."""
    found = listed_models(SHAPES[shape])
    assert found is not None
    assert [each.model_id for each in found] == ["a", "b"]


@pytest.mark.parametrize("answer", [{"data": []}, {"data": None}, [], {"models": []}, {"object": "list", "data": {}}])
def test_none_at_all(answer: Any) -> None:
    """A list without a model, whatever it looks like."""
    assert listed_models(answer) == ()


@pytest.mark.parametrize(
    "answer",
    [None, 5, "models", True, {}, {"weird": 1}, {"error": {"message": "no", "type": "x"}}, {"detail": "Not Found"},
     {"error": {"object": "error", "message": "no"}}, {"status": {"value": "ok"}}, {"data": 5}, {"data": "a"}],
)  # fmt: skip
def test_no_list(answer: Any) -> None:
    """Errors and everything else."""
    assert listed_models(answer) is None


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "data", "models", "name", "object", "error", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_like)
def test_any_json(answer: Any) -> None:
    """Nothing raises, and every id is text of one line."""
    for each in listed_models(answer) or ():
        assert each.model_id
        assert each.model_id.isprintable()


def test_a_list_of_a_million() -> None:
    """Bounded, and not slow."""
    found = listed_models({"data": [{"id": f"m{n}"} for n in range(1_000_000)]})
    assert found is not None
    assert len(found) == 10_000
    assert some_names(each.model_id for each in found).endswith("m9 and 9990 more")


def models(*names: str) -> tuple[ListedModel, ...]:
    """Listed under these ids."""
    return tuple(ListedModel(alias=name, model_id=name, source="server") for name in names)


@pytest.mark.parametrize(
    ("name", "listed", "meant"),
    [
        ("m", ("m", "/x/m.gguf"), "m"),
        ("model.gguf", ("/path/to/model.gguf", "other"), "/path/to/model.gguf"),
        ("model", ("/path/to/model.gguf",), "/path/to/model.gguf"),
        ("model", (r"C:\models\model.gguf",), r"C:\models\model.gguf"),
        ("to/model.gguf", ("/path/to/model.gguf", "/path/two/model.gguf"), "/path/to/model.gguf"),
        ("./to/model.gguf", ("/path/to/model.gguf", "/path/two/model.gguf"), "/path/to/model.gguf"),
        ("model.gguf", ("/a/model.gguf", "/a/model.bin"), "/a/model.gguf"),
        ("/elsewhere/model.gguf", ("model",), "model"),
        ("models/model.gguf", ("model.gguf",), "model.gguf"),
        ("model.GGUF", ("/a/model.gguf",), "/a/model.gguf"),
        ("big", ("/a/big-00001-of-00003.gguf",), "/a/big-00001-of-00003.gguf"),
        ("m", ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"), "m-00001-of-00002.gguf"),
        ("m", ("m-00002-of-00002.gguf", "m-00001-of-00002.gguf"), "m-00001-of-00002.gguf"),
        ("m.gguf", ("/a/m-00001-of-00002.gguf", "/a/m-00002-of-00002.gguf"), "/a/m-00001-of-00002.gguf"),
        ("Llama-3-8B", ("/models/Llama-3-8B",), "/models/Llama-3-8B"),
        ("Llama-3-8B", ("/models/Llama-3-8B/",), "/models/Llama-3-8B/"),
        ("gpt-4o", ("openai/gpt-4o",), None),  # a provider and no folder: the server may know what is meant
        ("mod", ("/path/to/model.gguf",), None),
        ("", ("/path/to/model.gguf",), None),
        ("other", ("/path/to/model.gguf",), None),
    ],
)
def test_what_a_name_means(name: str, listed: tuple[str, ...], meant: str | None) -> None:
    """An id as it is, else a file by its name."""
    assert [each.model_id for each in find_listed(name, models(*listed))] == ([meant] if meant else [])


def test_an_alias() -> None:
    """Another name that the list has for it."""
    (found,) = find_listed("short", (ListedModel(alias="short", model_id="long-id", source="server"), *models("other")))
    assert found.model_id == "long-id"


@pytest.mark.parametrize("name", ["model", "model.gguf"])
def test_a_name_that_means_several(name: str) -> None:
    """All of them: the one would be measured for the other."""
    found = find_listed(name, models("/a/model.gguf", "/b/model.gguf", "/c/else.gguf"))
    assert [each.model_id for each in found] == ["/a/model.gguf", "/b/model.gguf"]
    assert len(find_listed("model", models("/a/model.gguf", "/a/model.bin"))) == 2
    assert len(find_listed("model", models("model-00001-of-00002.gguf", "model-00001-of-00003.gguf"))) == 2


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=20), max_size=5))
def test_any_name(name: str, listed: list[str]) -> None:
    """Only what is in the list is found."""
    assert {each.model_id for each in find_listed(name, models(*listed))} <= set(listed)


@pytest.mark.parametrize(
    ("echo", "asked", "other"),
    [
        ("default", "wanted", True),
        ("wanted", "wanted", False),
        ("wanted-2024-08-06", "wanted", False),
        ("wanted:latest", "wanted", False),
        ("provider/wanted", "wanted", False),
        ("not listed", "wanted", False),
        ("file", "wanted", True),
        ("file.gguf", "wanted", True),
        ("default", "default-2024-08-06", False),
        ("wanted-mini", "wanted", True),
    ],
)
def test_another_model(echo: str, asked: str, *, other: bool) -> None:
    """Of the list, and not the one that was asked for under another name."""
    listed = models("default", "wanted-2024-08-06", "wanted:latest", "provider/wanted", "/a/file.gguf", "wanted-mini")
    assert is_another(echo, asked, listed) is other


@pytest.mark.parametrize(
    ("echo", "asked", "listed", "other"),
    [
        ("phi-4", "phi", "phi-4", True),
        ("qwen-2", "qwen", "qwen-2", True),
        ("claude-3", "claude", "claude-3", True),
        ("m-7b", "m", "m-7b", True),
        ("m-7", "m", "m-7", True),
        ("m:v2", "m", "m:v2", True),
        ("m-20", "m", "m m-20", True),
        ("phi-4", "m", "m phi-4", True),
        ("a/m", "b/m", "a/m b/m", True),
        ("/models/a/m.gguf", "/models/b/m.gguf", "/models/a/m.gguf /models/b/m.gguf", True),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-2024-05-13 gpt-4o-2024-08-06", True),
        ("gpt-4o-2024-08-06", "gpt-4o", "gpt-4o gpt-4o-2024-08-06", False),
        ("gpt-4-0613", "gpt-4", "gpt-4 gpt-4-0613", False),
        ("gemini-1.5-pro-002", "gemini-1.5-pro", "gemini-1.5-pro gemini-1.5-pro-002", False),
        ("claude-3-opus-20240229", "claude-3-opus", "claude-3-opus claude-3-opus-20240229", False),
        ("m:latest", "m", "m m:latest", False),
        ("m", "a/m", "a/m", False),
        ("a/m", "m", "m a/m", False),
        ("x/a/m", "a/m", "a/m x/a/m", False),
        ("b/m", "a/m", "b/m", False),
        ("other", "m", "m", False),
        ("m", "m", "m other", False),
    ],
)
def test_another_model_by_its_version_or_folder(echo: str, asked: str, listed: str, *, other: bool) -> None:
    """Letter for letter another one of the list, but for what stands for the same one at a later date."""
    assert is_another(echo, asked, models(*listed.split())) is other


def test_two_names_of_one_model() -> None:
    """As vLLM lists what it serves under several names."""
    answer = {"data": [{"id": "a", "root": "/models/x"}, {"id": "b", "root": "/models/x"}, {"id": "c", "root": "c"}]}
    listed = listed_models(answer) or ()
    assert not is_another("a", "b", listed)
    assert is_another("c", "b", listed)


@pytest.mark.parametrize(
    ("model_id", "short"),
    [
        ("/opt/models/Tiny-135M.Q4_1.gguf", "Tiny-135M.Q4_1"),
        (r"C:\models\tiny.gguf", "tiny"),
        ("tiny-00001-of-00003.gguf", "tiny"),
        ("org/model-7B", "org/model-7B"),
        ("phi-4:latest", "phi-4:latest"),
        ("/", "/"),
    ],
)
def test_short_names(model_id: str, short: str) -> None:
    """Of files without folder and ending; other ids as they are."""
    assert short_name(model_id) == short


@given(st.text(min_size=1, max_size=60) | st.from_regex(r"/[a-z./]{0,20}(\.gguf)?", fullmatch=True))
def test_any_short_name_is_found(model_id: str) -> None:
    """By its list of one model."""
    assert [each.model_id for each in find_listed(short_name(model_id), models(model_id))] == [model_id]
