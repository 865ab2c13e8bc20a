"""Reading a chat model's stream: content as it comes, and what else the chunks carried kept apart.

Providers put usage and metadata on the first chunk, the last, or several; merged carelessly they add
up to nonsense (strings are concatenated). Here they are collected, to stand on one last chunk.
"""

import json
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.messages.ai import add_usage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from nearfar.errors import BrokenReplyError, ContentFilteredError

from .faults import Origin

_FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason")
_SAYS_WHY = frozenset({"openai", "openai-compatible", "anthropic", "google", "ollama", "local"})
"""Providers whose whole replies always say why they ended: one that does not say was cut."""
_WORDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "STOP": "stop",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "SAFETY": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "BLOCKLIST": "content_filter",
}
"""What providers call the reasons for ending, in OpenAI's words."""


class Ending(NamedTuple):
    """What a reply says when it is whole."""

    usage: UsageMetadata | None
    metadata: dict[str, Any]

    def chunk(self) -> AIMessageChunk:
        """The one chunk that carries it, for LangChain."""
        return AIMessageChunk(
            content="",
            usage_metadata=self.usage,
            response_metadata=self.metadata,
            chunk_position="last",
        )


class ReplyReader:
    """Collects what a stream says beside its content."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.usage: UsageMetadata | None = None
        self.metadata: dict[str, Any] = {}
        self.begun = False
        """Content has come."""
        self.called = False
        """A tool call has come."""

    def note(self, ending: Ending) -> None:
        """The end has come."""
        self.metadata.update(ending.metadata)
        self.usage = ending.usage

    def take(self, generation: ChatGenerationChunk) -> AIMessageChunk | None:
        """The content of a chunk, without usage and metadata; None where it has none."""
        if generation.generation_info:
            self.metadata.update(generation.generation_info)
        return self.content(as_chunk(generation.message))

    def content(self, chunk: AIMessageChunk) -> AIMessageChunk | None:
        """As ``take``, of a message."""
        if chunk.response_metadata:
            self.metadata.update(chunk.response_metadata)
        if chunk.usage_metadata:
            self.usage = add_usage(self.usage, chunk.usage_metadata)
        if not (chunk.content or chunk.tool_call_chunks or chunk.additional_kwargs):
            return None
        self.begun = True
        self.called = self.called or bool(chunk.tool_call_chunks)
        if not (chunk.usage_metadata or chunk.response_metadata or chunk.id):
            return chunk
        # Blocks can only be read by who knows whose they are.
        whose = chunk.response_metadata.get("model_provider")
        return AIMessageChunk(
            content=chunk.content,
            tool_call_chunks=chunk.tool_call_chunks,
            additional_kwargs=chunk.additional_kwargs,
            response_metadata={"model_provider": whose}
            if whose and isinstance(chunk.content, list)
            else {},
        )

    def check_whole(self) -> None:
        """Raise BrokenReplyError or ContentFilteredError unless the reply that ended is a whole one."""
        said = self._said()
        if not self.begun and said is None:
            raise self.origin.error(BrokenReplyError, "the reply is empty", "empty")
        if said is None and self.origin.provider in _SAYS_WHY:
            words = "the stream ended without its end mark"
            raise self.origin.error(BrokenReplyError, words, "no_end")
        if self.finish_reason == "content_filter":
            words = "the provider's content filter stopped the reply"
            raise self.origin.error(ContentFilteredError, words, "content_filter", reason=said)

    @property
    def finish_reason(self) -> str:
        """Why the reply ended, in OpenAI's words whoever gave it."""
        said = self._said() or "stop"
        word = _WORDS.get(said, said.lower())
        return "tool_calls" if word == "stop" and self.called else word

    def last(self, *, plain: bool = False, **extra: Any) -> AIMessageChunk:
        """The one chunk that carries usage and metadata; ``plain``: no block of the provider's own came."""
        known = {k: v for k, v in self.metadata.items() if not (plain and k == "model_provider")}
        metadata = {
            **known,
            "model_name": self.metadata.get("model_name") or self.origin.model,
            "finish_reason": self.finish_reason,
            "provider": self.metadata.get("provider") or self.origin.provider,
            **extra,
        }
        return Ending(self.usage, metadata).chunk()

    def _said(self) -> str | None:
        return next((str(v) for k in _FINISH_KEYS if (v := self.metadata.get(k))), None)


def as_chunk(message: BaseMessage) -> AIMessageChunk:
    """A message as one chunk; its calls as whole pieces."""
    if isinstance(message, AIMessageChunk):
        return message
    given = message if isinstance(message, AIMessage) else AIMessage(content=message.content)
    return AIMessageChunk(
        content=given.content,
        tool_call_chunks=[
            tool_call_chunk(
                name=call["name"],
                args=json.dumps(call["args"], ensure_ascii=False),
                id=call["id"],
                index=index,
            )
            for index, call in enumerate(given.tool_calls)
        ],
        usage_metadata=given.usage_metadata,
        response_metadata=given.response_metadata,
        additional_kwargs=given.additional_kwargs,
    )


def joined(chunks: list[AIMessageChunk]) -> AIMessage:
    """One message of all chunks; calls whose arguments are not JSON are invalid, as LangChain has it."""
    first, last = chunks[0], chunks[-1]
    if len(chunks) == 2 and _is_text_alone(first) and not (last.content or last.tool_call_chunks):
        return AIMessage(
            content=first.content,
            additional_kwargs=last.additional_kwargs,
            usage_metadata=last.usage_metadata,
            response_metadata=last.response_metadata,
        )
    whole = first if len(chunks) == 1 else first + chunks[1:]
    return AIMessage(
        content=whole.content,
        additional_kwargs=whole.additional_kwargs,
        tool_calls=whole.tool_calls,
        invalid_tool_calls=whole.invalid_tool_calls,
        usage_metadata=whole.usage_metadata,
        response_metadata=whole.response_metadata,
    )


def _is_text_alone(chunk: AIMessageChunk) -> bool:
    return isinstance(chunk.content, str) and not (
        chunk.tool_call_chunks or chunk.response_metadata or chunk.additional_kwargs
    )
