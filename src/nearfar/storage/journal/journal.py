"""The journal, whatever database it is in."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Self, TypeVar

from nearfar.errors import StorageError
from nearfar.storage.dialect import Opened, Statements, transaction

from . import sql
from .leases import Fence, Watch, lost, renew
from .records import Blob, Finish, NewRun, Record

T = TypeVar("T")


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of work that goes on when nobody waits for it any more."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_heard)
        raise


def _heard(task: "asyncio.Task[Any]") -> None:
    """What it raises is nobody's then: asyncio would print it."""
    if not task.cancelled():
        task.exception()


class Journal(ABC):
    """Runs, and who works on them. What is written has reached the disk when a call returns."""

    name: str
    """What errors of this database have as their ``path``."""

    def __init__(self, watch: Watch, *, lease_s: float) -> None:
        self.lease_s = lease_s
        self.watch = watch
        self._home = str(watch.holder)

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    async def _write(self, call: Callable[[Statements], T]) -> T:
        """Call it in a transaction, which is committed when this returns."""

    @abstractmethod
    async def _read(self, call: Callable[[Statements], T]) -> T:
        """Call it with a connection."""

    async def read(self, call: Callable[[Statements], T]) -> T:
        """Call it with a connection, in a thread: for tables that stand beside the runs."""
        return await self._read(call)

    async def write(self, call: Callable[[Statements], T]) -> T:
        """The same in a transaction, which is committed when this returns."""
        return await self._write(call)

    async def is_queued(self) -> bool:
        """Whether workers are there that a queue hands runs to; then nobody takes up others' runs."""
        return False

    @abstractmethod
    def pulse(self) -> "Pulse":
        """The heartbeat of this process's leases."""

    async def accept(
        self, new: NewRun, *, claim: bool, mine: bool = True
    ) -> tuple[Record, bool, Fence | None]:
        """Keep a run; with ``claim`` work on it at once where its thread is free.

        False when its idempotency key stands for that run already. A run that is not ``mine`` is
        for anybody to begin. Raises RunConflictError, ThreadBusyError.
        """

        def work(db: Statements) -> tuple[Record, bool, Fence | None]:
            record, created = sql.accept(db, new, self._home if mine else "")
            got = sql.claim(db, record.id, self.watch, self.lease_s) if created and claim else None
            return (got.record if got else record), created, got.fence if got else None

        return await self._write(work)

    async def get(self, run_id: str) -> Record:
        """The run. Raises RunNotFoundError."""
        return await self._read(lambda db: sql.get(db, run_id))

    async def find(self, **wanted: Any) -> list[Record]:
        """The runs that fit, the latest first: by status, workflow, thread_id, tenant, idempotency_key, prefix; limit."""
        return await self._read(lambda db: sql.find(db, **wanted))

    async def claimable(self, only: Collection[str] | None = None) -> list[sql.Candidate]:
        """Runs that nobody works on, by priority and age; of those in ``only``, if that is given."""
        if only is not None and not only:
            return []
        return await self._read(lambda db: sql.claimable(db, self.watch, only))

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

    async def forget(self, run_id: str) -> sql.Dropped:
        """Drop a run that ended."""
        return await self._write(lambda db: sql.forget(db, run_id))

    async def prune(self, before: float) -> sql.Dropped:
        """Forget runs that ended before then."""
        return await self._write(lambda db: sql.prune(db, before))


class Pulse:
    """The heartbeat: a connection of its own, for a thread of its own. It is made again when it broke."""

    def __init__(self, connect: Callable[[], Opened], watch: Watch, lease_s: float) -> None:
        self._connect = connect
        self._opened: Opened | None = None
        self._watch = watch
        self._lease_s = lease_s

    def close(self) -> None:
        """Let go of the database."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def renew(self, held: list[Fence]) -> list[Fence]:
        """Put the ends of these leases off; those that were taken over. Raises StorageError."""

        def work(connection: Statements) -> list[Fence]:
            expires = self._watch.clock() + self._lease_s
            with transaction(connection):
                in_order = sorted(held, key=lambda fence: fence.thread_id)
                return [fence for fence in in_order if not renew(connection, fence, expires)]

        return self._with(work)

    def lost(self, held: list[Fence]) -> list[Fence]:
        """Those of these leases that were taken over; cheap, writes nothing. Raises StorageError."""
        return self._with(lambda connection: lost(connection, held))

    def _with(self, work: Callable[[Statements], T]) -> T:
        if self._opened is None:
            self._opened = self._connect()
        try:
            return work(self._opened)
        except StorageError:
            self.close()
            raise
