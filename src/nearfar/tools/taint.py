"""What untrusted text has been read, as far as it bears on the calls that follow.

An agent's middleware says for how long (``having_read``); tools ask (``read_so_far``). A tool knows
of nothing outside of that: called by hand it is as free as its permissions say.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from langchain_core.messages import BaseMessage, ToolMessage
from typing_extensions import TypedDict

__all__ = ["UNTRUSTED", "Taint", "having_read", "joined", "read_so_far", "taint_of", "told"]

UNTRUSTED = "untrusted"
"""In a message's ``additional_kwargs``, or a tool's ``metadata``: where its text is from."""
_DATA = "<<<data "  # what spotlighting begins with
_SHOWN = 3  # sources that a person is told


class Taint(TypedDict):
    """One text from outside that a model has read."""

    id: str  # of the call, message or task that brought it
    tool: str | None
    source: str


_read: ContextVar[tuple[Taint, ...]] = ContextVar("nearfar_tools_read", default=())


def read_so_far() -> tuple[Taint, ...]:
    """The untrusted texts that went before the call under way."""
    return _read.get()


@contextmanager
def having_read(taint: Iterable[Taint]) -> Iterator[None]:
    """Calls inside are made by somebody who has read this, and what was read before."""
    token = _read.set(tuple(joined(_read.get(), taint)))
    try:
        yield
    finally:
        _read.reset(token)


def joined(kept: Iterable[Taint] | None, more: Iterable[Taint] | None) -> list[Taint]:
    """Each once, in the order they came. What was read cannot be unread: nothing is taken out."""
    found = {one["id"]: one for one in kept or ()}
    for one in more or ():
        found.setdefault(one["id"], one)
    return list(found.values())


def taint_of(message: BaseMessage, own: Collection[str] = ()) -> Taint | None:
    """What a message brought in; None where it is known to hold nothing from outside.

    A result is trusted only if it says so (``untrusted`` in its artifact). ``own`` are the names of
    tools whose errors are Nearfar's words, with those of others marked as data.
    """
    marked = message.additional_kwargs.get(UNTRUSTED)
    if marked:
        return Taint(id=str(message.id or marked), tool=None, source=str(marked))
    if not isinstance(message, ToolMessage):
        return None
    name = message.name or "a tool"
    made: Mapping[str, object] = message.artifact if isinstance(message.artifact, dict) else {}
    if made.get(UNTRUSTED) is False:
        return None
    if not made and message.status == "error" and name in own and _DATA not in str(message.content):
        return None
    return Taint(id=message.tool_call_id, tool=name, source=str(made.get("source") or name))


def told(taint: Sequence[Taint]) -> str:
    """For people: where the untrusted texts are from."""
    sources = list(dict.fromkeys(one["source"][:200] for one in taint))
    more = len(sources) - _SHOWN
    return ", ".join(sources[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
