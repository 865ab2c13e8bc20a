"""A run ends at its limits, with an answer that says so or a typed error."""

import asyncio
import itertools
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from nearfar.agents.middleware import Limits, LimitsMiddleware
from nearfar.errors import AgentLimitError, UnknownPriceError
from nearfar.testing import ScriptedChatModel

from .calls import calls


@tool
def look(n: int = 0) -> str:
    """Look at something."""
    return f"seen {n}"


def agent(model: Any, limits: Limits, tools: Any = (look,), **options: Any) -> Any:
    saver = options.pop("checkpointer", None)
    middleware = [LimitsMiddleware(limits, **{"on_limit": "end", **options})]
    return create_agent(model, list(tools), middleware=middleware, checkpointer=saver)


def ask(graph: Any, thread: str = "t") -> Any:
    config = {"configurable": {"thread_id": thread}}
    return graph.invoke({"messages": [("user", "go")]}, config)


def endless() -> ScriptedChatModel:
    return ScriptedChatModel([calls(("look", {"n": n})) for n in range(1000)])


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(steps=4), {"limit": "steps", "allowed": 4, "reached": 5}),
        (Limits(tool_calls=3), {"limit": "tool_calls", "allowed": 3, "reached": 4}),
    ],
)
def test_an_endless_loop_ends_with_an_answer_and_no_call_hangs(
    limits: Limits, reached: dict[str, Any]
) -> None:
    out = ask(agent(endless(), limits))
    assert out["stopped"] == reached
    assert "I stopped here" in out["messages"][-1].text
    assert not out["messages"][-1].tool_calls
    made = [m for m in out["messages"] if m.type == "tool"]
    asked = [c for m in out["messages"] for c in getattr(m, "tool_calls", ())]
    assert [m.tool_call_id for m in made] == [c["id"] for c in asked]


def test_without_a_word_it_is_a_typed_error_and_the_thread_can_go_on() -> None:
    assert LimitsMiddleware().on_limit == "error"
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}
    script = [calls(("look", {"n": n})) for n in range(2)]
    stopped = agent(
        ScriptedChatModel(script), Limits(steps=2), on_limit="error", checkpointer=saver
    )
    with pytest.raises(AgentLimitError) as caught:
        ask(stopped)
    assert caught.value.data == {"limit": "steps", "allowed": 2, "reached": 3}
    kept = stopped.get_state(config).values["messages"]
    assert [m.type for m in kept] == ["human", "ai", "tool", "ai", "tool"]
    # With a higher limit the same run goes on where it was; without one, the next message does.
    more = agent(ScriptedChatModel(["seen"]), Limits(steps=3), on_limit="error", checkpointer=saver)
    assert more.invoke(None, config)["messages"][-1].text == "seen"
    again = agent(ScriptedChatModel(["yes"]), Limits(steps=1), on_limit="error", checkpointer=saver)
    assert ask(again)["messages"][-1].text == "yes"


def test_a_fan_out_bomb_calls_nothing() -> None:
    model = ScriptedChatModel([calls(*[("look", {"n": n}) for n in range(5000)])])
    out = ask(agent(model, Limits(calls_at_once=16)))
    assert out["stopped"]["limit"] == "calls_at_once"
    assert [m.type for m in out["messages"]] == ["human", "ai"]


def test_each_message_of_the_user_begins_a_new_run_and_interrupts_do_not() -> None:
    from langgraph.types import Command, interrupt

    @tool
    def ask_me() -> str:
        """Ask a person."""
        return str(interrupt("well?"))

    script: list[Any] = [calls(("ask_me", {})), calls(("ask_me", {})), "done"]
    saver = InMemorySaver()
    tools = (ask_me,)
    config = {"configurable": {"thread_id": "t"}}
    ask(agent(ScriptedChatModel(script), Limits(steps=2), tools, checkpointer=saver))
    # Another object, as after a restart: what was used stands in the thread.
    rest = agent(ScriptedChatModel(script[1:]), Limits(steps=2), tools, checkpointer=saver)
    rest.invoke(Command(resume="yes"), config)
    out = rest.invoke(Command(resume="yes"), config)
    assert out["stopped"]["limit"] == "steps"
    fresh = agent(ScriptedChatModel(["hello"]), Limits(steps=2), tools, checkpointer=saver)
    out = ask(fresh)
    assert out["stopped"] is None
    assert out["messages"][-1].text == "hello"


