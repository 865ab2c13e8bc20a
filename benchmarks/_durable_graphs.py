"""What the benchmark of durable runs runs: steps that do nothing, so that only keeping them costs."""

import operator
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Send


class Count(TypedDict):
    x: int


class Results(TypedDict):
    results: Annotated[list[int], operator.add]
    width: int


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


async def _one_more(state: Count) -> dict[str, int]:
    return {"x": state["x"] + 1}


async def _result(item: int) -> dict[str, list[int]]:
    return {"results": [item]}


async def _reply(state: Chat) -> dict[str, list[Any]]:  # noqa: ARG001 - LangGraph's
    return {"messages": [AIMessage("an answer of some length " * 12)]}


def _chain(steps: int) -> Any:
    graph = StateGraph(Count)
    for n in range(steps):
        graph.add_node(f"step{n}", _one_more)
        graph.add_edge(f"step{n - 1}" if n else START, f"step{n}")
    return graph.compile()


def _fan() -> Any:
    graph = StateGraph(Results)
    graph.add_node("item", _result)  # type: ignore[arg-type]  # a Send brings its own state
    graph.add_conditional_edges(
        START, lambda state: [Send("item", n) for n in range(state["width"])], ["item"]
    )
    return graph.compile()


def _chat() -> Any:
    graph = StateGraph(Chat)
    graph.add_node("reply", _reply)
    graph.add_edge(START, "reply")
    return graph.compile()


once = _chain(1)
chain = _chain(100)
fan = _fan()
chat = _chat()
