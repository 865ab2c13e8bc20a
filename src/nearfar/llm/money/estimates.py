"""Tokens, where no provider has counted them yet."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

_PER_MESSAGE = 8
_PER_PICTURE = 5_000
_BYTES_PER_TOKEN = 4


def prompt_bound(messages: Iterable[BaseMessage], tools: Sequence[Mapping[str, Any]] = ()) -> int:
    """Tokens that a provider counts for a prompt at most, by a cautious rule.

    Two bytes of UTF-8 make a token: English prose has about four, program text and Chinese about
    three. A picture counts as a large one.
    """
    size = sum(len(json.dumps(tool, ensure_ascii=False).encode()) for tool in tools)
    whole = 0
    for message in messages:
        whole += _PER_MESSAGE
        for block in [message.content] if isinstance(message.content, str) else message.content:
            if isinstance(block, dict) and block.get("type") in {"image", "image_url"}:
                whole += _PER_PICTURE
            else:
                size += _size(block)
        for call in getattr(message, "tool_calls", ()):
            size += len(json.dumps(call["args"], ensure_ascii=False, default=str).encode())
            size += len(call["name"]) + len(call["id"] or "")
    return whole + -(-size // 2)


def output_estimate(size_bytes: int) -> int:
    """Tokens that a provider most likely counts for a text of its own of that many bytes."""
    return -(-size_bytes // _BYTES_PER_TOKEN)


def _size(block: str | dict[str, Any]) -> int:
    if isinstance(block, str):
        return len(block.encode())
    text = block.get("text")
    if isinstance(text, str):
        return len(text.encode())
    return len(json.dumps(block, ensure_ascii=False, default=str).encode())
