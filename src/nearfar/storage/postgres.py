"""Connections to Postgres that take the statements written for SQLite."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nearfar.errors import DatabaseError, DiskFullError, MissingPackageError
from nearfar.settings import Settings

from .dialect import in_postgres

if TYPE_CHECKING:
    import asyncio

    import psycopg
    from psycopg_pool import ConnectionPool

NAME = "postgresql"
"""What errors name in the place of a file; the URL may hold a password."""
WAIT_S = 30.0  # for a connection, while the server restarts
_BUSY = (1, 2, 3)  # libpq: a statement runs, in a transaction, in a failed one


def postgres_url(settings: Settings) -> str | None:
    """``storage.url`` where that is a Postgres; None for SQLite. Raises MissingPackageError."""
    url = settings.storage.url
    if url is None or urlsplit(url).scheme not in ("postgresql", "postgres"):
        return None
    try:
        import psycopg  # noqa: F401
        import psycopg_pool  # noqa: F401
    except ImportError:
        raise MissingPackageError(
            "storage.url names a Postgres, and the packages for it are not installed.",
            remedy="pip install 'nearfar[postgres]'",
            data={"package": "psycopg"},
        ) from None
    return url


def loop_factory(settings: Settings) -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """What makes an event loop that psycopg works on: on Windows not the usual one. None: any."""
    if os.name == "nt" and (settings.storage.url or "").startswith("postgres"):
        import asyncio

        return asyncio.SelectorEventLoop
    return None


class PostgresConnection:
    """A connection of psycopg's; each statement stands alone unless ``transaction`` joins several."""

    is_postgres = True

    def __init__(self, raw: "psycopg.Connection[Any]") -> None:
        self.raw = raw

    @property
    def in_transaction(self) -> bool:
        return self.raw.info.transaction_status in _BUSY

    def execute(self, sql: str, parameters: Any = (), /) -> "psycopg.Cursor[Any]":
        """Raises DatabaseError, DiskFullError."""
        query: Any = in_postgres(sql)
        with postgres_errors():
            return self.raw.execute(query, parameters or None)

    def close(self) -> None:
        """Hang up."""
        self.raw.close()


def connect_postgres(url: str) -> PostgresConnection:
    """A connection of its own. Raises DatabaseError when the server cannot be reached."""
    import psycopg

    with postgres_errors():
        return PostgresConnection(psycopg.connect(url, autocommit=True, connect_timeout=10))


def open_pool(url: str, most: int) -> "ConnectionPool[psycopg.Connection[Any]]":
    """A pool with one connection made. Raises DatabaseError when the server cannot be reached.

    Connections that a restart of the server broke are found out before they are handed out.
    """
    from .pools import SteadyPool

    pool = SteadyPool(
        url,
        min_size=1,
        max_size=most,
        open=False,
        timeout=WAIT_S,
        kwargs={"autocommit": True},
    )
    connect_postgres(url).close()  # a server that is not there is told at once
    with postgres_errors():
        pool.open(wait=True, timeout=WAIT_S)
    return pool


class ServerClock:
    """The server's clock, which all machines share, read through this machine's monotonic one."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def set(self, connection: PostgresConnection) -> None:
        """Ask the server."""
        query = "SELECT extract(epoch FROM clock_timestamp())::float8"
        row = connection.execute(query).fetchone()
        assert row is not None  # noqa: S101  (a SELECT without FROM gives one row)
        self._ahead = row[0] - time.monotonic()


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Turn psycopg's operational errors into ours; broken constraints and programs stay its own."""
    import psycopg
    from psycopg_pool import PoolClosed, PoolTimeout

    try:
        yield
    except (psycopg.IntegrityError, psycopg.ProgrammingError):
        raise
    except (psycopg.Error, PoolTimeout, PoolClosed, OSError) as error:
        state = getattr(error, "sqlstate", None)
        data = {"path": NAME, "sqlstate": state}
        if state in ("53100", "53200"):  # disk full, out of memory
            raise DiskFullError(
                "Postgres has no space left.",
                remedy="Free some space on the server.",
                data=data,
            ) from error
        raise DatabaseError(
            f"Postgres could not be reached or refused: {type(error).__name__}.",
            remedy="Check storage.url and the server.",
            data=data,
        ) from error
