"""What the code of a step can know about the run that it belongs to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from nearfar.settings import Settings
from nearfar.storage.effects import EffectStore
from nearfar.storage.effects.place import effects_kept_in
from nearfar.storage.journal.leases import Fence


@dataclass(frozen=True)
class RunContext:
    """One attempt at a durable run. ``fence`` is what each of its writes is checked against."""

    run_id: str
    thread_id: str
    workflow: str
    fence: Fence
    settings: Settings
    effects: EffectStore | None = None


_run: ContextVar[RunContext | None] = ContextVar("nearfar_run", default=None)


def current_run() -> RunContext | None:
    """The durable run that this code runs in; None outside of one."""
    return _run.get()


@contextmanager
def running(context: RunContext) -> Iterator[None]:
    """Code in the block, and the tasks and threads that LangGraph starts there, see ``context``."""
    token = _run.set(context)
    try:
        if context.effects is None:
            yield
        else:
            with effects_kept_in(context.effects, context.run_id):
                yield
    finally:
        _run.reset(token)
