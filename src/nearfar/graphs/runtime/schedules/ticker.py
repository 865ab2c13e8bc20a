"""Looks at the clock once a second, for as long as a Runner is open."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nearfar.errors import StorageError

from .service import Schedules

PERIOD_S = 1.0

_log = logging.getLogger(__name__)


class Ticker:
    """A task that ticks. It sleeps by the monotonic clock: the wall clock may be put at any time."""

    def __init__(
        self, schedules: Schedules, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._schedules = schedules
        self._sleep = sleep

    def open(self) -> None:
        """Begin, in the running loop."""
        self._task = asyncio.create_task(self._go())

    async def close(self) -> None:
        """Stop; a run that is decided on is started by the next tick, here or elsewhere."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _go(self) -> None:
        while True:
            try:
                await self._schedules.tick()
            except StorageError as error:
                _log.warning("the schedules cannot be read", extra={"reason": str(error)})
            except Exception:  # a worker boundary: the other schedules' next times must come
                _log.exception("a tick of the schedules failed")
            await self._sleep(PERIOD_S)
