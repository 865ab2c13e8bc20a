"""What a model asks for, however much and however wild, ends with a message or a typed error."""

import asyncio
import sys
import time
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from nearfar.agents import create_assistant
from nearfar.agents.middleware import Limits
from nearfar.errors import AgentLimitError
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel
from nearfar.tools import Arguments, guarded

from .calls import add, calls

ALLOWED = Settings.model_validate(
    {
        "tools": {"permissions": [{"tool": "*", "permission": "allow", "even_untrusted": True}]},
    }
)


class Nothing(Arguments):
    """No arguments."""


def _raise() -> str:
    raise RecursionError("too deep")


def _exit() -> str:
    sys.exit(3)


@tool
def foreign_raise() -> str:
    """Raises."""
    raise MemoryError("no room")


@tool
def foreign_exit() -> str:
    """Ends the program."""
    sys.exit(3)


class Stubborn(BaseException):
    """What `except Exception` lets pass."""


async def _exit_later() -> str:
    await asyncio.sleep(0)
    sys.exit(3)


async def _exit_below() -> str:
    return str(await asyncio.gather(asyncio.create_task(_exit_later()), asyncio.sleep(0)))


async def _stubborn() -> str:
    raise Stubborn("no")


@tool
async def foreign_exit_later() -> str:
    """Ends the program, in a coroutine."""
    return await _exit_later()


@tool
async def foreign_exit_below() -> str:
    """Ends the program, in a task of its own."""
    return await _exit_below()


@tool
async def foreign_stubborn() -> str:
    """Raises what nobody catches."""
    return await _stubborn()


@tool
def echo(text: str) -> str:
    """Gives back the length."""
    return str(len(text))


def own(name: str, body: Any) -> BaseTool:
    return guarded(
        ALLOWED, name=name, description="Fails.", args=Nothing, body=body, default="allow"
    )


def run(script: list[Any], tools: list[Any], **options: Any) -> Any:
    graph = create_assistant(
        ScriptedChatModel(script),
        tools,
        settings=ALLOWED,
        memory=False,
        checkpointer=InMemorySaver(),
        **options,
    )
    return graph.ainvoke({"question": "go"}, {"configurable": {"thread_id": "t"}})


async def test_a_tool_that_raises_or_ends_the_program_is_a_message_for_the_model() -> None:
    tools = [
        *(own("raising", _raise), own("ending", _exit), own("later", _exit_later)),
        *(own("below", _exit_below), own("stubborn", _stubborn)),
        *(foreign_raise, foreign_exit, foreign_exit_later, foreign_exit_below, foreign_stubborn),
    ]
    out = await run([calls(*[(one.name, {}) for one in tools]), "done"], tools)
    told = [message for message in out["messages"] if message.type == "tool"]
    assert [message.status for message in told] == ["error"] * len(tools)
    assert sum("tried to end the program" in message.text for message in told) == 6
    assert all(message.name in message.text for message in told)
    assert out["answer"] == "done"


@pytest.mark.parametrize("name", ["calculator", "echo"])
async def test_ten_megabytes_of_arguments_reach_no_tool(name: str) -> None:
    field = {"calculator": "expression", "echo": "text"}[name]
    bomb = calls((name, {field: "1+" * 5_000_000}))
    began = time.monotonic()
    with pytest.raises(AgentLimitError) as caught:
        await run([bomb], ["calculator", echo])
    assert caught.value.data["limit"] == "argument_chars"
    assert len(str(caught.value)) < 1000
    # Of a size that a model might mean, they are a message to the model.
    large = calls((name, {field: "1+" * 100_000}))
    out = await run([large, "done"], ["calculator", echo])
    told = next(message for message in out["messages"] if message.type == "tool")
    assert told.status == "error"
    assert len(told.text) < 1000
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("script", "limits", "limit"),
    [
        ([add()] * 50, Limits(steps=5), "steps"),
        ([add()] * 50, Limits(tool_calls=5), "tool_calls"),
        (
            [calls(*[("calculator", {"expression": "1"})] * 1000)],
            Limits(calls_at_once=16),
            "calls_at_once",
        ),
        ([add()] * 500, Limits(steps=500, tool_calls=500, time_s=0.3), "time_s"),
    ],
)
async def test_loops_and_bombs_end_with_a_typed_error(
    script: list[Any], limits: Limits, limit: str
) -> None:
    with pytest.raises(AgentLimitError) as caught:
        await run(script, ["calculator"], limits=limits)
    assert caught.value.data["limit"] == limit


async def test_an_assistant_that_calls_itself_is_stopped_by_depth() -> None:
    begun = 0

    @tool
    async def delegate() -> str:
        """Let another assistant do it."""
        nonlocal begun
        begun += 1
        return str((await run([calls(("delegate", {})), "done"], [delegate]))["answer"])

    with pytest.raises(AgentLimitError) as caught:
        await run([calls(("delegate", {})), "done"], [delegate], limits=Limits(depth=3))
    assert caught.value.data == {"limit": "depth", "allowed": 3, "reached": 4}
    assert begun == 4


async def test_agents_that_multiply_are_stopped_by_what_the_first_may_do() -> None:
    """Each hands on to many, and none of them comes to a limit of its own."""
    begun = 0

    @tool
    async def delegate() -> str:
        """Let another assistant do it."""
        nonlocal begun
        begun += 1
        script = [calls(*[("calculator", {"expression": "1"})] * 10), "done"]
        return str((await run(script, ["calculator"]))["answer"])

    bomb = [calls(*[("delegate", {})] * 10)] * 3
    with pytest.raises(AgentLimitError) as caught:
        await run(bomb, [delegate], limits=Limits(tool_calls=60))
    assert caught.value.data["limit"] == "tool_calls"
    assert begun <= 20


async def test_money_ends_a_run_with_a_typed_error() -> None:
    def paid(_messages: Any) -> Any:
        reply = add()
        reply.response_metadata = {"nearfar": {"cost_usd": 0.4}}
        return reply

    with pytest.raises(AgentLimitError) as caught:
        await run([paid] * 9, ["calculator"], limits=Limits(usd=Decimal(1)))
    assert caught.value.data["limit"] == "usd"
