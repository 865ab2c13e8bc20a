"""A graph whose steps fail and hang; the tests give them policies by the settings alone."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langgraph.errors import NodeError
from langgraph.graph import START, StateGraph
from langgraph.types import Command


class State(TypedDict, total=False):
    failures: int
    told: Annotated[list[str], operator.add]


class OutOfLuckError(Exception):
    pass


calls = {"flaky": 0}


async def flaky(state: State) -> dict[str, Any]:
    calls["flaky"] += 1
    if calls["flaky"] <= state["failures"]:
        raise OutOfLuckError("not yet")
    return {"told": ["flaky"]}


async def slow(state: State) -> dict[str, Any]:
    await asyncio.sleep(3600)
    return {}


def plain(state: State) -> dict[str, Any]:
    return {"told": ["plain"]}


def rescue(state: State, error: NodeError) -> Command[str]:
    told = f"rescued {error.node}: {type(error.error).__name__}"
    return Command(update={"told": [told]}, goto="plain")


builder = StateGraph(State).add_node(flaky).add_node(slow).add_node(plain)
builder.add_edge(START, "flaky").add_edge("flaky", "slow").add_edge("slow", "plain")
graph = builder.compile()
