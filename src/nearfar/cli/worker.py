"""``nearfar worker``: work on queued runs, on this machine, until it is stopped."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer

from .context import settings as current_settings
from .output import err_console, run_async

_WITHIN_S = 9.5  # whatever a step does, the program ends

app = typer.Typer(add_completion=False)


@app.command()
def worker(
    *,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Runs at the same time; else runs.concurrency."),
    ] = None,
    workflow: Annotated[
        list[str] | None,
        typer.Option("--workflow", metavar="NAME", help="Only runs of this workflow; repeatable."),
    ] = None,
) -> None:
    """Work on queued runs until stopped: with a Postgres, as one of many machines.

    On SIGTERM (Windows: Ctrl-Break) or Ctrl-C runs get some seconds to end; the others are handed
    back, and go on elsewhere.
    """
    stopping = _Stopping()
    run_async(_work(stopping, concurrency, workflow or []))
    stopping.done = True
    if stopping.by_ctrl_c:
        raise KeyboardInterrupt


async def _work(stopping: "_Stopping", concurrency: int | None, workflows: list[str]) -> None:
    import asyncio

    from nearfar.graphs.runtime.machine import work

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stopping.listen(lambda: loop.call_soon_threadsafe(stop.set))
    settings = current_settings()
    err_console().print("Working; Ctrl-C stops.", markup=False)
    await work(settings, stop, concurrency=concurrency, workflows=workflows)
    stopping.done = True


class _Stopping:
    """What a signal does: it asks to stop, and sees to it that the program ends in time."""

    def __init__(self) -> None:
        self.by_ctrl_c = False
        self.done = False  # all runs have ended or were handed back

    def listen(self, stop: Callable[[], object]) -> None:
        """Call ``stop`` when a signal comes."""

        def handle(number: int, _: FrameType | None) -> None:
            self.by_ctrl_c = number == signal.SIGINT
            end = threading.Timer(_WITHIN_S, self._end)
            end.daemon = True
            end.start()
            stop()

        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), handle)

    def _end(self) -> None:
        """A step that blocks a thread cannot be stopped in any other way."""
        os._exit(0 if self.done else 1)
