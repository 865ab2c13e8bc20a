"""Joining and thinning rankings."""

from collections.abc import Sequence

import numpy as np

from ._vectors import Floats


def joined(
    cosines: Floats, background: float, words: Sequence[float], limit: float, weights: Floats
) -> Floats:
    """``weights[0] * meaning + weights[1] * words``, both as shares of what they could be.

    Of meaning it is the way from ``background`` (the cosine of what just happens to be near) to 1,
    so that models whose cosines all lie close together count like others; of words the way from 0
    to ``limit``, which BM25 does not reach. Scores say how far one passage is before the next,
    which ranks (reciprocal rank fusion) do not: see Bruch, Gai and Ingber, "An analysis of fusion
    functions for hybrid retrieval" (TOIS 2023).
    """
    meaning = (cosines - background) / max(1 - background, 1e-6)
    held = np.asarray(words, np.float32) / (limit or 1.0)
    scores: Floats = weights[0] * meaning + weights[1] * held
    return scores


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
