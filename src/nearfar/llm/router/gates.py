"""Gates take candidates out before any byte is sent, each with its reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from .candidate import Candidate

DEFAULT_RESERVE = 256
"""Tokens kept free for the reply where the request names no limit."""


@dataclass(frozen=True)
class Request:
    """What the router was asked, as gates and policies see it."""

    messages: Sequence[BaseMessage]
    tools: Sequence[dict[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    private: bool = False
    tags: frozenset[str] = frozenset()

    @property
    def reserve(self) -> int:
        """Tokens that the reply may need."""
        limit = self.options.get("max_tokens")
        return int(limit) if limit else DEFAULT_RESERVE

    @property
    def has_images(self) -> bool:
        """Whether a message holds a picture."""
        return any(
            isinstance(block, dict) and block.get("type") in {"image", "image_url"}
            for message in self.messages
            if isinstance(message.content, list)
            for block in message.content
        )


Gate = Callable[[Request, Candidate], str | None]
"""The reason why a candidate is passed over; None lets it through."""


def privacy(request: Request, candidate: Candidate) -> str | None:
    """A private request stays on this machine."""
    if request.private and not candidate.local:
        return "private: the request must not leave this machine"
    return None


_far_only: ContextVar[bool] = ContextVar("nearfar_far_only", default=False)


@contextmanager
def only_far() -> Iterator[None]:
    """Routers that are asked in the block use no model of this machine."""
    token = _far_only.set(True)
    try:
        yield
    finally:
        _far_only.reset(token)


def place(_request: Request, candidate: Candidate) -> str | None:
    """Some work must not be done by a model of this machine."""
    if _far_only.get() and candidate.local:
        return "place: a far model is required"
    return None


def fit(request: Request, candidate: Candidate) -> str | None:
    """Tools, pictures and length against what the candidate takes."""
    takes = candidate.takes
    if request.tools and takes.tool_calling is False:
        return "tools: it cannot call tools"
    if takes.vision is False and request.has_images:
        return "vision: it cannot see pictures"
    if request.options.get("response_format") and takes.json is False:
        return "json: it cannot be held to a format"
    if takes.max_input_tokens is None:
        return None
    needed = candidate.count(request.messages, request.tools) + request.reserve
    if needed > takes.max_input_tokens:
        return f"length: {needed} tokens needed with the reply, {takes.max_input_tokens} there"
    return None


GATES: tuple[Gate, ...] = (privacy, place, fit)
