"""A question in, an answer out: the plain ends of an agent whose state is messages."""

from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState, ModelRequest
from langchain.agents.middleware.types import ExtendedModelResponse, OmitFromSchema
from langchain_core.messages import HumanMessage
from langgraph.types import Command
from pydantic import Field

from nearfar.errors import UsageError

from ._around import AroundModel, Steps, reply_of


class TurnState(AgentState[Any]):
    """``question`` is another way to give the user's message."""

    question: NotRequired[
        Annotated[
            str | None,
            OmitFromSchema(input=False, output=True),
            Field(description="What to do or to answer, in words."),
        ]
    ]
    answer: NotRequired[Annotated[str | None, OmitFromSchema(input=True, output=False)]]


class TurnMiddleware(AroundModel):
    """Makes a message of ``question``, and keeps the latest answer's text as ``answer``."""

    state_schema = TurnState

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any]:  # noqa: ARG002  (LangChain's)
        """Raises UsageError when nothing is asked."""
        question = state.get("question")
        if question is not None:
            if not isinstance(question, str) or not question.strip():
                raise UsageError("The question is empty.", remedy='Give {"question": "..."}.')
            return {"messages": [HumanMessage(question)], "question": None, "answer": None}
        messages = state.get("messages") or []
        if not messages or not isinstance(messages[-1], HumanMessage):
            raise UsageError(
                "Nothing was asked.",
                remedy='Give {"question": "..."}, or messages of which the last is the user\'s.',
            )
        return {"answer": None}

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Note the answer."""
        response = yield request
        reply = reply_of(response)
        answer = str(reply.text) if reply is not None and not reply.tool_calls else None
        return ExtendedModelResponse(response, Command(update={"answer": answer}))
