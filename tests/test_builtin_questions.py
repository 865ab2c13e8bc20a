"""The hand-written questions that the built-in chat model is measured with are what they claim."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from nearfar.graphs.sentences import content_words, sentences

FOLDER = Path(__file__).parent / "data" / "builtin"
FILE = FOLDER / "questions.jsonl"
FIELDS = {
    "id", "question", "passages", "n", "answer_sentence", "source", "kind", "answerable",
}  # fmt: skip


@pytest.fixture(scope="module")
def questions() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def test_there_are_200_and_each_is_asked_once(questions: list[dict[str, Any]]) -> None:
    assert len(questions) == 200
    assert len({question["id"] for question in questions}) == 200
    assert len({question["question"].lower() for question in questions}) == 200
    assert all(set(question) == FIELDS for question in questions)


def test_kinds_and_refusals_are_mixed(questions: list[dict[str, Any]]) -> None:
    assert Counter((question["kind"], question["answerable"]) for question in questions) == {
        ("docs", True): 72,
        ("docs", False): 18,
        ("licence", True): 36,
        ("licence", False): 9,
        ("docstring", True): 52,
        ("docstring", False): 13,
    }


def test_the_answer_is_one_whole_sentence_of_the_passage_named(
    questions: list[dict[str, Any]],
) -> None:
    for question in questions:
        passages, number = question["passages"], question["n"]
        if not question["answerable"]:
            assert number is question["answer_sentence"] is None, question["id"]
            continue
        holding = [
            place
            for place, passage in enumerate(passages, start=1)
            if question["answer_sentence"] in [sentence.text for sentence in sentences(passage)]
        ]
        assert holding == [number], question["id"]


def test_passages_are_a_few_sentences_each_and_differ(questions: list[dict[str, Any]]) -> None:
    for question in questions:
        passages = question["passages"]
        assert 3 <= len(passages) == len(set(passages)) <= 8, question["id"]
        assert all(1 <= len(sentences(passage)) <= 4 for passage in passages), question["id"]
        assert 600 <= sum(map(len, passages)) <= 3000, question["id"]


def test_questions_share_at_most_half_of_their_words_with_the_answer(
    questions: list[dict[str, Any]],
) -> None:
    shares = []
    for question in questions:
        if question["answerable"]:
            asked = set(content_words(question["question"]))
            shares.append(len(asked & set(content_words(question["answer_sentence"]))) / len(asked))
    assert mean(shares) <= 0.5


def test_the_hash_that_was_recorded_is_that_of_the_file() -> None:
    """Over the bytes with line feeds, which a checkout under Windows may have changed."""
    content = FILE.read_bytes().replace(b"\r\n", b"\n")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\b[0-9a-f]{64}\b", readme) == [hashlib.sha256(content).hexdigest()]
