"""The journal in a SQLite file, for one loop: its statements run in a thread of their own."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from nearfar.storage.database import connect
from nearfar.storage.dialect import Statements, transaction
from nearfar.storage.migrations import migrate

from .holders import this_process
from .journal import Journal, Pulse, finished
from .leases import Watch
from .schema import MIGRATIONS, PART

T = TypeVar("T")


class SqliteJournal(Journal):
    """See Journal."""

    def __init__(self, path: Path, *, lease_s: float) -> None:
        super().__init__(Watch(this_process()), lease_s=lease_s)
        self.path = path
        self.name = str(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nearfar-journal")
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        try:
            self._connection = await self._in_thread(lambda: _open(self.path))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        connection = self._db
        await self._in_thread(connection.close)
        self._thread.shutdown(wait=False)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the journal is not open")
        return self._connection

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _write(self, call: Callable[[Statements], T]) -> T:
        def work() -> T:
            with transaction(self._db):
                return call(self._db)

        return await finished(self._in_thread(work))

    async def _read(self, call: Callable[[Statements], T]) -> T:
        return await self._in_thread(lambda: call(self._db))

    def pulse(self) -> Pulse:
        """See Journal."""
        return Pulse(lambda: connect(self.path), self.watch, self.lease_s)


def _open(path: Path) -> sqlite3.Connection:
    connection = connect(path, durable=True)
    try:
        migrate(connection, MIGRATIONS, part=PART)
    except BaseException:
        connection.close()
        raise
    return connection
