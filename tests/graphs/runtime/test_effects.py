"""nearfar.effect: once for each call of a step, and never repeated blindly."""

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt

import nearfar
from nearfar.errors import EffectNotDoneError, EffectOrderError, EffectValueError, LeaseLostError
from nearfar.graphs.runtime.effects import NOT_DONE, Done, NeedsReconcile, idempotency_key
from nearfar.storage.effects import EffectStore

pytestmark = pytest.mark.usefixtures("store")

THREAD: Any = {"configurable": {"thread_id": "t"}}
AT_ONCE = RetryPolicy(initial_interval=0, jitter=False, max_attempts=3, retry_on=Exception)


class State(TypedDict, total=False):
    got: Annotated[list[Any], operator.add]
    messages: Annotated[list[AnyMessage], add_messages]


def flow(step: Callable[..., Any], *, retry: RetryPolicy | None = AT_ONCE) -> Any:
    builder = StateGraph(State).add_node("step", step, retry_policy=retry)
    return builder.add_edge(START, "step").compile(checkpointer=InMemorySaver())


def kept() -> list[Any]:
    with EffectStore.open(nearfar.load_settings()) as store:
        return store.of_thread("t")


class Flaky:
    """Raises the first time."""

    def __init__(self) -> None:
        self.called = 0

    def __call__(self) -> None:
        self.called += 1
        if self.called == 1:
            raise ConnectionError("the step failed after its effects")


def test_outside_of_a_graph_the_function_is_simply_called() -> None:
    done: list[str] = []

    @nearfar.effect()
    def send(to: str, idempotency_key: str = "none") -> str:
        done.append(idempotency_key)
        return to

    assert [send("a"), send("a")] == ["a", "a"]
    assert done == ["none", "none"]
    graph = StateGraph(State).add_node("step", lambda _: {"got": [send("b")]})
    assert graph.add_edge(START, "step").compile().invoke({})["got"] == ["b"]


def test_calls_are_made_once_across_retries_each_with_its_own_result() -> None:
    done: list[str] = []
    fail = Flaky()

    @nearfar.effect()
    def send(to: str) -> str:
        done.append(to)
        return f"{to}{len(done)}"

    def step(_: State) -> Any:
        got = [send("a"), send("b"), send("a")]
        fail()
        return {"got": got}

    assert flow(step).invoke({}, THREAD, durability="sync")["got"] == ["a1", "b2", "a3"]
    assert done == ["a", "b", "a"]
    assert fail.called == 2


async def test_async_effects_at_the_same_time_are_told_apart_by_their_arguments() -> None:
    done: list[str] = []
    fail = Flaky()

    @nearfar.effect()
    async def send(to: str) -> str:
        await asyncio.sleep(0)
        done.append(to)
        return to

    async def step(_: State) -> Any:
        order = ["a", "b", "c"] if fail.called == 0 else ["c", "a", "b"]
        got = await asyncio.gather(*map(send, order))
        fail()
        return {"got": got}

    assert (await flow(step).ainvoke({}, THREAD, durability="sync"))["got"] == ["c", "a", "b"]
    assert sorted(done) == ["a", "b", "c"]


def test_a_step_that_changes_its_mind_does_not_do_it_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []
    fail = Flaky()

    @nearfar.effect()
    def send(text: str) -> str:
        done.append(text)
        return text

    def step(_: State) -> Any:
        got = send(f"draft {fail.called}")
        fail()
        return {"got": [got]}

    assert flow(step).invoke({}, THREAD, durability="sync")["got"] == ["draft 0"]
    assert done == ["draft 0"]
    assert "other arguments" in caplog.text


def test_calls_that_cannot_be_told_apart_end_in_an_error_not_in_a_repetition() -> None:
    done: list[str] = []
    fail = Flaky()

    @nearfar.effect()
    def send(to: str) -> str:
        done.append(to)
        return to

    def step(_: State) -> Any:
        for to in ["a"] if fail.called == 0 else ["new", "a"]:
            send(to)
        fail()

    with pytest.raises(EffectOrderError, match="another order"):
        flow(step).invoke({}, THREAD, durability="sync")
    assert done == ["a"]


