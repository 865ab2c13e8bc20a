"""What the code of a step can know about the run that it belongs to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from nearfar.settings import Settings
from nearfar.storage.journal.leases import Fence


@dataclass(frozen=True)
class RunContext:
    """One attempt at a durable run. ``fence`` is what each of its writes is checked against."""

    run_id: str
    thread_id: str
    workflow: str
    fence: Fence
    settings: Settings
    effects: Any = None  # the EffectStore of the run's database


_run: ContextVar[RunContext | None] = ContextVar("nearfar_run", default=None)


def current_run() -> RunContext | None:
    """The durable run that this code runs in; None outside of one."""
    return _run.get()


@contextmanager
def running(context: RunContext) -> Iterator[None]:
    """Code in the block, and the tasks and threads that LangGraph starts there, see ``context``."""
    token = _run.set(context)
    try:
        yield
    finally:
        _run.reset(token)
