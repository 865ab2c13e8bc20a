"""A worker on this machine, over whichever database holds the runs."""

import asyncio
import logging
from collections.abc import Sequence

from nearfar.errors import DatabaseError, MissingPackageError, UsageError
from nearfar.settings import Settings
from nearfar.storage.postgres import connect_postgres, postgres_url

from .runner import Runner
from .schedules.ticker import Ticker

_PAUSE_S = 1.0  # after the database failed

_log = logging.getLogger(__name__)


async def work(
    settings: Settings,
    stop: asyncio.Event,
    *,
    concurrency: int | None = None,
    workflows: Sequence[str] = (),
) -> None:
    """Work on queued runs until ``stop`` is set, at most ``concurrency`` at a time.

    Runs that do not end within ``queue.drain_s`` after that are handed back to others.
    ``workflows``: runs of these alone. Raises StorageError, UsageError, MissingPackageError.
    """
    slots = concurrency or settings.runs.concurrency
    url = postgres_url(settings)
    if url is None:
        if workflows:
            raise UsageError(
                "Only workers of a Postgres can be kept to some workflows.",
                remedy="Leave --workflow away, or set storage.url to a Postgres.",
            )
        runs = settings.runs.model_copy(update={"concurrency": slots})
        async with Runner(settings.model_copy(update={"runs": runs})) as runner:
            async with Ticker(runner.schedules):
                await stop.wait()
            await runner.worker.drain(settings.queue.drain_s)
        return
    try:
        from .queued import QueueWorker
    except ImportError as error:
        raise MissingPackageError(
            "Workers of a Postgres need the package procrastinate.",
            remedy="pip install 'nearfar[postgres]'",
            data={"package": error.name},
        ) from None
    await asyncio.to_thread(lambda: connect_postgres(url).close())  # not there: no start
    while not stop.is_set():
        try:
            await QueueWorker(settings, url, concurrency=slots, workflows=workflows).run(stop)
        except DatabaseError as error:  # the server restarts in the midst of it
            _log.warning("the worker begins anew", extra={"reason": str(error)})
            await asyncio.sleep(_PAUSE_S)
