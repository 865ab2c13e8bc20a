"""``Schedules``: makes and changes schedules, and starts the runs that are due."""

import asyncio
import builtins
import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nearfar.errors import (
    NearfarError,
    RunNotFoundError,
    ScheduleBusyError,
    ScheduleExistsError,
    ScheduleInvalidError,
    ScheduleNotFoundError,
    StorageError,
    UsageError,
    WorkflowError,
    WorkflowInputError,
)
from nearfar.graphs.inputs import checked, input_schema
from nearfar.graphs.registry import find
from nearfar.graphs.runtime.handle import Run
from nearfar.graphs.runtime.requests import check_priority, found_at, here, portable
from nearfar.storage.journal import ENDED
from nearfar.storage.schedules import MISFIRES, Schedule, ScheduleTable

from .decisions import decided, plan, time_of
from .times import Times, local_zone, times_of, zone_named

if TYPE_CHECKING:
    from nearfar.graphs.runtime.runner import Runner

GRACE_S = 60.0
_SET_BACK_S = 3600.0  # a clock that was set back by more was wrong before: times begin anew
_ROUNDS = 100  # decisions on one schedule in one tick; what is left is for the next one
_TRIES = 20  # at a row that others change at the same time
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_log = logging.getLogger(__name__)


class Schedules:
    """The schedules of a Runner's database: ``runner.schedules``.

    They start nothing by themselves: ``tick`` does, which ``Runner(schedules=True)`` and
    ``nearfar worker`` call every second. Any number of processes may.
    """

    def __init__(
        self,
        runner: "Runner",
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._new_id = new_id
        self._made: ScheduleTable | None = None

    async def _table(self) -> ScheduleTable:
        if self._made is None:
            table = ScheduleTable(self._runner.journal)
            await table.make()
            self._made = table
        return self._made

    async def add(
        self,
        name: str,
        workflow: str,
        input: Any = None,  # noqa: A002 - as Runner.start has it
        *,
        cron: str | None = None,
        every: timedelta | None = None,
        zone: str | None = None,
        misfire: str = "run-once",
        grace_s: float = GRACE_S,
        tenant: str | None = None,
        priority: str = "batch",
    ) -> Schedule:
        """Start a run of the workflow at each time of ``cron``, or ``every`` so often from now on.

        ``input`` is plain JSON, and must fit the workflow now. ``zone`` is by default this
        machine's. ``misfire`` says what becomes of times at which nobody was there: run-once
        (one run for all of them), skip (none for those that are later than ``grace_s``) or
        run-all (one run for each, one after another). Raises ScheduleInvalidError,
        ScheduleExistsError, WorkflowNotFoundError, WorkflowInputError, UsageError.
        """
        _check(name, cron, every, misfire, grace_s)
        check_priority(priority)
        found = find(workflow, self._runner.settings)
        graph = await asyncio.to_thread(found.graph, self._runner.settings)
        values = checked(input_schema(graph), {} if input is None else input)
        now = self._clock()
        new = Schedule(
            id=self._new_id(),
            name=name,
            workflow=workflow,
            reference=portable(found),
            folder=here(),
            input=_plain(values),
            tenant=tenant or "",
            priority=priority,
            cron=cron,
            every_s=None if every is None else int(every.total_seconds()),
            zone=zone_named(local_zone() if zone is None else zone).key,
            misfire=misfire,
            grace_s=grace_s,
            anchor=float(int(now)),
            created_at=now,
            seen_at=now,
        )
        new = replace(new, next_at=_times(new).after(now))
        if not await (await self._table()).add(new):
            raise ScheduleExistsError(f"There is a schedule {name!r} already.", data={"name": name})
        return new

    async def list(self) -> "builtins.list[Schedule]":
        """All schedules, by name."""
        return await (await self._table()).all()

    async def get(self, name: str) -> Schedule:
        """The schedule of that name. Raises ScheduleNotFoundError."""
        table = await self._table()
        found = await table.get(name)
        if found is None:
            known = [one.name for one in await table.all()]
            raise ScheduleNotFoundError(
                f"There is no schedule {name!r}.",
                remedy=f"Known: {', '.join(known[:20])}." if known else "There are none yet.",
                data={"name": name, "known": known},
            )
        return found

    async def pause(self, name: str) -> Schedule:
        """Start nothing until ``resume``; times until then do not count. Raises ScheduleNotFoundError."""
        return await self._set(name, lambda _: {"paused": True})

    async def resume(self, name: str) -> Schedule:
        """Go on with the next time from now on. Raises ScheduleNotFoundError."""

        def values(found: Schedule) -> dict[str, Any]:
            now = self._clock()
            return {"paused": False, "next_at": _times(found).after(now), "seen_at": now}

        return await self._set(name, values)

    async def remove(self, name: str) -> None:
        """Forget the schedule; its runs stay. Raises ScheduleNotFoundError."""
        await self.get(name)
        await (await self._table()).remove(name)

    async def run_now(self, name: str) -> Run:
        """Start a run at once, paused or not; its times stay as they are.

        Raises ScheduleNotFoundError, ScheduleBusyError when a run of it is still going, and what
        ``Runner.start`` raises.
        """
        busy: str | None = None
        for _ in range(_TRIES):
            found = await self.get(name)
            busy = found.last_run_id
            if found.pending is None and not await self._going(found):
                table = await self._table()
                wanted = {"pending": f"now-{self._new_id()}", "pending_at": self._clock()}
                claimed = await table.change(found, **wanted)
                if claimed is not None:
                    return await self._begun_now(claimed)
            elif found.pending is None:
                break
            else:
                await self._fire(found, self._clock())
        raise ScheduleBusyError(
            f"A run of the schedule {name!r} is still going: {busy}.",
            data={"name": name, "run_id": busy},
        )

    async def _begun_now(self, claimed: Schedule) -> Run:
        run = await self._fire(claimed, self._clock(), at_once=True)
        if run is not None:
            return run
        after = await self.get(claimed.name)  # another process was quicker
        return await self._runner.get(str(after.last_run_id))

    async def tick(self, now: float | None = None) -> "builtins.list[Run]":
        """Start what is due, and what was decided on before a crash; the runs that were started.

        Raises StorageError; whatever else goes wrong is kept with its schedule.
        """
        at = self._clock() if now is None else now
        table = await self._table()
        started: builtins.list[Run] = []
        for schedule in await table.due(at, at + _SET_BACK_S):
            started += await self._advance(schedule, at)
        return started

    async def _advance(self, schedule: Schedule, now: float) -> "builtins.list[Run]":
        table = await self._table()
        started: builtins.list[Run] = []
        current: Schedule | None = schedule
        for _ in range(_ROUNDS):
            if current is None:
                break  # another process was quicker
            if current.pending is not None:
                run = await self._fire(current, now)
                if run is None:
                    break
                started.append(run)
                current = await table.get(current.name)
                continue
            values = await self._decided(current, now)
            if values is None:
                break
            current = await table.change(current, **values)
        return started

    async def _decided(self, schedule: Schedule, now: float) -> dict[str, Any] | None:
        """The columns that change now; None: nothing is to be done."""
        if schedule.paused:
            return None
        times = _times(schedule)
        if schedule.seen_at > now + _SET_BACK_S:
            _log.warning("the clock was set back", extra={"schedule": schedule.name})
            return {"next_at": times.after(now), "seen_at": now}
        made = plan(schedule, times, now)
        if made is None:
            return None
        done = made.at <= schedule.through and await self._was_fired(schedule, made.at)
        going = not done and await self._going(schedule)
        return decided(schedule, made, now, going=going, done=done)

    async def _going(self, schedule: Schedule) -> bool:
        """Whether the run that was started last has not ended."""
        if schedule.last_run_id is None:
            return False
        try:
            record = await self._runner.journal.get(schedule.last_run_id)
        except RunNotFoundError:  # pruned
            return False
        return record.status not in ENDED

    async def _was_fired(self, schedule: Schedule, at: float) -> bool:
        from .decisions import name_of

        key = schedule.key_of(name_of(at))
        found = await self._runner.journal.find(
            tenant=schedule.tenant, idempotency_key=key, limit=1
        )
        return bool(found)

    async def _fire(self, schedule: Schedule, now: float, *, at_once: bool = False) -> Run | None:
        """Start the run that is decided on; None when that is not to be, or was done elsewhere.

        A process that cannot load the workflow leaves it to others for a while; with ``at_once``
        it raises WorkflowError instead.
        """
        table = await self._table()
        try:
            run = await self._started(schedule)
        except StorageError:
            raise
        except WorkflowError as error:
            if at_once or now - schedule.pending_at > schedule.grace_s:
                await self._failed(schedule, error)
            if at_once:
                raise
            return None
        scheduled = time_of(schedule.pending or "")
        values: dict[str, Any] = {"pending": None, "last_run_id": run.id, "last_error": None}
        if scheduled is not None:
            values |= {"last_at": scheduled, "fired": schedule.fired + 1}
        return run if await table.change(schedule, **values) is not None else None

    async def _started(self, schedule: Schedule) -> Run:
        try:
            settings = self._runner.settings
            return await self._runner.start(
                found_at(schedule.workflow, schedule.reference, schedule.folder, settings),
                schedule.input,
                idempotency_key=schedule.key,
                tenant=schedule.tenant or None,
                priority=schedule.priority,
                stream=False,
            )
        except (StorageError, WorkflowError):
            raise
        except NearfarError as error:
            raise WorkflowError(error.message, remedy=error.remedy, data=error.data) from error
        except Exception as error:  # a worker boundary: the workflow is the user's code
            raise WorkflowError(
                f"The workflow {schedule.workflow!r} cannot be started: "
                f"{type(error).__name__}: {error}",
                data={"name": schedule.workflow},
            ) from error

    async def _failed(self, schedule: Schedule, error: WorkflowError) -> None:
        _log.warning(
            "a scheduled run could not be started",
            extra={"schedule": schedule.name, "reason": str(error)},
        )
        count = schedule.failed + (time_of(schedule.pending or "") is not None)
        values = {"pending": None, "last_error": error.to_dict(), "failed": count}
        await (await self._table()).change(schedule, **values)

    async def _set(self, name: str, values: Callable[[Schedule], dict[str, Any]]) -> Schedule:
        for _ in range(_TRIES):
            found = await self.get(name)
            changed = await (await self._table()).change(found, **values(found))
            if changed is not None:
                return changed
        raise StorageError(
            f"The schedule {name!r} is changed by others all the time.",
            remedy="Try again.",
            data={"name": name},
        )


async def tick(runner: "Runner", now: float | None = None) -> list[Run]:
    """Start what is due at ``now`` (None: by the clock); the runs that were started."""
    return await runner.schedules.tick(now)


def _times(schedule: Schedule) -> Times:
    return times_of(schedule.cron, schedule.every_s, schedule.zone, schedule.anchor)


def _check(
    name: str, cron: str | None, every: timedelta | None, misfire: str, grace_s: float
) -> None:
    if not _NAME.fullmatch(name):
        raise ScheduleInvalidError(
            f"{name!r} is no name for a schedule.",
            remedy="Use letters, digits, dots, - and _; at most 100, and a letter or digit first.",
            data={"field": "name"},
        )
    if (cron is None) == (every is None):
        raise UsageError("A schedule needs either a cron line or an interval.")
    if every is not None and (every < timedelta(seconds=1) or every.microseconds):
        raise ScheduleInvalidError(
            "An interval is a whole number of seconds, at least one.",
            remedy="Write 30s, 15m, 2h or 1d.",
            data={"field": "every"},
        )
    if misfire not in MISFIRES:
        raise ScheduleInvalidError(
            f"There is no misfire policy {misfire!r}.",
            remedy=f"Known: {', '.join(MISFIRES)}.",
            data={"field": "misfire"},
        )
    if not 0 <= grace_s < float("inf"):
        raise ScheduleInvalidError(
            "The grace time must not be negative.",
            remedy="Write it as 60s.",
            data={"field": "grace"},
        )


def _plain(values: Any) -> Any:
    """The input as it will be read again. Raises WorkflowInputError."""
    try:
        return json.loads(json.dumps(values, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise WorkflowInputError(
            f"The input of a schedule must be plain JSON: {error}.",
            remedy="Give texts, numbers, lists and objects.",
            data={"fields": []},
        ) from None
