"""Rows as they are made, beside the file that they go to in the end."""

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

from nearfar.errors import UsageError, WorkflowError
from nearfar.storage import atomic_write, connect, transaction

from .fields import Fields

DATABASES = (".db", ".sqlite")
KINDS = (".csv", ".jsonl", *DATABASES)

_TABLES = (
    "DROP TABLE IF EXISTS owner",
    "DROP TABLE IF EXISTS documents",
    "CREATE TABLE owner (id TEXT)",
    "CREATE TABLE documents (source TEXT PRIMARY KEY, row TEXT, problem TEXT, escalated INTEGER)",
)


class RowFile:
    """Keeps rows in ``OUT.work.db``; ``write`` makes OUT of them, whole or not at all.

    The rows are ``owner``'s, who called ``begin`` last: anybody else is refused, so that a run that
    broke off and wakes up late does not spoil what a later one makes.
    """

    def __init__(self, out: str, fields: Fields, owner: str) -> None:
        self._out = Path(out)
        self._fields = fields
        self._owner = owner
        self._db: sqlite3.Connection = connect(_work_file(self._out))

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def begin(self, files: list[str]) -> None:
        """These documents and no others, all still to be done, by this owner."""
        with transaction(self._db):
            for statement in _TABLES:
                self._db.execute(statement)
            self._db.execute("INSERT INTO owner VALUES (?)", (self._owner,))
            self._db.executemany(
                "INSERT INTO documents (source) VALUES (?)", [(file,) for file in files]
            )

    def waiting(self, most: int) -> list[str]:
        """Documents that nothing has been made of yet."""
        self._check()
        rows = self._db.execute(
            "SELECT source FROM documents WHERE escalated IS NULL ORDER BY source LIMIT ?", (most,)
        )
        return [source for (source,) in rows]

    def keep(self, source: str, row: Any, problem: str, *, escalated: bool) -> None:
        """What came of a document: a row, or a problem."""
        text = None if row is None else json.dumps(row, ensure_ascii=False)
        with transaction(self._db):
            self._check()
            self._db.execute(
                "UPDATE documents SET row = ?, problem = ?, escalated = ? WHERE source = ?",
                (text, problem or None, escalated, source),
            )

    def owner(self) -> str | None:
        """Whose the rows are; None where there are none."""
        known = self._db.execute("SELECT name FROM sqlite_master WHERE name = 'owner'").fetchone()
        return None if known is None else self._db.execute("SELECT id FROM owner").fetchone()[0]

    def _check(self) -> None:
        if self.owner() != self._owner:
            raise WorkflowError(
                f"The rows for {self._out} are another run's by now, or were deleted.",
                remedy="Let the later run end, or start a new one.",
                data={"path": str(self._out)},
            )

    def done(self) -> int:
        """How many documents something has been made of."""
        query = "SELECT count(*) FROM documents WHERE escalated IS NOT NULL"
        return int(self._db.execute(query).fetchone()[0])

    def write(self) -> dict[str, Any]:
        """Make the output."""
        self._check()
        kept = self._db.execute(
            "SELECT source, row, problem, escalated FROM documents ORDER BY source"
        ).fetchall()
        rows = [{"source": source, **json.loads(row)} for source, row, _, _ in kept if row]
        failed = [{"source": s, "reason": problem} for s, row, problem, _ in kept if not row]
        kind = self._out.suffix.lower()
        if kind == ".jsonl":
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            atomic_write(self._out, "".join(lines))
        elif kind == ".csv":
            atomic_write(self._out, self._csv(rows))
        else:
            self._sqlite(rows)
        return {
            "out": str(self._out),
            "rows": len(rows),
            "escalated": sum(bool(row[3]) for row in kept),
            "failed": failed,
        }

    def _columns(self) -> list[str]:
        return ["source", *self._fields.names]

    def _csv(self, rows: list[dict[str, Any]]) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns(), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        return text.getvalue()

    def _sqlite(self, rows: list[dict[str, Any]]) -> None:
        names = (name.replace('"', '""') for name in self._columns())
        columns = ", ".join(f'"{name}"' for name in names)
        marks = ", ".join("?" for _ in self._columns())
        values = [[_cell(row.get(name)) for name in self._columns()] for row in rows]
        target = connect(self._out)
        try:
            with transaction(target):
                target.execute("DROP TABLE IF EXISTS rows")
                target.execute(f"CREATE TABLE rows ({columns}, PRIMARY KEY (source))")
                target.executemany(f"INSERT INTO rows VALUES ({marks})", values)  # noqa: S608  (our own marks)
        finally:
            target.close()


def check_output(out: Path, fields: Fields) -> None:
    """Raise UsageError where rows cannot go to ``out`` in the end: now, not after hours of work."""
    columns = ["source", *fields.names]
    if out.suffix.lower() not in KINDS:
        raise UsageError(
            f"{out.name} is none of the files that rows can go to.",
            remedy="End its name with .csv, .jsonl or .db.",
        )
    if out.is_dir():
        raise UsageError(f"{out} is a folder.", remedy="Name a file.")
    # A database tells no capitals apart.
    if len({name.casefold() for name in columns}) < len(columns):
        raise UsageError(
            f"Two columns of {out.name} would have the same name: {', '.join(columns)}.",
            remedy="Rename a field; `source` is the document's path.",
        )
    if out.suffix.lower() in DATABASES and out.exists():
        connect(out, read_only=True).close()  # raises where it is none


def _work_file(out: Path) -> Path:
    return out.with_name(f"{out.name}.work.db")


def forget(out: str) -> None:
    """Delete what was kept beside the output."""
    file = _work_file(Path(out))
    for end in ("", "-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
