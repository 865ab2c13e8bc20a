"""What belongs to an event loop, as pools of connections do: one for each loop, closed with it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_open: dict[tuple[int, asyncio.AbstractEventLoop], AsyncGenerator[Any, None]] = {}
"""What a loop is to close must not be collected before, whoever let go of it."""


class PerLoop(Generic[T]):
    """``make`` is awaited at the first use in a loop, ``close`` when that loop shuts down."""

    def __init__(
        self, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[object]]
    ) -> None:
        self._make = make
        self._close = close
        self._made: dict[asyncio.AbstractEventLoop, asyncio.Future[T]] = {}

    async def get(self) -> T:
        """The running loop's; those who come while it is made wait for the same one."""
        loop = asyncio.get_running_loop()
        task = self._made.get(loop)
        if task is None:
            # A loop that shuts down closes its asynchronous generators.
            keeper = _open[id(self), loop] = self._kept(loop)
            task = self._made[loop] = asyncio.ensure_future(anext(keeper))
        return task.result() if task.done() else await asyncio.shield(task)

    async def _kept(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[T, None]:
        try:
            made = await self._make()
            try:
                yield made
            finally:
                await self._close(made)
        finally:  # if it could not be made, the next one tries again
            del self._made[loop], _open[id(self), loop]
