"""From the engine's text to LangChain messages, whole and in chunks."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import (
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.json import parse_partial_json

from .dialects import (
    CallArgsDelta,
    CallEnd,
    CallStart,
    Dialect,
    Event,
    StreamParser,
    TextDelta,
    fold,
)
from .protocol import Finish, TextChunk


class Reply:
    """One reply as it comes in; ``chunks`` for a stream, ``result`` for the whole.

    ``dialect`` is None where no tools may be called: then all is text. ``provider`` tells where
    the model runs, asked when the reply is over.
    """

    def __init__(
        self, dialect: Dialect | None, model_name: str, provider: Callable[[], str | None]
    ) -> None:
        self._parser: StreamParser | None = dialect.stream_parser() if dialect else None
        self._model_name = model_name
        self._provider = provider
        self._events: list[Event] = []
        self._args: dict[int, str] = {}
        self._finish: Finish | None = None

    def take(self, item: TextChunk | Finish) -> list[Event]:
        """Note what the engine gave, and return what it makes certain."""
        if isinstance(item, Finish):
            self._finish = item
            events = self._parser.close() if self._parser else []
        elif self._parser:
            events = self._parser.feed(item.text)
        else:
            events = [TextDelta(item.text)] if item.text else []
        self._events += events
        return events

    def chunks(self, item: TextChunk | Finish) -> Iterator[ChatGenerationChunk]:
        """Chunks for what the engine gave; the last holds usage and metadata, and only that."""
        for event in self.take(item):
            chunk = self._chunk(event)
            if chunk is not None:
                yield ChatGenerationChunk(message=chunk)
        if isinstance(item, Finish):
            last = AIMessageChunk(
                content="",
                usage_metadata=_usage(item),
                response_metadata=self._metadata(item),
                chunk_position="last",
            )
            yield ChatGenerationChunk(message=last)

    def result(self) -> ChatResult:
        """The whole reply. Calls that the output cut off are among ``invalid_tool_calls``."""
        assert self._finish is not None  # noqa: S101  # the engine's stream ends with it, or raises
        output = fold(self._events)
        message = AIMessage(
            content=output.text,
            tool_calls=[tool_call(name=c.name, args=c.args, id=c.id) for c in output.calls],
            invalid_tool_calls=[
                invalid_tool_call(name=c.name, args=c.args, id=c.id, error=c.error)
                for c in output.invalid_calls
            ],
            usage_metadata=_usage(self._finish),
            response_metadata=self._metadata(self._finish),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _chunk(self, event: Event) -> AIMessageChunk | None:
        match event:
            case TextDelta():
                return AIMessageChunk(content=event.text)
            case CallStart():
                self._args[event.index] = ""
                part = tool_call_chunk(
                    name=event.name or "", args="", id=event.id, index=event.index
                )
            case CallArgsDelta():
                self._args[event.index] += event.text
                part = tool_call_chunk(args=event.text, index=event.index)
            case CallEnd():
                if event.error is None:
                    return None
                part = tool_call_chunk(args=_spoiler(self._args[event.index]), index=event.index)
        return AIMessageChunk(content="", tool_call_chunks=[part])

    def _metadata(self, finish: Finish) -> dict[str, Any]:
        return {
            "model_name": self._model_name,
            "finish_reason": self._reason(finish),
            "provider": "local",
            "execution_provider": self._provider(),
            "timings": {name: round(value, 6) for name, value in asdict(finish.timings).items()},
        }

    def _reason(self, finish: Finish) -> str:
        if finish.reason == "length":
            return "length"
        called = any(isinstance(event, CallStart) for event in self._events)
        return "tool_calls" if called else "stop"


def _usage(finish: Finish) -> UsageMetadata:
    usage = finish.usage
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_tokens),
    )


def _spoiler(args: str) -> str:
    """What makes the arguments of a broken call unreadable even to a lenient reader.

    LangChain mends JSON that ends too early when it merges chunks, so that a call which the
    token limit cut off would pass as whole.
    """
    for ending in ("]", '"]', '\\"]'):
        try:
            mended = parse_partial_json(args + ending)
        except json.JSONDecodeError:
            return ending
        if not isinstance(mended, dict):
            return ending
    return "\0"
