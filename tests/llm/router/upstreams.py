"""Routers over two fault servers, in the wire shapes that users have."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable

from nearfar.llm.cloud import cloud_model
from nearfar.llm.router import Candidate, Capabilities, Router, RouterOptions
from nearfar.settings import ModelSettings
from nearfar.testing.fault_server import FaultServer

Kind = Literal["lean", "openai", "anthropic", "google", "ollama"]
Way = Literal["invoke", "stream", "ainvoke", "astream"]

PATIENT = RouterOptions(first_token_s=5, stall_s=5, deadline_s=20)
IMPATIENT = RouterOptions(first_token_s=2, stall_s=2, deadline_s=20)


def model_on(server: FaultServer, kind: Kind, name: str) -> BaseChatModel:
    """A chat model of that kind on a server, as settings make it."""
    common = {"model": name, "api_key": "none"}
    own = {
        "lean": {"provider": "openai-compatible", "base_url": server.openai_url},
        "openai": {"provider": "openai", "base_url": server.openai_url, "transport": "sdk"},
        "anthropic": {"provider": "anthropic", "base_url": server.anthropic_url},
        "google": {"provider": "google", "base_url": server.url},
        "ollama": {"provider": "ollama", "base_url": server.url},
    }[kind]
    return cloud_model(name, ModelSettings.model_validate({**common, **own}))


def candidate(server: FaultServer, kind: Kind, name: str, **takes: Any) -> Candidate:
    """A candidate under its model's name."""
    provider = "openai-compatible" if kind == "lean" else kind
    model = model_on(server, kind, name)
    return Candidate(name, model, provider=provider, takes=Capabilities(**takes))


def pair(
    first: FaultServer, second: FaultServer, kind: Kind = "lean", options: RouterOptions = PATIENT
) -> Router:
    """A router over two servers; the second model has the larger window."""
    return Router(
        candidates=[
            candidate(first, kind, "a", max_input_tokens=1_000),
            candidate(second, kind, "b", max_input_tokens=100_000),
        ],
        options=options,
    )


async def ask(model: Runnable[Any, AIMessage], way: Way, text: str = "x") -> AIMessage:
    """One request in one of the four ways; streams are merged."""
    if way == "ainvoke":
        return await model.ainvoke(text)
    if way == "invoke":
        return await asyncio.to_thread(model.invoke, text)
    if way == "astream":
        return merged([chunk async for chunk in _all(model, text)])
    return await asyncio.to_thread(lambda: merged(list(_stream(model, text))))


async def _all(model: Runnable[Any, AIMessage], text: str) -> AsyncIterator[AIMessageChunk]:
    async for chunk in model.astream(text):
        assert isinstance(chunk, AIMessageChunk)
        yield chunk


def _stream(model: Runnable[Any, AIMessage], text: str) -> Iterator[AIMessageChunk]:
    for chunk in model.stream(text):
        assert isinstance(chunk, AIMessageChunk)
        yield chunk


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """All chunks as one."""
    return chunks[0] if len(chunks) == 1 else chunks[0] + chunks[1:]
