"""How likely each sentence of the passages answers the question, by retrieval alone.

A sentence's score adds up how near its meaning is to the question's (cosine), how much of the
question's words it and what it stands under hold (weighted by rarity), how well its passage was
found, and whether it holds what the question asks for (a number after "how many"). A logistic curve
makes a probability of it. Weights and curve were chosen on tests/data/ask_dev.json and the dev half
of tests/data/docs_questions; tests/graphs/test_docs_questions.py holds what they give.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypedDict

from .sentences import Sentence, content_words, sentences

Embed = Callable[[list[str]], list[list[float]]]


class Found(TypedDict):
    """A passage as the ask graph keeps it in its state; plain JSON."""

    text: str
    source: str  # the file's path
    page: int | None
    heading: str | None
    score: float  # how well search found it; 0 where nothing was searched


class Candidate(TypedDict):
    """A sentence of a passage that may be the answer; ``passage`` counts from 0."""

    passage: int
    text: str
    start: int
    end: int
    score: float  # how likely it answers, 0..1


WORDS = 0.75
PASSAGE = 0.5
KIND = 0.1
AROUND = 0.7  # what a word counts that stands in the heading or the sentence before

EVEN = 1.3  # at this sum a sentence answers about as often as not
SPREAD = 0.25

HOPELESS = 0.52  # less likely, and no model is asked
SURE = 0.55  # from here on a small model is not asked whether it wants to refuse
CLEAR = 0.9  # from here on no model is asked whether the passages answer


def probability(total: float) -> float:
    """How likely a sentence with that sum answers: a logistic curve through ``EVEN``."""
    return 1 / (1 + math.exp(-(total - EVEN) / SPREAD))


def rank(question: str, passages: Sequence[Found], embed: Embed) -> list[Candidate]:
    """The sentences of the passages, the likeliest first; a sentence that occurs twice stands once.

    ``embed`` gives normalised vectors. Headings, questions, sentences that repeat this question and
    lines with one word of meaning answer nothing and are left out.
    """
    asked_for = _bare(question)
    found = [
        one
        for one in _collect(passages)
        if not one.text.endswith("?") and not (asked_for and asked_for in _bare(one.text))
    ]
    if not found:
        return []
    vectors = embed([question, *(one.text for one in found)])
    asked = _Question.of(question, [set(content_words(one.text)) for one in found])
    candidates = [
        Candidate(
            passage=one.passage,
            text=one.text,
            start=one.sentence.start,
            end=one.sentence.end,
            score=probability(
                _dot(vectors[0], vector)
                + WORDS * asked.coverage(one.text, one.around)
                + PASSAGE * passages[one.passage]["score"]
                + KIND * asked.fits(one.text)
            ),
        )
        for one, vector in zip(found, vectors[1:], strict=True)
    ]
    return sorted(candidates, key=lambda candidate: -candidate["score"])


def shortlist(
    candidates: Sequence[Candidate], most: int = 5, share: float = 0.7
) -> list[Candidate]:
    """The few whose odds are at least that share of the first's: what a small model chooses from."""
    if not candidates:
        return []
    least = share * _odds(candidates[0])
    return [candidate for candidate in candidates[:most] if _odds(candidate) >= least]


def _odds(candidate: Candidate) -> float:
    return candidate["score"] / max(1 - candidate["score"], 1e-12)


def _bare(text: str) -> str:
    return " ".join(text.casefold().rstrip("?!. ").split())


@dataclass(frozen=True)
class _Placed:
    passage: int
    sentence: Sentence
    around: str  # what it is said under: file, headings and the sentence before

    @property
    def text(self) -> str:
        return self.sentence.text


def _collect(passages: Sequence[Found]) -> list[_Placed]:
    seen: set[str] = set()
    found = []
    for place, passage in enumerate(passages):
        above = f"{PurePath(passage['source']).stem} {passage['heading'] or ''}"
        before = ""
        for sentence in sentences(passage["text"]):
            small = sentence.heading or len(set(content_words(sentence.text))) < 2
            if not small and sentence.text not in seen:
                seen.add(sentence.text)
                found.append(_Placed(place, sentence, f"{above} {before}"))
            before = sentence.text
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

    def coverage(self, text: str, around: str) -> float:
        """The share of the question's words that the text holds, 0..1; those around it count less."""
        total = sum(self.weights.values())
        held, near = set(content_words(text)), set(content_words(around))
        counted = sum(
            weight * (1.0 if word in held else AROUND if word in near else 0.0)
            for word, weight in self.weights.items()
        )
        return counted / total if total else 0.0

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
