"""Threads that a stopped command can leave behind."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from threading import BoundedSemaphore, Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = min(32, (os.cpu_count() or 1) + 4)  # as many as asyncio's own executor has


class DaemonThreads(ThreadPoolExecutor):
    """Runs each call in a daemon thread of its own, `AT_ONCE` of them at the same time.

    The standard library's executor has its threads joined when the program ends, so that Ctrl-C
    would take as long as the call that it interrupts. (An event loop takes no executor of another
    class.)
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)  # never starts a thread of its own: submit is ours
        self._slots = BoundedSemaphore(AT_ONCE)
        self._pending: set[Future[Any]] = set()
        self._abandoned = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a call."""
        future: Future[T] = Future()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)

        def call() -> None:
            with self._slots:
                if not future.set_running_or_notify_cancel():
                    return
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001  # the future's owner gets it
                    future.set_exception(error)

        Thread(target=call, daemon=True).start()
        return future

    def abandon(self) -> None:
        """Wait for nothing from here on."""
        self._abandoned = True

    def shutdown(
        self,
        wait: bool = True,  # the base class's signature
        *,
        cancel_futures: bool = False,
    ) -> None:
        """Wait for what still runs, unless it was abandoned."""
        waiting = list(self._pending)
        if cancel_futures:
            for future in waiting:
                future.cancel()
        if wait and not self._abandoned:
            wait_for(waiting)
