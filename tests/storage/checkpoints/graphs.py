"""Graphs that the tests of the checkpointers run, and how they run them."""

import operator
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from langgraph.types import interrupt


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


class DeltaChat(TypedDict):
    messages: Annotated[list[Any], DeltaChannel(_messages_delta_reducer, snapshot_frequency=7)]
    notes: Annotated[list[str], operator.add]
    asked: int


def echo(state: Any) -> Any:
    return {"messages": [AIMessage(f"answer {len(state['messages'])}")]}


def chat() -> StateGraph[Any]:
    graph = StateGraph(Chat)
    graph.add_node("echo", echo)
    graph.add_edge(START, "echo")
    return graph


def delta_chat(*, asks: bool = False) -> StateGraph[Any]:
    """Two steps; with ``asks`` the second waits for a person every third time."""

    def note(state: Any) -> Any:
        count = len(state["messages"])
        if asks and count % 3 == 0:
            return {"notes": [f"{count}: {interrupt(count)}"], "asked": count}
        return {"notes": [f"{count}"]}

    graph = StateGraph(DeltaChat)
    graph.add_node("echo", echo)
    graph.add_node("note", note)
    graph.add_edge(START, "echo")
    graph.add_edge("echo", "note")
    return graph


def question(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text, id=f"q-{text}")]}


def thread(name: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": name, **more}}


def texts(state: Any) -> list[str]:
    """What was said, without the ids that differ between two runs."""
    return [f"{message.type}: {message.text}" for message in state.values.get("messages", [])]
