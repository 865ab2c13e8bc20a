"""Asks a person: by a LangGraph interrupt inside a graph, else by a typed error.

Question and answer have the shape of LangChain's human-in-the-loop middleware, so whatever shows
those to people can show these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nearfar.errors import ApprovalRequiredError, ToolDeniedError

ALLOWED = ["approve", "edit", "reject"]


@dataclass(frozen=True, slots=True)
class Decision:
    """``arguments`` are those of the call, or the person's own after an edit."""

    type: Literal["approve", "edit"]
    arguments: dict[str, Any]


def ask(
    tool: str, arguments: dict[str, Any], description: str, config: Mapping[str, Any] | None
) -> Decision:
    """Wait for a person's decision on this call.

    Raises GraphInterrupt the first time (LangGraph stops the run and keeps it), ToolDeniedError
    for a rejection and for an answer that is not understood, ApprovalRequiredError outside of a
    graph.
    """
    if not _in_graph(config):
        raise ApprovalRequiredError(
            f"A person must approve this call of {tool}, and nobody can be asked here.",
            data={"tool": tool, "description": description},
        )
    from langgraph.types import interrupt

    answer = interrupt(
        {
            "action_requests": [{"name": tool, "args": arguments, "description": description}],
            "review_configs": [{"action_name": tool, "allowed_decisions": ALLOWED}],
        }
    )
    return _understand(tool, arguments, answer)


def _in_graph(config: Mapping[str, Any] | None) -> bool:
    """Whether a LangGraph node is running: its scratchpad is what ``interrupt`` works on."""
    from langchain_core.runnables.config import var_child_runnable_config

    current = var_child_runnable_config.get() or config or {}
    return "__pregel_scratchpad" in (current.get("configurable") or {})


def _understand(tool: str, arguments: dict[str, Any], answer: Any) -> Decision:
    """``{"decisions": [{"type": "approve" | "edit" | "reject", ...}]}``; all else is a rejection."""
    decisions = answer.get("decisions") if isinstance(answer, Mapping) else None
    one = decisions[0] if isinstance(decisions, list) and len(decisions) == 1 else None
    kind = one.get("type") if isinstance(one, Mapping) else None
    if kind == "approve":
        return Decision("approve", arguments)
    if isinstance(one, Mapping) and kind == "edit":
        edited = one.get("edited_action")
        name = edited.get("name", tool) if isinstance(edited, Mapping) else None
        args = edited.get("args") if isinstance(edited, Mapping) else None
        if name == tool and isinstance(args, dict):
            return Decision("edit", args)
    if isinstance(one, Mapping) and kind == "reject":
        why = str(one.get("message") or "").strip()
        raise ToolDeniedError(
            f"The person who was asked rejected this call{f': {why}' if why else '.'}",
            remedy="Do not try the same call again.",
            data={"tool": tool, "by": "person"},
        )
    raise ToolDeniedError(
        "The answer to the question for approval was not understood, so the call was not made.",
        remedy='The answer is {"decisions": [{"type": "approve"}]}, or "edit" or "reject".',
        data={"tool": tool, "by": "person"},
    )
