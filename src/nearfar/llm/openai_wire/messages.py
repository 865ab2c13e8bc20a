"""LangChain messages to the JSON of OpenAI's chat completions, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    UsageMetadata,
    convert_to_openai_messages,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call

_PLAIN_ROLES = {HumanMessage: "user", SystemMessage: "system"}


def to_wire(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The ``messages`` of a request. Plain text takes a short way; all else goes through LangChain's."""
    return [_plain(message) or _converted(message) for message in messages]


def _plain(message: BaseMessage) -> dict[str, Any] | None:
    role = _PLAIN_ROLES.get(type(message))
    if role is None or not isinstance(message.content, str) or message.name:
        return None
    return {"role": role, "content": message.content}


def _converted(message: BaseMessage) -> dict[str, Any]:
    converted = convert_to_openai_messages([message])
    wire = dict(converted[0] if isinstance(converted, list) else converted)
    if wire.get("tool_calls") and not wire.get("content"):
        wire["content"] = None
    return wire


def usage_of(data: Mapping[str, Any] | None) -> UsageMetadata | None:
    """``usage`` as LangChain counts it; None where the server gave none."""
    if not data:
        return None
    prompt = int(data.get("prompt_tokens") or 0)
    completion = int(data.get("completion_tokens") or 0)
    usage = UsageMetadata(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=int(data.get("total_tokens") or prompt + completion),
    )
    cached = (data.get("prompt_tokens_details") or {}).get("cached_tokens")
    if cached is not None:
        usage["input_token_details"] = {"cache_read": int(cached)}
    reasoning = (data.get("completion_tokens_details") or {}).get("reasoning_tokens")
    if reasoning is not None:
        usage["output_token_details"] = {"reasoning": int(reasoning)}
    return usage


def message_of(
    data: Mapping[str, Any], usage: UsageMetadata | None, metadata: dict[str, Any]
) -> AIMessage:
    """The message of a whole reply's ``choices[0].message``."""
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for raw in data.get("tool_calls") or ():
        try:
            parsed = parse_tool_call(raw, return_id=True)
            if parsed is not None:
                calls.append(ToolCall(name=parsed["name"], args=parsed["args"], id=parsed["id"]))
        except Exception as error:  # noqa: BLE001  (arguments are the model's own words)
            invalid.append(InvalidToolCall(**make_invalid_tool_call(raw, str(error))))
    return AIMessage(
        content=data.get("content") or "",
        additional_kwargs=_extras(data),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=usage,
        response_metadata=metadata,
    )


def chunk_of(delta: Mapping[str, Any]) -> AIMessageChunk | None:
    """The chunk of a streamed ``delta``; None where it brings nothing."""
    content = delta.get("content") or ""
    raw_calls = delta.get("tool_calls")
    extras = _extras(delta)
    if raw_calls:
        pieces = [
            tool_call_chunk(
                name=(raw.get("function") or {}).get("name"),
                args=(raw.get("function") or {}).get("arguments"),
                id=raw.get("id"),
                index=raw.get("index", position),
            )
            for position, raw in enumerate(raw_calls)
        ]
        return AIMessageChunk(content=content, tool_call_chunks=pieces, additional_kwargs=extras)
    if content or extras:
        return AIMessageChunk(content=content, additional_kwargs=extras)
    return None


def _extras(data: Mapping[str, Any]) -> dict[str, Any]:
    """Reasoning text and refusals, which chat completions have no common place for."""
    extras = {}
    reasoning = data.get("reasoning_content") or data.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        extras["reasoning_content"] = reasoning
    if data.get("refusal"):
        extras["refusal"] = data["refusal"]
    return extras
