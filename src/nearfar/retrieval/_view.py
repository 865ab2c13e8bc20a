"""All documents at one moment, and the searches in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._segments import Segment
from ._vectors import Floats, Mask, Places
from .bm25 import bm25_scores


@dataclass(frozen=True, slots=True)
class View:
    """All documents at one moment; what a search works on."""

    segments: tuple[Segment, ...]
    allowed: tuple[Mask, ...]  # per segment: alive, and let through by the filter

    def nearest(self, query: Floats, k: int) -> list[tuple[int, float]]:
        """Row and inner product of the best ``k``, best first; equal ones by age."""
        found: list[tuple[int, float]] = []
        for segment, allowed in zip(self.segments, self.allowed, strict=True):
            places, scores = segment.vectors.search(query, k, allowed)
            found += zip(segment.rows[places].tolist(), scores.tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def words(self, query: str) -> "WordScores":
        """How well the words of each document fit."""
        parts = [(segment.postings, segment.alive) for segment in self.segments]
        return WordScores(self, *bm25_scores(query, parts))

    def vectors(self, rows: Sequence[int]) -> Floats:
        """The vectors of those rows, in their order. They must be there."""
        wanted = np.array(rows, np.int64)
        result: Floats | None = None
        for segment in self.segments:
            places, hits = _places(segment, wanted)
            if not len(hits):
                continue
            taken = segment.vectors.take(places)
            if result is None:
                result = np.zeros((len(wanted), taken.shape[1]), np.float32)
            result[hits] = taken
        return np.zeros((0, 0), np.float32) if result is None else result


@dataclass(frozen=True, slots=True)
class WordScores:
    """BM25 scores of all documents of a view."""

    view: View
    scores: list[NDArray[np.float32]]
    limit: float  # what no score reaches

    def best(self, k: int) -> list[tuple[int, float]]:
        """Row and score of the best ``k`` with any word of the query, best first."""
        found: list[tuple[int, float]] = []
        for segment, allowed, scores in zip(
            self.view.segments, self.view.allowed, self.scores, strict=True
        ):
            places = np.flatnonzero(allowed & (scores > 0))
            if len(places) > k:
                places = places[np.argpartition(-scores[places], k - 1)[:k]]
            found += zip(segment.rows[places].tolist(), scores[places].tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def of(self, rows: Sequence[int]) -> list[float]:
        """The score of each of those rows."""
        result = np.zeros(len(rows), np.float32)
        for segment, scores in zip(self.view.segments, self.scores, strict=True):
            places, hits = _places(segment, np.array(rows, np.int64))
            result[hits] = scores[places]
        return [float(score) for score in result]


def _places(segment: Segment, wanted: Places) -> tuple[Places, Places]:
    """Where wanted rows are in the segment, and where they are in ``wanted``."""
    if not len(segment.rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    places = np.searchsorted(segment.rows, wanted)
    places[places == len(segment.rows)] = 0
    hits = np.flatnonzero(segment.rows[places] == wanted)
    return places[hits], hits
