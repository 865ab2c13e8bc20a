"""A schedule as it stands in its table."""

from dataclasses import dataclass
from typing import Any

MISFIRES = ("run-once", "skip", "run-all")


@dataclass(frozen=True)
class Schedule:
    """A row. Times are seconds since 1970.

    Each due time is counted once: in ``fired``, ``missed`` (by the misfire policy), ``overlapped``
    (a run of the schedule was still going) or ``failed`` (its run could not be started).
    """

    id: str
    name: str
    workflow: str  # as it was named when the schedule was made
    reference: str  # loads the same graph in another process
    folder: str  # where modules of ``reference`` are looked for
    input: Any  # plain JSON
    tenant: str
    priority: str
    cron: str | None
    every_s: int | None  # either this or ``cron``
    zone: str
    misfire: str  # one of MISFIRES
    grace_s: float  # how late is still in time
    anchor: float  # what an interval is counted from
    created_at: float
    paused: bool = False
    next_at: float | None = None  # None: there is no time any more
    through: float = 0.0  # the latest time that was dealt with
    seen_at: float = 0.0  # what the clock said then
    pending: str | None = None  # a run that is decided on and may not be started yet: its key's end
    pending_at: float = 0.0
    last_at: float | None = None  # the last time for which a run was started
    last_run_id: str | None = None
    last_error: dict[str, Any] | None = None
    fired: int = 0
    missed: int = 0
    overlapped: int = 0
    failed: int = 0
    rev: int = 0  # grows with each change

    @property
    def key(self) -> str | None:
        """The idempotency key of the run that is decided on."""
        return None if self.pending is None else self.key_of(self.pending)

    def key_of(self, what: str) -> str:
        """The idempotency key of the run for a time, as ``2030-01-31T08:00:00Z``."""
        return f"schedule:{self.name}:{what}"
