"""What our checkpointer for SQLite adds to LangGraph's."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.types import Command

from nearfar.errors import StorageError
from nearfar.storage.checkpoints.serde import StrictSerializer
from nearfar.storage.checkpoints.sqlite import SqliteSaver

from .conftest import Open, sqlite_store
from .graphs import chat, question, texts, thread


async def turns(saver: Any, count: int, name: str = "t", graph: Any = None) -> Any:
    """So many turns; the state after them."""
    kept = (graph or chat()).compile(checkpointer=saver)
    for n in range(count):
        await kept.ainvoke(question(f"{n}"), thread(name), durability="sync")
    return await kept.aget_state(thread(name))


async def test_what_is_awaited_is_committed(sqlite: Open, tmp_path: Path) -> None:
    async with sqlite() as saver:
        await turns(saver, 1)
        with closing(sqlite3.connect(tmp_path / "nearfar.db")) as other:
            found = other.execute("SELECT count(*) FROM checkpoints").fetchone()
    assert found == (3,)


async def test_messages_are_stored_once(sqlite: Open, tmp_path: Path) -> None:
    """The items of a long thread grow with its messages, not with their square."""
    async with sqlite() as saver:
        await turns(saver, 40)
    with closing(sqlite3.connect(tmp_path / "nearfar.db")) as other:
        stored = other.execute("SELECT count(*) FROM checkpoint_items").fetchone()[0]
    assert stored <= 80 + 8


async def test_a_thread_reads_the_same_in_another_program(sqlite: Open) -> None:
    async with sqlite() as saver:
        state = await turns(saver, 20)
    async with sqlite() as saver:
        again = await chat().compile(checkpointer=saver).aget_state(thread("t"))
    assert again.values == state.values
    assert [m.model_dump() for m in again.values["messages"]] == [
        m.model_dump() for m in state.values["messages"]
    ]


async def test_history_reads_each_state_as_it_was(sqlite: Open) -> None:
    async with sqlite() as saver:
        graph = chat().compile(checkpointer=saver)
        await turns(saver, 30)
        counts = [
            len(s.values.get("messages", ())) async for s in graph.aget_state_history(thread("t"))
        ]
    assert counts[:4] == [60, 59, 58, 58]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 90


async def test_a_message_changed_in_place_is_stored_anew(sqlite: Open) -> None:
    def edit(state: Any) -> Any:
        old = state["messages"][3]
        old.content = "redacted"
        old.response_metadata["by"] = "us"
        return {"messages": [old]}

    async with sqlite() as saver:
        await turns(saver, 10)
        graph = chat()
        graph.add_node("edit", edit)
        graph.add_edge("echo", "edit")
        await turns(saver, 1, graph=graph)
    async with sqlite() as saver:
        state = await chat().compile(checkpointer=saver).aget_state(thread("t"))
    assert state.values["messages"][3].content == "redacted"
    assert state.values["messages"][3].response_metadata == {"by": "us"}


async def test_who_changes_a_result_does_not_change_the_thread(sqlite: Open) -> None:
    async with sqlite() as saver:
        graph = chat().compile(checkpointer=saver)
        await turns(saver, 10)
        result = await graph.ainvoke(question("x"), thread("t"), durability="sync")
        state = await graph.aget_state(thread("t"))
        for message in (*result["messages"], *state.values["messages"]):
            message.content = "changed"
        await graph.ainvoke(question("y"), thread("t"), durability="sync")
        after = texts(await graph.aget_state(thread("t")))
    assert not any("changed" in text for text in after)


async def test_a_thread_that_another_program_pruned_or_began_anew_is_written_whole(
    sqlite: Open,
) -> None:
    """What a program remembers of a thread's items is not believed when they are gone."""
    async with sqlite() as first, sqlite() as second:
        graph = chat().compile(checkpointer=first)
        await turns(first, 10)
        await second.adelete_thread("t")
        await turns(second, 3)
        state = await graph.aget_state(thread("t"))
        assert len(state.values["messages"]) == 6
        await turns(first, 10)
        before = await graph.aget_state(thread("t"))
        await second.aprune(["t"])
        await graph.aupdate_state(thread("t"), {"messages": [HumanMessage("more")]})
    async with sqlite() as third:
        after = await chat().compile(checkpointer=third).aget_state(thread("t"))
    assert texts(after) == [*texts(before), "human: more"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
IDS = st.sampled_from([str(n) for n in range(12)])
MESSAGES = st.one_of(
    st.builds(HumanMessage, content=st.text(max_size=40), id=IDS),
    st.builds(
        AIMessage,
        content=st.text(max_size=40),
        id=IDS,
        additional_kwargs=st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    ),
    st.builds(ToolMessage, content=st.text(max_size=10), tool_call_id=IDS, id=IDS, artifact=VALUES),
)


LISTS = st.lists(st.lists(MESSAGES | st.builds(dict, x=VALUES) | VALUES, max_size=14), max_size=6)


@given(lists=LISTS)
@settings(max_examples=40)
def test_any_list_reads_as_it_was_written(lists: list[list[Any]], tmp_path_factory: Any) -> None:
    async def check(path: Path) -> None:
        written: list[list[Any]] = []
        async with sqlite_store(path)() as saver:
            config: Any = thread("t", checkpoint_ns="")
            for n, value in enumerate(lists):
                content = (written[-1][: n + 2] if written else []) + value
                written.append(content)
                state: Any = {"v": 4, "id": f"{n:04}", "ts": "", "channel_values": {"x": content}}
                state |= {"channel_versions": {"x": f"{n}"}, "versions_seen": {}}
                config = await saver.aput(config, state, {}, {"x": f"{n}"})
            await found(saver, written)
        async with sqlite_store(path)() as saver:
            await found(saver, written)

    async def found(saver: Any, written: list[Any]) -> None:
        for n, value in enumerate(written):
            read = await saver.aget_tuple(thread("t", checkpoint_ns="", checkpoint_id=f"{n:04}"))
            assert plain(read.checkpoint["channel_values"]["x"]) == plain(value)

    asyncio.run(check(tmp_path_factory.mktemp("lists") / "nearfar.db"))


def plain(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return type(value).__name__, value.model_dump()
    return [plain(item) for item in value] if isinstance(value, list) else value


async def test_removed_and_replaced_messages_are_gone(sqlite: Open) -> None:
    async with sqlite() as saver:
        graph = chat().compile(checkpointer=saver)
        state = await turns(saver, 10)
        ids = [message.id for message in state.values["messages"]]
        await graph.aupdate_state(
            thread("t"), {"messages": [RemoveMessage(ids[4]), AIMessage("new", id=ids[5])]}
        )
    async with sqlite() as saver:
        after = (await chat().compile(checkpointer=saver).aget_state(thread("t"))).values[
            "messages"
        ]
    assert [message.id for message in after] == ids[:4] + ids[5:]
    assert after[4].content == "new"


async def test_the_guard_is_asked_in_the_transaction_and_can_refuse_it(sqlite: Open) -> None:
    asked: list[tuple[str, bool]] = []
    refused = {"late"}

    def guard(connection: sqlite3.Connection, thread_id: str) -> None:
        asked.append((thread_id, connection.in_transaction))
        if thread_id in refused:
            raise PermissionError(thread_id)

    async with sqlite(guard=guard) as saver:
        both = await asyncio.gather(
            turns(saver, 1, "late"), turns(saver, 1, "mine"), return_exceptions=True
        )
        kept = [s async for s in saver.alist(None)]
    assert isinstance(both[0], PermissionError)
    assert {item.config["configurable"]["thread_id"] for item in kept} == {"mine"}
    assert all(inside for _, inside in asked)


async def test_writes_of_many_tasks_share_transactions(sqlite: Open) -> None:
    commits = []
    async with sqlite(guard=lambda c, t: commits.append(t)) as saver:
        await turns(saver, 1)
        config = (await saver.aget_tuple(thread("t"))).config
        commits.clear()
        await asyncio.gather(
            *(saver.aput_writes(config, [("x", n)], f"task-{n}") for n in range(500))
        )
        found = await saver.aget_tuple(thread("t"))
    assert len(found.pending_writes) == 500
    assert len(commits) < 50


async def test_one_write_that_cannot_be_stored_does_not_take_others_with_it(sqlite: Open) -> None:
    async with sqlite() as saver:
        await turns(saver, 1)
        config = (await saver.aget_tuple(thread("t"))).config
        both = await asyncio.gather(
            saver.aput_writes(config, [("bad \ud800", 1)], "a"),
            saver.aput_writes(config, [("good", 1)], "b"),
            return_exceptions=True,
        )
        found = await saver.aget_tuple(thread("t"))
    assert isinstance(both[0], UnicodeEncodeError)
    assert [write[1] for write in found.pending_writes] == ["good"]


async def test_the_sync_face_works_from_another_thread(sqlite: Open) -> None:
    async with sqlite() as saver:
        await turns(saver, 2)
        graph = chat().compile(checkpointer=saver)

        def work() -> int:
            graph.invoke(question("sync"), thread("t"))
            saver.copy_thread("t", "copy")
            saver.prune(["t"])
            saver.delete_for_runs(["nobody"])
            return len(list(saver.list(thread("copy")))) - len(list(saver.list(thread("t"))))

        assert await asyncio.to_thread(work) == 8


async def test_filters_are_values_not_sql(sqlite: Open) -> None:
    hostile = "x' OR '1'='1"
    async with sqlite() as saver:
        await turns(saver, 2)
        assert [c async for c in saver.alist(None, filter={"source": hostile})] == []
        assert [c async for c in saver.alist(thread(hostile))] == []
        with pytest.raises(ValueError, match="filter key"):
            [c async for c in saver.alist(None, filter={"source') OR 1=1 --": "x"})]
        assert [c async for c in saver.alist(thread("t"), limit=0)] == []


async def test_a_closed_checkpointer_says_so(sqlite: Open) -> None:
    async with sqlite() as saver:
        pass
    with pytest.raises(StorageError, match="closed"):
        await turns(saver, 1)
    assert not [t for t in threading.enumerate() if t.name.startswith("nearfar-checkpoint")]


async def test_the_latest_is_the_one_written_last_even_if_the_clock_was_set_back(
    sqlite: Open,
) -> None:
    """LangGraph's ids carry the time: a program started after the change makes smaller ones."""
    async with sqlite() as saver:
        await turns(saver, 2)
        latest = await saver.aget_tuple(thread("t"))
        place = {
            "checkpoint_ns": "",
            "checkpoint_id": latest.config["configurable"]["checkpoint_id"],
        }
        state = {**latest.checkpoint, "id": "0" + latest.checkpoint["id"][1:]}
        await saver.aput(thread("t", **place), state, {"step": 99}, {})
        found = await saver.aget_tuple(thread("t"))
        listed = [c async for c in saver.alist(thread("t"), limit=1)]
    assert found.metadata["step"] == listed[0].metadata["step"] == 99


async def test_an_answer_to_an_interrupt_comes_after_a_restart(tmp_path: Path) -> None:
    from .graphs import delta_chat

    path = tmp_path / "nearfar.db"
    async with SqliteSaver.open(path, serde=StrictSerializer()) as saver:
        graph = delta_chat(asks=True).compile(checkpointer=saver)
        await graph.ainvoke({**question("0"), "notes": []}, thread("t"))
        waiting = await graph.ainvoke(question("1"), thread("t"))
        while "__interrupt__" not in waiting:
            waiting = await graph.ainvoke(question("2"), thread("t"))
    async with SqliteSaver.open(path, serde=StrictSerializer()) as saver:
        graph = delta_chat(asks=True).compile(checkpointer=saver)
        done = await graph.ainvoke(Command(resume="yes"), thread("t"))
    assert done["notes"][-1].endswith(": yes")


async def test_two_writers_share_a_checkpointer_under_guards_of_their_own(sqlite: Open) -> None:
    """What one worker may no longer write, another may, in the same transaction."""

    def refuse(connection: sqlite3.Connection, thread_id: str) -> None:
        raise PermissionError(thread_id)

    async with sqlite() as saver:
        both = await asyncio.gather(
            turns(saver.with_guard(refuse), 1, "late"),
            turns(saver, 1, "mine"),
            return_exceptions=True,
        )
        kept = {c.config["configurable"]["thread_id"] async for c in saver.alist(None)}
    assert isinstance(both[0], PermissionError)
    assert kept == {"mine"}
