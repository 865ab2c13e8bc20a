"""Where in which graph the running code stands, and which database keeps its effects."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from nearfar.settings import load_settings

from .attempts import Attempt
from .store import EffectStore


@dataclass(frozen=True)
class Bound:
    """The store of a durable run; what its steps do is kept there under the run's id."""

    store: EffectStore
    run_id: str | None = None


_bound: ContextVar[Bound | None] = ContextVar("nearfar_effects", default=None)


@contextmanager
def effects_kept_in(store: EffectStore, run_id: str | None = None) -> Iterator[None]:
    """The effects of the code in the block, and of what LangGraph starts there, go to ``store``."""
    token = _bound.set(Bound(store, run_id))
    try:
        yield
    finally:
        _bound.reset(token)


@contextmanager
def opened() -> Iterator[Bound]:
    """The run's store; outside of a run that of the settings in the usual places, for this call."""
    bound = _bound.get()
    if bound is not None:
        yield bound
        return
    with EffectStore.open(load_settings()) as store:
        yield Bound(store)


@dataclass(frozen=True)
class Place:
    """The step that is running. ``scope`` is its task: the same whenever the step is tried again."""

    thread_id: str
    scope: str
    step: str
    attempt: Attempt


def here() -> Place | None:
    """None outside of a step, and in a graph whose state nobody keeps (without a checkpointer)."""
    from langchain_core.runnables.config import var_child_runnable_config

    config = var_child_runnable_config.get()
    inner: dict[str, Any] = (config or {}).get("configurable") or {}
    thread_id, scope = inner.get("thread_id"), inner.get("checkpoint_ns")
    if thread_id is None or not scope or inner.get("__pregel_checkpointer") is None:
        return None
    step = str(scope).rpartition("|")[2].partition(":")[0]
    return Place(str(thread_id), str(scope), step, _attempt(inner))


_attempts: WeakKeyDictionary[Any, tuple[int, Attempt]] = WeakKeyDictionary()
_lock = Lock()


def _attempt(inner: dict[str, Any]) -> Attempt:
    """The same object for all calls of one attempt at a task, in whatever thread they are made.

    LangGraph makes one ``read`` for each task that it prepares, and counts the attempts at it.
    """
    task = inner["__pregel_read"]
    info = inner["__pregel_runtime"].execution_info
    number = info.node_attempt if info is not None else 1
    with _lock:
        known = _attempts.get(task)
        if known is None or known[0] != number:
            known = _attempts[task] = (number, Attempt())
        return known[1]
