"""Which process works on a run, and whether it still lives."""

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

_SAME_START_S = 5.0  # where only the wall clock tells when a process started


@dataclass(frozen=True)
class Holder:
    """A process. Its id alone says little: ids are used again, here and on other machines."""

    machine: str  # the host's name, and its namespace of process ids
    boot: str  # what tells this start of the machine from others; empty where that is not known
    pid: int
    started: float  # seconds: since the boot where ``boot`` is known, else since 1970

    def __str__(self) -> str:
        return f"{self.machine}|{self.boot}|{self.pid}|{self.started}"

    @classmethod
    def parse(cls, text: str) -> "Holder":
        """What ``str`` wrote."""
        machine, boot, pid, started = text.rsplit("|", 3)
        return cls(machine, boot, int(pid), float(started))

    def shares_clock_with(self, other: "Holder") -> bool:
        """Whether both read the same monotonic clock."""
        return bool(self.boot) and (self.machine, self.boot) == (other.machine, other.boot)

    def is_dead(self) -> bool:
        """Surely dead; of another machine's processes nothing is known."""
        here = this_process()
        if self.machine != here.machine:
            return False
        if self.boot != here.boot:
            return True
        if self.pid == here.pid:
            return abs(self.started - here.started) > _SAME_START_S
        started = _started(self.pid)
        return started is None or abs(self.started - started) > _SAME_START_S


def this_process() -> Holder:
    """The process that asks; a forked child is another one than its parent."""
    return _holder(os.getpid())


@lru_cache(maxsize=2)
def _holder(pid: int) -> Holder:
    machine, boot = platform.node(), ""
    if os.name == "posix" and Path("/proc/sys/kernel/random/boot_id").is_file():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        machine += "/" + os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path
    return Holder(machine, boot, pid, _started(pid) or 0.0)


def _started(pid: int) -> float | None:
    """When the process started; None when there is none (or only its remains)."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in ("Z", "X") else int(fields[19]) / os.sysconf("SC_CLK_TCK")
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return 0.0
