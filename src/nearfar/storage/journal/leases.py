"""One writer per thread: who holds it, and the number that the writer's every write is checked against."""

import sqlite3
from dataclasses import dataclass

from nearfar.errors import LeaseLostError


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
