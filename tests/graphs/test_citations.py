"""What the passages do not bear out is taken out of an answer; what is left is quoted as it stands."""

import pytest

from nearfar.graphs.citations import check, locate, refuses
from nearfar.graphs.evidence import Candidate, Found


def passage(text: str) -> Found:
    return Found(text=text, source="a.md", page=None, heading=None, score=0.5)


DOGS = "Dogs are not allowed in the building,\nwith the exception of guide dogs. Cats are fine."
FEE = "The fee is \u201c20 cents\u201d a day. It is paid at the desk."
PASSAGES = [passage(DOGS), passage(FEE)]


def test_an_answer_that_holds_stays_as_it_is_and_is_quoted_from_the_passage() -> None:
    checked = check("Dogs are not allowed [1]. The fee is 20 cents a day. [2]", PASSAGES)
    assert checked.answer == "Dogs are not allowed [1]. The fee is 20 cents a day. [2]"
    assert [cited.n for cited in checked.cited] == [1, 2]
    assert checked.cited[0].quote == DOGS[: DOGS.index(" Cats")]
    assert (checked.removed, checked.support) == (0, 1.0)


def test_numbers_that_no_passage_has_are_removed() -> None:
    checked = check("Dogs are not allowed [1][7]. The fee is 20 cents [2, 9].", PASSAGES)
    assert checked.answer == "Dogs are not allowed. [1] The fee is 20 cents. [2]"
    assert checked.removed == 2


def test_a_quote_that_stands_in_no_passage_is_removed() -> None:
    checked = check(
        'It says "dogs are not allowed in the building" [1]. '
        'It says "the moon is made of green cheese" [2].',
        PASSAGES,
    )
    assert "moon" not in checked.answer
    assert '"dogs are not allowed in the building"' in checked.answer
    assert checked.removed == 1


def test_an_uncited_sentence_gets_the_passage_that_bears_it_out() -> None:
    checked = check("Guide dogs are an exception.", PASSAGES)
    assert checked.answer == "Guide dogs are an exception. [1]"


def test_a_sentence_that_nothing_bears_out_stays_uncited() -> None:
    checked = check("The weather is nice today.", PASSAGES)
    assert (checked.answer, checked.cited) == ("The weather is nice today.", [])
    assert checked.support == 0.0


def test_verbatim_keeps_only_the_passages_own_sentences_and_mends_their_numbers() -> None:
    checked = check(
        "Cats are fine. [2] The fee is '20 cents' a day. [2] Parrots are fine. [1]",
        [passage(DOGS), passage(FEE.replace("\u201c", "'").replace("\u201d", "'"))],
        verbatim=True,
    )
    assert checked.answer == "Cats are fine. [1] The fee is '20 cents' a day. [2]"
    assert checked.removed == 1


def test_an_answer_in_another_language_is_quoted_by_the_likeliest_sentence() -> None:
    likeliest = Candidate(passage=0, text="", start=0, end=DOGS.index(" Cats"), score=1.0)
    checked = check("Hunde dürfen nicht hinein [1].", PASSAGES, [likeliest])
    assert checked.cited[0].quote.startswith("Dogs are not allowed")
    assert checked.support < 0.5


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("not allowed in the building, with", "not allowed in the building,\nwith"),
        ("NOT ALLOWED", "not allowed"),
        ("guide  dogs.", "guide dogs."),
        ("guide cats", None),
        ("", None),
    ],
)
def test_quotes_are_found_whatever_the_white_space(quote: str, found: str | None) -> None:
    span = locate(quote, DOGS)
    assert (DOGS[slice(*span)] if span else None) == found


def test_quotation_marks_of_any_kind_are_equal() -> None:
    assert locate('The fee is "20 cents" a day.', FEE) == (0, FEE.index(" It"))


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ("The documents do not say.", True),
        ("The documents do not say. [1]", True),
        ("The passages don\u2019t mention it.", True),
        ("", True),
        ("The documents say that dogs are fine. [1]", False),
        ("No. [1]", False),
        ("I don\u2019t know.", True),
        ("There is no information about dogs.", True),
        ("I cannot tell when, but dogs are not allowed. [1]", False),
    ],
)
def test_a_refusal_is_known_by_its_words(answer: str, refusal: bool) -> None:
    assert refuses(answer) is refusal
