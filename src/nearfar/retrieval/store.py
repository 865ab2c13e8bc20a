"""``FaissStore``: a LangChain vector store in files of its own."""

# ruff: noqa: A002  # LangChain's stores call it `filter`
# LangChain's methods take any keyword; here an unknown one is an error.
# mypy: disable-error-code="override"

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from nearfar.errors import IndexDamagedError, IndexNotFoundError

from ._collection import DATABASE, Collection
from ._documents import StoredDocument
from ._input import check_json, comparable, counted, normalized, with_heading
from ._view import View
from .embedder import fingerprint, name_of
from .filters import Filter, condition
from .ranking import mmr

__all__ = ["FaissStore", "normalized", "with_heading"]

T = TypeVar("T")
Ids = list[str] | None
Metadatas = list[dict[str, Any]] | None

_BATCH = 512  # texts that are embedded, then stored, together
_ATTEMPTS = 2


class FaissStore(VectorStore):
    """Documents found by meaning. Scores are cosines: 1 is the same, 0 has nothing in common.

    With a ``path``, what is there is loaded, and ``save`` makes changes last: before it they are
    seen by this object only, and a program that ends without it leaves the last saved state. One
    program at a time may have unsaved changes (IndexLockedError); readers are never disturbed and
    see what others save. Without a path everything stays in memory.

    A document is embedded, and its words are counted, as what ``text_of`` makes of it when it is
    added; ``with_heading`` also takes in the heading that it stands under.

    Metadata must be JSON. ``filter`` is a dict or a function of the metadata (see ``filters``).
    Adding a document under an id that is there replaces it. Search is exact: every vector is looked
    at. Methods may be called from several threads. Opening raises EmbedderMismatchError for a
    store that another model made, and IndexDamagedError for one whose files have changed.
    """

    def __init__(
        self,
        embedding: Embeddings,
        *,
        path: Path | str | None = None,
        text_of: Callable[[Document], str] = lambda document: document.page_content,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._embedding = embedding
        self._text_of = text_of
        self._new_id = new_id
        self.path = None if path is None else Path(path)
        self._collection = Collection(
            self.path, fingerprint=fingerprint(embedding), embedder=name_of(embedding)
        )

    @classmethod
    def load(cls, path: Path | str, embedding: Embeddings, **options: Any) -> Self:
        """Open a store that is there. Raises IndexNotFoundError and what opening raises."""
        folder = Path(path)
        if not folder.is_dir():
            raise IndexNotFoundError(
                f"There is no index at {folder}.", data={"name": str(folder), "known": []}
            )
        if not (folder / DATABASE).exists() and any(folder.glob("segment-*")):
            raise IndexDamagedError(
                f"The index at {folder} is damaged: {DATABASE} is missing.",
                data={"path": str(folder)},
            )
        return cls(embedding, path=folder, **options)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: Path | str | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store with these texts; with a ``path`` it is saved."""
        store = cls(embedding, path=path, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        store.save()
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: Path | str | None = None,
        **kwargs: Any,
    ) -> Self:
        """As ``from_texts``."""
        store = await asyncio.to_thread(lambda: cls(embedding, path=path, **kwargs))
        await store.aadd_texts(texts, metadatas, ids=ids)
        await asyncio.to_thread(store.save)
        return store

    @property
    def embeddings(self) -> Embeddings:
        """What makes the vectors."""
        return self._embedding

    @property
    def dimensions(self) -> int | None:
        """How many numbers a vector has; None before the first document."""
        return self._collection.dimensions

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self._collection)

    def ids(self) -> list[str]:
        """The ids of all documents, oldest first."""
        return self._collection.ids()

    def save(self) -> None:
        """Make all changes last, in one step, and let other programs write.

        Costs what the changes cost, whatever the size of the store. If it fails (DiskFullError),
        the saved state is what it was.
        """
        self._collection.save()

    def rollback(self) -> None:
        """Forget what was not saved."""
        self._collection.rollback()

    def close(self) -> None:
        """Forget what was not saved and let go of the files; the store is of no more use."""
        self._collection.close()

    def verify(self) -> None:
        """Read every saved byte. Raises IndexDamagedError."""
        self._collection.verify()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- writing

    def add_texts(
        self, texts: Iterable[str], metadatas: Metadatas = None, *, ids: Ids = None, **kwargs: Any
    ) -> list[str]:
        """As ``add_documents``. Raises ValueError where there are not as many ids as texts."""
        return super().add_texts(counted(texts, ids), metadatas, ids=ids, **kwargs)

    async def aadd_texts(
        self, texts: Iterable[str], metadatas: Metadatas = None, *, ids: Ids = None, **kwargs: Any
    ) -> list[str]:
        """As ``add_texts``."""
        return await super().aadd_texts(counted(texts, ids), metadatas, ids=ids, **kwargs)

    def add_documents(
        self, documents: list[Document], *, ids: Sequence[str | None] | None = None
    ) -> list[str]:
        """Add or replace; the ids, new ones for documents without. Documents are not changed."""
        named, unique = self._named(documents, ids)
        for start in range(0, len(unique), _BATCH):
            batch = unique[start : start + _BATCH]
            texts = [self._text_of(document) for _id, document in batch]
            embed = getattr(self._embedding, "embed_array", self._embedding.embed_documents)
            self._store(batch, texts, embed(texts))
        return named

    async def aadd_documents(
        self, documents: list[Document], *, ids: Sequence[str | None] | None = None
    ) -> list[str]:
        """As ``add_documents``."""
        named, unique = self._named(documents, ids)
        for start in range(0, len(unique), _BATCH):
            batch = unique[start : start + _BATCH]
            texts = [self._text_of(document) for _id, document in batch]
            vectors = await self._embedding.aembed_documents(texts)
            await asyncio.to_thread(self._store, batch, texts, vectors)
        return named

    def add_vectors(
        self,
        documents: Sequence[Document],
        vectors: Any,
        *,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """As ``add_documents``, with vectors that are there already: ``[len(documents), any]``."""
        named, unique = self._named(documents, ids)
        last = {id_: place for place, id_ in enumerate(named)}
        chosen = np.asarray(vectors, np.float32)[[last[id_] for id_, _document_ in unique]]
        self._store(unique, [self._text_of(document) for _id, document in unique], chosen)
        return named

    def delete(self, ids: list[str] | None = None) -> bool:
        """Take documents out, all of them if ``ids`` is None; ids that are not there are no error."""
        self._collection.delete(ids)
        return True

    # -- reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with those ids, in that order; those that are not there are left out."""
        return [_document(stored) for stored in self._collection.get_ids(ids)]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Filter | None = None
    ) -> list[Document]:
        """The ``k`` documents closest to the query, closest first."""
        return _only(self.similarity_search_with_score(query, k, filter=filter))

    async def asimilarity_search(
        self, query: str, k: int = 4, *, filter: Filter | None = None
    ) -> list[Document]:
        """As ``similarity_search``."""
        return _only(await self.asimilarity_search_with_score(query, k, filter=filter))

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """As ``similarity_search``, with cosines."""
        return self._nearest(self.embed_query(query), k, filter)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """As ``similarity_search_with_score``."""
        vector = await self._embedding.aembed_query(query)
        return await asyncio.to_thread(self._nearest, vector, k, filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None
    ) -> list[Document]:
        """The ``k`` documents closest to a vector, closest first."""
        return _only(self._nearest(embedding, k, filter))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None
    ) -> list[Document]:
        """As ``similarity_search_by_vector``."""
        return _only(await asyncio.to_thread(self._nearest, embedding, k, filter))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
    ) -> list[Document]:
        """``k`` of the ``fetch_k`` closest that are close to the query and unlike each other."""
        return self._diverse(self.embed_query(query), k, fetch_k, lambda_mult, filter)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
    ) -> list[Document]:
        """As ``max_marginal_relevance_search``."""
        vector = await self._embedding.aembed_query(query)
        return await asyncio.to_thread(self._diverse, vector, k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
    ) -> list[Document]:
        """As ``max_marginal_relevance_search``, for a vector."""
        return self._diverse(embedding, k, fetch_k, lambda_mult, filter)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
    ) -> list[Document]:
        """As ``max_marginal_relevance_search_by_vector``."""
        return await asyncio.to_thread(self._diverse, embedding, k, fetch_k, lambda_mult, filter)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda cosine: min(1.0, max(0.0, cosine))

    # -- for rankings (see hybrid)

    def embed_query(self, query: str) -> Any:
        """The vector of a query."""
        embed = getattr(self._embedding, "embed_query_array", self._embedding.embed_query)
        return embed(query)

    def find(
        self, filter: Filter | None, search: Callable[[View], Sequence[tuple[int, T]]]
    ) -> list[tuple[Document, T]]:
        """Documents for the rows that ``search`` finds in all documents as they are now.

        Where others replace what was found before it is read, the search is repeated; the last
        time no other thread may write.
        """
        keep = condition(filter)
        for _ in range(_ATTEMPTS):
            found = search(self._collection.view(keep))
            stored = self._collection.get([row for row, _ in found])
            if len(stored) == len(found):
                break
        else:
            with self._collection.still():
                found = search(self._collection.view(keep))
                stored = self._collection.get([row for row, _ in found])
        return [(_document(stored[row]), value) for row, value in found if row in stored]

    # -- inside

    def _named(
        self, documents: Sequence[Document], ids: Sequence[str | None] | None
    ) -> tuple[list[str], list[tuple[str, Document]]]:
        """The id of each document, and of those with the same id the last one."""
        given = [document.id for document in documents] if ids is None else list(ids)
        if len(given) != len(documents):
            raise ValueError(f"{len(documents)} documents cannot have {len(given)} ids.")
        named = [id_ or self._new_id() for id_ in given]
        for document in documents:
            check_json(document.metadata, "")
        return named, list(dict(zip(named, documents, strict=True)).items())

    def _store(
        self, batch: Sequence[tuple[str, Document]], texts: Sequence[str], vectors: Any
    ) -> None:
        if not batch:
            return
        self._collection.upsert(
            [id_ for id_, _document_ in batch],
            [document.page_content for _id, document in batch],
            [document.metadata for _id, document in batch],
            texts,
            normalized(vectors, len(batch)),
        )

    def _nearest(self, vector: Any, k: int, filter: Filter | None) -> list[tuple[Document, float]]:
        asked = comparable(vector, self.dimensions)
        return self.find(filter, lambda view: view.nearest(asked, k))

    def _diverse(
        self, vector: Any, k: int, fetch_k: int, lambda_mult: float, filter: Filter | None
    ) -> list[Document]:
        asked = comparable(vector, self.dimensions)

        def search(view: View) -> list[tuple[int, float]]:
            found = view.nearest(asked, max(k, fetch_k))
            vectors = view.vectors([row for row, _score in found])
            chosen = mmr([score for _row, score in found], vectors, k, lambda_mult)
            return [found[place] for place in chosen]

        return _only(self.find(filter, search))


def _document(stored: StoredDocument) -> Document:
    return Document(id=stored.id, page_content=stored.content, metadata=stored.metadata)


def _only(found: Iterable[tuple[Document, float]]) -> list[Document]:
    return [document for document, _score in found]
