"""Run a workflow once, here and now, with its thread kept in the database."""

import re
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import EmptyInputError, GraphRecursionError
from langgraph.types import Command, StateSnapshot

from nearfar.errors import NearfarError, WorkflowError, WorkflowFailedError, WorkflowInputError
from nearfar.llm.money import spending_run
from nearfar.settings import Settings
from nearfar.storage import connect, database_path
from nearfar.storage.database import BUSY_TIMEOUT_S, database_errors

from .inputs import InputSchema, checked, input_schema
from .plain import to_plain
from .registry import Graph, Workflow

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

NOTHING = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)

_STEP = re.compile(r"During task with name '(?P<step>.+?)' and id ")


@dataclass(frozen=True)
class Finished:
    """A run that ended, or that waits for a person. ``output`` is plain JSON."""

    run_id: str
    thread_id: str
    status: Literal["succeeded", "waiting"]
    output: Any
    usage: UsageMetadata
    cost_usd: float | None  # None: a model answered whose price is not known

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


class Meter(BaseCallbackHandler):
    """Adds up the usage of all chat model calls below a run."""

    run_inline = True

    def __init__(self) -> None:
        self.usage: UsageMetadata = NOTHING
        self.cost_usd: float | None = 0.0
        """None when a model answered whose price is not known."""

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:  # noqa: ARG002 - langchain's
        for choices in response.generations:
            for generation in choices[:1]:
                message = generation.message if isinstance(generation, ChatGeneration) else None
                metadata = message.response_metadata if isinstance(message, AIMessage) else {}
                cost = _cost(metadata)
                if self.cost_usd is not None:
                    self.cost_usd = None if cost is None else self.cost_usd + cost
                if isinstance(message, AIMessage):
                    self.usage = add_usage(self.usage, message.usage_metadata)


def _cost(metadata: dict[str, Any]) -> float | None:
    """A router's receipt says; a model without one costs nothing only on this machine."""
    receipt = metadata.get("nearfar")
    if receipt is not None:
        cost: float | None = receipt["cost_usd"]
        return cost
    return 0.0 if metadata.get("provider") == "local" else None


