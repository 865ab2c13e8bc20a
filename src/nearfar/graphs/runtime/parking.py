"""Steps that must have a far model: the run is parked while none can be reached."""

import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock
from typing import Any, TypeVar

from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.errors import GraphBubbleUp

from nearfar.errors import (
    FarUnreachableError,
    NearfarError,
    NoCandidateError,
    RouterError,
    UpstreamConnectionError,
    UpstreamTimeoutError,
)
from nearfar.llm.router import only_far
from nearfar.storage.effects.place import here

F = TypeVar("F", bound=Callable[..., Any])

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
_REMEMBERED = 10_000

# Of the router's table: nobody was reached, as against having answered with a refusal.
_UNREACHED = frozenset({"refused", "reset", "dns", "tls", "connect_timeout", "silence"})


class Parked(GraphBubbleUp, FarUnreachableError):  # noqa: N818  (control flow)
    """Stops the run until a far model can be reached. No retry policy catches it.

    ``retry_in_s``: when to try again; it doubles as long as the same step is parked.
    """

    retry_in_s: float = FIRST_WAIT_S


def unreachable(error: BaseException) -> bool:
    """Whether an error says that no far model was reached: away, silent, or closed by its breaker.

    A refusal (a bad key, a request that does not fit) is none: waiting would not help.
    """
    if isinstance(error, UpstreamConnectionError | UpstreamTimeoutError):
        return True
    if not isinstance(error, RouterError):
        return False
    receipt = error.data.get("receipt") or {}
    attempts = receipt.get("attempts") or []
    passed = [e["reason"] for e in receipt.get("candidates") or [] if "reason" in e]
    if any(attempt.get("fault") not in _UNREACHED for attempt in attempts):
        return False
    closed = [reason for reason in passed if reason.startswith("breaker:")]
    if any(reason.endswith("refused") for reason in closed):
        return False
    return bool(attempts) or (isinstance(error, NoCandidateError) and bool(closed))


def cloud_required(node: Any) -> Any:
    """Mark a node (a function, async or not, or a Runnable) as needing a far model.

    In it, routers use no model of this machine, and while no far one can be reached the run is
    parked; the node is called anew when it is tried again.
    """
    if isinstance(node, Runnable):
        return RunnableLambda(
            _guarded(node.invoke), _guarded_async(node.ainvoke), name=node.get_name()
        )
    return _guarded_async(node) if inspect.iscoroutinefunction(node) else _guarded(node)


def _guarded(call: F) -> F:
    @wraps(call)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with _parking(_name(call)):
            return call(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def _guarded_async(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(call)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        with _parking(_name(call)):
            return await call(*args, **kwargs)

    return guarded


def _name(call: Any) -> str:
    return str(getattr(call, "__name__", type(call).__name__))


_waits: OrderedDict[tuple[str, str], float] = OrderedDict()  # of the steps that are parked now
_lock = Lock()


@contextmanager
def _parking(name: str) -> Iterator[None]:
    """Turn an error that says that nothing far was reached into Parked."""
    place = here()
    step = place.step if place else name
    key = (place.thread_id if place else "", step)
    with only_far():
        try:
            yield
        except NearfarError as error:
            if not unreachable(error):
                raise
            parked = Parked(
                f"The step {step} needs a far model, and none can be reached: {error.message}",
                data={"step": step},
            )
            parked.retry_in_s = _next_wait(key)
            raise parked from error
    with _lock:
        _waits.pop(key, None)


def _next_wait(key: tuple[str, str]) -> float:
    with _lock:
        wait = _waits.pop(key, 0.0)
        _waits[key] = min(LONGEST_WAIT_S, wait * 2 or FIRST_WAIT_S)
        if len(_waits) > _REMEMBERED:
            _waits.popitem(last=False)
        return _waits[key]
