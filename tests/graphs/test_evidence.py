"""Sentences are ranked by how likely they answer, from vectors and words alone."""

import pytest

from nearfar.graphs.evidence import EVEN, Found, probability, rank, shortlist


def passage(text: str, score: float = 0.0) -> Found:
    return Found(text=text, source="a.md", page=None, heading=None, score=score)


def alike(texts: list[str]) -> list[list[float]]:
    """An embedding that knows nothing: all texts have the same vector."""
    return [[1.0, 0.0] for _ in texts]


def test_words_decide_where_vectors_do_not() -> None:
    found = rank(
        "Which lamp blinks red?",
        [passage("The tank holds two litres. The red lamp blinks twice.")],
        alike,
    )
    assert found[0]["text"] == "The red lamp blinks twice."
    assert (found[0]["start"], found[0]["end"]) == (27, 53)


def test_what_a_sentence_stands_under_counts_but_less_than_its_own_words() -> None:
    under = passage("It blinks twice. The tank holds two litres. The red lamp may blink.")
    under["heading"] = "Red lamp"
    found = rank("Which lamp blinks red?", [under], alike)
    assert [c["text"] for c in found] == [
        "The red lamp may blink.",
        "It blinks twice.",
        "The tank holds two litres.",
    ]


def test_a_passage_that_was_found_better_brings_its_sentences_forward() -> None:
    passages = [passage("A tank holds water.", 0.2), passage("A tank holds oil.", 0.9)]
    assert rank("What is in the tank?", passages, alike)[0]["passage"] == 1


def test_a_question_for_a_number_prefers_a_sentence_with_one() -> None:
    passages = [passage("The kiln holds many bowls. The kiln holds forty bowls, or 40 pots.")]
    assert "40" in rank("How many bowls does the kiln hold?", passages, alike)[0]["text"]


def test_a_sentence_that_occurs_twice_stands_once_and_headings_not_at_all() -> None:
    passages = [passage("# Red lamp\nThe red lamp blinks."), passage("The red lamp blinks.")]
    assert [c["passage"] for c in rank("Which lamp blinks?", passages, alike)] == [0]


def test_a_sentence_that_only_repeats_the_question_does_not_answer_it() -> None:
    passages = [passage('Run ask "Which lamp is red?" now. Is any lamp red? The left lamp is red.')]
    found = rank("Which lamp is red?", passages, alike)
    assert [c["text"] for c in found] == ["The left lamp is red."]


def test_nothing_gives_nothing() -> None:
    assert rank("Why?", [], alike) == []
    assert rank("?", [passage("One sentence with words.")], alike) != []
    assert shortlist([]) == []


def test_the_shortlist_holds_only_what_is_nearly_as_likely() -> None:
    found = rank(
        "Which lamp blinks red?",
        [passage("The red lamp blinks twice. The red lamp blinks often. A tank holds two litres.")],
        alike,
    )
    assert [c["text"] for c in shortlist(found)] == [
        "The red lamp blinks twice.",
        "The red lamp blinks often.",
    ]


def test_probability_is_even_at_the_threshold_and_rises() -> None:
    assert probability(EVEN) == pytest.approx(0.5)
    assert probability(0.0) < 0.01 < probability(EVEN - 0.05) < probability(EVEN + 0.05) < 1.0
