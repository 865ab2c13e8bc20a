"""Who asks: what a request's options, its run and its surroundings say about the caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, get_args

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from nearfar.errors import InvalidParameterError

Priority = Literal["interactive", "batch"]
"""Where requests wait for a model, interactive ones go before batch."""

_around: ContextVar[Priority | None] = ContextVar("nearfar_priority", default=None)
_config: ContextVar[RunnableConfig | None] = ContextVar("nearfar_config", default=None)
_NO_TAGS: frozenset[str] = frozenset()


@contextmanager
def at_priority(priority: Priority) -> Iterator[None]:
    """Requests that are made within have this priority, unless they or their config name another."""
    token = _around.set(_checked(priority))
    try:
        yield
    finally:
        _around.reset(token)


@contextmanager
def calling(config: RunnableConfig | None) -> Iterator[None]:
    """LangChain does not hand the config of a call on to the model; here it is found again."""
    token = _config.set(config)
    try:
        yield
    finally:
        _config.reset(token)


@dataclass(frozen=True)
class Caller:
    """What is known of who asks. A call's own options come before the metadata of its config."""

    tags: frozenset[str] = _NO_TAGS
    label: str | None = None
    thread_id: str | None = None
    priority: Priority = "interactive"
    private: bool = False

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Caller":
        """Takes ``label`` and ``priority`` out of ``options``. Raises InvalidParameterError.

        Within a graph the config is known, even where a node does not hand it on.
        """
        config: Any = _config.get() or var_child_runnable_config.get() or {}
        metadata = config.get("metadata") or {}
        tags = config.get("tags")
        label = options.pop("label", None) or metadata.get("label")
        thread = (config.get("configurable") or {}).get("thread_id")
        given = options.pop("priority", None) or metadata.get("priority") or _around.get()
        return cls(
            tags=frozenset(tags) if tags else _NO_TAGS,
            label=None if label is None else str(label),
            thread_id=None if thread is None else str(thread),
            priority="interactive" if given is None else _checked(given),
            private=bool(options.pop("private", False) or metadata.get("private")),
        )


def _checked(priority: Any) -> Priority:
    if priority in get_args(Priority):
        found: Priority = priority
        return found
    raise InvalidParameterError(
        f"priority must be interactive or batch, not {priority!r}.",
        data={"parameter": "priority", "value": str(priority)},
    )
