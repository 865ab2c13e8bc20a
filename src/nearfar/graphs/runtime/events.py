"""What a run tells while it goes on, and who listens."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from nearfar.graphs.plain import to_plain

Kind = Literal["status", "step", "token", "custom", "values", "checkpoint"]

_KEPT = 1024  # events that one who listens late is told at first


@dataclass(frozen=True)
class RunEvent:
    """Something happened in a run.

    ``data`` by ``kind``: status: {"status"}; step: {"name", "done": bool}; token: {"text", "step"};
    custom: what the step wrote to LangGraph's stream writer; values: the output so far, plain JSON;
    checkpoint (of a run that another process works on): {"id", "step"}.
    """

    kind: Kind
    data: Any
    namespace: tuple[str, ...] = ()  # of a subgraph

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "data": to_plain(self.data),
            "namespace": list(self.namespace),
        }


Publish = Callable[[RunEvent], None]


@dataclass
class Channel:
    """One run's events to all who listen in this process."""

    kept: deque[RunEvent] = field(default_factory=lambda: deque(maxlen=_KEPT))
    queues: list[asyncio.Queue[RunEvent | None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, event: RunEvent) -> None:
        """Tell everyone, now and later."""
        self.kept.append(event)
        for queue in self.queues:
            queue.put_nowait(event)

    def subscribe(self) -> asyncio.Queue[RunEvent | None]:
        """A queue that begins with what was told already; None says: look into the journal."""
        queue: asyncio.Queue[RunEvent | None] = asyncio.Queue()
        for event in self.kept:
            queue.put_nowait(event)
        self.queues.append(queue)
        return queue

    def has_changed(self) -> None:
        """Wake those who wait for the run's state in the journal."""
        self.changed.set()
        self.changed = asyncio.Event()
        for queue in self.queues:
            queue.put_nowait(None)
