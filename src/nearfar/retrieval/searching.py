"""A search in an index as it was at one moment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import absolute

if TYPE_CHECKING:
    from .hybrid import HybridRetriever, Ranked

Filter = Mapping[str, Any] | Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document, as found. ``score`` orders; its size means nothing by itself."""

    id: str
    text: str
    source: str  # the file's absolute path
    page: int | None
    heading: str | None
    start: int  # in the document's extracted text
    end: int
    score: float
    dense_score: float | None  # cosine of question and passage; None where only words matched
    lexical_score: float | None  # BM25; None where no word matched
    also_in: tuple[str, ...] = ()  # other files with the same content


@dataclass(frozen=True, slots=True)
class View:
    """What searches use, as of one generation of the index."""

    generation: str
    retriever: "HybridRetriever"
    sources: dict[str, list[str]]  # document to the paths that hold it
    whole: bool  # nothing is in the store but what the files hold

    def search(self, question: str, k: int, fetch_k: int, wanted: Filter | None) -> list[Passage]:
        """The best ``k`` passages of documents that have files."""
        ranked = self.retriever.rank(
            question, k=k, fetch_k=max(k, fetch_k), filter=self._for_store(wanted)
        )
        return [passage for hit in ranked if (passage := self._passage(hit)) is not None]

    def _passage(self, hit: "Ranked") -> Passage | None:
        meta = hit.document.metadata
        paths = self.sources.get(meta["doc_hash"])
        if not paths:
            return None
        return Passage(
            id=str(hit.document.id),
            text=hit.document.page_content,
            source=paths[0],
            page=meta["page"],
            heading=meta["heading"],
            start=meta["start"],
            end=meta["end"],
            score=hit.score,
            dense_score=hit.dense_score,
            lexical_score=hit.lexical_score,
            also_in=tuple(paths[1:]),
        )

    def _for_store(self, wanted: Filter | None) -> Callable[[dict[str, Any]], bool] | None:
        """The filter for the store, which knows documents where people know paths."""
        sources = self.sources
        if callable(wanted):
            accept = wanted
            return lambda meta: any(
                accept(meta | {"source": path}) for path in sources.get(meta["doc_hash"], ())
            )
        if wanted is None and self.whole:
            return None
        values = dict(wanted or {})
        documents = set(sources)
        if "source" in values:
            source = values.pop("source")
            paths = {absolute(p) for p in ([source] if isinstance(source, str | Path) else source)}
            documents = {d for d, known in sources.items() if paths.intersection(known)}
        return lambda meta: (
            meta["doc_hash"] in documents
            and all(meta.get(key) == value for key, value in values.items())
        )
