"""Bounds of one call: time, size of the arguments, size of the result."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from nearfar.errors import ToolTimeoutError

T = TypeVar("T")

_MAX_DEPTH = 50  # of arguments

_ends_at: contextvars.ContextVar[float | None] = contextvars.ContextVar("ends_at", default=None)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take."""

    timeout_s: float = 30
    max_output_chars: int = 20_000
    max_argument_chars: int = 100_000


def time_left() -> float:
    """Seconds until the running call must be done; never negative. Without a call: endless.

    A thread cannot be stopped from outside, so work that may be long looks at this now and then.
    """
    ends_at = _ends_at.get()
    return float("inf") if ends_at is None else max(0.0, ends_at - time.monotonic())


def check_time(tool: str = "The tool") -> None:
    """Raise ToolTimeoutError when no time is left."""
    if time_left() <= 0:
        raise ToolTimeoutError(f"{tool} took longer than it may.")


def cut(text: str, limit: int) -> tuple[str, int]:
    """The first ``limit`` characters, and how many are missing."""
    return text[:limit], max(0, len(text) - limit)


def cut_mark(missing: int) -> str:
    """What stands where a text was cut; empty when nothing is missing."""
    return f"[... cut: {missing:,} more characters]" if missing else ""


def run_within(work: Callable[[], T], timeout_s: float, tool: str) -> T:
    """Run ``work`` in a thread of its own, for at most ``timeout_s`` seconds.

    Raises ToolTimeoutError then; the thread is left behind and ends when it next looks at
    ``time_left``. It never keeps the program from ending.
    """
    try:
        return _start(work, timeout_s, tool).result(timeout_s)
    except TimeoutError:
        raise _too_long(tool, timeout_s) from None


async def arun_within(work: Callable[[], T], timeout_s: float, tool: str) -> T:
    """As ``run_within``, without holding up the event loop."""
    try:
        return await asyncio.wait_for(
            asyncio.wrap_future(_start(work, timeout_s, tool)), timeout=timeout_s
        )
    except TimeoutError:
        raise _too_long(tool, timeout_s) from None


async def await_within(work: Callable[[], Awaitable[T]], timeout_s: float, tool: str) -> T:
    """Await ``work()`` for at most ``timeout_s`` seconds; then it is cancelled."""
    token = _ends_at.set(time.monotonic() + timeout_s)
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return await work()
    except TimeoutError:
        if limit.expired():
            raise _too_long(tool, timeout_s) from None
        raise
    finally:
        _ends_at.reset(token)


def _start(work: Callable[[], T], timeout_s: float, tool: str) -> Future[T]:
    future: Future[T] = Future()
    context = contextvars.copy_context()
    context.run(_ends_at.set, time.monotonic() + timeout_s)

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(context.run(work))
        except TimeoutError as error:  # the work's own, not the wait's
            future.set_exception(_WorkTimeoutError(error))
        except BaseException as error:  # noqa: BLE001  # raised again where the result is taken
            future.set_exception(error)

    threading.Thread(target=run, name=f"nearfar-tool-{tool}", daemon=True).start()
    return future


class _WorkTimeoutError(OSError):
    """A TimeoutError of the work (a socket's, say), kept apart from the call's own limit."""

    def __init__(self, cause: TimeoutError) -> None:
        super().__init__(str(cause) or "timed out")


def _too_long(tool: str, timeout_s: float) -> ToolTimeoutError:
    return ToolTimeoutError(
        f"{tool} took longer than its {timeout_s:g} seconds and was stopped.",
        data={"tool": tool, "limit_s": timeout_s},
    )


def too_large(value: object, limits: Limits) -> str | None:
    """What to tell about arguments that are too long or too deep; None when they are neither."""
    limit = limits.max_argument_chars
    if size_of(value, limit) > limit:
        return (
            f"The arguments are too long: more than {limit:,} characters."
            " Send less, in several calls if need be."
        )
    if any(inner and depth >= _MAX_DEPTH for _, inner, depth in _items(value)):
        return f"The arguments are nested more than {_MAX_DEPTH} levels deep."
    return None


def size_of(value: object, limit: int) -> int:
    """Its characters, and one for each item; counting ends soon after ``limit``."""
    total = 0
    for item, inner, _ in _items(value):
        total += 1 + len(inner) + (len(item) if isinstance(item, str | bytes) else 0)
        if total > limit:
            break
    return total


def _items(value: object) -> Iterator[tuple[object, list[object], int]]:
    """What is in the value, what is in that, and how deep; no nesting is too deep for it."""
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        inner: list[object] = []
        if isinstance(item, Mapping):
            inner = [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set):
            inner = list(item)
        yield item, inner, depth
        waiting += [(one, depth + 1) for one in inner]
