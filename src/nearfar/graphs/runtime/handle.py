"""A run, as the caller sees it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nearfar import errors
from nearfar.errors import NearfarError, RunCancelledError
from nearfar.storage.journal import ENDED, Record

from .events import RunEvent

if TYPE_CHECKING:
    from .runner import Runner

PAUSED = ("waiting", "reconcile")
_POLL_S = 0.2


class Run:
    """A run that was accepted. Made by ``Runner``, and good for as long as that is open."""

    def __init__(self, runner: "Runner", record: Record) -> None:
        self._runner = runner
        self.id = record.id
        self.thread_id = record.thread_id
        self.workflow = record.workflow

    def __repr__(self) -> str:
        return f"<nearfar.Run {self.id} of {self.workflow!r}>"

    async def record(self) -> Record:
        """Everything that is known of the run."""
        return await self._runner.whole(await self._noted())

    async def _noted(self) -> Record:
        """What the journal itself holds."""
        return await self._runner.journal.get(self.id)

    async def status(self) -> str:
        """queued, running, waiting, parked, reconcile, succeeded, failed or cancelled."""
        return (await self._noted()).status

    async def result(self) -> Any:
        """The output as plain JSON, when the run has ended or waits for a person.

        A waiting run's output has what is asked under ``__interrupt__``. Raises the run's error
        when it failed, RunCancelledError, and StorageError when the database fails: the run then
        goes on when it works again.
        """
        return output_of(await self.settled(), self._runner.worker.raised(self.id))

    async def settled(self) -> Record:
        """The run's record when it has ended or waits for a person. Raises StorageError."""
        while True:
            changed = self._runner.worker.channel(self.id).changed
            trouble = self._runner.worker.trouble(self.id)
            if trouble is not None:
                raise trouble
            record = await self._noted()
            if record.status in ENDED or record.status in PAUSED:
                self._runner.worker.over(self.id)
                return await self._runner.whole(record)
            with suppress(TimeoutError):
                local = self._runner.worker.works_on(self.id)  # then `changed` tells
                async with asyncio.timeout(25 * _POLL_S if local else _POLL_S):
                    await changed.wait()

    async def events(self) -> AsyncIterator[RunEvent]:
        """What happens in the run, from its start on; ends when it ends or waits for a person.

        For a run that another process works on these are its states and checkpoints alone.
        """
        channel = self._runner.worker.channel(self.id)
        queue = channel.subscribe()
        status, head = "", None
        try:
            while True:
                record = await self._noted()
                over = record.status in ENDED or record.status in PAUSED
                while over and not queue.empty():
                    event = queue.get_nowait()
                    if event is not None:
                        yield event
                if record.status != status:
                    status = record.status
                    yield RunEvent("status", {"status": status})
                if over:
                    return
                if not self._runner.worker.works_on(self.id):
                    before, head = head, await self._runner.head(record)
                    if head is not None and head != before:
                        yield RunEvent("checkpoint", head)
                async for event in self._told(queue):
                    yield event
        finally:
            channel.queues.remove(queue)

    async def _told(self, queue: asyncio.Queue[RunEvent | None]) -> AsyncIterator[RunEvent]:
        """Events, until it is time to look into the journal."""
        while True:
            local = self._runner.worker.works_on(self.id)  # then the queue tells
            try:
                async with asyncio.timeout(25 * _POLL_S if local else _POLL_S):
                    event = await queue.get()
            except TimeoutError:
                return
            if event is None:
                return
            yield event


def output_of(record: Record, raised: NearfarError | None = None) -> Any:
    """What ``result`` gives for a run in this state."""
    if record.status in ("succeeded", "waiting"):
        return record.output
    if record.status == "cancelled":
        raise RunCancelledError(f"The run {record.id} was cancelled.", data={"run_id": record.id})
    raise raised or error_of(record)


def error_of(record: Record) -> NearfarError:
    """The error in the journal, as it was raised."""
    told = record.error or {"code": "", "message": f"The run {record.id} is {record.status}."}
    kinds = {getattr(getattr(errors, name), "code", None): name for name in errors.__all__}
    kind = getattr(errors, kinds.get(told["code"], "InternalError"))
    found: NearfarError = kind(
        told["message"], remedy=told.get("remedy"), data=told.get("data", {})
    )
    return found
