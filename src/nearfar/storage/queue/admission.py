"""The step between the journal and the queue: which runs get a ticket now."""

import json
import time
from collections.abc import Callable
from typing import Any

from procrastinate import App

from nearfar.storage.journal.holders import this_process
from nearfar.storage.journal.leases import COLUMNS, Lease, Watch
from nearfar.storage.journal.records import PRIORITIES
from nearfar.storage.migrations import Migration, migrate
from nearfar.storage.postgres import ServerClock, connect_postgres, postgres_errors

from .fairness import SUSPECT, Begun, Chooser, Limits, Slots, Turns, Waiting
from .tickets import TASK, is_open, ticket

SUSPECTED_CRASHES = 2  # deaths at the same step after which a run is suspected of causing them

_MIGRATIONS = (
    Migration.sql(
        "who was admitted when",
        "CREATE TABLE admissions (run_id TEXT NOT NULL, workflow TEXT NOT NULL,"
        " tenant TEXT NOT NULL, at REAL NOT NULL)",
        "CREATE INDEX admissions_in_order ON admissions (at)",
        # turn: JSON of class and tenant; of the class alone for where all of it stands
        "CREATE TABLE turns (turn TEXT PRIMARY KEY, number REAL NOT NULL)",
        "CREATE INDEX runs_to_begin ON runs (priority, tenant, workflow, seq)"
        " WHERE status IN ('queued', 'parked')",
    ),
)
_LOCK = 0x6E656172_61
_NOW = "extract(epoch FROM clock_timestamp())"
_WORKERS = f"SELECT slots, workflows FROM workers WHERE seen + 2 * length_s > {_NOW}"  # noqa: S608
# The first runs of each line; of a thread only its first run.
_WAITING = """
    SELECT run.* FROM
        (SELECT DISTINCT priority, tenant, workflow FROM runs WHERE status IN ('queued', 'parked'))
        AS line,
        LATERAL (SELECT id, thread_id, workflow, tenant, priority, crashes, seq FROM runs
            WHERE status IN ('queued', 'parked') AND priority = line.priority
            AND tenant = line.tenant AND workflow = line.workflow AND id <> ALL(%(held)s)
            AND CASE WHEN wake_at IS NULL THEN status = 'queued' ELSE wake_at <= %(now)s END
            AND NOT EXISTS (SELECT 1 FROM runs AS other WHERE other.thread_id = runs.thread_id
                AND other.seq < runs.seq
                AND other.status NOT IN ('succeeded', 'failed', 'cancelled'))
            ORDER BY seq LIMIT %(most)s) AS run
"""
_RUNNING = (
    "SELECT runs.id, runs.thread_id, workflow, tenant, priority, crashes, seq,"  # noqa: S608 - ours
    f" runs.attempt, runs.begun, {COLUMNS} FROM runs LEFT JOIN leases USING (thread_id)"
    " WHERE status = 'running'"
)
_MINUTE = f"SELECT workflow, tenant FROM admissions WHERE at > {_NOW} - 60"  # noqa: S608
_NOTE = f"INSERT INTO admissions VALUES (%s, %s, %s, {_NOW})"  # noqa: S608
_OLD = f"DELETE FROM admissions WHERE at < {_NOW} - 120"  # noqa: S608
_TURN = (
    "INSERT INTO turns VALUES (%s, %s) ON CONFLICT (turn) DO UPDATE SET number = excluded.number"
)


class Admission:
    """Gives tickets out. Of all processes one at a time does; the others pass."""

    def __init__(
        self,
        app: App,
        pool: Any,
        limits: Limits,
        watch: Watch,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._pool = pool
        self._limits = limits
        self._watch = watch
        self._clock = clock

    @staticmethod
    def prepare(url: str) -> Watch:
        """Make the tables, and a watch on leases by the server's clock. Blocks."""
        connection = connect_postgres(url)
        clock = ServerClock()
        try:
            migrate(connection, _MIGRATIONS, part="queue")
            clock.set(connection)
        finally:
            connection.close()
        return Watch(this_process(), clock, shared=True)

    async def tick(self) -> int:
        """Give out as many tickets as may be; how many that were. Raises StorageError."""
        with postgres_errors():
            async with self._pool.connection() as connection, connection.transaction():
                rows = await _all(connection, "SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
                return await self._admit(connection) if rows[0][0] else 0

    async def _admit(self, connection: Any) -> int:
        workers = [
            Slots(slots, None if names is None else frozenset(json.loads(names)))
            for slots, names in await _all(connection, _WORKERS)
        ]
        if not workers:
            return 0
        # Tickets first: one that is used up meanwhile leaves no run that still seems to wait.
        jobs: Any = await self._app.job_manager.list_jobs_async(task=TASK)
        held = {job.task_kwargs["run_id"]: job for job in jobs if is_open(job)}
        begun = [
            Begun(job.task_kwargs["workflow"], job.task_kwargs["tenant"], -job.priority)
            for job in held.values()
        ]
        waiting = []
        for row in await _all(connection, _RUNNING):
            run_id, _, workflow, tenant, _, crashes, _, attempt, begun_at, *lease = row
            if run_id in held:
                continue
            if self._watch.has_ended(None if lease[0] is None else Lease(*lease)):
                died = crashes + int(crashes == 0 or begun_at == attempt)
                waiting.append(_waiting(row, died))
            else:
                begun.append(Begun(workflow, tenant, None))
        most = 2 * sum(worker.count for worker in workers)
        wanted = {"held": list(held), "now": self._clock(), "most": most}
        waiting += [_waiting(row, row[5]) for row in await _all(connection, _WAITING, wanted)]
        return await self._give(connection, workers, begun, waiting) if waiting else 0

    async def _give(
        self, connection: Any, workers: list[Slots], begun: list[Begun], waiting: list[Waiting]
    ) -> int:
        before = dict(await _all(connection, "SELECT * FROM turns"))
        turns = Turns()
        for text, number in before.items():
            rank, *tenant = json.loads(text)
            if tenant:
                turns.served[rank, tenant[0]] = number
            else:
                turns.now[rank] = number
        minute = await _all(connection, _MINUTE)
        chooser = Chooser(workers, begun, minute, limits=self._limits, turns=turns)
        chosen = chooser.choose(waiting)
        if not chosen:
            return 0
        async with connection.cursor() as cursor:
            await cursor.executemany(
                _NOTE, [(run.run_id, run.workflow, run.tenant) for run in chosen]
            )
            after = {json.dumps([*turn]): number for turn, number in turns.served.items()}
            after |= {json.dumps([rank]): number for rank, number in turns.now.items()}
            changed = [(t, n) for t, n in after.items() if before.get(t) != n]
            await cursor.executemany(_TURN, changed)
            await cursor.execute(_OLD)
        await self._app.job_manager.batch_defer_jobs_async(
            [
                ticket(run.run_id, run.thread_id, run.workflow, run.tenant, run.rank)
                for run in chosen
            ],
            connection=connection,
        )
        return len(chosen)


def _waiting(row: Any, crashes: int) -> Waiting:
    run_id, thread_id, workflow, tenant, priority, _, seq, *_ = row
    rank = SUSPECT if crashes >= SUSPECTED_CRASHES else PRIORITIES[priority]
    return Waiting(run_id, thread_id, workflow, tenant, rank, seq)


async def _all(connection: Any, query: str, values: Any = None) -> list[Any]:
    found: list[Any] = await (await connection.execute(query, values)).fetchall()
    return found
