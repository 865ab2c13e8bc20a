"""A conversation with an assistant, and what keeps its thread whole."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, ToolMessage
from langgraph.types import StateSnapshot

from nearfar.agents.memory import Memory
from nearfar.errors import NearfarError, WorkflowFailedError
from nearfar.graphs.assistant import build_assistant
from nearfar.graphs.runtime.metering import Meter
from nearfar.llm.money import spending_run
from nearfar.settings import Settings

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
        if choices.index is not None:
            from nearfar.retrieval import Index

            Index.open(
                choices.index, settings=self.settings
            )  # the user hears now of one that is not
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
        last = max((n for n, m in enumerate(messages) if isinstance(m, AIMessage)), default=-1)
        calls = messages[last].tool_calls if last >= 0 else []  # type: ignore[union-attr]
        # The state shows results that no checkpoint has yet; put in once more they are kept.
        known = [m for m in messages if isinstance(m, ToolMessage)]
        done = {m.tool_call_id: m for m in [*known, *_finished_calls(state)]}
        repairs: list[AnyMessage] = [
            done.get(call["id"] or "")
            or ToolMessage(_UNKNOWN, tool_call_id=call["id"], name=call["name"], status="error")
            for call in calls
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
