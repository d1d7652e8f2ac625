"""Build the two models that ship with the package: random weights, real files, the real runtime.

Needs what running does not: torch (CPU), transformers, tokenizers, onnx and onnxruntime-genai, from PyPI:

    python -m venv build-env
    build-env/bin/pip install torch==2.13.0 transformers tokenizers onnx onnxruntime-genai onnxruntime
    build-env/bin/python scripts/build_models.py

The weights come from a fixed seed and the tokenizer from texts of the Python that runs this, so that the same versions
build the same model; ``model.json`` beside each model says which versions those were.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import inspect
import io
import json
import platform
import pydoc_data.topics
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VOCABULARY = 2048
POSITIONS = 4096
MAX_OUTPUT_TOKENS = 2048
SEED = 20260101
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Byte-level BPE takes any text; a little of other scripts keeps their prompts from being one token per byte.
OTHER_LANGUAGES = (
    "Wie schnell ist ein Sprachmodell auf dem eigenen Rechner? Die Antwort hängt von Größe und Gerät ab.",
    "¿Qué tan rápido responde un modelo de lenguaje en tu propia máquina? Depende del tamaño y del dispositivo.",
    "Quelle est la vitesse d'un modèle de langage sur votre propre machine ? Cela dépend de sa taille.",
    "Насколько быстро языковая модель отвечает на вашем компьютере? Это зависит от размера и устройства.",
    "言語モデルは自分のコンピューターでどれくらい速く答えますか。大きさと装置によります。",
    "语言模型在您自己的电脑上回答得有多快？这取决于模型的大小和设备。",
    "ما مدى سرعة نموذج اللغة على جهازك؟ يعتمد ذلك على الحجم والجهاز.",
    "आपके अपने कंप्यूटर पर भाषा मॉडल कितनी तेज़ी से उत्तर देता है? यह आकार पर निर्भर करता है।",
)
STDLIB_TEXTS = ("argparse", "asyncio.base_events", "collections", "datetime", "decimal", "difflib", "email.message")


@dataclass(frozen=True)
class Recipe:
    """One model to build."""

    name: str
    hidden: int
    layers: int
    heads: int
    seed: int
    spread: float
    """Standard deviation of the weights: wide enough that the answer depends on the whole prompt."""


RECIPES = (
    Recipe(name="flperf-nano", hidden=128, layers=2, heads=4, seed=SEED, spread=0.09),
    Recipe(name="flperf-micro", hidden=256, layers=8, heads=4, seed=SEED + 1, spread=0.06),
)


def training_texts() -> Iterator[str]:
    """Prose and code of the running Python's own documentation and library, and a few sentences in other scripts."""
    topics: dict[str, str] = pydoc_data.topics.topics
    for key in sorted(topics):
        yield topics[key]
    for name in STDLIB_TEXTS:
        yield inspect.getsource(__import__(name, fromlist=["*"]))
    for _ in range(8):
        yield from OTHER_LANGUAGES


def build_tokenizer(folder: Path) -> Any:
    """Train byte-level BPE, check that it gives back what it was given, and save it as a Hugging Face tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY, tokenizer.get_vocab_size()
    for text in (*OTHER_LANGUAGES, "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🏳️‍🌈 \U0010fffd", '{"a": [1, 2]}\r\n\tdef f(): ...\x00\x7f'):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text, text
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=TURN_END, pad_token=END_OF_TEXT, model_max_length=POSITIONS
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    # The runtime's own tokenizer knows Qwen2's byte-level BPE by this class name.
    config_path = folder / "tokenizer_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "Qwen2Tokenizer"
    config["chat_template"] = CHAT_TEMPLATE
    config_path.write_text(json.dumps(config, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return tokenizer


def tokens_without_text(tokenizer: Any) -> list[int]:
    """Special tokens, and those whose bytes are no text by themselves (a part of a character)."""
    by_character = {character: byte for byte, character in byte_alphabet().items()}
    found = []
    for token, index in tokenizer.get_vocab().items():
        if token in {END_OF_TEXT, TURN_START, TURN_END}:
            found.append(index)
            continue
        try:
            bytes(by_character[character] for character in token).decode("utf-8")
        except UnicodeDecodeError:
            found.append(index)
    return sorted(found)


def byte_alphabet() -> dict[int, str]:
    """The printable character by which byte-level BPE writes each byte (the table of GPT-2)."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


