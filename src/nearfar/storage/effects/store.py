"""The table of effects."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from nearfar.settings import Settings
from nearfar.storage.database import connect, database_path
from nearfar.storage.dialect import Opened, Statements, transaction
from nearfar.storage.migrations import Migration, migrate
from nearfar.storage.postgres import connect_postgres, postgres_url

from .attempts import Attempt
from .outcomes import Done, NotDone
from .records import Call, Effect, Status
from .values import dump, load

Guard = Callable[[Statements, str], None]
"""Called in the transaction of each write with its thread id; what it raises undoes the write."""

MIGRATIONS = (
    Migration.sql(
        "effects",
        """CREATE TABLE effects (
            key TEXT PRIMARY KEY, thread_id TEXT NOT NULL, run_id TEXT, scope TEXT NOT NULL,
            step TEXT NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL, mark TEXT,
            fingerprint TEXT NOT NULL, arguments TEXT NOT NULL, status TEXT NOT NULL,
            value_format TEXT, value BLOB, error TEXT, attempts INTEGER NOT NULL, settled_by TEXT,
            created_at REAL NOT NULL, updated_at REAL NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX effects_of_step ON effects (thread_id, scope, name)",
        "CREATE INDEX effects_of_run ON effects (run_id)",
    ),
)

_COLUMNS = (
    "key, thread_id, run_id, step, name, position, fingerprint, arguments, status, error,"
    " attempts, settled_by, created_at, updated_at, value IS NOT NULL"
)
_SETTLED = ("done", "failed")


