"""FaissStore: finding, filtering, replacing, and what the standard tests do not ask."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from nearfar.errors import EmbedderMismatchError, MetadataError, ModelError
from nearfar.retrieval import FaissStore, _segments
from nearfar.retrieval.store import normalized


class Plane(Embeddings):
    """A text is a number: its vector points in that direction, in degrees."""

    def embed_query(self, text: str) -> list[float]:
        angle = np.radians(float(text))
        return [3 * float(np.cos(angle)), 3 * float(np.sin(angle))]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FaissStore]:
    path = tmp_path / "störe 店" if request.param == "disk" else None
    with FaissStore(Plane(), path=path) as made:
        yield made


def contents(documents: Sequence[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_scores_are_cosines_best_first(store: FaissStore) -> None:
    store.add_texts(["90", "0", "60", "180"])
    found = store.similarity_search_with_score("0", k=4)
    assert [document.page_content for document, _ in found] == ["0", "60", "90", "180"]
    assert np.allclose([score for _, score in found], np.array([1, 0.5, 0, -1]), atol=1e-5)


def test_relevance_scores_are_between_0_and_1(store: FaissStore) -> None:
    store.add_texts(["0", "180"])
    scores = [score for _, score in store.similarity_search_with_relevance_scores("0", k=2)]
    assert scores == pytest.approx([1, 0])
    limited = store.similarity_search_with_relevance_scores("0", k=2, score_threshold=0.5)
    assert contents([document for document, _ in limited]) == ["0"]


def test_more_than_there_is_gives_what_there_is(store: FaissStore) -> None:
    store.add_texts(["1", "2"])
    assert len(store.similarity_search("0", k=50)) == 2
    assert store.similarity_search("0", k=0) == []


def test_marginal_relevance_prefers_variety(store: FaissStore) -> None:
    store.add_texts(["10", "11", "12", "-40"])
    assert contents(store.max_marginal_relevance_search("0", k=2, lambda_mult=0.3)) == ["10", "-40"]
    assert contents(store.max_marginal_relevance_search("0", k=2, lambda_mult=1)) == ["10", "11"]
    vector = Plane().embed_query("0")
    assert contents(
        store.max_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=0.3)
    ) == ["10", "-40"]


async def test_the_async_face_finds_the_same(store: FaissStore) -> None:
    await store.aadd_texts(["10", "11", "-40"], [{"n": 0}, {"n": 1}, {"n": 2}])
    vector = Plane().embed_query("0")
    assert contents(await store.asimilarity_search("0", k=1)) == ["10"]
    assert contents(await store.asimilarity_search_by_vector(vector, k=1)) == ["10"]
    assert (await store.asimilarity_search_with_score("10"))[0][1] == pytest.approx(1)
    assert contents(await store.asimilarity_search("0", filter={"n": 2})) == ["-40"]
    diverse = await store.amax_marginal_relevance_search("0", k=2, lambda_mult=0.3)
    by_vector = await store.amax_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=0.3)
    assert contents(diverse) == contents(by_vector) == ["10", "-40"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, "abcd"),
        ({"n": 2}, "b"),
        ({"n": {"$gte": 2, "$lt": 4}}, "bc"),
        ({"n": {"$ne": 2}}, "acd"),
        ({"n": {"$gt": "2"}}, ""),
        ({"kind": {"$in": ["x", "y"]}}, "abc"),
        ({"kind": {"$nin": ["x"]}}, "bd"),
        ({"kind": {"$exists": False}}, "d"),
        ({"tags": {"$contains": "t"}}, "a"),
        ({"tags": ["t", "u"]}, "a"),
        ({"place": {"page": 3}}, "c"),
        ({"$or": [{"n": 1}, {"n": {"$gt": 3}}]}, "ad"),
        ({"$and": [{"kind": "x"}, {"n": 3}]}, "c"),
        ({"$not": {"kind": "x"}}, "bd"),
        (lambda metadata: metadata["n"] % 2 == 1, "ac"),
    ],
)
def test_filters_let_through_what_they_say(store: FaissStore, wanted: Any, found: str) -> None:
    documents = [
        Document(id="a", page_content="10", metadata={"n": 1, "kind": "x", "tags": ["t", "u"]}),
        Document(id="b", page_content="20", metadata={"n": 2, "kind": "y"}),
        Document(id="c", page_content="30", metadata={"n": 3, "kind": "x", "place": {"page": 3}}),
        Document(id="d", page_content="40", metadata={"n": 4}),
    ]
    store.add_documents(documents)
    assert "".join(str(d.id) for d in store.similarity_search("0", k=9, filter=wanted)) == found
    retriever = store.as_retriever(search_kwargs={"k": 9, "filter": wanted})
    assert "".join(str(d.id) for d in retriever.invoke("0")) == found


@pytest.mark.parametrize(
    "wanted", [{"n": {"$like": 1}}, {"$xor": []}, {"n": {"$in": 3}}, {"$or": {"n": 1}}, 7]
)
def test_a_filter_that_cannot_be_understood_is_refused(store: FaissStore, wanted: Any) -> None:
    store.add_texts(["1"], [{"n": 1}])
    with pytest.raises(MetadataError):
        store.similarity_search("0", filter=wanted)


@pytest.mark.parametrize(
    ("metadata", "pointer"),
    [
        ({"when": {"at": object()}}, "/when/at"),
        ({"pair": (1, 2)}, "/pair"),
        ({"list": [1, float("nan")]}, "/list/1"),
        ({"deep": {1: "x"}}, "/deep/1"),
        ({"bytes": b"x"}, "/bytes"),
    ],
)
def test_metadata_that_is_not_json_is_refused_by_its_place(
    store: FaissStore, metadata: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(MetadataError) as caught:
        store.add_texts(["1", "2"], [{}, metadata])
    assert caught.value.data == {"pointer": pointer}
    assert len(store) == 0


def test_an_unknown_argument_is_an_error(store: FaissStore) -> None:
    with pytest.raises(TypeError):
        store.similarity_search("0", where={"a": 1})  # type: ignore[call-arg]


def test_the_last_document_of_an_id_stays(store: FaissStore) -> None:
    documents = [Document(id="x", page_content=text) for text in ("10", "20")]
    assert store.add_documents(documents) == ["x", "x"]
    store.add_documents([Document(id="x", page_content="30")])
    assert contents(store.get_by_ids(["x", "x", "y"])) == ["30"]
    assert len(store) == 1


def test_ids_come_back_in_the_order_asked(store: FaissStore) -> None:
    store.add_texts(["1", "2", "3"], ids=["a", "b", "c"])
    assert [d.id for d in store.get_by_ids(["c", "a"])] == ["c", "a"]
    assert store.ids() == ["a", "b", "c"]


def test_delete_without_ids_empties_the_store(store: FaissStore) -> None:
    store.add_texts(["1", "2", "3"])
    store.delete()
    assert len(store) == 0
    assert store.similarity_search("0") == []
    store.add_texts(["4"])
    assert contents(store.similarity_search("0")) == ["4"]


def test_texts_come_back_as_they_were(tmp_path: Path) -> None:
    texts = ["a\x00b", "line\r\nend\u2028", "\ud800 half", "🙂" * 1000, ""]
    embedding = DeterministicFakeEmbedding(size=4)
    FaissStore.from_texts(texts[:2] + texts[3:], embedding, path=tmp_path / "s").close()
    with FaissStore.load(tmp_path / "s", embedding) as loaded:
        assert contents(loaded.get_by_ids(loaded.ids())) == texts[:2] + texts[3:]
        vectors = np.ones((1, 4))
        loaded.add_vectors([Document(id="odd", page_content=texts[2])], vectors)
        assert contents(loaded.get_by_ids(["odd"])) == [texts[2]]


def test_vectors_may_be_given(store: FaissStore) -> None:
    documents = [Document(id=i, page_content="far") for i in ("a", "b", "a")]
    store.add_vectors(documents, [[1, 0], [0, 1], [-1, 0]])
    assert [d.id for d in store.similarity_search("180")] == ["a", "b"]


@pytest.mark.parametrize("vectors", [[[1.0, float("nan")]], [1.0, 2.0], [[1.0], [2.0]]])
def test_vectors_that_are_none_are_refused(vectors: Any) -> None:
    with pytest.raises(ModelError):
        normalized(vectors, 1)


def test_vectors_of_another_length_are_refused(store: FaissStore) -> None:
    store.add_texts(["1"])
    with pytest.raises(EmbedderMismatchError) as caught:
        store.add_vectors([Document(page_content="x")], [[1, 2, 3]])
    assert caught.value.data == {"expected": 2, "found": 3}
    assert len(store) == 1
    with pytest.raises(EmbedderMismatchError):
        store.similarity_search_by_vector([1.0, 2.0, 3.0])
    with pytest.raises(EmbedderMismatchError):
        store.max_marginal_relevance_search_by_vector([1.0])


async def test_as_many_ids_as_texts_are_needed(store: FaissStore) -> None:
    with pytest.raises(ValueError, match="2 texts cannot have 1 ids"):
        store.add_texts(["1", "2"], ids=["a"])
    with pytest.raises(ValueError, match="1 texts cannot have 2 ids"):
        await store.aadd_texts(["1"], ids=["a", "b"])
    assert len(store) == 0


def test_searches_and_writes_may_overlap(store: FaissStore) -> None:
    store.add_texts([str(n) for n in range(50)], ids=[str(n) for n in range(50)])

    def search(_: int) -> int:
        return len(store.similarity_search("3", k=10, filter={"missing": {"$exists": False}}))

    def write(n: int) -> int:
        store.add_texts([str(n + 50)], ids=[str(n)])
        return 10

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write if n % 3 == 0 else search, n) for n in range(90)]
        assert (
            min(job.result() for job in jobs) >= 8
        )  # a search that was overtaken thrice finds less
    assert len(store) == 50 + 13


async def test_writes_from_many_tasks_are_all_there(store: FaissStore) -> None:
    await asyncio.gather(*(store.aadd_texts([str(n)], ids=[str(n)]) for n in range(20)))
    assert sorted(store.ids(), key=int) == [str(n) for n in range(20)]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 30), min_size=1, max_size=8)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 30), max_size=8)),
        st.tuples(st.sampled_from(["save", "rollback", "reopen"]), st.just([])),
    ),
    max_size=14,
)


@given(steps=steps)
@settings(max_examples=40)
def test_a_store_is_a_dictionary_that_can_be_searched(
    steps: list[tuple[str, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is added, deleted, saved, forgotten and loaded, in any order."""
    path = tmp_path_factory.mktemp("store")
    store = FaissStore(Plane(), path=path)
    now: dict[str, str] = {}
    saved: dict[str, str] = {}
    for count, (step, numbers) in enumerate(steps):
        if step == "add":
            texts = {str(n): str((7 * n + count) % 360) for n in numbers}
            store.add_texts(list(texts.values()), ids=list(texts))
            now = {**now, **texts}
        elif step == "delete":
            store.delete([str(n) for n in numbers])
            now = {id_: text for id_, text in now.items() if int(id_) not in numbers}
        elif step == "save":
            store.save()
            saved = now
        else:
            if step == "rollback":
                store.rollback()
            else:
                store.close()
                store = FaissStore.load(path, Plane())
            now = saved
        found = store.similarity_search_with_score("0", k=99)
        assert {str(d.id): d.page_content for d, _ in found} == now
        scores = [np.cos(np.radians(float(d.page_content))) for d, _ in found]
        assert np.allclose([score for _, score in found], scores, atol=1e-5)
        assert {
            row for row, _ in store._collection.view().words(" ".join(now.values())).best(99)
        } == {row for row, _ in store._collection.view().nearest(normalized([[1, 0]], 1)[0], 99)}
    store.close()


def test_a_large_store_keeps_bytes_and_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_segments, "QUANTIZE_ROWS", 500)
    rng = np.random.default_rng(1)
    vectors = normalized(rng.normal(size=(1200, 32)), 1200)
    documents = [Document(id=str(n), page_content=f"w{n}") for n in range(1200)]
    embedding = DeterministicFakeEmbedding(size=32)
    with FaissStore(embedding, path=tmp_path) as store:
        store.add_vectors(documents, vectors)
        store.save()
        assert list(tmp_path.glob("*.f32"))
    with FaissStore.load(tmp_path, embedding) as store:
        store.delete([str(n) for n in range(0, 1200, 10)])
        store.save()
        for query in normalized(rng.normal(size=(20, 32)), 20):
            exact = vectors @ query
            exact[::10] = -2
            best = np.argsort(-exact)[:10]
            found = store._collection.view().nearest(query, 10)
            assert [row - 1 for row, _ in found] == best.tolist()
            assert np.allclose([score for _, score in found], exact[best], atol=1e-6)
        store.verify()
