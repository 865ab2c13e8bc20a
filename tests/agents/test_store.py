"""The store behaves as LangGraph's own in-memory one, and keeps what it is given."""

import asyncio
import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.store.base import InvalidNamespaceError, PutOp
from langgraph.store.memory import InMemoryStore

from nearfar.agents.store import MemoryStore

LABELS = st.sampled_from(["a", "ab", "b", "a b", "ü", "%", "_"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k1", "k2", "K1", "k'3"])
VALUES = st.fixed_dictionaries(
    {"n": st.integers(0, 3), "kind": st.sampled_from(["x", "y"])},
    optional={"deep": st.fixed_dictionaries({"list": st.lists(st.integers(0, 2), max_size=2)})},
)
FILTERS = st.sampled_from(
    [
        None,
        {"n": 1},
        {"n": {"$gte": 1, "$lt": 3}},
        {"kind": {"$ne": "x"}},
        {"deep": {"list": [1, 2]}},
        {"absent": None},
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMESPACES, KEYS, VALUES),
    st.tuples(st.just("delete"), NAMESPACES, KEYS),
    st.tuples(st.just("get"), NAMESPACES, KEYS),
    st.tuples(st.just("search"), st.one_of(st.just(()), NAMESPACES), FILTERS),
    st.tuples(st.just("list"), NAMESPACES, st.sampled_from([None, 1, 2])),
    st.tuples(st.just("suffix"), st.one_of(st.just(("*",)), NAMESPACES)),
)


def outcome(store: Any, step: tuple[Any, ...]) -> Any:
    name, *args = step
    if name == "search":
        found = store.search(args[0], filter=args[1], limit=100)
        return sorted((item.namespace, item.key, str(item.value), item.score) for item in found)
    if name == "get":
        item = store.get(*args)
        return item and (item.namespace, item.key, item.value)
    if name == "list":
        return store.list_namespaces(prefix=args[0], max_depth=args[1])
    if name == "suffix":
        return store.list_namespaces(suffix=args[0], limit=2)
    return getattr(store, name)(*args)


@given(st.lists(STEPS, max_size=25))
@settings(max_examples=60)
def test_any_sequence_of_operations_gives_what_the_store_of_langgraph_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    ours = MemoryStore(path=tmp_path_factory.mktemp("store") / "nearfar.db")
    theirs = InMemoryStore()
    for step in steps:
        assert outcome(ours, step) == outcome(theirs, step)
        for namespace in [ns for ns, items in theirs._data.items() if not items]:
            del theirs._data[namespace]  # theirs lists namespaces that were only looked at


def test_ranks_by_meaning_as_the_store_of_langgraph_does(tmp_path: Path) -> None:
    model = DeterministicFakeEmbedding(size=24)
    ours = MemoryStore(path=tmp_path / "nearfar.db", embeddings=model, fields=["text", "tags[*]"])
    theirs = InMemoryStore(index={"dims": 24, "embed": model, "fields": ["text", "tags[*]"]})
    for store in (ours, theirs):
        for n in range(12):
            value = {"text": f"text {n}", "tags": [f"tag {n}", f"mark {n}"], "even": n % 2 == 0}
            store.put(("m", f"user{n % 3}"), str(n), value)
        store.put(("m", "user0"), "unseen", {"text": "text 3"}, index=False)
        store.put(("m", "user0"), "other field", {"note": "note 7"}, index=["note"])
    for query in ("text 3", "mark 7", "note 7", "something else"):
        for options in ({}, {"filter": {"even": True}}, {"offset": 2}):
            left = ours.search(("m",), query=query, limit=5, **options)
            right = theirs.search(("m",), query=query, limit=5, **options)
            assert [item.key for item in left] == [item.key for item in right]
            for a, b in zip(left, right, strict=True):
                assert a.score == pytest.approx(b.score, abs=1e-5)


def test_the_built_in_embeddings_find_what_is_meant(tmp_path: Path) -> None:
    store = MemoryStore(path=tmp_path / "nearfar.db")
    for key, text in {
        "food": "The user does not eat meat.",
        "home": "The user lives in a small town at the sea.",
        "work": "The user writes firmware for lifts.",
    }.items():
        store.put(("memories", "ada"), key, {"text": text})
    found = store.search(("memories", "ada"), query="Is she a vegetarian?", limit=1)
    assert [item.key for item in found] == ["food"]


def test_keeps_items_across_objects_and_says_when_they_changed(tmp_path: Path) -> None:
    first = MemoryStore(path=tmp_path / "nearfar.db", fields=[])
    first.put(("a",), "k", {"v": 1})
    before = first.get(("a",), "k")
    MemoryStore(path=tmp_path / "nearfar.db", fields=[]).put(("a",), "k", {"v": 2})
    after = first.get(("a",), "k")
    assert before is not None
    assert after is not None
    assert after.value == {"v": 2}
    assert after.created_at == before.created_at
    assert after.updated_at > before.updated_at


def test_what_is_deleted_is_gone_from_the_file_with_its_vectors(tmp_path: Path) -> None:
    path = tmp_path / "nearfar.db"
    store = MemoryStore(path=path, embeddings=DeterministicFakeEmbedding(size=8))
    store.put(("a",), "k", {"text": "a very private word: rhododendron"})
    store.delete(("a",), "k")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM memory_vectors").fetchone() == (0,)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert b"rhododendron" not in path.read_bytes()


class OtherModel(DeterministicFakeEmbedding):
    """Tells things apart differently."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(text[::-1])


def test_another_embedding_model_embeds_anew_what_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "nearfar.db"
    MemoryStore(path=path, embeddings=DeterministicFakeEmbedding(size=8)).put(
        ("a",), "k", {"text": "kiln"}
    )
    found = MemoryStore(path=path, embeddings=OtherModel(size=12)).search(("a",), query="kiln")
    assert found[0].score == pytest.approx(1, abs=1e-5)


def test_a_label_with_a_dot_cannot_reach_into_another_namespace(tmp_path: Path) -> None:
    store = MemoryStore(path=tmp_path / "nearfar.db", fields=[])
    for namespace in ((), ("a.b",), ("a", "")):
        with pytest.raises(InvalidNamespaceError):
            store.batch([PutOp(namespace, "k", {})])


def put_many(path: Path, who: int) -> None:
    store = MemoryStore(path=path, fields=[])
    for n in range(20):
        store.put(("p", str(who)), str(n), {"n": n})


def test_several_processes_and_tasks_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "nearfar.db"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=put_many, args=(path, who)) for who in range(2)]
    for process in processes:
        process.start()
    store = MemoryStore(path=path, fields=[])

    async def write() -> None:
        await asyncio.gather(*(store.aput(("p", "task"), str(n), {"n": n}) for n in range(20)))

    asyncio.run(write())
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(store.search(("p",), limit=100)) == 60
