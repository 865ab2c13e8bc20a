"""``HybridRetriever``: passages found by meaning and by words, in one ranking."""

# ruff: noqa: A002, ARG002  # LangChain calls it `filter`, and hands over a run_manager

import asyncio
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from .filters import Filter
from .ranking import RRF_K, mmr, rrf
from .store import FaissStore, normalized


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document in a ranking. ``score`` orders and means nothing by itself."""

    document: Document
    score: float
    dense_score: float  # cosine of query and document
    lexical_score: float | None  # BM25; None where no word matched


class HybridRetriever(BaseRetriever):
    """The best documents of a store by reciprocal rank fusion of meaning (cosine) and words (BM25).

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
    lexical_weight: float = Field(default=1.0, ge=0)
    rrf_k: int = Field(default=RRF_K, ge=1)
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
        view = self.store.view(self.filter if filter is None else filter)
        asked = normalized([vector], 1)[0]
        words = view.words(query)
        dense = view.nearest(asked, fetch_k) if self.dense_weight else []
        lexical = words.best(fetch_k) if self.lexical_weight else []
        fused = rrf(
            [[row for row, _score in dense], [row for row, _score in lexical]],
            [self.dense_weight, self.lexical_weight],
            self.rrf_k,
        )
        rows = [row for row, _score in fused]
        vectors = view.vectors(rows)
        places = list(range(min(k, len(rows))))
        if self.mmr_weight < 1 and rows:
            best = fused[0][1]
            places = mmr([score / best for _row, score in fused], vectors, k, self.mmr_weight)
        chosen = [rows[place] for place in places]
        documents = self.store.documents(chosen)
        return [
            Ranked(documents[row], fused[place][1], float(vectors[place] @ asked), score or None)
            for place, row, score in zip(places, chosen, words.of(chosen), strict=True)
            if row in documents
        ]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [ranked.document for ranked in self.rank(query, k)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return [ranked.document for ranked in await self.arank(query, k)]
