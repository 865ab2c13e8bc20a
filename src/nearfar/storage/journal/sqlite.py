"""The journal in a SQLite file, for one loop: its statements run in a thread of their own."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from nearfar.storage.database import connect, transaction
from nearfar.storage.migrations import migrate

from . import sql
from .holders import this_process
from .leases import Fence, Watch, lost, renew
from .records import Blob, Finish, NewRun, Record
from .schema import MIGRATIONS, PART

T = TypeVar("T")


class SqliteJournal:
    """Runs, and who works on them. What is written has reached the disk when a call returns."""

    def __init__(self, path: Path, *, lease_s: float) -> None:
        self.path = path
        self.lease_s = lease_s
        self.watch = Watch(this_process())
        self._home = str(self.watch.holder)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nearfar-journal")
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        try:
            self._connection = await self._in_thread(lambda: _open(self.path))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        connection = self._db
        await self._in_thread(connection.close)
        self._thread.shutdown(wait=False)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the journal is not open")
        return self._connection

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _write(self, call: Callable[[sqlite3.Connection], T]) -> T:
        def work() -> T:
            with transaction(self._db):
                return call(self._db)

        return await asyncio.shield(self._in_thread(work))

    async def _read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        return await self._in_thread(lambda: call(self._db))

    async def accept(
        self, new: NewRun, *, claim: bool, mine: bool = True
    ) -> tuple[Record, bool, Fence | None]:
        """Keep a run; with ``claim`` work on it at once where its thread is free.

        False when its idempotency key stands for that run already. A run that is not ``mine`` is
        for anybody to begin. Raises RunConflictError, ThreadBusyError.
        """

        def work(db: sqlite3.Connection) -> tuple[Record, bool, Fence | None]:
            record, created = sql.accept(db, new, self._home if mine else "")
            got = sql.claim(db, record.id, self.watch, self.lease_s) if created and claim else None
            return (got.record if got else record), created, got.fence if got else None

        return await self._write(work)

    async def get(self, run_id: str) -> Record:
        """The run. Raises RunNotFoundError."""
        return await self._read(lambda db: sql.get(db, run_id))

    async def find(self, **wanted: Any) -> list[Record]:
        """The runs that fit, the latest first: by status, workflow, thread_id, prefix; limit."""
        return await self._read(lambda db: sql.find(db, **wanted))

    async def claimable(self) -> list[sql.Candidate]:
        """Runs that nobody works on, by priority and age."""
        return await self._read(lambda db: sql.claimable(db, self.watch))

    async def claim(self, run_id: str) -> sql.Claim | None:
        """Work on the run from now on; None when another does, or another run comes first."""
        return await self._write(lambda db: sql.claim(db, run_id, self.watch, self.lease_s))

    async def note(self, run_id: str, fence: Fence, **values: Any) -> None:
        """Set ``base``, ``crashes``, ``mark``, ``begun`` of a run that is worked on. Raises LeaseLostError."""
        await self._write(lambda db: sql.note(db, run_id, fence, values))

    async def finish(self, run_id: str, fence: Fence, end: Finish) -> None:
        """Write the end of an attempt down. Raises LeaseLostError."""
        await self._write(lambda db: sql.finish(db, run_id, fence, end))

    async def hand_back(self, run_id: str, fence: Fence, *, wake_at: float | None = None) -> None:
        """Stop working on the run without an end; not before ``wake_at`` is it taken up again."""
        await self._write(lambda db: sql.hand_back(db, run_id, fence, wake_at=wake_at))

    async def cancel(self, run_id: str) -> Record:
        """Whatever works on the run can write nothing from now on. Raises RunStateError."""
        return await self._write(lambda db: sql.cancel(db, run_id))

    async def again(
        self,
        run_id: str,
        *,
        allowed: tuple[str, ...],
        answers: Blob | None = None,
        approved: str | None = None,
        mine: bool = True,
    ) -> Record:
        """Put a run that stands still back into the queue. Raises RunStateError."""
        home = self._home if mine else ""
        return await self._write(
            lambda db: sql.again(
                db, run_id, home, allowed=allowed, answers=answers, approved=approved
            )
        )

    async def expire(self, error: dict[str, Any]) -> list[str]:
        """Fail the runs that waited too long for a person; their ids."""
        if not await self._read(sql.any_expired):
            return []
        return await self._write(lambda db: sql.expire(db, error))

    async def forget(self, run_id: str) -> list[str]:
        """Drop a run that ended; its thread, when no other run is left of it."""
        return await self._write(lambda db: sql.forget(db, run_id))

    async def prune(self, before: float) -> list[str]:
        """Forget runs that ended before then; the threads that have no run left."""
        return await self._write(lambda db: sql.prune(db, before))


def _open(path: Path) -> sqlite3.Connection:
    connection = connect(path, durable=True)
    try:
        migrate(connection, MIGRATIONS, part=PART)
    except BaseException:
        connection.close()
        raise
    return connection


class SqlitePulse:
    """The heartbeat's own connection, for its own thread."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._connection = connect(journal.path)
        self._watch = journal.watch
        self._lease_s = journal.lease_s

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def renew(self, held: list[Fence]) -> list[Fence]:
        """Put the ends of these leases off; those that were taken over."""
        expires = self._watch.clock() + self._lease_s
        with transaction(self._connection):
            return [fence for fence in held if not renew(self._connection, fence, expires)]

    def lost(self, held: list[Fence]) -> list[Fence]:
        """Those of these leases that were taken over; cheap, writes nothing."""
        return [fence for fence in held if lost(self._connection, fence)]
