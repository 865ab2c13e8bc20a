"""Joining and thinning ranked lists."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

from ._vectors import Floats

T = TypeVar("T", bound=Hashable)

RRF_K = 60


def rrf(
    rankings: Sequence[Sequence[T]], weights: Sequence[float], k: int = RRF_K
) -> list[tuple[T, float]]:
    """Reciprocal rank fusion: ``sum of weight / (k + rank)``, ranks from 1, best first.

    From Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual
    rank learning methods" (SIGIR 2009), where k is 60 and all weights are 1. Of equal ones that
    which comes first in the earlier ranking stays first.
    """
    scores: dict[T, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + weight / (k + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])


def mmr(relevance: Sequence[float], vectors: Floats, k: int, weight: float) -> list[int]:
    """Places of ``k`` items, each the best of ``weight * relevance - (1 - weight) * likeness``.

    Likeness is the cosine to the most similar item already taken; ``vectors`` are normalised. With
    weight 1 only relevance counts. Maximal marginal relevance of Carbonell and Goldstein, "The use
    of MMR, diversity-based reranking for reordering documents and producing summaries" (SIGIR 1998).
    """
    scores = np.asarray(relevance, np.float32)
    left = np.ones(len(scores), bool)
    likeness = np.full(len(scores), -np.inf, np.float32)
    chosen: list[int] = []
    for _ in range(min(k, len(scores))):
        penalty = np.where(np.isfinite(likeness), likeness, 0)
        value = np.where(left, weight * scores - (1 - weight) * penalty, -np.inf)
        best = int(np.argmax(value))
        chosen.append(best)
        left[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return chosen
