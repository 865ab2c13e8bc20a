"""Which process holds a reservation, and whether it still lives."""

import os
import platform
from dataclasses import dataclass
from functools import lru_cache

import psutil

_SAME_START_S = 5.0  # a process's start, told twice, may differ when the clock was set


@dataclass(frozen=True)
class Holder:
    """A process: its id may be used again after it, on this machine or another."""

    host: str
    pid: int
    started: float

    def is_dead(self) -> bool:
        """Surely dead; of another machine's processes nothing is known."""
        if self.host != platform.node():
            return False
        if self.pid == os.getpid():
            return abs(self.started - _started(self.pid)) > _SAME_START_S
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return abs(process.create_time() - self.started) > _SAME_START_S
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


def this_process() -> Holder:
    """The process that asks; a forked child is another one than its parent."""
    pid = os.getpid()
    return Holder(platform.node(), pid, _started(pid))


@lru_cache(maxsize=4)
def _started(pid: int) -> float:
    return psutil.Process(pid).create_time()
