"""A thread's turns each give the whole conversation, and that is kept once."""

import json
import sqlite3
from contextlib import closing
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph

import nearfar
from nearfar.agents.messages import Messages
from nearfar.graphs.plain import to_plain
from nearfar.settings import Settings, home, load_settings
from nearfar.storage.checkpoints.pruning import Retention
from nearfar.storage.checkpoints.types import starts_quietly

pytestmark = pytest.mark.usefixtures("store")

REPLY = "an answer of some length " * 12


def reply(state: MessagesState) -> dict[str, Any]:
    """Say something; in every fourth turn with a call of a tool, so that fields hold more than text."""
    count = len(state["messages"])
    if count % 8 == 1:
        call = {"name": "look", "args": {"n": count, "of": [1.5, None]}, "id": f"c{count}"}
        asks = AIMessage("", tool_calls=[call], response_metadata={"n": count})
        return {"messages": [asks, ToolMessage("seen", tool_call_id=f"c{count}")]}
    return {"messages": [AIMessage(REPLY)]}


def change(state: MessagesState) -> dict[str, Any]:
    """Change a message in place: what the run gave must be what the state was then."""
    state["messages"][2].content = f"{state['messages'][2].content} (changed)"
    return {"messages": []}


class Deltas(TypedDict):
    """A conversation of which a checkpoint holds only what is new."""

    messages: Messages


talk = StateGraph(MessagesState).add_node(reply).add_edge(START, "reply").compile()
deltas = (
    StateGraph(Deltas)
    .add_node("reply", lambda state: reply(state))  # noqa: PLW0108 - without its schema
    .add_edge(START, "reply")
    .compile()
)
edit = StateGraph(MessagesState).add_node(change).add_edge(START, "change").compile()
HERE = "tests.graphs.runtime.test_outputs"


async def turns(runner: nearfar.Runner, count: int, graph: str = "talk") -> list[tuple[str, Any]]:
    """So many turns of a thread: each run's id and what it gave."""
    found = []
    for n in range(count):
        given = {"messages": [HumanMessage(f"question {n}")]}
        run = await runner.start(f"{HERE}:{graph}", given, thread_id="t")
        found.append((run.id, await run.result()))
    return found


@pytest.mark.parametrize("graph", ["talk", "deltas"])
async def test_each_turn_gives_its_whole_conversation_also_later_and_after_pruning(
    graph: str,
) -> None:
    told = []
    for _ in range(2):
        async with nearfar.Runner() as runner:
            told += await turns(runner, 20, graph)
    async with nearfar.Runner() as runner:
        saver = runner._saver
        assert await saver.aretain("t", Retention(checkpoints=5))
        for run_id, given in told:
            record = await (await runner.get(run_id)).record()
            assert record.output == given
        kept = globals()[graph].copy({"checkpointer": saver})
        last = await kept.aget_state({"configurable": {"thread_id": "t"}})
        assert told[-1][1] == to_plain(last.values)


async def test_what_a_run_gave_stays_when_a_later_one_changes_a_message_in_place() -> None:
    async with nearfar.Runner() as runner:
        *_, (earlier, given) = await turns(runner, 12)
        run = await runner.start(f"{HERE}:edit", {"messages": []}, thread_id="t")
        changed = await run.result()
        assert changed["messages"][2]["content"].endswith(" (changed)")
        assert (await (await runner.get(earlier)).record()).output == given
        assert not given["messages"][2]["content"].endswith(" (changed)")


def to_change(state: MessagesState) -> str:
    """Say where to go, and change a message on the way."""
    change(state)
    return "quiet"


routed = StateGraph(MessagesState).add_node("quiet", lambda state: {})
routed.add_conditional_edges(START, to_change, ["quiet"])


async def test_a_message_that_is_changed_on_the_way_to_the_first_step_is_stored() -> None:
    assert starts_quietly(talk)
    assert not starts_quietly(routed.compile())
    async with nearfar.Runner() as runner:
        await turns(runner, 12)
        given = {"messages": [HumanMessage("go")]}
        run = await runner.start(f"{HERE}:routed", given, thread_id="t")
        assert (await run.result())["messages"][2]["content"].endswith(" (changed)")
    async with nearfar.Runner() as runner:
        [*_, last] = await runner.states(await (await runner.get(run.id)).record())
        assert last[1]["messages"][2].content.endswith(" (changed)")


async def test_with_encryption_nothing_that_a_run_gave_stands_in_the_clear(store: str) -> None:
    given = load_settings().model_dump(exclude_unset=True)
    given["storage"] = {**given.get("storage", {}), "encryption": {"key": "ab" * 32}}
    async with nearfar.Runner(Settings.model_validate(given)) as runner:
        told = await turns(runner, 12)
        for run_id, output in (told[0], told[-1]):
            noted = await runner.journal.get(run_id)
            assert "question" not in json.dumps(noted.output)
            assert (await (await runner.get(run_id)).record()).output == output


async def test_a_forgotten_run_leaves_nothing_of_its_output() -> None:
    async with nearfar.Runner() as runner:
        *_, (run_id, _) = await turns(runner, 12)
        await runner.forget(run_id)
        assert await runner._saver.akept("t", run_id, to_plain) == {}
        await runner.prune(older_than_s=-1)
        assert await runner._saver.ahead("t") is None


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("graph", ["talk", "deltas"])
async def test_a_thread_grows_by_what_is_new_in_it(graph: str) -> None:
    """Turns 31 to 60 take less than 12 KB each; with whole outputs they would take 30."""

    def size() -> int:
        with closing(sqlite3.connect(home() / "nearfar.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return (home() / "nearfar.db").stat().st_size

    sizes = []
    for _ in range(2):
        async with nearfar.Runner() as runner:
            await turns(runner, 30, graph)
        sizes.append(size())
    assert sizes[1] - sizes[0] < 30 * 12_000
