"""Filler text: what it looks like, and that it has the length in tokens that was asked for."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tests import examples
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.prompts import synthetic
from pytest_flperf.suite.prompts.synthetic import FILLERS, LocalTokenizer, TokensPerWord, filler_words

ANY_TEXT = [filler_words(3_000, random.Random(9), kind) for kind in FILLERS] + ["äöü 日本語 🎉 [] {} 0123456789"]


def word_level() -> Tokenizer:
    """Return a tokenizer of whole words and marks, most of them unknown."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "water": 2, ".": 3}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def trained_bpe() -> Tokenizer:
    """Return a BPE of few merges."""
    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(
        ANY_TEXT, trainers.BpeTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False)
    )
    return made


def byte_level(prefix_space: bool = False) -> Tokenizer:
    """Return a byte-level BPE with a template of special tokens, as many models have."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1_500, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False
    )
    made.train_from_iterator(ANY_TEXT, trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return made


def llama_like() -> Tokenizer:
    """Return a BPE over the whole text at once, with spaces as letters of words."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>"], show_progress=False)
    made.train_from_iterator(ANY_TEXT[0].split(". "), trainer)
    return made


def unigram() -> Tokenizer:
    """Return a SentencePiece-like unigram model."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        ANY_TEXT,
        trainers.UnigramTrainer(vocab_size=400, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False),
    )
    return made


def characters() -> Tokenizer:
    """Return a tokenizer of characters, white space included."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return made


def bounded() -> Tokenizer:
    """Return a tokenizer that would cut at five tokens and fill up to fifty."""
    made = word_level()
    made.enable_truncation(5)
    made.enable_padding(length=50)
    return made


