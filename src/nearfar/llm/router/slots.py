"""How many requests a candidate works on at once, and in which order others wait for it.

All routers of a process share them, in all event loops and threads. Interactive requests go before
batch, and within each it is first come, first served.
"""

import asyncio
import threading
from collections.abc import Iterable

from .caller import Priority

_lock = threading.Lock()
"""One for all: a request may wait for several candidates, and only one of them may call it."""


class Slots:
    """``limit`` requests at once; ``waiting`` others may wait."""

    def __init__(self, limit: int, waiting: int) -> None:
        self.limit = limit
        self.waiting = waiting
        self._free = limit
        self._lines: dict[Priority, dict[Ticket, None]] = {"interactive": {}, "batch": {}}

    def take(self) -> bool:
        """A free slot now, if there is one; ``give_back`` it."""
        with _lock:
            if self._free == 0:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """To the first who waits, if anybody does."""
        with _lock:
            for line in self._lines.values():
                while line:
                    ticket = next(iter(line))
                    del line[ticket]
                    if ticket.call(self):
                        return
            self._free += 1

    def stand(self, ticket: "Ticket", priority: Priority) -> bool:
        """Wait for a slot, with the lock in hand; False where the line is full."""
        if self._free:
            self._free -= 1
            return ticket.call(self)
        if sum(map(len, self._lines.values())) >= self.waiting:
            return False
        self._lines[priority][ticket] = None
        return True

    def quit(self, ticket: "Ticket") -> None:
        """No longer wait, with the lock in hand."""
        for line in self._lines.values():
            line.pop(ticket, None)


class Ticket:
    """A request that waits for one slot of whichever candidate is free first; of one event loop."""

    def __init__(self, priority: Priority) -> None:
        self._priority = priority
        self._loop = asyncio.get_running_loop()
        self._called: asyncio.Future[None] = self._loop.create_future()
        self._stands: list[Slots] = []
        self._slots: Slots | None = None
        self._gone = False

    @property
    def is_used(self) -> bool:
        """It had its turn."""
        return self._gone

    def stand(self, all_slots: Iterable[Slots]) -> bool:
        """Wait at these, keeping its place where it waits already; False where all lines are full."""
        with _lock:
            for slots in all_slots:
                if self._slots is not None or slots in self._stands:
                    continue
                if slots.stand(self, self._priority):
                    self._stands.append(slots)
            return bool(self._stands)

    async def wait(self, until: float) -> Slots | None:
        """Whose slot it has now; None when it has none at that time of the loop's clock."""
        try:
            async with asyncio.timeout_at(until):
                await asyncio.shield(self._called)
        except TimeoutError:
            return None
        with _lock:
            slots, self._slots = self._slots, None
            self._gone = True
        return slots

    def close(self) -> None:
        """Wait no longer; a slot that came too late goes to the next."""
        with _lock:
            self._gone = True
            for slots in self._stands:
                slots.quit(self)
            late, self._slots = self._slots, None
        if late is not None:
            late.give_back()

    def call(self, slots: Slots) -> bool:
        """It is its turn, with the lock in hand; False when nobody is there any more."""
        if self._gone or self._slots is not None:
            return False
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # its loop is closed
            self._gone = True
            return False
        self._slots = slots
        return True

    def _wake(self) -> None:
        if not self._called.done():
            self._called.set_result(None)
