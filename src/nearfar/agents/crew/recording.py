"""What was really sent to models, and what it took."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp

from nearfar.errors import NearfarError

from .state import Call

TASK, ROLE = "crew_task", "crew_role"  # in the metadata of a call


@dataclass
class _Open:
    started: float
    call: Call


class Recorder(BaseCallbackHandler):
    """Collects the calls of models below one task; those of roles it hands on to with them."""

    run_inline = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.calls: list[Call] = []
        self.attempts = 1
        self._open: dict[UUID, _Open] = {}
        self._clock = clock

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002 - langchain's signature
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The messages as the model gets them."""
        if parent_run_id in self._open:  # a model inside a router: the router's call is recorded
            return
        about = metadata or {}
        tools = (kwargs.get("invocation_params") or {}).get("tools") or []
        call = Call(
            id=f"lc_run--{run_id}",
            task=str(about.get(TASK, "")),
            role=str(about.get(ROLE, "")),
            model=str(about.get("ls_model_name") or ""),
            prompt=[_plain(message) for message in messages[0]],
            tools=[_name(tool) for tool in tools],
            reply="",
            input_tokens=0,
            output_tokens=0,
            cost_usd=0.0,
            latency_s=0.0,
            retries=0,
            error=None,
        )
        self._open[run_id] = _Open(self._clock(), call)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """The reply, its usage and its receipt."""
        entry = self._open.pop(run_id, None)
        if entry is None:
            return
        first = response.generations[0][0] if response.generations[0] else None
        message = first.message if isinstance(first, ChatGeneration) else None
        if isinstance(message, AIMessage):
            entry.call |= _of_reply(message)  # type: ignore[typeddict-item]  # keys of a Call
        self._finish(entry)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """A call that failed counts as one."""
        entry = self._open.pop(run_id, None)
        if entry is not None:
            entry.call["error"] = str(getattr(error, "code", type(error).__name__))
            self._finish(entry)

    def _finish(self, entry: _Open) -> None:
        entry.call["latency_s"] = round(self._clock() - entry.started, 4)
        self.calls.append(entry.call)

    def with_earlier(
        self, messages: Sequence[BaseMessage], system: str, task: str, role: str
    ) -> list[Call]:
        """The calls, and before them those of ``messages`` that were made before a resume."""
        known = {call["id"] for call in self.calls}
        earlier = []
        for place, message in enumerate(messages):
            if not isinstance(message, AIMessage) or str(message.id) in known:
                continue
            sent = [{"role": "system", "text": system}, *map(_plain, messages[:place])]
            blank = Call(
                id=str(message.id), task=task, role=role, model="", prompt=sent, tools=[],
                reply="", input_tokens=0, output_tokens=0, cost_usd=None, latency_s=None,
                retries=0, error=None,
            )  # fmt: skip
            earlier.append({**blank, **_of_reply(message)})
        return [*earlier, *self.calls]  # type: ignore[list-item]  # each is a Call


def _of_reply(message: AIMessage) -> dict[str, Any]:
    metadata = message.response_metadata
    receipt = metadata.get("nearfar")
    usage: Any = message.usage_metadata or {}
    cost = 0.0 if metadata.get("provider") == "local" else None
    found = {
        "model": str(metadata.get("model_name") or ""),
        "reply": _plain(message)["text"],
        "input_tokens": usage.get("input_tokens", 0),
        "output_tokens": usage.get("output_tokens", 0),
        "cost_usd": receipt["cost_usd"] if receipt else cost,
        "retries": max(0, len(receipt["attempts"]) - 1) if receipt else 0,
    }
    if message.id:
        found["id"] = str(message.id)
    return found


def _plain(message: BaseMessage) -> dict[str, Any]:
    roles = {"human": "user", "ai": "assistant"}
    said: dict[str, Any] = {
        "role": roles.get(message.type, message.type),
        "text": str(message.text),
    }
    if isinstance(message, AIMessage) and message.tool_calls:
        said["tool_calls"] = [{"name": c["name"], "args": c["args"]} for c in message.tool_calls]
        said["text"] = said["text"] or json.dumps(said["tool_calls"], ensure_ascii=False)
    return said


def _name(tool: Any) -> str:
    if isinstance(tool, dict):
        return str((tool.get("function") or tool).get("name", ""))
    return str(getattr(tool, "name", tool))


@contextmanager
def failing(
    recorder: Recorder,
    task: str,
    role: str,
    calls: Sequence[Call],
    done: Callable[[], Mapping[str, Any]],
) -> Iterator[None]:
    """Gives what is raised in here the ``performance`` until then, with ``task`` as one that failed.

    ``calls`` and ``done`` are of the tasks before it.
    """
    try:
        yield
    except GraphBubbleUp:  # it waits, and goes on later
        raise
    except Exception as error:
        failed = {"role": role, "ok": False, "attempts": recorder.attempts}
        found = performance([*calls, *recorder.calls], {**done(), task: failed})
        if isinstance(error, NearfarError):
            error.data["performance"] = found
        else:
            error.performance = found  # type: ignore[attr-defined]  # for whoever explains it
        raise


def performance(calls: Sequence[Call], done: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Tokens, cost, latency, retries and success, for each task, each role, and in all.

    ``done`` says for each task its role, whether it succeeded, and how many attempts it took.
    """
    tasks = {}
    for name, result in done.items():
        own = [call for call in calls if call["task"] == name]
        tasks[name] = {
            "role": result["role"],
            "success": result["ok"],
            "attempts": result["attempts"],
            **_sums(own, result["attempts"] - 1),
        }
    roles = {}
    for name in dict.fromkeys([*(r["role"] for r in done.values()), *(c["role"] for c in calls)]):
        its = [result for result in done.values() if result["role"] == name]
        again = sum(result["attempts"] - 1 for result in its)
        roles[name] = {
            "tasks": len(its),
            "succeeded": sum(1 for result in its if result["ok"]),
            **_sums([call for call in calls if call["role"] == name], again),
        }
    again = sum(result["attempts"] - 1 for result in done.values())
    return {"tasks": tasks, "roles": roles, "total": _sums(calls, again)}


def _sums(calls: Iterable[Call], again: int) -> dict[str, Any]:
    calls = list(calls)
    costs = [call["cost_usd"] for call in calls]
    known = [cost for cost in costs if cost is not None]
    return {
        "model_calls": len(calls),
        "models": sorted({call["model"] for call in calls}),
        "input_tokens": sum(call["input_tokens"] for call in calls),
        "output_tokens": sum(call["output_tokens"] for call in calls),
        "cost_usd": round(sum(known), 8) if len(known) == len(costs) else None,
        "latency_s": round(sum(call["latency_s"] or 0.0 for call in calls), 4),
        "retries": again + sum(call["retries"] for call in calls),
        "failed_calls": sum(1 for call in calls if call["error"]),
    }


def prompts(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """What was sent, call by call, for a reader."""
    keys = ("task", "role", "model", "prompt", "tools", "reply")
    return [{key: call[key] for key in keys} for call in calls]  # type: ignore[literal-required]
