"""Looks at the clock once a second, for as long as a Runner is open."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from nearfar.errors import StorageError

from .service import Schedules

PERIOD_S = 1.0

_log = logging.getLogger(__name__)


class Ticker:
    """A task that ticks, for the length of its block. It sleeps by the monotonic clock: the wall clock may be put at any time."""

    def __init__(
        self, schedules: Schedules, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._schedules = schedules
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._go())
        return self

    async def __aexit__(self, *_: object) -> None:
        """A run that is decided on and not begun is begun by the next tick, here or elsewhere."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _go(self) -> None:
        while True:
            try:
                await self._schedules.tick()
            except StorageError as error:
                _log.warning("the schedules cannot be read", extra={"reason": str(error)})
            except Exception:  # noqa: BLE001  # a worker boundary: other schedules' times must come
                _log.exception("a tick of the schedules failed")
            await self._sleep(PERIOD_S)
