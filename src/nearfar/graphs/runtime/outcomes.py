"""How an attempt at a run ends: one table from what was raised to what is journaled."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from nearfar.errors import LeaseLostError, NearfarError
from nearfar.storage.effects.once import NeedsReconcile

from .parking import Parked

Status = Literal[
    "queued", "running", "waiting", "parked", "reconcile", "succeeded", "failed", "cancelled"
]
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class Question:
    """What a run waits for; ``id`` is LangGraph's of the interrupt, None for a breakpoint."""

    id: str | None
    value: Any  # plain JSON

    def to_dict(self) -> dict[str, Any]:
        """As it is journaled and shown."""
        return {"id": self.id, "value": self.value}


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt. Everything in it is plain JSON."""

    status: Status
    output: Any = None
    apart: tuple[str, ...] = ()  # keys of ``output`` that the thread's checkpoints keep
    error: dict[str, Any] | None = None  # NearfarError.to_dict()
    questions: tuple[Question, ...] = ()
    wake_at: float | None = None  # parked: when to try again, seconds since 1970; None: at once


class Abandoned(Exception):  # noqa: N818 - no error: somebody else has the run now
    """The attempt ended without a right to say how: nothing is journaled."""


def _failed(error: NearfarError) -> Outcome:
    return Outcome("failed", error=error.to_dict())


def _abandoned(error: BaseException) -> Outcome:
    raise Abandoned from error


def _parked(error: Parked) -> Outcome:
    return Outcome("parked", error=error.to_dict(), wake_at=time.time() + error.retry_in_s)


def _unknown(error: NeedsReconcile) -> Outcome:
    return Outcome("reconcile", error=error.to_dict())


# What was raised -> how the run stands; the first row that fits holds. Errors that are not ours
# have become a WorkflowFailedError before.
OUTCOMES: tuple[tuple[type[BaseException], Callable[[Any], Outcome]], ...] = (
    (LeaseLostError, _abandoned),
    (asyncio.CancelledError, _abandoned),
    (Parked, _parked),
    (NeedsReconcile, _unknown),
    (NearfarError, _failed),
)


def outcome_of(error: BaseException) -> Outcome:
    """The journaled end of an attempt that raised. Raises Abandoned where nothing may be journaled."""
    for kind, make in OUTCOMES:
        if isinstance(error, kind):
            return make(error)
    raise error
