"""Everything that a request would send is looked through."""

import base64
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from nearfar.llm.screening import Detector, Finding, Screen
from nearfar.settings import PrivacySettings

MAIL = "anna@example.com"
SCREEN = Screen(Detector(PrivacySettings(keep_near=["email"])))


class Form(BaseModel):
    """Write to anna@example.com."""

    name: str


def look(*messages: BaseMessage, tools: Any = (), **options: Any) -> Finding:
    return SCREEN.look(messages, tools, options)


def block(**fields: Any) -> HumanMessage:
    return HumanMessage([{"type": "text", "text": "look"}, fields])


@pytest.mark.parametrize(
    "messages",
    [
        [SystemMessage(MAIL)],
        [HumanMessage("x"), AIMessage(MAIL), HumanMessage("y")],
        [HumanMessage([{"type": "text", "text": MAIL}])],
        [HumanMessage([MAIL])],
        [
            HumanMessage(
                [{"type": "text", "text": "anna@exam"}, {"type": "text", "text": "ple.com"}]
            )
        ],
        [ToolMessage(MAIL, tool_call_id="1")],
        [ToolMessage([{"type": "text", "text": MAIL}], tool_call_id="1")],
        [ToolMessage("x", tool_call_id=MAIL)],
        [AIMessage("", tool_calls=[{"name": "send", "args": {"to": [{"at": MAIL}]}, "id": "1"}])],
        [AIMessage("", tool_calls=[{"name": "send", "args": {MAIL: 1}, "id": "1"}])],
        [AIMessage("", invalid_tool_calls=[{"name": "f", "args": MAIL, "id": "1", "error": ""}])],
        [AIMessage("", additional_kwargs={"function_call": {"arguments": MAIL}})],
        [AIMessage([{"type": "reasoning", "summary": [{"text": MAIL}]}])],
        [AIMessage([{"type": "tool_use", "id": "1", "name": "f", "input": {"to": MAIL}}])],
        [HumanMessage("x", name=MAIL)],
        [block(type="text-plain", text=MAIL)],
        [block(type="custom", deep={"er": [MAIL]})],
        [
            block(
                type="file", mime_type="text/plain", base64=base64.b64encode(MAIL.encode()).decode()
            )
        ],
        [block(type="document", source={"type": "text", "media_type": "text/plain", "data": MAIL})],
    ],
)
def test_an_address_is_found_wherever_it_stands(messages: list[BaseMessage]) -> None:
    assert look(*messages).found == {"email": 1}


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "function", "function": {"name": "f", "description": f"mail {MAIL}"}}],
        [{"function": {"name": "f", "parameters": {"properties": {"to": {"enum": [MAIL]}}}}}],
        [{"function": {"parameters": {"properties": {"to": {"default": MAIL}}}}}],
    ],
)
def test_tools_are_looked_through(tools: list[dict[str, Any]]) -> None:
    assert look(HumanMessage("x"), tools=tools).found == {"email": 1}


@pytest.mark.parametrize("options", [{"stop": [MAIL]}, {"user": MAIL}, {"response_format": Form}])
def test_options_are_looked_through(options: dict[str, Any]) -> None:
    assert look(HumanMessage("x"), **options).keep_near


@pytest.mark.parametrize(
    "message",
    [
        block(type="image_url", image_url={"url": "data:image/png;base64,AAAA"}),
        block(type="image", base64="AAAA", mime_type="image/png"),
        block(type="image", url="https://example.com/x.png"),
        block(type="file", base64="JVBERi0=", mime_type="application/pdf"),
        block(type="file", base64="!", mime_type="text/plain"),
        block(type="audio", base64="AAAA", mime_type="audio/wav"),
        block(type="custom", data=b"\x00"),
        ToolMessage(
            [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}], tool_call_id="1"
        ),
    ],
)
def test_what_cannot_be_read_counts_as_found(message: BaseMessage) -> None:
    found = look(message)
    assert found.keep_near
    assert found.found == {"unreadable": 1}


def test_numbers_are_read_as_words() -> None:
    screen = Screen(Detector(PrivacySettings(keep_near=["credit_card"])))
    call = {"name": "pay", "args": {"card": 4111111111111111}, "id": "1"}
    assert screen.look([AIMessage("", tool_calls=[call])]).keep_near


def test_nesting_without_end_counts_as_found() -> None:
    deep: Any = MAIL
    for _ in range(500):
        deep = [deep]
    assert look(HumanMessage("x"), deep=deep).found == {"unreadable": 1}


def test_what_a_tool_keeps_for_itself_is_not_sent() -> None:
    assert not look(ToolMessage("done", tool_call_id="1", artifact=MAIL)).keep_near


def test_nothing_is_found_in_an_ordinary_request() -> None:
    call = {"name": "go", "args": {"to": "Rome", "days": 3}, "id": "call_9f2b7c"}
    found = look(
        SystemMessage("Be kind."),
        HumanMessage("What is a kiln?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("ok", tool_call_id="call_9f2b7c"),
        tools=[{"type": "function", "function": {"name": "go", "parameters": {}}}],
        temperature=0.5,
    )
    assert found == Finding()
