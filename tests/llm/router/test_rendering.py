"""A thread may change its model at every turn."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from nearfar.llm.router import Router
from nearfar.llm.router.rendering import rendered
from nearfar.testing.fault_server import FaultServer
from tests.llm.upstream_by_rule import answer

from .upstreams import candidate

THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
TEXT = {"type": "text", "text": "Let me see."}
USE = {"type": "tool_use", "id": "t.1", "name": "add", "input": {"a": 1}}
CALL: Any = {"name": "add", "args": {"a": 1}, "id": "t.1", "type": "tool_call"}
ADD = {"name": "add", "description": "", "parameters": {"type": "object", "properties": {}}}


def thread(origin: str | None) -> list[BaseMessage]:
    metadata = {} if origin is None else {"model_provider": origin}
    return [
        HumanMessage("x"),
        AIMessage([THINKING, TEXT, USE], tool_calls=[CALL], response_metadata=metadata),
        ToolMessage("2", tool_call_id="t.1"),
    ]


@pytest.mark.parametrize(
    ("origin", "provider"),
    [("anthropic", "openai"), ("anthropic", "google"), ("anthropic", "local"), (None, "openai")],
)
def test_blocks_of_another_provider_become_text_and_calls(
    origin: str | None, provider: str
) -> None:
    _, reply, result = rendered(thread(origin), provider)
    assert isinstance(reply, AIMessage)
    assert isinstance(result, ToolMessage)
    assert reply.content == "Let me see."
    assert reply.tool_calls[0]["args"] == {"a": 1}
    assert reply.tool_calls[0]["id"] == result.tool_call_id


def test_reasoning_goes_back_to_whose_it_is() -> None:
    messages = [AIMessage([THINKING, TEXT], response_metadata={"model_provider": "anthropic"})]
    assert rendered(messages, "anthropic") == messages


def test_ids_are_such_that_every_provider_takes_them() -> None:
    _, reply, result = rendered(thread("anthropic"), "anthropic")
    assert isinstance(reply, AIMessage)
    assert isinstance(result, ToolMessage)
    assert reply.tool_calls[0]["id"] == result.tool_call_id
    assert result.tool_call_id.replace("_", "").isalnum()


def test_a_result_without_its_call_is_told_by_the_user() -> None:
    found = rendered([HumanMessage("x"), ToolMessage("2", tool_call_id="t", name="add")], "openai")
    assert [(m.type, m.text) for m in found] == [
        ("human", "x"),
        ("human", "Result of the tool add: 2"),
    ]


def test_the_callers_messages_are_left_as_they_are() -> None:
    messages = thread("anthropic")
    rendered(messages, "openai")
    assert messages == thread("anthropic")


async def test_a_thread_goes_to_and_fro_between_providers() -> None:
    with FaultServer(default=answer) as server:
        router = Router(
            candidates=[candidate(server, kind, kind) for kind in ("lean", "anthropic", "openai")]
        )
        messages: list[BaseMessage] = thread(None)
        for name in ("lean", "anthropic", "openai", "anthropic", "lean"):
            messages.append(HumanMessage("add 3"))
            reply = await router.bind_tools([ADD]).ainvoke(messages, model=name)
            assert reply.response_metadata["model_name"] == name
            call = reply.tool_calls[0]
            messages += [reply, ToolMessage("6", tool_call_id=call["id"])]
            last = await router.bind_tools([ADD]).ainvoke(messages, model=name)
            assert last.text
            messages.append(last)
        sent = [request.body["messages"] for request in server.requests]
    assert "thinking" not in str(sent[0])
    assert len(sent) == 10
