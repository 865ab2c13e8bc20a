"""Runs a checked query where the database itself lets it only read."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from nearfar.errors import MissingPackageError, ToolFailedError, ToolTimeoutError

from . import _sql_names as names
from ._sql_check import PRAGMAS
from .limits import time_left

MAX_CELL = 10_000_000  # bytes of one value, for SQLite
_PROGRESS_STEPS = 5_000
_MAX_VIRTUAL = 100  # tables
_CONNECT_S = 10


@dataclass(frozen=True)
class Rows:
    """``more`` says that there were more rows than asked for."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


class Engine(Protocol):
    """A database that is asked."""

    @property
    def dialect(self) -> str:
        """What sqlglot calls its language."""
        ...

    @property
    def tables(self) -> str:
        """The query that lists tables and columns."""
        ...

    def query(self, sql: str, max_rows: int) -> Rows:
        """Run one checked query. Raises ToolFailedError, ToolTimeoutError."""
        ...


def engine_for(url: str, functions: Sequence[str]) -> Engine:
    """The engine for a database's URL."""
    scheme = urlsplit(url).scheme.split("+", 1)[0].casefold()
    if scheme == "sqlite":
        return SqliteEngine(Path(unquote(url.split("///", 1)[1])), tuple(functions))
    if scheme in ("postgresql", "postgres"):
        return PostgresEngine("postgresql:" + url.split(":", 1)[1])
    return OtherEngine(url, {"mariadb": "mysql", "mssql": "tsql"}.get(scheme, scheme))


@dataclass(frozen=True)
class SqliteEngine:
    """Opened read-only, with an authorizer that knows reading and the listed functions."""

    path: Path
    functions: tuple[str, ...] = ()
    dialect: str = "sqlite"
    tables: str = (
        "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )

    def query(self, sql: str, max_rows: int) -> Rows:
        """See Engine."""
        with contextlib.closing(self._open()) as connection:
            try:
                cursor = connection.execute(sql)
                columns = [one[0] for one in cursor.description or ()]
                rows = cursor.fetchmany(max_rows + 1)
            except sqlite3.Error as error:
                raise _sqlite_error(error) from None
        return Rows(columns, rows[:max_rows], len(rows) > max_rows)

    def _open(self) -> sqlite3.Connection:
        uri = f"file:{quote(self.path.absolute().as_posix())}?mode=ro"
        try:
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5
            )
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
        except sqlite3.Error as error:
            raise ToolFailedError(f"The database cannot be opened: {error}.") from None
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200)
        connection.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 100)
        connection.set_progress_handler(lambda: int(time_left() <= 0), _PROGRESS_STEPS)
        allowed = (
            names.FUNCTIONS["sqlite"]
            | names.BOMBS
            | {"->", "->>"}
            | {one.casefold() for one in self.functions}
        )
        _prepare_virtual_tables(connection)
        connection.set_authorizer(_Authorizer(allowed))
        return connection


def _prepare_virtual_tables(connection: sqlite3.Connection) -> None:
    """Declare them while that is still allowed: SQLite does so when one is first read."""
    with contextlib.suppress(sqlite3.Error):  # no database, which the query will say
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage = 0"
        ).fetchmany(_MAX_VIRTUAL)
        for name in ("json_each", "json_tree", *(one for (one,) in found)):
            quoted = name.replace('"', '""')
            with contextlib.suppress(sqlite3.Error):  # its module is not in this SQLite
                connection.execute(f'SELECT 1 FROM "{quoted}" LIMIT 0')  # noqa: S608  # a name, in quotes


class _Authorizer:
    """SQLite asks before it prepares anything."""

    def __init__(self, functions: frozenset[str]) -> None:
        self._functions = functions

    def __call__(
        self, action: int, one: str | None, two: str | None, _schema: str | None, _by: str | None
    ) -> int:
        fine = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
        if action == sqlite3.SQLITE_FUNCTION:
            fine = (two or "").casefold() in self._functions
        if action == sqlite3.SQLITE_PRAGMA:
            # data_version is what full-text search asks for by itself.
            fine = (one or "").casefold() in (*PRAGMAS, "data_version")
        return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY


