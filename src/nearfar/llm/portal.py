"""The sync face of async code: one event loop in a thread of its own, for callers without a loop."""

import asyncio
import atexit
import os
import queue
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")
_Item = tuple[T, None] | tuple[None, BaseException] | None
"""An item, an error, or the end."""


class Portal:
    """Runs coroutines on a loop of its own and waits for them; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._closers: set[Callable[[], Awaitable[None]]] = set()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end; its error is raised here. Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run ``work`` without waiting for it; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    async def acall(self, work: Coroutine[Any, Any, T]) -> T:
        """As ``call``, from a coroutine on any loop; cancelling it cancels ``work``."""
        home = self._running()
        if home is asyncio.get_running_loop():
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, home))

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        """Yield from ``source``; leaving early closes it."""
        items: queue.SimpleQueue[_Item[T]] = queue.SimpleQueue()
        pump = asyncio.run_coroutine_threadsafe(_pump(source, items.put), self._running())
        try:
            while (item := items.get()) is not None:
                yield _unwrapped(item)
        finally:
            pump.cancel()

    async def aiterate(self, source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """As ``iterate``, from a coroutine on any loop."""
        home, here = self._running(), asyncio.get_running_loop()
        items: asyncio.Queue[_Item[T]] = asyncio.Queue()

        def put(item: _Item[T]) -> None:
            here.call_soon_threadsafe(items.put_nowait, item)

        if home is here:
            pump: Future[None] | asyncio.Task[None]
            pump = asyncio.create_task(_pump(source, items.put_nowait))
        else:
            pump = asyncio.run_coroutine_threadsafe(_pump(source, put), home)
        try:
            while (item := await items.get()) is not None:
                yield _unwrapped(item)
        finally:
            pump.cancel()

    def at_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Await ``closer`` on the loop before it stops: for pools of connections that live on it."""
        with self._lock:
            self._closers.add(closer)

    def close(self) -> None:
        """Stop the loop: what runs on it is cancelled, and connections that it holds are closed."""
        with self._lock:
            closers, self._closers = self._closers, set()
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_wind_up(closers), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="nearfar-portal", daemon=True
                )
                self._thread.start()
            return self._loop


async def _pump(source: AsyncGenerator[T, None], put: Callable[[_Item[T]], None]) -> None:
    """Carry ``source`` over to where ``put`` leads, its error and its end too."""
    try:
        async with aclosing(source):
            async for item in source:
                put((item, None))
    except Exception as error:  # noqa: BLE001  (it is raised where the items are read)
        put((None, error))
    else:
        put(None)


def _unwrapped(item: tuple[T, None] | tuple[None, BaseException]) -> T:
    value, error = item
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # without an error it is an item


async def _wind_up(closers: set[Callable[[], Awaitable[None]]]) -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.gather(*(closer() for closer in closers), return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


portal = Portal()
"""The one of this process. Its thread starts at the first use, and again in a forked child."""
atexit.register(portal.close)
