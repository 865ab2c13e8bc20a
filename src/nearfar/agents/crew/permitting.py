"""Which tools of a crew ask a person."""

from langgraph.prebuilt.tool_node import ToolCallRequest

from nearfar.agents.middleware._around import Steps
from nearfar.agents.middleware.approval import ApprovalMiddleware

OWN = frozenset({"delegate", "tell"})
"""They do nothing by themselves: what a role does with a task that it is handed is looked at there."""


class CrewApproval(ApprovalMiddleware):
    """As for every agent; the crew's own tools are passed on, and so are the faults below them."""

    def around_tool(self, request: ToolCallRequest) -> Steps:
        """Decide, then call."""
        if request.tool_call["name"] in OWN:
            return (yield request)
        return (yield from super().around_tool(request))
