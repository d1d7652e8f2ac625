"""A tokenizer for the clients that insist on one: a word is a token, as in the reference server's answers."""

from __future__ import annotations

import json
from pathlib import Path

CACHED_NAME = "local/words"
REVISION = "0" * 40


def write_tokenizer(folder: Path) -> None:
    """A folder as Hugging Face's libraries load it, written without them."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["[UNK]", "[EOS]"]
    vocabulary = {word: number for number, word in enumerate([*special, *(f"{number:03}" for number in range(1000))])}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": word, **plain} for number, word in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "[UNK]",
        "eos_token": "[EOS]",
        "pad_token": "[EOS]",
        "model_max_length": 100_000,
        "chat_template": "{% for message in messages %}{{ message['content'] }} {% endfor %}",
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_cached_tokenizer(home: Path) -> None:
    """The same as if it had been fetched before: offline, aiperf takes no folder."""
    repository = home / "hub" / f"models--{CACHED_NAME.replace('/', '--')}"
    write_tokenizer(repository / "snapshots" / REVISION)
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(REVISION, encoding="utf-8")
