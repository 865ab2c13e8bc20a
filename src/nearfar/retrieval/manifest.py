"""An index's book-keeping: which files it knows, and which document each of them holds.

A *document* is content: two files with the same content are one document, and a file that moves
keeps its document. The vectors of a document are in the store under ``DOCUMENT-ORDINAL``. A document
is entered here before its vectors are stored, and its files after, so that whatever a killed run
leaves behind can be found: documents without files are taken out by the next run.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.storage import Migration, connect, migrate, transaction

_MIGRATIONS = (
    Migration.sql(
        "manifest",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE roots (path TEXT PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE documents (id TEXT PRIMARY KEY, chunks INTEGER NOT NULL, format TEXT NOT NULL,"
        " title TEXT, pages INTEGER, characters INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
        " checked_ns INTEGER NOT NULL, recipe TEXT NOT NULL, document TEXT, error TEXT,"
        " warnings TEXT NOT NULL) WITHOUT ROWID",
        "CREATE INDEX files_by_document ON files (document)",
    ),
)


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as it was when it was last read: its document, or the error it gave."""

    path: str
    size: int
    mtime_ns: int
    checked_ns: int  # when it was read, by the clock that mtime_ns is of
    recipe: str  # how it was read and split; another recipe makes the row stale
    document: str | None
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """Content, and how many passages it was split into."""

    id: str
    chunks: int
    format: str
    title: str | None
    pages: int | None
    characters: int

    @property
    def chunk_ids(self) -> list[str]:
        """The ids of its passages in the store."""
        return [f"{self.id}-{ordinal:05d}" for ordinal in range(self.chunks)]


class Manifest:
    """The book in ``manifest.db``. Objects of this class hold no connection; any thread may call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        with closing(connect(self.path, durable=write)) as connection:
            if write:
                migrate(connection, _MIGRATIONS)
                with transaction(connection):
                    yield connection
            else:
                yield connection

    def create(self) -> None:
        """Make the tables where they are not there."""
        with self._open(write=True):
            pass

    def facts(self) -> dict[str, str]:
        """Named values: what made the index, and its generation."""
        with self._open() as c:
            return dict(c.execute("SELECT name, value FROM facts").fetchall())

    def set_facts(self, **facts: str) -> None:
        """Enter or replace named values."""
        with self._open(write=True) as c:
            c.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))

    def roots(self) -> list[str]:
        """The paths that were added, sorted."""
        with self._open() as c:
            return [row[0] for row in c.execute("SELECT path FROM roots ORDER BY path")]

    def files(self) -> dict[str, FileRow]:
        """All files, also those that failed, by path."""
        with self._open() as c:
            rows = c.execute(
                "SELECT path, size, mtime_ns, checked_ns, recipe, document, error, warnings"
                " FROM files ORDER BY path"
            ).fetchall()
        return {
            row[0]: FileRow(
                *(row[0], row[1], row[2], row[3], row[4], row[5]),
                json.loads(row[6]) if row[6] else None,
                tuple(json.loads(row[7])),
            )
            for row in rows
        }

    def documents(self) -> dict[str, DocumentRow]:
        """All documents by id, also those whose files are gone."""
        with self._open() as c:
            rows = c.execute("SELECT id, chunks, format, title, pages, characters FROM documents")
            return {row[0]: DocumentRow(*row) for row in rows}

    def sources(self) -> dict[str, list[str]]:
        """The paths of each document that has any, sorted."""
        with self._open() as c:
            rows = c.execute(
                "SELECT document, path FROM files WHERE document IS NOT NULL ORDER BY path"
            ).fetchall()
        sources: dict[str, list[str]] = {}
        for document, path in rows:
            sources.setdefault(document, []).append(path)
        return sources

    def announce(self, documents: Iterable[DocumentRow]) -> None:
        """Enter documents whose passages are about to be stored."""
        with self._open(write=True) as c:
            c.executemany(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?)",
                [(d.id, d.chunks, d.format, d.title, d.pages, d.characters) for d in documents],
            )

    def enter(
        self, files: Iterable[FileRow], gone: Iterable[str], roots: Iterable[str] = ()
    ) -> None:
        """Files that are read, files that are gone, and paths that are looked after from now on."""
        with self._open(write=True) as c:
            c.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            c.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(f.path, f.size, f.mtime_ns, f.checked_ns, f.recipe, f.document),
                        json.dumps(f.error) if f.error else None,
                        json.dumps(f.warnings),
                    )
                    for f in files
                ],
            )
            c.executemany("INSERT OR IGNORE INTO roots VALUES (?)", [(root,) for root in roots])
            _next_generation(c)

    def forget_roots(self, roots: Iterable[str]) -> None:
        """Paths that are looked after no longer."""
        with self._open(write=True) as c:
            c.executemany("DELETE FROM roots WHERE path = ?", [(root,) for root in roots])

    def drop(self, documents: Iterable[str]) -> None:
        """Take out documents whose passages have been taken out of the store."""
        with self._open(write=True) as c:
            c.executemany("DELETE FROM documents WHERE id = ?", [(d,) for d in documents])
            _next_generation(c)

    def integrity(self) -> str:
        """SQLite's own word on the file: ``ok``, or what is wrong."""
        with self._open() as c:
            return str(c.execute("PRAGMA integrity_check(1)").fetchone()[0])


def _next_generation(connection: sqlite3.Connection) -> None:
    """Readers compare this number to know when to load the index anew."""
    connection.execute("INSERT OR IGNORE INTO facts VALUES ('generation', '0')")
    connection.execute(
        "UPDATE facts SET value = CAST(value AS INTEGER) + 1 WHERE name = 'generation'"
    )
