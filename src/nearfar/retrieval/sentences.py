# ruff: noqa: RUF001 - the punctuation of many scripts is what this module is about
"""Sentences of a passage, with the places where they stand, and the words that carry meaning."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

REFUSAL = "The documents do not say."
"""What is answered where no sentence does."""
_LONGEST = 600  # characters; what is longer is no sentence (a table, a minified file)

# A line that begins something of its own: blank, heading, list item, quote, table row, fence.
_NEW_BLOCK = re.compile(r"[ \t]*(?:$|#{1,6}\s|[-*+•]\s|\d{1,3}[.)]\s|>|\||```|~~~|<)")
_HEADING = re.compile(r"[ \t]*#{1,6}\s")
_LEAD = re.compile(r"[ \t]*(?:(?:#{1,6}|[-*+•>]|\d{1,3}[.)])[ \t]+)*")
_RULE = re.compile(r"[\s|:=\-*_~`.]*")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")
_END = re.compile(r"[.!?…]+[\"'”’)\]*_`]*(?=\s)|[。！？]+[」』”]?")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|approx|Dr|Mr|Mrs|Ms|Prof|St|No|Nos|Fig|Figs|Eq|Sec|Ch|Vol|pp|p|al|"
    r"Inc|Ltd|Jr|Sr|ca|bzw|z\.B|usw)|\b[A-Z]|(?:^|\s)\d{1,2})\.$"
)
# "**Files.** What is read": a heading in the line, which is nothing without what it heads.
_RUN_IN = re.compile(r"(\*\*|__)[^*\n]{1,60}\1")
_STARTS = re.compile(r"[\s]+[\"'“‘(\[*_`]*[A-Z0-9À-ÖØ-Þ\u0370-\uffff`/~-]")


@dataclass(frozen=True)
class Sentence:
    """``text`` is ``passage[start:end]`` with its white space evened out."""

    text: str
    start: int
    end: int
    heading: bool = False
    code: bool = False


def sentences(passage: str) -> list[Sentence]:
    """The sentences, list items, table rows and lines of code of a passage, in their order.

    What marks a list item or heading is left out; rules, fences and lines without a word are none.
    """
    found = []
    for start, end, code in _blocks(passage):
        lead = _LEAD.match(passage, start, end)
        heading = not code and _HEADING.match(passage, start, end) is not None
        begin = lead.end() if lead and not code else start
        cuts = [(begin, end)] if code or heading else _cut(passage, begin, end)
        for left, right in cuts:
            sentence = _sentence(passage, left, right, heading=heading, code=code)
            if sentence is not None:
                found.append(sentence)
    return found


def _blocks(passage: str) -> Iterator[tuple[int, int, bool]]:
    """Stretches that no sentence goes beyond: paragraphs, items, rows, lines of code."""
    start = place = 0
    in_code = False
    for line in passage.splitlines(keepends=True):
        fence = _FENCE.match(line) is not None
        if place > start and (in_code or fence or _NEW_BLOCK.match(line)):
            yield start, place, in_code
            start = place
        if fence:
            in_code = not in_code
            start = place + len(line)
        place += len(line)
        if not fence and (_HEADING.match(line) or not line.strip()) and place > start:
            yield start, place, in_code
            start = place
    if place > start:
        yield start, place, in_code


def _cut(passage: str, start: int, end: int) -> list[tuple[int, int]]:
    cuts = []
    begin = start
    for match in _END.finditer(passage, start, end):
        stop = match.end()
        wide = passage[match.start()] in "。！？"
        if not wide:
            if not _STARTS.match(passage, stop, min(end + 1, stop + 40)):
                continue
            if passage[match.start()] == "." and _ABBREVIATION.search(
                passage[max(begin, match.start() - 12) : match.start() + 1]
            ):
                continue
        if begin == start and _RUN_IN.fullmatch(passage, begin, stop):
            continue
        cuts.append((begin, stop))
        begin = stop
    if begin < end:
        cuts.append((begin, end))
    return cuts


def _sentence(passage: str, start: int, end: int, *, heading: bool, code: bool) -> Sentence | None:
    raw = passage[start:end]
    stripped = raw.strip()
    if not stripped or len(stripped) > _LONGEST or _RULE.fullmatch(stripped):
        return None
    start += len(raw) - len(raw.lstrip())
    return Sentence(" ".join(stripped.split()), start, start + len(stripped), heading, code)


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")

_EMPTY = frozenset(
    """
    a about above after again against all also am an and any are aren't as at be because been before
    being below between both but by can cannot can't could couldn't did didn't do does doesn't doing
    don't down during each few for from further get gets got had has have having he her here hers him
    his how i if in into is isn't it its it's itself just let like me more most my no nor not of off
    on once one only or other our ours out over own please same shall she should so some such than
    that the their theirs them then there these they this those through to too under until up upon us
    use used using very was wasn't we were what when where which while who whom whose why will with
    within without won't would you your yours tell say says said much many may might must need needs
    does happen happens happened mean means become becomes occur occurs
    """.split()  # noqa: SIM905 - 200 words in quotes would not be readable
)


def content_words(text: str) -> list[str]:
    """The words of a text that carry meaning, as stems in lower case, in their order."""
    words = (word.lower().replace("’", "'") for word in _WORD.findall(fold(text)))
    return [stem(word) for word in words if word not in _EMPTY]


def fold(text: str) -> str:
    """Equal for texts that differ in width or form of characters only (NFKC)."""
    return unicodedata.normalize("NFKC", text)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The word without the commonest English endings; numbers and short words stay as they are."""
    word = word.removesuffix("'s")
    if len(word) <= 3 or not word.isascii() or any(c.isdigit() for c in word):
        return word
    for ending, instead, left in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= left:
            word = word.removesuffix(ending) + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


_ENDINGS = (
    ("ations", "", 4),
    ("ation", "", 4),
    ("ssion", "ss", 2),
    ("ions", "", 4),
    ("ion", "", 4),
    ("ments", "", 4),
    ("ment", "", 4),
    ("nesses", "", 3),
    ("ness", "", 3),
    ("ingly", "", 3),
    ("ings", "", 3),
    ("ing", "", 3),
    ("edly", "", 3),
    ("ied", "y", 2),
    ("ies", "y", 2),
    ("ed", "", 3),
    ("ers", "", 4),
    ("er", "", 4),
    ("ors", "", 4),
    ("or", "", 4),
    ("ly", "", 4),
    ("sses", "ss", 1),
    ("xes", "x", 2),
    ("ches", "ch", 2),
    ("shes", "sh", 2),
    ("ss", "ss", 1),
    ("us", "us", 1),
    ("is", "is", 1),
    ("s", "", 3),
)
