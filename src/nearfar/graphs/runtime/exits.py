"""Steps that end the program: ``sys.exit`` in a step fails its run, and nothing else.

asyncio lets SystemExit through to whoever runs the loop, past everything that waits for the task
that raised it: a server would end, and every run in it would be broken off.
"""

import copy
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.runnables import RunnableLambda
from langgraph._internal._runnable import RunnableCallable
from langgraph.pregel import Pregel

from nearfar.graphs.registry import Graph


class StepExit(RuntimeError):  # noqa: N818 - says what the step did
    """A step called ``sys.exit``; no retry policy of LangGraph's defaults tries that again."""

    def __init__(self, stop: SystemExit) -> None:
        super().__init__(f"exit code {stop.code}")
        self.code = stop.code


_contained: WeakKeyDictionary[Graph, Graph] = WeakKeyDictionary()


def contained(graph: Graph) -> Graph:
    """A copy of the graph in whose steps, and those of its subgraphs, SystemExit is a StepExit."""
    found = _contained.get(graph)
    if found is None:
        nodes = {name: _node(node) for name, node in graph.nodes.items()}
        found = _contained[graph] = graph.copy({"nodes": nodes})
    return found


def _node(node: Any) -> Any:
    bound = node.bound
    if isinstance(bound, Pregel):
        inner = contained(bound)  # type: ignore[arg-type]
        return node.copy({"bound": inner, "subgraphs": [inner] if node.subgraphs else []})
    if isinstance(bound, RunnableCallable | RunnableLambda):
        return node.copy({"bound": _step(bound)})
    return node


def _step(bound: Any) -> Any:
    clone = copy.copy(bound)
    func, afunc = getattr(bound, "func", None), getattr(bound, "afunc", None)
    if func is not None:
        clone.func = _guarded(func)
    if afunc is not None:
        clone.afunc = _guarded_async(afunc)
    return clone


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except SystemExit as stop:
            raise StepExit(stop) from stop

    return guarded


def _guarded_async(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(call)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await call(*args, **kwargs)
        except SystemExit as stop:
            raise StepExit(stop) from stop

    return guarded
