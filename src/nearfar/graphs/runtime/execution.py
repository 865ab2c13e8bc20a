"""One attempt at a run: call its graph with what is still to be done, and say how it ended."""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.constants import START
from langgraph.types import Command, StateSnapshot

from nearfar.errors import DatabaseError, NearfarError, PoisonedRunError, StorageError
from nearfar.graphs.inputs import input_schema
from nearfar.graphs.plain import to_plain
from nearfar.graphs.registry import Graph
from nearfar.llm.money import spending_run
from nearfar.settings import Settings
from nearfar.storage.checkpoints import ExtendedSaver, allow_types_of, glancing, guarded
from nearfar.storage.effects import EffectStore
from nearfar.storage.effects.once import NeedsReconcile, needs_reconcile
from nearfar.storage.journal import Fence, Finish, Journal, Record
from nearfar.tools.exits import exits_contained

from .context import RunContext, running
from .events import Publish, RunEvent
from .failures import failure, step_of
from .metering import Meter
from .outcomes import Outcome, Question, outcome_of
from .outputs import conversations


class StorageTrouble(Exception):  # noqa: N818 - says what the attempt ran into
    """The database failed under the run; it goes on when the cause is gone."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Attempt:
    """A run that this process holds, and what it is worked on with."""

    record: Record
    fence: Fence
    graph: Graph
    settings: Settings
    journal: Journal
    saver: ExtendedSaver  # without a guard
    publish: Publish
    tokens: bool  # whether models are asked to stream
    raised: NearfarError | None = None  # with its cause, for who waits in this process

    async def work(self) -> Finish:
        """To the end, or to where it waits. Raises StorageTrouble, or Abandoned by ``outcome_of``."""
        record = self.record
        meter = Meter(record.usage, record.cost_usd)
        effects = EffectStore.open(self.settings, guard=self.fence)
        context = RunContext(
            record.id, record.thread_id, record.workflow, self.fence, self.settings, effects
        )
        config: dict[str, Any] = {
            "run_id": uuid.UUID(record.id),
            "configurable": {"thread_id": record.thread_id},
            "callbacks": [meter],
        }
        head: str | None = None
        try:
            saver = allow_types_of(guarded(self.saver, self.fence), self.graph)
            kept = self.graph.copy({"checkpointer": saver})
            with spending_run(record.id), running(context):
                outcome, head = await self._outcome(kept, saver, config)
            outcome = await self._settled(outcome, effects)
        except StorageError as error:
            raise StorageTrouble(error) from error
        finally:
            effects.close()
        waits = outcome.status == "waiting" and self.settings.runs.answer_within_s
        return Finish(
            status=outcome.status,
            output=self.saver.sealed(outcome.output),
            apart=outcome.apart,
            error=outcome.error,
            questions=[question.to_dict() for question in outcome.questions],
            usage=dict(meter.usage),
            cost_usd=meter.cost_usd,
            head=head,
            expires_at=time.time() + waits if waits else None,
            wake_at=outcome.wake_at,
        )

    async def _outcome(
        self, graph: Graph, saver: ExtendedSaver, config: Any
    ) -> tuple[Outcome, str | None]:
        try:
            call = await self._call(graph, saver, config)
            if isinstance(call, Outcome):
                return call, await self._head(saver)
            with exits_contained():  # other runs go on in this program
                output = await self._drive(graph, call.given, config)
            after = await graph.aget_state(glancing(config))
            return await self._reached(saver, after, output), _id_of(after)
        except NearfarError as error:
            if isinstance(error, StorageError) and self._is_ours(error):
                raise
            self.raised = error
        except sqlite3.DatabaseError as error:
            if step_of(error) is None:  # the checkpointer's, not a step's
                raise DatabaseError(f"The database refused: {error}.") from error
            self.raised = self._failure(error, saver)
        except Exception as error:  # noqa: BLE001 - a plugin boundary: the steps are the user's code
            self.raised = self._failure(error, saver)
        return outcome_of(self.raised), await self._head(saver)

    async def _head(self, saver: ExtendedSaver) -> str | None:
        found = await saver.ahead(self.record.thread_id)
        return found[0] if found else None

    async def _reached(self, saver: ExtendedSaver, after: StateSnapshot, output: Any) -> Outcome:
        """The end, or a pause with its questions; long conversations stay with the checkpoints."""
        head, apart = _id_of(after), conversations(output)
        if not apart or head is None:
            return _reached(after, output)
        await saver.akeep(self.record.thread_id, self.record.id, head, apart)
        rest = {name: None if name in apart else value for name, value in output.items()}
        return replace(_reached(after, rest), apart=tuple(apart))

    async def _settled(self, outcome: Outcome, effects: EffectStore) -> Outcome:
        """No run ends while an effect of its own is in doubt, whatever its steps made of that.

        A step's ``except Exception`` may have swallowed NeedsReconcile, or turned it into an error.
        """
        hidden = outcome.status == "failed" and _comes_from_doubt(self.raised)
        if not (hidden or outcome.status == "succeeded"):
            return outcome
        if not effects.was_used and self.record.attempt == 1:
            return outcome  # most runs have no effects, and need not open the store
        unsettled = [
            effect
            for effect in await asyncio.to_thread(effects.of_run, self.record.id)
            if effect.status in ("reserved", "unknown")
        ]
        return outcome_of(needs_reconcile(unsettled[0])) if unsettled else outcome

    def _is_ours(self, error: StorageError) -> bool:
        """Whether the database of the runs failed, and not a file that a step wrote."""
        return error.data.get("path") == self.journal.name

    def _failure(self, error: Exception, saver: ExtendedSaver) -> NearfarError:
        values = saver.serde.loads_typed(self.record.input)
        told = failure(error, input_schema(self.graph), values, self._about())
        told.__cause__ = error
        return told

    def _about(self) -> dict[str, Any]:
        record = self.record
        names = {"workflow": record.workflow, "run_id": record.id}
        return {**names, "thread_id": record.thread_id}

    async def _call(self, graph: Graph, saver: ExtendedSaver, config: Any) -> "_Call | Outcome":
        """What the graph is called with, or how the run stands already.

        The input only where no checkpoint of this run exists; else the answers that were given and
        are still asked for, or None: the graph goes on from its last checkpoint.
        """
        record = self.record
        fresh = record.base == "" and record.attempt == 1
        head = "" if fresh else await self._head(saver) or ""
        if record.base is None:
            await self.journal.note(record.id, self.fence, base=head)
        applied = record.base is not None and head != record.base
        if record.crashes:
            poisoned = await self._died_again(graph, config, head)
            if poisoned is not None:
                return poisoned
        if not applied:
            return _Call(saver.serde.loads_typed(record.input))
        state = await graph.aget_state(config)
        answers = self._answers(saver, state)
        if answers:
            return _Call(Command(resume=answers))
        if record.approved != head and (_only_waits(state) or await _at_breakpoint(graph, state)):
            return await self._reached(saver, state, await _values(graph, state))
        return _Call(None)

    def _answers(self, saver: ExtendedSaver, state: StateSnapshot) -> dict[str, Any]:
        """Those answers that are still asked for: a crash may have come after one was used."""
        if self.record.answers is None:
            return {}
        given: dict[str, Any] = saver.serde.loads_typed(self.record.answers)
        asked = {pause.id for pause in state.interrupts}
        return {name: value for name, value in given.items() if name in asked}

    async def _died_again(self, graph: Graph, config: Any, head: str) -> Outcome | None:
        """Set the run aside when the program died too often without any progress between."""
        record = self.record
        mark = f"{head} {await _progress(graph, config)}" if head else ""
        crashes = record.crashes if mark == record.mark else 1
        if crashes < self.settings.runs.max_crashes:
            begun = {"begun": record.attempt, "crashes": crashes, "mark": mark}
            await self.journal.note(record.id, self.fence, **begun)
            return None
        return outcome_of(
            PoisonedRunError(
                f"The program died {crashes} times at the same step of the run {record.id}.",
                data={"run_id": record.id, "thread_id": record.thread_id},
            )
        )

    async def _drive(self, graph: Graph, given: Any, config: Any) -> Any:
        modes: Any = ["values", "tasks", "custom"] + (["messages"] if self.tokens else [])
        output: Any = None
        stream = graph.astream(
            given,
            config,
            stream_mode=modes,
            subgraphs=True,
            output_keys=graph.output_channels,
            durability="sync",
        )
        async for item in stream:
            space, mode, data = cast("tuple[tuple[str, ...], str, Any]", item)
            if mode == "values" and not space:
                output = data
                self.publish(RunEvent("values", data))
            elif mode == "messages":
                message, metadata = data
                if _is_from_model(message):
                    told = {"text": str(message.text), "step": metadata.get("langgraph_node")}
                    self.publish(RunEvent("token", told, space))
            elif mode == "tasks":
                told = {"name": data["name"], "done": "input" not in data}
                self.publish(RunEvent("step", told, space))
            elif mode == "custom":
                self.publish(RunEvent("custom", data, space))
        return output


def _comes_from_doubt(error: BaseException | None) -> bool:
    """Whether NeedsReconcile is among what caused the error."""
    seen: list[BaseException] = []  # what is thrown into a generator may be its own context's
    while error is not None and not isinstance(error, NeedsReconcile):
        if any(error is known for known in seen):
            return False
        seen.append(error)
        error = error.__cause__ or error.__context__
    return error is not None


@dataclass(frozen=True)
class _Call:
    given: Any


def _id_of(state: StateSnapshot) -> str | None:
    found: str | None = state.config["configurable"].get("checkpoint_id")
    return found


async def _progress(graph: Graph, config: Any) -> str:
    """Differs when anything was finished since, in subgraphs too."""
    parts: list[str] = []

    def walk(state: StateSnapshot) -> None:
        parts.append(str(_id_of(state)))
        for task in state.tasks:
            parts.append(f"{task.id}{task.result is not None}{len(task.interrupts)}")
            if isinstance(task.state, StateSnapshot):
                walk(task.state)

    walk(await graph.aget_state(config, subgraphs=True))
    return " ".join(parts)


def _only_waits(state: StateSnapshot) -> bool:
    """Whether there is nothing to do but to ask: the process died before it was written down.

    A task that failed beside one that asks is tried again, so that counts as something to do.
    """
    asks = bool(state.interrupts)
    return asks and all(task.interrupts or task.result is not None for task in state.tasks)


async def _at_breakpoint(graph: Graph, state: StateSnapshot) -> bool:
    """Whether the graph was to stop here: calling it would go past what a person is to see first."""
    before, after = graph.interrupt_before_nodes, graph.interrupt_after_nodes
    if not state.next or not (before or after):
        return False
    if _named(before, state.next):
        return True
    parent = await graph.aget_state(state.parent_config) if state.parent_config else None
    return parent is not None and _named(after, parent.next)


def _named(wanted: Any, nodes: Iterable[str]) -> bool:
    real = {name for name in nodes if name != START}
    return bool(real) if wanted == "*" else not real.isdisjoint(wanted)


async def _values(graph: Graph, state: StateSnapshot) -> Any:
    """The output channels of a state, as the stream would give them."""
    wanted = graph.output_channels
    if isinstance(wanted, str):
        return state.values
    held = state.values if isinstance(state.values, Mapping) else {}
    return {name: held[name] for name in wanted if name in held}


def _reached(after: StateSnapshot, output: Any) -> Outcome:
    """The end, or a pause with its questions."""
    if not after.next:
        return Outcome("succeeded", to_plain(output))
    asked = [Question(pause.id, to_plain(pause.value)) for pause in after.interrupts]
    questions = asked or [Question(None, {"next": list(after.next)})]
    plain = to_plain(output)
    base = plain if isinstance(plain, dict) else {"value": plain}
    shown = {**base, "__interrupt__": [question.to_dict() for question in questions]}
    return Outcome("waiting", shown, questions=tuple(questions))


def _is_from_model(message: Any) -> bool:
    """A piece of a reply, or the whole one of a model that cannot stream.

    LangGraph also tells messages that a step puts into the state; those have ids of another kind.
    """
    whole = isinstance(message, AIMessage) and (message.id or "").startswith(("lc_run-", "run-"))
    return (isinstance(message, AIMessageChunk) or whole) and bool(message.text)
