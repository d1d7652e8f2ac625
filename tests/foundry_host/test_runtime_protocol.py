"""The lines between parent and host: whatever goes in comes out, and nothing else gets through."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_flperf.foundry_host.protocol import (
    MAX_LINE_BYTES,
    Answered,
    Cancel,
    Command,
    Failure,
    FailureKind,
    Message,
    Mode,
    ModelInfo,
    Progress,
    ProtocolError,
    Ready,
    Result,
    Start,
    Verb,
    decode,
    encode,
)

# Every code point, lone surrogates too: Windows paths may hold them.
text = st.text(st.characters(exclude_categories=()))
whole = st.integers(0, 2**63)
seconds = st.floats(0, allow_infinity=False)
maybe = st.none() | text
models = st.builds(
    ModelInfo,
    id=text.filter(bool),
    alias=text,
    device=text,
    execution_provider=text,
    size_mb=st.none() | st.integers(),
    context_length=st.none() | st.integers(),
    max_output_tokens=st.none() | st.integers(),
    cached=st.booleans(),
    loaded=st.booleans(),
    default=st.booleans(),
    task=text,
    license=text,
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Start,
        mode=st.sampled_from(Mode),
        logs_dir=text,
        app_name=text,
        parent_pid=whole,
        die_with_parent=st.booleans(),
        app_data_dir=maybe,
        model_cache_dir=maybe,
        catalog_url=maybe,
        log_level=text,
    ),
    st.builds(Command, id=whole, verb=st.sampled_from(Verb), model_id=text.filter(bool), body=text),
    st.builds(Cancel, id=whole),
    st.builds(Ready, url=text, pid=whole, sdk_version=text, start_s=seconds),
    st.builds(Progress, id=whole, percent=st.none() | st.floats(0, 100), what=text),
    st.lists(st.tuples(whole, text), max_size=3).flatmap(
        lambda chunks: st.builds(
            Answered,
            id=whole,
            sent_ns=whole,
            stamps_ns=st.just(tuple(stamp for stamp, _ in chunks)),
            chunks=st.just(tuple(chunk for _, chunk in chunks)),
            usage=text,
            ended_ns=whole,
            error=text,
        )
    ),
    st.builds(
        Result,
        id=whole,
        seconds=seconds,
        models=st.lists(models, max_size=3).map(tuple),
        loaded=st.lists(text, max_size=3).map(tuple),
        providers=st.lists(text, max_size=3).map(tuple),
        failed=st.lists(text, max_size=3).map(tuple),
    ),
    st.builds(Failure, id=st.none() | whole, kind=st.sampled_from(FailureKind), message=text),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@given(messages)
def test_round_trip(message: Message) -> None:
    """A message is one line of ASCII, and reads back as itself."""
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert decode(line) == message


@given(st.binary(max_size=200))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"type": "cancel", "id": ' + b"9" * 5000 + b"}")
@example(b'{"type": ["cancel"], "id": 1}')
@example(b'{"type": "progress", "id": 1, "percent": NaN}')
@example(b'{"type": "result", "id": 1, "seconds": 0, "models": [{}]}')
@example(b'{"type": "result", "id": 1, "seconds": 0, "models": {}}')
@example(b'{"type": "command", "id": 1, "verb": ["load"]}')
def test_noise_is_refused(line: bytes) -> None:
    """No bytes whatever raise anything but ProtocolError."""
    with pytest.raises(ProtocolError):
        decode(line)


@given(messages, st.data())
def test_changed_messages(message: Message, data: st.DataObject) -> None:
    """A message with a value replaced, a key taken away or added reads as a valid message or not at all."""
    values = json.loads(encode(message))
    key = data.draw(st.sampled_from(sorted(values)) | text)
    if data.draw(st.booleans()):
        values[key] = data.draw(anything)
    else:
        values.pop(key, None)
    try:
        read = decode(json.dumps(values).encode())
    except ProtocolError:
        return
    assert decode(encode(read)) == read


@pytest.mark.parametrize(
    "make",
    [
        lambda: Command(-1, Verb.LIST),
        lambda: Command(True, Verb.LIST),
        lambda: Command(1, Verb.LOAD),
        lambda: Command(1, Verb.DOWNLOAD, ""),
        lambda: Progress(1, math.inf),
        lambda: Progress(1, -1.0),
        lambda: Result(1, math.nan),
        lambda: Failure(None, FailureKind.FAILED, None),  # type: ignore[arg-type]
    ],
)
def test_invalid_messages_can_not_be_made(make: type) -> None:
    """Validation is the dataclass's own, on either side."""
    with pytest.raises(ProtocolError):
        make()


def test_line_length_is_bounded() -> None:
    """A line without end is refused by its length."""
    with pytest.raises(ProtocolError, match="bytes, expected at most"):
        decode(b" " * (MAX_LINE_BYTES + 1))


@pytest.mark.parametrize(
    ("model_id", "name"), [("qwen2.5-0.5b:4", "qwen2.5-0.5b"), ("plain", "plain"), ("a:b", "a:b"), ("a:b:2", "a:b")]
)
def test_name_without_version(model_id: str, name: str) -> None:
    """A model's name is its id without the version."""
    blank = {"device": "", "execution_provider": "", "size_mb": None, "context_length": None, "max_output_tokens": None}
    flags = {"cached": False, "loaded": False, "default": False, "task": "", "license": ""}
    assert ModelInfo(id=model_id, alias="", **blank, **flags).name == name  # type: ignore[arg-type]