def test_a_key_makes_calls_of_several_steps_the_same_one() -> None:
    done: list[int] = []

    @nearfar.effect(key="order {order}")
    def by_text(order: int) -> int:
        done.append(order)
        return len(done)

    @nearfar.effect(key=lambda order: f"order {order}")
    def by_function(order: int) -> int:
        done.append(order)
        return len(done)

    def step(_: State) -> Any:
        return {"got": [by_text(1), by_text(1), by_text(order=2), by_function(1), by_function(1)]}

    graph = flow(step)
    assert graph.invoke({}, THREAD, durability="sync")["got"] == [1, 1, 2, 3, 3]
    assert graph.invoke({}, THREAD, durability="sync")["got"] == [1, 1, 2, 3, 3] * 2
    assert done == [1, 2, 1]


def test_a_function_that_takes_the_key_is_repeated_under_it() -> None:
    keys: list[str | None] = []

    @nearfar.effect()
    def send(to: str, idempotency_key: str | None = None) -> str:
        keys.append(idempotency_key)
        if len(keys) == 1:
            raise TimeoutError("no answer")
        return to

    graph = flow(lambda _: {"got": [send("a")]})
    assert graph.invoke({}, THREAD, durability="sync")["got"] == ["a"]
    assert keys[0] is not None
    assert keys == [keys[0]] * 2
    assert [(e.status, e.attempts) for e in kept()] == [("done", 2)]


def test_an_error_that_may_come_after_the_deed_stops_the_run() -> None:
    done: list[str | None] = []

    @nearfar.effect()
    def send(to: str) -> str:
        done.append(idempotency_key())
        raise RuntimeError(f"cannot read the answer for {to}")

    graph = flow(lambda _: {"got": [send("a")]})
    for _ in range(2):
        with pytest.raises(NeedsReconcile, match=r"Nobody knows whether .*send"):
            graph.invoke(None if done else {}, THREAD, durability="sync")
    [effect] = kept()
    assert done == [effect.key]
    assert (effect.status, effect.error) == (
        "unknown",
        "RuntimeError: cannot read the answer for a",
    )
    with EffectStore.open(nearfar.load_settings()) as store:
        store.settle(effect, Done("by mail"), by="person")
    assert graph.invoke(None, THREAD, durability="sync")["got"] == ["by mail"]
    assert len(done) == 1


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), EffectNotDoneError("it is closed on Sundays")]
)
def test_an_error_that_says_nothing_was_done_lets_it_be_tried_again(error: Exception) -> None:
    calls: list[str] = []

    @nearfar.effect()
    def send(to: str) -> str:
        calls.append(to)
        if len(calls) == 1:
            raise error
        return to

    graph = flow(lambda _: {"got": [send("a")]})
    assert graph.invoke({}, THREAD, durability="sync")["got"] == ["a"]
    assert calls == ["a", "a"]


@pytest.mark.parametrize(
    ("found", "got", "calls"), [(Done(7), 7, 1), (NOT_DONE, "a", 2), (None, None, 1)]
)
def test_reconcile_is_asked_with_the_arguments_of_the_call(
    found: Any, got: Any, calls: int
) -> None:
    asked: list[Any] = []
    made: list[str] = []

    def look(to: str, idempotency_key: str) -> Any:
        asked.append((to, idempotency_key))
        return found

    @nearfar.effect(reconcile=look)
    def send(to: str) -> str:
        made.append(to)
        if len(made) == 1:
            raise TimeoutError
        return to

    graph = flow(lambda _: {"got": [send("a")]})
    with pytest.raises(NeedsReconcile):
        graph.invoke({}, THREAD, durability="sync")
    if got is None:
        with pytest.raises(NeedsReconcile):
            graph.invoke(None, THREAD, durability="sync")
    else:
        assert graph.invoke(None, THREAD, durability="sync")["got"] == [got]
    assert asked == [("a", kept()[0].key)]
    assert len(made) == calls


def test_a_result_that_cannot_be_kept_is_an_error_and_no_repetition() -> None:
    done: list[str] = []

    @nearfar.effect()
    def send(to: str) -> Any:
        done.append(to)
        return {"reply": [object()]}

    graph = flow(lambda _: {"got": [send("a")]}, retry=None)
    with pytest.raises(EffectValueError, match=r"the result\['reply'\]\[0\] is of the type obj"):
        graph.invoke({}, THREAD, durability="sync")
    with pytest.raises(EffectValueError, match="was done in an earlier attempt"):
        graph.invoke(None, THREAD, durability="sync")
    assert done == ["a"]


