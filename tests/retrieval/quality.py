"""The quality set: a corpus, questions, and where their answers stand.

python -m tests.retrieval.quality      makes vectors.npz anew, for a new model or new splitting
"""

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from nearfar.llm.embeddings import LocalEmbeddings
from nearfar.retrieval.hybrid import HybridRetriever
from nearfar.retrieval.readers.read import ReadLimits, read_bytes
from nearfar.retrieval.splitting import found_by, split
from nearfar.retrieval.store import FaissStore
from nearfar.settings import RetrievalSettings

DATA = Path(__file__).parent.parent / "data" / "quality"
VECTORS = DATA / "vectors.npz"


@dataclass(frozen=True)
class Question:
    """``answers``: file and a piece of text, blanks squeezed; each is a place that answers."""

    question: str
    answers: tuple[tuple[str, str], ...]


@cache
def questions() -> list[Question]:
    """All of them."""
    rows = json.loads((DATA / "questions.json").read_text(encoding="utf-8"))
    return [
        Question(row["question"], tuple((a["file"], a["passage"]) for a in row["answers"]))
        for row in rows
    ]


@cache
def texts() -> dict[str, str]:
    """The corpus: file name to content."""
    with zipfile.ZipFile(DATA / "corpus.zip") as corpus:
        return {name: corpus.read(name).decode() for name in corpus.namelist()}


def passages(embedding: LocalEmbeddings) -> list[Document]:
    """The corpus as an index with default settings splits it."""
    settings = RetrievalSettings()
    found: list[Document] = []
    for name, text in texts().items():
        document = read_bytes(Path(name), text.encode(), ReadLimits())
        found += split(
            document,
            embedding.token_offsets,
            chunk_tokens=settings.chunk_tokens,
            overlap_tokens=settings.chunk_overlap,
            source=name,
        )
    return found


def fingerprint(embedding: LocalEmbeddings, found: Sequence[Document]) -> str:
    """Of what the vectors depend on."""
    digest = hashlib.sha256(embedding.fingerprint.encode())
    for document in found:
        digest.update(b"\0" + found_by(document).encode())
    return digest.hexdigest()


def kept_vectors(key: str) -> NDArray[np.float32] | None:
    """The vectors that were made before, if they are of this model and these passages."""
    if not VECTORS.exists():
        return None
    with np.load(VECTORS, allow_pickle=False) as kept:
        if str(kept["key"]) != key:
            return None
        vectors: NDArray[np.float32] = kept["vectors"].astype(np.float32)
        return vectors


def store_of(embedding: LocalEmbeddings, found: list[Document], vectors: Any) -> FaissStore:
    """In memory."""
    store = FaissStore(embedding, text_of=found_by)
    store.add_vectors(found, vectors, ids=[str(document.id) for document in found])
    return store


def is_answer(question: Question, document: Document) -> bool:
    """Whether the passage holds the beginning of a text that answers."""
    held = " ".join(document.page_content.split())
    for file, text in question.answers:
        words = text.split()
        if (
            document.metadata["source"] == file
            and " ".join(words[: max(4, len(words) // 2)]) in held
        ):
            return True
    return False


def hits(retriever: HybridRetriever, k: int = 5) -> list[bool]:
    """For each question whether its answer is among the best ``k``."""
    return [
        any(
            is_answer(question, ranked.document)
            for ranked in retriever.rank(question.question, k=k)
        )
        for question in questions()
    ]


def rate(found: Sequence[bool]) -> float:
    """The share of hits."""
    return sum(found) / len(found)


def main(write: Callable[[str], object] = sys.stdout.write) -> None:
    """Make the vectors, and say how good the rankings are."""
    embedding = LocalEmbeddings()
    found = passages(embedding)
    key = fingerprint(embedding, found)
    vectors = kept_vectors(key)
    if vectors is None:
        vectors = embedding.embed_array([found_by(document) for document in found])
        np.savez_compressed(VECTORS, key=np.array(key), vectors=vectors.astype(np.float16))
    store = store_of(embedding, found, vectors)
    write(f"{len(found)} passages, {len(questions())} questions\n")
    for name, options in (
        ("hybrid", {}),
        ("dense", {"lexical_weight": 0.0}),
        ("words", {"dense_weight": 0.0}),
    ):
        retriever = HybridRetriever(store=store, **options)
        write(f"{name:8}" + "".join(f" hit@{k} {rate(hits(retriever, k)):.3f}" for k in (1, 5, 10)))
        write("\n")


if __name__ == "__main__":
    main()
