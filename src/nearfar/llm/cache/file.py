"""cache.db: one connection for each process, and a new file where the old one is damaged."""

import atexit
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nearfar.errors import DatabaseError
from nearfar.storage import connect, file_lock, migrate, transaction, writing
from nearfar.storage.database import database_errors

from .schema import MIGRATIONS, PART

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_MS = 2_000
"""A cache is not worth a long wait: after that the caller goes on without it."""
_REBUILD_WAIT_S = 10.0
_log = logging.getLogger(__name__)


def default_path() -> Path:
    """cache.db under the home folder, as NEARFAR_HOME says now."""
    from nearfar.settings import home

    return home() / "cache.db"


class CacheFile:
    """Runs work on the database at ``path``; thread-safe, and new in a forked child.

    What a cache holds can be asked anew, so a damaged file is replaced by an empty one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        _all.add(self)

    @classmethod
    def at(cls, path: Path) -> "CacheFile":
        """The one of this process for that file; opened at the first use."""
        absolute = path.absolute()
        with _opening:
            if absolute not in _open:
                _open[absolute] = cls(absolute)
            return _open[absolute]

    def read(self, work: Work[T]) -> T:
        """Run ``work``; readers do not wait for writers. Raises StorageError or a subclass."""
        with self._lock:
            try:
                return self._run(work)
            except DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._shut()
                self._rebuild()
                return self._run(work)

    def write(self, work: Work[T]) -> T:
        """Run ``work`` in one transaction. Raises StorageError or a subclass."""

        def whole(connection: sqlite3.Connection) -> T:
            with transaction(connection):
                return work(connection)

        return self.read(whole)

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        with self._lock:
            self._shut()

    def before_fork(self) -> None:
        """SQLite's connections must not be open across a fork."""
        self._lock.acquire()
        self._shut()

    def after_fork(self) -> None:
        """In the parent and in the child."""
        self._lock.release()

    def _run(self, work: Work[T]) -> T:
        if self._connection is None:
            self._connection = _opened(self.path)
        with database_errors(self.path):
            return work(self._connection)

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rebuild(self) -> None:
        """Put an empty file in the place of the damaged one, unless another process was quicker."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        with file_lock(lock, timeout_s=_REBUILD_WAIT_S):
            if _is_sound(self.path):
                return
            _log.warning("%s is damaged; an empty cache takes its place.", self.path)
            for ending in ("-wal", "-shm", ""):
                with writing(self.path):
                    self.path.with_name(self.path.name + ending).unlink(missing_ok=True)


def _opened(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        connection.execute("PRAGMA secure_delete = ON")  # what was cleared is gone from the file
        migrate(connection, MIGRATIONS, part=PART)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: DatabaseError) -> bool:
    name = str(error.data.get("sqlite", ""))
    return name == "SQLITE_NOTADB" or name.startswith("SQLITE_CORRUPT")


def _is_sound(path: Path) -> bool:
    try:
        connection = connect(path)
    except DatabaseError as error:
        if _is_damage(error):
            return False
        raise
    try:
        with database_errors(path):
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except DatabaseError as error:
        if _is_damage(error):
            return False
        raise
    finally:
        connection.close()
    return bool(found and found[0] == "ok")


_opening = threading.Lock()
_open: dict[Path, CacheFile] = {}
_all: "weakref.WeakSet[CacheFile]" = weakref.WeakSet()


def _close_all() -> None:
    for file in list(_all):
        file.close()


def _before_fork() -> None:
    for file in list(_all):
        file.before_fork()


def _after_fork() -> None:
    for file in list(_all):
        file.after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
