"""A graph of one's own: search the documents, then let the model answer in one line.

    nearfar run examples/research.py --topic "execution providers" --docs docs/

Its inputs are the keys of ``Topic``; ``nearfar run examples/research.py --help`` lists them.
"""

from typing import Any, NotRequired, TypedDict

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph

import nearfar
from nearfar.retrieval import Index


class Topic(TypedDict):
    """What a run is given."""

    topic: str
    docs: list[str]
    passages: NotRequired[int]


class State(Topic):
    """What the steps hand on."""

    found: list[str]
    note: str


def search(state: State) -> dict[str, Any]:
    """The best passages about the topic."""
    hits = Index.for_paths(state["docs"]).search(state["topic"], k=state.get("passages", 3))
    return {"found": [f"{hit.heading or hit.source}: {hit.text}" for hit in hits]}


def build(model: BaseChatModel | None = None) -> Any:
    """The graph, with any chat model; without one, the configured one."""

    def write(state: State) -> dict[str, Any]:
        chat = model or nearfar.chat_model()
        listed = "\n".join(f"[{n}] {text}" for n, text in enumerate(state["found"], 1))
        reply = chat.invoke(f"{listed}\n\nSum up in one line: {state['topic']}", max_tokens=60)
        return {"note": reply.text}

    graph = StateGraph(State, input_schema=Topic)
    graph.add_node("search", search)
    graph.add_node("write", write)
    graph.add_edge(START, "search")
    graph.add_edge("search", "write")
    graph.add_edge("write", END)
    return graph


graph = build()
