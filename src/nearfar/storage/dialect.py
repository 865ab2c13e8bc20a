"""The same statements for SQLite and for Postgres, and the few things that differ between them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

_SCHEMA = (
    ("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("INTEGER", "BIGINT"),
    ("REAL", "DOUBLE PRECISION"),
    ("BLOB", "BYTEA"),
    (") WITHOUT ROWID", ")"),
)


class Statements(Protocol):
    """A connection to either of them. Parameters are written as ``?``."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Raises StorageError."""


class Opened(Statements, Protocol):
    """One that can be closed."""

    def close(self) -> None: ...


@contextmanager
def transaction(connection: Statements) -> Iterator[None]:
    """All of the block or nothing of it. Does not nest.

    SQLite: other writers wait from its start. Postgres: they wait where ``lock`` says so.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends the transaction by itself
            connection.execute("ROLLBACK")
        raise


def is_postgres(connection: Statements) -> bool:
    """Whether that is a connection to Postgres."""
    return getattr(connection, "is_postgres", False)


def lock(connection: Statements, name: str) -> None:
    """Until the transaction ends nobody else holds ``name``; SQLite's transactions are alone anyway."""
    if is_postgres(connection):
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (name,))


def unchanged(connection: Statements) -> str:
    """What a SELECT ends with so that its rows stay as they are until the transaction ends."""
    return " FOR SHARE" if is_postgres(connection) else ""


@lru_cache(maxsize=512)
def in_postgres(sql: str) -> str:
    """A statement that was written for SQLite."""
    if sql == "BEGIN IMMEDIATE":
        return "BEGIN"
    if sql.startswith(("CREATE TABLE", "ALTER TABLE")):
        for ours, theirs in _SCHEMA:
            sql = sql.replace(ours, theirs)
    return sql.replace("?", "%s")
