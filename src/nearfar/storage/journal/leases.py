"""One writer per thread: who holds it, and the number that the writer's every write is checked against."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from nearfar.errors import LeaseLostError

from .holders import Holder

_NEXT = "UPDATE fences SET last = last + 1 RETURNING last"


@dataclass(frozen=True)
class Fence:
    """The right to write to a thread until somebody else takes it over.

    Numbers only grow, over all threads of a database: whoever holds an older one was taken over.
    """

    thread_id: str
    number: int

    def __call__(self, connection: sqlite3.Connection, thread_id: str) -> None:
        """Raise LeaseLostError unless this is still the right; called inside the write's transaction."""
        row = connection.execute(
            "SELECT fence FROM leases WHERE thread_id = ?", (thread_id,)
        ).fetchone()
        if thread_id != self.thread_id or row is None or row[0] != self.number:
            raise LeaseLostError(
                f"The thread {thread_id!r} was taken over by another writer.",
                data={"thread_id": thread_id},
            )


@dataclass(frozen=True)
class Lease:
    """A row of the table: who holds a thread (None: nobody), and until when."""

    thread_id: str
    fence: int
    run_id: str
    holder: str | None
    expires: float  # by the holder's monotonic clock
    length_s: float
    beats: int  # grows with each renewal


COLUMNS = ", ".join(
    f"leases.{name}"
    for name in ("thread_id", "fence", "run_id", "holder", "expires", "length_s", "beats")
)


class Watch:
    """Tells which leases have ended, without any belief in the wall clock.

    A lease has ended when its holder is dead; when the monotonic clock that both share is past its
    end; or when this watch has seen no renewal for its whole length.
    """

    def __init__(self, holder: Holder, clock: Callable[[], float] = time.monotonic) -> None:
        self.holder = holder
        self.clock = clock
        self._seen: dict[str, tuple[int, int, float]] = {}

    def has_ended(self, lease: Lease | None) -> bool:
        """Whether the thread may be taken."""
        if lease is None or lease.holder is None:
            return True
        now = self.clock()
        holder = Holder.parse(lease.holder)
        fence, beats, since = self._seen.get(lease.thread_id, (0, 0, 0.0))
        if (fence, beats) != (lease.fence, lease.beats):
            self._seen[lease.thread_id] = (lease.fence, lease.beats, now)
            since = now
        if holder.is_dead() or now - since > lease.length_s:
            return True
        return holder.shares_clock_with(self.holder) and now > lease.expires


def read(connection: sqlite3.Connection, thread_id: str) -> Lease | None:
    """The thread's lease; None when nobody ever held it."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM leases WHERE thread_id = ?",  # noqa: S608 - our own names
        (thread_id,),
    ).fetchone()
    return Lease(*row) if row else None


def take(
    connection: sqlite3.Connection, thread_id: str, run_id: str, watch: Watch, length_s: float
) -> Fence:
    """Hold the thread from now on, inside the caller's transaction; older fences are void."""
    [[number]] = connection.execute(_NEXT).fetchall()
    expires = watch.clock() + length_s
    connection.execute(
        "INSERT OR REPLACE INTO leases (thread_id, fence, run_id, holder, expires, length_s, beats)"
        " VALUES (?, ?, ?, ?, ?, ?, 0)",
        (thread_id, number, run_id, str(watch.holder), expires, length_s),
    )
    return Fence(thread_id, number)


def release(connection: sqlite3.Connection, thread_id: str) -> None:
    """Let go of the thread, and void its fence, inside the caller's transaction."""
    [[number]] = connection.execute(_NEXT).fetchall()
    connection.execute(
        "UPDATE leases SET fence = ?, holder = NULL, beats = 0 WHERE thread_id = ?",
        (number, thread_id),
    )


def renew(connection: sqlite3.Connection, fence: Fence, expires: float) -> bool:
    """Put the end off; False when the thread was taken over."""
    done = connection.execute(
        "UPDATE leases SET expires = ?, beats = beats + 1"
        " WHERE thread_id = ? AND fence = ? AND holder IS NOT NULL",
        (expires, fence.thread_id, fence.number),
    )
    return done.rowcount == 1


def lost(connection: sqlite3.Connection, fence: Fence) -> bool:
    """Whether the thread was taken over."""
    lease = read(connection, fence.thread_id)
    return lease is None or lease.fence != fence.number
