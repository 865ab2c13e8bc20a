"""The consumer's end of one request: a sync and an async iterator over the same events."""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from nearfar.errors import NearfarError

from .protocol import Finish, GenerationRequest, TextChunk, Timings, Usage

Item = TextChunk | Finish
Event = TextChunk | Finish | NearfarError


class Ticket:
    """One request between the engine and its consumer."""

    def __init__(self, request: GenerationRequest, deliver: Callable[[Event], None]) -> None:
        self.request = request
        self.deliver = deliver  # called by the reader thread; must not block
        self.submitted = time.monotonic()
        self.sent = 0.0
        self.begun = False

    def text(self, text: str, ids: list[int]) -> None:
        """New text from the worker."""
        self.deliver(TextChunk(text, tuple(ids)))

    def done(self, frame: dict[str, Any]) -> Finish:
        """The end; waiting for the worker to start counts as waiting."""
        before = self.sent - self.submitted
        queue_s, prefill_s, first_token_s, decode_s = frame["timings"]
        return Finish(
            reason=frame["reason"],
            stop_string=frame["stop_string"],
            usage=Usage(*frame["usage"]),
            timings=Timings(before + queue_s, prefill_s, before + first_token_s, decode_s),
        )


class _Stream:
    """What both iterators share. Dropping one cancels its request, as closing does."""

    def __init__(
        self,
        request: GenerationRequest,
        submit: Callable[[Ticket], int],
        cancel: Callable[[int], None],
    ) -> None:
        self._request = request
        self._submit = submit
        self._cancel = cancel
        self._number: int | None = None
        self._over = False

    def _begin(self, deliver: Callable[[Event], None]) -> None:
        self._number = self._submit(Ticket(self._request, deliver))

    def _stop(self) -> None:
        if not self._over:
            self._over = True
            if self._number is not None:
                self._cancel(self._number)

    def _pass_on(self, event: Event) -> Item:
        if isinstance(event, NearfarError):
            self._over = True
            raise event
        if isinstance(event, Finish):
            self._over = True
        return event

    def __del__(self) -> None:
        self._stop()


class SyncStream(_Stream):
    """For ``for``: blocks the calling thread, not the interpreter."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        if self._over:
            raise StopIteration
        if self._number is None:
            self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
            self._begin(self._events.put)
        while True:
            try:
                # With a limit, because Windows lets no Ctrl-C through to a wait without one.
                return self._pass_on(self._events.get(timeout=0.5))
            except queue.Empty:
                continue

    def close(self) -> None:
        """Cancel the request, if it still runs."""
        self._stop()


class AsyncStream(_Stream):
    """For ``async for``: belongs to the event loop of its first step."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        if self._over:
            raise StopAsyncIteration
        if self._number is None:
            self._mailbox = _Mailbox(asyncio.get_running_loop())
            self._begin(self._mailbox.put)
        try:
            event = await self._mailbox.get()
        except asyncio.CancelledError:
            self._stop()
            raise
        return self._pass_on(event)

    async def aclose(self) -> None:
        """Cancel the request, if it still runs."""
        self._stop()


class _Mailbox:
    """From the reader thread to a loop; many events cost one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: deque[Event] = deque()
        self._lock = threading.Lock()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            try:
                self._loop.call_soon_threadsafe(_wake, waiter)
            except RuntimeError:
                return  # the loop is closed, and with it the consumer

    async def get(self) -> Event:
        with self._lock:
            if self._events:
                return self._events.popleft()
            waiter = self._waiter = self._loop.create_future()
        await waiter
        return self._events.popleft()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
