"""The journal in Postgres: the same statements, in threads with a connection each."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from nearfar.storage.dialect import Statements, transaction
from nearfar.storage.migrations import Migration, migrate
from nearfar.storage.postgres import (
    NAME,
    PostgresConnection,
    ServerClock,
    connect_postgres,
    open_pool,
    postgres_errors,
)

from .holders import this_process
from .journal import Journal, Pulse, finished
from .leases import Watch
from .schema import MIGRATIONS, PART

T = TypeVar("T")

_CONNECTIONS = 4
_MACHINES = (
    Migration.sql(
        "fences without a row to wait for, and the processes that work on queued runs",
        "CREATE SEQUENCE fence_numbers",
        # workflows: those that it takes, as JSON; NULL: all. seen: seconds by the server's clock.
        "CREATE TABLE workers (holder TEXT PRIMARY KEY, slots INTEGER NOT NULL, workflows TEXT,"
        " length_s REAL NOT NULL, seen REAL NOT NULL)",
    ),
)
_ALIVE = "SELECT 1 FROM workers WHERE seen + 2 * length_s > extract(epoch FROM clock_timestamp()) LIMIT 1"


class PostgresJournal(Journal):
    """See Journal. A call waits for a server that restarts."""

    name = NAME

    def __init__(self, url: str, *, lease_s: float) -> None:
        self._clock = ServerClock()
        super().__init__(Watch(this_process(), self._clock, shared=True), lease_s=lease_s)
        self._url = url
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="nearfar-journal")
        self._opened: Any = None

    async def __aenter__(self) -> Self:
        try:
            self._opened = await self._in_thread(self._open)
        except BaseException:
            self._threads.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._in_thread(self._opened.close)
        self._threads.shutdown(wait=False)

    def _open(self) -> Any:
        pool = open_pool(self._url, _CONNECTIONS)
        try:
            with postgres_errors(), pool.connection() as raw:
                connection = PostgresConnection(raw)
                migrate(connection, MIGRATIONS, part=PART)
                migrate(connection, _MACHINES, part="machines")
                self._clock.set(connection)
        except BaseException:
            pool.close()
            raise
        return pool

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _write(self, call: Callable[[Statements], T]) -> T:
        def work() -> T:
            with postgres_errors(), self._opened.connection() as raw:
                connection = PostgresConnection(raw)
                with transaction(connection):
                    return call(connection)

        return await finished(self._in_thread(work))

    async def _read(self, call: Callable[[Statements], T]) -> T:
        def work() -> T:
            with postgres_errors(), self._opened.connection() as raw:
                return call(PostgresConnection(raw))

        return await self._in_thread(work)

    async def is_queued(self) -> bool:
        """See Journal."""
        return await self._read(lambda db: db.execute(_ALIVE).fetchone()) is not None

    def pulse(self) -> Pulse:
        """See Journal."""

        def connect() -> PostgresConnection:
            connection = connect_postgres(self._url)
            self._clock.set(connection)
            return connection

        return Pulse(connect, self.watch, self.lease_s)
