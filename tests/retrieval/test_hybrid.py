"""Joining two rankings, and the retriever that does it."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from pydantic import ValidationError

from nearfar.retrieval import FaissStore, HybridRetriever
from nearfar.retrieval.ranking import joined, mmr
from nearfar.retrieval.store import with_heading

ANGLES = {"engine": 0, "motor": 10, "river": 90, "stream": 80, "E-4711": 45}


class Meaning(Embeddings):
    """A text means the angle of the first word it holds that has one."""

    def embed_query(self, text: str) -> list[float]:
        angle = math.radians(next((a for word, a in ANGLES.items() if word in text), 180))
        return [math.cos(angle), math.sin(angle)]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


TEXTS = {
    "a": "the motor is hot",
    "b": "a stream in the valley",
    "c": "error E-4711 means low pressure",
    "d": "the engine and the engine oil",
    "e": "nothing of note",
}


@pytest.fixture
def store() -> Iterator[FaissStore]:
    metadata = [{"letter": letter} for letter in TEXTS]
    made = FaissStore.from_texts(list(TEXTS.values()), Meaning(), metadata, ids=list(TEXTS))
    with made:
        yield made


def letters(retriever: HybridRetriever, query: str, **options: Any) -> str:
    return "".join(str(ranked.document.id) for ranked in retriever.rank(query, **options))


def test_both_rankings_count_by_how_far_they_are_from_the_background() -> None:
    cosines, weights = np.array([0.8, 0.5, 0.2], np.float32), np.array([1.0, 2.0], np.float32)
    scores = joined(cosines, 0.2, [0.0, 3.0, 6.0], 12.0, weights)
    assert scores == pytest.approx([0.75, 0.375 + 0.5, 1.0])
    flat = joined(0.9 + 0.1 * cosines, 0.92, [0.0, 3.0, 6.0], 12.0, weights)
    assert flat == pytest.approx(scores, abs=1e-5)  # a model whose cosines lie close together
    same = joined(np.ones(2, np.float32), 1.0, [0.0, 0.0], 0.0, weights)
    assert same == pytest.approx([0, 0])  # all alike, and no words asked for


def test_a_rare_word_counts_for_more_than_being_a_little_nearer(store: FaissStore) -> None:
    store.add_texts([f"engine number {n}" for n in range(9)])
    store.add_texts(["a noise of the motor"], ids=["f"])
    assert letters(HybridRetriever(store=store), "engine noise", k=1) == "f"


def test_mmr_takes_the_best_first_and_then_what_is_different() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert mmr([0.9, 0.8, 0.1], vectors, 3, 0.5) == [0, 2, 1]
    assert mmr([0.9, 0.8, 0.1], vectors, 2, 1.0) == [0, 1]
    assert mmr([], np.zeros((0, 2), np.float32), 4, 0.5) == []


def test_meaning_finds_other_words_and_words_find_what_has_no_meaning(store: FaissStore) -> None:
    retriever = HybridRetriever(store=store)
    assert letters(retriever, "river", k=1) == "b"
    assert letters(retriever, "E-4711", k=1) == "c"


def test_component_scores_are_given_for_every_hit(store: FaissStore) -> None:
    ranked = {r.document.id: r for r in HybridRetriever(store=store, fetch_k=5, k=5).rank("engine")}
    assert set(ranked) == set(TEXTS)
    assert ranked["d"].dense_score == pytest.approx(1)
    assert ranked["a"].dense_score == pytest.approx(math.cos(math.radians(10)), abs=1e-5)
    assert (ranked["d"].lexical_score or 0) > 0
    assert ranked["a"].lexical_score is None
    assert ranked["d"].score > 1 > ranked["a"].score > ranked["e"].score == 0


def test_a_weight_of_zero_switches_a_ranking_off(store: FaissStore) -> None:
    dense = HybridRetriever(store=store, lexical_weight=0, k=5)
    lexical = HybridRetriever(store=store, dense_weight=0, k=5)
    assert letters(dense, "engine oil in the valley").startswith("da")
    assert set(letters(lexical, "engine oil in the valley")) == set("abd")
    assert letters(lexical, "zeppelin") == ""


def test_filters_of_the_retriever_and_of_a_call(store: FaissStore) -> None:
    retriever = HybridRetriever(store=store, filter={"letter": {"$in": ["a", "b"]}})
    assert set(letters(retriever, "engine")) == {"a", "b"}
    assert letters(retriever, "engine", filter={"letter": "e"}) == "e"
    assert letters(retriever, "engine", filter=lambda metadata: metadata["letter"] > "d") == "e"
    assert letters(retriever, "engine", filter={"letter": "z"}) == ""


def test_variety_puts_the_same_thing_said_again_behind(store: FaissStore) -> None:
    store.add_texts(["the motor is hot, too"], ids=["f"])
    varied = HybridRetriever(store=store, mmr_weight=0.4)
    assert set(letters(HybridRetriever(store=store), "motor hot", k=2)) == {"a", "f"}
    assert letters(varied, "motor hot", k=2)[1] not in "afd"


def test_a_heading_helps_to_find_what_stands_under_it() -> None:
    documents = [
        Document(id="a", page_content="It is red.", metadata={"heading": "Cars > engine"}),
        Document(id="b", page_content="It is blue.", metadata={"heading": None}),
    ]
    with FaissStore(Meaning(), text_of=with_heading) as store:
        store.add_documents(documents)
        best = HybridRetriever(store=store).rank("engine")[0]
    assert best.document == documents[0]
    assert best.dense_score == pytest.approx(1)
    assert best.lexical_score


def test_k_is_never_cut_by_fetch_k(store: FaissStore) -> None:
    assert len(HybridRetriever(store=store, fetch_k=1).rank("engine", k=4)) >= 4


def test_an_empty_store_and_an_empty_question_find_nothing_bad(store: FaissStore) -> None:
    assert len(HybridRetriever(store=store).rank("")) == 5
    with FaissStore(Meaning()) as empty:
        assert HybridRetriever(store=empty).rank("engine") == []


async def test_async_is_the_same(store: FaissStore) -> None:
    retriever = HybridRetriever(store=store)
    ranked = await asyncio.gather(*(retriever.arank(word) for word in ANGLES))
    assert list(ranked) == [retriever.rank(word) for word in ANGLES]
    assert await retriever.ainvoke("engine") == retriever.invoke("engine")


@pytest.mark.parametrize("options", [{"k": 0}, {"mmr_weight": 1.5}, {"dense_weight": -1}])
def test_numbers_out_of_range_are_refused(store: FaissStore, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HybridRetriever(store=store, **options)
