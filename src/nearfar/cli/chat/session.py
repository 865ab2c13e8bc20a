"""A conversation: the loop of messages, answers and approvals, and what keeps its thread whole."""

import asyncio
import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, ToolMessage
from langgraph.types import Command, StateSnapshot

from nearfar.agents.memory import Memory
from nearfar.errors import NearfarError, WorkflowFailedError
from nearfar.graphs.assistant import build_assistant
from nearfar.graphs.running import Meter, open_saver
from nearfar.llm.money import spending_run
from nearfar.settings import Settings

from .lines import Lines
from .screen import Screen

STOPPED = "stopped"
"""The ``finish_reason`` of an answer that the user cut off."""
_UNKNOWN = "The user stopped the answer before this call's result came. What it did is not known."
_NODES = ("model", "tools")


@dataclass(frozen=True)
class Choices:
    """What the assistant is made of; None: as the settings say."""

    model: str | None = None
    tools: list[str] | None = None
    index: str | None = None
    user: str | None = None


class Leave(Exception):  # noqa: N818  (control flow)
    """The user has had enough."""


class Session:
    """One user's conversation with an assistant. ``meter`` counts what it cost since it was opened."""

    def __init__(
        self, settings: Settings, choices: Choices, thread: str, screen: Screen, saver: Any
    ) -> None:
        self.settings = settings
        self.screen = screen
        self.thread = thread
        self.meter = Meter()
        self._saver = saver
        self.change(choices)

    def change(self, choices: Choices) -> None:
        """Go on with another model or other tools. Raises NearfarError and changes nothing then."""
        options = {k: v for k, v in vars(choices).items() if k != "user"}
        graph = build_assistant(self.settings, checkpointer=self._saver, **options)
        self.choices, self.graph = choices, graph

    @property
    def config(self) -> Any:
        """The run's configuration."""
        configurable: dict[str, Any] = {"thread_id": self.thread}
        if self.choices.user is not None:
            configurable["user_id"] = self.choices.user
        return {"configurable": configurable, "callbacks": [self.meter]}

    @property
    def memory(self) -> Memory | None:
        """What is remembered of the user; None: memory is turned off."""
        store = self.graph.store
        return None if store is None else Memory(store, user=self.choices.user)

    @property
    def tools(self) -> list[Any]:
        """The tools that the assistant has."""
        node: Any = self.graph.builder.nodes.get("tools")
        return list(node.runnable.tools_by_name.values()) if node else []

    async def state(self) -> StateSnapshot:
        """The thread as it stands."""
        return await self.graph.aget_state(self.config)

    async def messages(self) -> list[AnyMessage]:
        """What was said, oldest first."""
        return list((await self.state()).values.get("messages", []))

    async def delete_thread(self) -> None:
        """What was said is gone."""
        await self._saver.adelete_thread(self.thread)

    async def answer(self, given: Any) -> StateSnapshot:
        """Run until the answer is there or a person is asked. Raises NearfarError.

        When the task is cancelled, what was said until then is kept in the thread.
        """
        heard: list[str] = []
        try:
            with spending_run(uuid.uuid4().hex):
                await self._stream(given, heard)
        except NearfarError:
            await self.settle(heard)
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self.settle(heard))
            raise
        except Exception as error:  # a plugin boundary: tools and models may be the user's own
            await self.settle(heard)
            raise WorkflowFailedError(
                f"The answer failed: {type(error).__name__}: {error}", data={"thread": self.thread}
            ) from error
        return await self.state()

    async def _stream(self, given: Any, heard: list[str]) -> None:
        stream = self.graph.astream(
            given, self.config, stream_mode=["messages", "updates"], durability="sync"
        )
        async for item in stream:
            mode, data = cast("tuple[str, Any]", item)
            if mode == "messages":
                self._token(data[0], data[1], heard)
            else:
                for node, update in data.items():
                    self._update(node, update, heard)

    def _token(self, message: Any, metadata: Any, heard: list[str]) -> None:
        own = metadata.get("langgraph_node") == "model"
        if own and isinstance(message, AIMessageChunk) and message.text:
            heard.append(str(message.text))
            self.screen.token(str(message.text))

    def _update(self, node: str, update: Any, heard: list[str]) -> None:
        if node not in _NODES or not update:
            return
        for part in update if isinstance(update, list) else [update]:
            messages = (part or {}).get("messages") or []
            for message in messages if isinstance(messages, list) else [messages]:
                if isinstance(message, ToolMessage):
                    self.screen.result(message)
                elif isinstance(message, AIMessage):
                    heard.clear()
                    self._reply(message)
            self.screen.sources((part or {}).get("citations") or [])

    def _reply(self, message: AIMessage) -> None:
        self.screen.answer(message)
        for call in message.tool_calls:
            self.screen.call(call["name"], call["args"])

    async def settle(self, heard: list[str]) -> bool:
        """Leave the thread so that the next message fits: every call has a result, every message an
        answer. Whether there was anything to do.
        """
        state = await self.state()
        messages: list[AnyMessage] = state.values.get("messages") or []
        if not state.next or not messages:
            return False
        done = {m.tool_call_id: m for m in _finished_calls(state)}
        last = max((n for n, m in enumerate(messages) if isinstance(m, AIMessage)), default=-1)
        answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
        calls = messages[last].tool_calls if last >= 0 else []  # type: ignore[union-attr]
        repairs: list[AnyMessage] = [
            done.get(call["id"] or "")
            or ToolMessage(_UNKNOWN, tool_call_id=call["id"], name=call["name"], status="error")
            for call in calls
            if call["id"] not in answered
        ]
        said = "".join(heard).strip() or "[stopped]"
        repairs.append(AIMessage(said, response_metadata={"finish_reason": STOPPED}))
        await self.graph.aupdate_state(self.config, {"messages": repairs}, as_node="model")
        return True


