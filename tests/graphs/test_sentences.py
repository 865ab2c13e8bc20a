"""Sentences are cut where a reader would, and their places lead back to the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfar.graphs.sentences import content_words, sentences, stem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith came at 3.5 o'clock, e.g. by train. He left.", None),
        ("A sentence\nover two lines. Next.", ["A sentence over two lines.", "Next."]),
        ("- one thing\n- another\n  thing", ["one thing", "another thing"]),
        ("# Title\nText here.", ["Title", "Text here."]),
        ("| a | b |\n| --- | --- |\n| c | d |", ["| a | b |", "| c | d |"]),
        ("```\nrun this\nand. That\n```\nDone.", ["run this", "and. That", "Done."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("**Files.** What is read. And more.", ["**Files.** What is read.", "And more."]),
        ("- **Not it.**\n- two", ["**Not it.**", "two"]),
        ("", []),
        ("---\n\n***\n", []),
    ],
)
def test_text_is_cut_as_a_reader_would(text: str, expected: list[str] | None) -> None:
    found = [sentence.text for sentence in sentences(text)]
    if expected is None:
        expected = ["Dr. Smith came at 3.5 o'clock, e.g. by train.", "He left."]
    assert found == expected


@given(st.text(alphabet=st.sampled_from("ab .!?\n-#|`*>1[]\t。é😀"), max_size=200))
def test_places_lead_back_to_the_text_and_do_not_overlap(text: str) -> None:
    place = 0
    for sentence in sentences(text):
        assert place <= sentence.start < sentence.end <= len(text)
        assert sentence.text == " ".join(text[sentence.start : sentence.end].split())
        place = sentence.end


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("providers", "provider"),
        ("tried", "tries"),
        ("configured", "configure"),
        ("stopped", "stopping"),
        ("boxes", "box"),
        ("member's", "members"),
    ],
)
def test_forms_of_a_word_have_one_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_words_without_meaning_are_left_out() -> None:
    assert content_words("What is the depth of the water?") == ["depth", "water"]