MAKERS = {
    made.__name__: made for made in (word_level, trained_bpe, byte_level, llama_like, unigram, characters, bounded)
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Return the tokenizer files by name."""
    folder = tmp_path_factory.mktemp("tokenizers")
    with pytest.MonkeyPatch.context() as patch:
        # training in threads would warn of every fork after it
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        for name, make in MAKERS.items():
            make().save(str(folder / f"{name}.json"))
        yield {name: folder / f"{name}.json" for name in MAKERS}


@pytest.fixture(scope="module")
def tokenizers(paths: dict[str, Path]) -> dict[str, LocalTokenizer]:
    """Return them loaded."""
    return {name: LocalTokenizer(path) for name, path in paths.items()}


@pytest.mark.parametrize("filler", FILLERS)
def test_filler_has_as_many_pieces(filler: str) -> None:
    """A piece is what stands between white spaces, of which none is at either end."""
    for count in range(120):
        text = filler_words(count, random.Random(count), filler)
        assert len(text.split()) == count
        assert text == text.strip()
        assert text.isascii()


@pytest.mark.parametrize("filler", FILLERS)
def test_filler_repeats(filler: str) -> None:
    """A seed gives the same text again, another seed another."""
    first = filler_words(50, random.Random(1), filler)
    assert first == filler_words(50, random.Random(1), filler)
    assert first != filler_words(50, random.Random(2), filler)


def test_filler_looks_like_its_kind() -> None:
    """Prose has sentences and paragraphs, code compiles up to where it ends, JSON is JSON."""
    prose = filler_words(500, random.Random(1))
    assert prose.endswith(".")
    assert prose[0].isupper()
    assert all(20 < len(part) < 1_000 for part in prose.split("\n\n"))
    code = filler_words(500, random.Random(1), "code")
    compile(code.rpartition("\n")[0].rpartition("\n")[0] + "\n    pass\n", "filler", "exec", dont_inherit=True)
    for count in range(1, 120):
        assert isinstance(json.loads(filler_words(count, random.Random(count), "json")), dict)


def test_unknown_filler() -> None:
    """A kind that is none is a mistake of the caller's."""
    with pytest.raises(ValueError, match="unknown filler 'poem', expected one of prose, code, json"):
        filler_words(1, random.Random(1), "poem")


@pytest.mark.parametrize("filler", FILLERS)
def test_filler_is_quick(filler: str) -> None:
    """100,000 words take a tenth of a second; the bound is for a busy machine."""
    begin = time.process_time()
    filler_words(100_000, random.Random(1), filler)
    assert time.process_time() - begin < 30


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("filler", FILLERS)
def test_exact_lengths(paths: dict[str, Path], tokenizers: dict[str, LocalTokenizer], name: str, filler: str) -> None:
    """Every tokenizer gets texts of exactly the length that was asked for, counted by itself."""
    judge = Tokenizer.from_file(str(paths[name]))
    judge.no_truncation()
    judge.no_padding()
    for tokens in (*range(1, 40), 100, 257, 1_000):
        text = tokenizers[name].exact(tokens, random.Random(tokens), filler)
        assert len(judge.encode(text, add_special_tokens=False).ids) == tokens
        assert text.strip() == text != ""


@settings(deadline=None, max_examples=examples(50))
@given(st.integers(1, 3_000), st.integers(), st.sampled_from(FILLERS), st.sampled_from(sorted(MAKERS)))
def test_any_length(tokenizers: dict[str, LocalTokenizer], tokens: int, seed: int, filler: str, name: str) -> None:
    """Any length comes out exact, and again for the same seed."""
    tokenizer = tokenizers[name]
    text = tokenizer.exact(tokens, random.Random(seed), filler)
    assert tokenizer.count(text) == tokens
    assert text == tokenizer.exact(tokens, random.Random(seed), filler)


def test_exact_is_quick(tokenizers: dict[str, LocalTokenizer]) -> None:
    """8,000 tokens take tens of milliseconds; the bound is for a busy machine."""
    tokenizers["byte_level"].exact(10, random.Random(1))
    begin = time.process_time()
    tokenizers["byte_level"].exact(8_000, random.Random(1))
    assert time.process_time() - begin < 30


def test_count_is_without_special_tokens(tokenizers: dict[str, LocalTokenizer]) -> None:
    """What a tokenizer puts in front is not counted, nor does it cut or fill up."""
    assert tokenizers["byte_level"].count("") == 0
    assert tokenizers["bounded"].count("a b c d e f g") == 7


def test_no_tokens_at_all(tmp_path: Path) -> None:
    """A tokenizer that drops what it doesn't know can't write anything."""
    path = tmp_path / "silent.json"
    made = Tokenizer(models.BPE({"ŋ": 0}, []))
    made.save(str(path))
    with pytest.raises(SuiteError, match=r"silent.json: found no text of exactly 9 tokens, expected a tokenizer for"):
        LocalTokenizer(path).exact(9, random.Random(1))


def test_lengths_that_no_text_has(tmp_path: Path) -> None:
    """A tokenizer of two tokens per character has no text of an odd number."""
    path = tmp_path / "pairs.json"
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.normalizer = normalizers.Replace(_any_character(), "xx")
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.save(str(path))
    tokenizer = LocalTokenizer(path)
    assert tokenizer.count(tokenizer.exact(100, random.Random(1))) == 100
    with pytest.raises(SuiteError, match="found no text of exactly 101 tokens"):
        tokenizer.exact(101, random.Random(1))


def _any_character() -> Any:
    from tokenizers import Regex

    return Regex(".|\n")


def test_exact_takes_sensible_arguments(tokenizers: dict[str, LocalTokenizer]) -> None:
    """No tokens and unknown kinds are mistakes of the caller's."""
    with pytest.raises(ValueError, match="expected one token or more, not 0"):
        tokenizers["word_level"].exact(0, random.Random(1))
    with pytest.raises(ValueError, match="unknown filler"):
        tokenizers["word_level"].exact(5, random.Random(1), "poem")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "found an empty file, expected a tokenizer.json"),
        (b" \n", "found an empty file"),
        (b"\x0a\x09\x00model", ":2: found a binary file (a NUL byte), expected a tokenizer.json in UTF-8"),
        (b"\xff", ":1: found the byte 0xff"),
        (b"hello", "found a file that can't be read as a tokenizer, expected a tokenizer.json: expected value"),
        (b"{}", "found a file that can't be read as a tokenizer, expected a tokenizer.json: "),
        (b'{"model_type": "llama", "vocab_size": 32000}', "found a file that can't be read as a tokenizer"),
        (b'{"version": "1.0", "model": {"type": "BPE"}}', "found a file that can't be read as a tokenizer"),
        (b'{"version": "1.0", "model": ' + b"[" * 100_000, "found a file that can't be read as a tokenizer"),
        (b"9" * 100_000, "found a file that can't be read as a tokenizer"),
    ],
)
def test_files_that_are_no_tokenizer(tmp_path: Path, raw: bytes, expected: str) -> None:
    """Whatever a file holds, the message names it and stays short."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(raw)
    with pytest.raises(SuiteError) as caught:
        LocalTokenizer(path)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < len(str(path)) + 400


def test_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing files, folders and files too large are told apart."""
    with pytest.raises(SuiteError, match=r"no such file, expected a tokenizer.json"):
        LocalTokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(SuiteError, match=r"found a folder, expected a tokenizer.json"):
        LocalTokenizer(tmp_path)
    monkeypatch.setattr(synthetic, "MAX_TOKENIZER_BYTES", 1_000_000)
    (tmp_path / "tokenizer.json").write_bytes(b" " * 1_200_000)
    with pytest.raises(SuiteError, match=r"found 1.2 MB, expected a tokenizer.json of 1 MB at most"):
        LocalTokenizer(tmp_path / "tokenizer.json")


