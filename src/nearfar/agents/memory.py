"""What is remembered about a user, across threads.

Each tenant and user has a namespace of its own in the store; nothing here reads another's. Who that
is stands in the run's configuration: ``{"configurable": {"tenant": ..., "user_id": ...}}``.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from langchain_core.tools import BaseTool
from langgraph.store.base import BaseStore, Item
from pydantic import Field

from nearfar.errors import ToolFailedError
from nearfar.settings import Settings
from nearfar.tools.base import Arguments, Result, guarded

if TYPE_CHECKING:
    from langgraph.store.base import SearchItem

MAX_CHARS = 2000
_ALL = 10_000


@dataclass(frozen=True, slots=True)
class Remembered:
    """One memory. ``score`` (0 to 1) where it was searched for by meaning."""

    id: str
    text: str
    at: datetime
    score: float | None = None


class Memory:
    """The memories of one user, in any LangGraph store."""

    def __init__(
        self,
        store: BaseStore,
        *,
        tenant: str | None = None,
        user: str | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:8],
    ) -> None:
        self.store = store
        self.namespace = namespace(tenant, user)
        self._new_id = new_id

    @classmethod
    def of(cls, store: BaseStore, config: Mapping[str, Any]) -> "Memory":
        """The one of the user whose run this is."""
        configurable = config.get("configurable") or {}
        return cls(store, tenant=configurable.get("tenant"), user=configurable.get("user_id"))

    def remember(self, text: str) -> Remembered:
        """Keep the text; one that is there already is kept once."""
        for one in self.all():
            if one.text == text:
                return one
        key = self._new_id()
        self.store.put(self.namespace, key, {"text": text})
        item = self.store.get(self.namespace, key)
        assert item is not None  # noqa: S101  (it was put a line above)
        return _remembered(item)

    def all(self) -> list[Remembered]:
        """Everything, oldest first."""
        found = self.store.search(self.namespace, limit=_ALL)
        return sorted((_remembered(item) for item in found), key=lambda one: one.at)

    def search(self, query: str, k: int = 5) -> list[Remembered]:
        """What fits the query best by meaning, the nearest first."""
        return ranked(self.store.search(self.namespace, query=query, limit=k))

    def forget(self, id: str) -> bool:  # noqa: A002  (what people see is called so)
        """Whether there was such a memory."""
        if self.store.get(self.namespace, id) is None:
            return False
        self.store.delete(self.namespace, id)
        return True

    def forget_all(self) -> int:
        """How many there were."""
        known = self.all()
        for one in known:
            self.store.delete(self.namespace, one.id)
        return len(known)


def namespace(tenant: str | None, user: str | None) -> tuple[str, str, str]:
    """Different for different people, whatever their names are made of."""
    return ("memories", f"tenant:{_label(tenant)}", f"user:{_label(user)}")


def ranked(items: "list[SearchItem]") -> list[Remembered]:
    """Those that were found by meaning."""
    return [_remembered(item, item.score) for item in items if item.score is not None]


def _label(name: str | None) -> str:
    """A store's labels hold no dots."""
    return "" if name is None else "=" + quote(str(name), safe="").replace(".", "%2E")


def _remembered(item: Item, score: float | None = None) -> Remembered:
    return Remembered(item.key, str(item.value.get("text", "")), item.created_at, score)


class RememberArguments(Arguments):
    """What `remember` takes."""

    text: str = Field(
        min_length=1, max_length=MAX_CHARS, description="One fact, as a whole sentence."
    )


class ForgetArguments(Arguments):
    """What `forget` takes."""

    text: str = Field(min_length=1, max_length=MAX_CHARS, description="The fact to forget.")


def memory_tools(settings: Settings) -> list[BaseTool]:
    """`remember` and `forget`. Both ask a person unless the permissions say otherwise: what is
    remembered is read in every later conversation, so nobody else's text may bring it about.
    """

    def remember(text: str) -> Result:
        kept = _current().remember(text.strip())
        return Result("Remembered.", data={"id": kept.id})

    def forget(text: str) -> Result:
        memory = _current()
        exact = [one for one in memory.all() if one.text == text]
        found = exact or [one for one in memory.search(text, 1) if (one.score or 0) >= _SAME]
        if not found:
            raise ToolFailedError("Nothing like that is remembered.")
        memory.forget(found[0].id)
        return Result("Forgotten.", data={"id": found[0].id})

    return [
        guarded(
            settings,
            name="remember",
            description="Keeps a fact about the user for later conversations.",
            args=RememberArguments,
            body=remember,
            default="ask",
        ),
        guarded(
            settings,
            name="forget",
            description="Forgets a fact that was remembered about the user.",
            args=ForgetArguments,
            body=forget,
            default="ask",
        ),
    ]


_SAME = 0.6  # a fact in other words; facts about different things are below


def _current() -> Memory:
    """The memory of the run that the calling tool belongs to."""
    from langgraph.config import get_config, get_store

    config = get_config()
    try:
        store: BaseStore | None = get_store()
    except (RuntimeError, KeyError, AttributeError):
        store = None
    if store is None:
        raise ToolFailedError("There is no memory in this graph: it was made without a store.")
    return Memory.of(store, config)
