"""How likely each sentence of the passages answers the question, by retrieval alone.

A sentence's score adds up how near its meaning is to the question's (cosine), how much of the
question's words it and its passage hold (weighted by rarity), how near its passage is, and whether
it holds what the question asks for (a number after "how many"). The weights and thresholds were
chosen on tests/data/ask_dev.json; tests/graphs/test_evidence.py holds the accuracy.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from .sentences import Sentence, content_words, sentences

Embed = Callable[[list[str]], list[list[float]]]


class Found(TypedDict):
    """A passage as the ask graph keeps it in its state; plain JSON."""

    text: str
    source: str  # the file's path
    page: int | None
    heading: str | None
    dense: float | None  # cosine to the question


class Candidate(TypedDict):
    """A sentence of a passage that may be the answer; ``passage`` counts from 0."""

    passage: int
    text: str
    start: int
    end: int
    score: float


DENSE = 1.0
WORDS = 0.2
PASSAGE_DENSE = 0.2
PASSAGE_WORDS = 0.1
KIND = 0.1

EVEN = 0.87  # at this score a sentence answers about as often as not
SPREAD = 0.05
HOPELESS = 0.82  # below it no model is asked
CLEAR = 1.0  # from here on no model is asked whether the passages answer
SURE = 0.90  # from here on a small model is not asked whether it wants to refuse


def probability(score: float) -> float:
    """How likely a sentence of that score answers: a logistic curve through ``EVEN``."""
    return 1 / (1 + math.exp(-(score - EVEN) / SPREAD))


def rank(question: str, passages: Sequence[Found], embed: Embed) -> list[Candidate]:
    """The sentences of the passages, the likeliest first; a sentence that occurs twice stands once.

    ``embed`` gives normalised vectors. Headings, questions, sentences that repeat this question and
    lines with one word of meaning answer nothing and are left out.
    """
    asked_for = _bare(question)
    found = [
        (place, sentence)
        for place, sentence in _collect(passages)
        if not sentence.text.endswith("?") and not (asked_for and asked_for in _bare(sentence.text))
    ]
    if not found:
        return []
    vectors = embed([question, *(sentence.text for _, sentence in found)])
    asked = _Question.of(question, [set(content_words(s.text)) for _, s in found])
    wholes = [asked.coverage(f"{p['heading'] or ''} {p['text']}") for p in passages]
    candidates = [
        Candidate(
            passage=place,
            text=sentence.text,
            start=sentence.start,
            end=sentence.end,
            score=DENSE * _dot(vectors[0], vector)
            + WORDS * asked.coverage(sentence.text)
            + PASSAGE_DENSE * (passages[place]["dense"] or 0.0)
            + PASSAGE_WORDS * wholes[place]
            + KIND * asked.fits(sentence.text),
        )
        for (place, sentence), vector in zip(found, vectors[1:], strict=True)
    ]
    return sorted(candidates, key=lambda candidate: -candidate["score"])


def shortlist(
    candidates: Sequence[Candidate], most: int = 5, margin: float = 0.08
) -> list[Candidate]:
    """The few that are nearly as likely as the first: what a small model may choose from."""
    if not candidates:
        return []
    least = candidates[0]["score"] - margin
    return [candidate for candidate in candidates[:most] if candidate["score"] >= least]


def _bare(text: str) -> str:
    return " ".join(text.casefold().rstrip("?!. ").split())


def _collect(passages: Sequence[Found]) -> list[tuple[int, Sentence]]:
    seen: set[str] = set()
    found = []
    for place, passage in enumerate(passages):
        for sentence in sentences(passage["text"]):
            small = sentence.heading or len(set(content_words(sentence.text))) < 2
            if not small and sentence.text not in seen:
                seen.add(sentence.text)
                found.append((place, sentence))
    return found


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


@dataclass(frozen=True)
class _Question:
    weights: dict[str, float]  # of its words, by how rare they are among the sentences
    wanted: re.Pattern[str] | None  # what an answer holds

    @classmethod
    def of(cls, question: str, known: Sequence[set[str]]) -> "_Question":
        counts = Counter(word for words in known for word in words)
        words = dict.fromkeys(content_words(question))
        weights = {word: math.log(1 + len(known) / (1 + counts[word])) for word in words}
        return cls(weights, _wanted(question))

    def coverage(self, text: str) -> float:
        """The share of the question's words that the text holds, 0..1."""
        total = sum(self.weights.values())
        held = set(content_words(text))
        return sum(w for word, w in self.weights.items() if word in held) / total if total else 0.0

    def fits(self, text: str) -> int:
        """1 or -1: the text does or does not hold what is asked for; 0: nothing is known."""
        if self.wanted is None:
            return 0
        return 1 if self.wanted.search(text) else -1


_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|sixteen|twenty|"
    r"thirty|hundred|thousand|once|twice|half|third|none|free)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\d|\b(?:before|after|when|until|once|daily|weekly|monthly|spring|summer|autumn|winter|january|"
    r"february|march|april|may|june|july|august|september|october|november|december|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|first|last|year|month|week|always|never|at|in|if)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<!^)\b[A-Z][a-z]+|\b(?:who|whoever|anyone|everyone|people|person|user)\b")

# English only; in other languages nothing is known of what is asked for.
_KINDS = (
    (
        re.compile(
            r"\bhow (?:many|much|long|often|deep|high|far|old|large|big|fast|wide|heavy)\b|"
            r"\b(?:what|which) (?:is|are) the (?:\w+ )?(?:maximum|minimum|limit|price|cost|number|"
            r"size|depth|weight|length|speed|temperature)\b|\b(?:what|which) temperature\b|\bcosts?\b"
        ),
        _NUMBER,
    ),
    (re.compile(r"\bwhen\b|\bwhat time\b"), _TIME),
    (re.compile(r"^\W*(?:who|whom|whose)\b"), _NAME),
)


def _wanted(question: str) -> re.Pattern[str] | None:
    lower = question.lower()
    return next((answer for asks, answer in _KINDS if asks.search(lower)), None)
