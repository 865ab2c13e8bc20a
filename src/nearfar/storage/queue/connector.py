"""Procrastinate over Postgres: its tables are made, and it outlives a restart of the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

from nearfar.storage.pools import SteadyAsyncPool
from nearfar.storage.postgres import WAIT_S, postgres_errors

from .tables import make_tables

CONNECTIONS = 4
_PAUSE_S = 0.25
_RAISED = "P0001"  # by a function of Procrastinate's


class PatientConnector(PsycopgConnector):
    """Waits for a server that restarts, instead of ending the worker.

    What was asked may have been done before the connection broke. Procrastinate's statements can
    all be repeated: a job that is finished already says so, one that is queued already is refused,
    and one that was fetched in vain is found by who looks after the tickets.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.patient = True
        """Off while the program ends: then nothing is waited for."""

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        try:
            await self._patiently(super().execute_query_async, query, arguments)
        except ConnectorException as error:
            if getattr(error.__cause__, "sqlstate", None) != _RAISED:
                raise

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self._patiently(
            super().execute_query_one_async, query, arguments
        )
        return found

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._patiently(
            super().execute_query_all_async, query, arguments
        )
        return found

    async def listen_notify(self, on_notification: Any, channels: Iterable[str]) -> None:
        heard = list(channels)
        while True:
            try:
                await super().listen_notify(on_notification, heard)
            except ConnectorException:
                await asyncio.sleep(_PAUSE_S)

    async def _patiently(
        self, ask: Callable[..., Awaitable[Any]], query: Any, arguments: dict[str, Any]
    ) -> Any:
        while True:
            try:
                return await ask(query, **arguments)
            except ConnectorException as error:
                if not (self.patient and is_lost(error.__cause__)):
                    raise
            await asyncio.sleep(_PAUSE_S)


def is_lost(error: BaseException | None) -> bool:
    """Whether the server is away, against having refused a statement."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


@asynccontextmanager
async def open_app(url: str) -> AsyncIterator[App]:
    """Procrastinate with its tables made, open for the length of the block. Raises StorageError."""
    connector = PatientConnector(
        pool_factory=SteadyAsyncPool,
        conninfo=url,
        min_size=1,
        max_size=CONNECTIONS,
        timeout=WAIT_S,
        kwargs={"connect_timeout": 10},
    )
    app = App(connector=connector)
    with postgres_errors():  # a server that is not there is told at once
        await (await psycopg.AsyncConnection.connect(url, connect_timeout=10)).close()
    with postgres_errors():
        await app.open_async()
    try:
        with postgres_errors():
            async with connector.pool.connection() as connection:
                await make_tables(connection)
        yield app
    finally:
        connector.patient = False
        await app.close_async()
