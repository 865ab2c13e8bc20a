"""Streamed text equals the text of all tokens at once, and stop strings are found wherever cut."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from nearfar.llm.local.worker.decoding import StopFinder, TokenText

SAMPLES = (
    "plain words, and a line\nbreak",
    "nul \x00 in the \x00 middle",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽",
    "e\u0301 a\u0308\u0323 \u202eright to left\u202c ع ה",
    "中文字符 日本語 한국어 𐍈 \U0010ffff",
    "\ufffd already replaced \ufffd",
    "  leading, trailing  ",
    "<tool_call>{}</tool_call>",
)


@pytest.fixture(scope="module")
def byte_level(tiny_model: Path) -> TokenText:
    return TokenText((tiny_model / "tokenizer.json").read_text(encoding="utf-8"), {2})


@pytest.fixture(scope="module")
def byte_fallback() -> TokenText:
    """As sentencepiece models have it: words with a mark for the space, and single bytes."""
    words = ["<unk>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
    words += ["▁", "▁the", "▁a", "b", "c", "é", "▁中", "\ufffd", "!", "▁▁"]
    vocab = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(
        models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return TokenText(tokenizer.to_str(), {1})


def sequences(text: TokenText, seed: int, count: int) -> list[list[int]]:
    """Random tokens, encoded samples, and both cut and mixed, so that characters break."""
    rng = random.Random(seed)
    encoded = [text.tokenizer.encode(s, add_special_tokens=False).ids for s in SAMPLES]
    found = []
    for _ in range(count):
        ids: list[int] = []
        for _ in range(rng.randint(1, 4)):
            if rng.random() < 0.5:
                ids += [rng.randrange(text.size) for _ in range(rng.randint(1, 12))]
            else:
                sample = rng.choice(encoded)
                start = rng.randrange(len(sample) + 1)
                ids += sample[start : start + rng.randint(1, 12)]
        found.append(ids)
    return found


def streamed(text: TokenText, ids: list[int], visible: tuple[int, ...]) -> str:
    stream = text.stream(visible)
    return "".join([*(stream.feed(token) for token in ids), stream.finish()])


def differences(text: TokenText, seed: int, count: int, visible: tuple[int, ...] = ()) -> int:
    return sum(
        streamed(text, ids, visible) != text.decode(ids, visible)
        for ids in sequences(text, seed, count)
    )


def test_ten_thousand_byte_level_sequences_stream_without_a_difference(
    byte_level: TokenText,
) -> None:
    assert differences(byte_level, 1, 10_000) == 0


def test_visible_special_tokens_stream_without_a_difference(byte_level: TokenText) -> None:
    assert differences(byte_level, 2, 2_000, visible=(3, 4)) == 0


def test_ten_thousand_byte_fallback_sequences_stream_without_a_difference(
    byte_fallback: TokenText,
) -> None:
    assert differences(byte_fallback, 3, 10_000) == 0


def test_the_text_is_what_the_library_decodes(byte_level: TokenText) -> None:
    for ids in sequences(byte_level, 4, 500):
        assert byte_level.decode(ids) == byte_level.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_visible_token_is_text_and_others_are_dropped(byte_level: TokenText) -> None:
    encoder = byte_level.tokenizer
    ids = [3, *encoder.encode("x", add_special_tokens=False).ids, 4, 1, 2]
    assert byte_level.decode(ids, (3, 4)) == "<tool_call>x</tool_call>"
    assert byte_level.decode(ids) == "x"


def test_an_end_token_is_never_text(byte_level: TokenText) -> None:
    assert streamed(byte_level, [2], visible=(2,)) == ""


def test_incomplete_characters_are_held_back(byte_level: TokenText) -> None:
    ids = byte_level.tokenizer.encode("\U0010ffff", add_special_tokens=False).ids
    assert len(ids) > 1
    stream = byte_level.stream(())
    assert [stream.feed(token) for token in ids] == [""] * (len(ids) - 1) + ["\U0010ffff"]


def cut(text: str, places: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(borders)]


def run_finder(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    finder = StopFinder(stops)
    out = ""
    for piece in pieces:
        text, stop = finder.feed(piece)
        out += text
        if stop is not None:
            return out, stop
    return out + finder.finish(), None


def by_character(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The rule itself: read on until some stop string ends here; the longest such one counts."""
    for end in range(1, len(text) + 1):
        here = [stop for stop in stops if text[:end].endswith(stop)]
        if here:
            stop = max(here, key=len)
            return text[: end - len(stop)], stop
    return text, None


@given(
    text=st.text("ab\n", max_size=30),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3, unique=True),
    places=st.lists(st.integers(0, 30), max_size=8),
)
def test_stop_strings_are_found_however_the_text_is_cut(
    text: str, stops: list[str], places: list[int]
) -> None:
    assert run_finder(cut(text, places), stops) == by_character(text, stops)


def test_text_before_a_possible_stop_string_is_not_held_back() -> None:
    finder = StopFinder(["END"])
    assert finder.feed("abc E") == ("abc ", None)
    assert finder.feed("x") == ("Ex", None)
