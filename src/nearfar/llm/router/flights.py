"""Identical requests that are under way at the same time are one request with several listeners.

A flight runs on the portal's loop, so that it belongs to none of those who listen: they may be on any
event loop or thread, come later and hear all of it, or go away. It ends when nobody listens any more.
"""

import asyncio
import copy
import hashlib
import os
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import aclosing
from functools import partial
from typing import Any

from langchain_core.messages import AIMessageChunk

from nearfar.errors import NearfarError, RouterError
from nearfar.llm.cache import Asked, Uncacheable
from nearfar.llm.cache.keys import key_of
from nearfar.llm.portal import portal

from .gates import Request

Ask = Callable[[], AsyncGenerator[AIMessageChunk, None]]

_PURE = frozenset(
    {
        *("temperature", "top_p", "top_k", "seed", "stop", "grammar", "response_format"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
        *("tool_choice", "parallel_tool_calls", "reasoning_effort"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty"),
    }
)
"""Options that only shape the answer; any other may do something, or store something."""


def flight_key(request: Request, asked: Asked, *more: object) -> bytes | None:
    """What tells requests that may share an answer; None for one that goes alone.

    Alone go requests with options or tools that may do something at the provider's, and those that
    are sampled on purpose: several samples are then what is wanted.
    """
    tools_are_ours = all(tool.get("type") == "function" for tool in request.tools)
    if asked.is_sampled or not tools_are_ours or not _PURE.issuperset(request.options):
        return None
    try:
        exact = key_of(asked).exact
    except Uncacheable:
        return None
    return hashlib.sha256(exact + repr((request.priority, *more)).encode()).digest()


class Flights:
    """Those of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[bytes, _Flight] = {}

    async def join(self, key: bytes, ask: Ask) -> AsyncGenerator[AIMessageChunk, None]:
        """The chunks of the flight of that key, from its beginning; ``ask`` starts one if there is none."""
        with self._lock:
            flight = self._under_way.get(key)
            first = flight is None
            if flight is None:
                flight = self._under_way[key] = _Flight(partial(self._over, key))
            ear = flight.listen()
            if first:
                flight.start(ask)
        try:
            async with aclosing(flight.heard(ear)) as chunks:
                async for chunk in chunks:
                    yield _own(chunk, first=first)
        finally:
            with self._lock:
                if flight.is_left_by(ear):
                    self._drop(key, flight)
                    flight.cancel()

    def forget(self) -> None:
        """In a forked child nothing is under way."""
        self._lock = threading.Lock()
        self._under_way = {}

    def _over(self, key: bytes, flight: "_Flight") -> None:
        with self._lock:
            self._drop(key, flight)

    def _drop(self, key: bytes, flight: "_Flight") -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]


class _Ear:
    """One who listens, on an event loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.event.set)
        except RuntimeError:  # its loop is closed: nobody listens there
            return


class _Flight:
    def __init__(self, over: "Callable[[_Flight], None]") -> None:
        self._over = over
        self._ears: dict[_Ear, None] = {}
        self._chunks: list[AIMessageChunk] = []
        self._error: BaseException | None = None
        self._ended = False
        self._work: Future[None] | None = None

    def listen(self) -> _Ear:
        ear = _Ear()
        self._ears[ear] = None
        return ear

    def start(self, ask: Ask) -> None:
        self._work = portal.start(self._fly(ask))

    def is_left_by(self, ear: _Ear) -> bool:
        """Whether that was the last who listened, before the end."""
        self._ears.pop(ear, None)
        return not self._ears and not self._ended

    def cancel(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def heard(self, ear: _Ear) -> AsyncGenerator[AIMessageChunk, None]:
        """All chunks, those that came before too."""
        place = 0
        while True:
            ear.event.clear()
            ended = self._ended  # before the chunks are counted: none comes after the end
            while place < len(self._chunks):
                yield self._chunks[place]
                place += 1
            if ended:
                break
            await ear.event.wait()
        if self._error is not None:
            raise _again(self._error)

    async def _fly(self, ask: Ask) -> None:
        try:
            async with aclosing(ask()) as source:
                async for chunk in source:
                    self._chunks.append(chunk)
                    self._wake()
        except Exception as error:  # noqa: BLE001  (raised where the answer is listened to)
            self._error = error
        except asyncio.CancelledError:
            self._error = RouterError("The request was given up: the program is ending.")
            raise
        finally:
            self._over(self)
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        for ear in list(self._ears):
            ear.wake()


def _own(chunk: AIMessageChunk, *, first: bool) -> AIMessageChunk:
    """A copy for one listener; who did not start the flight did not pay for it either."""
    own = chunk.model_copy()
    receipt: dict[str, Any] | None = chunk.response_metadata.get("nearfar")
    if receipt is not None:
        mine = copy.deepcopy(receipt)
        if not first:
            mine |= {"coalesced": True, "cost_usd": 0.0}
        own.response_metadata = {**chunk.response_metadata, "nearfar": mine}
    return own


def _again(error: BaseException) -> BaseException:
    """An error of its own for each who gets it."""
    if not isinstance(error, NearfarError):
        return error
    own = copy.copy(error)
    own.__dict__.update(error.__dict__)
    own.data = copy.deepcopy(error.data)
    own.__cause__ = error.__cause__
    return own


flights = Flights()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=flights.forget)
