"""What a fault server is told to play: one step for each request, whole replies or faults."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Point = Literal["headers", "first_token", "midstream"]
"""Where a fault strikes: before the response's headers; after the headers and before the first token
(in a reply that is not streamed: before the first byte of the body); after ``after`` content events
(in a reply that is not streamed: in the middle of the body)."""

FaultKind = Literal[
    "reset",
    "cut",
    "stall",
    "error_event",
    "malformed",
    "empty",
    "no_end",
    "slow",
]


@dataclass(frozen=True)
class ToolCall:
    """One call in a reply. ``arguments`` goes out as JSON, cut into pieces when streamed."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = "call_1"


@dataclass(frozen=True)
class Reply:
    """A whole, good reply.

    Text is streamed in ``pieces`` (word by word where None). ``finish_reason`` None means the one that
    fits: "stop" or "tool_calls" in OpenAI's words; it is translated for other shapes.
    ``delay_s`` passes before the headers, ``gap_s`` before each content event.
    """

    text: str = "ok"
    tool_calls: Sequence[ToolCall] = ()
    pieces: Sequence[str] | None = None
    finish_reason: str | None = None
    input_tokens: int = 10
    output_tokens: int = 5
    cached_tokens: int = 0
    model: str | None = None
    delay_s: float = 0.0
    gap_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)

    def text_pieces(self) -> list[str]:
        """The text as it is streamed; joined they are the text."""
        if self.pieces is not None:
            return list(self.pieces)
        if not self.text:
            return []
        words = self.text.split(" ")
        return [w if i == 0 else f" {w}" for i, w in enumerate(words)]


@dataclass(frozen=True)
class Status:
    """An HTTP error status with the provider's own error body.

    ``kind`` chooses the body: "rate_limit", "quota", "context", "content_filter", "auth", "overloaded",
    "bad_request", "not_found", "server"; None is the usual one for the status.
    """

    status: int
    kind: str | None = None
    message: str | None = None
    retry_after: str | None = None
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """A reply that goes wrong on its way.

    ===========  ====================================================================================
    kind         what the caller sees
    ===========  ====================================================================================
    reset        the connection is reset (RST)
    cut          the connection ends without the end of the body (FIN)
    stall        silence, for ``seconds``; then the connection ends
    slow         silence for ``seconds``; then everything goes on as if nothing had been
    error_event  an error event inside the 200 stream, then the end of the stream
    malformed    an event that is not JSON, then the rest
    empty        a whole stream without any content
    no_end       everything but the end mark (and the finish reason with it)
    ===========  ====================================================================================

    ``reply`` is what would have come; with tool calls, "midstream" is inside the JSON of their arguments.
    """

    kind: FaultKind
    at: Point = "midstream"
    after: int = 2
    seconds: float = 30.0
    reply: Reply = field(default_factory=lambda: Reply("one two three four five six"))
    error_type: str = "server_error"


Step = Reply | Status | Fault

_MODEL_IN_PATH = re.compile(r"/models/([^/:]+):")


@dataclass
class SeenRequest:
    """One request as the server saw it; ``headers`` have lower-case names, ``body`` is parsed JSON."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    step: Step | None = None
    finished: bool = False
    """The whole response was written; False after a fault or when the caller went away."""

    @property
    def model(self) -> str:
        """The model that the caller asked for; empty where it named none."""
        in_path = _MODEL_IN_PATH.search(self.path)
        return in_path[1] if in_path else str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the caller asked for a stream."""
        return self.path.endswith(":streamGenerateContent") or bool(self.body.get("stream"))


StepByRule = Callable[[SeenRequest], Step]
"""Chooses a step by what is asked; called on the server's thread."""
