"""The sign of life of a process that works on runs."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from nearfar.errors import StorageError
from nearfar.storage.journal import Fence, SqliteJournal, SqlitePulse

_LOOK_S = 0.2

_log = logging.getLogger(__name__)


class Heart:
    """Renews the leases held, from a thread: a step that blocks the loop must not lose them.

    It also looks a few times a second whether one was taken over (or its run cancelled), and then
    tells who held it, in the loop.
    """

    def __init__(self, journal: SqliteJournal, *, look_s: float = _LOOK_S) -> None:
        self._pulse = SqlitePulse(journal)
        self._every_s = journal.lease_s / 3
        self._look_s = min(look_s, self._every_s)
        self._loop = asyncio.get_running_loop()
        self._held: dict[Fence, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="nearfar-heart", daemon=True)
        self._thread.start()

    def hold(self, fence: Fence, on_lost: Callable[[], None]) -> None:
        """Renew the lease from now on; ``on_lost`` is called in the loop, once."""
        with self._lock:
            self._held[fence] = on_lost

    def drop(self, fence: Fence) -> None:
        """Renew it no more."""
        with self._lock:
            self._held.pop(fence, None)

    async def close(self) -> None:
        """End the thread."""
        self._stop.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _beat(self) -> None:
        due = time.monotonic() + self._every_s
        while not self._stop.wait(self._look_s):
            with self._lock:
                held = list(self._held)
            if not held:
                continue
            try:
                if time.monotonic() >= due:
                    due = time.monotonic() + self._every_s
                    gone = self._pulse.renew(held)
                else:
                    gone = self._pulse.lost(held)
            except StorageError as error:  # the leases may end; their fences then say so
                _log.warning("leases could not be renewed", extra={"reason": str(error)})
                continue
            for fence in gone:
                self._tell(fence)
        self._pulse.close()

    def _tell(self, fence: Fence) -> None:
        with self._lock:
            on_lost = self._held.pop(fence, None)
        if on_lost is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(on_lost)
