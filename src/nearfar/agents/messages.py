"""The channel of an agent's messages.

LangGraph's plain channel writes the whole conversation at every step, which grows with its square;
a delta channel writes what is new and is put together again when a thread is opened. For that the
same writes must give the same messages, so ids are not random here.
"""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.messages import AnyMessage, BaseMessage, convert_to_messages
from langgraph.channels import DeltaChannel
from langgraph.graph.message import add_messages

SNAPSHOT_EVERY = 50  # writes, after which the whole conversation is kept once more


def gathered(kept: Any, writes: Sequence[Any]) -> list[AnyMessage]:
    """The conversation with further writes, each folded in as ``add_messages`` does."""
    messages: list[Any] = list(kept or [])
    for write in writes:
        few = list(write) if isinstance(write, list | tuple) and not _is_one(write) else [write]
        fresh = convert_to_messages(few)
        named = [_named(message, len(messages) + n) for n, message in enumerate(fresh)]
        messages = list(add_messages(messages, named))  # type: ignore[arg-type]
    return messages


Messages = Annotated[list[AnyMessage], DeltaChannel(gathered, snapshot_frequency=SNAPSHOT_EVERY)]
"""Oldest first."""


def _is_one(write: Any) -> bool:
    """``("user", "text")`` is a message, and no list of two."""
    return isinstance(write, tuple) and len(write) == 2 and all(isinstance(x, str) for x in write)


def _named(message: BaseMessage, place: int) -> BaseMessage:
    if message.id:
        return message
    known = f"{place}\0{message.type}\0{message.content!r}\0{getattr(message, 'tool_call_id', '')}"
    return message.model_copy(update={"id": str(uuid.uuid5(_SPACE, known))})


_SPACE = uuid.UUID("5f3f1c9e-6a0f-4b0a-9d0e-3b1f5a4c7d21")
