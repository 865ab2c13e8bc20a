"""Shows the model what is remembered about the user, and lets it remember more."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.config import get_config

from nearfar.agents.memory import Memory, Remembered, memory_tools, ranked
from nearfar.settings import Settings, resolve
from nearfar.tools import mark_as_data

from ._around import AroundModel, Steps, Wait

_KEPT = 256  # texts


class MemoryMiddleware(AroundModel):
    """Puts the ``k`` memories nearest to the user's message in front of it, marked as data.

    Needs a store in the graph (``create_agent(store=MemoryStore())``); without one it does nothing.
    Memories with a similarity (cosine) under ``min_score`` are left out. ``writes``: whether the
    model gets the tools `remember` and `forget`.
    """

    def __init__(
        self,
        settings: Settings | str | Path | None = None,
        *,
        k: int = 4,
        min_score: float = 0.3,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.tools = memory_tools(resolve(settings)) if writes else []
        self._k = k
        self._min_score = min_score
        self._shown: OrderedDict[str, str] = OrderedDict()

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Add what is remembered to the latest message of the user."""
        store = request.runtime.store if request.runtime else None
        place, asked = _latest(request.messages)
        if store is None or asked is None or not str(asked.text).strip():
            return (yield request)
        memory = Memory.of(store, get_config())
        query = str(asked.text)
        found = yield Wait(lambda: store.asearch(memory.namespace, query=query, limit=self._k))
        block = self._block([one for one in ranked(found) if (one.score or 0) >= self._min_score])
        if not block:
            return (yield request)
        messages = list(request.messages)
        messages[place] = _with(block, asked)
        return (yield request.override(messages=messages))

    def _block(self, found: list[Remembered]) -> str:
        """The same text for the same memories, so that a model's cache of the prompt holds."""
        text = "\n".join(f"- {one.text}" for one in found)
        if text and text not in self._shown:
            self._shown[text] = mark_as_data(text, "what you know of the user")
            if len(self._shown) > _KEPT:
                self._shown.popitem(last=False)
        return self._shown.get(text, "")


def _latest(messages: list[AnyMessage]) -> tuple[int, HumanMessage | None]:
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if isinstance(message, HumanMessage):
            return place, message
    return -1, None


def _with(block: str, message: HumanMessage) -> HumanMessage:
    content: Any = message.content
    if isinstance(content, str):
        content = f"{block}\n\n{content}"
    else:
        content = [{"type": "text", "text": block}, *content]
    return message.model_copy(update={"content": content})
