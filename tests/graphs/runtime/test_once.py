"""One run: its thread, its usage and cost, what it waits for, and how it fails."""

import asyncio
import operator
import sqlite3
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from nearfar.errors import (
    DatabaseError,
    ModelLoadError,
    WorkflowError,
    WorkflowFailedError,
    WorkflowInputError,
)
from nearfar.graphs.registry import Workflow
from nearfar.graphs.runtime.once import Listener, run_once
from nearfar.settings import Settings, home
from nearfar.storage.checkpoints import open_saver
from nearfar.testing import ScriptedChatModel

SETTINGS = Settings()


class State(TypedDict):
    """A question, an answer, and all questions so far."""

    question: str
    answer: str
    asked: Annotated[list[str], operator.add]


def flow(*steps: Any, state: Any = State) -> Workflow:
    builder = StateGraph(state)
    for before, step in zip([None, *steps], steps, strict=False):
        builder.add_node(step.__name__, step)
        builder.add_edge(before.__name__ if before else START, step.__name__)
    return Workflow("flow", "file", "flow.py:graph", lambda: builder)


def shout(state: State) -> dict[str, Any]:
    return {"answer": state["question"].upper(), "asked": [state["question"]]}


def confirm(state: State) -> dict[str, Any]:
    return {"answer": interrupt({"sure?": state["question"]})}


async def threads() -> list[str]:
    async with open_saver(SETTINGS) as saver:
        return sorted({str(c.config["configurable"]["thread_id"]) async for c in saver.alist(None)})


async def test_a_run_that_is_not_to_be_kept_gives_its_output_and_leaves_nothing_behind() -> None:
    finished = await run_once(flow(shout), {"question": "hi"}, SETTINGS, keep=False)
    assert finished.to_dict() == {
        "run_id": finished.run_id,
        "thread_id": finished.run_id,
        "status": "succeeded",
        "output": {"question": "hi", "answer": "HI", "asked": ["hi"]},
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        "cost_usd": 0.0,
    }
    assert await threads() == []


async def test_a_thread_goes_on_in_the_database_of_the_home() -> None:
    await run_once(flow(shout), {"question": "one"}, SETTINGS, thread_id="t")
    second = await run_once(flow(shout), {"question": "two"}, SETTINGS, thread_id="t")
    assert second.thread_id == "t"
    assert second.output["asked"] == ["one", "two"]
    assert await threads() == ["t"]
    assert (home() / "nearfar.db").is_file()


async def test_a_run_waits_for_a_person_and_goes_on_with_the_answer() -> None:
    waiting = await run_once(flow(shout, confirm), {"question": "hi"}, SETTINGS)
    assert waiting.status == "waiting"
    [asked] = waiting.output["__interrupt__"]
    assert asked["value"] == {"sure?": "hi"}
    done = await run_once(
        flow(shout, confirm), None, SETTINGS, thread_id=waiting.thread_id, resume="yes"
    )
    assert done.status == "succeeded"
    assert done.output["answer"] == "yes"


async def test_an_answer_that_nobody_waits_for_is_refused() -> None:
    with pytest.raises(WorkflowError, match="does not wait for an answer"):
        await run_once(flow(shout), None, SETTINGS, thread_id="t", resume="yes")


async def test_a_failed_run_is_taken_up_at_the_step_that_failed() -> None:
    tries: list[str] = []

    def first(state: State) -> dict[str, Any]:
        tries.append("first")
        return {"asked": ["first"]}

    def second(state: State) -> dict[str, Any]:
        tries.append("second")
        if tries.count("second") == 1:
            raise ValueError("bad luck")
        return {"answer": "done"}

    with pytest.raises(
        WorkflowFailedError, match="step 'second' failed: ValueError: bad luck"
    ) as e:
        await run_once(flow(first, second), {"question": "hi"}, SETTINGS)
    assert e.value.data["step"] == "second"
    assert e.value.data["type"] == "ValueError"
    done = await run_once(flow(first, second), None, SETTINGS, thread_id=e.value.data["thread_id"])
    assert done.output["answer"] == "done"
    assert tries == ["first", "second", "second"]


async def test_our_own_errors_keep_their_code() -> None:
    def load(state: State) -> dict[str, Any]:
        raise ModelLoadError("no such model")

    with pytest.raises(ModelLoadError, match="no such model"):
        await run_once(flow(load), {"question": "hi"}, SETTINGS)


async def test_a_field_that_a_step_misses_is_asked_for_by_name() -> None:
    with pytest.raises(WorkflowInputError, match="needs 'question'") as caught:
        await run_once(flow(shout), {"asked": ["x"]}, SETTINGS)
    assert caught.value.data["fields"] == ["question"]


