"""Who asks: what a request's options, its run and its surroundings say about the caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, get_args

from langchain_core.runnables import RunnableConfig

from nearfar.errors import InvalidParameterError

Priority = Literal["interactive", "batch"]
"""Where requests wait for a model, interactive ones go before batch."""

RUN = "nearfar_run"
"""The option under which LangChain's run manager comes along."""
_around: ContextVar[Priority | None] = ContextVar("nearfar_priority", default=None)
_NO_TAGS: frozenset[str] = frozenset()


@contextmanager
def at_priority(priority: Priority) -> Iterator[None]:
    """Requests that are made within have this priority, unless they or their config name another."""
    token = _around.set(_checked(priority))
    try:
        yield
    finally:
        _around.reset(token)


@dataclass(frozen=True)
class Caller:
    """What is known of who asks. A call's own options come before the metadata of its config."""

    tags: frozenset[str] = _NO_TAGS
    label: str | None = None
    thread_id: str | None = None
    priority: Priority = "interactive"

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Caller":
        """Takes ``label``, ``priority`` and the run out of ``options``. Raises InvalidParameterError."""
        run = options.pop(RUN, None)
        metadata = (getattr(run, "metadata", None) or {}) if run is not None else {}
        tags = getattr(run, "tags", None)
        label = options.pop("label", None) or metadata.get("label")
        thread = metadata.get("thread_id")
        given = options.pop("priority", None) or metadata.get("priority") or _around.get()
        return cls(
            tags=frozenset(tags) if tags else _NO_TAGS,
            label=None if label is None else str(label),
            thread_id=None if thread is None else str(thread),
            priority="interactive" if given is None else _checked(given),
        )


def with_thread(config: RunnableConfig | None) -> RunnableConfig | None:
    """The config, with the thread that it names among the metadata, where the router can see it."""
    thread = config.get("configurable", {}).get("thread_id") if config else None
    if config is None or thread is None:
        return config
    return {**config, "metadata": {"thread_id": thread, **(config.get("metadata") or {})}}


def _checked(priority: Any) -> Priority:
    if priority in get_args(Priority):
        found: Priority = priority
        return found
    raise InvalidParameterError(
        f"priority must be interactive or batch, not {priority!r}.",
        data={"parameter": "priority", "value": str(priority)},
    )
