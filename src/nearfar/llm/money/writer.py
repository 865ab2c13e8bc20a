"""A thread that writes what nobody waits for; what was put is written before the program ends."""

import atexit
import logging
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from nearfar.errors import NearfarError
from nearfar.storage import transaction

from .book import open_ledger

_log = logging.getLogger(__name__)

Write = Callable[[sqlite3.Connection, list[Any]], object]
"""Writes lines of one kind, however many there are; best with one statement."""
LINGER_S = 0.1
"""How long lines are gathered, and so what a program that is killed may lose of them."""
_BATCH = 500


class Writer:
    """Takes lines from any thread and writes them, many to a transaction, those of one kind together.

    The thread takes the interpreter from its callers each time it wakes and with each statement, so it
    wakes seldom and a kind is one statement; to put a line is to append to a list.
    A line that cannot be written is logged and lost: a reply is not withheld because the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: deque[tuple[Write, Any] | threading.Event | None] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._idle = False
        self._wake = threading.Event()
        self._hurry = threading.Event()

    def put(self, write: Write, line: object) -> None:
        """Have ``write`` get ``line`` soon, with others; at the end of the program, now."""
        if self._closing:
            with closing(open_ledger(self._path)) as connection:
                _run(connection, [(write, line)])
            return
        self._lines.append((write, line))
        if self._idle:
            self._wake.set()
        elif self._thread is None:
            with self._lock:
                self._start()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was put before is written; False when that took too long."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._mark(done)
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
            self._lines = deque()
            self._wake, self._hurry = threading.Event(), threading.Event()
        elif self._lines:
            self._start()
        self._lock.release()

    def _mark(self, mark: threading.Event | None) -> None:
        self._lines.append(mark)
        self._hurry.set()
        self._wake.set()

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._mark(None)
            thread.join(60)

    def _rest(self) -> None:
        """Write what was put while the thread was ending."""
        if self._lines:
            self._mark(None)
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
        ended = False
        try:
            while not ended:
                self._gather()
                lines, marks, ended = self._taken()
                try:
                    connection = connection or open_ledger(self._path)
                    _run(connection, lines)
                except NearfarError as error:
                    _log.warning(
                        "the ledger could not be written",
                        extra={"lost": len(lines), "reason": error.message},
                    )
                for mark in marks:
                    mark.set()
        finally:
            if connection is not None:
                connection.close()

    def _gather(self) -> None:
        """Wait for a line, and then for others to come."""
        if not self._lines:
            self._idle = True
            if not self._lines:  # one that was put before ``_idle`` was seen wakes nobody
                self._wake.wait()
            self._idle = False
        self._wake.clear()
        if len(self._lines) < _BATCH:
            self._hurry.wait(LINGER_S)

    def _taken(self) -> tuple[list[tuple[Write, Any]], list[threading.Event], bool]:
        """What waits, those who wait for it, and whether this is the end."""
        lines: list[tuple[Write, Any]] = []
        marks: list[threading.Event] = []
        while self._lines and len(lines) < _BATCH:
            item = self._lines.popleft()
            if item is None:
                return lines, marks, True
            if isinstance(item, threading.Event):
                marks.append(item)
            else:
                lines.append(item)
        if not self._lines:
            self._hurry.clear()
        return lines, marks, False


def _run(connection: sqlite3.Connection, lines: list[tuple[Write, Any]]) -> None:
    kinds: dict[Write, list[Any]] = {}
    for write, line in lines:
        kinds.setdefault(write, []).append(line)
    if not kinds:
        return
    with transaction(connection):
        for write, of_a_kind in kinds.items():
            write(connection, of_a_kind)
