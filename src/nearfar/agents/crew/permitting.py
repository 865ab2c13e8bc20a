"""Which tools of a crew ask a person."""

from langgraph.prebuilt.tool_node import ToolCallRequest

from nearfar.agents.middleware._around import Steps
from nearfar.agents.middleware.approval import ApprovalMiddleware
from nearfar.errors import DelegationLimitError
from nearfar.settings import Settings

OWN = frozenset({"delegate", "tell"})
"""They do nothing by themselves: what a role does with a task that it is handed is looked at there."""


class CrewApproval(ApprovalMiddleware):
    """As for every agent; the crew's own tools are passed on, and so are the faults below them.

    ``deepest`` is set where tasks may not be handed on any further.
    """

    def __init__(self, settings: Settings, *, deepest: int | None = None) -> None:
        super().__init__(settings)
        self._deepest = deepest

    def around_tool(self, request: ToolCallRequest) -> Steps:
        """Decide, then call."""
        name = request.tool_call["name"]
        if name == "delegate" and request.tool is None and self._deepest is not None:
            raise DelegationLimitError(
                f"A task was to be handed on more than {self._deepest} deep.",
                data={"limit": "max_depth", "allowed": self._deepest},
            )
        if name in OWN:
            return (yield request)
        return (yield from super().around_tool(request))
