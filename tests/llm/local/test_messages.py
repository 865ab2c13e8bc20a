"""Every kind of LangChain message reaches the model, or is refused with its kind named."""

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from nearfar.errors import UnsupportedInputError
from nearfar.llm.local.dialects import DIALECTS, ToolSpec
from nearfar.llm.local.messages import to_template, with_note

HERMES = DIALECTS["hermes"]
GENERIC = DIALECTS["generic"]


def call(name: str, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": f"id-{name}", "type": "tool_call"}


def convert(*messages: BaseMessage) -> list[dict[str, Any]]:
    return to_template(messages, HERMES)


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (HumanMessage("x"), "user"),
        (SystemMessage("x"), "system"),
        (AIMessage("x"), "assistant"),
        (ToolMessage("x", tool_call_id="1"), "tool"),
        (FunctionMessage("x", name="f"), "tool"),
        (ChatMessage("x", role="developer"), "system"),
        (ChatMessage("x", role="User"), "user"),
        (ChatMessage("x", role="model"), "assistant"),
    ],
)
def test_roles(message: BaseMessage, role: str) -> None:
    assert convert(message)[0]["role"] == role
    assert convert(message)[0]["content"] == "x"


@pytest.mark.parametrize("message", [ChatMessage("x", role="end"), RemoveMessage(id="1")])
def test_a_role_that_no_template_knows_is_refused(message: BaseMessage) -> None:
    """A free role could be written between a template's brackets and become a control token."""
    with pytest.raises(UnsupportedInputError, match="role"):
        convert(message)


def test_names_ids_and_calls_are_passed_on() -> None:
    answer = AIMessage("thinking", tool_calls=[call("f", a=1)])
    result = ToolMessage("2", tool_call_id="id-f", name="f")
    assert convert(HumanMessage("q", name="ann"), answer, result) == [
        {"role": "user", "content": "q", "name": "ann"},
        {
            "role": "assistant",
            "content": "thinking",
            "tool_calls": [
                {
                    "id": "id-f",
                    "type": "function",
                    "function": {"name": "f", "arguments": {"a": 1}},
                }
            ],
        },
        {"role": "tool", "content": "2", "name": "f", "tool_call_id": "id-f"},
    ]


def test_text_blocks_are_joined() -> None:
    content: list[Any] = ["a", {"type": "text", "text": "b"}, {"type": "text-plain", "text": "c"}]
    assert convert(HumanMessage(content))[0]["content"] == "abc"
    assert convert(HumanMessage([]))[0]["content"] == ""


@pytest.mark.parametrize("kind", ["image", "image_url", "audio", "video", "file", "unheard_of"])
@pytest.mark.parametrize("message", [HumanMessage, SystemMessage])
def test_content_that_is_not_text_is_refused_by_its_type(
    kind: str, message: type[HumanMessage | SystemMessage]
) -> None:
    block = {"type": kind, "url": "https://example.org/secret"}
    with pytest.raises(UnsupportedInputError, match=repr(kind)) as caught:
        convert(message([{"type": "text", "text": "what is it?"}, block]))
    assert caught.value.data == {"type": kind}
    assert "secret" not in caught.value.message


def test_a_reply_of_another_model_keeps_its_text_only() -> None:
    content: list[Any] = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "yes"},
        {"type": "tool_use", "id": "id-f", "name": "f", "input": {}},
    ]
    converted = convert(AIMessage(content, tool_calls=[call("f")]))
    assert converted[0]["content"] == "yes"
    assert len(converted[0]["tool_calls"]) == 1
    with pytest.raises(UnsupportedInputError):
        convert(AIMessage([{"type": "image", "base64": "AA", "mime_type": "image/png"}]))


def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(UnsupportedInputError, match="no message"):
        convert()


def test_calls_stand_alone_for_a_family_that_takes_one_at_a_time() -> None:
    """Each call is followed by its own result, and none is lost or doubled."""
    messages = [
        AIMessage("both", tool_calls=[call("f"), call("g")]),
        ToolMessage("g says", tool_call_id="id-g"),
        ToolMessage("f says", tool_call_id="id-f"),
        HumanMessage("and?"),
    ]
    shaped = to_template(messages, DIALECTS["llama3"])
    assert [m["content"] for m in shaped] == ["both", "f says", "", "g says", "and?"]
    assert [len(m.get("tool_calls", [])) for m in shaped] == [1, 0, 1, 0, 0]


def test_where_the_template_lists_no_tools_a_system_text_does() -> None:
    tool = ToolSpec("f", "does it", {"type": "object", "properties": {"a": {"type": "integer"}}})
    messages = [
        SystemMessage("be brief"),
        AIMessage("", tool_calls=[call("f", a=1)]),
        ToolMessage("2", tool_call_id="id-f", name="f"),
    ]
    shaped = to_template(messages, replace(GENERIC, needs_prompt=True), [tool])
    assert shaped[0]["content"].startswith("be brief\n\n")
    assert "does it" in shaped[0]["content"]
    assert '"a": 1' in shaped[1]["content"]
    assert shaped[2] == {"role": "user", "content": "The result of f: 2"}
    assert to_template([HumanMessage("q")], GENERIC, [tool])[0]["role"] == "system"


def test_a_note_goes_after_the_last_user_message() -> None:
    shaped = convert(HumanMessage("a"), HumanMessage("b"), AIMessage("c"))
    assert [m["content"] for m in with_note(shaped, "N")] == ["a", "b\n\nN", "c"]
    assert with_note(convert(SystemMessage("s")), "N")[-1] == {"role": "user", "content": "N"}
