"""How an answer goes on after a fault that struck when tokens had already gone out."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import ToolCallChunk

_PLAIN = frozenset({"text", "tool_use", "input_json_delta"})
"""Blocks that say no more than a message's text and tool calls do."""


class Disagreement(Exception):  # noqa: N818  (control flow: the attempt's answer is another one)
    """The new answer is not the one that was begun."""


class Sent:
    """What the caller has of the answer, and what is held back until the answer is whole.

    Text goes out as it comes, as a plain string whichever provider wrote it, so that a thread may change
    its model at every turn. Reasoning goes out before the first text, in its provider's own blocks: a
    fault while a model is still thinking leaves nothing behind. Pieces of tool calls are held: half a call
    must never look like one. With ``hold`` all is held, so that a restart is invisible.
    """

    def __init__(self, *, hold: bool) -> None:
        self.hold = hold
        """Nothing goes out before the answer is whole."""
        self.text = ""
        self.own_blocks = False
        """The answer holds blocks that only its provider understands."""
        self.prefilled = False
        """This attempt is to go on from what went out."""
        self._pending = ""
        self._space = ""
        self._before: list[AIMessageChunk] = []
        self._held: list[AIMessageChunk] = []

    def begin(self, messages: Sequence[BaseMessage], *, prefill: bool) -> list[BaseMessage]:
        """Start an attempt: drop what was held; the messages that it is to be asked with.

        Where text has gone out, a model that takes a prefill is asked to go on from it; any other is
        asked again, and its words are dropped as long as they are those that were sent.
        """
        self._before, self._held = [], []
        self._pending = ""
        self._space = ""
        self.prefilled = False
        if not self.text:
            self.own_blocks = False
            return list(messages)
        if not self.text.strip():
            self._space = self.text  # whatever comes goes on from blanks
            return list(messages)
        if prefill:
            self.prefilled = True
            # Providers refuse a prefill that ends in white space; the model writes it again.
            begun = self.text.rstrip()
            self._space = self.text[len(begun) :]
            return [*messages, AIMessage(begun)]
        self._pending = self.text
        return list(messages)

    def take(self, chunk: AIMessageChunk) -> list[AIMessageChunk]:
        """What goes out now that a chunk has come. Raises Disagreement."""
        shaped = self._shaped(chunk)
        if self.hold or shaped.tool_call_chunks:
            self._held.append(shaped)
            return []
        text = shaped.text
        if not text:
            if not self.text:
                self._before.append(shaped)
            return []
        new = self._new_part(text)
        if not new:
            return []
        self.text += new
        before, self._before = self._before, []
        return [*before, shaped if new == text else self._text(new)]

    def finish(self) -> list[AIMessageChunk]:
        """The answer is whole: what was held. Raises Disagreement when it is shorter than what was sent."""
        if self._pending:
            raise Disagreement
        return [*self._before, *_renumbered(self._held)]

    def _shaped(self, chunk: AIMessageChunk) -> AIMessageChunk:
        if isinstance(chunk.content, str):
            if self.own_blocks and chunk.content and not chunk.tool_call_chunks:
                return self._text(chunk.content)
            return chunk
        if not self.text and any(_kind(block) not in _PLAIN for block in chunk.content):
            self.own_blocks = True
        if self.own_blocks and not self._pending:
            return chunk
        return AIMessageChunk(
            content=chunk.text,
            tool_call_chunks=chunk.tool_call_chunks,
            additional_kwargs=chunk.additional_kwargs,
        )

    def _text(self, text: str) -> AIMessageChunk:
        """Text in the form of what went out before it."""
        content: Any = [{"type": "text", "text": text}] if self.own_blocks else text
        return AIMessageChunk(content=content)

    def _new_part(self, text: str) -> str:
        while self._space and text:
            if text[0] != self._space[0]:
                self._space = ""
                break
            text, self._space = text[1:], self._space[1:]
        agreed = min(len(text), len(self._pending))
        if text[:agreed] != self._pending[:agreed]:
            raise Disagreement
        self._pending = self._pending[agreed:]
        return text[agreed:]


def _kind(block: str | dict[str, Any]) -> str:
    return "text" if isinstance(block, str) else str(block.get("type"))


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
