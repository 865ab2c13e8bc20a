"""How an answer goes on after a fault that struck when tokens had already gone out."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import ToolCallChunk

from .candidate import Candidate


class Disagreement(Exception):  # noqa: N818  (control flow: the attempt's answer is another one)
    """The new answer is not the one that was begun."""


class Sent:
    """What the caller has of the answer, and what is held back until the answer is whole.

    Text goes out as it comes. Pieces of tool calls are held: half a call must never look like one.
    With ``hold`` all is held, so that a restart is invisible.
    """

    def __init__(self, *, hold: bool) -> None:
        self._hold = hold
        self.text = ""
        self._pending = ""
        self._after_space = False
        self._held: list[AIMessageChunk] = []

    def begin(self, candidate: Candidate, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Start an attempt: drop what was held; the messages that it is to be asked with.

        Where text has gone out, a model that takes a prefill is asked to go on from it; any other is
        asked again, and its words are dropped as long as they are those that were sent.
        """
        self._held = []
        self._pending = ""
        self._after_space = False
        if not self.text:
            return list(messages)
        if candidate.takes.prefill and self.text.strip():
            # Providers refuse a prefill that ends in white space; the model writes it again.
            self._after_space = self.text != self.text.rstrip()
            return [*messages, AIMessage(self.text.rstrip())]
        self._pending = self.text
        return list(messages)

    def take(self, chunk: AIMessageChunk) -> AIMessageChunk | None:
        """What of a chunk goes out now. Raises Disagreement."""
        if self._hold or chunk.tool_call_chunks or not isinstance(chunk.content, str):
            self._held.append(chunk)
            return None
        text = self._new_part(chunk.content)
        if not text and not chunk.additional_kwargs:
            return None
        self.text += text
        return AIMessageChunk(content=text, additional_kwargs=chunk.additional_kwargs)

    def finish(self) -> list[AIMessageChunk]:
        """The answer is whole: what was held. Raises Disagreement when it is shorter than what was sent."""
        if self._pending:
            raise Disagreement
        return _renumbered(self._held)

    def _new_part(self, text: str) -> str:
        if self._after_space and text:
            text = text.lstrip()
            self._after_space = not text
        agreed = min(len(text), len(self._pending))
        if text[:agreed] != self._pending[:agreed]:
            raise Disagreement
        self._pending = self._pending[agreed:]
        return text[agreed:]


def _renumbered(chunks: list[AIMessageChunk]) -> list[AIMessageChunk]:
    """Every piece of a tool call has an index, so that pieces of one call merge and others do not."""
    if all(p.get("index") is not None for c in chunks for p in c.tool_call_chunks):
        return chunks
    number = -1
    for chunk in chunks:
        pieces: list[ToolCallChunk] = []
        for piece in chunk.tool_call_chunks:
            number += 1 if piece.get("id") or piece.get("name") or number < 0 else 0
            pieces.append({**piece, "index": number})
        chunk.tool_call_chunks = pieces
    return chunks