def _finished_calls(state: StateSnapshot) -> list[ToolMessage]:
    """Results of calls that were done when others of the same step were cut off."""
    found: list[ToolMessage] = []
    for task in state.tasks:
        result = task.result if isinstance(task.result, dict) else {}
        found += [m for m in result.get("messages") or [] if isinstance(m, ToolMessage)]
    return found


async def converse(
    settings: Settings, choices: Choices, thread: str | None, screen: Screen, lines: Lines
) -> bool:
    """Talk until the input ends. Whether the thread then waits for a person's approval."""
    from .commands import obey

    async with open_saver(settings) as saver:
        name = thread or f"chat-{uuid.uuid4().hex[:8]}"
        session = Session(settings, choices, name, screen, saver)
        if lines.live:
            screen.note(f"Thread {name}. /help lists the commands; Ctrl-D leaves.")
        waits = await _take_up(session, lines)
        with suppress(EOFError, Leave):
            while not waits:
                try:
                    text = await lines.ask("> ")
                except KeyboardInterrupt:
                    screen.note("Ctrl-D leaves.")
                    continue
                if text.strip().startswith("/"):
                    await _guarded(screen, obey(session, text.strip()))
                elif text.strip():
                    waits = await _turn(session, lines, {"question": text})
        if lines.live:
            screen.note(f"Go on with: nearfar chat --thread {session.thread}")
    return waits


async def _take_up(session: Session, lines: Lines) -> bool:
    """A thread of earlier may wait for an approval, or have been killed in the middle of an answer."""
    state = await session.state()
    messages = state.values.get("messages") or []
    if messages and lines.live:
        session.screen.note(f"{len(messages)} messages so far; /history shows them.")
    if state.interrupts:
        return await _turn(session, lines, None)
    if await session.settle([]):
        session.screen.note("The last answer was broken off; what was said is kept.")
    return False


async def _guarded(screen: Screen, work: Any) -> Any:
    try:
        return await work
    except NearfarError as error:
        screen.error(error)
        return None


async def _turn(session: Session, lines: Lines, given: Any) -> bool:
    """An answer, with all the approvals on its way. Whether it waits and nobody can be asked."""
    state = await session.state() if given is None else None
    while True:
        if state is None:
            state = await _stoppable(session, given)
        if state is None or not state.interrupts:
            return False
        try:
            decisions = {
                pause.id: await _decide(session.screen, lines, pause.value)
                for pause in state.interrupts
            }
        except EOFError:
            session.screen.note(f"It waits for an approval: nearfar chat --thread {session.thread}")
            return True
        except KeyboardInterrupt:
            await session.settle([])
            session.screen.note("Stopped.")
            return False
        given, state = Command(resume=decisions), None


async def _stoppable(session: Session, given: Any) -> StateSnapshot | None:
    """The answer; None when Ctrl-C stopped it or it failed."""
    task = asyncio.ensure_future(_guarded(session.screen, session.answer(given)))
    with _interrupts(task.cancel):
        try:
            found: StateSnapshot | None = await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            session.screen.note("Stopped.")
            return None
    return found


@contextmanager
def _interrupts(stop: Callable[[], Any]) -> Iterator[None]:
    """Ctrl-C calls ``stop`` in the event loop, and ends nothing else."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _decide(screen: Screen, lines: Lines, asked: Any) -> dict[str, Any]:
    """A person's answer to an interrupt, in the form that the tools understand."""
    actions = asked.get("action_requests") if isinstance(asked, dict) else None
    if not actions:  # a tool of the user's own asks something else
        screen.text(json.dumps(asked, ensure_ascii=False, default=str))
        return {"answer": await lines.ask("Answer: ")}
    allowed = asked.get("review_configs") or [{}]
    may_edit = "edit" in allowed[0].get("allowed_decisions", [])
    decisions = [await _decide_one(screen, lines, action, may_edit=may_edit) for action in actions]
    return {"decisions": decisions}


async def _decide_one(
    screen: Screen, lines: Lines, action: dict[str, Any], *, may_edit: bool
) -> dict[str, Any]:
    screen.request(action)
    options = "[y]es, [n]o, [e]dit" if may_edit else "[y]es, [n]o"
    while True:
        said = (await lines.ask(f"Allow it? {options}: ")).strip()
        word, _, rest = said.partition(" ")
        if word.lower() in ("y", "yes"):
            return {"type": "approve"}
        if word.lower() in ("n", "no"):
            return {"type": "reject", **({"message": rest.strip()} if rest.strip() else {})}
        if may_edit and word.lower() in ("e", "edit"):
            edited = await _edit(screen, lines, action, rest)
            if edited is not None:
                return edited
        else:
            screen.note("Say y, n (and why), or e." if may_edit else "Say y or n.")


async def _edit(
    screen: Screen, lines: Lines, action: dict[str, Any], given: str
) -> dict[str, Any] | None:
    """The call with other arguments; None where they are no JSON object."""
    now = json.dumps(action["args"], ensure_ascii=False)
    text = given.strip() or await lines.ask("Arguments: ", default=now)
    try:
        args = json.loads(text)
    except ValueError as error:
        screen.note(f"That is no JSON: {error}")
        return None
    if not isinstance(args, dict):
        screen.note("The arguments are a JSON object.")
        return None
    return {"type": "edit", "edited_action": {"name": action["name"], "args": args}}


def other_model(session: Session, name: str) -> None:
    """Answer with another model from now on."""
    session.change(replace(session.choices, model=name))
