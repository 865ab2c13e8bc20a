"""Words and BM25, held against bm25s."""

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.retrieval.bm25 import K1, B, Postings, bm25_scores, tokenize

WORDS = ["engine", "battery", "maxTokens", "river", "file_lock", "NUL", "café", "2024", "the"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The engines overheat.", ["the", "engine", "overheat"]),
        ("maxTokens", ["maxtoken", "max", "token"]),
        ("file_lock(path)", ["file_lock", "file", "lock", "path"]),
        ("__init__", ["init"]),
        ("HTTPServer2", ["httpserver2", "http", "server", "2"]),
        ("libraries classes buses gas", ["library", "classe", "buse", "gas"]),
        ("Straße \uff21\uff22", ["strasse", "ab"]),
        ("größe_2", ["grösse_2", "grösse", "2"]),
        ("合同终止", ["合同", "同终", "终止"]),
        ("", []),
        ("... --- !!!", []),
        ("_ __", []),
    ],
)
def test_words_are_whole_and_in_parts(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@given(st.text())
def test_any_text_has_words_that_are_found_again(text: str) -> None:
    tokens = tokenize(text)
    assert all(token and "\n" not in token for token in tokens)
    postings = Postings.of([text, "something else"])
    alive = np.ones(2, bool)
    (scores,), _ = bm25_scores(text, [(postings, alive)])
    assert (scores[0] > 0) == bool(tokens)


corpora = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=1, max_size=20
)


@given(texts=corpora, cut=st.integers(0, 20), query=st.lists(st.sampled_from(WORDS), min_size=1))
@settings(max_examples=60)
def test_scores_are_those_of_bm25s_however_the_texts_are_parted(
    texts: list[str], cut: int, query: list[str]
) -> None:
    tokens = [tokenize(text) for text in texts]
    asked = tokenize(" ".join(query))
    parts = [Postings.of(texts[:cut]), Postings.of(texts[cut:])]
    scores, limit = bm25_scores(
        " ".join(query), [(part, np.ones(len(part.lengths), bool)) for part in parts]
    )
    found = np.concatenate(scores)
    assert found.max() < limit or not asked
    if not any(tokens):
        assert not found.any()
        return
    oracle = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy", csc_backend="numpy")
    oracle.index(tokens, show_progress=False)
    known = [token for token in asked if token in oracle.vocab_dict]
    expected = oracle.get_scores(known) if known else np.zeros(len(texts))
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


@given(texts=corpora, data=st.data())
@settings(max_examples=60)
def test_dead_texts_count_for_nothing_and_joining_drops_them(
    texts: list[str], data: st.DataObject
) -> None:
    marks = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    alive = np.array(marks, bool)
    left = Postings.of([text for text, mark in zip(texts, marks, strict=True) if mark])
    everything = np.ones(len(left.lengths), bool)
    joined = Postings.joined([(Postings.of(texts), alive)])
    assert set(joined.terms) == set(left.terms)
    for query in WORDS:
        (expected,), _ = bm25_scores(query, [(left, everything)])
        (marked,), _ = bm25_scores(query, [(Postings.of(texts), alive)])
        (rewritten,), _ = bm25_scores(query, [(joined, everything)])
        assert np.allclose(marked[alive], expected, atol=1e-5)
        assert not marked[~alive].any()
        assert np.allclose(rewritten, expected, atol=1e-5)


@given(corpora)
def test_a_file_gives_back_what_was_written(texts: list[str]) -> None:
    postings = Postings.of(texts)
    copy = Postings.from_bytes(postings.to_bytes())
    assert copy.terms == postings.terms
    for name in ("starts", "texts", "counts", "lengths"):
        assert np.array_equal(getattr(copy, name), getattr(postings, name))
        assert getattr(copy, name).dtype == getattr(postings, name).dtype


def test_a_query_of_strange_words_finds_nothing() -> None:
    postings = Postings.of(["one two", "three"])
    (scores,), limit = bm25_scores("zeppelin", [(postings, np.ones(2, bool))])
    assert not scores.any()
    assert limit > 0
    assert bm25_scores("", [(postings, np.ones(2, bool))])[1] == 0
    assert bm25_scores("zeppelin", [])[0] == []
