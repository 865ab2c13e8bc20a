# ruff: noqa: RUF001 - which quotation marks and dashes count as equal stands here
"""Check an answer's citations against the passages it was given.

What does not hold is taken out: numbers that no passage has, quoted words that stand in none of
them, and in ``quote`` mode sentences that are not the passages' own. What is left is cited with the
original words of the passage, so that a reader finds them in the file.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .evidence import Candidate, Found
from .sentences import REFUSAL, content_words, fold, sentences

_MARK = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")
_SPACED_MARKS = re.compile(r"(?:\s*\[\d{1,4}(?:\s*[,;]\s*\d{1,4})*\])+")
_QUOTED = re.compile(
    r'"([^"\n]{12,600})"|“([^”\n]{12,600})”|«([^»\n]{12,600})»|„([^“”\n]{12,600})[“”]'
)
_QUOTE_WORDS = 3  # fewer words in quotation marks are a name or a term, not a quote
_SUPPORTED = 0.5  # share of a sentence's words that a passage's sentence must hold to be its source
_RELATED = 0.2  # up to here a sentence that holds some of the words may do so by chance
_REFUSES = re.compile(
    r"(?:i'm sorry\W+|sorry\W+|unfortunately\W+)?"
    r"(?:the |these |this |those |your )?(?:documents?|passages?|texts?|sources?|context)"
    r" (?:do|does|did) ?(?:not|n't) (?:say|answer|contain|mention|provide|state|include)",
    re.IGNORECASE,
)
_KNOWS_NOT = re.compile(
    r"(?:i'm sorry\W+|sorry\W+|unfortunately\W+)?(?:but )?"
    r"(?:i (?:do not|don't) know|i (?:can ?not|can't|could not|couldn't) (?:answer|find|tell|say)|"
    r"(?:that|this|it) is (?:not mentioned|unknown)|there is no (?:information|mention|answer)|"
    r"(?:no|none of the) (?:documents?|passages?|texts?|sources?|information)\b)",
    re.IGNORECASE,
)
_EVEN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
                       "–": "-", "—": "-", "‑": "-", "\u00ad": ""})  # fmt: skip


@dataclass(frozen=True)
class Cited:
    """A citation that holds: ``quote`` is ``passage[start:end]``; ``n`` counts from 1."""

    n: int
    quote: str
    start: int
    support: float  # how much of the answer's sentence the quote holds, 0..1


@dataclass
class Checked:
    """What is left of an answer. ``support`` is the mean over its sentences; uncited ones have 0."""

    answer: str
    cited: list[Cited] = field(default_factory=list)
    removed: int = 0
    support: float = 0.0


@dataclass(frozen=True)
class _Statement:
    """A sentence of the answer: as it was written, without its numbers, and the numbers."""

    raw: str
    text: str
    numbers: list[int]
    gap: str  # white space after it


def refuses(answer: str) -> bool:
    """Whether the model's words say that the passages do not answer."""
    bare = _MARK.sub("", answer).strip().replace("’", "'")
    if not bare or _even(bare) == _even(REFUSAL) or _REFUSES.match(bare):
        return True
    return _MARK.search(answer) is None and _KNOWS_NOT.match(bare) is not None


def check(
    answer: str,
    passages: Sequence[Found],
    candidates: Sequence[Candidate] = (),
    *,
    verbatim: bool = False,
) -> Checked:
    """Keep what the passages bear out; ``verbatim`` keeps whole sentences of theirs only.

    ``candidates`` (sentences by how likely they answer) say which sentence of a passage is meant
    where words do not: in an answer in another language.
    """
    result = Checked("")
    parts: list[str] = []
    supports: list[float] = []
    for statement in _statements(answer):
        known = [n for n in statement.numbers if 1 <= n <= len(passages)]
        text, dropped = statement.text, 0
        if verbatim:
            quotes = _own_words(text, known, passages)
            text = text if quotes else ""
            dropped = 0 if quotes else 1
        else:
            text, dropped = _without_false_quotes(text, passages)
            quotes = _sources(text, known, passages, candidates) if text.strip() else []
        result.removed += len(statement.numbers) - len(known) + dropped
        if not text.strip():
            continue
        numbers = list(dict.fromkeys(quote.n for quote in quotes))
        as_it_was = not dropped and numbers == statement.numbers
        marks = "".join(f" [{n}]" for n in numbers)
        parts.append((statement.raw if as_it_was else text.rstrip() + marks) + statement.gap)
        supports.append(max((quote.support for quote in quotes), default=0.0))
        result.cited.extend(quotes)
    result.answer = "".join(parts).strip()
    result.cited = _distinct(result.cited)
    result.support = sum(supports) / len(supports) if supports else 0.0
    return result


def _statements(answer: str) -> list[_Statement]:
    found: list[_Statement] = []
    for raw, gap in _pieces(answer):
        numbers = [int(n) for mark in _MARK.findall(raw) for n in re.split(r"\s*[,;]\s*", mark)]
        text = _SPACED_MARKS.sub("", raw)
        if found and not text.strip(" .!?\t"):  # the full stop after "... [1]."
            last = found.pop()
            joined = last.raw + last.gap + raw
            found.append(_Statement(joined, last.text + text.strip(), last.numbers + numbers, gap))
        else:
            found.append(_Statement(raw, text, numbers, gap))
    return found


