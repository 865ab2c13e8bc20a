"""Run a workflow here and now, and wait for it: what the command line does."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langchain_core.messages.ai import UsageMetadata

from nearfar.errors import NearfarError, WorkflowError
from nearfar.graphs.registry import Workflow
from nearfar.settings import Settings
from nearfar.storage.journal import Record

from .events import RunEvent
from .handle import Run, output_of
from .metering import NOTHING
from .runner import Runner


@dataclass(frozen=True)
class Finished:
    """A run that ended, or that waits for a person. ``output`` is plain JSON."""

    run_id: str
    thread_id: str
    status: str
    output: Any
    usage: UsageMetadata
    cost_usd: float | None  # None: a model answered whose price is not known

    @classmethod
    def of(cls, record: Record) -> "Finished":
        """The run as the journal has it."""
        usage: Any = record.usage or NOTHING
        return cls(
            record.id, record.thread_id, record.status, record.output, usage, record.cost_usd
        )

    def to_dict(self) -> dict[str, Any]:
        """The object that ``nearfar run --json`` prints."""
        return {
            "run_id": self.run_id,
            "thread_id": self.thread_id,
            "status": self.status,
            "output": self.output,
            "usage": dict(self.usage),
            "cost_usd": self.cost_usd,
        }


@dataclass(frozen=True)
class Listener:
    """Who is told while a run goes on; each callback must be quick."""

    on_token: Callable[[str], None] | None = None
    on_step: Callable[[str], None] | None = None
    on_progress: Callable[[Any], None] | None = None
    """Is given what steps write to LangGraph's stream writer."""

    def hear(self, event: RunEvent) -> None:
        """Tell whoever wants to know of it."""
        if event.kind == "token" and self.on_token:
            self.on_token(event.data["text"])
        elif event.kind == "step" and self.on_step and not event.data["done"]:
            self.on_step(event.data["name"])
        elif event.kind == "custom" and self.on_progress:
            self.on_progress(event.data)


SILENT = Listener()


async def run_once(
    workflow: Workflow,
    values: Any,
    settings: Settings,
    *,
    thread_id: str | None = None,
    resume: Any = None,
    listener: Listener = SILENT,
    keep: bool = True,
) -> Finished:
    """Run to the end, or to where a person is asked.

    With a ``thread_id`` the thread goes on from what earlier runs left: with ``resume`` it gets the
    answer it waits for, without any values it takes up the run that did not end well, otherwise it
    starts anew on the thread's state. Who stops waiting cancels the run. Without ``keep``, a run
    that succeeds on a thread of its own is forgotten. Raises WorkflowInputError, or what the run
    failed with.
    """
    async with Runner(settings, adopt=False) as runner:
        run = await _begun(
            runner, workflow, values, thread_id=thread_id, answer=resume, listener=listener
        )
        record = await followed(runner, run, listener)
        if record.status == "succeeded" and not keep and thread_id is None:
            await runner.forget(run.id)
        return Finished.of(record)


async def followed(runner: Runner, run: Run, listener: Listener = SILENT) -> Record:
    """The run's record when it ended well or waits; who stops waiting cancels the run.

    Raises what the run failed with.
    """
    try:
        async for event in run.events():
            listener.hear(event)
        record = await run.settled()
    except NearfarError:  # the database's: the run goes on when that works again
        raise
    except BaseException:  # Ctrl-C, or a reader that is gone
        with suppress(NearfarError):
            await runner.cancel(run.id)
        raise
    output_of(record, runner.worker.raised(run.id))
    return record


async def _begun(
    runner: Runner,
    workflow: Workflow,
    values: Any,
    *,
    thread_id: str | None,
    answer: Any,
    listener: Listener,
) -> Run:
    stream = listener.on_token is not None
    last = await _last(runner, workflow, thread_id)
    if answer is not None and (last is None or last.status != "waiting"):
        raise WorkflowError(
            f"The thread {thread_id!r} does not wait for an answer.",
            remedy="Start it with its input, without --resume.",
            data={"thread_id": thread_id},
        )
    if last is not None and (answer is not None or values in (None, {})):
        if answer is None and last.status in ("waiting", "reconcile"):
            return await runner.get(last.id)
        if last.status != "succeeded":
            runner.worker.own(last.id, workflow.graph(runner.settings), stream=stream)
            return await runner.resume(last.id, answer)
    return await runner.start(workflow, values, thread_id=thread_id, stream=stream)


async def _last(runner: Runner, workflow: Workflow, thread_id: str | None) -> Record | None:
    """The thread's latest run, if it was one of this workflow."""
    if thread_id is None:
        return None
    found = await runner.journal.find(thread_id=thread_id, limit=1)
    return found[0] if found and found[0].workflow == workflow.name else None
