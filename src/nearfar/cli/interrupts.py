"""Ctrl-C, also where a library turns it into an error of its own."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Remembers whether Ctrl-C was pressed while it was open; it still raises KeyboardInterrupt.

    A module that is stopped while it is being imported may say ImportError instead (numpy does).
    """

    def __init__(self) -> None:
        self.seen = False
        self._ours = False

    def __enter__(self) -> "Interrupts":
        if _is_default():
            signal.signal(signal.SIGINT, self._note)
            self._ours = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        signal.default_int_handler(number, frame)


@contextmanager
def default_interrupt() -> Iterator[None]:
    """Python's own handler for as long: an event loop puts its own only in the place of that."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    if not isinstance(getattr(handler, "__self__", None), Interrupts):  # somebody else's stays
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_default() -> bool:
    """Signals are the main thread's; a handler that somebody else has put stays."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
