"""Choices, quotes and cited text hold what they may hold, and nothing else."""

import pytest

from nearfar.errors import GrammarError
from nearfar.llm.local.grammar import choice_grammar, citation_text_grammar, quote_grammar

from .grammar_sampling import accepts, sample

REFUSAL = "The documents do not say."
SENTENCES = [
    (1, "It works."),
    (1, "It works. Really."),
    (2, 'Say "ü\\" <|im_end|>!'),
    (2, "It works."),
]


def test_a_choice_is_one_of_the_options_also_where_one_begins_another() -> None:
    options = ["cat", "cats", "ein Hund\n"]
    grammar = choice_grammar(options)
    assert {sample(grammar, seed) for seed in range(60)} == set(options)
    assert not accepts(grammar, "ca")


def test_quotes_are_whole_sentences_with_the_number_of_their_passage() -> None:
    grammar = quote_grammar(SENTENCES, REFUSAL, max_quotes=2)
    for text in (
        "It works. [1]",
        "It works. [2] It works. [1]",
        "It works. Really. [1] It works. [2]",
        REFUSAL,
    ):
        assert accepts(grammar, text), text
    for text in (
        "It works. [3]",
        "It works. Really. [2]",
        "It works. [1] It works. [1]",  # a model that repeats itself
        "It works. [1] It works. [2] It works. Really. [1]",
        f"It works. [1] {REFUSAL}",
        "",
    ):
        assert not accepts(grammar, text), text


def test_every_quote_and_the_refusal_come_out_of_noise() -> None:
    grammar = quote_grammar(SENTENCES, REFUSAL)
    text = "".join(sample(grammar, seed) for seed in range(60))
    assert all(f"{sentence} [{n}]" in text for n, sentence in SENTENCES)
    assert REFUSAL in text


def test_many_sentences_are_quoted_all_the_same() -> None:
    sentences = [(n, f"Sentence number {n} of many.") for n in range(1, 301)]
    grammar = quote_grammar(sentences, max_quotes=2)
    assert accepts(grammar, "Sentence number 7 of many. [7] Sentence number 300 of many. [300]")
    assert not accepts(grammar, "Sentence number 7 of many. [8]")
    assert not accepts(grammar, REFUSAL)


def test_citations_in_free_text_are_only_the_retrieved_numbers() -> None:
    grammar = citation_text_grammar([1, 12], refusal="Nothing [at all].", max_chars=40)
    for text in ("Yes [1].", "Yes [12][1], 1] and so on", "Nothing [at all]."):
        assert accepts(grammar, text), text
    for text in ("Yes [2].", "Yes [", "[1", "[ 1]", "", "x" * 41):
        assert not accepts(grammar, text), text
    assert not accepts(citation_text_grammar([]), "Yes [1].")


def test_nothing_to_say_is_refused() -> None:
    with pytest.raises(GrammarError):
        choice_grammar([])
    for sentences in ([], [(1, " ")]):
        with pytest.raises(GrammarError):
            quote_grammar(sentences)