def _pieces(answer: str) -> list[tuple[str, str]]:
    """The answer cut after each sentence and its numbers; with the white space that follows."""
    ends = {s.end for s in sentences(_SPACED_MARKS.sub(lambda m: " " * len(m.group()), answer))}
    cuts = sorted({m.end() for m in _SPACED_MARKS.finditer(answer)} | ends | {len(answer)})
    pieces = []
    place = 0
    for cut in cuts:
        if cut <= place or _SPACED_MARKS.match(answer, cut):
            continue
        rest = answer[cut:]
        gap = rest[: len(rest) - len(rest.lstrip())]
        pieces.append((answer[place:cut], gap))
        place = cut + len(gap)
    return pieces


def _even(text: str) -> str:
    """Equal for texts that differ in white space, quotation marks, dashes and case only."""
    return " ".join(fold(text).translate(_EVEN).split()).casefold()


def locate(quote: str, passage: str) -> tuple[int, int] | None:
    """Where the quote's words stand in the passage, whatever the white space and quotation marks."""
    wanted = _even(quote)
    if not wanted:
        return None
    text, places = _even_with_places(passage)
    at = text.find(wanted)
    return (places[at], places[at + len(wanted) - 1] + 1) if at >= 0 else None


def _even_with_places(passage: str) -> tuple[str, list[int]]:
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(passage):
        if character.isspace():
            if letters and letters[-1] != " ":
                letters.append(" ")
                places.append(place)
            continue
        for letter in fold(character).translate(_EVEN).casefold():
            letters.append(letter)
            places.append(place)
    return "".join(letters), places


def _own_words(text: str, numbers: Sequence[int], passages: Sequence[Found]) -> list[Cited]:
    """The passage that holds the sentence word for word: one of its numbers, else any."""
    bare = text.strip().strip('"“”')
    others = [n for n in range(1, len(passages) + 1) if n not in numbers]
    for n in [*numbers, *others]:
        span = locate(bare, passages[n - 1]["text"])
        if span:
            return [Cited(n, passages[n - 1]["text"][slice(*span)], span[0], 1.0)]
    return []


def _without_false_quotes(text: str, passages: Sequence[Found]) -> tuple[str, int]:
    dropped = 0

    def judge(match: re.Match[str]) -> str:
        nonlocal dropped
        quote = next(group for group in match.groups() if group)
        bare = quote.strip().rstrip(".,;:!?…")
        if len(quote.split()) < _QUOTE_WORDS or any(locate(bare, p["text"]) for p in passages):
            return match.group()
        dropped += 1
        return ""

    kept = _QUOTED.sub(judge, text)
    return (re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"[ \t]{2,}", " ", kept)), dropped)


def _sources(
    text: str,
    numbers: Sequence[int],
    passages: Sequence[Found],
    candidates: Sequence[Candidate],
) -> list[Cited]:
    """For each number the sentence of its passage that bears the text out best.

    Without a number, the best sentence of all passages, if it bears out enough.
    """
    if numbers:
        found = [
            _best(text, n, passages[n - 1]) or _likeliest(n, passages[n - 1], candidates)
            for n in dict.fromkeys(numbers)
        ]
        return [cited for cited in found if cited]
    every = [_best(text, n, passage) for n, passage in enumerate(passages, 1)]
    best = max((c for c in every if c), key=lambda c: c.support, default=None)
    return [best] if best and best.support >= _SUPPORTED else []


def _best(text: str, n: int, passage: Found) -> Cited | None:
    """The sentence that holds most of the text's words; None where none holds a fair part."""
    words = set(content_words(text))
    best: Cited | None = None
    for sentence in sentences(passage["text"]) if words else ():
        support = len(words & set(content_words(sentence.text))) / len(words)
        if not sentence.heading and support > (best.support if best else _RELATED):
            quote = passage["text"][sentence.start : sentence.end]
            best = Cited(n, quote, sentence.start, support)
    return best


def _likeliest(n: int, passage: Found, candidates: Sequence[Candidate]) -> Cited | None:
    for candidate in candidates:
        if candidate["passage"] == n - 1:
            quote = passage["text"][candidate["start"] : candidate["end"]]
            return Cited(n, quote, candidate["start"], _RELATED)
    return None


def _distinct(cited: Sequence[Cited]) -> list[Cited]:
    kept: dict[tuple[int, int], Cited] = {}
    for citation in cited:
        kept.setdefault((citation.n, citation.start), citation)
    return sorted(kept.values(), key=lambda citation: citation.n)


def score_of(citation: Cited, candidates: Sequence[Candidate]) -> float:
    """The evidence score of the quoted sentence; 0 where it was not ranked."""
    same = [
        c["score"]
        for c in candidates
        if c["passage"] == citation.n - 1
        and c["start"] < citation.start + len(citation.quote)
        and citation.start < c["end"]
    ]
    return max(same, default=0.0)