def test_a_question_inside_an_effect_is_no_outcome() -> None:
    done: list[str] = []

    @nearfar.effect()
    def send(to: str) -> str:
        if interrupt("Really?") == "yes":
            done.append(to)
        return to

    graph = flow(lambda _: {"got": [send("a")]})
    graph.invoke({}, THREAD, durability="sync")
    assert graph.invoke(Command(resume="yes"), THREAD, durability="sync")["got"] == ["a"]
    assert done == ["a"]


def test_secrets_are_not_kept_with_the_arguments() -> None:
    @nearfar.effect()
    def send(to: str, api_key: str, headers: dict[str, str]) -> str:
        return to

    graph = flow(
        lambda _: {"got": [send("a", "hunter2", {"authorization": "Bearer abcdefghijkl"})]}
    )
    graph.invoke({}, THREAD, durability="sync")
    [effect] = kept()
    assert "hunter2" not in effect.arguments
    assert "abcdefghijkl" not in effect.arguments


def test_a_writer_that_was_taken_over_reserves_nothing() -> None:
    from nearfar.storage.effects.place import effects_kept_in

    done: list[str] = []

    @nearfar.effect()
    def send(to: str) -> str:
        done.append(to)
        return to

    def lost(_connection: Any, thread_id: str) -> None:
        raise LeaseLostError(f"{thread_id} was taken over")

    store = EffectStore.open(nearfar.load_settings(), guard=lost)
    graph = flow(lambda _: {"got": [send("a")]}, retry=None)
    with store, effects_kept_in(store), pytest.raises(LeaseLostError):
        graph.invoke({}, THREAD, durability="sync")
    assert done == []
    assert kept() == []


async def test_what_is_cancelled_while_it_runs_is_in_doubt() -> None:
    started = asyncio.Event()

    @nearfar.effect()
    async def send(to: str) -> str:
        started.set()
        await asyncio.Event().wait()
        return to

    async def step(_: State) -> Any:
        return {"got": [await send("a")]}

    graph = flow(step)
    task = asyncio.create_task(graph.ainvoke({}, THREAD, durability="sync"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(NeedsReconcile):
        await graph.ainvoke(None, THREAD, durability="sync")


def calls(*ids: str) -> AIMessage:
    return AIMessage(
        "", tool_calls=[{"name": "send", "args": {"to": f"to {n}"}, "id": n} for n in ids]
    )


@pytest.mark.parametrize("over", ["function", "tool"])
def test_a_tool_runs_once_for_each_call_of_the_model(over: str) -> None:
    done: list[str] = []
    fail = Flaky()

    def send(to: str) -> str:
        """Send it."""
        done.append(to)
        return f"sent {to}"

    made = tool(nearfar.effect()(send)) if over == "function" else nearfar.effect()(tool(send))
    node = ToolNode([made])

    def step(state: State) -> Any:
        update = node.invoke(state)
        fail()
        return update

    graph = flow(step)
    told = graph.invoke({"messages": [calls("1", "2")]}, THREAD, durability="sync")
    assert [m.content for m in told["messages"][1:]] == ["sent to 1", "sent to 2"]
    again = graph.invoke(
        {"messages": [HumanMessage("again"), calls("1")]}, THREAD, durability="sync"
    )
    assert again["messages"][-1].content == "sent to 1"  # another turn, though the id is the same
    assert sorted(done) == ["to 1", "to 1", "to 2"]
    assert made.args == {"to": {"title": "To", "type": "string"}}


async def test_an_async_tool_is_an_effect_too() -> None:
    done: list[str] = []
    fail = Flaky()

    @nearfar.effect()
    @tool(response_format="content_and_artifact")
    async def send(to: str) -> tuple[str, dict[str, int]]:
        """Send it."""
        done.append(to)
        return f"sent {to}", {"n": len(done)}

    node = ToolNode([send])

    async def step(state: State) -> Any:
        update = await node.ainvoke(state)
        fail()
        return update

    told = await flow(step).ainvoke({"messages": [calls("1")]}, THREAD, durability="sync")
    assert told["messages"][-1].artifact == {"n": 1}
    assert done == ["to 1"]


def test_only_functions_and_tools_can_be_effects() -> None:
    with pytest.raises(TypeError, match="generator"):
        nearfar.effect()(lambda: (yield))
    wrong: Any = nearfar.effect
    with pytest.raises(TypeError):
        wrong()(3)
