"""The tables of the checkpoints in SQLite: those of langgraph-checkpoint-sqlite, and pieces beside them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from nearfar.storage.database import connect, transaction
from nearfar.storage.migrations import Migration, migrate

_THEIRS = (
    (
        "CREATE TABLE IF NOT EXISTS checkpoints (thread_id TEXT NOT NULL,"
        " checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL,"
        " parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB,"
        " PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS writes (thread_id TEXT NOT NULL,"
        " checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL, task_id TEXT NOT NULL,"
        " idx INTEGER NOT NULL, channel TEXT NOT NULL, type TEXT, value BLOB,"
        " task_path TEXT NOT NULL DEFAULT '',"
        " PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx))"
    ),
)
_OURS = (
    # Which items the checkpoint is made of, and when it was written (Unix time).
    "ALTER TABLE checkpoints ADD COLUMN items BLOB",
    "ALTER TABLE checkpoints ADD COLUMN written_at REAL",
    # The latest is the one written last: a clock that was set back makes smaller ids.
    "CREATE INDEX checkpoints_in_order ON checkpoints (thread_id, checkpoint_ns)",
    # A new token is a new life: what a program remembers of a thread's items holds for one of them.
    (
        "CREATE TABLE checkpoint_threads (thread_id TEXT PRIMARY KEY, token INTEGER NOT NULL,"
        " pruned INTEGER NOT NULL, last_number INTEGER NOT NULL) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE checkpoint_items (thread_id TEXT NOT NULL, number INTEGER NOT NULL,"
        " type TEXT NOT NULL, value BLOB, PRIMARY KEY (thread_id, number)) WITHOUT ROWID"
    ),
)


def _task_paths(connection: sqlite3.Connection) -> None:
    """A table of an older langgraph-checkpoint-sqlite has none."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(writes)")}
    if "task_path" not in columns:
        connection.execute("ALTER TABLE writes ADD COLUMN task_path TEXT NOT NULL DEFAULT ''")


_OUTPUTS = (
    # What a run gave, by the items it is made of: they stay when its checkpoints go.
    "CREATE TABLE checkpoint_outputs (thread_id TEXT NOT NULL, name TEXT NOT NULL,"
    " items BLOB NOT NULL, PRIMARY KEY (thread_id, name))"
)

MIGRATIONS = (
    Migration.sql("their tables", *_THEIRS),
    Migration("task paths", _task_paths),
    Migration.sql("pieces", *_OURS),
    Migration.sql("outputs", _OUTPUTS),
)


def prepare(path: Path) -> None:
    """Make the tables in the database at ``path``, or bring them up to date. Raises StorageError."""
    with closing(connect(path)) as connection:
        migrate(connection, MIGRATIONS, part="checkpoints")
        with transaction(connection):  # a file that may only be read is told at the start
            pass
