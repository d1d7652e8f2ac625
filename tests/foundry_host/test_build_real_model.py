"""How the real model is built: the right weights, in the order and under the names that Hugging Face has."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "build_real_model.py"))


def rotary_order(values: Any, heads: int) -> Any:
    """What llama.cpp's converter does to the rows of q and k."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, values.shape[1])
    return halves.swapaxes(1, 2).reshape(values.shape)


@given(heads=st.integers(1, 9), half=st.integers(1, 8), width=st.integers(1, 5))
def test_rows_come_back_in_their_order(heads: int, half: int, width: int) -> None:
    """Undone is what the converter did, whatever the number of heads."""
    values = numpy.arange(heads * half * 2 * width).reshape(heads * half * 2, width)
    assert (SCRIPT["without_rotary_order"](rotary_order(values, heads), heads) == values).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"),
        ("blk.29.ffn_norm.weight", "model.layers.29.post_attention_layernorm.weight"),
        ("blk.7.ffn_down.weight", "model.layers.7.mlp.down_proj.weight"),
    ],
)
def test_names_of_tensors(name: str, expected: str) -> None:
    """Every part of a layer has its own."""
    assert SCRIPT["hugging_face_name"](name) == expected


def test_a_tensor_without_a_name_there() -> None:
    """An error, and not left out: a bias would be missing from the answers."""
    with pytest.raises(KeyError):
        SCRIPT["hugging_face_name"]("blk.0.attn_q_norm.weight")


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """One byte more or less is another file."""
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(SystemExit, match=r"has SHA-256 .*, expected b179c952"):
        SCRIPT["check_weights"](path)
