"""Schedules among many machines: one periodic job of Procrastinate's starts what is due."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker as JobWorker

from nearfar.errors import StorageError
from nearfar.settings import Settings

from .service import Schedules

if TYPE_CHECKING:
    from nearfar.graphs.runtime.runner import Runner

TASK = "nearfar.schedules"
_EACH_SECOND = "* * * * * *"
_PAUSE_S = 1.0  # after the database failed
_NEVER_S = 1e6

_log = logging.getLogger(__name__)


@asynccontextmanager
async def ticking(app: App, runner: "Runner", settings: Settings) -> AsyncIterator[None]:
    """Take part in looking at the clock, for the length of the block; before ``app`` is served.

    Of all machines that do, one tick is queued at a time. It has a slot of its own here, so runs
    that take long hold up no schedule. ``runner`` only accepts: who begins a run is the queue's
    matter.
    """
    schedules = runner.schedules
    app.periodic(cron=_EACH_SECOND)(
        app.task(name=TASK, queue=TASK, queueing_lock=TASK)(_tick_of(schedules))
    )
    serving = asyncio.create_task(_serve(app, settings.runs.lease_s))
    try:
        yield
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def _tick_of(schedules: Schedules) -> Callable[[int], Awaitable[None]]:
    async def tick(timestamp: int) -> None:  # noqa: ARG001 - when it was queued; the clock counts
        try:
            await schedules.tick()
        except StorageError as error:
            _log.warning("the schedules cannot be read", extra={"reason": str(error)})

    return tick


async def _serve(app: App, lease_s: float) -> None:
    while True:
        worker = JobWorker(
            app,
            queues=[TASK],
            concurrency=1,
            delete_jobs="always",
            install_signal_handlers=False,
            fetch_job_polling_interval=1.0,
            abort_job_polling_interval=_NEVER_S,
            update_heartbeat_interval=lease_s / 3,
            stalled_worker_timeout=lease_s,
            shutdown_graceful_timeout=1.0,
        )
        try:
            await worker.run()  # type: ignore[no-untyped-call]
        except ConnectorException as error:
            _log.warning("the queue cannot be read", extra={"reason": str(error.__cause__)})
        await asyncio.sleep(_PAUSE_S)
