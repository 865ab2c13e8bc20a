"""One try of one candidate: its stream, its limits, and whether what came is whole."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableBinding

from nearfar.errors import UpstreamTimeoutError
from nearfar.llm.reply import Ending, ReplyReader, as_chunk

from .candidate import Candidate
from .gates import Request
from .patience import in_time
from .rendering import known_tools, tool_name

Arrived = ChatGenerationChunk | list[AIMessageChunk] | Ending
"""What models give: LangChain's chunks one by one, or chunks that came together, and the end."""


@dataclass(frozen=True)
class Limits:
    """Seconds: until the first token, between two chunks, and the moment (loop time) when all ends."""

    first_token_s: float
    stall_s: float
    deadline: float


class Attempt:
    """Streams one candidate's reply.

    The router reads upstreams as streams even for ``invoke``, so that silence is noticed.
    """

    def __init__(
        self, candidate: Candidate, request: Request, limits: Limits, *, gather: bool = False
    ) -> None:
        """``gather``: nobody sees the pieces, and a model that can may put together what it has."""
        self.candidate = candidate
        self._gather = gather
        self.request = request
        self.limits = limits
        self.reply = ReplyReader(candidate.origin)
        self.first_token_s: float | None = None
        self.without: list[str] = []
        """Tools that only another provider has."""
        self.started = time.monotonic()
        self._asked = self.started

    async def arrivals(
        self, messages: Sequence[BaseMessage]
    ) -> AsyncGenerator[list[AIMessageChunk], None]:
        """Content chunks as they come, without usage and metadata; raises a NearfarError for every fault."""
        source: AsyncIterator[Arrived] | None = None
        try:
            source = self._source(await self._prepare(), list(messages))
            while True:
                try:
                    arrived = await in_time(anext(source), self._until)
                except StopAsyncIteration:
                    break
                if chunks := self._content(arrived):
                    if self.first_token_s is None:
                        self.first_token_s = time.monotonic() - self._asked
                    yield chunks
        except TimeoutError as error:
            raise self._too_slow() from error
        except Exception as error:
            begun = self.first_token_s is not None
            raise self.candidate.origin.from_exception(error, begun=begun) from error
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
        self.reply.check_whole()

    def _content(self, arrived: Arrived) -> list[AIMessageChunk]:
        if isinstance(arrived, Ending):
            self.reply.note(arrived)
            return []
        if isinstance(arrived, ChatGenerationChunk):
            chunk = self.reply.take(arrived)
            return [] if chunk is None else [chunk]
        return [chunk for message in arrived if (chunk := self.reply.content(message))]

    async def _prepare(self) -> BaseChatModel:
        """The model that does the work; imports and loading count against the deadline, not as the
        upstream's silence.
        """
        model = self.candidate.model
        # Asked of the class: pydantic's own way of saying that an instance lacks a name is slow.
        prepare = getattr(type(model), "aprepare", None)
        if prepare is not None:
            async with asyncio.timeout_at(self.limits.deadline):
                model = await prepare(model) or model
        self._asked = time.monotonic()
        return model

    def _source(
        self, prepared: BaseChatModel, messages: list[BaseMessage]
    ) -> AsyncIterator[Arrived]:
        model, options = self._bound()
        if model is self.candidate.model:
            model = prepared
        stop = options.pop("stop", None)
        own = getattr(type(model), "arrivals", None)
        if own is not None:
            arrivals: AsyncIterator[Arrived] = own(
                model, messages, stop, options, gather=self._gather
            )
            return arrivals
        if _streams(model):
            return model._astream(messages, stop=stop, **options)  # noqa: SLF001
        return _at_once(model, messages, stop, options)

    def _bound(self) -> tuple[BaseChatModel, dict[str, Any]]:
        """The model below ``invoke``, and the options in the words of its own provider."""
        options = dict(self.request.options)
        model = self.candidate.model
        if not self.request.tools:
            return model, options
        choice = options.pop("tool_choice", None)
        tools = known_tools(self.request.tools, self.candidate.provider)
        self.without = [tool_name(tool) for tool in self.request.tools if tool not in tools]
        if not tools:
            return model, options
        extra: dict[str, Any] = {} if choice is None else {"tool_choice": choice}
        bound = model.bind_tools(tools, **extra)
        if isinstance(bound, RunnableBinding) and isinstance(bound.bound, BaseChatModel):
            return bound.bound, {**bound.kwargs, **options}
        return model, {**options, "tools": tools, **extra}

    def _until(self) -> float:
        now = asyncio.get_running_loop().time()
        if self.first_token_s is None:
            limit = now + self.limits.first_token_s - (time.monotonic() - self._asked)
        else:
            limit = now + self.limits.stall_s
        return min(limit, self.limits.deadline)

    def _too_slow(self) -> Exception:
        fault = "first_token" if self.first_token_s is None else "stall"
        words = {
            "first_token": f"no token within {self.limits.first_token_s:g} s",
            "stall": f"nothing more for {self.limits.stall_s:g} s",
        }[fault]
        return self.candidate.origin.error(UpstreamTimeoutError, words, fault)


async def _at_once(
    model: BaseChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None,
    options: dict[str, Any],
) -> AsyncGenerator[Arrived, None]:
    result = await model._agenerate(messages, stop=stop, **options)  # noqa: SLF001
    yield ChatGenerationChunk(message=as_chunk(result.generations[0].message))


def _streams(model: BaseChatModel) -> bool:
    own = type(model)
    return (
        own._astream is not BaseChatModel._astream  # noqa: SLF001
        or own._stream is not BaseChatModel._stream  # noqa: SLF001
    )