class EffectStore:
    """The database is opened when it is first needed. All methods block for a fraction of a millisecond (one synchronous commit); thread-safe.

    ``guard`` is checked in the transaction of every write: a writer that was taken over neither
    reserves nor notes an outcome.
    """

    def __init__(
        self,
        place: Path | str,  # a file, or the URL of a Postgres
        *,
        guard: Guard | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place = place
        self._guard = guard
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: Opened | None = None  # most runs have no effects

    @classmethod
    def open(cls, settings: Settings, *, guard: Guard | None = None) -> "EffectStore":
        """The store in the database of ``storage.url``."""
        return cls(postgres_url(settings) or database_path(settings), guard=guard)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
            self._opened = None

    @property
    def was_used(self) -> bool:
        """Whether anything was asked of it since it was made."""
        return self._opened is not None

    def __enter__(self) -> "EffectStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reserve(self, call: Call, attempt: Attempt) -> tuple[Effect, bool]:
        """The call's record, and whether the call is to be made now.

        It is not where an earlier one was made, or begun: then the record says how that stands.
        Committed before this returns. Raises LeaseLostError, EffectOrderError, DatabaseError.
        """
        with attempt.lock, self._lock, transaction(self._connection):
            self._check(call.thread_id)
            if call.mark is None:
                position, found = attempt.choose(call, self._of_step(call))
            else:
                position, found = 0, self._one(call.key(0))
            key = call.key(position)
            if found is None:
                self._insert(call, key, position)
            elif found.status == "failed":
                self._again(call, key)
            begun = found is None or found.status == "failed"
            effect = self._one(key)
            attempt.take(call, position)
        assert effect is not None  # noqa: S101  (it was written or found just now)
        return effect, begun

    def begin_again(self, effect: Effect) -> None:
        """The effect is tried once more under its key: the far side honours it, or nothing was done."""
        with self._lock, transaction(self._connection):
            self._check(effect.thread_id)
            self._connection.execute(
                "UPDATE effects SET status = 'reserved', attempts = attempts + 1, updated_at = ?"
                " WHERE key = ?",
                (self._clock(), effect.key),
            )

    def finish(self, effect: Effect, value: Any) -> None:
        """It was done. Raises EffectValueError when the value cannot be kept: done it is all the same."""
        self._done(effect, value, None)

    def fail(self, effect: Effect, status: Literal["failed", "unknown"], error: str) -> None:
        """It raised: surely not done (``failed``), or nobody can say (``unknown``)."""
        self._set(effect, status, error=error)

    def settle(
        self, effect: Effect, outcome: Done | NotDone, *, by: Literal["person", "callback"]
    ) -> None:
        """The outcome was found out. Raises EffectValueError as ``finish`` does."""
        if isinstance(outcome, Done):
            self._done(effect, outcome.value, by)
        else:
            self._set(effect, "failed", error=effect.error, settled_by=by)

    def value(self, key: str) -> Any:
        """What the effect returned. Raises KeyError when it is not kept."""
        with self._lock:
            row = self._connection.execute(
                "SELECT value_format, value FROM effects WHERE key = ?", (key,)
            ).fetchone()
        if row is None or row[0] is None:
            raise KeyError(key)
        return load(row[0], row[1])

    def of_thread(self, thread_id: str) -> list[Effect]:
        """All effects of a thread, oldest first."""
        return self._select("thread_id = ?", (thread_id,))

    def of_run(self, run_id: str) -> list[Effect]:
        """All effects of a run, oldest first."""
        return self._select("run_id = ?", (run_id,))

    def unsettled(self, thread_id: str) -> list[Effect]:
        """Those of a thread whose outcome is not known: reserved and not ended, or unknown."""
        return [e for e in self.of_thread(thread_id) if e.status not in _SETTLED]

    def forget(self, thread_id: str) -> None:
        """Delete what a thread left. Only for threads that nothing resumes any more."""
        with self._lock, transaction(self._connection):
            self._connection.execute("DELETE FROM effects WHERE thread_id = ?", (thread_id,))

    # How.

    @property
    def _connection(self) -> Statements:
        if self._opened is None:
            place = self._place
            opened: Opened = (
                connect_postgres(place) if isinstance(place, str) else connect(place, durable=True)
            )
            try:
                migrate(opened, MIGRATIONS, part="effects")
            except BaseException:
                opened.close()
                raise
            self._opened = opened
        return self._opened

    def _check(self, thread_id: str) -> None:
        if self._guard is not None:
            self._guard(self._connection, thread_id)

    def _done(self, effect: Effect, value: Any, by: str | None) -> None:
        from nearfar.errors import EffectValueError

        try:
            kind, data = dump(value)
        except EffectValueError as error:
            self._set(effect, "done", error=error.message, settled_by=by)
            raise
        self._set(effect, "done", kept=(kind, data), settled_by=by)

    def _set(
        self,
        effect: Effect,
        status: Status,
        *,
        error: str | None = None,
        kept: tuple[str | None, bytes | None] = (None, None),
        settled_by: str | None = None,
    ) -> None:
        with self._lock, transaction(self._connection):
            self._check(effect.thread_id)
            self._connection.execute(
                "UPDATE effects SET status = ?, error = ?, value_format = ?, value = ?,"
                " settled_by = coalesce(?, settled_by), updated_at = ? WHERE key = ?",
                (status, error, *kept, settled_by, self._clock(), effect.key),
            )

    def _insert(self, call: Call, key: str, position: int) -> None:
        now = self._clock()
        self._connection.execute(
            "INSERT INTO effects (key, thread_id, run_id, scope, step, name, position, mark,"
            " fingerprint, arguments, status, attempts, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'reserved', 1, ?, ?)",
            (
                key,
                call.thread_id,
                call.run_id,
                call.scope,
                call.step,
                call.name,
                position,
                call.mark,
                call.fingerprint,
                call.arguments,
                now,
                now,
            ),
        )

    def _again(self, call: Call, key: str) -> None:
        self._connection.execute(
            "UPDATE effects SET status = 'reserved', attempts = attempts + 1, run_id = ?,"
            " fingerprint = ?, arguments = ?, updated_at = ? WHERE key = ?",
            (call.run_id, call.fingerprint, call.arguments, self._clock(), key),
        )

    def _of_step(self, call: Call) -> list[Effect]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM effects WHERE thread_id = ? AND scope = ? AND name = ?"  # noqa: S608  (our own columns)
            " AND mark IS NULL ORDER BY position",
            (call.thread_id, call.scope, call.name),
        )
        return [_effect(row) for row in rows]

    def _one(self, key: str) -> Effect | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM effects WHERE key = ?",  # noqa: S608  (our own columns)
            (key,),
        ).fetchone()
        return None if row is None else _effect(row)

    def _select(self, where: str, values: tuple[Any, ...]) -> list[Effect]:
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM effects WHERE {where} ORDER BY created_at, position",  # noqa: S608  (our own columns)
                values,
            ).fetchall()
        return [_effect(row) for row in rows]


def _effect(row: tuple[Any, ...]) -> Effect:
    columns = (*row[:-1], bool(row[-1]))
    return Effect(*columns)
