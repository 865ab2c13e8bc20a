"""The one thread that writes: what arrives while it commits goes into the next transaction."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from nearfar.errors import StorageError
from nearfar.storage.database import connect, transaction

T = TypeVar("T")
Guard = Callable[[sqlite3.Connection, str], None]
"""Called in each write transaction, with its thread id, before anything is written; what it raises undoes it."""

BATCH = 2_000  # writes in one transaction, at most


class StaleError(Exception):
    """Raised by a write before it wrote anything: others may be committed without it."""


class Write:
    """One write of a thread and who waits for it."""

    __slots__ = ("error", "future", "guard", "result", "run", "settle", "thread_ids")

    def __init__(
        self,
        thread_ids: tuple[str, ...],
        run: Callable[[sqlite3.Connection], Any],
        guard: Guard | None,
        settle: Callable[[bool], None] | None,
        future: "asyncio.Future[Any]",
    ) -> None:
        self.thread_ids, self.run, self.guard = thread_ids, run, guard
        self.settle, self.future = settle, future
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Group commit: a write is acknowledged when the transaction that it is in was committed."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._queue: SimpleQueue[list[Write] | None] = SimpleQueue()
        self._waiting: dict[asyncio.AbstractEventLoop, list[Write]] = {}  # each its loop's own
        self._closed = False
        self._connection = connect(path, durable=durable)
        self._thread = threading.Thread(target=self._work, name="nearfar-checkpoints", daemon=True)
        self._thread.start()

    async def write(
        self,
        thread_ids: tuple[str, ...],
        run: Callable[[sqlite3.Connection], T],
        *,
        guard: Guard | None = None,
        settle: Callable[[bool], None] | None = None,
    ) -> T:
        """Do that in a transaction, after the guard said yes to the threads.

        ``settle`` is called in the writer's thread with whether it was committed.
        """
        if self._closed:
            raise StorageError("The checkpointer is closed.", data={"path": str(self._path)})
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        loop = future.get_loop()
        waiting = self._waiting.setdefault(loop, [])
        waiting.append(Write(thread_ids, run, guard, settle, future))
        if len(waiting) == 1:  # what this turn of the loop and the next bring goes together
            loop.call_soon(loop.call_soon, self._hand_over, loop)
        return await future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue.put(self._waiting.pop(loop, []))

    def close(self) -> None:
        """Write what waits, and end. Not for an event loop's thread."""
        if not self._closed:
            self._closed = True
            for loop in list(self._waiting):
                self._hand_over(loop)
            self._queue.put(None)
            self._thread.join()
            self._connection.close()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ends = first, False
            while len(batch) < BATCH and not ends:
                try:
                    following = self._queue.get_nowait()
                except Empty:
                    break
                if following is None:
                    ends = True
                else:
                    batch += following
            self._commit(batch)
            self._tell(batch)
            if ends:
                return

    def _commit(self, batch: list[Write]) -> None:
        try:
            self._transact(batch)
        except BaseException as error:  # noqa: BLE001  # a worker boundary: it goes to who waits
            for write in batch:
                if write.settle:
                    write.settle(False)
            if len(batch) == 1 or isinstance(error, StorageError):  # the disk's: it meets all
                for write in batch:
                    write.error = error
                return
            for write in batch:  # one that cannot be written must not take the others with it
                write.error = None
                self._commit([write])

    def _transact(self, batch: list[Write]) -> None:
        guarded: dict[tuple[Guard, str], BaseException | None] = {}
        with transaction(self._connection):
            for write in batch:
                write.error = self._refusal(write, guarded)
                if write.error is None:
                    try:
                        write.result = write.run(self._connection)
                    except StaleError as error:
                        write.error = error
        for write in batch:
            if write.settle:
                write.settle(write.error is None)

    def _refusal(
        self, write: Write, seen: dict[tuple[Guard, str], BaseException | None]
    ) -> BaseException | None:
        """What the guard said of the write's threads, asked once in a transaction."""
        if write.guard is None:
            return None
        for thread_id in write.thread_ids:
            key = (write.guard, thread_id)
            if key not in seen:
                try:
                    write.guard(self._connection, thread_id)
                    seen[key] = None
                except Exception as error:  # noqa: BLE001  # a worker boundary: it goes to who waits
                    seen[key] = error
            if seen[key] is not None:
                return seen[key]
        return None

    def _tell(self, batch: list[Write]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Write]] = {}
        for write in batch:
            loops.setdefault(write.future.get_loop(), []).append(write)
        for loop, writes in loops.items():
            try:
                loop.call_soon_threadsafe(_resolve, writes)
            except RuntimeError:  # that loop was closed: nobody waits there any more
                continue


def _resolve(writes: list[Write]) -> None:
    for write in writes:
        if write.future.done():
            continue
        if write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.result)
