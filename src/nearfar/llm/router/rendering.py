"""A thread in words that a candidate understands, whoever answered its earlier turns."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Tool call ids that every provider takes."""
_READS_NO_BLOCKS = frozenset({"openai", "openai-compatible", "ollama", "local"})
"""Answers go to these as text and tool calls."""


def rendered(messages: Sequence[BaseMessage], provider: str) -> list[BaseMessage]:
    """``messages`` for a candidate of that provider.

    Reasoning and other blocks that only their own provider reads are left out for others (text and tool
    calls stay), tool call ids are made such that all take them, and a tool's result without its call is
    told by the user.
    """
    if not any(isinstance(message, AIMessage | ToolMessage) for message in messages):
        return list(messages)
    called: set[str | None] = set()
    found: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, AIMessage):
            called.update(call["id"] for call in message.tool_calls)
            found.append(_answer(message, provider))
        elif isinstance(message, ToolMessage):
            known = message.tool_call_id in called
            found.append(_result(message) if known else _told(message))
        else:
            found.append(message)
    return found


def _answer(message: AIMessage, provider: str) -> AIMessage:
    changes: dict[str, Any] = {}
    if isinstance(message.content, list) and _is_foreign(message, provider):
        changes["content"] = str(message.text)
    if any(_id(call["id"]) != call["id"] for call in message.tool_calls):
        changes["tool_calls"] = [{**call, "id": _id(call["id"])} for call in message.tool_calls]
        changes["content"] = str(message.text)  # blocks may repeat the ids
    return message.model_copy(update=changes) if changes else message


def _is_foreign(message: AIMessage, provider: str) -> bool:
    told = message.response_metadata
    origin = told.get("model_provider") or told.get("provider")
    return provider in _READS_NO_BLOCKS if origin is None else origin != provider


def _result(message: ToolMessage) -> ToolMessage:
    plain = _id(message.tool_call_id)
    if plain == message.tool_call_id:
        return message
    return message.model_copy(update={"tool_call_id": plain})


def _told(message: ToolMessage) -> HumanMessage:
    return HumanMessage(f"Result of the tool {message.name or 'called'}: {message.text}")


def _id(given: str | None) -> str | None:
    if given is None or _ID.fullmatch(given):
        return given
    return f"call_{hashlib.sha256(given.encode()).hexdigest()[:24]}"
