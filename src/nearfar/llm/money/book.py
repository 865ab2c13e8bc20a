"""The connection to the ledger: one for each process, whose writers never wait with a lock in hand.

A writer that finds the database busy gets ``Busy`` at once, so that an event loop can do something
else before it tries again.
"""

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nearfar.errors import DatabaseError
from nearfar.storage import connect, migrate, transaction

from .schema import MIGRATIONS, PART

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

PATIENCE_S = 30.0
"""How long a writer tries before the busy database is an error."""
_PAUSE_S = (0.0005, 0.004)


class Busy(Exception):  # noqa: N818  (control flow: try again)
    """Another process is writing."""


class Book:
    """Short transactions on the database at ``path``; opened at the first one. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def write_now(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction. Raises Busy when another process is writing."""
        with self._lock:
            connection = self._open()
            try:
                with transaction(connection):
                    return work(connection)
            except DatabaseError as error:
                raise _or_busy(error) from error

    def write(self, work: Work[T]) -> T:
        """As ``write_now``, waiting for other processes, in this thread."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.write_now(work)
            except Busy as busy:
                if time.monotonic() >= until:
                    raise _given_up(busy) from busy
            time.sleep(_pause())

    async def awrite(self, work: Work[T]) -> T:
        """As ``write``; the event loop goes on meanwhile. Each try takes about 0.1 ms."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.write_now(work)
            except Busy as busy:
                if time.monotonic() >= until:
                    raise _given_up(busy) from busy
            await asyncio.sleep(_pause())

    def read(self, work: Work[T]) -> T:
        """Run ``work`` without a transaction; readers never wait for writers."""
        with self._lock:
            return work(self._open())

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        with self._lock:
            self._shut()

    def before_fork(self) -> None:
        """SQLite's connections must not be open across a fork, not even unused ones."""
        self._lock.acquire()
        self._shut()

    def after_fork(self) -> None:
        """In the parent and in the child."""
        self._lock.release()

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_ledger(self.path)
            self._connection.execute("PRAGMA busy_timeout = 0")
        return self._connection


def open_ledger(path: Path) -> sqlite3.Connection:
    """A connection to the database, with the ledger's tables there."""
    connection = connect(path)
    try:
        migrate(connection, MIGRATIONS, part=PART)
    except BaseException:
        connection.close()
        raise
    return connection


def _or_busy(error: DatabaseError) -> Exception:
    busy = str(error.data.get("sqlite", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return Busy() if busy else error


def _given_up(busy: Busy) -> BaseException:
    return busy.__cause__ or busy


def _pause() -> float:
    return random.uniform(*_PAUSE_S)  # noqa: S311  (jitter, not a secret)
