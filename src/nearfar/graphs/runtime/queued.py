"""Works on the runs of a Postgres that many machines share: what ``nearfar worker`` is."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status
from procrastinate.worker import Worker as JobWorker

from nearfar.errors import RunNotFoundError, StorageError
from nearfar.settings import LimitSettings, Settings
from nearfar.storage.journal import Claim, Record
from nearfar.storage.journal.holders import this_process
from nearfar.storage.postgres import postgres_errors
from nearfar.storage.queue import TASK, Admission, Limit, Limits, open_app, queue_of
from nearfar.storage.queue.admission import SUSPECTED_CRASHES

from .apart import work_apart
from .runner import Runner
from .schedules.queued import ticking

_IDLE_S = 0.25  # how often it is looked whether there is something to admit
_BUSY_S = 0.05  # while runs end
_PAUSE_S = 1.0  # after the database failed
_NEVER_S = 1e6

_REGISTER = (
    "INSERT INTO workers (holder, slots, workflows, length_s, seen)"
    " VALUES (%s, %s, %s, %s, extract(epoch FROM clock_timestamp()))"
    " ON CONFLICT (holder) DO UPDATE SET seen = excluded.seen"
)
_FORGET = (
    "DELETE FROM workers WHERE holder = %s"
    " OR seen + 60 + 10 * length_s < extract(epoch FROM clock_timestamp())"
)

_log = logging.getLogger(__name__)


class QueueWorker:
    """Begins what the queue hands to this process, and helps to keep the queue.

    Each worker admits runs to the queue (one of all does at a time), renews its own signs of life,
    and hands the tickets of workers that show none to others.
    """

    def __init__(
        self, settings: Settings, url: str, *, concurrency: int, workflows: Sequence[str] = ()
    ) -> None:
        self._settings = settings
        self._url = url
        self._concurrency = concurrency
        self._workflows = list(workflows) or None
        self._working: set[str] = set()  # runs
        self._idle_tickets: set[int] = set()  # ours, but nothing here works on them
        self._wake = asyncio.Event()
        self._jobs: JobWorker | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set; then runs end within ``queue.drain_s`` or are handed back."""
        async with AsyncExitStack() as stack:
            self._runner = await stack.enter_async_context(Runner(self._settings, adopt=False))
            self._app = await stack.enter_async_context(open_app(self._url))
            self._app.task(name=TASK)(self._work)
            clock = await stack.enter_async_context(Runner(self._settings, work=False))
            await stack.enter_async_context(ticking(self._app, clock, self._settings))
            watch = await asyncio.to_thread(Admission.prepare, self._url)
            pool = self._pool()
            admission = Admission(self._app, pool, limits_of(self._settings), watch)
            async with self._registered(pool):
                keeping: list[asyncio.Task[None]] = [
                    asyncio.create_task(self._admit(admission)),
                    asyncio.create_task(self._keep(pool)),
                ]
                serving = asyncio.create_task(self._serve())
                stopped = asyncio.create_task(stop.wait())
                try:
                    await asyncio.wait([stopped, *keeping, serving], return_when="FIRST_COMPLETED")
                    for kept in (*keeping, serving):
                        if kept.done():  # none of them ends by itself
                            kept.result()
                finally:
                    self._connector().patient = False
                    for task in (stopped, *keeping, serving):
                        task.cancel()
                    await asyncio.gather(stopped, *keeping, serving, return_exceptions=True)

    def _connector(self) -> Any:
        return self._app.connector

    def _pool(self) -> Any:
        return self._connector().pool

    @asynccontextmanager
    async def _registered(self, pool: Any) -> AsyncIterator[None]:
        """Others see that this worker is here, and how much it takes."""
        await self._register(pool)
        try:
            yield
        finally:
            with contextlib.suppress(StorageError), postgres_errors():
                async with asyncio.timeout(1), pool.connection() as connection:
                    await connection.execute(_FORGET, (str(this_process()),))

    async def _register(self, pool: Any) -> None:
        names = None if self._workflows is None else json.dumps(self._workflows)
        lease_s = self._settings.runs.lease_s
        with postgres_errors():
            async with pool.connection() as connection:
                row = (str(this_process()), self._concurrency, names, lease_s)
                await connection.execute(_REGISTER, row)

    async def _serve(self) -> None:
        """Take tickets; again with a new worker of Procrastinate's when one gave up."""
        lease_s = self._settings.runs.lease_s
        queues = None if self._workflows is None else [*map(queue_of, self._workflows), TASK]
        while True:
            self._jobs = JobWorker(
                self._app,
                queues=queues,
                concurrency=self._concurrency,
                delete_jobs="always",
                install_signal_handlers=False,
                fetch_job_polling_interval=1.0,
                abort_job_polling_interval=_NEVER_S,  # a run is cancelled in the journal
                update_heartbeat_interval=lease_s / 3,
                stalled_worker_timeout=lease_s,
                shutdown_graceful_timeout=self._settings.queue.drain_s,
            )
            try:
                await self._jobs.run()  # type: ignore[no-untyped-call]
            except ConnectorException as error:
                _log.warning("the queue cannot be read", extra={"reason": str(error.__cause__)})
            await asyncio.sleep(_PAUSE_S)

    async def _work(self, run_id: str, **_: str) -> None:
        """A ticket. Whatever comes of it, the journal says how the run stands."""
        self._working.add(run_id)
        journal = self._runner.journal
        try:
            if _is_suspect(await journal.get(run_id)):
                await work_apart(self._settings, run_id)
                return
            claim = await journal.claim(run_id)
            if claim is not None:
                await self._attempt(claim)
        except RunNotFoundError:
            pass
        except StorageError as error:
            _log.warning("a run was not begun", extra={"run_id": run_id, "reason": str(error)})
        finally:
            self._working.discard(run_id)
            self._wake.set()

    async def _attempt(self, claim: Claim) -> None:
        attempt = self._runner.worker.begin(claim)
        try:
            await asyncio.shield(attempt)
        except asyncio.CancelledError:  # this worker stops: the run is handed back
            attempt.cancel()
            await asyncio.wait([attempt])
            raise

    async def _admit(self, admission: Admission) -> None:
        while True:
            self._wake.clear()
            try:
                await admission.tick()
            except (StorageError, ConnectorException) as error:
                _log.warning("no run can be admitted", extra={"reason": str(error)})
                await asyncio.sleep(_PAUSE_S)
            await asyncio.sleep(_BUSY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_S):
                    await self._wake.wait()

    async def _keep(self, pool: Any) -> None:
        """Signs of life, and the tickets of those who show none."""
        while True:
            await asyncio.sleep(self._settings.runs.lease_s / 3)
            try:
                await self._register(pool)
                await self._take_back()
            except (StorageError, ConnectorException) as error:
                _log.warning("the queue cannot be kept", extra={"reason": str(error)})

    async def _take_back(self) -> None:
        manager = self._app.job_manager
        lease_s = self._settings.runs.lease_s
        lost: list[Any] = list(await manager.get_stalled_jobs(seconds_since_heartbeat=lease_s))
        idle: set[int] = set()
        if self._jobs is not None and self._jobs.worker_id is not None:
            number = self._jobs.worker_id
            ours: Any = await manager.list_jobs_async(status="doing", worker_id=number, task=TASK)
            # Fetched, but the connection broke before the answer came; seen so twice in a row.
            unknown = [job for job in ours if job.task_kwargs["run_id"] not in self._working]
            lost += [job for job in unknown if job.id in self._idle_tickets]
            idle = {job.id for job in unknown}
        self._idle_tickets = idle
        for job in lost:
            await hand_on(self._app, job.id)


async def hand_on(app: App, job_id: int) -> None:
    """Let another worker take the job."""
    try:
        await app.job_manager.retry_job_by_id_async(job_id, retry_at=datetime.now(UTC))
    except ConnectorException as error:
        if error.__cause__ is not None:  # else its queueing lock is held by a newer ticket
            raise
        await app.job_manager.finish_job_by_id_async(job_id, Status.FAILED, delete_job=True)


def limits_of(settings: Settings) -> Limits:
    """The limits of the section ``queue``."""

    def limits(given: dict[str, LimitSettings]) -> dict[str, Limit]:
        return {name: Limit(one.concurrency, one.per_minute) for name, one in given.items()}

    return Limits(limits(settings.queue.workflows), limits(settings.queue.tenants))


def _is_suspect(record: Record) -> bool:
    """Whether the program died at it again and again: then it may take only itself with it."""
    at_work = record.crashes == 0 or record.begun == record.attempt
    died = record.status == "running" and at_work
    return record.crashes + int(died) >= SUSPECTED_CRASHES
