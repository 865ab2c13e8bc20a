"""Pools of connections that are whole again as soon as the server is.

psycopg's own wait longer from attempt to attempt, and between two broken connections that they find:
after several restarts half a minute.
"""

import os
import selectors
from typing import Any

from psycopg_pool import AsyncConnectionPool, ConnectionPool
from psycopg_pool.base import AttemptWithBackoff


class _Attempt(AttemptWithBackoff):
    INITIAL_DELAY = 0.2
    DELAY_BACKOFF = 1.2

    def update_delay(self, now: float) -> None:
        super().update_delay(now)
        self.delay = min(self.delay, 1.0)


class SteadyPool(ConnectionPool[Any]):
    """Hands out no connection that the server closed."""

    def getconn(self, timeout: float | None = None) -> Any:
        while True:
            raw = super().getconn(timeout)
            if not has_news(raw):
                return raw
            raw.close()
            self.putconn(raw)

    def _add_connection(self, attempt: Any, growing: bool = False) -> None:
        super()._add_connection(attempt or _Attempt(timeout=self.reconnect_timeout), growing)


class SteadyAsyncPool(AsyncConnectionPool[Any]):
    """The same for a loop. ``check`` is not needed, and not asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "check": None})

    async def getconn(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the pool's own
        while True:
            raw = await super().getconn(timeout)
            if not has_news(raw):
                return raw
            await raw.close()
            await self.putconn(raw)

    async def _add_connection(self, attempt: Any, growing: bool = False) -> None:
        await super()._add_connection(attempt or _Attempt(timeout=self.reconnect_timeout), growing)


def has_news(raw: Any) -> bool:
    """Whether the server said something to an idle connection, as when it ends; costs no question."""
    if raw.closed:
        return True
    with selectors.SelectSelector() if os.name == "nt" else selectors.PollSelector() as selector:
        selector.register(raw.fileno(), selectors.EVENT_READ)
        return bool(selector.select(0))