def test_runs_of_different_threads_do_not_meet() -> None:
    """Also where the first messages are equal to the letter, with their ids."""
    graph = agent(ScriptedChatModel(["hello"] * 9), Limits(steps=1), checkpointer=InMemorySaver())
    message = {"role": "user", "content": "go", "id": "same"}
    for thread in range(9):
        config = {"configurable": {"thread_id": str(thread)}}
        assert graph.invoke({"messages": [message]}, config)["stopped"] is None


def test_agents_that_call_themselves_are_stopped_by_depth() -> None:
    deepest = itertools.count()

    @tool
    def delegate() -> str:
        """Let another agent do it."""
        next(deepest)
        made = agent(ScriptedChatModel(script), Limits(depth=3), tools)
        return str(made.invoke({"messages": [("user", "go")]})["messages"][-1].text)

    script: list[Any] = [calls(("delegate", {})), "done"]
    tools = (delegate,)
    assert ask(agent(ScriptedChatModel(script), Limits(depth=3), tools))["stopped"] is None
    assert next(deepest) == 4


def test_what_agents_below_do_counts_for_those_above() -> None:
    """Agents that call agents do not multiply what each may do."""
    seen = itertools.count()

    @tool
    def delegate() -> str:
        """Let another agent do it."""
        many = [calls(*[("note", {})] * 4)] * 50
        below = agent(ScriptedChatModel(many), Limits(steps=50, tool_calls=1000), (note,))
        return str(below.invoke({"messages": [("user", "go")]})["messages"][-1].text)

    @tool
    def note() -> str:
        """Note it."""
        next(seen)
        return "noted"

    bomb = ScriptedChatModel([calls(*[("delegate", {})] * 4)] * 2)
    out = ask(agent(bomb, Limits(steps=50, tool_calls=20), (delegate,)))
    assert out["stopped"]["limit"] == "tool_calls"
    assert next(seen) == 16  # with the four calls of `delegate`: twenty


async def test_a_slow_call_is_cancelled_when_the_seconds_are_over() -> None:
    @tool
    async def sleep() -> str:
        """Sleep."""
        await asyncio.sleep(3600)
        return "awake"

    model = ScriptedChatModel([calls(("sleep", {}))])
    graph = agent(model, Limits(time_s=0.2), (sleep,))
    out = await graph.ainvoke({"messages": [("user", "go")]})
    assert out["stopped"]["limit"] == "time_s"
    assert "was stopped" in out["messages"][-2].text


def test_time_at_work_counts_and_waiting_does_not() -> None:
    now = [0.0]

    def later(messages: Any) -> AIMessage:
        now[0] += 4
        return calls(("look", {}))

    saver = InMemorySaver()
    graph = agent(
        ScriptedChatModel([later] * 9), Limits(time_s=10), clock=lambda: now[0], checkpointer=saver
    )
    out = ask(graph)
    assert out["stopped"] == {"limit": "time_s", "allowed": 10, "reached": 12.0}
    assert sum(m.type == "tool" for m in out["messages"]) == 2


def test_money_is_counted_from_receipts_and_an_unknown_price_is_an_error() -> None:
    def paid(usd: float) -> AIMessage:
        reply = calls(("look", {}))
        reply.response_metadata = {"nearfar": {"cost_usd": usd}}
        return reply

    out = ask(agent(ScriptedChatModel([paid(0.4)] * 3), Limits(usd=Decimal(1))))
    assert out["stopped"]["limit"] == "usd"
    with pytest.raises(UnknownPriceError):
        ask(agent(ScriptedChatModel(["free?"]), Limits(usd=Decimal(1))))
