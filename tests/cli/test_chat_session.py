"""However an answer ends, its thread is one that the next message fits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.types import Command

from nearfar.agents.assistant import create_assistant
from nearfar.cli.chat.commands import as_markdown, obey
from nearfar.cli.chat.screen import Screen, brief, clean
from nearfar.cli.chat.session import Choices, Session
from nearfar.errors import IndexNotFoundError, ModelNotFoundError, UsageError, WorkflowFailedError
from nearfar.settings import Settings
from nearfar.storage.checkpoints import open_saver
from nearfar.testing import ScriptedChatModel

started = asyncio.Event()


@tool
async def sleep() -> str:
    """Sleep for long."""
    started.set()
    await asyncio.sleep(3600)
    return "awake"


@tool
def quick() -> str:
    """Be done at once."""
    return "quick result"


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    settings = Settings.model_validate(
        {"tools": {"permissions": [{"tool": "*", "permission": "allow"}]}}
    )
    async with open_saver(settings) as saver:
        yield Session(settings, Choices(tools=[]), "t", Screen(), saver)


def use(session: Session, *script: Any) -> ScriptedChatModel:
    """Let a script answer."""
    model = ScriptedChatModel(script)
    session.graph = create_assistant(
        model, [sleep, quick], settings=session.settings, checkpointer=session._saver
    )
    return model


def both() -> AIMessage:
    calls: Any = [{"name": n, "args": {}, "id": n, "type": "tool_call"} for n in ("quick", "sleep")]
    return AIMessage("I try.", tool_calls=calls)


async def stop(session: Session) -> None:
    task = asyncio.create_task(session.answer({"question": "go"}))
    await asyncio.wait_for(started.wait(), 20)
    while True:  # until the quick one's result is kept
        state = await session.state()
        if any(one.result for one in state.tasks):
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stopped_call_gets_a_result_and_a_finished_one_keeps_its_own(
    session: Session,
) -> None:
    started.clear()
    model = use(session, both(), "Back.")
    await stop(session)
    messages: list[AnyMessage] = await session.messages()
    results = {m.name: m.text for m in messages if isinstance(m, ToolMessage)}
    assert results["quick"] == "quick result"
    assert "not known" in results["sleep"]
    assert messages[-1].text == "[stopped]"
    state = await session.answer({"question": "and now?"})
    assert state.values["answer"] == "Back."
    types = [m.type for m in model.calls[-1].messages]
    assert types == ["system", "human", "ai", "tool", "tool", "ai", "human"]


async def test_a_fault_is_told_and_the_next_message_fits(session: Session) -> None:
    model = use(session, ValueError("boom"), "Fine.")
    with pytest.raises(WorkflowFailedError, match="boom"):
        await session.answer({"question": "go"})
    assert (await session.answer({"question": "again"})).values["answer"] == "Fine."
    assert [m.type for m in model.calls[-1].messages] == ["system", "human", "ai", "human"]


async def test_what_waits_is_answered_by_its_id(session: Session) -> None:
    session.settings = Settings()
    calls = [{"name": "quick", "args": {}, "id": str(n), "type": "tool_call"} for n in range(2)]
    use(session, AIMessage("", tool_calls=calls), "Both.")
    state = await session.answer({"question": "go"})
    yes = {"decisions": [{"type": "approve"}]}
    given: Any = Command(resume={pause.id: yes for pause in state.interrupts})
    assert len(state.interrupts) == 2
    assert (await session.answer(given)).values["answer"] == "Both."


async def test_commands_say_what_is_wrong_and_change_nothing(session: Session) -> None:
    for line, kind in (
        ("/model nobody", ModelNotFoundError),
        ("/forget", UsageError),
        ("/forget 12345678", UsageError),
        ("/remember", UsageError),
        ("/save", UsageError),
        ("/nothing", UsageError),
    ):
        with pytest.raises(kind):
            await obey(session, line)
    assert session.choices == Choices(tools=[])
    with pytest.raises(IndexNotFoundError):
        session.change(Choices(tools=[], index="nothing"))
    assert session.choices == Choices(tools=[])


def test_control_characters_never_reach_the_terminal() -> None:
    hostile = "a\x1b[31mb\x9b2Jc\u202ed\r\ne\x00"
    assert clean(hostile) == "a[31mb2Jcd\ne"
    assert brief("<<<data 12ab: a page. It is data.>>>\nx\ny\n<<<end of data 12ab>>>") == "x y"


def test_a_saved_conversation_reads_well() -> None:
    messages: list[AnyMessage] = [both(), ToolMessage("1\n2", tool_call_id="quick", name="quick")]
    assert as_markdown(messages) == (
        "`→ quick()`\n\n`→ sleep()`\n\n**Assistant:** I try.\n\n`← quick`\n\n> 1\n> 2\n"
    )
