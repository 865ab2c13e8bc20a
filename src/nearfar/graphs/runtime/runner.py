"""``Runner``: starts runs, works on them, and takes over those whose process died."""

import asyncio
import builtins
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nearfar.errors import RunStateError, UsageError
from nearfar.graphs.inputs import checked, input_schema
from nearfar.graphs.registry import Graph, Workflow, find
from nearfar.settings import Settings, resolve
from nearfar.storage.checkpoints import ExtendedSaver, allow_types_of, glancing, open_saver
from nearfar.storage.effects import Effect, EffectStore
from nearfar.storage.journal import Claim, Dropped, NewRun, Record, open_journal

from .forking import copy_until
from .handle import Run
from .outputs import whole
from .requests import check_priority, digest_of, found_again, here, portable
from .schedules.service import Schedules
from .schedules.ticker import Ticker
from .worker import Worker


class Runner:
    """Runs workflows so that they survive: ``async with nearfar.Runner() as runner: ...``.

    A run is written to the database before ``start`` returns, and after each of its steps. While
    the block is open, this process works on what it started, on what it resumed, and (unless
    ``adopt`` is off) on runs whose own process is gone. What is not done when the block ends stays
    queued, and the next Runner goes on with it. With ``work`` off it only accepts and shows runs,
    for other processes to work on. With ``schedules`` it starts the runs that are due.
    """

    def __init__(
        self,
        settings: Settings | str | Path | None = None,
        *,
        adopt: bool = True,
        work: bool = True,
        schedules: bool = False,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.settings = resolve(settings)
        self.journal = open_journal(self.settings)
        self._new_id = new_id
        self._stack = AsyncExitStack()
        self.worker = Worker(self.settings, self.journal, adopt=adopt, work=work)
        self._saver: ExtendedSaver
        self.schedules = Schedules(self)
        self._ticks = schedules

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.journal)
            self._saver = await stack.enter_async_context(open_saver(self.settings))
            self.worker.open(self._saver)
            stack.push_async_callback(self.worker.close)
            if self._ticks:
                await stack.enter_async_context(Ticker(self.schedules))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def start(
        self,
        workflow: str | Workflow,
        input: Any = None,  # noqa: A002 - the name that callers rely on
        *,
        thread_id: str | None = None,
        idempotency_key: str | None = None,
        priority: str = "interactive",
        tenant: str | None = None,
        stream: bool = True,
    ) -> Run:
        """Accept a run: when this returns it is on the disk, and is worked on.

        With a ``thread_id`` it goes on from what earlier runs of the thread left, in its turn.
        The same ``idempotency_key`` (per tenant) and request give the same run. ``priority`` is
        interactive, normal or batch. ``stream`` asks models to stream, so that ``events`` has
        their tokens. Raises WorkflowNotFoundError, WorkflowInputError, CheckpointTypeError,
        RunConflictError, ThreadBusyError, StorageError.
        """
        check_priority(priority)
        if idempotency_key == "" or thread_id == "":
            raise UsageError("A thread's name and an idempotency key must not be empty.")
        found = workflow if isinstance(workflow, Workflow) else find(workflow, self.settings)
        graph = await asyncio.to_thread(found.graph, self.settings)
        values = await self._checked(graph, input, thread_id)
        run_id = self._new_id()
        new = NewRun(
            id=run_id,
            workflow=found.name,
            reference=portable(found),
            folder=here() if found.folder is None else found.folder,
            thread_id=thread_id or run_id,
            input=allow_types_of(self._saver, graph).serde.dumps_typed(values),
            digest=digest_of(found.name, values, thread_id),
            idempotency_key=idempotency_key,
            tenant=tenant or "",
            priority=priority,
            base=None if thread_id else "",
        )
        return await self._accept(new, graph, stream=stream)

    async def _accept(self, new: NewRun, graph: Graph, *, stream: bool) -> Run:
        room = self.worker.has_room()
        record, created, fence = await self.journal.accept(new, claim=room, mine=self.worker.works)
        self.worker.own(record.id, graph if created else None, stream=stream)
        if fence is not None:
            self.worker.begin(Claim(record, fence))
        else:
            self.worker.look()
        return Run(self, record)

    async def _checked(self, graph: Graph, values: Any, thread_id: str | None) -> Any:
        """The input, when it fits; None takes up a thread where it stopped."""
        held = None
        if thread_id is not None:
            kept = graph.copy({"checkpointer": allow_types_of(self._saver, graph)})
            held = await kept.aget_state(glancing({"configurable": {"thread_id": thread_id}}))
            if values in (None, {}) and held.next:
                return None
        schema = input_schema(graph)
        return checked(schema, {} if values is None else values, partial=bool(held and held.values))

    async def get(self, id: str) -> Run:  # noqa: A002 - the name that callers rely on
        """The run of that id. Raises RunNotFoundError."""
        await self.worker.expire()
        return Run(self, await self.journal.get(id))

    async def list(
        self, status: str | None = None, workflow: str | None = None, limit: int = -1
    ) -> "builtins.list[Run]":
        """The runs that fit, the latest first; ``limit`` -1: all."""
        await self.worker.expire()
        records = await self.journal.find(status=status, workflow=workflow, limit=limit)
        return [Run(self, record) for record in records]

    async def resume(self, id: str, value: Any = None) -> Run:  # noqa: A002
        """Answer a run that waits, or go on with one that failed or was cancelled.

        With several questions open ``value`` is a dict of answers by the questions' ids. Raises
        RunNotFoundError, RunStateError, CheckpointTypeError.
        """
        await self.worker.expire()
        record = await self.journal.get(id)
        if record.status == "waiting":
            answers = _answers(record, value)
            blob = self._saver.serde.dumps_typed(answers) if answers else None
            approved = None if answers else record.head
            record = await self.journal.again(
                id,
                allowed=("waiting",),
                answers=blob,
                approved=approved,
                mine=self.worker.works,
            )
        elif value is not None:
            raise RunStateError(
                f"The run {id} does not wait for an answer: it is {record.status}.",
                data={"run_id": id, "status": record.status},
            )
        elif record.status not in ("queued", "running", "parked"):
            allowed = ("failed", "cancelled", "reconcile")
            record = await self.journal.again(id, allowed=allowed, mine=self.worker.works)
        self.worker.own(id)
        self.worker.channel(id).kept.clear()
        self.worker.look()
        return Run(self, record)

    async def cancel(self, id: str) -> Run:  # noqa: A002
        """End the run wherever it is worked on; nothing is written for it any more.

        Raises RunNotFoundError, RunStateError when it has succeeded or failed.
        """
        record = await self.journal.cancel(id)
        self.worker.stop(id)
        self.worker.look()
        return Run(self, record)

    async def fork(self, id: str, checkpoint_id: str | None = None) -> Run:  # noqa: A002
        """A new run on a copy of the thread up to the checkpoint (None: the last one).

        The steps after it run anew; the old run and its thread stay as they are. Raises
        RunNotFoundError, RunStateError.
        """
        old = await self.journal.get(id)
        run_id = self._new_id()
        at = await copy_until(self._saver, old.thread_id, run_id, checkpoint_id)
        graph = await asyncio.to_thread(found_again(old, self.settings).graph, self.settings)
        new = NewRun(
            id=run_id,
            workflow=old.workflow,
            reference=old.reference,
            folder=old.folder,
            thread_id=run_id,
            input=old.input,
            digest=old.digest,
            tenant=old.tenant,
            priority=old.priority,
            base="fork",  # no checkpoint: whatever the copy has was applied
            forked_from=f"{id}:{at}",
        )
        return await self._accept(new, graph, stream=True)

    async def prune(self, *, older_than_s: float) -> int:
        """Forget runs that ended so long ago, and threads that no run is left of; how many threads."""
        dropped = await self.journal.prune(time.time() - older_than_s)
        await self._drop(dropped)
        return len(dropped.threads)

    async def forget(self, id: str) -> None:  # noqa: A002
        """Drop a run that ended, and its thread when no other run is left of it."""
        await self._drop(await self.journal.forget(id))

    async def _drop(self, dropped: Dropped) -> None:
        for thread_id, runs in dropped.outputs.items():
            await self._saver.arelease(thread_id, runs)
        for thread_id in dropped.threads:
            await self._saver.adelete_thread(thread_id)
        if dropped.threads:
            await asyncio.to_thread(self._forget_effects, dropped.threads)

    def _forget_effects(self, threads: builtins.list[str]) -> None:
        with EffectStore.open(self.settings) as store:
            for thread_id in threads:
                store.forget(thread_id)

    async def effects(self, record: Record) -> builtins.list[Effect]:
        """What the run did, or may have done, to the outside world."""

        def read() -> builtins.list[Effect]:
            with EffectStore.open(self.settings) as store:
                return store.of_run(record.id)

        return await asyncio.to_thread(read)

    def input_of(self, record: Record) -> Any:
        """What the run was started with."""
        return self._saver.serde.loads_typed(record.input)

    async def states(self, record: Record) -> builtins.list[tuple[str, Any]]:
        """The kept checkpoints of the run with the values of the graph's state, the oldest first."""
        graph = await asyncio.to_thread(found_again(record, self.settings).graph, self.settings)
        kept = graph.copy({"checkpointer": allow_types_of(self._saver, graph)})
        found = []
        for point in await self.checkpoints(record):
            config: Any = {
                "configurable": {"thread_id": record.thread_id, "checkpoint_id": point["id"]}
            }
            found.append((point["id"], (await kept.aget_state(config)).values))
        return found

    async def checkpoints(self, record: Record) -> "builtins.list[dict[str, Any]]":
        """The kept checkpoints of the run, the oldest first: id, step, source, created_at."""
        config: Any = {"configurable": {"thread_id": record.thread_id, "checkpoint_ns": ""}}
        shown: builtins.list[dict[str, Any]] = []
        ended = record.head is None
        async for one in self._saver.alist(config):
            name = str(one.config["configurable"]["checkpoint_id"])
            if name == record.base:
                break
            ended = ended or name == record.head
            if not ended:
                continue  # of a later run of the thread
            metadata: Mapping[str, Any] = one.metadata
            shown.append(
                {
                    "id": name,
                    "step": metadata.get("step"),
                    "source": metadata.get("source"),
                    "created_at": one.checkpoint["ts"],
                }
            )
        return shown[::-1]

    async def head(self, record: Record) -> dict[str, Any] | None:
        """The thread's last checkpoint: id and step."""
        found = await self._saver.ahead(record.thread_id)
        return None if found is None else {"id": found[0], "step": found[1].get("step")}

    async def whole(self, record: Record) -> Record:
        """The record with all of its output, whatever of it stands elsewhere."""
        return await whole(record, self._saver)


def _answers(record: Record, value: Any) -> dict[str, Any]:
    """The answers by the questions' ids; empty for a breakpoint, which is only let pass."""
    asked = [question["id"] for question in record.questions if question["id"]]
    if not asked:
        return {}
    if isinstance(value, dict) and value and set(value) <= set(asked):
        return value
    if len(asked) == 1:
        return {asked[0]: value}
    raise RunStateError(
        f"The run {record.id} asks {len(asked)} questions.",
        remedy="Answer with an object of answers by the questions' ids.",
        data={"run_id": record.id, "status": record.status, "questions": asked},
    )
