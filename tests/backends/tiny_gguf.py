"""A language model of a megabyte with random weights, as a file that llama.cpp loads: for tests, it says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

_CONTEXT: Final = 4096
_WIDTH: Final = 64
_LAYERS: Final = 2
_HEADS: Final = 4
_INNER: Final = 128
_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_tiny_gguf(path: Path, seed: int = 0) -> Path:
    """Write a llama-architecture model: two layers, bytes and pairs of letters as tokens, a ChatML template."""
    import gguf
    import numpy

    tokens, merges = _vocabulary()
    random = numpy.random.default_rng(seed)

    def weights(*shape: int) -> Any:
        return random.standard_normal(shape, dtype=numpy.float32) * 0.05

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if token.startswith("<|") else gguf.TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index("<|im_start|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(_TEMPLATE)
    writer.add_tensor("token_embd.weight", weights(len(tokens), _WIDTH))
    writer.add_tensor("output_norm.weight", numpy.ones(_WIDTH, dtype=numpy.float32))
    output = weights(len(tokens), _WIDTH)
    output[tokens.index("<|im_end|>")] = 0  # an answer ends when it is as long as was asked
    output[tokens.index("<|im_start|>")] = 0
    writer.add_tensor("output.weight", output)
    for layer in range(_LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", numpy.ones(_WIDTH, dtype=numpy.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", weights(_WIDTH, _WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", weights(_INNER, _WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", weights(_WIDTH, _INNER))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> tuple[list[str], list[str]]:
    """All bytes in GPT-2's printable form, pairs of letters with the merges that make them, and ChatML's marks."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in kept]
    letters = {byte: chr(byte) for byte in kept} | {byte: chr(256 + at) for at, byte in enumerate(others)}
    single = [letters[byte] for byte in range(256)]
    small = "etaoinshrdlu"
    merges = [f"{first} {second}" for first in small for second in small]
    return [*single, *(merge.replace(" ", "") for merge in merges), "<|im_start|>", "<|im_end|>"], merges
