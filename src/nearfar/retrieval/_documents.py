"""The texts and metadata of a store, and the list of its files, in one SQLite database.

A document has a row number that is never used twice: an id that is written again gets a new row.
Nothing is on the disk before ``commit``; it makes texts and the list of files change in one step.
"""

import hashlib
import json
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.errors import DatabaseError, IndexDamagedError
from nearfar.storage import Migration, connect, migrate

_AT_ONCE = 500  # parameters in one statement; old SQLite libraries take 999
_MIGRATIONS = (
    Migration.sql(
        "store",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE segments (name TEXT PRIMARY KEY, first INTEGER NOT NULL, files TEXT NOT NULL)"
        " WITHOUT ROWID",
        "CREATE TABLE documents (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
        " content BLOB NOT NULL, metadata TEXT NOT NULL, digest BLOB NOT NULL)",
    ),
)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept."""

    row: int
    id: str
    content: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a segment, and what it must be."""

    name: str
    bytes: int
    sha256: str


class Documents:
    """The database. Calls must not overlap: the owner has a lock."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        with self._watched():
            if path is None:
                self._connection = sqlite3.connect(
                    ":memory:", isolation_level=None, check_same_thread=False
                )
            else:
                self._connection = connect(path, durable=True)
            try:
                migrate(self._connection, _MIGRATIONS)
            except BaseException:
                self._connection.close()
                raise

        self._closer = weakref.finalize(self, self._connection.close)

    def close(self) -> None:
        """What was not committed is gone. Also done when the object is."""
        self._closer()

    @property
    def writing(self) -> bool:
        """Whether there is something to commit."""
        return self._connection.in_transaction

    def begin(self) -> None:
        """Start to write."""
        with self._watched():
            self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make everything since ``begin`` last."""
        with self._watched():
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Forget everything since ``begin``."""
        if self._connection.in_transaction:  # an error may have ended it
            self._connection.execute("ROLLBACK")

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inside ``begin``: all of the block or nothing of it."""
        with self._watched():
            self._connection.execute("SAVEPOINT step")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK TO step")
                    self._connection.execute("RELEASE step")
                raise
            self._connection.execute("RELEASE step")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What the block reads belongs together."""
        if self._connection.in_transaction:
            yield
            return
        with self._watched():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def version(self) -> int:
        """Changes when another connection has committed."""
        with self._watched():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def fact(self, name: str) -> str | None:
        """A fact about the store."""
        found = self._all("SELECT value FROM facts WHERE name = ?", (name,))
        return str(found[0][0]) if found else None

    def set_fact(self, name: str, value: str) -> None:
        """Keep a fact about the store."""
        with self._watched():
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def segments(self) -> dict[str, tuple[StoredFile, ...]]:
        """The files of each segment, in the order of their rows."""
        return {
            name: tuple(StoredFile(**file) for file in json.loads(files))
            for name, files in self._all("SELECT name, files FROM segments ORDER BY first")
        }

    def set_segments(self, segments: Iterable[tuple[str, int, Sequence[StoredFile]]]) -> None:
        """Replace the list: name, first row, files."""
        rows = [
            (name, first, json.dumps([_file_json(file) for file in files]))
            for name, first, files in segments
        ]
        with self._watched():
            self._connection.execute("DELETE FROM segments")
            self._connection.executemany("INSERT INTO segments VALUES (?, ?, ?)", rows)

    def next_row(self) -> int:
        """The row number that the next document gets."""
        found = self._all("SELECT seq FROM sqlite_sequence WHERE name = 'documents'")
        return int(found[0][0]) + 1 if found else 1

    def rows(self) -> list[int]:
        """All row numbers, ascending."""
        return [row for (row,) in self._all("SELECT row FROM documents ORDER BY row")]

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The row of each id that is there."""
        return {
            id_: row
            for part, marks in _parts(ids)
            for id_, row in self._all(f"SELECT id, row FROM documents WHERE id IN ({marks})", part)  # noqa: S608 - question marks
        }

    def ids(self) -> list[str]:
        """All ids, oldest first."""
        return [id_ for (id_,) in self._all("SELECT id FROM documents ORDER BY row")]

    def insert(self, documents: Iterable[StoredDocument]) -> None:
        """Keep documents under new rows; their ids must be free."""
        with self._watched():
            self._connection.executemany(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?)", map(_columns, documents)
            )

    def remove(self, rows: Sequence[int]) -> None:
        """Take documents out."""
        for part, marks in _parts(rows):
            with self._watched():
                self._connection.execute(f"DELETE FROM documents WHERE row IN ({marks})", part)  # noqa: S608 - question marks

    def get(self, rows: Sequence[int]) -> dict[int, StoredDocument]:
        """The documents of those rows that are there. Raises IndexDamagedError for a changed one."""
        found = {}
        for part, marks in _parts(rows):
            sql = f"SELECT * FROM documents WHERE row IN ({marks})"  # noqa: S608 - question marks
            for columns in self._all(sql, part):
                found[columns[0]] = self._document(columns)
        return found

    def metadata_after(self, row: int) -> list[tuple[int, str]]:
        """Row and metadata (JSON) of all documents past that row."""
        return self._all("SELECT row, metadata FROM documents WHERE row > ?", (row,))

    def verify(self) -> None:
        """Read everything. Raises IndexDamagedError."""
        problems = [text for (text,) in self._all("PRAGMA integrity_check") if text != "ok"]
        if problems:
            raise self.damaged(problems[0])
        with self._watched():
            for columns in self._connection.execute("SELECT * FROM documents"):
                self._document(columns)

    def damaged(self, message: str) -> IndexDamagedError:
        """The error that says so."""
        return IndexDamagedError(
            f"The index at {self.path and self.path.parent} is damaged: {message}",
            data={"path": str(self.path and self.path.parent)},
        )

    def _document(self, columns: tuple[Any, ...]) -> StoredDocument:
        row, id_, content, metadata, digest = columns
        if digest != _digest(id_, content, metadata):
            raise self.damaged("a passage is not what was stored.")
        return StoredDocument(
            row, id_, content.decode(errors="surrogatepass"), json.loads(metadata)
        )

    def _all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._watched():
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Turn what SQLite says about a broken file into IndexDamagedError."""
        try:
            yield
        except DatabaseError as error:
            code = str(error.data.get("sqlite", ""))
            if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")):
                raise self.damaged("its database cannot be read.") from error
            raise
        except sqlite3.DatabaseError as error:  # while rows were fetched, or in memory
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise self.damaged("its database cannot be read.") from error


def _columns(document: StoredDocument) -> tuple[Any, ...]:
    content = document.content.encode(errors="surrogatepass")
    metadata = json.dumps(document.metadata, allow_nan=False)
    digest = _digest(document.id, content, metadata)
    return document.row, document.id, content, metadata, digest


def _digest(id_: str, content: bytes, metadata: str) -> bytes:
    text = b"\0".join((id_.encode(errors="surrogatepass"), metadata.encode(), content))
    return hashlib.blake2b(text, digest_size=8).digest()


def _file_json(file: StoredFile) -> dict[str, Any]:
    return {"name": file.name, "bytes": file.bytes, "sha256": file.sha256}


def _parts(values: Sequence[Any]) -> Iterator[tuple[Sequence[Any], str]]:
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        yield part, ",".join("?" * len(part))