def build_weights(recipe: Recipe, folder: Path, tokenizer: Any) -> int:
    """Draw the weights and save them as a Hugging Face folder; the number of parameters."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(mode=True)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.hidden * 2,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads // 2,
        max_position_embeddings=POSITIONS,
        initializer_range=recipe.spread,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(TURN_END),
        pad_token_id=tokenizer.token_to_id(END_OF_TEXT),
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        # Steep logits: greedy decoding does not hang on a rounding difference between machines, and a sampled answer
        # still varies.  Rows near zero: the end of the turn has a logit of about 0 among 2,048 of a deviation of 4.5,
        # so that no answer ends before max_tokens, and no token is half a character that would stay invisible.
        head = model.lm_head.weight
        head.mul_(4.5 / (recipe.spread * recipe.hidden**0.5))
        head[tokens_without_text(tokenizer)] *= 1e-3
        # The embedding stays float32 in the ONNX file; with 16 significant bits it zips to half.
        embedding = model.model.embed_tokens.weight
        embedding.copy_(embedding.bfloat16().float())
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def build(recipe: Recipe, destination: Path) -> None:
    """Build one model into ``destination/<name>``."""
    target = destination / recipe.name
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch) / "hf", Path(scratch) / "onnx"
        source.mkdir()
        tokenizer = build_tokenizer(source)
        parameters = build_weights(recipe, source, tokenizer)
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-m", str(source), "-o", str(output), "-p", "int4", "-e", "cpu", "-c", str(Path(scratch) / "cache")]
        subprocess.run(command, check=True)
        settle(recipe, output)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(output, target)
    describe(recipe, target, parameters)
    print(f"{target}: {folder_bytes(target):,} bytes, {zipped_bytes(target):,} zipped")


def settle(recipe: Recipe, folder: Path) -> None:
    """Leave in the folder what the runtime reads, without paths of the machine that built it."""
    config_path = folder / "genai_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["search"] |= {"do_sample": False, "top_k": 50, "top_p": 1.0, "temperature": 1.0, "max_length": POSITIONS}
    config_path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    inference = {"Name": f"{recipe.name}:1", "PromptTemplate": None}
    (folder / "inference_model.json").write_text(json.dumps(inference, indent=1) + "\n", encoding="utf-8")


def describe(recipe: Recipe, folder: Path, parameters: int) -> None:
    """Write ``model.json``: what we ourselves want to know about the model."""
    packages = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime-genai")
    card = {
        "name": recipe.name,
        "version": 1,
        "alias": recipe.name,
        "parameters": parameters,
        "hidden_size": recipe.hidden,
        "layers": recipe.layers,
        "vocabulary": VOCABULARY,
        "context_length": POSITIONS,
        "max_output_tokens": MAX_OUTPUT_TOKENS,
        "size_bytes": folder_bytes(folder),
        "license": "MIT",
        "note": "Random weights: the answers are noise by design, and end only at max_tokens.",
        "seed": recipe.seed,
        "built_with": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in packages},
    }
    (folder / "model.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def folder_bytes(folder: Path) -> int:
    """Size of what the runtime reads, in bytes."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != "model.json")


def zipped_bytes(folder: Path) -> int:
    """Size in a wheel, in bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return len(buffer.getvalue())


def main() -> None:
    """Build all of them."""
    packaged = Path(__file__).resolve().parent.parent / "pytest_flperf" / "foundry_host" / "models"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=packaged, help="Folder that gets one folder per model")
    destination: Path = parser.parse_args().output
    destination.mkdir(parents=True, exist_ok=True)
    for recipe in RECIPES:
        build(recipe, destination)
    total = sum(zipped_bytes(destination / recipe.name) for recipe in RECIPES)
    print(f"together {total:,} bytes zipped")
    assert total < 8_000_000, "the models must stay under 8 MB in the wheel"


if __name__ == "__main__":
    main()
