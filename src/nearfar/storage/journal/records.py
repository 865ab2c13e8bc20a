"""What the journal keeps of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PRIORITIES = {"interactive": 0, "normal": 1, "batch": 2}

Blob = tuple[str, bytes]
"""A value as a serializer wrote it: the form's name, and the bytes."""


@dataclass(frozen=True)
class NewRun:
    """A run that is to be accepted."""

    id: str
    workflow: str  # as the caller named it
    reference: str  # loads the same graph in another process
    folder: str  # where modules of ``reference`` are looked for
    thread_id: str
    input: Blob
    digest: str  # of everything that makes the request: the same key must have the same
    idempotency_key: str | None = None
    tenant: str = ""
    priority: str = "interactive"
    base: str | None = None  # the thread's last checkpoint before the run; None: not known yet
    forked_from: str | None = None  # RUN:CHECKPOINT


@dataclass(frozen=True)
class Record:
    """A run as it stands in the journal. Times are seconds since 1970."""

    id: str
    seq: int
    workflow: str
    reference: str
    folder: str
    thread_id: str
    input: Blob
    digest: str
    idempotency_key: str | None
    tenant: str
    priority: str
    base: str | None
    forked_from: str | None
    status: str
    attempt: int
    crashes: int  # attempts in a row that died
    mark: str | None  # how far the run was when it died last
    begun: int  # the last attempt after a crash that got to its work
    fence: int
    home: str  # the process that accepted it, or was asked last to go on with it
    answers: Blob | None
    approved: str | None  # the checkpoint whose breakpoint a person let pass
    output: Any
    error: dict[str, Any] | None
    questions: list[dict[str, Any]]
    usage: dict[str, Any] = field(default_factory=dict)
    cost_usd: float | None = 0.0
    head: str | None = None  # the run's last checkpoint
    created_at: float = 0.0
    updated_at: float = 0.0
    expires_at: float | None = None  # when nobody may answer any more
    wake_at: float | None = None
    apart: list[str] = field(default_factory=list)
    """Keys of ``output`` whose values stand with the thread's checkpoints, under the run's id."""


@dataclass(frozen=True)
class Finish:
    """What an attempt leaves in the journal."""

    status: str
    output: Any = None
    apart: Sequence[str] = ()
    error: dict[str, Any] | None = None
    questions: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    cost_usd: float | None = 0.0
    head: str | None = None
    expires_at: float | None = None
    wake_at: float | None = None
