"""Graphs with an effect between two steps: told apart by what is known of the far side."""

import json
import operator
import os
import urllib.request
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Send

import nearfar
from nearfar.graphs.runtime.effects import NOT_DONE, Done, NotDone


class State(TypedDict, total=False):
    what: str
    receipts: Annotated[list[str], operator.add]


def _ask(what: str | None, key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    body = None if what is None else json.dumps({"what": what}).encode()
    request = urllib.request.Request(os.environ["FAR_SIDE"], body, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
        return json.load(reply)


@nearfar.effect()
def honoured(what: str, idempotency_key: str | None = None) -> str:
    return str(_ask(what, idempotency_key)["receipt"])


@nearfar.effect()
def blind(what: str) -> str:
    return str(_ask(what)["receipt"])


def look(what: str) -> Done | NotDone:
    done = _ask(None)["done"]
    return Done(f"receipt {done.index(what) + 1}") if what in done else NOT_DONE


@nearfar.effect(reconcile=look)
def findable(what: str) -> str:
    return str(_ask(what)["receipt"])


def _graph(act: Any) -> Any:
    def before(state: State) -> dict[str, Any]:
        return {"receipts": ["before"]}

    def step(state: State) -> dict[str, Any]:
        return {"receipts": [act(state["what"])]}

    def after(state: State) -> dict[str, Any]:
        return {"receipts": ["after"]}

    builder = StateGraph(State)
    for node in (before, step, after):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "before")
    builder.add_edge("before", "step")
    builder.add_edge("step", "after")
    return builder.compile()


def _fan_out(act: Any) -> Any:
    def spread(state: State) -> list[Send]:
        return [Send("step", {"what": f"{state['what']}{n}"}) for n in range(4)]

    def step(state: State) -> dict[str, Any]:
        return {"receipts": [act(state["what"])]}

    builder = StateGraph(State)
    builder.add_node("step", step)
    builder.add_conditional_edges(START, spread, ["step"])
    return builder.compile()


honoured_graph = _graph(honoured)
blind_graph = _graph(blind)
findable_graph = _graph(findable)
fan_out_honoured = _fan_out(honoured)
fan_out_blind = _fan_out(blind)
nested = StateGraph(State)
nested.add_node("inner", _graph(findable))
nested.add_edge(START, "inner")
nested_graph = nested.compile()
