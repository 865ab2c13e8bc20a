"""Gates take candidates out before any byte is sent, each with its reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

from nearfar.llm.screening import Screen, told

from .caller import Priority
from .candidate import Candidate
from .compaction import Shortened, shortened

T = TypeVar("T")
DEFAULT_RESERVE = 256
"""Tokens kept free for the reply where the request names no limit."""


@dataclass(frozen=True)
class Request:
    """What the router was asked, as gates and policies see it.

    A decision is replayed from its receipt, so a policy takes all that it decides by from here and from
    the candidates: tokens by ``tokens``, and chance, time or state of its own through ``noted``.
    """

    messages: Sequence[BaseMessage]
    tools: Sequence[dict[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    private: bool = False
    far: bool = False
    """A model of this machine must not answer."""
    found: Mapping[str, int] = field(default_factory=dict)
    """What the screen found: kinds and counts."""
    tags: frozenset[str] = frozenset()
    """Those of the caller's run."""
    label: str | None = None
    """What kind of request it is, in the caller's own word."""
    thread_id: str | None = None
    tenant: str | None = None
    priority: Priority = "interactive"
    compact: bool = False
    """It may be made shorter for a candidate that it does not fit."""
    shortened: dict[str, Shortened] = field(default_factory=dict, init=False, compare=False)
    """What candidates get instead of the whole conversation, by their names."""
    cut: dict[str, int | None] = field(default_factory=dict, init=False, compare=False)
    """The tokens of these; None for one that it cannot be made short enough for."""
    counted: dict[str, int] = field(default_factory=dict, init=False, compare=False)
    """Tokens of the prompt by the names of candidates that were asked for them."""
    notes: list[tuple[str, Any]] = field(default_factory=list, init=False, compare=False)
    """What ``noted`` gave, in the order of the calls."""

    def tokens(self, candidate: Candidate) -> int:
        """The prompt's tokens as that candidate counts them; counted once."""
        found = self.counted.get(candidate.name)
        if found is None:
            found = candidate.count(self.messages, self.tools)
            self.counted[candidate.name] = found
        return found

    def messages_for(self, candidate: Candidate) -> Sequence[BaseMessage]:
        """The conversation as that candidate gets it."""
        cut = self.shortened.get(candidate.name)
        return self.messages if cut is None else cut.messages

    def shorten(self, candidate: Candidate, limit: int) -> int | None:
        """Tokens of the prompt once it is short enough for the candidate; None: it cannot be."""
        counted: dict[int, int] = {}  # by the number of messages

        def fits(messages: list[BaseMessage]) -> bool:
            counted[len(messages)] = candidate.count(messages, self.tools)
            return counted[len(messages)] <= limit

        found = shortened(self.messages, fits)
        tokens = None
        if found is not None:
            self.shortened[candidate.name] = found
            tokens = counted[len(found.messages)]
        self.cut[candidate.name] = tokens
        return tokens

    def noted(self, name: str, take: Callable[[], T]) -> T:
        """What ``take`` gives (plain JSON), written down so that a replay decides by the same."""
        value = take()
        self.notes.append((name, value))
        return value

    @cached_property
    def size(self) -> int:
        """The prompt's tokens by rule of thumb, whoever is asked."""
        return count_tokens_approximately(self.messages, tools=list(self.tools) or None)

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
    if not request.private or candidate.local:
        return None
    if request.found:
        return f"private: {told(request.found)} found, the request must not leave this machine"
    return "private: the request must not leave this machine"


def screened(request: Request, screen: Screen | None) -> Request:
    """The request with what keeps it near: its own mark, one on a message, and what the screen finds.

    Raises ContentBlockedError.
    """
    private = request.private or any(
        message.additional_kwargs.get("private")
        for message in request.messages
        if message.additional_kwargs
    )
    if screen is not None:
        finding = screen.look(request.messages, request.tools, request.options)
        private = private or finding.keep_near
        if finding.found:
            return replace(request, private=private, found=finding.found)
    return request if private is request.private else replace(request, private=True)


_far_only: ContextVar[bool] = ContextVar("nearfar_far_only", default=False)


@contextmanager
def only_far() -> Iterator[None]:
    """Routers that are asked in the block use no model of this machine."""
    token = _far_only.set(True)
    try:
        yield
    finally:
        _far_only.reset(token)


def is_only_far() -> bool:
    """Whether the caller stands in such a block."""
    return _far_only.get()


def place(request: Request, candidate: Candidate) -> str | None:
    """Some work must not be done by a model of this machine."""
    if request.far and candidate.local:
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
    return None if takes.max_input_tokens is None else _length(request, candidate)


def goes_on(request: Request, candidate: Candidate) -> bool:
    """Whether it takes the beginning of the answer; a local model does not where a grammar holds it."""
    if not candidate.takes.prefill or not candidate.local:
        return candidate.takes.prefill
    return not (request.tools or request.options.keys() & {"response_format", "grammar"})


def _length(request: Request, candidate: Candidate) -> str | None:
    window = candidate.takes.max_input_tokens or 0
    needed = request.tokens(candidate) + request.reserve
    if needed <= window:
        return None
    said = ""
    if request.compact:
        limit = window - request.reserve
        if request.noted("shortened", lambda: request.shorten(candidate, limit)) is not None:
            return None
        said = ", and it cannot be made short enough"
    return f"length: {needed} tokens needed with the reply, {window} there{said}"


GATES: tuple[Gate, ...] = (privacy, place, fit)
