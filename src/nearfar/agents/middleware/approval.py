"""Permissions for tools that bring none: a user's own, or another library's.

Nearfar's tools ask by themselves, and are passed on untouched. For every other tool the rules of
``tools.permissions`` hold here: a person is asked by a LangGraph interrupt, a call leaves a line in
the audit log, and a tool that raises gives the model a message instead of ending the run. A tool with
``metadata={"effects": False}`` does nothing outside of the conversation: see ``TaintMiddleware``.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest

from nearfar.errors import ApprovalRequiredError, NearfarError, ToolDeniedError, ToolLimitError
from nearfar.settings import Permission, Settings, resolve
from nearfar.tools import GuardedTool, mark_as_data
from nearfar.tools.approval import ask
from nearfar.tools.audit import Entry, Outcome, record
from nearfar.tools.exits import EscapedError, ends_run, exits_contained
from nearfar.tools.policy import Policy, ruled, with_sources

from ._around import AroundTool, Steps

_SHOWN = 2000  # characters of an error that the model is told


class ApprovalMiddleware(AroundTool):
    """``default`` holds where no rule fits; ``defaults`` by the tool's name comes before it."""

    def __init__(
        self,
        settings: Settings | str | Path | None = None,
        *,
        default: Permission = "ask",
        defaults: Mapping[str, Permission] | None = None,
    ) -> None:
        super().__init__()
        self._tools = resolve(settings).tools
        self._default = default
        self._defaults = dict(defaults or {})

    def around_tool(self, request: ToolCallRequest) -> Steps:
        """Decide, then call."""
        if request.tool is None or isinstance(request.tool, GuardedTool):
            return (yield request)
        began = time.monotonic()
        arguments = dict(request.tool_call["args"])
        permission: Permission | None = None
        outcome: Outcome = "ok"
        try:
            self._check_size(arguments)
            permission = self._rule(request.tool, arguments)
            if permission == "ask":
                arguments = self._ask(request, arguments)
                self._check_size(arguments)
            call: ToolCall = {**request.tool_call, "args": arguments}
            with exits_contained():
                answer = yield request.override(tool_call=call)
            failed = isinstance(answer, ToolMessage) and answer.status == "error"
            outcome = "error" if failed else "ok"
        except (GraphBubbleUp, ApprovalRequiredError):  # waits for a person: the call is not over
            raise
        except Exception as error:  # whatever a tool does, the run lives on
            outcome = _outcome(error)
            if ends_run(error):
                self._record(request, arguments, permission, outcome, began)
                raise
            answer = _told(request, error)
        except BaseException:
            self._record(request, arguments, permission, "cancelled", began)
            raise
        self._record(request, arguments, permission, outcome, began)
        return answer

    def _check_size(self, arguments: Mapping[str, Any]) -> None:
        limit = self._tools.max_argument_chars
        if (size := len(json.dumps(arguments, ensure_ascii=False, default=str))) > limit:
            raise ToolLimitError(
                f"The arguments have {size:,} characters, and may have {limit:,}.",
                data={"limit": limit},
            )

    def _rule(self, tool: BaseTool, arguments: Mapping[str, Any]) -> Permission:
        policy = Policy(
            tuple(self._tools.permissions), self._defaults.get(tool.name, self._default)
        )
        ruling = policy.decide(tool.name, arguments)
        effects = (tool.metadata or {}).get("effects") is not False  # nobody says so: it may
        return ruled(tool.name, ruling, self._tools.after_untrusted, effects=effects)

    def _ask(self, request: ToolCallRequest, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments that a person agreed to; what they changed must still be allowed."""
        tool = request.tool
        description = with_sources(tool.description.split("\n", 1)[0] if tool else "")
        decision = ask(request.tool_call["name"], arguments, description, None)
        if decision.type == "edit" and tool is not None:
            self._rule(tool, decision.arguments)
        return decision.arguments

    def _record(
        self,
        request: ToolCallRequest,
        arguments: dict[str, Any],
        permission: Permission | None,
        outcome: Outcome,
        began: float,
    ) -> None:
        entry = Entry(
            tool=request.tool_call["name"],
            arguments=arguments,
            outcome=outcome,
            ms=(time.monotonic() - began) * 1000,
            permission=permission,
            config=request.runtime.config if request.runtime else None,
            call_id=request.tool_call["id"],
        )
        record(entry, self._tools.audit)


def _outcome(error: Exception) -> Outcome:
    if isinstance(error, ToolLimitError):
        return "refused"
    if isinstance(error, ToolDeniedError):
        return "rejected" if error.data.get("by") == "person" else "denied"
    return "error"


def _told(request: ToolCallRequest, error: Exception) -> ToolMessage:
    """For the model; what others wrote is marked as data."""
    name = request.tool_call["name"]
    if isinstance(error, NearfarError):
        text = f"{error.message} {error.remedy}".strip()
    else:
        kind = "" if isinstance(error, EscapedError) else f"{type(error).__name__}: "
        said = f"{kind}{error}"[:_SHOWN]
        text = f"{name} failed.\n{mark_as_data(said, 'the error')}"
    return ToolMessage(text, tool_call_id=request.tool_call["id"], name=name, status="error")
