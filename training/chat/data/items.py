"""One example: a conversation, the reply that is right, and what an evaluation looks at."""

from dataclasses import dataclass, field
from typing import Any

SYSTEM_ASK = "Answer from the passages and cite them."
REFUSAL = "The documents do not say."


@dataclass
class Item:
    """``messages`` are dicts with role and content, as chat templates take them.

    A reply is a text or a list of calls ``{"name": ..., "arguments": {...}}``; in ``turns`` a
    longer exchange goes on after it, and every reply of the assistant is learned.
    """

    kind: str
    messages: list[dict[str, Any]]
    reply: str | list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    check: dict[str, Any] = field(default_factory=dict)
    light: str = ""  # a pattern: parts of the reply that a grammar forces, learned lightly


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


def tool_result(content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content}


def calling(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message with calls, as templates take it."""
    shaped = [{"type": "function", "function": call} for call in calls]
    return {"role": "assistant", "content": "", "tool_calls": shaped}


def saying(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def asked(passages: list[str], question: str, answer: str, kind: str) -> Item:
    """As ``nearfar ask`` sends it; ``answer`` is a sentence with its number, or the refusal."""
    listed = "\n".join(f"[{n}] {passage}" for n, passage in enumerate(passages, 1))
    messages = [system(SYSTEM_ASK), user(f"{listed}\n\nQuestion: {question}")]
    return Item(kind, messages, answer, check={"reply": answer})
