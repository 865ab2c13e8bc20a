"""A router's requests through a cache: stored answers come back as streams do."""

import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration

from nearfar.errors import StorageError
from nearfar.llm.reply import as_chunk, joined

from .keys import Asked, Uncacheable
from .responses import Found, Hit, ResponseCache

Caching = Literal["use", "refresh", "bypass"]
"""``refresh``: do not look, but store the new answer; ``bypass``: neither."""
Ask = Callable[[], AsyncGenerator[AIMessageChunk, None]]
_WHOLE = frozenset({"stop", "tool_calls"})
_PIECE = re.compile(r"\s*\S+\s*$|\s*\S+|\s+$")
_log = logging.getLogger(__name__)


async def remembered(
    cache: ResponseCache,
    asked: Asked,
    ask: Ask,
    receipt: Callable[[str], dict[str, Any]],
    *,
    keep: Callable[[dict[str, Any]], None],
    caching: Caching = "use",
) -> AsyncGenerator[AIMessageChunk, None]:
    """The stored answer, or the one that ``ask`` gives, which is then stored if it is whole.

    ``receipt`` makes that of a hit, from the name of the candidate that answered once; ``keep`` stores
    receipts. A cache that cannot be used never fails a request.
    """
    found, why = await _look(cache, asked, caching)
    if found is not None and found.hit is not None:
        for chunk in replayed(found.hit, receipt(found.hit.candidate)):
            if chunk.chunk_position == "last":
                keep(chunk.response_metadata["nearfar"])
            yield chunk
        return
    chunks: list[AIMessageChunk] = []
    async with aclosing(ask()) as source:
        async for chunk in source:
            chunks.append(chunk)
            if chunk.chunk_position == "last" and "nearfar" in chunk.response_metadata:
                if found is not None:
                    why = await _store(cache, found, joined(chunks))
                chunk.response_metadata["nearfar"]["cache"] = _missed(cache, why)
                keep(chunk.response_metadata["nearfar"])
            yield chunk


def replayed(hit: Hit, receipt: dict[str, Any]) -> Iterator[AIMessageChunk]:
    """A stored answer as a stream: text word by word, then one chunk with usage and metadata."""
    generation = hit.generations[0]
    assert isinstance(generation, ChatGeneration)  # noqa: S101  (`_look` takes no other)
    message = generation.message
    assert isinstance(message, AIMessage)  # noqa: S101  (as above)
    told = {"hit": True, "kind": hit.kind, "age_s": round(hit.age_s, 3)}
    if hit.similarity is not None:
        told["similarity"] = round(hit.similarity, 4)
    whole = as_chunk(message)
    text = message.content if isinstance(message.content, str) else None
    for piece in _PIECE.findall(text or ""):
        yield AIMessageChunk(content=piece)
    if text is None or whole.tool_call_chunks or whole.additional_kwargs:
        yield AIMessageChunk(
            content=message.content if text is None else "",
            tool_call_chunks=whole.tool_call_chunks,
            additional_kwargs=whole.additional_kwargs,
        )
    usage: Any = message.usage_metadata
    yield AIMessageChunk(
        content="",
        # As LangChain marks what came from a cache: the tokens of then, and no cost now.
        usage_metadata=usage and {**usage, "total_cost": 0},
        response_metadata={**message.response_metadata, "nearfar": {**receipt, "cache": told}},
        chunk_position="last",
    )


async def _look(
    cache: ResponseCache, asked: Asked, caching: Caching
) -> tuple[Found | None, str | None]:
    """What the cache has; or None, and why it was not asked."""
    if (why := _kept_out(cache, asked, caching)) is not None:
        return None, why
    try:
        key = cache.key(asked)
        if caching == "refresh":
            return await cache.aunseen(key), None
        found = await cache.afind(key)
    except Uncacheable as reason:
        return None, str(reason)
    except StorageError as error:
        _log.warning("Cache %s is passed over: %s", cache.name, error.message)
        return None, f"{error.code}: the cache cannot be used"
    first = found.hit.generations[0] if found.hit and found.hit.generations else None
    if isinstance(first, ChatGeneration) and isinstance(first.message, AIMessage):
        return found, None
    return Found(found.key, turn=found.turn), None


def _kept_out(cache: ResponseCache, asked: Asked, caching: Caching) -> str | None:
    """Why the request is none of the cache's business."""
    if caching == "bypass":
        return "the caller bypasses the cache"
    if asked.private and not cache.is_near:
        return "the request is private, and the cache is on another machine"
    return None


async def _store(cache: ResponseCache, found: Found, message: AIMessage) -> str | None:
    """Store a whole answer; else the reason why it was not stored."""
    receipt = message.response_metadata["nearfar"]
    reason = _not_whole(message, receipt)
    if reason is not None:
        return reason
    metadata = {k: v for k, v in message.response_metadata.items() if k != "nearfar"}
    answer = [ChatGeneration(message=message.model_copy(update={"response_metadata": metadata}))]
    model, candidate = str(metadata.get("model_name", "")), str(receipt["answered_by"])
    try:
        stored = await cache.akeep(found, answer, model=model, candidate=candidate)
    except StorageError as error:
        _log.warning("Cache %s stored nothing: %s", cache.name, error.message)
        return f"{error.code}: the cache cannot be used"
    return None if stored else "the answer cannot be kept"


def _not_whole(message: AIMessage, receipt: dict[str, Any]) -> str | None:
    end = message.response_metadata.get("finish_reason")
    if end not in _WHOLE:
        return f"the answer ended by {end!r}"
    if message.invalid_tool_calls:
        return "a tool call is not JSON"
    if not (message.content or message.tool_calls):
        return "the answer is empty"
    if receipt.get("continued"):
        return "two models wrote the answer"
    return None


def _missed(cache: ResponseCache, why: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"hit": False, "kind": cache.options.kind, "stored": why is None}
    return told if why is None else {**told, "reason": why}
