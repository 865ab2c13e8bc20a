"""A thread that was pruned goes on exactly as one that was not."""

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from nearfar.storage.checkpoints.pruning import Node, Retention, gaps, to_keep

from .conftest import Open, sqlite_store
from .graphs import DeltaChat, chat, delta_chat, echo, question, texts, thread

PRUNINGS = [
    Retention(checkpoints=0),
    Retention(checkpoints=3),
    Retention(checkpoints=20, thread_mb=0.02),
    Retention(days=1, clock=lambda: 4e9),
]


async def prune(saver: Any, rng: random.Random, name: str) -> None:
    await saver.aretain(name, rng.choice(PRUNINGS))


def random_graph(rng: random.Random) -> StateGraph[Any]:
    """A chain, a fan or a subgraph, over plain, delta and list channels, with questions."""
    graph = delta_chat(asks=rng.random() < 0.6)
    if rng.random() < 0.5:
        inner = StateGraph(DeltaChat)
        inner.add_node("echo", echo)

        def ask(state: Any) -> Any:
            if len(state["messages"]) % 4 == 1:
                return {"notes": [f"inner {interrupt('inner')}"]}
            return {}

        inner.add_node("ask", ask)
        inner.add_edge(START, "echo")
        inner.add_edge("echo", "ask")
        graph.add_node("inner", inner.compile(checkpointer=rng.choice([None, True])))
        graph.add_edge("note", "inner")
    if rng.random() < 0.5:
        for n in range(3):
            graph.add_node(
                f"fan{n}", lambda state, n=n: {"notes": [f"fan {n} {len(state['messages'])}"]}
            )
            graph.add_edge("note", f"fan{n}")
    return graph


async def story(graph: Any, rng: random.Random, name: str, between: Any) -> list[Any]:
    """A conversation with answers, updates, forks and changes by hand; what was seen at each turn."""
    seen = []
    for n in range(rng.randint(8, 20)):
        state = await graph.aget_state(thread(name))
        action = rng.random()
        durability = rng.choice(["sync", "async", "exit"])
        given: Any = {**question(f"{n}"), "notes": [f"turn {n}"]}
        if state.interrupts:
            given = Command(resume={i.id: f"answer {n}" for i in state.interrupts})
        elif action < 0.1 and state.values:
            await graph.aupdate_state(thread(name), {"notes": [f"by hand {n}"]}, as_node="echo")
        await graph.ainvoke(given, thread(name), durability=durability)
        await between()
        state = await graph.aget_state(thread(name))
        seen.append((texts(state), state.values.get("notes"), state.next, len(state.interrupts)))
    return seen


async def pruned_and_not(opened: Open, seed: int) -> tuple[list[Any], list[Any]]:
    async def nothing() -> None:
        return None

    async with opened() as saver:
        graph = random_graph(random.Random(seed)).compile(checkpointer=saver)
        plain = await story(graph, random.Random(seed), f"plain{seed}", nothing)
        chance = random.Random(seed)
        name = f"pruned{seed}"

        async def between() -> None:
            if chance.random() < 0.5:
                await prune(saver, chance, name)

        pruned = await story(graph, random.Random(seed), name, between)
        for each in (f"plain{seed}", name):
            await saver.adelete_thread(each)
    return plain, pruned


