"""Words: how texts are taken apart, and BM25 over what comes out.

The formula is that of Lucene, of Kamphuis et al., "Which BM25 do you mean?" (ECIR 2020):

    score(q, d) = sum over t in q of  idf(t) * tf / (tf + k1 * (1 - b + b * len(d) / avglen))
    idf(t)      = ln(1 + (N - df + 0.5) / (df + 0.5))

Only counts are kept, and N, df and avglen are taken over the texts alive when a question is asked:
adding and removing texts costs what those texts cost, and the scores are always those of an index
made anew.
"""

import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

K1 = 0.9
B = 0.4
_LONGEST_WORD = 80  # characters; longer ones (hashes, base64) are cut
_WORD = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PART_OF_ANY_SCRIPT = re.compile(r"[^\W\d_]+|\d+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")


def tokenize(text: str) -> list[str]:
    """The words of a text in lower case, with their parts: ``maxTokens`` gives three words.

    Made for prose and code alike: an identifier counts as a whole and by its parts, an English
    plural as its singular, and scripts without spaces by their pairs of characters.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return list(chain.from_iterable(map(_expand, _WORD.findall(text))))


@lru_cache(maxsize=1 << 16)
def _expand(word: str) -> tuple[str, ...]:
    word = word[:_LONGEST_WORD]
    if not word.isascii() and _UNSPACED.search(word):
        return tuple(word[i : i + 2] for i in range(max(1, len(word) - 1)))
    parts = (_PART if word.isascii() else _PART_OF_ANY_SCRIPT).findall(word)
    whole = _singular(word.strip("_").casefold())
    if len(parts) < 2:
        return (whole,) if whole else ()
    return (whole, *(_singular(part.casefold()) for part in parts))


def _singular(word: str) -> str:
    """Harman's S stemmer ("How effective is suffixing?", JASIS 1991)."""
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if word.endswith("es") and word[-3] not in "aeo":
        return word[:-1]
    if word[-2] not in "us":
        return word[:-1]
    return word


@dataclass(frozen=True)
class Postings:
    """Which word stands how often in which of some texts; the texts are numbered from 0.

    ``starts[t]:starts[t + 1]`` are the places in ``texts`` and ``counts`` that belong to term t.
    """

    terms: tuple[str, ...]
    starts: NDArray[np.int64]
    texts: NDArray[np.int32]
    counts: NDArray[np.uint16]
    lengths: NDArray[np.int32]  # words of each text

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each term."""
        return {term: number for number, term in enumerate(self.terms)}

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Postings":
        """Count the words of the texts."""
        numbers: dict[str, int] = {}
        terms: list[int] = []
        counts: list[int] = []
        sizes: list[int] = []
        lengths: list[int] = []
        for text in texts:
            tokens = tokenize(text)
            found = Counter(tokens)
            terms.extend([numbers.setdefault(term, len(numbers)) for term in found])
            counts.extend(found.values())
            sizes.append(len(found))
            lengths.append(len(tokens))
        owners = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        return cls._ordered(
            tuple(numbers),
            np.array(terms, np.int64),
            owners,
            np.minimum(np.array(counts, np.int64), np.iinfo(np.uint16).max),
            np.array(lengths, np.int32),
        )

    @classmethod
    def joined(cls, parts: "Sequence[tuple[Postings, NDArray[np.bool_]]]") -> "Postings":
        """One after the other, without the texts whose mark is false, and without their words."""
        numbers: dict[str, int] = {}
        columns: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
        lengths: list[NDArray[np.int32]] = []
        offset = 0
        for part, keep in parts:
            mapped = np.array([numbers.setdefault(t, len(numbers)) for t in part.terms], np.int64)
            terms = np.repeat(mapped, np.diff(part.starts))
            chosen = keep[part.texts]
            places = offset + np.cumsum(keep) - 1
            columns.append((terms[chosen], places[part.texts[chosen]], part.counts[chosen]))
            lengths.append(part.lengths[keep])
            offset += int(keep.sum())
        terms, texts, counts = (np.concatenate(column) for column in zip(*columns, strict=True))
        used, renumbered = np.unique(terms, return_inverse=True)
        names = tuple(numbers)
        kept = tuple(names[number] for number in used)
        return cls._ordered(kept, renumbered, texts, counts, np.concatenate(lengths))

    @classmethod
    def _ordered(
        cls,
        terms: tuple[str, ...],
        numbers: NDArray[Any],
        texts: NDArray[Any],
        counts: NDArray[Any],
        lengths: NDArray[np.int32],
    ) -> "Postings":
        order = np.argsort(numbers, kind="stable")
        starts = np.zeros(len(terms) + 1, np.int64)
        np.cumsum(np.bincount(numbers, minlength=len(terms)), out=starts[1:])
        return cls(
            terms,
            starts,
            texts[order].astype(np.int32),
            counts[order].astype(np.uint16),
            lengths.astype(np.int32),
        )

    def to_bytes(self) -> bytes:
        """For a file; numpy's npz, without pickle."""
        buffer = io.BytesIO()
        terms = np.frombuffer("\n".join(self.terms).encode(), np.uint8)
        np.savez(
            buffer,
            terms=terms,
            starts=self.starts,
            texts=self.texts,
            counts=self.counts,
            lengths=self.lengths,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Postings":
        """What ``to_bytes`` gave; raises ValueError, KeyError or OSError for anything else."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            terms = arrays["terms"].tobytes().decode()
            return cls(
                tuple(terms.split("\n")) if terms else (),
                *(arrays[name] for name in ("starts", "texts", "counts", "lengths")),
            )


def bm25_scores(
    query: str, segments: "Sequence[tuple[Postings, NDArray[np.bool_]]]"
) -> "tuple[list[NDArray[np.float32]], float]":
    """For each segment the score of each of its texts; 0 for a text that is not alive.

    A segment is its postings and, for each text, whether it is alive. The second value is what no
    score reaches, however often a text holds the words: the sum of idf(t), words that no text
    holds included.
    """
    alive_total = sum(int(alive.sum()) for _, alive in segments)
    words = sum(int(postings.lengths[alive].sum()) for postings, alive in segments)
    average = words / alive_total if words else 1.0
    asked = Counter(tokenize(query))
    found = [[_places(postings, alive, term) for term in asked] for postings, alive in segments]
    frequencies = [sum(len(places[i][0]) for places in found) for i in range(len(asked))]
    weights = [
        times * math.log(1 + (alive_total - frequency + 0.5) / (frequency + 0.5))
        for times, frequency in zip(asked.values(), frequencies, strict=True)
    ]
    results = []
    for (postings, alive), places in zip(segments, found, strict=True):
        scores = np.zeros(len(alive), np.float32)
        norms = (K1 * (1 - B + B / average * postings.lengths)).astype(np.float32)
        for weight, (texts, counts) in zip(weights, places, strict=True):
            if len(texts):
                scores[texts] += weight * counts / (counts + norms[texts])
        results.append(scores)
    return results, math.fsum(weights)


def _places(
    postings: Postings, alive: "NDArray[np.bool_]", term: str
) -> "tuple[NDArray[np.int32], NDArray[np.float32]]":
    number = postings.numbers.get(term)
    span = slice(0, 0) if number is None else slice(*postings.starts[number : number + 2])
    texts, counts = postings.texts[span], postings.counts[span].astype(np.float32)
    if len(texts) and not alive.all():
        chosen = alive[texts]
        return texts[chosen], counts[chosen]
    return texts, counts
