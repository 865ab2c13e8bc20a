"""Keeps what a model has read from outside, and lets tools know of it.

Text from a file, a page, a row or another program may hold instructions, and a model may follow them.
So once such text is in the conversation, calls with effects ask a person even where they are allowed
(``tools.after_untrusted``; a rule with ``even_untrusted`` is exempt).
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState, ModelRequest
from langchain.agents.middleware.types import ExtendedModelResponse, OmitFromSchema
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from nearfar.tools import GuardedTool
from nearfar.tools.taint import UNTRUSTED, Taint, having_read, joined, read_so_far, taint_of

from ._around import AroundModel, AroundTool, Steps


class TaintState(AgentState[Any]):
    """``taint``: the texts from outside that the model has read, oldest first."""

    taint: NotRequired[Annotated[list[Taint], joined, OmitFromSchema(input=True, output=False)]]


class TaintMiddleware(AroundModel, AroundTool):
    """``taint``: what was read before this agent began (by whoever wrote its task, say).

    Untrusted are: results of tools that do not say that they are not, messages of which
    ``additional_kwargs["untrusted"]`` names a source, descriptions of tools whose ``metadata`` does,
    and what an agent above this one has read. It stays so for the rest of the thread.
    """

    state_schema = TaintState

    def __init__(self, taint: Iterable[Taint] = ()) -> None:
        super().__init__()
        self._before = list(taint)

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Note what the model is about to read."""
        own = {tool.name for tool in request.tools if isinstance(tool, GuardedTool)}
        found = [taint_of(message, own) for message in request.state.get("messages") or ()]
        before = joined(self._known(request.state), _described(request.tools))
        taint = joined(before, [one for one in found if one is not None])
        response = yield request
        return ExtendedModelResponse(response, Command(update={"taint": taint}))

    def around_tool(self, request: ToolCallRequest) -> Steps:
        """The call was decided on by a model that has read all this."""
        with having_read(self._known(request.state)):
            return (yield request)

    def _known(self, state: Any) -> list[Taint]:
        above = joined(read_so_far(), self._before)
        return joined(above, state.get("taint"))


def _described(tools: Sequence[Any]) -> list[Taint]:
    """Descriptions are read too."""
    return [
        Taint(id=f"tool/{tool.name}", tool=tool.name, source=str((tool.metadata or {})[UNTRUSTED]))
        for tool in tools
        if isinstance(tool, BaseTool) and (tool.metadata or {}).get(UNTRUSTED)
    ]
