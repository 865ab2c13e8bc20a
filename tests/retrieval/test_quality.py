"""How often a question's answer is among the five passages found first."""

import numpy as np
import pytest

from nearfar.llm.embeddings import LocalEmbeddings
from nearfar.retrieval.hybrid import HybridRetriever
from nearfar.retrieval.splitting import found_by
from nearfar.retrieval.store import FaissStore

from . import quality


@pytest.fixture(scope="module")
def embedding() -> LocalEmbeddings:
    return LocalEmbeddings()


@pytest.fixture(scope="module")
def store(embedding: LocalEmbeddings) -> FaissStore:
    found = quality.passages(embedding)
    vectors = quality.kept_vectors(quality.fingerprint(embedding, found))
    if vectors is None:
        pytest.fail(
            "vectors.npz is of another model or splitting: python -m tests.retrieval.quality"
        )
    return quality.store_of(embedding, found, vectors)


def test_the_set_is_large_enough_and_every_answer_is_in_a_passage(
    embedding: LocalEmbeddings,
) -> None:
    found = quality.passages(embedding)
    assert len(found) >= 2_000
    assert len(quality.questions()) >= 200
    assert len({q.question for q in quality.questions()}) == len(quality.questions())
    for question in quality.questions():
        assert any(quality.is_answer(question, document) for document in found), question


def test_both_rankings_together_find_nine_of_ten_answers_and_more_than_either(
    store: FaissStore,
) -> None:
    both = quality.rate(quality.hits(HybridRetriever(store=store)))
    dense = quality.rate(quality.hits(HybridRetriever(store=store, lexical_weight=0)))
    words = quality.rate(quality.hits(HybridRetriever(store=store, dense_weight=0)))
    assert both >= 0.90
    assert both >= dense
    assert both >= words


@pytest.mark.long
def test_the_kept_vectors_are_those_of_the_model(embedding: LocalEmbeddings) -> None:
    found = quality.passages(embedding)
    kept = quality.kept_vectors(quality.fingerprint(embedding, found))
    assert kept is not None
    made = embedding.embed_array([found_by(document) for document in found])
    assert np.sum(kept * made, axis=1).min() > 0.98
