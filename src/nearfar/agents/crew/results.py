"""Whether a result is accepted: JSON that fits its schema, and what the guard says."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from .definition import Guard, Task
from .state import Artifact, Note

Check = Callable[[Any], "str | None"]
"""Gets the result; returns what is wrong with it, or None."""

_FENCE = re.compile(r"^\s*```[a-z]*\n(.*)\n```\s*$", re.DOTALL)


def accepted(text: str, task: Task, checks: dict[str, Check]) -> tuple[Any, list[str]]:
    """The value that a reply stands for, and what is wrong with it."""
    value: Any = text.strip()
    if task.result_schema is not None:
        try:
            value = json.loads(_bare(text))
        except ValueError as error:
            return value, [f"it is not JSON ({error})"]
        problem = _schema_problem(value, task.result_schema)
        if problem:
            return value, [problem]
    return value, _guard_problems(value, text.strip(), task.guard, checks)


def _bare(text: str) -> str:
    match = _FENCE.match(text)
    return match.group(1) if match else text


def _schema_problem(value: Any, schema: dict[str, Any]) -> str | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(value))
    return None if error is None else f"at {error.json_path}: {error.message}"


def _guard_problems(value: Any, text: str, guard: Guard, checks: dict[str, Check]) -> list[str]:
    found = []
    if not text:
        found.append("it is empty")
    elif len(text) < guard.min_chars:
        found.append(f"it has {len(text)} characters; {guard.min_chars} are the least")
    if guard.max_chars is not None and len(text) > guard.max_chars:
        found.append(f"it has {len(text)} characters; {guard.max_chars} are the most")
    if guard.matches and not re.search(guard.matches, text):
        found.append(f"it does not match {guard.matches}")
    if guard.forbids and re.search(guard.forbids, text):
        found.append(f"it matches {guard.forbids}, which it must not")
    if guard.check and not found:
        said = checks[guard.check](value)
        found += [said] if said else []
    return found


def artifacts_of(messages: Sequence[BaseMessage], task: str, role: str) -> list[Artifact]:
    """What the tools gave for programs, in order."""
    return [
        Artifact(
            id=f"{task}/{message.tool_call_id}",
            task=task,
            role=role,
            tool=str(message.artifact.get("tool", message.name or "")),
            source=message.artifact.get("source"),
            untrusted=bool(message.artifact.get("untrusted")),
            data=message.artifact.get("data"),
        )
        for message in messages
        if isinstance(message, ToolMessage)
        and isinstance(message.artifact, dict)
        and message.artifact.get("data") is not None
    ]


def untrusted(messages: Sequence[BaseMessage]) -> bool:
    """Whether something from outside was read: a tool said so, or nobody says that it was not."""
    return any(
        not (isinstance(message.artifact, dict) and message.artifact.get("untrusted") is False)
        for message in messages
        if isinstance(message, ToolMessage)
    )


def notes_of(messages: Sequence[BaseMessage], task: str, role: str, *, tainted: bool) -> list[Note]:
    """The messages to others: the calls of ``tell`` that were carried out."""
    done = {m.tool_call_id for m in messages if isinstance(m, ToolMessage) and m.status != "error"}
    return [
        Note(
            id=f"{task}/{call['id']}",
            sender=role,
            to=str(call["args"].get("to", "")),
            task=task,
            text=str(call["args"].get("text", "")),
            untrusted=tainted,
        )
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
        if call["name"] == "tell" and call["id"] in done
    ]