def _sqlite_error(error: sqlite3.Error) -> Exception:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return ToolTimeoutError("The query took longer than it may.")
    return ToolFailedError("The database refused the query.", data={"quoted": str(error)})


@dataclass(frozen=True)
class PostgresEngine:
    """A read-only transaction with a time limit, and the protocol that takes one statement."""

    url: str = field(repr=False)
    dialect: str = "postgres"
    tables: str = (
        "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        " ORDER BY table_schema, table_name, ordinal_position"
    )

    def query(self, sql: str, max_rows: int) -> Rows:
        """See Engine."""
        import psycopg

        with self._open() as connection:
            rows: list[tuple[Any, ...]] = []
            cursor = connection.cursor()
            try:
                # Row by row, and by the extended protocol: a second statement is an error.
                with contextlib.closing(cursor.stream(sql.encode())) as stream:
                    for row in stream:
                        rows.append(row)
                        if len(rows) > max_rows:
                            break
                columns = [one.name for one in cursor.description or ()]
            except psycopg.errors.QueryCanceled:
                raise ToolTimeoutError("The query took longer than it may.") from None
            except psycopg.Error as error:
                raise ToolFailedError(
                    "The database refused the query.", data={"quoted": str(error)}
                ) from None
        return Rows(columns, rows[:max_rows], len(rows) > max_rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        psycopg = _import("psycopg", "postgres")
        limit_s = min(time_left(), 3600.0)
        try:
            connection = psycopg.connect(
                self.url, autocommit=True, connect_timeout=max(2, int(min(_CONNECT_S, limit_s)))
            )
        except psycopg.Error as error:
            raise ToolFailedError(
                "The database cannot be reached.", data={"quoted": str(error)}
            ) from None
        try:
            milliseconds = max(1, int(limit_s * 1000))
            for name, value in (
                ("statement_timeout", f"{milliseconds}ms"),
                ("lock_timeout", "2s"),
                ("idle_in_transaction_session_timeout", f"{milliseconds + 5000}ms"),
                ("default_transaction_read_only", "on"),
                ("standard_conforming_strings", "on"),
                ("jit", "off"),
            ):
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            connection.execute("BEGIN TRANSACTION READ ONLY")
            yield connection
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            connection.close()


@dataclass(frozen=True)
class OtherEngine:
    """Any database of SQLAlchemy's. Beyond the check of the query it relies on the account's rights."""

    url: str = field(repr=False)
    dialect: str = ""
    tables: str = (
        "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
        " ORDER BY table_schema, table_name, ordinal_position"
    )

    def query(self, sql: str, max_rows: int) -> Rows:
        """See Engine."""
        import sqlalchemy
        from sqlalchemy.exc import SQLAlchemyError

        try:
            engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.pool.NullPool)
            with engine.connect() as connection:
                if engine.dialect.name in ("mysql", "mariadb"):
                    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                with connection.begin() as transaction:
                    found = connection.execution_options(stream_results=True).exec_driver_sql(sql)
                    columns = list(found.keys())
                    rows = [tuple(row) for row in found.fetchmany(max_rows + 1)]
                    transaction.rollback()
        except ImportError as error:
            raise MissingPackageError(
                f"The database's driver is not installed: {error.name}.",
                remedy=f"Install the package {error.name}.",
                data={"package": error.name},
            ) from None
        except SQLAlchemyError as error:
            raise ToolFailedError(
                "The database refused the query.", data={"quoted": str(error)}
            ) from None
        return Rows(columns, rows[:max_rows], len(rows) > max_rows)


def _import(package: str, extra: str) -> Any:
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        raise MissingPackageError(
            f"The package {package} is needed for this and not installed.",
            remedy=f"Install nearfar[{extra}].",
            data={"package": package},
        ) from None
