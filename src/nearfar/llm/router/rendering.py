"""A thread in words that a candidate understands, whoever answered its earlier turns."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Tool call ids that every provider takes."""
_DATED = re.compile(r"_20\d{6}$|^mcp_toolset$")
"""Anthropic's tools carry the day of their version."""
_GOOGLES = frozenset(
    {"google_search", "google_search_retrieval", "google_maps", "url_context", "code_execution"}
)
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


def is_built_in(tool: Any) -> bool:
    """Whether it is a tool that a provider runs itself, in the provider's own words."""
    if not isinstance(tool, dict) or "function" in tool:
        return False
    kind = tool.get("type")
    return kind not in {None, "function", "object"} or bool(_GOOGLES.intersection(tool))


def known_tools(tools: Sequence[dict[str, Any]], provider: str) -> list[dict[str, Any]]:
    """The tools that a provider knows: all functions, and of the built-in ones its own."""
    return [t for t in tools if not is_built_in(t) or provider in _whose(t)]


def tool_name(tool: dict[str, Any]) -> str:
    """What a built-in tool is called."""
    return str(tool.get("type") or next(iter(_GOOGLES.intersection(tool))))


def _whose(tool: dict[str, Any]) -> frozenset[str]:
    if _DATED.search(str(tool.get("type", ""))):
        return frozenset({"anthropic"})
    if _GOOGLES.intersection(tool):
        return frozenset({"google"})
    return frozenset({"openai", "openai-compatible"})


def _answer(message: AIMessage, provider: str) -> AIMessage:
    changes: dict[str, Any] = {}
    if isinstance(message.content, list) and _is_foreign(message, provider):
        changes["content"] = str(message.text)
    if any(_id(call["id"]) != call["id"] for call in message.tool_calls):
        changes["tool_calls"] = [{**call, "id": _id(call["id"])} for call in message.tool_calls]
        if isinstance(changes.get("content", message.content), list):
            changes["content"] = [_with_plain_id(block) for block in message.content]
    return message.model_copy(update=changes) if changes else message


def _with_plain_id(block: Any) -> Any:
    """Blocks repeat the ids of calls."""
    if isinstance(block, dict) and block.get("type") == "tool_use":
        return {**block, "id": _id(block.get("id"))}
    return block


def _is_foreign(message: AIMessage, provider: str) -> bool:
    told = message.response_metadata
    origin = told.get("model_provider") or told.get("provider")
    return provider in _READS_NO_BLOCKS or origin not in {None, provider}


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