async def run_once(
    workflow: Workflow,
    values: Any,
    settings: Settings,
    *,
    thread_id: str | None = None,
    resume: Any = None,
    listener: Listener | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Finished:
    """Run to the end, or to where a person is asked.

    With a ``thread_id`` the thread goes on from what earlier runs left: with ``resume`` it gets the
    answer it waits for, without any values it takes up the step where it stopped, otherwise it
    starts anew on the thread's state. Without one, a thread is made and dropped again when the run
    succeeds. Raises WorkflowInputError, WorkflowFailedError, or what NearfarError a step raised.
    """
    graph = workflow.graph(settings)
    schema = input_schema(graph)
    run_id = new_id()
    thread = thread_id or run_id
    meter = Meter()
    data = {"workflow": workflow.name, "run_id": run_id, "thread_id": thread}
    config: dict[str, Any] = {
        "run_id": uuid.UUID(run_id) if _is_uuid(run_id) else None,
        "configurable": {"thread_id": thread},
        "callbacks": [meter],
    }
    async with open_saver(settings) as saver:
        kept = graph.copy({"checkpointer": saver})
        before = await kept.aget_state(config) if thread_id else None  # type: ignore[arg-type]
        given = _given(schema, values, resume, before, thread)
        try:
            with spending_run(run_id):
                output = await _drive(kept, given, config, listener or Listener())
        except (NearfarError, KeyboardInterrupt):
            raise
        except sqlite3.DatabaseError as error:
            if _step_of(error) is None:  # the checkpointer's, not a step's
                with database_errors(database_path(settings)):
                    raise
            raise _failed(error, schema, values, data) from error
        except Exception as error:  # a plugin boundary: the steps are the user's code
            if isinstance(error, BrokenPipeError) and _step_of(error) is None:
                raise  # the listener's: nobody reads its output any more
            raise _failed(error, schema, values, data) from error
        after = await kept.aget_state(config)  # type: ignore[arg-type]
        waiting = bool(after.next)
        if waiting:
            output = _with_questions(output, after)
        elif not thread_id:
            await saver.adelete_thread(thread)
    status: Literal["succeeded", "waiting"] = "waiting" if waiting else "succeeded"
    return Finished(run_id, thread, status, to_plain(output), meter.usage, meter.cost_usd)


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


@asynccontextmanager
async def open_saver(settings: Settings) -> "AsyncIterator[AsyncSqliteSaver]":
    """The checkpointer over the one database, opened as all of its connections are."""
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    path = database_path(settings)
    connect(path).close()  # makes it, with WAL, or says why that cannot be
    # The saver relies on sqlite3's own exceptions and implicit transactions.
    async with aiosqlite.connect(path, timeout=BUSY_TIMEOUT_S) as connection:
        saver = AsyncSqliteSaver(connection)
        with database_errors(path):
            await connection.execute("PRAGMA synchronous = NORMAL")
            await saver.setup()
        yield saver


def _given(
    schema: InputSchema, values: Any, resume: Any, before: StateSnapshot | None, thread: str
) -> Any:
    """What the graph is called with: new input, an answer, or None to go on where it stopped."""
    pending = bool(before and before.next)
    if resume is not None:
        if not (before and before.interrupts):
            raise WorkflowError(
                f"The thread {thread!r} does not wait for an answer.",
                remedy="Start it with its input, without --resume.",
                data={"thread_id": thread},
            )
        return Command(resume=resume)
    if pending and values in (None, {}):
        return None
    return checked(schema, {} if values is None else values, partial=_has_state(before))


def _has_state(before: StateSnapshot | None) -> bool:
    """A later turn may leave out fields that the thread's state already holds."""
    return bool(before and before.values)


async def _drive(graph: Graph, given: Any, config: Any, listener: Listener) -> Any:
    modes = ["values", "tasks"] + (["messages"] if listener.on_token else [])
    output: Any = None
    stream = graph.astream(
        given,
        config,
        stream_mode=modes,  # type: ignore[arg-type]
        subgraphs=True,
        output_keys=graph.output_channels,
    )
    async for item in stream:
        space, mode, data = cast("tuple[tuple[str, ...], str, Any]", item)
        if mode == "messages" and listener.on_token:
            message, _ = data
            if _is_from_model(message):
                listener.on_token(str(message.text))
        elif mode == "tasks" and listener.on_step and "input" in data:
            listener.on_step(data["name"])
        elif mode == "values" and not space:
            output = data
    return output


def _is_from_model(message: Any) -> bool:
    """A piece of a reply, or the whole one of a model that cannot stream.

    LangGraph also tells messages that a step puts into the state; those have ids of another kind.
    """
    whole = isinstance(message, AIMessage) and (message.id or "").startswith(("lc_run-", "run-"))
    return (isinstance(message, AIMessageChunk) or whole) and bool(message.text)


def _with_questions(output: Any, state: StateSnapshot) -> Any:
    """The state so far, and under ``__interrupt__`` what is asked (LangGraph's own name for it)."""
    asked = [{"id": pause.id, "value": to_plain(pause.value)} for pause in state.interrupts]
    base = dict(output) if isinstance(output, Mapping) else {"value": output}
    return {**base, "__interrupt__": asked or [{"id": None, "value": {"next": list(state.next)}}]}


def _failed(
    error: Exception, schema: InputSchema, values: Any, data: dict[str, Any]
) -> WorkflowError:
    """A step's failure with its name; a field that was not given is told as that."""
    if isinstance(error, EmptyInputError):
        fields = [field.name for field in schema.fields or ()]
        return WorkflowInputError(
            f"The workflow was given no input; it takes {', '.join(fields) or 'one value'}.",
            data={"fields": fields, **data},
        )
    step = _step_of(error)
    absent = error.args[0] if isinstance(error, KeyError) and error.args else None
    known = {field.name for field in schema.fields or ()}
    given = values if isinstance(values, dict) else {}
    if absent in known and absent not in given:
        return WorkflowInputError(
            f"The workflow needs {absent!r}: its step {step!r} asked for it.",
            remedy=f"Add --{str(absent).replace('_', '-')} ...",
            data={"fields": [absent], **data},
        )
    reason = f"{type(error).__name__}: {error}".removesuffix(": ")
    limited = isinstance(error, GraphRecursionError)
    return WorkflowFailedError(
        f"The step {step!r} failed: {reason}" if step else f"The workflow failed: {reason}",
        remedy="Look for a loop in the graph that never ends."
        if limited
        else f"Mend the step; with --thread {data['thread_id']} a later run takes up there.",
        data={**data, "step": step, "type": type(error).__name__},
    )


def _step_of(error: BaseException) -> str | None:
    """LangGraph notes on the exception which of its tasks raised; the outermost comes last."""
    for note in getattr(error, "__notes__", ()):
        found = _STEP.search(note)
        if found:
            return found["step"]
    return None
