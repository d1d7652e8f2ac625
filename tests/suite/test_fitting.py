"""Prompts have exactly the tokens that were asked for, whatever their unique prefix is cut into."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tests import examples
from test_synthetic import byte_level, characters, llama_like, trained_bpe, unigram, word_level
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.generator import PromptGenerator
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Case, Scenario, Settings
from pytest_flperf.suite.prompts.fitting import Fitting
from pytest_flperf.suite.prompts.lengths import Lengths
from pytest_flperf.suite.prompts.sources import PromptSource, TracedRequest
from pytest_flperf.suite.prompts.synthetic import LocalTokenizer

SEEDS = st.integers(0, 10**6).map(str)
WORDS = "the water of the river and the light of the morning were calm. [] "


def digits_by_chance() -> Tokenizer:
    """Return a byte-level BPE that has learnt some numbers: keys have two to nine tokens."""
    chance = random.Random(3)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    numbers = " ".join(str(chance.choice([7, 123, 4567, 98765, 100, 2024]) * chance.randrange(9)) for _ in range(4_000))
    trainer = trainers.BpeTrainer(
        vocab_size=1_200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator([WORDS * 50, numbers], trainer)
    return made


MAKERS: tuple[Callable[[], Tokenizer], ...] = (
    digits_by_chance,
    byte_level,
    trained_bpe,
    llama_like,
    unigram,
    word_level,
    characters,
)


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalTokenizer:
    """Each kind of tokenizer."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    request.param().save(str(path))
    return LocalTokenizer(path)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> LocalTokenizer:
    """A tokenizer with which keys differ in their tokens."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    digits_by_chance().save(str(path))
    return LocalTokenizer(path)


def asker(source: PromptSource, seed: str = "a", system: str = "", **settings: object) -> PromptGenerator:
    """Of a case with these prompts."""
    messages = (*([Message("system", system)] if system else []), Message("user", "What was that?"))
    scenario = Scenario("long", "long", messages, replace(Settings(), **settings), source=source)  # type: ignore[arg-type]
    return PromptGenerator(Case("s", "flperf:s", scenario, "m", (), "long", "m"), seed)


def lengths(of: PromptGenerator, tokenizer: LocalTokenizer, count: int) -> list[int]:
    """Tokens of so many prompts."""
    return [sum(tokenizer.count(each.content) for each in of.ask(index, index).messages) for index in range(count)]


def fixed(length: int) -> Lengths:
    """Always the same length."""
    return Lengths("fixed", length, length)


def test_keys_differ_in_their_tokens(uneven: LocalTokenizer) -> None:
    """The tokenizer of these tests does what it is for."""
    chance = random.Random(1)
    assert len({uneven.count(f"[{chance.randrange(10**9):09d}] ") for _ in range(200)}) >= 4


@pytest.mark.parametrize("length", [40, 512])
def test_every_prompt_has_that_many_tokens(tokenizer: LocalTokenizer, length: int) -> None:
    """With every kind of tokenizer, over many keys."""
    made = asker(PromptSource(input_tokens=fixed(length), tokenizer=tokenizer))
    assert set(lengths(made, tokenizer, 200)) == {length}
    assert made.notes == ()


@settings(max_examples=examples(25))
@given(SEEDS, st.integers(30, 400), st.sampled_from(["prose", "code", "json"]), st.sampled_from(["", "Be brief."]))
def test_any_seed_length_and_filler(uneven: LocalTokenizer, seed: str, length: int, filler: str, system: str) -> None:
    """Behind a system message as well, which has the key then."""
    made = asker(PromptSource(input_tokens=fixed(length), tokenizer=uneven, filler=filler), seed, system)
    assert set(lengths(made, uneven, 12)) == {length}


def test_drawn_lengths(uneven: LocalTokenizer) -> None:
    """Each request has the length that was drawn for it, as the same request without a key has."""
    source = PromptSource(input_tokens=Lengths("uniform", 60, 300), tokenizer=uneven)
    plain = lengths(asker(source, prompt_cache="reuse"), uneven, 60)
    assert lengths(asker(source), uneven, 60) == plain
    assert len(set(plain)) > 20


def test_traces(uneven: LocalTokenizer) -> None:
    """As each line of the trace says."""
    wanted = [50, 90, 333]
    trace = tuple(TracedRequest(float(number), None, tokens) for number, tokens in enumerate(wanted))
    assert lengths(asker(PromptSource(trace=trace, tokenizer=uneven)), uneven, 6) == wanted * 2


def test_context_tiers(uneven: LocalTokenizer) -> None:
    """Filled up with the question at the end."""
    assert set(lengths(asker(PromptSource(tokenizer=uneven), context_tokens=250), uneven, 60)) == {250}


def test_a_shared_prefix_comes_on_top(uneven: LocalTokenizer) -> None:
    """The seam between the two included."""
    source = PromptSource(input_tokens=fixed(120), tokenizer=uneven, shared_prefix_tokens=80)
    made = asker(source)
    assert set(lengths(made, uneven, 60)) == {200}
    heads = {made.ask(index, index).messages[0].content.partition("\n\n[")[0] for index in range(20)}
    assert len(heads) == 1


def test_prompts_are_told_apart_by_what_they_ask(uneven: LocalTokenizer) -> None:
    """Not by what a key makes of their length: the same request has one id in every run."""
    source = PromptSource(input_tokens=fixed(100), tokenizer=uneven)
    made, other = asker(source), asker(source)
    texts = {made.ask(index, index).messages[0].content.partition("] ")[2] for index in range(100)}
    assert len(texts) > 1
    assert {made.prompt_id(index) for index in range(100)} == {other.prompt_id(7)}


@pytest.mark.parametrize("length", [1, 3])
def test_a_length_that_can_not_be_kept(uneven: LocalTokenizer, length: int) -> None:
    """The key alone has more tokens: the prompts are longer, and a note says so."""
    made = asker(PromptSource(input_tokens=fixed(length), tokenizer=uneven), system="Be brief and kind to everybody.")
    found = lengths(made, uneven, 5)
    assert min(found) > length
    (note,) = made.notes
    assert note.startswith("5 prompts differ from the requested length by +")


class Nowhere:
    """A tokenizer that looks at the whole text: a key changes the count of what stands far behind it."""

    def __init__(self, real: LocalTokenizer) -> None:
        self._real = real

    def count(self, text: str) -> int:
        """One more for long texts with an odd digit at the begin."""
        found = self._real.count(text)
        return found + (len(text) > 600 and any(digit in text[:12] for digit in "13579"))

    def exact(self, tokens: int, rng: random.Random, filler: str = "prose") -> str:
        """As the real one."""
        return self._real.exact(tokens, rng, filler)


def test_a_tokenizer_that_looks_far(uneven: LocalTokenizer) -> None:
    """Then the whole prompt is counted for each key."""
    far = Nowhere(uneven)
    made = asker(PromptSource(input_tokens=fixed(400), tokenizer=far))  # type: ignore[arg-type]
    found = [sum(far.count(each.content) for each in made.ask(index, index).messages) for index in range(60)]
    assert set(found) == {400}


def test_it_costs_the_counting_of_a_few_words(uneven: LocalTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of a prompt of ten thousand tokens for each request."""
    made = asker(PromptSource(input_tokens=fixed(10_000), tokenizer=uneven))
    for index in range(300):
        made.ask(index, index)
    counted = []
    real = LocalTokenizer.count
    monkeypatch.setattr(LocalTokenizer, "count", lambda self, text: counted.append(len(text)) or real(self, text))
    for index in range(300, 400):
        made.ask(index, index)
    assert sum(counted) < 100 * 2_000


def test_a_text_that_is_too_short_to_be_made() -> None:
    """Where nothing has so few tokens, a prompt is longer by a little, and the case goes on."""

    def filler(tokens: int, number: int) -> str:
        del number
        if tokens == 1:
            raise SuiteError("found no text of exactly 1 tokens")
        return "word " * tokens

    fitting = Fitting(
        4,
        made=lambda text: (Message("user", text),),
        whole=lambda messages, key: (Message("user", f"[{key}] {messages[0].content}"),),
        count=lambda text: len(text.split()) + text.count("7"),
        filler=filler,
    )
    assert [fitting.fitted(key)[1] for key in ("123456789", "123456799", "123456089")] == [0, 0, 0]
    assert fitting.fitted("123457789")[1] != 0