SEEDS = [pytest.param(n, marks=[pytest.mark.long] if n >= 8 else []) for n in range(100)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_graphs_go_on_the_same_after_pruning(sqlite: Open, seed: int) -> None:
    plain, pruned = await pruned_and_not(sqlite, seed)
    assert pruned == plain


async def test_random_graphs_go_on_the_same_after_pruning_in_postgres(postgres_url: str) -> None:
    from .conftest import postgres_store

    for seed in (1,):
        plain, pruned = await pruned_and_not(postgres_store(postgres_url), seed)
        assert pruned == plain


async def test_delta_state_survives_every_single_pruning(store: Open) -> None:
    """Keeping the latest checkpoint alone would leave a DeltaChannel empty, without a word."""
    async with store() as saver:
        graph = delta_chat().compile(checkpointer=saver)
        for n in range(17):
            await graph.ainvoke({**question(f"{n}"), "notes": []}, thread("t"))
            before = texts(await graph.aget_state(thread("t")))
            await saver.aprune(["t"], strategy="keep_latest")
            assert texts(await graph.aget_state(thread("t"))) == before
        left = [c async for c in saver.alist(thread("t"))]
        await saver.adelete_thread("t")
    assert len(before) == 34
    assert len(left) < 3 * 8


async def test_a_waiting_branch_and_named_checkpoints_stay(store: Open) -> None:
    async with store() as saver:
        graph = delta_chat(asks=True).compile(checkpointer=saver)
        asked = 0
        while not asked:
            await graph.ainvoke({**question("q"), "notes": []}, thread("t"))
            await graph.ainvoke({**question("r"), "notes": []}, thread("t"))
            asked = len((await graph.aget_state(thread("t"))).interrupts)
        waiting = (await graph.aget_state(thread("t"))).config
        history = [s.config async for s in graph.aget_state_history(thread("t"))]
        await graph.aupdate_state(history[-1], {"notes": ["fork"]}, as_node="note")
        named = history[-2]["configurable"]["checkpoint_id"]
        await saver.aretain("t", Retention(checkpoints=0), named=[named])
        ids = {c.config["configurable"]["checkpoint_id"] async for c in saver.alist(thread("t"))}
        assert {waiting["configurable"]["checkpoint_id"], named} <= ids
        done = await graph.ainvoke(Command(resume="late"), waiting)
        await saver.adelete_thread("t")
    assert done["notes"][-1].endswith("late")


async def test_count_age_and_bytes_bound_a_thread(store: Open) -> None:
    async with store() as saver:
        graph = chat().compile(checkpointer=saver)

        async def count() -> int:
            return len([c async for c in saver.alist(thread("t"))])

        for n in range(30):
            await graph.ainvoke(question(f"{n} " + "x" * 500), thread("t"))
        assert await count() == 90
        assert await saver.aretain("t", Retention(checkpoints=50)) == 40
        assert await saver.aretain("t", Retention(days=1)) == 0
        assert await saver.aretain("t", Retention(thread_mb=0.06)) > 0
        assert 0 < await count() < 50
        assert await saver.aretain("t", Retention(days=1, clock=lambda: 4e9)) > 0
        assert await count() == 1
        assert len((await graph.aget_state(thread("t"))).values["messages"]) == 60
        await saver.adelete_thread("t")


async def test_what_nothing_points_to_is_gone_from_the_file(sqlite: Open, tmp_path: Path) -> None:
    async with sqlite(retention=Retention(checkpoints=10)) as saver:
        graph = chat().compile(checkpointer=saver)
        for n in range(60):
            await graph.ainvoke(question(f"{n}"), thread("t"))
        assert len([c async for c in saver.alist(thread("t"))]) < 80
        await saver.aprune(["t"], strategy="delete")
    with closing(sqlite3.connect(tmp_path / "nearfar.db")) as other:
        for table in ("checkpoints", "writes", "checkpoint_items", "checkpoint_threads"):
            assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608


async def test_a_copy_lives_on_when_its_source_is_deleted(store: Open) -> None:
    async with store() as saver:
        graph = delta_chat().compile(checkpointer=saver)
        for n in range(12):
            await graph.ainvoke({**question(f"{n}"), "notes": []}, thread("a"))
        said = texts(await graph.aget_state(thread("a")))
        await saver.acopy_thread("a", "b")
        await saver.adelete_thread("a")
        assert texts(await graph.aget_state(thread("b"))) == said
        await graph.ainvoke(question("more"), thread("b"))
        assert texts(await graph.aget_state(thread("b")))[: len(said)] == said
        assert (await graph.aget_state(thread("a"))).values == {}
        await saver.adelete_thread("b")


async def test_two_prunings_and_a_run_at_once_do_not_disturb_each_other(sqlite: Open) -> None:
    async with sqlite() as one, sqlite() as two:
        graph = chat().compile(checkpointer=one)

        async def talk() -> None:
            for n in range(40):
                await graph.ainvoke(question(f"{n}"), thread("t"), durability="sync")

        async def tidy(saver: Any) -> None:
            while not talking.done():
                await saver.aretain("t", Retention(checkpoints=2))

        talking = asyncio.create_task(talk())
        await asyncio.gather(talking, tidy(one), tidy(two))
        state = await graph.aget_state(thread("t"))
    assert len(state.values["messages"]) == 80


def node(position: int, parent: int | None, **more: Any) -> Node:
    return Node(position, "", f"{position}", None if parent is None else f"{parent}", 0.0, **more)


def test_a_chain_that_was_made_a_loop_ends() -> None:
    deltas = frozenset({"m"})
    nodes = [node(n, (n + 1) % 3, deltas=deltas, versioned=deltas) for n in range(3)]
    assert to_keep(nodes, ()) == {n.key for n in nodes}


def test_gaps_are_what_no_range_covers() -> None:
    assert gaps([[["l", 2, 4, 9, 9]], [["v", 3, 5]]]) == [(1, 1), (6, 8), (10, 2**62)]


def test_the_default_store_is_one_file(tmp_path: Path) -> None:
    async def check() -> None:
        async with sqlite_store(tmp_path / "x.db")() as saver:
            assert [c async for c in saver.alist(None)] == []

    asyncio.run(check())
