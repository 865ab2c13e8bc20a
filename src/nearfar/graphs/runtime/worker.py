"""Works on runs: begins what is to be done, one attempt at a time for each."""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque

from nearfar.errors import AnswerExpiredError, NearfarError, StorageError, WorkflowError
from nearfar.graphs.registry import Graph
from nearfar.settings import Settings
from nearfar.storage.checkpoints import ExtendedSaver
from nearfar.storage.journal import ENDED, Candidate, Claim, Finish, Journal
from nearfar.storage.journal.holders import Holder

from .events import Channel
from .execution import Attempt, StorageTrouble
from .heart import Heart
from .outcomes import Abandoned
from .requests import found_again

_POLL_S = 0.5  # how often it is looked whether there is something to take over
_BUSY_POLL_S = 0.05  # while a run of our own waits its turn, perhaps behind another process
_BACKOFF_S = 2.0  # after the database failed
_LOADS = 10  # attempts at a run whose graph cannot be loaded on any of the machines
_SUSPECT = 2  # deaths at the same step after which a run is suspected of causing them
_CHANNELS = 256  # runs whose events are still known after their end

_log = logging.getLogger(__name__)


class Worker:
    """The runs that this process works on, at most ``runs.concurrency`` at the same time.

    Those are its own, which were started, resumed or forked here, and with ``adopt`` also those
    whose process is gone.
    """

    def __init__(
        self, settings: Settings, journal: Journal, *, adopt: bool, work: bool = True
    ) -> None:
        self.settings = settings
        self.journal = journal
        self.works = work
        self._adopt = adopt
        self._attempts: dict[str, asyncio.Task[None]] = {}
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        self._own: set[str] = set()
        self._pending: set[str] = set()  # of our own, and not begun yet
        self._foreign: set[str] = set()  # whose graph cannot be loaded here
        self._silent: set[str] = set()  # models are not asked to stream
        self._loaded: dict[str, Graph] = {}  # of runs that were started here, until they begin
        self._raised: dict[str, NearfarError] = {}
        self._troubles: dict[str, StorageError] = {}
        self._not_before: dict[str, float] = {}
        self._suspects: set[str] = set()  # worked on one at a time: they may take others with them
        self._waiting: deque[Candidate] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    def open(self, saver: ExtendedSaver) -> None:
        """Begin to work, in the running loop; the steps are kept by ``saver``."""
        self._saver = saver
        if not self.works:
            return
        self._heart = Heart(self.journal)
        self._pump_task = asyncio.create_task(self._pump())

    async def close(self) -> None:
        """Stop; what is not done goes back into the queue."""
        if not self.works:
            return
        self._closing = True
        attempts = list(self._attempts.values())
        for task in (self._pump_task, *attempts):
            task.cancel()
        await asyncio.gather(self._pump_task, *attempts, return_exceptions=True)
        await self._heart.close()

    def own(self, run_id: str, graph: Graph | None = None, *, stream: bool = True) -> None:
        """Work on the run here, whoever accepted it."""
        self._own.add(run_id)
        self._pending.add(run_id)
        self._foreign.discard(run_id)
        self._raised.pop(run_id, None)
        if graph is not None:
            self._loaded[run_id] = graph
        if not stream:
            self._silent.add(run_id)

    def over(self, run_id: str) -> None:
        """The run ended, or waits for a person: nothing is to be begun."""
        self._pending.discard(run_id)

    def look(self) -> None:
        """There may be something to begin."""
        self._waiting.clear()
        self._wake.set()

    def stop(self, run_id: str) -> None:
        """Leave the run, which is not ours any more."""
        attempt = self._attempts.get(run_id)
        if attempt is not None:
            attempt.cancel()
        self.channel(run_id).has_changed()

    def channel(self, run_id: str) -> Channel:
        """The run's events in this process."""
        found = self._channels.setdefault(run_id, Channel())
        self._channels.move_to_end(run_id)
        if len(self._channels) > _CHANNELS + len(self._attempts):
            for name, channel in list(self._channels.items()):
                if not channel.queues and name not in self._attempts and name != run_id:
                    del self._channels[name]
                    self._raised.pop(name, None)
                    break
        return found

    def works_on(self, run_id: str) -> bool:
        """Whether the run is worked on right here."""
        return run_id in self._attempts

    def trouble(self, run_id: str) -> StorageError | None:
        """What the database said to the last attempt at the run; told once."""
        return self._troubles.pop(run_id, None)

    def raised(self, run_id: str) -> NearfarError | None:
        """What the run failed with, if that was here."""
        return self._raised.get(run_id)

    def has_room(self) -> bool:
        """Whether one more run can be worked on."""
        return (
            self.works
            and not self._closing
            and len(self._attempts) < self.settings.runs.concurrency
        )

    async def _pump(self) -> None:
        """Begin what is to be done, for as long as the Runner is open."""
        while not self._closing:
            self._wake.clear()
            try:
                await self.expire()
                await self._begin_some()
            except StorageError as error:
                _log.warning("the journal cannot be read", extra={"reason": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BUSY_POLL_S if self._pending else _POLL_S):
                    await self._wake.wait()
            if not self._wake.is_set():
                self._waiting.clear()  # what is new may come first

    async def _begin_some(self) -> None:
        fresh = False
        while self.has_room():
            if not self._waiting:
                if fresh:
                    return
                adopts = self._adopt and not await self.journal.is_queued()
                found = await self.journal.claimable(None if adopts else self._own)
                self._waiting = deque(one for one in found if self._may_begin(one))
                fresh = True
                continue
            one = self._waiting.popleft()
            suspected = one.crashes >= _SUSPECT
            if suspected and self._suspects & self._attempts.keys():
                continue
            if suspected:
                self._suspects = {one.id}
            claim = await self.journal.claim(one.id)
            if claim is not None:
                self.begin(claim)

    def _may_begin(self, one: Candidate) -> bool:
        if one.id in self._foreign or one.id in self._attempts:
            return False
        if time.monotonic() < self._not_before.get(one.id, 0.0):
            return False
        if one.id in self._own:
            return True
        if not self._adopt:
            return False
        return one.orphan or not one.home or Holder.parse(one.home).is_dead()

    async def drain(self, seconds: float) -> None:
        """Begin nothing any more, and wait so long for what is under way."""
        self._closing = True
        if self._attempts:
            await asyncio.wait(self._attempts.values(), timeout=seconds)

    def begin(self, claim: Claim) -> asyncio.Task[None]:
        """Work on a run that was claimed; the task that does."""
        run_id = claim.record.id
        self._pending.discard(run_id)
        task = asyncio.create_task(self._attempt(claim), name=f"run {run_id}")
        self._attempts[run_id] = task
        self._heart.hold(claim.fence, lambda: _cancel(task))
        return task

    async def _attempt(self, claim: Claim) -> None:
        """Work on the run, and write down how that ended; nothing is raised."""
        record, fence = claim.record, claim.fence
        try:
            attempt = await self._prepared(claim)
            if attempt is not None:
                end = await attempt.work()
                await self.journal.finish(record.id, fence, end)
                if end.status in ENDED:
                    self._own.discard(record.id)
                if end.status == "failed" and attempt.raised is not None:
                    self._raised[record.id] = attempt.raised
        except Abandoned:
            pass
        except StorageTrouble as trouble:
            await self._put_off(claim, trouble.error)
        except StorageError as error:
            await self._put_off(claim, error)
        except asyncio.CancelledError:
            with contextlib.suppress(NearfarError):  # taken over or cancelled: not ours any more
                await self.journal.hand_back(record.id, fence)
        except WorkflowError:  # the lease was lost at the very end
            pass
        finally:
            self._heart.drop(fence)
            self._attempts.pop(record.id, None)
            self._wake.set()
            self.channel(record.id).has_changed()

    async def _prepared(self, claim: Claim) -> Attempt | None:
        record = claim.record
        graph = self._loaded.pop(record.id, None)
        try:
            if graph is None:
                found = found_again(record, self.settings)
                graph = await asyncio.to_thread(found.graph, self.settings)
        except WorkflowError as error:
            await self._cannot_load(claim, error)
            return None
        return Attempt(
            record=record,
            fence=claim.fence,
            graph=graph,
            settings=self.settings,
            journal=self.journal,
            saver=self._saver,
            publish=self.channel(record.id).publish,
            tokens=record.id not in self._silent,
        )

    async def _cannot_load(self, claim: Claim, error: WorkflowError) -> None:
        """A run of our own has failed; another's may go on where its files are.

        One that many workers could not load has failed too.
        """
        queued = await self.journal.is_queued()
        tries = claim.record.attempt if queued else 0
        if claim.record.id in self._own or tries >= _LOADS:
            end = Finish("failed", error=error.to_dict(), head=claim.record.head)
            await self.journal.finish(claim.record.id, claim.fence, end)
            return
        self._foreign.add(claim.record.id)
        wake_at = time.time() + _BACKOFF_S if queued else None
        await self.journal.hand_back(claim.record.id, claim.fence, wake_at=wake_at)

    async def _put_off(self, claim: Claim, error: StorageError) -> None:
        """The database failed: who waits is told, and the run goes on when it works again."""
        run_id = claim.record.id
        _log.warning("a run was put off", extra={"run_id": run_id, "reason": str(error)})
        self._troubles[run_id] = error
        self._own.add(run_id)
        self._not_before[run_id] = time.monotonic() + _BACKOFF_S
        with contextlib.suppress(StorageError, WorkflowError):  # else its lease ends
            await self.journal.hand_back(run_id, claim.fence)

    async def expire(self) -> None:
        """Fail the runs that waited too long for a person."""
        error = AnswerExpiredError("Nobody answered in time.")
        for run_id in await self.journal.expire(error.to_dict()):
            self.channel(run_id).has_changed()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
