"""From settings to a checkpointer."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from nearfar.settings import Settings
from nearfar.storage.database import BUSY_TIMEOUT_S, connect, database_errors, database_path

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

Guard = Callable[[sqlite3.Connection, str], None]
"""Called in each write transaction, with its thread id, before anything is written; what it raises undoes it."""


@asynccontextmanager
async def open_saver(
    settings: Settings, *, guard: Guard | None = None
) -> "AsyncIterator[BaseCheckpointSaver[str]]":
    """The checkpointer of ``storage.url``, open for the length of the block."""
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    class Guarded(AsyncSqliteSaver):
        async def _begin(self, config: Any) -> None:
            if guard is not None:
                thread_id = str(config["configurable"]["thread_id"])
                await self.conn.execute("BEGIN IMMEDIATE")
                try:
                    await self.conn._execute(guard, self.conn._conn, thread_id)  # noqa: SLF001
                except BaseException:
                    await self.conn.rollback()
                    raise

        async def aput(self, config: Any, *rest: Any) -> Any:
            async with turn:
                await self._begin(config)
                return await super().aput(config, *rest)

        async def aput_writes(
            self, config: Any, writes: Sequence[Any], task_id: str, task_path: str = ""
        ) -> None:
            async with turn:
                await self._begin(config)
                await super().aput_writes(config, writes, task_id, task_path)

    turn = asyncio.Lock()
    path = database_path(settings)
    connect(path).close()  # makes it, with WAL, or says why that cannot be
    async with aiosqlite.connect(path, timeout=BUSY_TIMEOUT_S) as connection:
        saver = Guarded(connection)
        with database_errors(path):
            await connection.execute("PRAGMA synchronous = NORMAL")
            await saver.setup()
        yield saver