def test_extra_that_is_missing(paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message says how to get it."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SuiteError, match=r"pip install 'pytest-flperf\[tokenizers\]'"):
        LocalTokenizer(paths["word_level"])


def test_failing_tokenizers(tmp_path: Path) -> None:
    """An error of the Rust code is one of the file's."""
    path = tmp_path / "tokenizer.json"
    made = Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]"))  # which isn't in the vocabulary
    made.save(str(path))
    tokenizer = LocalTokenizer(path)
    with pytest.raises(SuiteError, match="found a tokenizer that fails, expected one that works: "):
        tokenizer.count("b")
    with pytest.raises(SuiteError, match="found a tokenizer that fails"):
        tokenizer.exact(5, random.Random(1))


class _Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def encode(self, text: str, add_special_tokens: bool) -> Any:
        raise self.error


def test_panics_and_interrupts(paths: dict[str, Path]) -> None:
    """A panic of the Rust code, which is no Exception, is an error of the file's; Ctrl-C stays Ctrl-C."""
    tokenizer: Any = LocalTokenizer(paths["word_level"])
    tokenizer._tokenizer = _Raising(type("PanicException", (BaseException,), {})("index out of bounds"))
    with pytest.raises(SuiteError, match="index out of bounds"):
        tokenizer.count("a")
    tokenizer._tokenizer = _Raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        tokenizer.count("a")


def test_added_tokens_change_nothing(tmp_path: Path) -> None:
    """Texts stay exact where frequent words are tokens that swallow the space beside them."""
    path = tmp_path / "tokenizer.json"
    made = byte_level(prefix_space=True)
    made.add_tokens([AddedToken("the", lstrip=True, rstrip=True), AddedToken(" and", lstrip=True)])
    made.save(str(path))
    tokenizer = LocalTokenizer(path)
    for tokens in range(1, 60):
        assert tokenizer.count(tokenizer.exact(tokens, random.Random(tokens))) == tokens


@pytest.mark.parametrize(
    ("short", "long", "expected"),
    [
        ((100, 150), (1_000, 1_410), TokensPerWord(10.0, 1.4)),
        ((0, 12), (100, 112), TokensPerWord(12.0, 1.0)),
        ((10, 12), (1_000, 1_500), TokensPerWord(0.0, 1.5)),
    ],
)
def test_what_usage_teaches(short: tuple[int, int], long: tuple[int, int], expected: TokensPerWord) -> None:
    """Two requests tell what a word takes, and what is there without any; that is never less than nothing."""
    learnt = TokensPerWord.from_counts(short, long)
    assert (learnt.overhead, learnt.per_word) == pytest.approx((expected.overhead, expected.per_word))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ((100, 150), (100, 150)),
        ((100, 150), (1_000, 150)),
        ((1_000, 150), (100, 1_500)),
        ((100, 150), (1_000, 160)),
        ((-1, 150), (1_000, 1_600)),
        ((100, 0), (1_000, 1_000)),
        ((1, 10), (10, 100_000)),
    ],
)
def test_what_usage_can_not_teach(short: tuple[int, int], long: tuple[int, int]) -> None:
    """Counts that no tokenizer gives are refused."""
    with pytest.raises(ValueError, match=r"found .* expected"):
        TokensPerWord.from_counts(short, long)


@given(st.floats(0, 5_000), st.floats(0.2, 100), st.integers(1, 1_000_000))
def test_words_for(overhead: float, per_word: float, tokens: int) -> None:
    """As many words as come nearest to the length; one at least, whatever the overhead."""
    learnt = TokensPerWord(overhead, per_word)
    words = learnt.words_for(tokens)
    assert words >= 1
    if tokens > overhead + per_word:
        assert abs(overhead + words * per_word - tokens) <= per_word / 2 + 1e-6


@pytest.mark.parametrize("filler", FILLERS)
def test_lengths_that_usage_taught_are_near(tokenizers: dict[str, LocalTokenizer], filler: str) -> None:
    """Filler made by what two counts taught is near the length."""
    tokenizer = tokenizers["byte_level"]

    def counted(words: int) -> tuple[int, int]:
        return words, 9 + tokenizer.count(filler_words(words, random.Random(words), filler))

    learnt = TokensPerWord.from_counts(counted(100), counted(2_000))
    for tokens in (2_000, 8_000):
        assert counted(learnt.words_for(tokens))[1] == pytest.approx(tokens, rel=0.08)
