"""``HybridRetriever``: passages found by meaning and by words, in one ranking."""

# ruff: noqa: A002, ARG002  # LangChain calls it `filter`, and hands over a run_manager

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from ._vectors import Floats
from ._view import View
from .filters import Filter
from .ranking import joined, mmr
from .store import FaissStore, normalized

Scores = tuple[float, float, float | None]  # joined, cosine, BM25


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document in a ranking. ``score`` orders and means nothing by itself."""

    document: Document
    score: float
    dense_score: float  # cosine of query and document
    lexical_score: float | None  # BM25; None where no word matched


class HybridRetriever(BaseRetriever):
    """The best documents of a store by meaning (cosine) and words (BM25), see ``ranking.joined``.

    A weight of 0 switches its ranking off. ``mmr_weight`` below 1 trades fit for variety: of
    passages that say the same, the later ones fall back (see ``ranking.mmr``).
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: FaissStore
    k: int = Field(default=8, ge=1)
    """Documents that are returned."""
    fetch_k: int = Field(default=40, ge=1)
    """Candidates that each ranking brings, ``k`` at least."""
    dense_weight: float = Field(default=1.0, ge=0)
    lexical_weight: float = Field(default=1.25, ge=0)
    """Anything from 1.2 to 1.4 finds as much in the tests' questions."""
    mmr_weight: float = Field(default=1.0, ge=0, le=1)
    filter: Any = None
    """A filter on metadata for every query (see ``filters``)."""

    def rank(
        self,
        query: str,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: Filter | None = None,
    ) -> list[Ranked]:
        """The best ``k``, best first, with the scores they have in each ranking."""
        return self._rank(query, self.store.embed_query(query), k, fetch_k, filter)

    async def arank(
        self,
        query: str,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: Filter | None = None,
    ) -> list[Ranked]:
        """As ``rank``."""
        vector = await self.store.embeddings.aembed_query(query)
        return await asyncio.to_thread(self._rank, query, vector, k, fetch_k, filter)

    def _rank(
        self, query: str, vector: Any, k: int | None, fetch_k: int | None, filter: Filter | None
    ) -> list[Ranked]:
        k = self.k if k is None else k
        fetch_k = max(k, self.fetch_k if fetch_k is None else fetch_k)
        asked = normalized([vector], 1)[0]
        found = self.store.find(
            self.filter if filter is None else filter,
            lambda view: self._search(view, query, asked, k, fetch_k),
        )
        return [Ranked(document, *scores) for document, scores in found]

    def _search(
        self, view: View, query: str, asked: Floats, k: int, fetch_k: int
    ) -> list[tuple[int, Scores]]:
        words = view.words(query)
        dense = view.nearest(asked, fetch_k) if self.dense_weight else []
        lexical = words.best(fetch_k) if self.lexical_weight else []
        rows = list(dict.fromkeys(row for row, _score in [*dense, *lexical]))
        if not rows:
            return []
        vectors = view.vectors(rows)
        cosines, held = vectors @ asked, words.of(rows)
        background = dense[-1][1] if dense else 0.0
        weights = np.array([self.dense_weight, self.lexical_weight], np.float32)
        scores = joined(cosines, background, held, words.limit, weights)
        order = np.argsort(-scores, kind="stable")
        if self.mmr_weight < 1:
            relevance = (scores[order] / max(float(scores.max()), 1e-6)).tolist()
            order = order[mmr(relevance, vectors[order], k, self.mmr_weight)]
        return [
            (rows[place], (float(scores[place]), float(cosines[place]), held[place] or None))
            for place in order[:k].tolist()
        ]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [ranked.document for ranked in self.rank(query, k)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [ranked.document for ranked in await self.arank(query, k)]
