"""A question that asks for several things, as questions that ask for one each."""

import re

from .sentences import content_words

_SENTENCE = re.compile(r"(?<=[?!.])\s+|;\s+|\n+")
_JOINT = re.compile(
    r",?\s+(?:and|und|et|y)\s+(?=(?:also\s+)?(?:what|when|where|who|whom|whose|which|why|how|is|are|was|"
    r"were|does|do|did|can)\b)",
    re.IGNORECASE,
)
_MARK = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+")
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|that|this|those|these|he|she|his|her|there)\b|^\W*and\b",
    re.IGNORECASE,
)


def split_question(question: str, most: int) -> list[str]:
    """By its sentences and by "and" before a question word; at most ``most``."""
    parts = [
        part.strip(" ,")
        for sentence in _SENTENCE.split(question.strip())
        for part in _JOINT.split(sentence)
    ]
    asked = [
        f"{part[:1].upper()}{part[1:].rstrip('?!. ')}?" for part in parts if len(part.split()) > 1
    ]
    return list(dict.fromkeys(asked))[:most] or [question.strip()]


def listed_questions(reply: str, question: str, most: int) -> list[str]:
    """The lines of a model's plan; where they are none, the question's own parts."""
    lines = [_MARK.sub("", line).strip() for line in reply.splitlines()]
    asked = [line for line in lines if 2 < len(line.split()) <= 60]
    return list(dict.fromkeys(asked))[:most] or split_question(question, most)


def asking(question: str) -> str:
    """The part that asks: what is told before a question that stands for itself says nothing of its answer.

    "You reach me at the harbour. When does the ferry leave?" is answered as "When does the ferry leave?" is.
    """
    *told, last = _SENTENCE.split(question.strip())
    stands_alone = last.endswith("?") and not points_back(last) and len(content_words(last)) > 1
    asks_before = any(part.endswith("?") for part in told)
    return last if told and stands_alone and not asks_before else question


def points_back(question: str) -> bool:
    """Whether it says "it" or "they" for what an earlier question names, or begins with "and"."""
    return _POINTS_BACK.search(question) is not None
