"""SQLite connections, all with the same settings."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from nearfar.errors import DatabaseError, DiskFullError, StorageError

from .dialect import transaction
from .files import writing

if TYPE_CHECKING:
    from nearfar.settings import Settings

__all__ = ["connect", "database_errors", "database_path", "transaction"]

BUSY_TIMEOUT_S = 30.0  # how long a writer waits for another one


class Connection(sqlite3.Connection):
    """Raises our errors from its calls; ``path`` is the database's file."""

    path: Path

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        with database_errors(self.path):
            return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        with database_errors(self.path):
            return super().executemany(sql, parameters)


def database_path(settings: "Settings") -> Path:
    """The file of ``storage.url``; by default, and beside a Postgres, nearfar.db under the home folder."""
    url = settings.storage.url
    if url is None or not url.startswith("sqlite:///"):
        from nearfar.settings import home

        return home() / "nearfar.db"
    return Path(unquote(url.removeprefix("sqlite:///")))


def connect(path: Path, *, durable: bool = False, read_only: bool = False) -> sqlite3.Connection:
    """Open (unless ``read_only``: or make) the database at ``path``.

    WAL, foreign keys, and a writer waits ``BUSY_TIMEOUT_S`` for another. ``durable`` survives a
    power cut with every commit, at about 0.2 ms each; without it the last commits can be lost, but
    never torn. Each statement stands alone unless ``transaction`` joins several. Usable from any thread, one at a time.
    Raises DatabaseError, DiskFullError or StorageError.
    """
    if read_only and not path.is_file():
        raise DatabaseError(f"There is no database {path}.", data={"path": str(path)})
    if not read_only:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    mode = "ro" if read_only else "rwc"
    uri = f"file:{quote(path.absolute().as_posix())}?mode={mode}"
    with database_errors(path):
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,  # no hidden BEGIN: transactions stand where one can see them
            check_same_thread=False,
            factory=Connection,
        )
    connection.path = path
    try:
        _prepare(connection, durable=durable, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, *, durable: bool, read_only: bool) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # reads the header


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn sqlite3's operational errors into ours; broken constraints stay sqlite3's own."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        raise _translate(error, path) from error


def _translate(error: sqlite3.DatabaseError, path: Path) -> StorageError:
    name = getattr(error, "sqlite_errorname", "")
    data = {"path": str(path), "sqlite": name}
    if name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"):  # the second: beside the file itself
        return DiskFullError(f"{path} cannot be written: no space is left on its disk.", data=data)
    if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT") or name.startswith("SQLITE_CORRUPT_"):
        return DatabaseError(
            f"{path} is damaged or is no SQLite database.",
            remedy="Put a backup in its place, or move the file away to start anew.",
            data=data,
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return DatabaseError(
            f"{path} cannot be opened for writing.",
            remedy="Check the rights of the file and of its folder, or set NEARFAR_HOME.",
            data=data,
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseError(
            f"{path} was busy for {BUSY_TIMEOUT_S:g} s: another program writes to it.",
            remedy="Wait until the other program is done.",
            data=data,
        )
    return DatabaseError(
        f"{path}: the database refused: {error}.",
        remedy="`nearfar doctor` checks the disk and the home folder.",
        data=data,
    )
