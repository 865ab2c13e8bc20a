"""A thread that writes what nobody waits for; what was put is written before the program ends."""

import atexit
import logging
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from nearfar.errors import NearfarError
from nearfar.storage import transaction

from .book import open_ledger

_log = logging.getLogger(__name__)

Job = Callable[[sqlite3.Connection], object]
_BATCH = 500
_LINGER_S = 0.05
"""How long lines are gathered: a thread that wakes for each of them gets in its callers' way."""


class Writer:
    """Takes jobs from any thread and runs them in order, many to a transaction.

    A job that cannot be written is logged and lost: a reply is not withheld because the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[Job | threading.Event | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._hurry = threading.Event()

    def put(self, job: Job) -> None:
        """Have ``job`` run soon; at the end of the program, now."""
        if self._closing:
            with closing(open_ledger(self._path)) as connection:
                _run(connection, [job])
            return
        self._jobs.put(job)
        if self._thread is None:
            with self._lock:
                self._start()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was put before is written; False when that took too long."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._jobs.put(done)
        self._hurry.set()
        return done.wait(timeout_s)

    def close(self) -> None:
        """Write what is left and end the thread."""
        with self._lock:
            self._closing = True
            self._stop()
            self._rest()
        atexit.unregister(self.close)

    def before_fork(self) -> None:
        """Write what is left: the child must not write it too, and inherits no thread."""
        self._lock.acquire()
        self._stop()

    def after_fork(self, *, in_child: bool) -> None:
        """What other threads put meanwhile is the parent's to write."""
        if in_child:
            self._jobs = queue.SimpleQueue()
        elif not self._jobs.empty():
            self._start()
        self._lock.release()

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            self._hurry.set()
            thread.join(60)

    def _rest(self) -> None:
        """Write what was put while the thread was ending."""
        if not self._jobs.empty():
            self._jobs.put(None)
            self._work()

    def _start(self) -> None:
        if self._thread is not None or self._closing:
            return
        self._thread = threading.Thread(target=self._work, name="nearfar-ledger", daemon=True)
        self._thread.start()
        atexit.unregister(self.close)
        atexit.register(self.close)
        if "multiprocessing.util" in sys.modules:  # its forked children end without atexit
            sys.modules["multiprocessing.util"].Finalize(None, self.close, exitpriority=0)

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while (batch := self._next()) is not None:
                work = [item for item in batch if not isinstance(item, threading.Event)]
                try:
                    connection = connection or open_ledger(self._path)
                    _run(connection, work)
                except NearfarError as error:
                    _log.warning(
                        "the ledger could not be written",
                        extra={"lost": len(work), "reason": error.message},
                    )
                for item in batch:
                    if isinstance(item, threading.Event):
                        item.set()
        finally:
            if connection is not None:
                connection.close()

    def _next(self) -> list[Job | threading.Event] | None:
        """What waits, at least one; None at the end, when all before it has been given out."""
        first = self._jobs.get()
        if first is None:
            return None
        if self._jobs.empty() and not isinstance(first, threading.Event):
            self._hurry.wait(_LINGER_S)
        self._hurry.clear()
        batch: list[Job | threading.Event] = [first]
        while len(batch) < _BATCH:
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._jobs.put(None)
                break
            batch.append(item)
        return batch


def _run(connection: sqlite3.Connection, work: list[Job]) -> None:
    if not work:
        return
    with transaction(connection):
        for job in work:
            job(connection)
