"""LangChain messages as what chat templates read: dicts with ``role`` and ``content``."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from nearfar.errors import UnsupportedInputError

from .dialects import Dialect, ToolCall, ToolSpec
from .tokenizer import Shield

TemplateMessage = dict[str, Any]

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
}
_TEXT = {"text", "text-plain"}
# What a reply from elsewhere may hold that is shown to nobody: reasoning, and calls, which stand
# in `tool_calls` as well. Media are not among them.
_MEDIA = {
    "image",
    "image_url",
    "input_image",
    "audio",
    "input_audio",
    "video",
    "file",
    "input_file",
    "document",
    "media",
}


def to_template(
    messages: Sequence[BaseMessage], dialect: Dialect, tools: Sequence[ToolSpec] = ()
) -> list[TemplateMessage]:
    """The messages for a chat template, oldest first.

    Where the template cannot list tools, a system text does, and calls and results of earlier
    turns are written out. Raises UnsupportedInputError for content that is not text, for a role
    that no template knows and for an empty conversation.
    """
    if not messages:
        raise UnsupportedInputError("There is no message.", data={"type": "conversation"})
    converted = [_with_ids(_convert(message), dialect) for message in messages]
    if not dialect.parallel:
        converted = list(_one_call_each(converted))
    if dialect.needs_prompt:
        converted = [_written_out(message, dialect) for message in converted]
        if tools:
            converted = _with_system(converted, dialect.tool_prompt(tools))
    return converted


def split_begun(messages: Sequence[BaseMessage]) -> tuple[Sequence[BaseMessage], str]:
    """The messages without an answer that is only begun, and what it begins with.

    That is the last message, where it is an answer without calls. A conversation of nothing else has
    nothing that it would be the answer to.
    """
    last = messages[-1] if len(messages) > 1 else None
    if not isinstance(last, AIMessage) or last.tool_calls:
        return messages, ""
    begun = _text(last)
    return (messages[:-1], begun) if begun else (messages, "")


def protect(messages: Iterable[TemplateMessage], shield: Shield) -> list[TemplateMessage]:
    """The messages with everything that came from outside made harmless; roles are ours."""
    return [
        {key: value if key == "role" else shield.protect_all(value) for key, value in m.items()}
        for m in messages
    ]


def with_note(messages: list[TemplateMessage], note: str) -> list[TemplateMessage]:
    """``note`` after the last user message: what stands before it can still come from a cache."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "user":
            content = f"{messages[index]['content']}\n\n{note}"
            return [
                *messages[:index],
                messages[index] | {"content": content},
                *messages[index + 1 :],
            ]
    return [*messages, {"role": "user", "content": note}]


def strings(value: Any) -> Iterable[str]:
    """All texts within lists and dicts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def _convert(message: BaseMessage) -> TemplateMessage:
    role = _role(message)
    converted: TemplateMessage = {"role": role, "content": _text(message)}
    if message.name:
        converted["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        converted["tool_calls"] = [
            {
                "id": call["id"] or "",
                "type": "function",
                "function": {"name": call["name"], "arguments": call["args"]},
            }
            for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        converted["tool_call_id"] = message.tool_call_id
    return converted


def _with_ids(message: TemplateMessage, dialect: Dialect) -> TemplateMessage:
    """Ids of calls that another model made, in the form that this family's template accepts."""
    if "tool_call_id" in message:
        return message | {"tool_call_id": _fitting(message["tool_call_id"], dialect)}
    if "tool_calls" in message:
        calls = [call | {"id": _fitting(call["id"], dialect)} for call in message["tool_calls"]]
        return message | {"tool_calls": calls}
    return message


def _fitting(call_id: str, dialect: Dialect) -> str:
    """The id itself if the family takes any; else, where it does not fit, one derived from it."""
    free = bool(dialect.id_prefix)
    if free or (len(call_id) == dialect.id_chars and call_id.isascii() and call_id.isalnum()):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[: dialect.id_chars]


def _role(message: BaseMessage) -> str:
    match message:
        case ChatMessage():
            role = _ROLES.get(message.role.lower())
            if role is not None:
                return role
            named = message.role
        case SystemMessage():
            return "system"
        case HumanMessage():
            return "user"
        case AIMessage():
            return "assistant"
        case ToolMessage() | FunctionMessage():
            return "tool"
        case _:
            named = message.type
    raise UnsupportedInputError(
        f"A message has the role {named!r}, which a local model does not know.",
        remedy=f"Use one of: {', '.join(_ROLES)}.",
        data={"type": named},
    )


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    lenient = isinstance(message, AIMessage)
    return "".join(_block_text(block, lenient=lenient) for block in message.content)


def _block_text(block: str | dict[Any, Any], *, lenient: bool) -> str:
    """``lenient``: a reply from another model may hold blocks that are not meant for a reader."""
    if isinstance(block, str):
        return block
    kind = block.get("type")
    text = block.get("text")
    if kind in _TEXT and isinstance(text, str):
        return text
    if lenient and kind not in _MEDIA:
        return ""
    raise UnsupportedInputError(
        f"A message holds content of the type {kind!r}; local models take text only.",
        data={"type": str(kind)},
    )


def _one_call_each(messages: list[TemplateMessage]) -> Iterable[TemplateMessage]:
    """Several calls of one message as several messages, each with its result behind it."""
    results: dict[str, TemplateMessage] = {}
    for message in messages:
        if message["role"] == "tool":
            results.setdefault(message.get("tool_call_id", ""), message)
    moved: set[int] = set()
    for message in messages:
        calls = message.get("tool_calls", [])
        if len(calls) < 2:
            if id(message) not in moved:
                yield message
            continue
        for position, call in enumerate(calls):
            content = "" if position else message["content"]
            yield message | {"tool_calls": [call], "content": content}
            result = results.get(call["id"])
            if result is not None and id(result) not in moved:
                moved.add(id(result))
                yield result


def _written_out(message: TemplateMessage, dialect: Dialect) -> TemplateMessage:
    """Calls as the model writes them, results as a user's words: for templates without tools."""
    if message["role"] == "tool":
        name = f" of {message['name']}" if message.get("name") else ""
        return {"role": "user", "content": f"The result{name}: {message['content']}"}
    calls = message.get("tool_calls")
    if not calls:
        return message
    said = [
        ToolCall(call["function"]["name"], call["function"]["arguments"], call["id"])
        for call in calls
    ]
    written = "\n".join(filter(None, (message["content"], dialect.render(said))))
    return {key: value for key, value in message.items() if key != "tool_calls"} | {
        "content": written
    }


def _with_system(messages: list[TemplateMessage], text: str) -> list[TemplateMessage]:
    """``text`` at the end of the leading system message, which is made if there is none."""
    if messages[0]["role"] != "system":
        return [{"role": "system", "content": text}, *messages]
    return [messages[0] | {"content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