async def test_no_input_at_all_names_the_fields() -> None:
    class Need(TypedDict):
        one: str
        two: str

    def step(state: Need) -> dict[str, Any]:
        return {"two": state["one"]}

    with pytest.raises(WorkflowInputError, match="one"):
        await run_once(flow(step, state=Need), {}, SETTINGS)


async def test_a_step_that_misses_a_key_of_its_own_has_failed() -> None:
    def look(state: State) -> dict[str, Any]:
        nothing: dict[str, str] = {}
        return {"answer": nothing["elsewhere"]}

    with pytest.raises(WorkflowFailedError, match="KeyError"):
        await run_once(flow(look), {"question": "hi"}, SETTINGS)


async def test_a_loop_without_end_is_told_as_one() -> None:
    builder = StateGraph(State).add_node("shout", shout).add_edge(START, "shout")
    builder.add_edge("shout", "shout")
    bounded = builder.compile().with_config(recursion_limit=5)
    endless = Workflow("flow", "file", "flow.py:graph", lambda: bounded)
    with pytest.raises(WorkflowFailedError, match="Recursion") as caught:
        await run_once(endless, {"question": "hi"}, SETTINGS)
    assert "loop" in caught.value.remedy


def chat_with(model: ScriptedChatModel) -> Workflow:
    async def chat(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return flow(chat, chat_again(model), state=MessagesState)


def chat_again(model: ScriptedChatModel) -> Any:
    async def again(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return again


def reply(text: str, provider: str) -> AIMessage:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    return AIMessage(text, usage_metadata=usage, response_metadata={"provider": provider})


@pytest.mark.parametrize(
    ("providers", "cost"), [(("local", "local"), 0.0), (("local", "far away"), None)]
)
async def test_usage_is_the_sum_and_the_cost_is_null_where_a_price_is_unknown(
    providers: tuple[str, str], cost: float | None
) -> None:
    with ScriptedChatModel([reply("a", providers[0]), reply("b", providers[1])]) as model:
        finished = await run_once(chat_with(model), {"messages": [("user", "hi")]}, SETTINGS)
    assert finished.usage == {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
    assert finished.cost_usd == cost
    assert [m["content"] for m in finished.output["messages"]] == ["hi", "a", "b"]


async def test_a_listener_hears_tokens_and_steps_in_their_order() -> None:
    heard: list[str] = []
    listener = Listener(on_token=heard.append, on_step=lambda name: heard.append(f"<{name}>"))
    with ScriptedChatModel(["one two", "three"]) as model:
        values = {"messages": [("user", "hi")]}
        await run_once(chat_with(model), values, SETTINGS, listener=listener)
    assert heard == ["<chat>", "one", " two", "<again>", "three"]
    assert all(call.streamed for call in model.calls)


async def test_a_listener_hears_models_that_cannot_stream_and_no_messages_of_steps() -> None:
    def say(state: MessagesState) -> dict[str, Any]:
        FakeMessagesListChatModel(responses=[AIMessage("from the model")]).invoke("hi")
        return {"messages": [AIMessage("from the step")]}

    heard: list[str] = []
    values = {"messages": [("user", "hi")]}
    listener = Listener(on_token=heard.append)
    await run_once(flow(say, state=MessagesState), values, SETTINGS, listener=listener)
    assert heard == ["from the model"]


async def test_without_a_listener_nothing_is_streamed() -> None:
    with ScriptedChatModel(["one", "two"]) as model:
        await run_once(chat_with(model), {"messages": [("user", "hi")]}, SETTINGS)
    assert not any(call.streamed for call in model.calls)


async def test_a_cancelled_run_keeps_its_thread() -> None:
    started = asyncio.Event()

    async def wait(state: State) -> dict[str, Any]:
        started.set()
        await asyncio.Event().wait()
        return {}

    work = run_once(flow(shout, wait), {"question": "hi"}, SETTINGS, thread_id="t")
    task = asyncio.create_task(work)
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await threads() == ["t"]


async def test_a_database_of_something_else_is_reported(home_folder: Path) -> None:
    (home_folder / "nearfar.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DatabaseError):
        await run_once(flow(shout), {"question": "hi"}, SETTINGS)


async def test_a_database_error_of_a_step_is_the_steps() -> None:
    def query(state: State) -> dict[str, Any]:
        raise sqlite3.OperationalError("no such table: mine")

    with pytest.raises(WorkflowFailedError, match=r"step 'query' failed.*no such table"):
        await run_once(flow(query), {"question": "hi"}, SETTINGS)
